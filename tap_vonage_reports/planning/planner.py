"""The planner: chooses the windows that each partition reads by pages or by reports. Pure: changes no state.

A run and `--plan` use the same planner. Per partition it takes [start, end) minus the covered time; the lookback was
removed from that coverage beforehand. With `status_refresh: ids`, part of the lookback becomes lookups by ID.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tap_vonage_reports.config.schema import ASYNC, SYNC
from tap_vonage_reports.intervals import (
    EMPTY,
    TimeWindow,
    between,
    duration,
    hour_windows,
    since,
    split,
    to_intervals,
    to_windows,
)
from tap_vonage_reports.planning.lookups import id_batches, lookups_pay
from tap_vonage_reports.planning.plans import LookbackPlan, PagePlan, ReportPlan
from tap_vonage_reports.planning.report_length import report_length
from tap_vonage_reports.planning.windows import (
    MAX_SYNC_WINDOW,
    adoptable_reports,
    async_intervals,
    is_resumable,
    lookback_intervals,
    plan_windows,
    shared_window_length,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tap_vonage_reports.config.settings import Settings
    from tap_vonage_reports.intervals import TimeSet
    from tap_vonage_reports.planning.date_range import DateRange
    from tap_vonage_reports.planning.partition import Partition
    from tap_vonage_reports.planning.plans import PartitionScope
    from tap_vonage_reports.state.bookmark import Bookmark
    from tap_vonage_reports.state.values import PageCursor, PendingReport

REPORT_STATUS_RETENTION = timedelta(days=4)
"""Vonage keeps the status of a report this long [confirmed]."""
RESUME_GRACE = REPORT_STATUS_RETENTION
"""A resumed window may start this long before the retention limit: Vonage keeps a report's status this long."""
WINDOWS_PER_WORKER = 4
"""With fewer windows for each worker, most workers would wait for the last one."""
SECONDS_OF_WINDOWS = 2
"""Windows made for the workers' sake may cost the requests of this many seconds."""


@dataclass
class WindowSizer:
    """The length of one run's windows: shorter where there is little to read, so that every worker has some.

    Attributes:
        workers: How many windows are read at the same time.
        requests_per_second: The rate limit.
        max_length: The longest window.
    """

    workers: int
    requests_per_second: float
    max_length: timedelta

    def share(self, total: timedelta) -> None:
        """Divide `total`, the time that the whole run reads by pages, among the workers."""
        enough = max(1, min(WINDOWS_PER_WORKER * self.workers, int(SECONDS_OF_WINDOWS * self.requests_per_second)))
        self.max_length = shared_window_length(total, enough if self.workers > 1 else 1, self.max_length)


class Planner:
    """Plans the partitions of one run."""

    def __init__(self, settings: Settings, dates: DateRange) -> None:
        """Set up a planner.

        Args:
            settings: The settings.
            dates: The dates that the run may read.
        """
        self._settings = settings
        self._dates = dates

    def now(self) -> datetime:
        """Return since when rows that are read from now on are read."""
        return self._dates.read_at()

    def window_sizer(self) -> WindowSizer:
        """Return the limits of windows before it is known how much there is to read."""
        settings = self._settings
        return WindowSizer(
            settings.max_concurrent_requests, settings.max_requests_per_second, max_length=settings.sync_window
        )

    def end(self, partition: Partition) -> datetime:
        """Return where to stop reading a partition, as of now."""
        end = self._dates.end()
        return min(end, partition.end) if partition.end else end

    def tracks_ids(self, partition: Partition) -> bool:
        """Return True if non-final rows of a partition are looked up by id instead of refetching the lookback."""
        product = partition.product
        return self._settings.refreshes_by_id(product) and (partition.direction or "") in product.final

    def lookback(self, partition: Partition, bookmark: Bookmark, until: datetime) -> LookbackPlan:
        """Plan what a partition refetches.

        Args:
            partition: The partition.
            bookmark: What earlier runs read.
            until: Where reading ends.
        """
        coverage = bookmark.coverage
        covered = coverage.times
        length = self._settings.lookback_of(partition.product)
        covered_since = next((part.start for part in to_windows(covered | bookmark.gaps)), None)
        refetch = lookback_intervals(covered, length, until, coverage.read_at)
        tracked = None
        if self.tracks_ids(partition):
            late = lookback_intervals(covered, min(self._settings.late_rows, length), until, coverage.read_at)
            tracked = coverage.tracked & refetch
            if partition.with_subaccounts and not lookups_pay(bookmark, duration(tracked), self._settings):
                tracked = EMPTY
            refetch = (refetch - tracked) | late
        else:
            refetch |= covered & hour_windows(bookmark.pending_ids.values())
        return LookbackPlan(refetch, tracked, covered_since, covered - refetch)

    def missing(self, scope: PartitionScope) -> TimeSet:
        """Return the time that a partition has to read, by whatever path."""
        return self._missing(scope, scope.until)

    def unclaimed(self, scope: PartitionScope) -> TimeSet:
        """Return the time that no report reads, and pages have to, as far as that is known now."""
        return self.missing(scope) - to_intervals(scope.report_windows)

    def reports(self, scope: PartitionScope) -> ReportPlan:
        """Plan what a partition reads by reports."""
        settings, bookmark = self._settings, scope.bookmark
        mode = self._mode(scope.partition)
        missing = self.missing(scope)
        if not scope.partition.with_subaccounts:  # no page can replace theirs
            missing -= to_intervals(refused.window for refused in bookmark.refused_reports)
        if page := _resumable_page(scope, missing):
            missing -= to_intervals([page.window])
        kept = list(_resumable_reports(scope, missing)) if mode != SYNC else []
        kept_windows = [report.window for report in kept]
        # A report that was requested is read. What it leaves decides by itself: for a few days, pages are cheaper.
        kept_times = to_intervals(kept_windows)
        by_report = async_intervals(missing - kept_times, mode, settings.backfill, scope.until) | kept_times
        now = self._dates.clock()
        expired = [report for report in kept if now - report.requested_at >= REPORT_STATUS_RETENTION]
        return ReportPlan(
            plan_windows(by_report, report_length(settings, bookmark), kept_windows),
            resumed=[report for report in kept if report not in expired],
            expired=expired,
            stale=[report for report in bookmark.reports if report not in kept],
        )

    def reports_of(self, times: TimeSet, bookmark: Bookmark) -> ReportPlan:
        """Plan new reports for some time, whatever was read of it."""
        return ReportPlan(split(times, report_length(self._settings, bookmark)), [], [], [])

    def unreadable(self, scope: PartitionScope) -> TimeSet:
        """Return the missing time that neither path reads: its report is refused, and pages do not know a filter."""
        if not self._settings.report_filters_of(scope.partition.product):
            return EMPTY
        return self.missing(scope) & to_intervals(refused.window for refused in scope.bookmark.refused_reports)

    def adoptable(self, scope: PartitionScope, plan: ReportPlan, found: Iterable[PendingReport]) -> list[PendingReport]:
        """Return the reports of earlier runs to adopt.

        Args:
            scope: The partition.
            plan: The reports that it resumes, and that it would request.
            found: Reports that its query has requested, and that its state does not name.
        """
        start = self._start(scope)
        if start != self._settings.start_date:  # it moves with the clock, so earlier runs started earlier
            start -= RESUME_GRACE
        missing = between(start, scope.until) - scope.bookmark.coverage.times
        page = _resumable_page(scope, missing)
        missing -= to_intervals([*(report.window for report in plan.resumed), *([page.window] if page else [])])
        unread = [report for report in found if not _was_read(scope, report)]
        return adoptable_reports(unread, missing, plan.to_request, self._dates.clock())

    def pages(self, scope: PartitionScope, max_length: timedelta) -> PagePlan:
        """Plan what a partition reads by pages, as of now.

        Args:
            scope: The partition, whose reports are planned or read.
            max_length: How long a window may be.
        """
        is_async = self._mode(scope.partition) == ASYNC
        until = scope.until if is_async else self.end(scope.partition)  # later than when the run was planned
        read_at = scope.read_at if scope.report_windows else self._dates.read_at()
        missing = self._missing(scope, until) - self.unreadable(scope)
        by_pages = missing - to_intervals(scope.report_windows)
        page = _resumable_page(scope, by_pages)
        windows = plan_windows(by_pages, max_length, [page.window] if page else [])
        if page and not self.stale(scope, [(page.window, page.read_at)], read_at).empty:
            # Rows of the pages before may have changed since: the next run looks back from when they were read.
            read_at = min(read_at, page.read_at)
        return PagePlan(windows, page, id_batches(scope, missing), until, read_at)

    def stale(
        self, scope: PartitionScope, resumed: Iterable[tuple[TimeWindow, datetime]], opened_at: datetime
    ) -> TimeSet:
        """Return the time to refetch because it was read from pages and reports of an earlier run.

        Rows older than the lookback were final when that run read them; the others may have changed, or arrived, since.

        Args:
            scope: The partition.
            resumed: The windows of those pages and reports, each with when their rows were read.
            opened_at: When this run began. What it read itself is as fresh as it can be.
        """
        length, stale = self._settings.lookback_of(scope.partition.product), EMPTY
        for window, read_at in resumed:
            if read_at < opened_at:
                stale |= lookback_intervals(to_intervals([window]), length, window.end, {window.end: read_at})
        return stale

    def fall_back(self, scope: PartitionScope, missing_ids: Iterable[str]) -> TimeSet:
        """Return the time to refetch because the API does not find ids that it listed.

        That is the time of their rows, and all later time that this run does not read anyway.
        """
        first = min(scope.bookmark.pending_ids[name] for name in missing_ids)
        # The hour may be the last one of the row's window.
        return scope.lookback.kept & since(first - MAX_SYNC_WINDOW)

    def sync_windows(self, times: TimeSet) -> list[TimeWindow]:
        """Return a set of time as windows of at most `sync_window_hours`."""
        return split(times, self._settings.sync_window)

    def _mode(self, partition: Partition) -> str:
        """Return the fetch mode of a partition: only reports include sub-accounts [confirmed]."""
        return ASYNC if partition.with_subaccounts else self._settings.mode_of(partition.product)

    def _missing(self, scope: PartitionScope, until: datetime) -> TimeSet:
        return between(self._start(scope), until) - scope.bookmark.coverage.times

    def _start(self, scope: PartitionScope) -> datetime:
        """Return where to start. Where that moves with the clock, windows that earlier runs began are continued."""
        dates, product, start_date = self._dates, scope.partition.product, self._settings.start_date
        earliest, start = dates.earliest(product), dates.start(product, scope.partition.end)
        if start_date is None:
            covered_since = scope.lookback.covered_since
            start = max(min(start, covered_since or start), earliest)
        elif start == start_date:
            return start
        begun = [
            window.start
            for window in _begun_windows(scope)
            if window.end > earliest and window.start >= earliest - RESUME_GRACE
        ]
        return min([start, *begun])


def total_unclaimed(planner: Planner, scopes: Iterable[PartitionScope]) -> timedelta:
    """Return how much time a run reads by pages, over all partitions, as far as that is known now."""
    return sum((duration(planner.unclaimed(scope)) for scope in scopes), timedelta(0))


def _begun_windows(scope: PartitionScope) -> Iterator[TimeWindow]:
    """Yield the windows of the open page and of the requested reports, if they belong to this query."""
    page = scope.bookmark.page
    if page and page.query == scope.query.fingerprint:
        yield page.window
    yield from (report.window for report in scope.bookmark.reports if _belongs(scope, report))


def _belongs(scope: PartitionScope, report: PendingReport) -> bool:
    return report.fingerprint == scope.query.report_fingerprint(report.window)


def _resumable_reports(scope: PartitionScope, missing: TimeSet) -> Iterator[PendingReport]:
    """Yield the requested reports that are needed, none for time that another one covers."""
    for report in scope.bookmark.reports:
        if _belongs(scope, report) and is_resumable(report.window, missing):
            missing -= to_intervals([report.window])
            yield report


def _was_read(scope: PartitionScope, report: PendingReport) -> bool:
    """Return True if an earlier run may have read a report, so that it has nothing new for time that is refetched."""
    bookmark = scope.bookmark
    if bookmark.adopt_after:
        return report.requested_at <= bookmark.adopt_after
    if bookmark.last_read_at is None or (to_intervals([report.window]) & scope.lookback.refetch).empty:
        return False
    # A run may last long: reports that it reads are requested later than it says that it read.
    return report.requested_at <= bookmark.last_read_at + REPORT_STATUS_RETENTION


def _resumable_page(scope: PartitionScope, missing: TimeSet) -> PageCursor | None:
    page = scope.bookmark.page
    return page if page and page.query == scope.query.fingerprint and is_resumable(page.window, missing) else None
