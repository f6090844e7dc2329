"""ReportStream: one class for all products. Partition -> plan -> fetch -> records -> bookmark."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from copy import deepcopy
from enum import Enum
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

from singer_sdk import Stream, metrics
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.metrics import DEFAULT_LOG_INTERVAL

from tap_vonage_reports.errors import ApiError, ProductUnavailableError, safe_for_log
from tap_vonage_reports.extract.reader import Chunk, PartitionReader
from tap_vonage_reports.extract.reading import PartitionSync
from tap_vonage_reports.outcomes import PartitionResult, SyncStatus
from tap_vonage_reports.output.batch_files import ROWS_PER_FILE, BatchFiles
from tap_vonage_reports.products import personal_kinds
from tap_vonage_reports.records.parser import KEY_FIELD, RecordParser
from tap_vonage_reports.records.personal_data import PersonalData
from tap_vonage_reports.records.report_archive import read_chunks
from tap_vonage_reports.redaction import KEEP
from tap_vonage_reports.state.bookmark import Bookmark
from tap_vonage_reports.state.format import adopt_stream_bookmark

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

    from singer_sdk.helpers.types import Context
    from singer_sdk.metrics import Counter

    from tap_vonage_reports.extract.session import SyncSession
    from tap_vonage_reports.output.batch_files import BatchConfig
    from tap_vonage_reports.output.channel import StreamOutput
    from tap_vonage_reports.products import Product
    from tap_vonage_reports.tap import TapVonageReports

ACCOUNT = "account_id"
DIRECTION = "direction"


class CostMetric(str, Enum):
    """Metrics of what a partition has cost, beside those that the SDK has a name for."""

    REQUESTS = metrics.Metric.HTTP_REQUEST_COUNT.value
    REPORTS = "report_count"
    PULLED = "rows_pulled_count"
    PULLED_AGAIN = "rows_pulled_again_count"


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
        self._personal = personal_data(product, tap.config)
        schema = _without_notes(product.schema)
        for name in self._personal.dropped_columns:
            del schema["properties"][name]
        if files_hold_text(tap.config):
            _objects_as_text(schema)
        super().__init__(tap, schema=schema, name=product.stream)
        self.primary_keys = (KEY_FIELD,)
        self.replication_key = product.date_field
        self._opened: dict[tuple[tuple[str, Any], ...], PartitionSync] = {}
        self.logger.addFilter(_is_not_sdk_chatter)

    @property
    def run(self) -> SyncSession:
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
            Records, window by window in order of time: those that the SDK has to change (`stream_maps`, flattening)
            or only looks at (`--test`). The others are written here, many at once.

        Raises:
            FatalApiError: The API cannot be used at all.
        """
        output: StreamOutput = self.tap.output
        with self._reading(context or {}) as reading:
            for delivered in PartitionReader(reading):
                for records in self._records(delivered):
                    if output.write_records(self.name, records):
                        self._record_counter.increment(len(records))
                    else:
                        yield from records
                        output.flush()
                reading.outcome.rows += delivered.rows
                delivered.note()
                self.run.save_when_due(delivered.rows, due=delivered.state_due)

    def get_batches(self, batch_config: BatchConfig, context: Context | None = None) -> Iterator[tuple[Any, list[str]]]:
        """Read into files.

        A report goes into files of its own; pages are collected until they fill one. What is in a file is noted in
        the state when the SDK has written the file's BATCH message.

        Args:
            batch_config: Format and place of the files.
            context: One partition; None: all, for the SDK goes through them only where it writes records.

        Yields:
            How the files are encoded, and their addresses.

        Raises:
            FatalApiError: The API cannot be used at all.
            TapError: A file cannot be written.
        """
        for partition in [context] if context else self.partitions or []:
            yield from self._batches(batch_config, partition)

    def _batches(self, batch_config: BatchConfig, context: Mapping[str, Any]) -> Iterator[tuple[Any, list[str]]]:
        """One partition in files."""
        with self._reading(context) as reading, self._batch_files(batch_config) as files:
            notes: list[Callable[[], None]] = []
            rows = 0
            accept = partial(files.write_archive, on_progress=self.run.look_after)
            for step in _with_end(PartitionReader(reading, accept)):
                if isinstance(step, Chunk):
                    if step.records is not None:
                        files.write_records(self._parser.parse_rows(step.records))
                    reading.outcome.rows += step.rows
                    rows += step.rows
                    notes.append(step.note)
                    if not step.of_report and files.rows < self._rows_per_file:
                        continue
                with self.tap.output.defer_signals():  # no file is left behind that no message names
                    if manifest := files.finish():
                        reading.bookmark.tidy()  # the SDK writes the state as it is, too
                        yield files.encoding, manifest
                while notes:
                    notes.pop(0)()
                self.run.save_when_due(rows)
                rows = 0
                if isinstance(step, ApiError):
                    raise step

    def validate_batch_config(self) -> None:
        """Find out now, before anything is asked for, whether batch files can be written.

        Raises:
            SettingsError: They cannot.
        """
        if batch_config := self.get_batch_config(self.config):
            self._batch_files(batch_config)

    def _batch_files(self, batch_config: BatchConfig) -> BatchFiles:
        return BatchFiles(
            self.name,
            self.product.schema,
            self._fields,
            self._parser,
            batch_config,
            rows_per_file=self._rows_per_file,
        )

    @property
    def _rows_per_file(self) -> int:
        # The SDK's own default would be a tenth of ours.
        return int(self.config["batch_config"].get("batch_size") or ROWS_PER_FILE)

    def get_record_counter(self, *, endpoint: str | None = None, log_interval: float = DEFAULT_LOG_INTERVAL) -> Counter:
        """The SDK's counter of records, kept because it counts those that are written here, too."""
        self._record_counter = super().get_record_counter(endpoint=endpoint, log_interval=log_interval)
        return self._record_counter

    def _records(self, delivered: Chunk) -> Iterator[list[dict[str, Any]]]:
        """What was delivered as records, some at a time."""
        if delivered.records is not None:
            yield self._parser.parse_rows(delivered.records)
        elif delivered.archive:
            for header, rows in read_chunks(delivered.archive, delivered.count):
                yield self._parser.parse_cells(header, rows)
                self.run.look_after()

    @contextmanager
    def _reading(self, context: Mapping[str, Any]) -> Generator[PartitionSync, None, None]:
        """One partition while it is read; how that ends is noted for the summary."""
        reading = self._opened.pop(_key(context), None) or self._open(context)
        outcome = reading.outcome
        self.run.outcomes.append(outcome)
        self.run.bookmark = reading.bookmark
        reading.bookmark.begin()
        started = time.monotonic()
        try:
            yield reading
            outcome.result, outcome.why = SyncStatus.READ, ""
        except GeneratorExit:  # --test has seen what it wants
            outcome.result, outcome.why = SyncStatus.READ, ""
            raise
        except ProductUnavailableError as refusal:
            outcome.why = str(refusal)
            if reading.bookmark.started:
                self.logger.error("%s: %s", reading.partition, refusal)
            else:
                outcome.result = SyncStatus.SKIPPED
                self.logger.warning("%s: skipped. %s", reading.partition, refusal)
        except ApiError as error:
            outcome.why = str(error)
            self.logger.error("%s: %s", reading.partition, error)
        finally:
            outcome.seconds = time.monotonic() - started
            self._tell_cost(outcome, context)
            self.run.reports.abandon(reading)
            self.run.pages.forget(reading)
            self.run.bookmark = None
            reading.bookmark.tidy()
        if outcome.result is not SyncStatus.READ:
            self.run.save_when_due(0)

    def _tell_cost(self, outcome: PartitionResult, context: Mapping[str, Any]) -> None:
        """Write what a partition has cost as metrics of the SDK."""
        cost = outcome.cost
        tags: dict[str, Any] = {metrics.Tag.STREAM: self.name, metrics.Tag.CONTEXT: dict(context)}
        counts = {
            CostMetric.REQUESTS: cost.requests,
            CostMetric.REPORTS: cost.reports,
            CostMetric.PULLED: cost.rows,
            CostMetric.PULLED_AGAIN: cost.again,
        }
        for metric, count in counts.items():
            point = metrics.Point("counter", cast("metrics.Metric", metric), count, tags)
            metrics.log(self.tap.metrics_logger, point)

    def _open(self, context: Mapping[str, Any]) -> PartitionSync:
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
        return PartitionSync(run, partition, bookmark, query, end, now, PartitionResult(partition))

    def open_partitions(self) -> list[PartitionSync]:
        """Find out what there is to read of all partitions.

        Returns:
            The partitions, in the order in which they will be read.
        """
        self._opened = {_key(context): self._open(context) for context in self.partitions or []}
        return list(self._opened.values())

    @cached_property
    def _fields(self) -> frozenset[str]:
        """The names of the selected fields."""
        return frozenset(name for name in self.schema["properties"] if self.mask[("properties", name)])

    @cached_property
    def _parser(self) -> RecordParser:
        return RecordParser(
            self.product.schema,
            self.product.aliases,
            self._on_mismatch,
            fields=self._fields,
            transform=self._personal.transform,
        )

    def _on_mismatch(self, field: str, why: str) -> None:
        name = safe_for_log(field) or "(a name that is not shown)"
        left_out = self._personal.drops(field)
        what = "it may hold personal data and is left out (personal_data)" if left_out else "it goes into _extra"
        self.logger.warning("%s: the field %s %s; %s", self.name, name, why, what)


def _key(context: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(context.items()))


def _with_end(deliveries: Iterable[Chunk]) -> Iterator[Chunk | ApiError | None]:
    """What is delivered, and how that ended: None, or the error. What came before an error is good."""
    try:
        yield from deliveries
    except ApiError as error:
        yield error
    else:
        yield None


def _is_not_sdk_chatter(record: logging.LogRecord) -> bool:
    """Drop the SDK's lines on how a stream starts and ends: the tap says both better, and the start is another."""
    return not str(record.msg).startswith(
        ("Beginning sync of", "Starting incremental sync of", "An unhandled error occurred while syncing")
    )


def personal_data(product: Product, config: Mapping[str, Any]) -> PersonalData:
    """What becomes of personal data in a product's records."""
    # Not checked where the settings need not be right (--discover).
    mode, salt = config.get("personal_data") or KEEP, str(config.get("personal_data_salt") or "")
    return PersonalData(mode, salt, product.schema, personal_kinds())


def files_hold_text(config: Mapping[str, Any]) -> bool:
    """Whether the rows go into files that hold objects as text."""
    files = config.get("batch_config")  # not checked where the settings need not be right (--discover)
    encoding = files.get("encoding") if isinstance(files, dict) else None
    return isinstance(encoding, dict) and encoding.get("format") == "parquet"


def _objects_as_text(schema: dict[str, Any]) -> None:
    """Make the schema say what Parquet files hold: objects as JSON text, for their keys are not known beforehand."""
    for spec in schema["properties"].values():
        if "object" in spec["type"]:
            spec["type"] = ["string", "null"]
            spec["contentMediaType"] = "application/json"


def _without_notes(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without the keywords that only this tap understands, which some targets refuse.

    The kind of personal data stands in the catalog's metadata instead, see `TapVonageReports.catalog_dict`.
    """
    plain = deepcopy(dict(schema))
    for spec in plain["properties"].values():
        spec.pop("personal", None)
        spec.pop("direction", None)
    return plain
