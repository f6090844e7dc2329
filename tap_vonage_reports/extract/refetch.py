"""Refetches what an earlier run read and this one resumed, once all else of a partition is read.

Pages refetch it, or reports where the partition has sub-accounts, which pages do not include.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from tap_vonage_reports.extract.reader import Chunk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeAlias

    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.intervals import TimeSet
    from tap_vonage_reports.planning.planner import Planner

    ReadMore: TypeAlias = Callable[[PartitionSync, TimeSet], Iterator[Chunk]]

logger = logging.getLogger(__name__)


class Refetcher:
    """Refetches the rows of partitions that may have changed. Only the main thread uses it."""

    def __init__(self, planner: Planner, *, by_pages: ReadMore, by_reports: ReadMore) -> None:
        """Set up a fetcher.

        Args:
            planner: Says what may have changed.
            by_pages: Reads time of a partition by pages, although no plan has it.
            by_reports: Reads it by reports.
        """
        self._planner = planner
        self._by_pages = by_pages
        self._by_reports = by_reports

    def prepare(self, syncs: Sequence[PartitionSync]) -> None:
        """Prepare nothing: what may have changed is known only later."""

    def read(self, sync: PartitionSync) -> Iterator[Chunk]:
        """Yield the rows of the time that may have changed.

        Until that is done, the state says that an earlier run read that time, so that the next run does what is left.
        """
        stale = self._planner.stale(sync, sync.resumed_reads, sync.opened_at)
        times = stale | sync.refetch_later
        if times.empty:
            return
        chunks = (self._by_reports if sync.partition.with_subaccounts else self._by_pages)(sync, times)
        if stale.empty:
            yield from chunks
            return
        since = min(read_at for _, read_at in sync.resumed_reads)
        text = "%s: refetching rows that may have changed since an earlier run read them on %s"
        logger.info(text, sync.partition, f"{since:%Y-%m-%d %H:%M}")
        sync.result.fetched.refetch |= stale
        refresh = partial(sync.bookmark.refresh, stale, sync.opened_at, sync.until)
        yield from commit_if_complete(sync, chunks, refresh)

    def poll(self) -> None:
        """Nothing is due: the fetchers of pages and reports poll what they read."""

    def release(self, sync: PartitionSync) -> None:
        """Fetch nothing more: the fetchers of pages and reports release what they read."""

    def close(self) -> None:
        """Nothing runs beside the main thread."""


def commit_if_complete(sync: PartitionSync, chunks: Iterable[Chunk], commit: Callable[[], None]) -> Iterator[Chunk]:
    """Yield chunks, and behind them one that commits something, unless a window was left out or a report is pending.

    Args:
        sync: The partition.
        chunks: Its chunks, of which none is taken yet.
        commit: What to commit.
    """
    gaps = len(sync.result.gaps)
    yield from chunks
    if len(sync.result.gaps) == gaps and not sync.result.pending_reports:
        yield Chunk(commit, checkpoint_due=True, rows=[])
