"""The bookmark of one partition: its coverage and its resume position. The only writer of the partition's state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_vonage_reports import intervals
from tap_vonage_reports.intervals import EMPTY, TimeWindow
from tap_vonage_reports.state import format as state_format
from tap_vonage_reports.state.coverage import Coverage
from tap_vonage_reports.state.pending_ids import PendingIds
from tap_vonage_reports.state.report_marks import ReportMarks
from tap_vonage_reports.state.volume import VolumeCounter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime, timedelta

    from tap_vonage_reports.intervals import TimeSet
    from tap_vonage_reports.state.values import PageCursor, PartitionState, PendingReport


class Bookmark(ReportMarks):
    """The bookmark of one partition, kept in its Singer state.

    The state's own dictionary is changed in place, in one step for each event, so that it can be written at any moment
    and is never ahead of the records.

    Attributes:
        coverage: The time that was read completely.
        page: The page to resume at inside a window; None where no window is open.
        pending_ids: Ids of rows to look up again, each with the hour of its row.
        last_read_at: When the state that was given was last added to; None where it covers nothing.
        max_page_window: The longest window that did not outlive its cursors; None where none did.
        gaps: The time that was left out because it could not be read. It is never covered.
        volume: How many rows the windows read last had.
        started: True if the API has ever served the partition, in this run or an earlier one.
        filters_changed: True if the state was written under other filters, so that it counts for nothing.
    """

    def __init__(
        self, state: dict[str, Any], *, stream: str, replication_key: str, row_filter: str, since: datetime
    ) -> None:
        """Read the state of a partition.

        Args:
            state: The partition's state, which is changed in place from here on.
            stream: The stream's name, for messages.
            replication_key: The stream's replication key.
            row_filter: Fingerprint of the filters that decide which rows the partition has. Coverage under other
                filters counts for nothing.
            since: Where the coverage of a bare `replication_key_value` starts.

        Raises:
            StateError: The state is malformed.
        """
        stored = state_format.read_partition(state, stream)
        super().__init__(state, stored)
        self._replication_key = replication_key
        self._row_filter = row_filter
        self.coverage, self.gaps = _covered(stored, since)
        self.page = stored.page
        self.pending_ids = PendingIds(stored.pending_ids)
        self.last_read_at = max([*self.coverage.ends, *self.coverage.read_at.values()], default=None)
        self.max_page_window = stored.max_page_window
        self.started = bool(self.coverage.times or stored.covered is not None or self.page or self.reports)
        self.filters_changed = bool(self.coverage.times) and stored.row_filter != row_filter
        if self.filters_changed:
            self.reset()
        self.volume = VolumeCounter(state, None if self.filters_changed else stored.volume, self.coverage.times)
        self.clear_progress()

    def reset(self) -> None:
        """Forget everything that was read: the next plan starts over."""
        self.coverage = Coverage()
        self.gaps = EMPTY
        self.page = None
        self.pending_ids = PendingIds()
        state_format.clear_coverage(self._state)

    def truncate(self, end: datetime) -> bool:
        """Drop what lies at or after `end`, which cannot have been read yet.

        Returns:
            True if there was any.
        """
        before = self.coverage
        self.coverage = before.truncate(end)
        return bool(self.coverage.times != before.times)

    def apply_lookback(self, refetch: TimeSet, tracked: TimeSet | None) -> None:
        """Mark covered time for refetching.

        The next `commit_window` persists it, so an interrupted run keeps the old coverage.

        Args:
            refetch: What to read again.
            tracked: What stays tracked by id; None where ids are not used.
        """
        if tracked is None:
            self.pending_ids = PendingIds()
        self.coverage = self.coverage.track(EMPTY if tracked is None else tracked)
        self.reopen(refetch)
        # A window is refused for as long as any of it may be read again.
        covered = self.coverage.times
        self._set_refused([one for one in self.refused_reports if intervals.to_intervals([one.window]) not in covered])

    def reopen(self, times: TimeSet) -> None:
        """Mark time for refetching. The next `commit_window` persists it."""
        self.coverage = self.coverage.reopen(times)

    def give_up_ids(self, ids: Iterable[str], times: TimeSet) -> None:
        """Record that rows cannot be looked up by ID, so that time is read again instead, by this run or the next.

        Args:
            ids: The ids of the rows.
            times: The time, with the rows in it.
        """
        self.reopen(times)
        self.gaps |= times
        if not times.empty:
            self._write_coverage()
        self.untrack(ids)

    def commit_page(self, page: PageCursor) -> None:
        """Record that the records before `page` are written."""
        self.started = True
        self.page = page
        state_format.write_page(self._state, page)

    def clear_page(self) -> None:
        """Forget the open page: its window is read from its first page, or not at all."""
        self.page = None
        state_format.write_page(self._state, None)

    def commit_window(self, window: TimeWindow, read_at: datetime, *, is_tracked: bool = False) -> None:
        """Record that all records of `window` are written.

        Args:
            window: What was read completely.
            read_at: When it was read: rows older than the lookback at that time are final.
            is_tracked: True if all its non-final rows are tracked (see `track`).
        """
        self.started = True
        self.coverage = self.coverage.add(window, read_at, is_tracked=is_tracked)
        self.gaps -= self.coverage.times
        if self.coverage.times.empty:
            return
        if self.page and self.page.window.start == window.start:
            self.clear_page()
        if not self.pending_ids:
            state_format.clear_pending_ids(self._state)
        self._write_coverage()

    def leave_gap(self, window: TimeWindow) -> None:
        """Record that a window was left out. The `commit_window` of a later one persists it.

        Without a later one, the bookmark ends before the gap anyway. If nothing was read yet, the gap itself says where
        the next run begins, which moves with the clock without a `start_date`.
        """
        self.gaps |= intervals.to_intervals([window]) - self.coverage.times
        if not self.started:
            state_format.write_gaps(self._state, self.gaps)

    def refresh(self, times: TimeSet, read_at: datetime, until: datetime) -> None:
        """Record that `times`, and with it all that may have changed, was read again: see `Coverage.refresh`."""
        self.coverage = self.coverage.refresh(times, read_at, until)
        self._write_coverage()

    def track(self, ids: Mapping[str, datetime]) -> None:
        """Track rows by id, to look them up again. Call it before `commit_page` or `commit_window` moves over them.

        Args:
            ids: Ids, each with the hour of its row.
        """
        state_format.write_pending_ids(self._state, self.pending_ids.track(ids))

    def untrack(self, ids: Iterable[str]) -> None:
        """Stop tracking rows: they are final, and written."""
        state_format.write_pending_ids(self._state, self.pending_ids.untrack(ids))

    def add_report(self, report: PendingReport) -> None:
        """Record that a report was requested. STATE has to be written before anything waits for it."""
        self.started = True
        self._set_reports([*self.reports, report])

    def cap_page_window(self, length: timedelta | None) -> None:
        """Record that longer page windows outlive their cursors; None if none does any more."""
        if length != self.max_page_window:
            self.max_page_window = length
            state_format.write_max_page_window(self._state, length)

    def start_progress(self) -> None:
        """Tell the SDK that progress is kept, so that it does not warn that it is not."""
        state_format.write_progress(self._state)

    def clear_progress(self) -> None:
        """Remove what only the SDK needs while records are written."""
        state_format.clear_progress(self._state)

    def _write_coverage(self) -> None:
        state_format.write_coverage(self._state, self._replication_key, self.coverage, self.gaps, self._row_filter)


def _covered(stored: PartitionState, since: datetime) -> tuple[Coverage, TimeSet]:
    """Return what a state covers, and its gaps.

    Args:
        stored: The state.
        since: Where the coverage of a bare `replication_key_value` starts.
    """
    covered, until = stored.covered, stored.until
    if covered is None:
        covered = [TimeWindow(since, until)] if until and until > since else []
    coverage = Coverage.of(covered, stored.read_at, stored.tracked)
    gaps = intervals.to_intervals(stored.gaps) - coverage.times
    is_held_back = bool(gaps) and until == gaps.lower
    if until and not is_held_back:  # set back by hand, it means: read again from there
        coverage = coverage.reopen(intervals.since(until))
    return coverage, gaps & intervals.since(since)  # nobody reads what is earlier
