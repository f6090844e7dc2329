"""The rows of one partition as they come, reports first, then pages, in order of time; and when each is done."""

from __future__ import annotations

import logging
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from tap_vonage_reports.api.request_context import RequestContext
from tap_vonage_reports.extract.pages.pagination import iter_pages
from tap_vonage_reports.extract.reports.scheduler import ReportSplit
from tap_vonage_reports.extract.status_tracking import MAX_PENDING_IDS, LookupResult
from tap_vonage_reports.intervals import TimeWindow
from tap_vonage_reports.planning.planner import PagePlan
from tap_vonage_reports.records.report_archive import verify
from tap_vonage_reports.state.format import PageCursor

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from datetime import datetime

    from tap_vonage_reports.extract.pages.pagination import Page
    from tap_vonage_reports.extract.reading import PartitionSync
    from tap_vonage_reports.extract.reports.scheduler import Accept, ReportJob

logger = logging.getLogger(__name__)

LOOKUPS_PER_CHECKPOINT = 50
"""STATE is due after so many queries by id, which together have as many rows as a page."""
PAGES_PER_CHECKPOINT = 10
"""Inside a window, STATE is due after this many pages: what a kill can cost, in pages read again."""


@dataclass(frozen=True)
class Chunk:
    """Rows that came together.

    Attributes:
        records: The rows of a page.
        archive: The file of a report, instead.
        count: How many rows the file has.
        note: To be called once the rows are out: the bookmark moves over them.
        state_due: Whether STATE should be written then.
    """

    note: Callable[[], None]
    state_due: bool
    records: list[dict[str, Any]] | None = None
    archive: BinaryIO | None = None
    count: int | None = None

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return (self.count or 0) if self.records is None else len(self.records)

    @property
    def of_report(self) -> bool:
        """Whether it is a report, with rows or without, whose successor cannot be asked for before it is noted."""
        return self.records is None


class PartitionReader:
    """Delivers one partition."""

    def __init__(self, reading: PartitionSync, accept: Accept = verify) -> None:
        """Prepare the delivery of a partition.

        Args:
            reading: The partition.
            accept: What finds out whether the file of a report is whole; it may also take what is in it.
        """
        self._reading = reading
        self._accept = accept
        self._run = reading.run

    def __iter__(self) -> Iterator[Chunk]:
        """What comes. The rows of a report have to be out, and noted, before the next is asked for.

        Raises:
            ApiError: The API refuses the partition, or what came of it is no good.
            FatalApiError: The API cannot be used at all.
        """
        reading = self._reading
        if reading.by_report:
            reading.read_at = self._run.now()
            whole = TimeWindow(reading.by_report[0].start, reading.by_report[-1].end)
            logger.info("%s: reading %s by %d reports", reading.partition, whole, self._run.reports.left(reading))
            yield from self._reports()
        not_found = yield from self._pages()
        # Some may have come by a window meanwhile.
        if missing := not_found & self._reading.bookmark.open.keys():
            yield from self._read_instead(missing)

    def _reports(self) -> Iterator[Chunk]:
        """The partition's reports, one after the other."""
        reports = self._run.reports
        while report := reports.first(self._reading):
            with suppress(ReportSplit), reports.opened(report, self._accept) as file:
                note = partial(self._note_report, report)
                yield Chunk(note, state_due=True, archive=file, count=report.count)

    def _note_report(self, report: ReportJob) -> None:
        reading, reports = self._reading, self._run.reports
        reading.outcome.windows += 1
        if report.requested_at:
            reading.read_at = min(reading.read_at, report.requested_at)
        reports.settle(report)
        reading.bookmark.cover(report.window, reading.read_at)
        rows, seconds = report.count or 0, max(time.monotonic() - (report.fetched or report.since), 1e-3)
        logger.info(
            "%s: %s rows in %.1f s (%s rows/s), reports left: %d, in the run: %d",
            report,
            f"{rows:,}",
            seconds,
            f"{rows / seconds:,.0f}",
            reports.left(reading),
            reports.left(),
        )

    def _pages(self) -> Generator[Chunk, None, set[str]]:
        """What is left, page by page, and the rows that are looked up by their ids.

        Returns:
            The ids that were not found.
        """
        plan = self._run.pages.plan(self._reading)
        self._announce(plan)
        with closing(self._run.pages.pages(self._reading, self._run.look_after)) as pages:
            return (yield from self._deliver(plan, pages))

    def _deliver(
        self, plan: PagePlan, pages: Iterable[tuple[int, Page | LookupResult]]
    ) -> Generator[Chunk, None, set[str]]:
        """What comes of a plan; the ids that were not found."""
        progress = _Progress()
        missing: set[str] = set()
        for number, page in pages:
            if isinstance(page, LookupResult):
                missing |= page.missing
                done = number - len(plan.windows) + 1
                due = done % LOOKUPS_PER_CHECKPOINT == 0 or done == len(plan.lookups)
                yield Chunk(partial(self._settle, page), due, page.records)
                continue
            if not progress.pages:
                progress.tracked = self._tracks(plan, number)
            progress.count(page)
            note: Callable[[], None] = partial(self._turn, page, progress)
            due = progress.pages % PAGES_PER_CHECKPOINT == 0
            if page.last:
                note = partial(self._close, page, progress, len(plan.windows) - number - 1)
                progress, due = _Progress(), True
            yield Chunk(note, due, page.records)
        return missing

    def _read_instead(self, missing: set[str]) -> Iterator[Chunk]:
        """Read by windows what could not be looked up by ids."""
        reading = self._reading
        logger.warning(
            "%s: %d rows that were listed are not found by their ids: reading the look-back by windows instead. If "
            "this lasts, set status_refresh to window",
            reading.partition,
            len(missing),
        )
        plan = PagePlan(reading.distrust_ids(missing), resume=None)
        self._announce(plan)
        yield from self._deliver(plan, self._one_by_one(plan))
        yield Chunk(partial(reading.bookmark.settle, missing), state_due=True, records=[])

    def _one_by_one(self, plan: PagePlan) -> Iterator[tuple[int, Page]]:
        """The pages of a plan, not read ahead: the workers wait until what comes next is taken."""
        reading = self._reading
        context = RequestContext(metrics=reading.outcome.cost)
        for number, window in enumerate(plan.windows):
            for page in iter_pages(self._run.client, reading.query, window, context=context):
                self._run.look_after()
                yield number, page

    def _tracks(self, plan: PagePlan, number: int) -> bool:
        """Whether the rows of a window that are not final are kept by id, also those of pages read before."""
        reading, place = self._reading, plan.place_in(plan.windows[number])
        return reading.refresh is not None and reading.trusts_ids and (place is None or place.tracked)

    def _turn(self, page: Page, progress: _Progress) -> None:
        reading = self._reading
        if page.cursor is None:  # pragma: no cover - the last page closes its window
            return
        self._keep(page, progress)
        reading.bookmark.turn_page(
            PageCursor(page.window, page.cursor, page.iv, reading.fingerprint, reading.read_at, progress.tracked)
        )

    def _close(self, page: Page, progress: _Progress, left: int) -> None:
        reading = self._reading
        self._keep(page, progress)
        # Rows later than the first page's answer may be missing, whatever bound was asked for.
        window = page.window.until(progress.answered_at or page.answered_at)
        reading.bookmark.cover(window, reading.read_at, tracked=progress.tracked)
        reading.outcome.windows += 1
        logger.info(
            "%s: %s: %s rows in %.1f s, windows left: %d",
            reading.partition,
            page.window,
            f"{progress.rows:,}",
            time.monotonic() - progress.since,
            left,
        )

    def _keep(self, page: Page, progress: _Progress) -> None:
        """Keep the rows of a page that are not final by their ids, while there is room."""
        bookmark, refresh = self._reading.bookmark, self._reading.refresh
        if refresh is None or not progress.tracked:
            return
        assessed = refresh.assess(page.records, page.window, self._reading.read_at)
        fresh = assessed.open.keys() - bookmark.open.keys()
        if not assessed.complete or len(bookmark.open) + len(fresh) > MAX_PENDING_IDS:
            progress.tracked = False
            bookmark.settle(progress.kept)
            why = "are too many to be kept" if assessed.complete else "have ids that cannot be asked for"
            logger.warning(
                "%s: %s: rows that are not final %s; the next run reads the window again",
                self._reading.partition,
                page.window,
                why,
            )
            return
        progress.kept |= fresh
        bookmark.keep_open(assessed.open)
        bookmark.settle(assessed.settled)

    def _settle(self, found: LookupResult) -> None:
        """Keep those of the rows that were looked up no more that are final."""
        reading = self._reading
        if reading.refresh:
            bookmark = reading.bookmark
            bookmark.settle(reading.refresh.settled(found.records, bookmark.open, reading.read_at))

    def _announce(self, plan: PagePlan) -> None:
        """Say in one line what is read by pages."""
        reading = self._reading
        if plan.windows:
            logger.info(
                "%s: reading %s in %d windows%s",
                reading.partition,
                TimeWindow(plan.windows[0].start, plan.windows[-1].end),
                len(plan.windows),
                ", going on inside one" if plan.resume else "",
            )
        if plan.lookups:
            logger.info("%s: looking up %d rows that are not final", reading.partition, sum(map(len, plan.lookups)))
        if not (plan.windows or plan.lookups or reading.by_report):
            logger.info(
                "%s: nothing to read, all is covered until %s", reading.partition, f"{reading.end:%Y-%m-%d %H:%M}"
            )


class _Progress:
    """What has come of one window."""

    def __init__(self) -> None:
        self.tracked = False
        self.kept: set[str] = set()
        self.since = time.monotonic()
        self.pages = 0
        self.rows = 0
        self.answered_at: datetime | None = None

    def count(self, page: Page) -> None:
        self.pages += 1
        self.rows += len(page.records)
        self.answered_at = self.answered_at or page.answered_at
