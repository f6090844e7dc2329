"""One partition while it is read: what of it has been read, what is asked for, and what is to be done."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import portion

from tap_vonage_reports.config.schema import BOOLEAN_PARAMS
from tap_vonage_reports.config.settings import fingerprint
from tap_vonage_reports.extract.status_tracking import StatusTracker, batch_ids
from tap_vonage_reports.intervals import (
    MAX_SYNC_WINDOW,
    TimeWindow,
    by_report,
    cut,
    hours,
    plan,
    resumable,
    spans,
    unsettled,
    windows_of,
)
from tap_vonage_reports.timestamps import format_query_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tap_vonage_reports.extract.session import Partition, SyncSession
    from tap_vonage_reports.outcomes import PartitionResult
    from tap_vonage_reports.state.bookmark import Bookmark
    from tap_vonage_reports.state.format import PageCursor, PendingReport


RESUME_GRACE = timedelta(days=4)
"""What was begun where Vonage's records begin is gone on with for as long as Vonage keeps the state of a report."""


@dataclass(eq=False)
class PartitionSync:
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
        refresh: Tells which rows have to be looked up again; None where the look-back is read again instead.
        trusts_ids: Whether rows are kept by id; no more once the API did not find one that it had listed.
    """

    run: SyncSession
    partition: Partition
    bookmark: Bookmark
    query: Mapping[str, str]
    end: datetime
    read_at: datetime
    outcome: PartitionResult
    by_report: list[TimeWindow] = field(default_factory=list)
    refresh: StatusTracker | None = field(init=False)
    trusts_ids: bool = field(init=False, default=True)

    def __post_init__(self) -> None:
        """Open what has to be read again, once: when it is read, it is covered again."""
        settings, product, bookmark = self.run.settings, self.partition.product, self.bookmark
        covered = bookmark.covered
        self._begun = [part.start for part in windows_of(covered)][:1]
        lookback = settings.lookback_of(product)
        final = product.final.get(self.partition.direction or "") if settings.refreshes_by_id(product) else None
        again = unsettled(covered, lookback, self.end, bookmark.read_at)
        if final:
            self.refresh = StatusTracker(final, product.date_field, lookback)
            late = unsettled(covered, min(settings.late_rows, lookback), self.end, bookmark.read_at)
            bookmark.tracked &= again
            again = (again - bookmark.tracked) | late
        else:
            self.refresh = None
            again |= covered & hours(bookmark.open.values())  # what was still to be looked up
            bookmark.stop_tracking()
        self.outcome.cost.known = again
        bookmark.reopen(again)
        self._left_alone = bookmark.covered

    @property
    def fingerprint(self) -> str:
        """A short name for the query."""
        return fingerprint(self.query)

    def need(self) -> portion.Interval:
        """What has to be read, by whatever path."""
        start = self._start()
        return portion.closedopen(start, max(start, self.end)) - self.bookmark.covered

    def plan_reports(self) -> tuple[list[TimeWindow], list[PendingReport]]:
        """What to read by reports: the windows, and the reports that were asked for before and still fit.

        Reports in the state that do not fit are left to the caller to cancel and forget.
        """
        settings, product = self.run.settings, self.partition.product
        mode = settings.mode_of(product)
        need = self.need()
        if page := self._page(need):
            need -= spans([page.window])
        kept = list(self._kept_reports(need)) if mode != "sync" else []
        # What was asked for is not thrown away because little else is left.
        asynchronous = by_report(need, mode, settings.backfill, self.end) | spans(report.window for report in kept)
        longest = settings.report_window
        if self.bookmark.report_hours:
            longest = min(longest, timedelta(hours=self.bookmark.report_hours))
        self.by_report = plan(asynchronous, longest, [report.window for report in kept])
        return self.by_report, kept

    def left_for_pages(self) -> portion.Interval:
        """What has to be read by pages, as far as that is known now."""
        return self.need() - spans(self.by_report)

    def plan_pages(self, longest: timedelta) -> tuple[list[TimeWindow], PageCursor | None]:
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

    def plan_lookups(self) -> list[tuple[str, ...]]:
        """The ids of the rows to look up: those that are not in what is read in any case.

        Returns:
            Ids, as many together as a query takes.
        """
        if self.refresh is None:
            return []
        need, kept = self.need(), self.bookmark.open
        apart = {hour for hour in set(kept.values()) if hours([hour]) not in need}
        return batch_ids(name for name, hour in kept.items() if hour in apart)

    def distrust_ids(self, missing: Iterable[str]) -> list[TimeWindow]:
        """Keep no more rows by id in this run.

        Args:
            missing: Ids that the API has not found.

        Returns:
            What has to be read by pages instead: their rows, and all later ones that this run does not read anyway.
        """
        self.trusts_ids = False
        first = min(self.bookmark.open[name] for name in missing)
        # The hour may be the last one of the row's window.
        again = self._left_alone & portion.closedopen(first - MAX_SYNC_WINDOW, portion.inf)
        self.outcome.cost.known |= again
        self.bookmark.reopen(again)
        return cut(again, self.run.settings.sync_window)

    def report_body(self, window: TimeWindow) -> dict[str, Any]:
        """The request for a report of a window. Switches are booleans in JSON [confirmed]."""
        return {
            **self.query,
            **{switch: True for switch in BOOLEAN_PARAMS if switch in self.query},
            "date_start": format_query_time(window.start),
            "date_end": format_query_time(window.end),
        }

    def _start(self) -> datetime:
        """From when to read. Where that moves with the clock, what earlier runs have begun is continued."""
        settings, product = self.run.settings, self.partition.product
        earliest, start = self.run.earliest(product), self.run.start(product)
        if settings.start_date is None:
            start = max(min([start, *self._begun]), earliest)
        elif settings.start_date >= earliest:
            return start
        begun = [
            window.start
            for window in self._open_windows()
            if window.end > earliest and window.start >= earliest - RESUME_GRACE
        ]
        return min([start, *begun])

    def _open_windows(self) -> Iterator[TimeWindow]:
        """The windows of the open page and of the reports that were asked for, if they are of this query."""
        page = self.bookmark.page
        if page and page.query == self.fingerprint:
            yield page.window
        yield from (report.window for report in self.bookmark.reports if self._is_ours(report))

    def _is_ours(self, report: PendingReport) -> bool:
        return report.fingerprint == fingerprint(self.report_body(report.window))

    def _kept_reports(self, need: portion.Interval) -> Iterator[PendingReport]:
        """The reports that were asked for and are needed, none for time that another has."""
        for report in self.bookmark.reports:
            if self._is_ours(report) and resumable(report.window, need):
                need -= spans([report.window])
                yield report

    def _page(self, need: portion.Interval) -> PageCursor | None:
        page = self.bookmark.page
        return page if page and page.query == self.fingerprint and resumable(page.window, need) else None
