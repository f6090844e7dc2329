"""BATCH files (Parquet, JSON lines) with a fixed schema per stream.

A target reads them by the addresses in BATCH messages. What it has read is the target's to remove: the tap
cannot know when that is.
"""

from __future__ import annotations

import os
import secrets
import zlib
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeAlias

import msgspec

from tap_vonage_reports.config.schema import COMPRESSIONS
from tap_vonage_reports.errors import SettingsError
from tap_vonage_reports.output.storage import storage_of, writing
from tap_vonage_reports.records.parser import KEY_FIELD
from tap_vonage_reports.records.report_archive import archive_errors, check_count, read_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

    from tap_vonage_reports.output.storage import StorageSettings
    from tap_vonage_reports.records.parser import RecordParser

ROWS_PER_FILE = 100_000
"""The SDK's targets hold the rows of a file in memory, all at once."""
_FAST = 1
_GZIP = 16 + zlib.MAX_WBITS


class BatchConfig(Protocol):
    """What is read of the SDK's `BatchConfig`, which has no public name of its own."""

    @property
    def encoding(self) -> Any:  # noqa: ANN401 - a dataclass of the SDK's, with `format` and `compression`
        """Format and compression of the files."""

    @property
    def storage(self) -> StorageSettings:
        """Where the files go."""


class BatchFiles:
    """Writes the rows of one stream to files of a limited number of rows.

    To be used in a `with` block: what `finish` has not given out when the block ends is removed, and so it is when
    a method fails. If the process is killed, a hidden file whose name ends in ``.unfinished`` may stay.

    Example::

        with BatchFiles("sms", product.schema, fields, parser, batch_config) as files:
            files.write_archive(file, count)
            if manifest := files.finish():
                yield files.encoding, manifest

    Attributes:
        encoding: For BATCH messages: the SDK's own object, with the compression that the files have.
    """

    def __init__(  # noqa: PLR0913 - what a file is made of
        self,
        stream: str,
        schema: Mapping[str, Any],
        fields: Collection[str],
        parser: RecordParser,
        config: BatchConfig,
        *,
        rows_per_file: int = ROWS_PER_FILE,
    ) -> None:
        """Prepare the files of a stream. None is there before its first row.

        Args:
            stream: The stream's name.
            schema: The JSON Schema of the stream's records.
            fields: The names of the selected fields. Files have these in the schema's order, and the key in any case.
            parser: Makes records of these fields.
            config: The SDK's batch configuration, which has been checked with the other settings.
            rows_per_file: How many rows a file has at most.

        Raises:
            SettingsError: A package that they need is not installed, or the storage cannot be used.
        """
        kind = config.encoding.format
        compression = config.encoding.compression or COMPRESSIONS[kind][0]
        make: MakeFormat = _parquet() if kind == "parquet" else JsonLines
        self._format = make(schema, fields, parser, compression)
        self._storage = storage_of(config.storage)
        self.encoding = replace(config.encoding, compression=compression)
        begun = datetime.now(timezone.utc)
        self._name = f"{config.storage.prefix or ''}{stream}-{begun:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        self._rows_per_file = rows_per_file
        self._files = 0
        self._rows = 0
        self._draft: _Draft | None = None
        self._published: dict[str, str] = {}

    @property
    def rows(self) -> int:
        """How many rows were written since `finish` was called last."""
        return self._rows

    def write_records(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Write records.

        Args:
            records: What `RecordParser` has made of rows.

        Raises:
            TapError: A file cannot be written.
        """
        with self._all_or_nothing():
            self._write(self._format.of_records(records))

    def write_archive(self, file: BinaryIO, count: int | None, on_progress: Callable[[], None] = lambda: None) -> int:
        """Write the rows of a report, in their order; nothing remains of an archive that is not whole.

        What `archive.verify` tells is told here on the way, so that a large file need not be read twice.

        Args:
            file: Its archive.
            count: How many rows were announced; None where nothing was said.
            on_progress: Called after every few thousand rows.

        Returns:
            How many rows it has.

        Raises:
            TapError: A file cannot be written.
            RecordError: A row has no id.
            ArchiveError: It is not whole, as for `archive.verify`.
        """
        rows = 0
        with self._all_or_nothing(), closing(self._format.of_archive(file, count)) as parts:
            while True:
                with archive_errors():
                    part = next(parts, None)
                if part is None:
                    break
                self._write(part)
                rows += len(part)
                on_progress()
            check_count(rows, count)
        return rows

    def finish(self) -> list[str]:
        """End the open file, and give out the addresses of all that were written since this was called last.

        Returns:
            The manifest of a BATCH message; empty where there were no rows.

        Raises:
            TapError: A file cannot be written.
        """
        with self._all_or_nothing():
            self._publish()
        manifest = list(self._published.values())
        self._published, self._rows = {}, 0
        return manifest

    def discard(self) -> None:
        """Remove what was written since `finish` was called last."""
        if self._draft:
            self._draft.abandon()
            self._draft = None
        for name in self._published:
            self._storage.remove(name)
        self._published, self._rows = {}, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.discard()

    @contextmanager
    def _all_or_nothing(self) -> Generator[None, None, None]:
        try:
            yield
        except BaseException:
            self.discard()
            raise

    def _write(self, part: Any) -> None:  # noqa: ANN401 - what the format makes of rows
        with writing():
            while len(part):
                draft = self._draft or self._begin()
                room = self._rows_per_file - draft.rows
                draft.write(part[:room])
                self._rows += len(part[:room])
                part = part[room:]
                if draft.rows == self._rows_per_file:
                    self._publish()

    def _begin(self) -> _Draft:
        self._files += 1
        name = f"{self._name}-{self._files:05}{self._format.suffix}"
        path = self._storage.draft(name)
        draft = self._draft = _Draft(name, path)  # before it is there, lest it stay there unknown
        draft.file = open(path, "xb", opener=_private)  # noqa: SIM115 - the draft closes it
        draft.sink = self._format.open(draft.file)
        return draft

    def _publish(self) -> None:
        if draft := self._draft:
            with writing():
                draft.close()
                self._published[draft.name] = ""  # before it is there, lest it stay there unknown
                self._published[draft.name] = self._storage.publish(draft.path, draft.name)
            self._draft = None


class Format(Protocol):
    """Makes files of rows. A part is any number of rows, and can be sliced."""

    @property
    def suffix(self) -> str:
        """How file names end."""

    def of_records(self, records: Sequence[Mapping[str, Any]]) -> Any:  # noqa: ANN401
        """A part out of records."""

    def of_archive(self, file: BinaryIO, count: int | None) -> Generator[Any, None, None]:
        """Parts out of an archive, in its order."""

    def open(self, file: BinaryIO) -> Sink:
        """Begin a file."""


MakeFormat: TypeAlias = "Callable[[Mapping[str, Any], Collection[str], RecordParser, str], Format]"


class Sink(Protocol):
    """What writes one file."""

    def write(self, part: Any, /) -> None:  # noqa: ANN401
        """Write a part."""

    def close(self) -> None:
        """Write the end of the file."""

    def abandon(self) -> None:
        """Write nothing more."""


class JsonLines:
    """Makes files in which each line is a record, byte for byte as in its RECORD message."""

    def __init__(
        self, schema: Mapping[str, Any], fields: Collection[str], parser: RecordParser, compression: str
    ) -> None:
        """Prepare the files of a stream; the arguments are those of `BatchFiles`, and a compression."""
        self._fields = [name for name in schema["properties"] if name in {KEY_FIELD, *fields}]
        self._parser = parser
        self._packed = compression == "gzip"
        self.suffix = ".jsonl.gz" if self._packed else ".jsonl"

    def of_records(self, records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The records, without fields that are not selected."""
        width = len(self._fields)
        return [record if len(record) == width else {name: record[name] for name in self._fields} for record in records]

    def of_archive(self, file: BinaryIO, count: int | None) -> Generator[list[Mapping[str, Any]], None, None]:
        """The records of an archive, some at a time."""
        for header, columns in read_chunks(file, count):
            yield self.of_records(self._parser.parse_cells(header, columns))

    def open(self, file: BinaryIO) -> Sink:
        """Begin a file."""
        return _PackedLines(file) if self._packed else _Lines(file)


class _Lines:
    """Writes records as lines."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._encoder = msgspec.json.Encoder(decimal_format="number")

    def write(self, records: list[Mapping[str, Any]]) -> None:
        self._file.write(self._encoder.encode_lines(records))

    def close(self) -> None:
        """Nothing follows the last line."""

    abandon = close


class _PackedLines(_Lines):
    """The same as gzip, without a time or a name within: the same records give the same bytes."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self._packer = zlib.compressobj(_FAST, zlib.DEFLATED, _GZIP)

    def write(self, records: list[Mapping[str, Any]]) -> None:
        self._file.write(self._packer.compress(self._encoder.encode_lines(records)))

    def close(self) -> None:
        self._file.write(self._packer.flush())


@dataclass
class _Draft:
    """A file that is not whole yet."""

    name: str
    path: Path
    file: BinaryIO = field(init=False)
    sink: Sink = field(init=False)
    rows: int = 0

    def write(self, part: Any) -> None:  # noqa: ANN401
        self.sink.write(part)
        self.rows += len(part)

    def close(self) -> None:
        self.sink.close()
        self.file.close()

    def abandon(self) -> None:
        with suppress(Exception):  # among them that there is no sink yet
            self.sink.abandon()
        with suppress(AttributeError, OSError):  # there may be no file yet, either
            self.file.close()
        with suppress(OSError):
            self.path.unlink()


def _parquet() -> MakeFormat:
    try:
        from tap_vonage_reports.output.parquet import Parquet  # noqa: PLC0415 - it needs a package that not everybody has
    except ImportError:
        problem = (
            "The setting batch_config asks for Parquet files, and the package pyarrow that writes them is not "
            "installed. Install it with pip install 'tap-vonage-reports[parquet]', or set the format to jsonl."
        )
        raise SettingsError([problem]) from None
    return Parquet


def _private(path: str, flags: int) -> int:
    """Open a file for the user alone: it holds personal data."""
    return os.open(path, flags, 0o600)
