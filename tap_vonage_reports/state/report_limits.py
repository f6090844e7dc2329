"""State of earlier reports: the windows with an unreadable file, and the maximum length of a report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec

if TYPE_CHECKING:
    from datetime import datetime

    from tap_vonage_reports.intervals import TimeWindow

REPORT_HOURS = "report_hours"
REPORT_ROWS = "report_rows"
SMALL_REPORTS_KEY = "small_reports"

DEFAULT_ROW_LIMIT = 7_000_000
"""Rows at which the API truncates a report [likely]."""
SMALL_REPORTS = 3
"""The longest window of a report doubles after so many small reports in a row ..."""
SMALL_SHARE = 0.5
"""... which would, at twice the window, have less than this share of the rows at which a report was truncated."""


@dataclass(frozen=True)
class RefusedReport:
    """A window whose report has a file that cannot be read. No other report is requested (and paid) for it.

    Attributes:
        window: The window.
        refused_at: When that was found out, on Vonage's clock.
    """

    window: TimeWindow
    refused_at: datetime


@dataclass(frozen=True)
class ReportLimit:
    """The longest window of a report, learned from a truncated one.

    Attributes:
        window: The length.
        rows: Rows at which a report was truncated.
        small_reports: Reports in a row that were well below that.
    """

    window: timedelta
    rows: int = DEFAULT_ROW_LIMIT
    small_reports: int = 0

    def after(self, length: timedelta, rows: int) -> ReportLimit:
        """Return the limit after a report that was read.

        Args:
            length: Its window. One shorter than half of the limit says nothing about longer ones.
            rows: Its rows.
        """
        if length * 2 < self.window:
            return self
        if rows * (self.window * 2 / length) >= self.rows * SMALL_SHARE:
            return replace(self, small_reports=0)
        if self.small_reports + 1 < SMALL_REPORTS:
            return replace(self, small_reports=self.small_reports + 1)
        return replace(self, window=self.window * 2, small_reports=0)


def write_report_limit(state: dict[str, Any], limit: ReportLimit | None) -> None:
    """Write how long a report may be, in hours, and what is known of its rows; None removes it."""
    if limit is None:
        for key in (REPORT_HOURS, REPORT_ROWS, SMALL_REPORTS_KEY):
            state.pop(key, None)
        return
    state.update(
        {
            REPORT_HOURS: limit.window / timedelta(hours=1),
            REPORT_ROWS: limit.rows,
            SMALL_REPORTS_KEY: limit.small_reports,
        }
    )


# The shapes of this part of the state.

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
Hours: TypeAlias = Annotated[float, msgspec.Meta(ge=1, le=1_000_000)]


class RefusedShape(msgspec.Struct):
    """A window whose report has a file that cannot be read."""

    date_start: str
    date_end: str
    refused_at: str


def read_report_limit(hours: float | None, rows: int | None, small_reports: int) -> ReportLimit | None:
    """Return how long a report may be; None where none was truncated."""
    if hours is None:
        return None
    return ReportLimit(timedelta(hours=hours), rows or DEFAULT_ROW_LIMIT, small_reports)
