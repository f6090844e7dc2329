"""The planner's input and output for one partition: its state, and its plans for lookback, reports and pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tap_vonage_reports.intervals import to_intervals

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from datetime import datetime

    from tap_vonage_reports.intervals import TimeSet, TimeWindow
    from tap_vonage_reports.planning.partition import Partition, Query
    from tap_vonage_reports.state.bookmark import Bookmark
    from tap_vonage_reports.state.values import PageCursor, PendingReport


@dataclass(frozen=True)
class LookbackPlan:
    """The time that a partition refetches because rows may have changed since they were read.

    Attributes:
        refetch: Covered time to read again.
        tracked: Covered time whose non-final rows are looked up by their ids instead; None where ids are not used.
        covered_since: Where the coverage of earlier runs starts, or a gap before it; None where there is none.
        kept: What stays covered.
    """

    refetch: TimeSet
    tracked: TimeSet | None
    covered_since: datetime | None
    kept: TimeSet


@dataclass(frozen=True)
class ReportPlan:
    """The windows that a partition reads by reports.

    Attributes:
        windows: All windows, in order of time.
        resumed: Reports that an earlier run requested, and that are read now.
        expired: Reports that an earlier run requested and Vonage has forgotten; their windows are requested again.
        stale: Reports that an earlier run requested and nobody needs any more.
    """

    windows: list[TimeWindow]
    resumed: list[PendingReport]
    expired: list[PendingReport]
    stale: list[PendingReport]

    @property
    def to_request(self) -> TimeSet:
        """The time whose reports have to be requested."""
        return to_intervals(self.windows) - to_intervals(report.window for report in self.resumed)


@dataclass(frozen=True)
class PagePlan:
    """The windows that a partition reads by pages, and the ids that it looks up.

    Attributes:
        windows: All windows, in order of time.
        resume_from: The page to resume at in one of them.
        id_batches: Ids to look up after that, as many together as a request takes.
        until: Where reading ends.
        read_at: Since when the partition's rows are read: now, or when the resumed page was stored.
    """

    windows: list[TimeWindow]
    resume_from: PageCursor | None
    id_batches: list[tuple[str, ...]]
    until: datetime
    read_at: datetime

    def cursor_in(self, window: TimeWindow) -> PageCursor | None:
        """Return the page to resume at in a window; None where it is read from its first page."""
        resume = self.resume_from
        return resume if resume and resume.window.start == window.start else None


class PartitionScope(Protocol):
    """A partition as the planner sees it. The planner only reads it."""

    @property
    def partition(self) -> Partition:
        """The partition."""

    @property
    def query(self) -> Query:
        """The query that selects its rows."""

    @property
    def bookmark(self) -> Bookmark:
        """The bookmark, after the lookback was applied."""

    @property
    def lookback(self) -> LookbackPlan:
        """The lookback that was applied."""

    @property
    def until(self) -> datetime:
        """The end of the time to read."""

    @property
    def read_at(self) -> datetime:
        """Since when its rows are read."""

    @property
    def report_windows(self) -> Sequence[TimeWindow]:
        """The windows that reports read."""

    @property
    def tracked_before(self) -> Container[str]:
        """The names of the rows that were tracked before this run."""
