"""The pages of a run: read ahead by several workers, window by window, in the order in which they are needed."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from tap_vonage_reports.extract.pages.pagination import Page, iter_pages
from tap_vonage_reports.extract.pages.prefetch import Prefetcher
from tap_vonage_reports.extract.status_tracking import LookupResult, fetch_by_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from tap_vonage_reports.api.client import ReportsClient
    from tap_vonage_reports.extract.reading import PartitionSync
    from tap_vonage_reports.extract.reports.scheduler import ReportScheduler
    from tap_vonage_reports.planning.planner import PagePlan, PagePlanner


class PageFetcher:
    """The windows of all partitions of a run, and the workers that they share. Only the main thread uses it."""

    def __init__(self, client: ReportsClient, reports: ReportScheduler, planner: PagePlanner, *, workers: int) -> None:
        """Set up an empty queue.

        Args:
            client: The API.
            reports: The reports of the run: what they hold of a partition comes before its pages.
            planner: Says what each partition reads by pages.
            workers: How many windows are read at once.
        """
        self._client = client
        self._reports = reports
        self._planner = planner
        self._ahead: Prefetcher[Page | LookupResult] = Prefetcher(workers)
        self._coming: deque[PartitionSync] = deque()
        self._plans: dict[PartitionSync, PagePlan] = {}

    def expect(self, readings: Iterable[PartitionSync]) -> None:
        """Take the partitions of the run, in the order in which they will be read."""
        self._coming = deque(readings)
        self._planner.expect(self._coming)
        self.feed()

    def feed(self) -> None:
        """Start what comes next while the workers have too little to do.

        Partitions that have reports to read come when these are read, so that their pages reach to the present.
        """
        while self._coming and self._ahead.hungry and not self._reports.left(self._coming[0]):
            self._start(self._coming.popleft())

    def plan(self, reading: PartitionSync) -> PagePlan:
        """What a partition reads by pages; its first page is being fetched from now on."""
        if reading not in self._plans:
            self.forget(reading)
            self._start(reading)
        return self._plans[reading]

    def pages(
        self, reading: PartitionSync, meanwhile: Callable[[], None]
    ) -> Generator[tuple[int, Page | LookupResult], None, None]:
        """The pages of a partition that has been planned, in order of time, and then the rows that were looked up.

        Args:
            reading: The partition.
            meanwhile: Called after each page, and several times a second while there is none.

        Yields:
            The number of the window, from 0, and a page of it; then the number of the look-up, from the number of
            windows on, and what it has found.

        Raises:
            ApiError: The API refuses a page.
            FatalApiError: The API cannot be used at all.
        """
        return self._ahead.take(reading, meanwhile)

    def forget(self, reading: PartitionSync) -> None:
        """Read no more pages of a partition."""
        self._plans.pop(reading, None)
        self._coming = deque(other for other in self._coming if other is not reading)

    def close(self) -> None:
        """Drop everything that was read ahead, and let the workers go."""
        self._ahead.close()

    def _start(self, reading: PartitionSync) -> None:
        plan = self._plans[reading] = self._planner.plan(reading, last=not self._coming)
        client, query = self._client, reading.query
        pages = [partial(iter_pages, client, query, window, plan.place_in(window)) for window in plan.windows]
        lookups = [partial(fetch_by_ids, client, query, ids) for ids in plan.lookups]
        self._ahead.add(reading, [*pages, *lookups], reading.outcome.cost)
