"""Refetches by reports what pages cannot: rows of sub-accounts that may have changed since an earlier run read them."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from tap_vonage_reports.extract.reader import Chunk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.extract.reports.fetcher import ReportFetcher
    from tap_vonage_reports.planning.planner import Planner

logger = logging.getLogger(__name__)


class ReportRefetcher:
    """Refetches partitions with sub-accounts, once all else of them is read. Only the main thread uses it."""

    def __init__(self, planner: Planner, reports: ReportFetcher) -> None:
        """Set up a fetcher.

        Args:
            planner: Says what may have changed.
            reports: Fetches the reports.
        """
        self._planner = planner
        self._reports = reports

    def prepare(self, syncs: Sequence[PartitionSync]) -> None:
        """Prepare nothing: what may have changed is known only later."""

    def read(self, sync: PartitionSync) -> Iterator[Chunk]:
        """Yield the reports of the time that may have changed.

        Until all of them are read, the state says that an earlier run read that time, so that the next run does what
        is left.
        """
        if not sync.partition.with_subaccounts:
            return
        stale = self._planner.stale(sync, sync.resumed_reads, sync.opened_at)
        times = stale | sync.refetch_later
        if times.empty:
            return
        sync.result.fetched.refetch |= times
        gaps = len(sync.result.gaps)
        logger.info("%s: refetching by report what may have changed since an earlier run read it", sync.partition)
        yield from self._reports.read_next(sync, self._planner.reports_of(times, sync.bookmark))
        if len(sync.result.gaps) > gaps or sync.result.pending_reports:
            return
        if not stale.empty:
            refresh = partial(sync.bookmark.refresh, stale, sync.opened_at, sync.until)
            yield Chunk(refresh, checkpoint_due=True, rows=[])

    def poll(self) -> None:
        """Nothing is due: the fetcher of reports polls them."""

    def release(self, sync: PartitionSync) -> None:
        """Fetch nothing more: the fetcher of reports releases them."""

    def close(self) -> None:
        """Nothing runs beside the main thread."""
