"""RecordStream: what all streams share. It turns rows into records, and writes those or puts them into files."""

from __future__ import annotations

import logging
import sys
from collections import deque
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict
from singer_sdk import Stream
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.metrics import DEFAULT_LOG_INTERVAL

from tap_vonage_reports.catalog import personal_data, published_schema, text_kinds, writes_parquet
from tap_vonage_reports.metrics import log_metrics
from tap_vonage_reports.output.batch_files import ROWS_PER_FILE, BatchFiles
from tap_vonage_reports.output.stream_maps import mapped, write_records
from tap_vonage_reports.records.parser import IS_MISSING, IS_ODD, RecordParser
from tap_vonage_reports.records.text_forms import text_transforms
from tap_vonage_reports.redaction import HIDDEN_NAME, is_plain_name

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from singer_sdk.metrics import Counter

    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.extract.session import SyncSession
    from tap_vonage_reports.metrics import PartitionResult
    from tap_vonage_reports.output.batch_files import BatchConfig
    from tap_vonage_reports.output.channel import StreamOutput
    from tap_vonage_reports.records.personal_data import PersonalData
    from tap_vonage_reports.records.record import Record
    from tap_vonage_reports.sources import Source
    from tap_vonage_reports.tap import TapVonageReports

_CONSEQUENCES = {
    IS_ODD: "the original goes into _extra",
    IS_MISSING: "such rows get a key made from their content",
}


class RecordStream(Stream):
    """A stream of records that `RecordParser` makes."""

    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE
    """`RecordParser` has converted every value to the type that the schema says."""
    STATE_MSG_FREQUENCY = sys.maxsize
    """The checkpointer writes STATE, after windows and pages, not by the number of records."""

    def __init__(self, tap: TapVonageReports, source: Source, aliases: Mapping[str, str] | None = None) -> None:
        """Set up a stream; no request is sent yet.

        Args:
            tap: The tap.
            source: What the stream reads.
            aliases: Field names that the API has also used, mapped to the names in the schema.
        """
        self.tap = tap
        self.source = source
        self._aliases = aliases or {}
        self._personal = personal_data(source, tap.config)
        super().__init__(tap, schema=published_schema(source, tap.config), name=source.stream)
        self.primary_keys = (source.key_field,)
        self.replication_key = source.date_field
        _underlying(self.logger).addFilter(_is_not_sdk_chatter)

    @property
    def session(self) -> SyncSession:
        """The run that all streams share."""
        return self.tap.session

    def open_partitions(self) -> list[PartitionSync]:
        """Open all partitions, if the stream has any: find out what there is to read.

        Returns:
            The partitions, in the order in which they will be read.
        """
        return []

    def needs_reports_for(self) -> list[str]:
        """Return the filters that only reports accept, so that no page shows what the stream reads."""
        return []

    def validate_batch_config(self) -> None:
        """Find out whether BATCH files can be written, before any request is sent. Remove those of killed runs.

        Raises:
            SettingsError: They cannot.
        """
        if batch_config := self.get_batch_config(self.config):
            self._batch_files(batch_config).remove_unannounced()

    def get_record_counter(self, *, endpoint: str | None = None, log_interval: float = DEFAULT_LOG_INTERVAL) -> Counter:
        """Return the SDK's counter of records, and keep it to count the records that are written here."""
        self._record_counter = super().get_record_counter(endpoint=endpoint, log_interval=log_interval)
        return self._record_counter

    def check_rows(self, rows: list[dict[str, Any]]) -> None:
        """Make records of rows, and write none; raise a `StreamMapError` if that fails."""
        deque(mapped(self.stream_maps, self._parser.parse_rows(rows)), maxlen=0)

    @cached_property
    def fields(self) -> frozenset[str]:
        """The names of the selected fields."""
        return frozenset(name for name in self.schema["properties"] if self.mask[("properties", name)])

    def _write(self, records: list[Record], result: PartitionResult) -> Iterator[dict[str, Any]]:
        """Write records, or yield them where the SDK has to write them, one by one. Count them in the result."""
        output: StreamOutput = self.tap.output
        if write_records(output, self.name, self.stream_maps, records):
            self._record_counter.increment(len(records))
        else:
            yield from map(asdict, records)
            output.flush()
        result.rows += len(records)

    @contextmanager
    def _measuring(self, result: PartitionResult) -> Generator[None, None, None]:
        """Count the malformed rows of a `with` block in a result, and log its metrics at the end."""
        parser = self._parser
        odd_rows, rows_without_id = parser.odd_rows, parser.rows_without_id
        try:
            yield
        finally:
            result.odd_rows += parser.odd_rows - odd_rows
            result.rows_without_id += parser.rows_without_id - rows_without_id
            log_metrics(self.tap.metrics_logger, self.name, result.partition, result.fetched)

    def _batch_files(self, batch_config: BatchConfig) -> BatchFiles:
        return BatchFiles(
            self.name,
            self.source.schema,
            self.fields,
            self._parser,
            batch_config,
            rows_per_file=self._rows_per_file,
            layout=self.session.settings.batch_layout,
            treatment=self._personal.treatment,
        )

    @property
    def _rows_per_file(self) -> int:
        # The SDK's own default would be a tenth of ours.
        return int(self.config["batch_config"].get("batch_size") or ROWS_PER_FILE)

    @cached_property
    def _parser(self) -> RecordParser:
        return RecordParser(
            self.source.schema,
            self._aliases,
            partial(_warn_of_mismatch, self.logger, self.name, self._personal),
            fields=self.fields,
            transform=text_transforms(self.source.schema, self._personal.transform, self._text_kinds),
            key_field=self.source.key_field,
            make_key=self._personal.content_key,
        )

    def _announce(self, files: BatchFiles) -> Iterator[tuple[Any, list[str]]]:
        """Finish files, and yield what their BATCH message says. Without the message, none of them stays behind."""
        with self.tap.output.defer_signals():
            if manifest := files.finish():
                try:
                    yield files.encoding, manifest
                except GeneratorExit:
                    files.take_back()
                    raise
                self.tap.output.take_back_if_unread(files.announced())

    @property
    def _text_kinds(self) -> frozenset[str]:
        # Parquet has types of its own for what is text in JSON.
        return frozenset() if writes_parquet(self.tap.config) else text_kinds(self.tap.config)


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


def _underlying(logger: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> logging.Logger:
    """Return the logger of a stream. Since version 0.55 of the SDK, it comes in an adapter, which takes no filter."""
    return logger.logger if isinstance(logger, logging.LoggerAdapter) else logger


def _is_not_sdk_chatter(record: logging.LogRecord) -> bool:
    """Return False for the SDK's lines on how a stream starts and ends: the tap's own lines say it better."""
    return not str(record.msg).startswith(
        ("Beginning sync of", "Starting incremental sync of", "An unhandled error occurred while syncing")
    )
