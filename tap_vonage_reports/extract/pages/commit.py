"""Turns pages into chunks: the rows of a page, with the commit that advances the bookmark past them."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING

from tap_vonage_reports.extract.reader import Chunk
from tap_vonage_reports.planning.date_range import END_MARGIN
from tap_vonage_reports.plurals import counted
from tap_vonage_reports.state.values import PageCursor

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tap_vonage_reports.extract.pages.pagination import Page
    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.intervals import TimeWindow
    from tap_vonage_reports.planning.plans import PagePlan

logger = logging.getLogger(__name__)

PAGES_PER_CHECKPOINT = 10
"""Inside a window, STATE is due after this many pages: the pages that a kill can cost."""


class WindowProgress:
    """The progress of one window.

    Attributes:
        window: The window.
        is_tracked: True while all its non-final rows are tracked by id.
        tracked: The ids that it added to those tracked.
        pages: How many pages came.
        rows: How many rows came.
        answered_at: When the API returned the first page, on the earliest clock.
        started: When the first page was taken, on this machine's monotonic clock.
    """

    def __init__(self, window: TimeWindow, *, is_tracked: bool) -> None:
        """Start with the first page of a window.

        Args:
            window: The window.
            is_tracked: True if its non-final rows are to be tracked by id.
        """
        self.window = window
        self.is_tracked = is_tracked
        self.tracked: set[str] = set()
        self.pages = 0
        self.rows = 0
        self.answered_at: datetime | None = None
        self.started = time.monotonic()

    def count(self, page: Page) -> None:
        """Count a page."""
        self.pages += 1
        self.rows += len(page.records)
        self.answered_at = self.answered_at or page.answered_at


class WindowCommitter:
    """Commits the windows of one plan, which come in order of time, page by page."""

    def __init__(self, sync: PartitionSync, plan: PagePlan) -> None:
        """Set up a committer.

        Args:
            sync: The partition.
            plan: What is read of it by pages.
        """
        self._sync = sync
        self._plan = plan
        self._progress: WindowProgress | None = None
        self._told: set[str] = set()

    def chunk(self, page: Page) -> Chunk:
        """Return the rows of a page as a chunk."""
        progress = self._progress
        if progress is None or progress.window != page.window:
            progress = self._progress = WindowProgress(page.window, is_tracked=self._tracks(page))
        progress.count(page)
        self._log(page)
        commit: Callable[[], None]
        if page.cursor is None:
            self._progress = None
            self._sync.result.gaps_in_a_row = 0
            if (resumed := self._plan.cursor_in(page.window)) and not page.is_restarted:
                self._sync.resumed_reads.append((page.window, resumed.read_at))
            windows_left = sum(planned.start > page.window.start for planned in self._plan.windows)
            commit, due = partial(self._commit_window, page, progress, windows_left), True
        else:
            commit = partial(self._commit_page, page, page.cursor, progress)
            due = progress.pages % PAGES_PER_CHECKPOINT == 0
        return Chunk(commit, due, page.records)

    def _log(self, page: Page) -> None:
        """Log once per partition and kind what the API contradicts itself in."""
        if page.contradiction not in {"", *self._told}:
            self._told.add(page.contradiction)
            text = "%s: the API marked a page of %s as the last one (SUCCESS) but returned a cursor %s"
            logger.warning(text, self._sync.partition, page.window, page.contradiction)

    def _tracks(self, page: Page) -> bool:
        """Return True if the non-final rows of a window are tracked, including those of pages read before."""
        sync, resumed = self._sync, self._plan.cursor_in(page.window)
        return sync.tracker is not None and sync.ids_reliable and (resumed is None or resumed.is_tracked)

    def _commit_page(self, page: Page, cursor: str, progress: WindowProgress) -> None:
        sync = self._sync
        self._track(page, progress)
        sync.bookmark.cap_page_window(sync.window_limit.length)
        sync.bookmark.commit_page(
            PageCursor(
                page.window,
                cursor,
                page.iv,
                sync.query.fingerprint,
                sync.read_at,
                progress.is_tracked,
                page.rows_read,
            )
        )

    def _commit_window(self, page: Page, progress: WindowProgress, windows_left: int) -> None:
        sync = self._sync
        self._track(page, progress)
        # Rows later than the first page's answer may be missing, whatever bound was requested.
        answered_at = progress.answered_at or page.answered_at
        window = page.window.until((answered_at - END_MARGIN).replace(microsecond=0))
        sync.window_limit.count_read(window)
        sync.bookmark.cap_page_window(sync.window_limit.length)
        sync.bookmark.commit_window(window, sync.read_at, is_tracked=progress.is_tracked)
        sync.bookmark.volume.count(window, page.rows_read)
        sync.result.count_window(page.window)
        seconds = time.monotonic() - progress.started
        logger.info(
            "%s: read %s (%s in %.1f s; windows left: %d)",
            sync.partition,
            page.window,
            counted(progress.rows, "row"),
            seconds,
            windows_left,
        )

    def _track(self, page: Page, progress: WindowProgress) -> None:
        """Track the non-final rows of a page by their ids, while there is room."""
        bookmark, tracker = self._sync.bookmark, self._sync.tracker
        if tracker is None or not progress.is_tracked:
            return
        change = tracker.assess(page.records, page.window, self._sync.read_at)
        if not change.fits(bookmark.pending_ids):
            progress.is_tracked = False
            bookmark.untrack(progress.tracked)
            change.log(self._sync.partition, page.window)
            return
        progress.tracked |= change.pending.keys() - bookmark.pending_ids.keys()
        bookmark.track(change.pending)
        bookmark.untrack(change.final)
