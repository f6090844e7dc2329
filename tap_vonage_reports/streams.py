"""ReportStream: one class for all products. Partition -> plan -> fetch -> records -> bookmark."""

from __future__ import annotations

import sys
import time
from contextlib import closing, suppress
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

from singer_sdk import Stream
from singer_sdk.helpers.conform import TypeConformanceLevel

from tap_vonage_reports.archive import read_rows
from tap_vonage_reports.bookmarks import Bookmark, OpenPage, adopt_stream_bookmark
from tap_vonage_reports.errors import ApiError, NotAvailable
from tap_vonage_reports.pages import read_pages
from tap_vonage_reports.prefetch import in_order
from tap_vonage_reports.reading import Reading
from tap_vonage_reports.records import KEY, RecordParser
from tap_vonage_reports.reports import ReportReplaced
from tap_vonage_reports.run import Outcome, Result
from tap_vonage_reports.windows import Window

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from singer_sdk.helpers.types import Context

    from tap_vonage_reports.pages import Page
    from tap_vonage_reports.products import Product
    from tap_vonage_reports.run import Run
    from tap_vonage_reports.tap import TapVonageReports

PAGES_PER_STATE = 10
"""Inside a window, STATE is written after this many pages: what a kill can cost, in pages read again."""
ROWS_PER_LOOK = 1000
LOOK_EVERY_SECONDS = 1.0
"""While rows are read, other reports are looked after this often."""
ACCOUNT = "account_id"
DIRECTION = "direction"


class ReportStream(Stream):
    """The records of one product."""

    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE
    """`RecordParser` has made every value the type that the schema says."""
    STATE_MSG_FREQUENCY = sys.maxsize
    """State is written here, after windows and pages, not by the number of records."""

    def __init__(self, tap: TapVonageReports, product: Product) -> None:
        """Set up the stream of a product; nothing is asked of the API yet.

        Args:
            tap: The tap.
            product: What is read.
        """
        self.tap = tap
        self.product = product
        self.selected_by_default = product.selected
        super().__init__(tap, schema=_without_notes(product.schema), name=product.stream)
        self.primary_keys = (KEY,)
        self.replication_key = product.date_field
        self._planned: dict[tuple[tuple[str, Any], ...], Reading] = {}
        self.logger.addFilter(_is_not_sdk_chatter)
        self._parser = RecordParser(product.schema, product.aliases, self._surprised)

    @property
    def run(self) -> Run:
        """What all streams of this run share."""
        return self.tap.run

    @property
    def partitions(self) -> list[dict[str, Any]] | None:
        """The contexts to sync: one per account, or per account and direction."""
        contexts: list[dict[str, Any]] = [
            {ACCOUNT: partition.account_id, **({DIRECTION: partition.direction} if partition.direction else {})}
            for partition in self.run.partitions(self.product)
        ]
        if adopt_stream_bookmark(self.stream_state, contexts):
            self.logger.warning(
                "The state has one bookmark for all partitions of %s, and it is not known of which it speaks: "
                "reading from start_date. Set start_date to the bookmark if that holds for all.",
                self.name,
            )
        return contexts

    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        """No signpost: it would be a time of this machine's clock, and the bookmark is the end of what was read."""

    def get_records(self, context: Context | None) -> Iterator[dict[str, Any]]:
        """Read one partition.

        A failure that concerns this partition alone ends it, is noted for the summary, and lets the others go on.

        Args:
            context: The partition: account, and direction where the product has them.

        Yields:
            Records, window by window in order of time.

        Raises:
            EndOfRunError: The API cannot be used at all.
        """
        reading = self._planned.pop(_key(context or {}), None) or self._open(context or {})
        outcome = reading.outcome
        self.run.outcomes.append(outcome)
        started = time.monotonic()
        try:
            yield from self._read(reading)
            outcome.result, outcome.why = Result.READ, ""
        except GeneratorExit:  # --test has seen what it wants
            outcome.result, outcome.why = Result.READ, ""
            raise
        except NotAvailable as refusal:
            outcome.why = str(refusal)
            if reading.bookmark.started:
                self.logger.error("%s: %s", reading.partition, refusal)
            else:
                outcome.result = Result.SKIPPED
                self.logger.warning("%s: skipped. %s", reading.partition, refusal)
        except ApiError as error:
            outcome.why = str(error)
            self.logger.error("%s: %s", reading.partition, error)
        finally:
            outcome.seconds = time.monotonic() - started
            self.run.reports.abandon(reading)
            self.run.bookmark = None
            reading.bookmark.tidy()

    def _open(self, context: Mapping[str, Any]) -> Reading:
        run, product, settings = self.run, self.product, self.run.settings
        partition = run.partition(product, context[ACCOUNT], context.get(DIRECTION))
        query = {**settings.query_of(product, partition.direction), ACCOUNT: partition.account_id}
        end = run.end()
        bookmark = Bookmark(
            self.get_context_state(context),
            stream=self.name,
            replication_key=product.date_field,
            query=settings.rows_of(product),
            since=run.start(product) if settings.start_date else run.earliest(product),
        )
        if bookmark.other_query:
            self.logger.warning(
                "%s: the filters have changed since the last run, so what it read counts for nothing: "
                "reading from start_date",
                partition,
            )
        if self.replication_method != "INCREMENTAL":
            bookmark.forget()
        now = run.now()
        if bookmark.clip(max(now, end)):
            self.logger.warning(
                "%s: the state claims that the time after %s was read; it is read again", partition, now
            )
        return Reading(run, partition, bookmark, query, end, now, Outcome(partition))

    def plan_reports(self) -> None:
        """Plan what is read by reports, in all partitions, so that these can be requested early."""
        for context in self.partitions or []:
            reading = self._planned[_key(context)] = self._open(context)
            self.run.reports.add(reading)

    def _read(self, reading: Reading) -> Iterator[dict[str, Any]]:
        self.run.bookmark = reading.bookmark
        reading.bookmark.begin()
        reading.read_at = self.run.now()
        if reading.by_report:
            reports = self.run.reports
            whole = Window(reading.by_report[0].start, reading.by_report[-1].end)
            self.logger.info("%s: reading %s by %d reports", reading.partition, whole, reports.left(reading))
            yield from self._read_reports(reading)
        if self.run.settings.mode_of(self.product) != "async":
            reading.end = self.run.end()  # later than when the run was planned
        yield from self._read_pages(reading)

    def _read_reports(self, reading: Reading) -> Iterator[dict[str, Any]]:
        """The records of the partition's reports, one report after the other."""
        reports = self.run.reports
        while report := reports.first(reading):
            rows = 0
            with suppress(ReportReplaced), reports.opened(report) as file:
                started, look = time.monotonic(), time.monotonic() + LOOK_EVERY_SECONDS
                for raw in read_rows(file, report.count) if file else ():
                    yield self._parser.parse(raw)
                    rows += 1
                    if not rows % ROWS_PER_LOOK and time.monotonic() > look:
                        look = time.monotonic() + LOOK_EVERY_SECONDS
                        reports.pump()
                reading.outcome.rows += rows
                reading.outcome.windows += 1
                if report.requested_at:
                    reading.read_at = min(reading.read_at, report.requested_at)
                reports.settle(report)
                reading.bookmark.cover(report.window, reading.read_at)
                self.run.save()
                seconds = max(time.monotonic() - started, 1e-3)
                self.logger.info(
                    "%s: %s rows in %.1f s (%s rows/s), reports left: %d, in the run: %d",
                    report,
                    f"{rows:,}",
                    seconds,
                    f"{rows / seconds:,.0f}",
                    reports.left(reading),
                    reports.left(),
                )

    def _read_pages(self, reading: Reading) -> Iterator[dict[str, Any]]:
        """The records of what is left, page by page."""
        bookmark = reading.bookmark
        windows, resume = reading.plan_pages()
        self._announce(reading, windows, resume)
        tasks = (
            partial(
                read_pages,
                self.run.client,
                reading.query,
                window,
                resume if resume and resume.window == window else None,
            )
            for window in windows
        )
        clock = _Clock()
        rows = 0
        answered_at: datetime | None = None
        with closing(in_order(tasks)) as pages:
            for number, page in pages:
                for raw in page.records:
                    yield self._parser.parse(raw)
                rows += len(page.records)
                reading.outcome.rows += len(page.records)
                answered_at = answered_at or page.answered_at
                self.run.reports.pump()
                if not page.last:
                    self._turn(reading, page, clock)
                    continue
                # Rows later than the first page's answer may be missing, whatever bound was asked for.
                bookmark.cover(page.window.until(answered_at), reading.read_at)
                self.run.save()
                reading.outcome.windows += 1
                self.logger.info(
                    "%s: %s: %s rows in %.1f s, windows left: %d",
                    reading.partition,
                    page.window,
                    f"{rows:,}",
                    clock.lap(),
                    len(windows) - number - 1,
                )
                rows, answered_at = 0, None

    def _announce(self, reading: Reading, windows: list[Window], resume: OpenPage | None) -> None:
        """Say in one line what is read by pages."""
        if windows:
            self.logger.info(
                "%s: reading %s in %d windows%s",
                reading.partition,
                Window(windows[0].start, windows[-1].end),
                len(windows),
                ", going on inside one" if resume else "",
            )
        elif not reading.by_report:
            self.logger.info(
                "%s: nothing to read, all is covered until %s", reading.partition, f"{reading.end:%Y-%m-%d %H:%M}"
            )

    def _turn(self, reading: Reading, page: Page, clock: _Clock) -> None:
        if page.cursor is None:  # pragma: no cover - the last page closes its window
            return
        reading.bookmark.turn_page(OpenPage(page.window, page.cursor, page.iv, reading.fingerprint, reading.read_at))
        if clock.tick() % PAGES_PER_STATE == 0:
            self.run.save()

    def _surprised(self, field: str, why: str) -> None:
        self.logger.warning("%s: the field %s %s; it goes into _extra", self.name, field, why)


def _key(context: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(context.items()))


def _is_not_sdk_chatter(record: logging.LogRecord) -> bool:
    """Drop the SDK's lines on how a stream starts and ends: the tap says both better, and the start is another."""
    return not str(record.msg).startswith(
        ("Beginning sync of", "Starting incremental sync of", "An unhandled error occurred while syncing")
    )


class _Clock:
    """Seconds since the last window, and pages since the start of this one."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._pages = 0

    def tick(self) -> int:
        self._pages += 1
        return self._pages

    def lap(self) -> float:
        since, self._since, self._pages = self._since, time.monotonic(), 0
        return self._since - since


def _without_notes(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without the keywords that only this tap understands, which some targets refuse."""
    plain = deepcopy(dict(schema))
    for spec in plain["properties"].values():
        spec.pop("personal", None)
        spec.pop("direction", None)
    return plain
