"""Estimates for `--plan`: rows, requests and time, from the rows per day counted before. Pure: nothing is requested.

A plan consists of windows whose number of rows is not known in advance. Without counted rows, there is no estimate.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from tap_vonage_reports.products import ROWS_PER_PAGE
from tap_vonage_reports.state.volume import expected_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tap_vonage_reports.intervals import TimeWindow
    from tap_vonage_reports.planning.plans import PagePlan, ReportPlan

MINUTES_PER_MILLION_ROWS = (5, 10)
"""How long Vonage takes to generate a report: at least, at most [likely: published by Vonage, never measured]."""
REQUESTS_PER_REPORT = 3
"""Request it, poll it at least once, download it."""


@dataclass(frozen=True)
class FetchEstimate:
    """How much a partition fetches.

    Attributes:
        rows: All rows.
        billed_rows: Those that this run pays for. A report of an earlier run was billed when it was requested.
        requests: Requests for pages and lookups.
        report_rows: The rows of each report to request.
    """

    rows: int
    billed_rows: int
    requests: int
    report_rows: tuple[float, ...]


def estimate_fetch(rows_per_day: float | None, pages: PagePlan, reports: ReportPlan) -> FetchEstimate | None:
    """Estimate what a partition fetches.

    Args:
        rows_per_day: How many rows a day has; None where that is unknown.
        pages: What it reads by pages, and looks up by id.
        reports: What it reads by reports.

    Returns:
        The estimate; None where windows are read and the rows per day are unknown.
    """
    if rows_per_day is None:
        if pages.windows or reports.windows:
            return None
        rows_per_day = 0
    resumed = {report.window for report in reports.resumed}
    resumed_rows = sum(expected_rows(rows_per_day, window.duration) for window in resumed)
    report_rows = tuple(
        expected_rows(rows_per_day, window.duration) for window in reports.windows if window not in resumed
    )
    page_rows = [_rows_left(window, rows_per_day, pages) for window in pages.windows]
    billed = sum(page_rows) + sum(report_rows) + sum(map(len, pages.id_batches))
    requests = sum(max(1, ceil(round(rows) / ROWS_PER_PAGE)) for rows in page_rows) + len(pages.id_batches)
    return FetchEstimate(round(billed + resumed_rows), round(billed), requests, report_rows)


def _rows_left(window: TimeWindow, rows_per_day: float, pages: PagePlan) -> float:
    """Return the rows of a window without those of the pages that an earlier run read."""
    resumed = pages.cursor_in(window)
    return max(0, expected_rows(rows_per_day, window.duration) - (resumed.rows_read if resumed else 0))


@dataclass(frozen=True)
class Limits:
    """The limits of a run.

    Attributes:
        requests_per_second: For pages and lookups.
        report_requests_per_second: For reports.
        concurrent_reports: How many reports are generated at the same time.
    """

    requests_per_second: float
    report_requests_per_second: float
    concurrent_reports: int


def estimate_seconds(requests: int, reports: int, report_rows: Sequence[float], limits: Limits) -> tuple[float, float]:
    """Estimate how long the API takes to serve a run.

    Args:
        requests: Requests for pages and lookups.
        reports: Reports that are read, including those that an earlier run requested.
        report_rows: The rows of the reports to request, in order.
        limits: The limits of the run.

    Returns:
        The shortest time, with pages read while reports are generated, and the longest, with one after the other.
    """
    by_pages = requests / limits.requests_per_second
    to_request = reports * REQUESTS_PER_REPORT / limits.report_requests_per_second
    fast, slow = (
        max(to_request, _generation_seconds(report_rows, minutes, limits.concurrent_reports))
        for minutes in MINUTES_PER_MILLION_ROWS
    )
    return max(by_pages, fast), by_pages + slow


def _generation_seconds(report_rows: Iterable[float], minutes_per_million: float, concurrency: int) -> float:
    """Return when the last report is generated, each begun as soon as one before it has finished."""
    busy_until = [0.0] * concurrency
    for rows in report_rows:
        heapq.heapreplace(busy_until, busy_until[0] + rows / 1_000_000 * minutes_per_million * 60)
    return max(busy_until)
