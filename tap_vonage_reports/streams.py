"""ReportStream: one class for all products. Partition -> plan -> fetch -> records -> bookmark."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from singer_sdk import Stream
from singer_sdk.helpers.conform import TypeConformanceLevel

from tap_vonage_reports.bookmarks import Bookmark, OpenPage, adopt_stream_bookmark
from tap_vonage_reports.errors import ApiError, CredentialsError, NotAvailable, UnreachableError
from tap_vonage_reports.pages import read_pages
from tap_vonage_reports.prefetch import in_order
from tap_vonage_reports.records import KEY, RecordParser
from tap_vonage_reports.run import Outcome, Result
from tap_vonage_reports.settings import fingerprint
from tap_vonage_reports.windows import Window, plan, resumable, to_read, windows_of

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from singer_sdk.helpers.types import Context

    from tap_vonage_reports.pages import Page
    from tap_vonage_reports.products import Product
    from tap_vonage_reports.run import Partition, Run
    from tap_vonage_reports.tap import TapVonageReports

PAGES_PER_STATE = 10
"""Inside a window, STATE is written after this many pages: what a kill can cost, in pages read again."""
ACCOUNT = "account_id"
DIRECTION = "direction"


@dataclass
class _Reading:
    """One partition while it is read.

    Attributes:
        partition: The partition.
        bookmark: What of it has been read.
        query: What goes with every request, dates and cursor apart.
        fingerprint: A short name for the query.
        end: Until when to read.
        read_at: From when on its rows were read: by this run, or by the one whose open page it goes on at.
        outcome: Its line in the summary.
    """

    partition: Partition
    bookmark: Bookmark
    query: Mapping[str, str]
    fingerprint: str
    end: datetime
    read_at: datetime
    outcome: Outcome


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
        self.state_writer = tap.state_writer
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
            CredentialsError: The credentials are wrong.
            UnreachableError: The API does not answer.
        """
        reading = self._open(context or {})
        outcome = reading.outcome
        self.run.outcomes.append(outcome)
        started = time.monotonic()
        try:
            yield from self._read(reading)
            outcome.result, outcome.why = Result.READ, ""
        except GeneratorExit:  # --test has seen what it wants
            outcome.result, outcome.why = Result.READ, ""
            raise
        except (CredentialsError, UnreachableError):
            raise
        except NotAvailable as refusal:
            outcome.why = str(refusal)
            if reading.bookmark.started or reading.bookmark.page:
                self.logger.error("%s: %s", reading.partition, refusal)
            else:
                outcome.result = Result.SKIPPED
                self.logger.warning("%s: skipped. %s", reading.partition, refusal)
        except ApiError as error:
            outcome.why = str(error)
            self.logger.error("%s: %s", reading.partition, error)
        finally:
            outcome.seconds = time.monotonic() - started
            reading.bookmark.tidy()

    def _open(self, context: Mapping[str, Any]) -> _Reading:
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
        return _Reading(partition, bookmark, query, fingerprint(query), end, now, Outcome(partition))

    def _read(self, reading: _Reading) -> Iterator[dict[str, Any]]:
        bookmark = reading.bookmark
        windows, resume = self._plan(reading)
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
        bookmark.begin()
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
                if not page.last:
                    self._turn(reading, page, clock)
                    continue
                # Rows later than the first page's answer may be missing, whatever bound was asked for.
                bookmark.cover(page.window.until(answered_at), reading.read_at)
                self._save(bookmark)
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

    def _plan(self, reading: _Reading) -> tuple[list[Window], OpenPage | None]:
        """What to read of a partition, and the page to go on at; logged in one line."""
        run, bookmark = self.run, reading.bookmark
        settings = run.settings
        start = run.start(self.product)
        if settings.start_date is None and (first := next(windows_of(bookmark.covered), None)):
            # Without a start date, what earlier runs have begun is continued, however long ago that was.
            start = max(min(start, first.start), run.earliest(self.product))
        wanted = Window(start, max(start, reading.end))
        need = to_read(wanted, bookmark.covered, settings.lookback_of(self.product), bookmark.settled)
        resume = bookmark.page
        if resume and not (resume.query == reading.fingerprint and resumable(resume.window, need)):
            bookmark.drop_page()
            resume = None
        if resume:
            # Rows of the pages before may have changed since: the next run looks back from when they were read.
            reading.read_at = min(reading.read_at, resume.read_at)
        windows = plan(need, settings.sync_window, resume.window if resume else None)
        if not windows:
            self.logger.info(
                "%s: nothing to read, all is covered until %s", reading.partition, f"{reading.end:%Y-%m-%d %H:%M}"
            )
        else:
            self.logger.info(
                "%s: reading %s in %d windows%s",
                reading.partition,
                Window(windows[0].start, windows[-1].end),
                len(windows),
                ", going on inside one" if resume else "",
            )
        return windows, resume

    def _turn(self, reading: _Reading, page: Page, clock: _Clock) -> None:
        if page.cursor is None:  # pragma: no cover - the last page closes its window
            return
        reading.bookmark.turn_page(OpenPage(page.window, page.cursor, page.iv, reading.fingerprint, reading.read_at))
        if clock.tick() % PAGES_PER_STATE == 0:
            self._save(reading.bookmark)

    def _save(self, bookmark: Bookmark) -> None:
        """Write STATE: every record that it speaks of is out."""
        bookmark.tidy()
        self.state_writer.write_state(self.tap_state)
        bookmark.begin()

    def _surprised(self, field: str, why: str) -> None:
        self.logger.warning("%s: the field %s %s; it goes into _extra", self.name, field, why)


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
