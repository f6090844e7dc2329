"""The sync path: fetches the windows of all partitions by pages, prefetched by several workers."""

from __future__ import annotations

import logging
from collections import OrderedDict
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from tap_vonage_reports.extract.gaps import ReadFailure, leave_gap
from tap_vonage_reports.extract.pages.commit import WindowCommitter
from tap_vonage_reports.extract.pages.id_lookups import LookupCommitter, LookupResult, fetch_by_ids
from tap_vonage_reports.extract.pages.prefetch import Prefetcher
from tap_vonage_reports.extract.pages.window_reader import read_window
from tap_vonage_reports.extract.reader import Chunk
from tap_vonage_reports.extract.refetch import commit_if_complete
from tap_vonage_reports.intervals import TimeWindow
from tap_vonage_reports.planning.planner import total_unclaimed
from tap_vonage_reports.planning.plans import PagePlan
from tap_vonage_reports.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tap_vonage_reports.api.client import ReportsClient
    from tap_vonage_reports.extract.pages.pagination import Page
    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.intervals import TimeSet
    from tap_vonage_reports.planning.planner import Planner

logger = logging.getLogger(__name__)


class PageFetcher:
    """Fetches the pages of all partitions of a run. Only the main thread uses it."""

    def __init__(
        self,
        client: ReportsClient,
        planner: Planner,
        *,
        workers: int,
        is_ready: Callable[[PartitionSync], bool],
        poll_all: Callable[[], None],
    ) -> None:
        """Set up a fetcher.

        Args:
            client: The API.
            planner: Plans what each partition reads by pages.
            workers: How many windows are read at the same time.
            is_ready: Returns False while a partition has reports to read. Its pages wait for these, so that they
                reach to the present.
            poll_all: Polls all fetchers; called after each page, and several times a second while there is none.
        """
        self._client = client
        self._planner = planner
        self._sizer = planner.window_sizer()
        self._is_ready = is_ready
        self._poll_all = poll_all
        self._workers = workers
        self._prefetcher: Prefetcher[Page | LookupResult | ReadFailure] = Prefetcher(workers)
        self._coming: OrderedDict[PartitionSync, None] = OrderedDict()
        self._plans: dict[PartitionSync, PagePlan] = {}

    def prepare(self, syncs: Sequence[PartitionSync]) -> None:
        """Take the partitions of the run, and prefetch the first pages."""
        self._coming = OrderedDict.fromkeys(syncs)
        self._sizer.share(total_unclaimed(self._planner, syncs))
        self.poll()

    def poll(self) -> None:
        """Start on the next partitions while there are fewer tasks than workers."""
        while self._coming and self._prefetcher.has_idle_workers and self._is_ready(next(iter(self._coming))):
            self._start(self._coming.popitem(last=False)[0])

    def read(self, sync: PartitionSync) -> Iterator[Chunk]:
        """Yield the pages of a partition in order of time, and then the rows that are looked up by id."""
        if sync not in self._plans:
            self.release(sync)
            self._start(sync)
        plan = self._plans[sync]
        _log_plan(sync, plan)
        windows, lookups = WindowCommitter(sync, plan), LookupCommitter(sync, len(plan.id_batches))
        with closing(self._prefetcher.consume(sync, self._poll_all)) as items:
            for item in items:
                if isinstance(item, ReadFailure):
                    leave_gap(sync, item)
                else:
                    yield lookups.chunk(item) if isinstance(item, LookupResult) else windows.chunk(item)
        # A window may have brought some of them meanwhile.
        if missing := lookups.missing & sync.bookmark.pending_ids.keys():
            yield from self._fall_back(sync, missing)

    def release(self, sync: PartitionSync) -> None:
        """Fetch no more pages for a partition."""
        self._plans.pop(sync, None)
        self._coming.pop(sync, None)

    def close(self) -> None:
        """Drop everything that was prefetched, and stop the workers."""
        self._prefetcher.close()

    def _start(self, sync: PartitionSync) -> None:
        """Plan a partition and queue its requests."""
        plan = self._plans[sync] = self._planner.pages(sync, self._sizer.max_length)
        sync.until, sync.read_at = plan.until, plan.read_at
        if plan.resume_from is None:
            sync.bookmark.clear_page()
        pages = [partial(read_window, self._client, sync, window, plan.cursor_in(window)) for window in plan.windows]
        lookups = [partial(fetch_by_ids, self._client, sync.query, ids) for ids in plan.id_batches]
        self._prefetcher.add(sync, [*pages, *lookups], sync.result.fetched)

    def _fall_back(self, sync: PartitionSync, missing: set[str]) -> Iterator[Chunk]:
        """Refetch by windows what could not be looked up by ids."""
        logger.warning(
            "%s: the API does not find %s by ID although it listed them; refetching the lookback instead. "
            "If this persists, set status_refresh to window",
            sync.partition,
            counted(len(missing), "row"),
        )
        refetch = self._planner.fall_back(sync, missing)
        sync.ids_reliable = False
        sync.result.fetched.refetch |= refetch
        if sync.partition.with_subaccounts:
            sync.refetch_later = refetch
            # The reports may be left to the next run, which takes them only for time that is missing.
            yield Chunk(partial(sync.bookmark.give_up_ids, missing, refetch), checkpoint_due=True, rows=[])
        else:
            sync.bookmark.reopen(refetch)
            untrack = partial(sync.bookmark.untrack, missing)
            yield from commit_if_complete(sync, self.read_more(sync, refetch), untrack)

    def read_more(self, sync: PartitionSync, times: TimeSet) -> Iterator[Chunk]:
        """Yield the pages of time that no plan has.

        They are fetched by workers of their own: the others wait until what comes next is taken.

        Args:
            sync: The partition.
            times: The time to read.
        """
        plan = PagePlan(self._planner.sync_windows(times), None, [], sync.until, sync.read_at)
        _log_plan(sync, plan)
        committer = WindowCommitter(sync, plan)
        prefetcher: Prefetcher[Page | ReadFailure] = Prefetcher(self._workers)
        work = [partial(read_window, self._client, sync, window, None) for window in plan.windows]
        with closing(prefetcher):
            prefetcher.add(sync, work, sync.result.fetched)
            with closing(prefetcher.consume(sync, self._poll_all)) as items:
                for item in items:
                    if isinstance(item, ReadFailure):
                        leave_gap(sync, item)
                    else:
                        yield committer.chunk(item)


def _log_plan(sync: PartitionSync, plan: PagePlan) -> None:
    """Log in one line what is read by pages."""
    if plan.windows:
        logger.info(
            "%s: syncing %s in %s%s",
            sync.partition,
            TimeWindow(plan.windows[0].start, plan.windows[-1].end),
            counted(len(plan.windows), "window"),
            " (resuming one)" if plan.resume_from else "",
        )
    if plan.id_batches:
        count = counted(sum(map(len, plan.id_batches)), "non-final row")
        logger.info("%s: looking up %s by ID", sync.partition, count)
    if not (plan.windows or plan.id_batches or sync.report_windows):
        logger.info("%s: nothing to read, covered until %s", sync.partition, f"{sync.until:%Y-%m-%d %H:%M}")
