"""Estimates of a plan follow from its windows, the rows per day and the limits; none is made without rows per day."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tap_vonage_reports.planning.estimates import (
    FetchEstimate,
    Limits,
    estimate_fetch,
    estimate_seconds,
)
from tap_vonage_reports.planning.plans import PagePlan, ReportPlan
from tap_vonage_reports.state.values import PageCursor, PendingReport
from tests.planning.test_windows import at, hours

if TYPE_CHECKING:
    from tap_vonage_reports.intervals import TimeWindow

# Literal, so that another figure in the code is noticed.
MINUTES_PER_MILLION_ROWS = 5, 10
NO_REPORTS = ReportPlan([], [], [], [])
LIMITS = Limits(10, 5, concurrent_reports=5)
MILLION = 1_000_000


def pages(*windows: TimeWindow, ids: int = 0) -> PagePlan:
    batches = [tuple(f"id-{number}" for number in range(ids))] if ids else []
    return PagePlan(list(windows), None, batches, at(0), at(0))


def reports(*windows: TimeWindow, resumed: tuple[TimeWindow, ...] = ()) -> ReportPlan:
    pending = [PendingReport(f"report-{window.start}", window, "fingerprint", at(0)) for window in resumed]
    return ReportPlan(list(windows), pending, [], [])


def test_a_window_takes_a_request_for_each_thousand_rows_and_at_least_one() -> None:
    plan = pages(hours(0, 24), hours(24, 36), hours(36, 37))
    estimates = [estimate_fetch(rows, plan, NO_REPORTS) for rows in (0, 2000, 2001)]
    assert estimates == [
        FetchEstimate(0, 0, 3, ()),
        FetchEstimate(3083, 3083, 2 + 1 + 1, ()),
        FetchEstimate(3085, 3085, 3 + 1 + 1, ()),
    ]


def test_rows_of_many_short_windows_are_not_rounded_away() -> None:
    plan = pages(*(hours(start, start + 1) for start in range(240)))
    assert estimate_fetch(5, plan, NO_REPORTS) == FetchEstimate(50, 50, 240, ())


def test_the_pages_that_an_earlier_run_read_are_not_estimated_again() -> None:
    cursor = PageCursor(hours(0, 24), "cursor", None, "query", at(30), rows_read=3000)
    plan = replace(pages(hours(0, 24), hours(24, 48)), resume_from=cursor)
    assert estimate_fetch(5000, plan, NO_REPORTS) == FetchEstimate(7000, 7000, 2 + 5, ())
    assert estimate_fetch(1000, plan, NO_REPORTS) == FetchEstimate(1000, 1000, 1 + 1, ())


def test_a_report_of_an_earlier_run_is_fetched_and_not_billed_again() -> None:
    plan = reports(hours(0, 48), hours(48, 72), resumed=(hours(0, 48),))
    assert estimate_fetch(100, pages(), plan) == FetchEstimate(300, 100, 0, (100,))


def test_rows_to_look_up_count_and_need_no_rate() -> None:
    assert estimate_fetch(None, pages(ids=7), NO_REPORTS) == FetchEstimate(7, 7, 1, ())
    assert estimate_fetch(1000, pages(hours(0, 24), ids=7), NO_REPORTS) == FetchEstimate(1007, 1007, 2, ())


def test_without_rows_per_day_only_a_plan_without_windows_is_estimated() -> None:
    assert estimate_fetch(None, pages(hours(0, 1)), NO_REPORTS) is None
    assert estimate_fetch(None, pages(), reports(hours(0, 1))) is None
    assert estimate_fetch(None, pages(), NO_REPORTS) == FetchEstimate(0, 0, 0, ())


def test_pages_take_as_long_as_the_rate_limit_makes_them() -> None:
    assert estimate_seconds(50, 0, [], LIMITS) == (5, 5)
    assert estimate_seconds(50, 0, [], replace(LIMITS, requests_per_second=2)) == (25, 25)
    assert estimate_seconds(50, 0, [], replace(LIMITS, requests_per_second=0.5)) == (100, 100)
    assert estimate_seconds(0, 4, [], replace(LIMITS, report_requests_per_second=0.25)) == (48, 48)


@pytest.mark.parametrize(
    ("rows", "millions"),
    [([MILLION], 1), ([MILLION] * 5, 1), ([MILLION] * 6, 2), ([3 * MILLION, *[MILLION] * 4, *[MILLION] * 4], 3)],
)
def test_as_many_reports_as_allowed_are_generated_at_the_same_time(rows: list[float], millions: int) -> None:
    fast, slow = MINUTES_PER_MILLION_ROWS
    assert estimate_seconds(0, len(rows), rows, LIMITS) == (millions * fast * 60, millions * slow * 60)


def test_small_reports_take_as_long_as_their_requests() -> None:
    assert estimate_seconds(0, 100, [10] * 100, LIMITS) == (60, 60)


def test_pages_are_read_while_reports_are_generated_or_after_them() -> None:
    assert estimate_seconds(1000, 1, [MILLION], LIMITS) == (300, 100 + 600)
    assert estimate_seconds(10_000, 1, [MILLION], LIMITS) == (1000, 1000 + 600)
