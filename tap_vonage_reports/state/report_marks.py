"""What the bookmark of a partition says of reports: those requested, how long they may be, which are of no use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_vonage_reports.state import format as state_format
from tap_vonage_reports.state import report_limits
from tap_vonage_reports.state.report_limits import RefusedReport

if TYPE_CHECKING:
    from datetime import datetime

    from tap_vonage_reports.intervals import TimeWindow
    from tap_vonage_reports.state.report_limits import ReportLimit
    from tap_vonage_reports.state.values import PartitionState, PendingReport


class ReportMarks:
    """The part of a bookmark that is about reports, kept in the same state.

    Attributes:
        reports: Reports that were requested and not read.
        report_limit: How long a report may be; None where none was truncated.
        refused_reports: Windows whose report has a file that cannot be read.
        adopt_after: When the last of the reports was requested that were read or dropped: a later one that the state
            does not name was lost with a state. None where there were none.
    """

    def __init__(self, state: dict[str, Any], stored: PartitionState) -> None:
        """Take over what the state of a partition says.

        Args:
            state: The partition's state, which is changed in place from here on.
            stored: The same, parsed.
        """
        self._state = state
        self.reports = stored.reports
        self.report_limit = stored.report_limit
        self.refused_reports = stored.refused_reports
        self.adopt_after = stored.adopt_after

    def remove_report(self, request_id: str) -> None:
        """Record that a report was read, or is of no use any more, so that it is not adopted either."""
        for report in self.reports:
            if report.request_id == request_id:
                self.adopt_later(report.requested_at)
        self._set_reports([report for report in self.reports if report.request_id != request_id])

    def adopt_later(self, time: datetime) -> None:
        """Record that no report is adopted that was requested at a time or before it."""
        self.adopt_after = max(time, self.adopt_after or time)
        state_format.write_adopt_after(self._state, self.adopt_after)

    def refuse_report(self, window: TimeWindow, request_id: str, refused_at: datetime) -> None:
        """Record that the report of a window has a file that cannot be read, so that none is requested again."""
        self._set_refused([*self.refused_reports, RefusedReport(window, refused_at)])
        self.remove_report(request_id)

    def limit_reports(self, limit: ReportLimit | None) -> None:
        """Record how long a report may be; None for as long as the settings say."""
        self.report_limit = limit
        report_limits.write_report_limit(self._state, limit)

    def _set_reports(self, reports: list[PendingReport]) -> None:
        self.reports = reports
        state_format.write_reports(self._state, reports)

    def _set_refused(self, refused: list[RefusedReport]) -> None:
        self.refused_reports = refused
        state_format.write_refused_reports(self._state, refused)
