"""One partition while it is read: what of it has been read, what is asked for, and what is to be done."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.settings import SWITCHES, fingerprint
from tap_vonage_reports.times import to_query
from tap_vonage_reports.windows import Window, by_report, plan, resumable, spans, to_read, windows_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import portion

    from tap_vonage_reports.bookmarks import Bookmark, OpenPage, RequestedReport
    from tap_vonage_reports.run import Outcome, Partition, Run


@dataclass(eq=False)
class Reading:
    """One partition while it is read.

    Attributes:
        run: What it shares with the others.
        partition: The partition.
        bookmark: What of it has been read.
        query: What goes with every request, dates and cursor apart.
        end: Until when to read.
        read_at: From when on its rows were read: by this run, or by the one whose open page or report it takes up.
        outcome: Its line in the summary.
        by_report: What is read by reports.
    """

    run: Run
    partition: Partition
    bookmark: Bookmark
    query: Mapping[str, str]
    end: datetime
    read_at: datetime
    outcome: Outcome
    by_report: list[Window] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        """A short name for the query."""
        return fingerprint(self.query)

    def need(self) -> portion.Interval:
        """What has to be read, by whatever path."""
        settings, product = self.run.settings, self.partition.product
        start = self.run.start(product)
        if settings.start_date is None and (first := next(windows_of(self.bookmark.covered), None)):
            # Without a start date, what earlier runs have begun is continued, however long ago that was.
            start = max(min(start, first.start), self.run.earliest(product))
        wanted = Window(start, max(start, self.end))
        return to_read(wanted, self.bookmark.covered, settings.lookback_of(product), self.bookmark.settled)

    def plan_reports(self) -> tuple[list[Window], list[RequestedReport]]:
        """What to read by reports: the windows, and the reports that were asked for before and still fit.

        Reports in the state that do not fit are left to the caller to cancel and forget.
        """
        settings, product = self.run.settings, self.partition.product
        need = self.need()
        if page := self._page(need):
            need -= spans([page.window])
        asynchronous = by_report(need, settings.mode_of(product), settings.backfill, self.end)
        kept = [
            report
            for report in self.bookmark.reports
            if report.fingerprint == fingerprint(self.report_body(report.window))
            and resumable(report.window, asynchronous)
        ]
        longest = settings.report_window
        if self.bookmark.report_hours:
            longest = min(longest, timedelta(hours=self.bookmark.report_hours))
        self.by_report = plan(asynchronous, longest, [report.window for report in kept])
        return self.by_report, kept

    def left_for_pages(self) -> portion.Interval:
        """What has to be read by pages, as far as that is known now."""
        return self.need() - spans(self.by_report)

    def plan_pages(self, longest: timedelta) -> tuple[list[Window], OpenPage | None]:
        """What to read by pages, from now on.

        Args:
            longest: How long a window may be.

        Returns:
            The windows, and the page at which to go on in one of them.
        """
        if self.run.settings.mode_of(self.partition.product) != "async":
            self.end = self.run.end()  # later than when the run was planned
        if not self.by_report:
            self.read_at = self.run.now()
        need = self.left_for_pages()
        page = self._page(need)
        if page is None:
            self.bookmark.drop_page()
            return plan(need, longest), None
        # Rows of the pages before may have changed since: the next run looks back from when they were read.
        self.read_at = min(self.read_at, page.read_at)
        return plan(need, longest, [page.window]), page

    def report_body(self, window: Window) -> dict[str, Any]:
        """The request for a report of a window. Switches are booleans in JSON [confirmed]."""
        return {
            **self.query,
            **{switch: True for switch in SWITCHES if switch in self.query},
            "date_start": to_query(window.start),
            "date_end": to_query(window.end),
        }

    def _page(self, need: portion.Interval) -> OpenPage | None:
        page = self.bookmark.page
        return page if page and page.query == self.fingerprint and resumable(page.window, need) else None
