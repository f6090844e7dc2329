"""What each partition of a run reads by pages: in which windows, and where it goes on inside one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from tap_vonage_reports.intervals import halve_last, length, longest_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tap_vonage_reports.extract.reading import PartitionSync
    from tap_vonage_reports.intervals import TimeWindow
    from tap_vonage_reports.state.format import PageCursor

WINDOWS_BY_WORKER = 4
"""Windows that a run is cut into for each worker, at least: with fewer, most workers would wait for the last one."""
SECONDS_OF_WINDOWS = 2
"""The windows that are cut for this reason alone may cost the requests of so many seconds."""


@dataclass(frozen=True)
class PagePlan:
    """What one partition reads by pages.

    Attributes:
        windows: The windows, in order of time.
        resume: The page at which to go on in one of them.
        lookups: The ids of rows that are looked up after that, some at a time.
    """

    windows: list[TimeWindow]
    resume: PageCursor | None
    lookups: list[tuple[str, ...]] = field(default_factory=list)

    def place_in(self, window: TimeWindow) -> PageCursor | None:
        """The page at which to go on in a window; None where it is read from its first page."""
        return self.resume if self.resume and self.resume.window == window else None


class PagePlanner:
    """Cuts what the partitions of a run read by pages into windows."""

    def __init__(self, *, workers: int, requests_per_second: int, longest: timedelta) -> None:
        """Set up a planner.

        Args:
            workers: How many windows are read at once.
            requests_per_second: The limit of requests.
            longest: How long a window may be.
        """
        self._workers = workers
        self._longest = longest
        self._shared_out = False
        self._enough = min(WINDOWS_BY_WORKER * workers, SECONDS_OF_WINDOWS * requests_per_second) if workers > 1 else 1

    def expect(self, readings: Iterable[PartitionSync]) -> None:
        """Take note of all that will be read.

        Where it is little, windows become shorter, so that all workers have some.
        """
        total = sum((length(reading.left_for_pages()) for reading in readings), timedelta(0))
        longest = longest_of(total, self._enough, self._longest)
        self._shared_out, self._longest = longest < self._longest, longest

    def plan(self, reading: PartitionSync, *, last: bool) -> PagePlan:
        """Plan a partition, as of now.

        Args:
            reading: The partition.
            last: Whether no other comes after it.
        """
        windows, resume = reading.plan_pages(self._longest)
        if self._shared_out and last and resume is None:
            windows = halve_last(windows, self._workers)
        return PagePlan(windows, resume, reading.plan_lookups())
