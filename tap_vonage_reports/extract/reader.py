"""Reads one partition: a chain of fetchers, each of which yields chunks of rows in time order.

`PartitionReader` asks every fetcher in turn: reports first, then pages. A further way to fetch rows is one more
`Fetcher`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeAlias

from tap_vonage_reports.intervals import EMPTY
from tap_vonage_reports.planning.window_limit import WindowLimit
from tap_vonage_reports.records.report_archive import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from tap_vonage_reports.extract.status_refresh import StatusTracker
    from tap_vonage_reports.intervals import TimeSet, TimeWindow
    from tap_vonage_reports.metrics import PartitionResult
    from tap_vonage_reports.planning.partition import Partition, Query
    from tap_vonage_reports.planning.plans import LookbackPlan
    from tap_vonage_reports.state.bookmark import Bookmark

AcceptArchive: TypeAlias = "Callable[[BinaryIO, int | None], int]"


@dataclass(eq=False)
class PartitionSync:
    """One partition while it is read.

    Attributes:
        partition: The partition.
        query: The query that selects its rows.
        bookmark: What was read.
        lookback: What is refetched because it may have changed.
        tracker: Tells which rows have to be looked up again; None where the lookback is refetched instead.
        result: Its line in the summary.
        until: Where reading ends.
        read_at: Since when its rows are read: by this run, or by the one whose page or report it resumes.
        opened_at: When this run began with the partition: it read nothing of it before.
        tracked_before: The names of the rows that earlier runs have tracked.
        report_windows: What reports read.
        resumed_reports: The ids of reports that an earlier run requested.
        resumed_reads: The windows of pages and reports of an earlier run that this one has read to their ends, each
            with when the rows were read back then. They may have changed since.
        refetch_later: Time to refetch by reports, once all else is read.
        max_report_window: The longest window of a report by the settings.
        ids_reliable: False once the API did not find an id that it had listed: rows are not tracked by id any more.
        accept_archive: Reads a report's file to its end, given its announced row count, and returns its row count;
            raises ArchiveError unless it is whole. BATCH writes the rows on the way.
        window_limit: How long its page windows may be.
    """

    partition: Partition
    query: Query
    bookmark: Bookmark
    lookback: LookbackPlan
    tracker: StatusTracker | None
    result: PartitionResult
    until: datetime
    read_at: datetime
    report_windows: list[TimeWindow] = field(default_factory=list)
    resumed_reports: frozenset[str] = frozenset()
    resumed_reads: list[tuple[TimeWindow, datetime]] = field(default_factory=list)
    refetch_later: TimeSet = EMPTY
    max_report_window: timedelta = timedelta.max
    ids_reliable: bool = True
    accept_archive: AcceptArchive = verify
    window_limit: WindowLimit = field(default_factory=WindowLimit)

    def __post_init__(self) -> None:
        """Note when the partition was opened, and which rows were tracked then."""
        self.opened_at = self.read_at
        self.tracked_before = frozenset(self.bookmark.pending_ids)


@dataclass(frozen=True)
class Chunk:
    """Rows that came together: a page, looked-up rows, or the file of a report.

    Attributes:
        commit: Moves the bookmark over the rows. Call it once they are written.
        checkpoint_due: True if STATE should be written then.
        rows: The rows of a page; None for a report.
        report_file: The verified file of a report; None for a report without rows, and for a page.
        row_count: How many rows the report has.
    """

    commit: Callable[[], None]
    checkpoint_due: bool
    rows: list[dict[str, Any]] | None = None
    report_file: BinaryIO | None = None
    row_count: int = 0

    @property
    def from_report(self) -> bool:
        """True for a report, with rows or without. The next one cannot be requested before this one is committed."""
        return self.rows is None

    def __len__(self) -> int:
        """Return how many rows there are."""
        return self.row_count if self.rows is None else len(self.rows)


class Fetcher(Protocol):
    """A way to fetch the rows of partitions.

    Only the main thread calls these methods, and only the main thread changes bookmarks and writes state.
    """

    def prepare(self, syncs: Sequence[PartitionSync]) -> None:
        """Take the partitions of the run, in the order in which they will be read."""

    def read(self, sync: PartitionSync) -> Iterator[Chunk]:
        """Yield the rows of a partition in order of time. A chunk has to be committed before the next one is taken."""

    def poll(self) -> None:
        """Do what is due meanwhile. Never blocks for longer than one request takes."""

    def release(self, sync: PartitionSync) -> None:
        """Fetch nothing more for a partition."""

    def close(self) -> None:
        """Stop what runs beside the main thread."""


class PartitionReader:
    """Reads partitions through all fetchers."""

    def __init__(self, *fetchers: Fetcher) -> None:
        """Set up a reader.

        Args:
            fetchers: The fetchers, in the order in which they read a partition.
        """
        self._fetchers = fetchers

    def prepare(self, syncs: Sequence[PartitionSync]) -> None:
        """Let every fetcher start on the partitions of the run."""
        for fetcher in self._fetchers:
            fetcher.prepare(syncs)

    def read(self, sync: PartitionSync) -> Iterator[Chunk]:
        """Yield the rows of a partition.

        Raises:
            ApiError: The API refuses the partition, or several windows in a row cannot be read.
            FatalApiError: The API cannot be used at all.
        """
        for fetcher in self._fetchers:
            yield from fetcher.read(sync)
            if sync.result.pending_reports:
                return  # pages wait for reports, in this run or in the one that reads them

    def poll(self) -> None:
        """Do what is due while records are written: poll reports, request others, give the workers work."""
        for fetcher in self._fetchers:
            fetcher.poll()

    def release(self, sync: PartitionSync) -> None:
        """Fetch nothing more for a partition."""
        for fetcher in self._fetchers:
            fetcher.release(sync)

    def close(self) -> None:
        """Stop what runs beside the main thread."""
        for fetcher in self._fetchers:
            fetcher.close()
