"""ReportStream: the records of one product, as a stream of the Singer SDK. One class serves all products."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.errors import ApiError
from tap_vonage_reports.record_stream import RecordStream
from tap_vonage_reports.records.report_archive import read_chunks, verify
from tap_vonage_reports.state.partition_index import PartitionIndex, context_key

if TYPE_CHECKING:
    from collections.abc import Generator, Hashable, Iterable, Iterator, Mapping

    from singer_sdk.helpers.types import Context

    from tap_vonage_reports.extract.reader import Chunk, PartitionSync
    from tap_vonage_reports.output.batch_files import BatchConfig
    from tap_vonage_reports.planning.partition import Partition
    from tap_vonage_reports.products import Product
    from tap_vonage_reports.records.record import Record
    from tap_vonage_reports.tap import TapVonageReports


class ReportStream(RecordStream):
    """The records of one product."""

    def __init__(self, tap: TapVonageReports, product: Product) -> None:
        """Set up the stream of a product; no request is sent yet.

        Args:
            tap: The tap.
            product: The product.
        """
        self.product = product
        self.selected_by_default = product.selected
        super().__init__(tap, product, product.aliases)
        self._partitions: dict[Hashable, Partition] | None = None
        self._opened: dict[Hashable, PartitionSync] = {}
        self._states = PartitionIndex(lambda: self.stream_state)
        # The SDK asks its own state manager, which would search all partitions for each of them.
        setattr(self.state_manager, "get_context_state", self.get_context_state)  # noqa: B010 - a method, to mypy

    @property
    def partitions(self) -> list[dict[str, Any]] | None:
        """The contexts to sync: one per account, or per account and direction."""
        if self._partitions is None:
            partitions = self.session.accounts.partitions(self.product, self.stream_state, self._states)
            self._partitions = {context_key(partition.context): partition for partition in partitions}
        return [dict(partition.context) for partition in self._partitions.values()]

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
        with self._syncing(context or {}) as sync:
            sync.accept_archive = partial(verify, on_progress=self.session.progress.tick)
            for chunk in self.session.reader.read(sync):
                for records in self._records(chunk):
                    yield from self._write(records, sync.result)
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

    def open_partitions(self) -> list[PartitionSync]:
        """Open all partitions: find out what there is to read.

        Returns:
            The partitions, in the order in which they will be read.
        """
        self._partitions = None
        self._opened = {context_key(context): self._open(context) for context in self.partitions or []}
        return list(self._opened.values())

    def needs_reports_for(self) -> list[str]:
        """Return the filters that only reports accept."""
        return sorted(self.session.settings.report_filters_of(self.product))

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
                yield from self._announce(files)
                done, written = written, []
                sync.result.rows += sum(map(len, done))
                self.session.commit(done, due=True)
                if isinstance(step, ApiError):
                    raise step

    def _records(self, chunk: Chunk) -> Iterator[list[Record]]:
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
        sync = self._opened.pop(context_key(context), None) or self._open(context)
        with self._measuring(sync.result), self.session.reading(sync):
            yield sync

    def _open(self, context: Mapping[str, Any]) -> PartitionSync:
        known = self._partitions or {}
        partition = known.get(context_key(context)) or self.session.accounts.partition_of(self.product, context)
        is_full_table = self.replication_method != "INCREMENTAL"
        return self.session.open(partition, self.get_context_state(context), is_full_table=is_full_table)


def _with_end(chunks: Iterable[Chunk]) -> Iterator[Chunk | ApiError | None]:
    """Yield chunks, and how they ended: None, or the error. What came before an error is good."""
    try:
        yield from chunks
    except ApiError as error:
        yield error
    else:
        yield None
