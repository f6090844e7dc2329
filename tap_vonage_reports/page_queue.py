"""The pages of a run: read ahead by several workers, window by window, in the order in which they are needed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from tap_vonage_reports.pages import Page, read_pages
from tap_vonage_reports.prefetch import ReadAhead
from tap_vonage_reports.refresh import Found, look_up
from tap_vonage_reports.windows import halve_last, length, longest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from tap_vonage_reports.client import ReportsClient
    from tap_vonage_reports.reading import Reading
    from tap_vonage_reports.reports import ReportQueue
    from tap_vonage_reports.state import OpenPage
    from tap_vonage_reports.windows import Window

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

    windows: list[Window]
    resume: OpenPage | None
    lookups: list[tuple[str, ...]] = field(default_factory=list)


class PageQueue:
    """The windows of all partitions of a run, and the workers that they share. Only the main thread uses it."""

    def __init__(
        self,
        client: ReportsClient,
        reports: ReportQueue,
        *,
        workers: int,
        requests_per_second: int,
        longest: timedelta,
    ) -> None:
        """Set up an empty queue.

        Args:
            client: The API.
            reports: The reports of the run: what they hold of a partition comes before its pages.
            workers: How many windows are read at once.
            requests_per_second: The limit of requests.
            longest: How long a window may be.
        """
        self._client = client
        self._reports = reports
        self._workers = workers
        self._longest = longest
        self._shared_out = False
        self._enough = min(WINDOWS_BY_WORKER * workers, SECONDS_OF_WINDOWS * requests_per_second) if workers > 1 else 1
        self._ahead: ReadAhead[Page | Found] = ReadAhead(workers)
        self._coming: deque[Reading] = deque()
        self._plans: dict[Reading, PagePlan] = {}

    def expect(self, readings: Iterable[Reading]) -> None:
        """Take the partitions of the run, in the order in which they will be read.

        Where there is little to read, the windows become shorter, so that all workers have some.
        """
        self._coming = deque(readings)
        total = sum((length(reading.left_for_pages()) for reading in self._coming), timedelta(0))
        longest = longest_of(total, self._enough, self._longest)
        self._shared_out, self._longest = longest < self._longest, longest
        self.feed()

    def feed(self) -> None:
        """Start what comes next while the workers have too little to do.

        Partitions that have reports to read come when these are read, so that their pages reach to the present.
        """
        while self._coming and self._ahead.hungry and not self._reports.left(self._coming[0]):
            self._start(self._coming.popleft())

    def plan(self, reading: Reading) -> PagePlan:
        """What a partition reads by pages; its first page is being fetched from now on."""
        if reading not in self._plans:
            self.forget(reading)
            self._start(reading)
        return self._plans[reading]

    def pages(self, reading: Reading, meanwhile: Callable[[], None]) -> Generator[tuple[int, Page | Found], None, None]:
        """The pages of a partition that has been planned, in order of time, and then the rows that were looked up.

        Args:
            reading: The partition.
            meanwhile: Called after each page, and several times a second while there is none.

        Yields:
            The number of the window, from 0, and a page of it; then the number of the look-up, from the number of
            windows on, and what it has found.

        Raises:
            ApiError: The API refuses a page.
            EndOfRunError: The API cannot be used at all.
        """
        return self._ahead.take(reading, meanwhile)

    def forget(self, reading: Reading) -> None:
        """Read no more pages of a partition."""
        self._plans.pop(reading, None)
        self._coming = deque(other for other in self._coming if other is not reading)

    def close(self) -> None:
        """Drop everything that was read ahead, and let the workers go."""
        self._ahead.close()

    def _start(self, reading: Reading) -> None:
        windows, resume = reading.plan_pages(self._longest)
        if self._shared_out and not self._coming and resume is None:
            windows = halve_last(windows, self._workers)
        lookups = reading.plan_lookups()
        self._plans[reading] = PagePlan(windows, resume, lookups)
        pages = [
            partial(
                read_pages,
                self._client,
                reading.query,
                window,
                resume if resume and resume.window == window else None,
            )
            for window in windows
        ]
        self._ahead.add(reading, [*pages, *(partial(look_up, self._client, reading.query, ids) for ids in lookups)])
