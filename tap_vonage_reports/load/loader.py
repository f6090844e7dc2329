"""The loader: messages in, rows into the database, files removed, STATE out."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from datetime import datetime, timezone
from functools import singledispatchmethod
from typing import TYPE_CHECKING

from tap_vonage_reports.errors import LoadError
from tap_vonage_reports.load.columns import StreamSchema, stream_schema
from tap_vonage_reports.load.destination import prepare_table
from tap_vonage_reports.load.leftovers import Leftovers
from tap_vonage_reports.load.messages import (
    BatchMessage,
    RecordMessage,
    SchemaMessage,
    StateMessage,
    read_messages,
)
from tap_vonage_reports.load.parquet_rows import ParquetRows
from tap_vonage_reports.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from tap_vonage_reports.load.files import BatchFile
    from tap_vonage_reports.load.leftovers import Tools
    from tap_vonage_reports.load.messages import Message

logger = logging.getLogger(__name__)

PARQUET = "parquet"
_FILES_WANTED = (
    'This loader loads the tap\'s Parquet files. Set batch_config of the tap to {"encoding": {"format": "parquet", '
    '"compression": "snappy"}, "storage": {"root": "<folder>"}}, or use another loader, such as target-postgres.'
)


class Loader:
    """A run of the loader.

    Attributes:
        rows: The number of loaded rows.
        files: The number of loaded files.
    """

    def __init__(
        self, tools: Tools, write_state: Callable[[bytes], object], *, metadata: bool = True, leftovers: bool = True
    ) -> None:
        """Set up a run.

        Args:
            tools: What it works with.
            write_state: Called with the value of a STATE message when everything before it is committed.
            metadata: True if the tables are to have the columns that Singer targets add.
            leftovers: True if files are to be loaded and removed that an interrupted run of this loader left.
        """
        self._tools = tools
        self._write_state = write_state
        self._metadata = metadata
        self._started = _milliseconds()
        self._received: dict[str, datetime] = {}
        self._schemas: dict[str, StreamSchema] = {}
        self._announced: defaultdict[str, dict[str, BatchFile]] = defaultdict(dict)
        self._leftovers = Leftovers(tools, search=leftovers)
        self._treatment = ""
        self.rows = self.files = 0

    def run(self, lines: Iterable[bytes]) -> None:
        """Load what the messages announce.

        Args:
            lines: The messages, one in a line.

        Raises:
            LoadError: Something could not be loaded. What was committed before remains.
        """
        for message in read_messages(lines):
            self._on(message)
        self._commit(None)
        self._finish()

    @singledispatchmethod
    def _on(self, _: Message) -> None:
        """Do what a message asks for."""

    @_on.register
    def _on_record(self, _: RecordMessage) -> None:
        msg = f"The tap writes RECORD messages. {_FILES_WANTED}"
        raise LoadError(msg)

    @_on.register
    def _on_state(self, message: StateMessage) -> None:
        self._commit(bytes(message.value))

    @_on.register
    def _on_schema(self, message: SchemaMessage) -> None:
        schema = stream_schema(message)
        if self._announced.get(message.stream) and schema != self._schemas[message.stream]:
            self._commit(None)
        self._schemas[message.stream] = schema

    @_on.register
    def _on_batch(self, message: BatchMessage) -> None:
        if message.encoding.format != PARQUET:
            msg = f"The tap writes other BATCH files than Parquet. {_FILES_WANTED}"
            raise LoadError(msg)
        if message.stream not in self._schemas:
            msg = "A BATCH message came before the SCHEMA message of its stream. Pipe all messages into the loader."
            raise LoadError(msg)
        files = [self._tools.store.at(address) for address in message.manifest]
        self._leftovers.begin({file.run: file.folder(message.stream) for file in files if file.run})
        self._received.setdefault(message.stream, _now())
        self._announced[message.stream].update({file.key: file for file in files})

    def _commit(self, state: bytes | None) -> None:
        """Load what was announced, remove it, and then pass on the state."""
        if self._announced:
            with self._tools.destination.transaction():
                for stream, files in self._announced.items():
                    self._load(stream, files)
            self._leftovers.remove([file for files in self._announced.values() for file in files.values()])
            self._announced.clear()
            self._received.clear()
        if state is not None:
            self._leftovers.clear(self._comparable, self._put_leftover)
            self._write_state(state)

    def _load(self, stream: str, files: Mapping[str, BatchFile]) -> None:
        loaded = self._tools.ledger.loaded(files)
        new = {key: file for key, file in files.items() if key not in loaded}
        for file in new.values():
            if not self._tools.store.exists(file):
                msg = (
                    f"A BATCH file of {stream} is missing, and was not loaded before. Check that the loader sees the "
                    "folder or bucket into which the tap writes, and that nothing else removes files there. The state "
                    "has not passed the file, so the next run of the tap reads its rows again."
                )
                raise LoadError(msg)
            if self._leftovers.is_overtaken(file, stream):
                msg = (
                    f"A BATCH file of {stream} is of an interrupted run, and a later run has loaded rows of this "
                    "stream since: older rows would replace newer ones. Do not load these messages again. The state "
                    "has not passed the file, so the tap reads its rows again. With the setting load_leftovers, the "
                    "next run adds the rows that are missing until then, and removes the file."
                )
                raise LoadError(msg)
        if new:
            self._put(stream, list(new.values()), self._received[stream], replace=True)
            self._tools.ledger.add({key: file.folder(stream) for key, file in new.items()})

    def _put(self, stream: str, files: Sequence[BatchFile], received: datetime, *, replace: bool) -> None:
        """Put the rows of files into the table of their stream."""
        started = time.monotonic()
        tools, schema = self._tools, self._schemas[stream]
        table = prepare_table(tools.destination, schema, metadata=self._metadata)
        values: dict[str, object] = {}
        if self._metadata:
            values = {
                "_sdc_extracted_at": max(map(tools.store.modified, files)).astimezone(timezone.utc),
                "_sdc_received_at": received,
                "_sdc_batched_at": _now(),
                "_sdc_sequence": _milliseconds(),
                "_sdc_sync_started_at": self._started,
            }
        try:
            paths = list(map(tools.store.local, files))
            # Since an interrupted run, columns may have been deselected, or left out for the personal data in them.
            rows = ParquetRows(tools.engine, schema, paths, may_have_others=not replace)
            self._compare_treatment(rows, follow=replace)
            tools.destination.load(table, rows, values, replace=replace)
        finally:
            for file in files:
                tools.store.release(file)
        self.rows += rows.count
        self.files += len(files)
        logger.info(
            "%s: loaded %s of %s in %.1f s",
            stream,
            counted(rows.count, "row"),
            counted(len(files), "file"),
            time.monotonic() - started,
        )

    def _compare_treatment(self, rows: ParquetRows, *, follow: bool) -> None:
        """Refuse rows in which personal data were treated in another way than in those that this run announces."""
        if follow:
            self._treatment = rows.treatment
        elif rows.treatment != self._treatment:
            msg = "It was written with another personal_data or personal_data_salt."
            raise LoadError(msg)

    @property
    def _comparable(self) -> Collection[str]:
        """The streams whose leftovers may be loaded: none before a file shows how personal data are treated now."""
        return self._schemas if self._treatment else ()

    def _put_leftover(self, stream: str, file: BatchFile) -> None:
        self._put(stream, [file], _now(), replace=False)

    def _finish(self) -> None:
        """Create the tables of streams without rows, load what other runs left, and note that this run has ended."""
        tools = self._tools
        with tools.destination.transaction():
            for schema in self._schemas.values():
                table = prepare_table(tools.destination, schema, metadata=self._metadata)
                if not table.columns:
                    tools.destination.create(table)
        self._leftovers.finish(self._comparable, self._put_leftover)
        logger.info("%s of %s loaded", counted(self.rows, "row"), counted(self.files, "file"))


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
