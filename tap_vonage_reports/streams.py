"""ReportStream: the records of one product, as a stream of the Singer SDK. One class serves all products."""

from __future__ import annotations

import sys
from collections import deque
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from singer_sdk import Stream
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.metrics import DEFAULT_LOG_INTERVAL

from tap_vonage_reports.catalog import personal_data, published_schema
from tap_vonage_reports.config.schema import DIRECTION
from tap_vonage_reports.errors import ApiError
from tap_vonage_reports.metrics import log_metrics
from tap_vonage_reports.output.batch_files import ROWS_PER_FILE, BatchFiles
from tap_vonage_reports.output.stream_maps import mapped, write_records
from tap_vonage_reports.planning.partition import ACCOUNT
from tap_vonage_reports.records.parser import IS_MISSING, IS_ODD, KEY_FIELD, RecordParser
from tap_vonage_reports.records.report_archive import read_chunks, verify
from tap_vonage_reports.redaction import HIDDEN_NAME, is_plain_name
from tap_vonage_reports.state.partition_index import PartitionIndex
from tap_vonage_reports.state.validation import adopt_stream_bookmark

if TYPE_CHECKING:
    import logging
    from collections.abc import Generator, Iterable, Iterator, Mapping

    from singer_sdk.helpers.types import Context
    from singer_sdk.metrics import Counter

    from tap_vonage_reports.extract.reader import Chunk, PartitionSync
    from tap_vonage_reports.extract.session import SyncSession
    from tap_vonage_reports.output.batch_files import BatchConfig
    from tap_vonage_reports.output.channel import StreamOutput
    from tap_vonage_reports.products import Product
    from tap_vonage_reports.records.personal_data import PersonalData
    from tap_vonage_reports.tap import TapVonageReports


_CONSEQUENCES = {
    IS_ODD: "the original goes into _extra",
    IS_MISSING: "such rows get a key made from their content",
}


class ReportStream(Stream):
    """The records of one product."""

    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE
    """`RecordParser` has converted every value to the type that the schema says."""
    STATE_MSG_FREQUENCY = sys.maxsize
    """The checkpointer writes STATE, after windows and pages, not by the number of records."""

    def __init__(self, tap: TapVonageReports, product: Product) -> None:
        """Set up the stream of a product; no request is sent yet.

        Args:
            tap: The tap.
            product: The product.
        """
        self.tap = tap
        self.product = product
        self.selected_by_default = product.selected
        self._personal = personal_data(product, tap.config)
        super().__init__(tap, schema=published_schema(product, tap.config), name=product.stream)
        self.primary_keys = (KEY_FIELD,)
        self.replication_key = product.date_field
        self._opened: dict[tuple[tuple[str, Any], ...], PartitionSync] = {}
        self._states = PartitionIndex(lambda: self.stream_state)
        # The SDK asks its own state manager, which would search all partitions for each of them.
        setattr(self.state_manager, "get_context_state", self.get_context_state)  # noqa: B010 - a method, to mypy
        self.logger.addFilter(_is_not_sdk_chatter)

    @property
    def session(self) -> SyncSession:
        """The run that all streams share."""
        return self.tap.session

    @property
    def partitions(self) -> list[dict[str, Any]] | None:
        """The contexts to sync: one per account, or per account and direction."""
        contexts: list[dict[str, Any]] = [
            dict(partition.context) for partition in self.session.partitions(self.product)
        ]
        if adopt_stream_bookmark(self.stream_state, contexts):
            self.logger.warning(
                "%s: the state has a single bookmark and does not say which partition it belongs to; starting over "
                "from start_date. If it applies to all partitions, set start_date to its value",
                self.name,
            )
        return contexts

    def get_context_state(self, context: Context | None) -> dict[str, Any]:
        """Return the state of a partition, or of the stream, to be changed in place; a new one if there is none."""
        return self._states.find(context) if context else self.stream_state

    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        """No signpost: it would be a time of this machine's clock, and the bookmark is the end of what was read."""

    def get_records(self, context: Context | None) -> Iterator[dict[str, Any]]:
        """Read one partition.

        Args:
            context: The partition: account, and direction where the product has them.

        Yields:
            Records that the SDK writes (`--test=records`, or a writer of another program), in order of time. All others
            are written here, many at a time.

        Raises:
            FatalApiError: The API cannot be used at all.
        """
        output: StreamOutput = self.tap.output
        with self._syncing(context or {}) as sync:
            sync.accept_archive = partial(verify, on_progress=self.session.progress.tick)
            for chunk in self.session.reader.read(sync):
                for records in self._records(chunk):
                    if write_records(output, self.name, self.stream_maps, records):
                        self._record_counter.increment(len(records))
                    else:
                        yield from records
                        output.flush()
                    sync.result.rows += len(records)
                self.session.commit([chunk], due=chunk.checkpoint_due)

    def get_batches(self, batch_config: BatchConfig, context: Context | None = None) -> Iterator[tuple[Any, list[str]]]:
        """Read into files.

        A report gets files of its own; pages are collected until they fill one. Rows are committed to the bookmark
        once the SDK has written the BATCH message of their file.

        Args:
            batch_config: Format and place of the files.
            context: One partition; None: all, because the SDK iterates over them only where it writes records.

        Yields:
            How the files are encoded, and their addresses.

        Raises:
            FatalApiError: The API cannot be used at all.
            TapError: A file cannot be written.
        """
        for partition in [context] if context else self.partitions or []:
            yield from self._batches(batch_config, partition)

    def validate_batch_config(self) -> None:
        """Find out whether BATCH files can be written, before any request is sent.

        Raises:
            SettingsError: They cannot.
        """
        if batch_config := self.get_batch_config(self.config):
            self._batch_files(batch_config)

    def get_record_counter(self, *, endpoint: str | None = None, log_interval: float = DEFAULT_LOG_INTERVAL) -> Counter:
        """Return the SDK's counter of records, and keep it to count the records that are written here."""
        self._record_counter = super().get_record_counter(endpoint=endpoint, log_interval=log_interval)
        return self._record_counter

    def check_rows(self, rows: list[dict[str, Any]]) -> None:
        """Make records of rows, and write none; raise a `StreamMapError` if that fails."""
        deque(mapped(self.stream_maps, self._parser.parse_rows(rows)), maxlen=0)

    def open_partitions(self) -> list[PartitionSync]:
        """Open all partitions: find out what there is to read.

        Returns:
            The partitions, in the order in which they will be read.
        """
        self._opened = {_key(context): self._open(context) for context in self.partitions or []}
        return list(self._opened.values())

    def _batches(self, batch_config: BatchConfig, context: Mapping[str, Any]) -> Iterator[tuple[Any, list[str]]]:
        """Read one partition into files."""
        with self._syncing(context) as sync, self._batch_files(batch_config) as files:
            sync.accept_archive = partial(files.write_archive, on_progress=self.session.poll)
            written: list[Chunk] = []
            for step in _with_end(self.session.reader.read(sync)):
                if step is not None and not isinstance(step, ApiError):
                    if step.rows is not None:
                        files.write_records(self._parser.parse_rows(step.rows))
                    written.append(step)
                    if not step.from_report and files.rows < self._rows_per_file:
                        continue
                with self.tap.output.defer_signals():  # else a file may stay behind that no message names
                    if manifest := files.finish():
                        yield files.encoding, manifest
                done, written = written, []
                sync.result.rows += sum(map(len, done))
                self.session.commit(done, due=True)
                if isinstance(step, ApiError):
                    raise step

    def _batch_files(self, batch_config: BatchConfig) -> BatchFiles:
        rows = self._rows_per_file
        return BatchFiles(self.name, self.product.schema, self.fields, self._parser, batch_config, rows_per_file=rows)

    @property
    def _rows_per_file(self) -> int:
        # The SDK's own default would be a tenth of ours.
        return int(self.config["batch_config"].get("batch_size") or ROWS_PER_FILE)

    def _records(self, chunk: Chunk) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of a chunk as records, some at a time."""
        if chunk.rows is not None:
            yield self._parser.parse_rows(chunk.rows)
        elif chunk.report_file:
            for header, columns in read_chunks(chunk.report_file, chunk.row_count):
                yield self._parser.parse_cells(header, columns)
                self.session.poll()

    @contextmanager
    def _syncing(self, context: Mapping[str, Any]) -> Generator[PartitionSync, None, None]:
        """Read a partition in a `with` block; how that ends is recorded for the summary."""
        sync = self._opened.pop(_key(context), None) or self._open(context)
        parser = self._parser
        odd_rows, rows_without_id = parser.odd_rows, parser.rows_without_id
        try:
            with self.session.reading(sync):
                yield sync
        finally:
            sync.result.odd_rows += parser.odd_rows - odd_rows
            sync.result.rows_without_id += parser.rows_without_id - rows_without_id
            log_metrics(self.tap.metrics_logger, self.name, sync.partition, sync.result.fetched)

    def _open(self, context: Mapping[str, Any]) -> PartitionSync:
        partition = self.session.partition(self.product, context[ACCOUNT], context.get(DIRECTION))
        is_full_table = self.replication_method != "INCREMENTAL"
        return self.session.open(partition, self.get_context_state(context), is_full_table=is_full_table)

    @cached_property
    def fields(self) -> frozenset[str]:
        """The names of the selected fields."""
        return frozenset(name for name in self.schema["properties"] if self.mask[("properties", name)])

    @cached_property
    def _parser(self) -> RecordParser:
        return RecordParser(
            self.product.schema,
            self.product.aliases,
            partial(_warn_of_mismatch, self.logger, self.name, self._personal),
            fields=self.fields,
            transform=self._personal.transform,
            make_key=self._personal.content_key,
        )


def _warn_of_mismatch(logger: logging.Logger, stream: str, personal: PersonalData, field: str, reason: str) -> None:
    """Log that a field or value is not as the schema says, and what becomes of it."""
    name = field if is_plain_name(field) else HIDDEN_NAME
    is_dropped = personal.drops(field)
    what = (
        "it may contain personal data and is dropped (personal_data)"
        if is_dropped
        else _CONSEQUENCES.get(reason, "it goes into _extra")
    )
    logger.warning("%s: the field %s %s; %s", stream, name, reason, what)


def _key(context: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(context.items()))


def _with_end(chunks: Iterable[Chunk]) -> Iterator[Chunk | ApiError | None]:
    """Yield chunks, and how they ended: None, or the error. What came before an error is good."""
    try:
        yield from chunks
    except ApiError as error:
        yield error
    else:
        yield None


def _is_not_sdk_chatter(record: logging.LogRecord) -> bool:
    """Return False for the SDK's lines on how a stream starts and ends: the tap's own lines say it better."""
    return not str(record.msg).startswith(
        ("Beginning sync of", "Starting incremental sync of", "An unhandled error occurred while syncing")
    )
