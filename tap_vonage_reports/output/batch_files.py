"""BATCH files: the records of a stream in files with a fixed schema, which appear only when they are complete.

BATCH messages tell the target where the files are. The target has to remove them, because the tap cannot know when it
has read them.
"""

from __future__ import annotations

import itertools
import os
import secrets
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cache, cached_property, partial
from importlib.util import find_spec
from threading import Thread
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol

from tap_vonage_reports.config.schema import BY_STREAM, BY_STREAM_AND_DATE, COMPRESSIONS, FLAT, KEEP
from tap_vonage_reports.errors import SettingsError
from tap_vonage_reports.output.journal import Journal, remove_unannounced
from tap_vonage_reports.output.jsonl import JsonLines
from tap_vonage_reports.output.storage import open_storage, storage_errors
from tap_vonage_reports.records.report_archive import archive_errors, check_count

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from typing_extensions import Self

    from tap_vonage_reports.output.storage import StorageSettings
    from tap_vonage_reports.records.parser import RecordParser
    from tap_vonage_reports.records.record import Record

    MakeParquet: TypeAlias = Callable[[Mapping[str, Any], Collection[str], RecordParser, str, str], "FileFormat"]

ROWS_PER_FILE = 100_000
"""Default limit of rows in a file. The SDK's targets load a whole file into memory."""
RUN = secrets.token_hex(4)
"""What the names of all files of this process share: a loader finds by it what an interrupted run has left."""
_NUMBERS = itertools.count(1)
"""The numbers of the files of this process."""
_FOLDERS: Final[Mapping[str, str]] = {
    FLAT: "",
    BY_STREAM: "{stream}/",
    BY_STREAM_AND_DATE: "{stream}/read_date={now:%Y-%m-%d}/",
}
"""By layout, the folders between the prefix and the file. The date is the day (UTC) on which the rows were read."""


class BatchConfig(Protocol):
    """The part of the SDK's `BatchConfig` that is used. That class has no public name."""

    @property
    def encoding(self) -> Any:  # noqa: ANN401 - a dataclass of the SDK's, with `format` and `compression`
        """Format and compression of the files."""

    @property
    def storage(self) -> StorageSettings:
        """The place of the files."""


class FileFormat(Protocol):
    """A file format for the records of one stream.

    A part is what the format makes of any number of rows: it has a length and can be sliced by rows.
    """

    @property
    def suffix(self) -> str:
        """The end of file names."""

    def from_records(self, records: Sequence[Record]) -> Any:  # noqa: ANN401 - a part
        """Return records as a part."""

    def from_archive(self, file: BinaryIO, count: int | None) -> Generator[Any, None, None]:
        """Yield the rows of a report archive as parts, in its order."""

    def open_writer(self, file: BinaryIO) -> FileWriter:
        """Start a file."""


class FileWriter(Protocol):
    """A writer of one file."""

    def write(self, part: Any, /) -> None:  # noqa: ANN401 - a part
        """Write a part."""

    def close(self) -> None:
        """Complete the file."""

    def abandon(self) -> None:
        """Write nothing more."""


class BatchFiles:
    """A writer of the rows of one stream to files with a limited number of rows.

    Use it in a `with` block. Files that `finish` has not returned are removed at the end of the block, and when a
    method fails. If the process is killed, `remove_unannounced` of the next run removes what no message names.

    Example::

        with BatchFiles("sms", product.schema, fields, parser, batch_config) as files:
            files.write_archive(file, count)
            if manifest := files.finish():
                yield files.encoding, manifest
                files.announced()

    Attributes:
        encoding: The encoding for BATCH messages: the SDK's object, with the actual compression.
        rows: The number of rows written since the last `finish`.
    """

    def __init__(  # noqa: PLR0913 - what a file is made of, and where it goes
        self,
        stream: str,
        schema: Mapping[str, Any],
        fields: Collection[str],
        parser: RecordParser,
        config: BatchConfig,
        *,
        rows_per_file: int = ROWS_PER_FILE,
        layout: str = BY_STREAM,
        treatment: str = KEEP,
    ) -> None:
        """Prepare the files. Each is created with its first row.

        Args:
            stream: The stream's name.
            schema: The JSON Schema of the stream's records.
            fields: The names of the selected fields. Files have these and the key, in the schema's order.
            parser: The stream's parser, for these fields.
            config: The SDK's batch configuration, already validated with the other settings.
            rows_per_file: The limit of rows in a file.
            layout: The folders of the files, a value of the setting `batch_layout`.
            treatment: How personal data were treated (see `personal_data`), for the metadata of Parquet files.

        Raises:
            SettingsError: A necessary package is not installed, or the storage cannot be used.
        """
        compression = config.encoding.compression or COMPRESSIONS[config.encoding.format][0]
        self.encoding = replace(config.encoding, compression=compression)
        _prepare(self.encoding.format)
        self._make_format = partial(_new_format, self.encoding, schema, fields, parser, treatment)
        self._storage = open_storage(config.storage)
        self._journal = Journal(self._storage, RUN)
        self._name = _name(config.storage.prefix or "", layout, stream)
        self._rows_per_file, self.rows = rows_per_file, 0
        self._draft: _Draft | None = None
        self._published: dict[str, str] = {}
        self._finished: dict[str, str] = {}

    @cached_property
    def _format(self) -> FileFormat:
        return self._make_format()

    def write_records(self, records: Sequence[Record]) -> None:
        """Write records.

        Args:
            records: Records that `RecordParser` has made.

        Raises:
            BatchFileError: A file cannot be written.
        """
        with self._all_or_nothing():
            self._write(self._format.from_records(records))

    def write_archive(self, file: BinaryIO, count: int | None, on_progress: Callable[[], None] = lambda: None) -> int:
        """Write the rows of a report archive in its order, and check it on the way.

        It does the checks of `report_archive.verify`, so that a large file is read once. If one fails, nothing of the
        archive remains.

        Args:
            file: The zip file.
            count: The announced number of rows; None if the API announced none.
            on_progress: Called after every few thousand rows.

        Returns:
            The number of rows.

        Raises:
            BatchFileError: A file cannot be written.
            ArchiveError: As `report_archive.verify`.
        """
        rows = 0
        with self._all_or_nothing(), closing(self._format.from_archive(file, count)) as parts:
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
        """Complete the open file.

        Returns:
            The addresses of all files since the last call, for a BATCH message. Empty if there were no rows.

        Raises:
            BatchFileError: A file cannot be written.
        """
        with self._all_or_nothing():
            self._publish()
        self._finished, self._published, self.rows = self._published, {}, 0
        return list(self._finished.values())

    def announced(self) -> Callable[[], None]:
        """Leave the files of the last `finish` to the target: their message is written. Call it before any STATE.

        Returns:
            What removes the files if the target has ended and nobody has read the message.
        """
        with storage_errors():
            self._journal.clear()
        names, self._finished = list(self._finished), {}

        def take_back() -> None:
            for name in names:
                self._storage.remove(name)

        return take_back

    def take_back(self) -> None:
        """Remove the files of the last `finish`: the target has closed the pipe, so their message was not written."""
        self._remove(self._finished)
        self._finished = {}

    def discard(self) -> None:
        """Remove all files since the last `finish`."""
        if self._draft:
            self._draft.abandon()
            self._draft = None
        self._remove(self._published)
        self._published, self.rows = {}, 0

    def remove_unannounced(self) -> None:
        """Remove the files that killed runs wrote into the same storage, and that no message names."""
        remove_unannounced(self._storage)

    def _remove(self, names: Iterable[str]) -> None:
        removed = [self._storage.remove(name) for name in names]
        self._journal.close(keep=not all(removed))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    @contextmanager
    def _all_or_nothing(self) -> Generator[None, None, None]:
        try:
            yield
        except BaseException:
            self.discard()
            raise

    def _write(self, part: Any) -> None:  # noqa: ANN401 - a part
        with storage_errors():
            while len(part):
                draft = self._draft or self._begin()
                room = self._rows_per_file - draft.rows
                draft.write(part[:room])
                self.rows += len(part[:room])
                part = part[room:]
                if draft.rows == self._rows_per_file:
                    self._publish()

    def _begin(self) -> _Draft:
        number = next(_NUMBERS)
        name = f"{self._name}-{number:05}{self._format.suffix}"
        path = self._storage.draft(name)
        # Register the draft before creating its file, so that cleanup always finds it.
        self._journal.add(name, number)
        draft = self._draft = _Draft(name, path)
        draft.file = open(path, "xb", opener=_open_private)  # noqa: SIM115 - the draft closes it
        draft.writer = self._format.open_writer(draft.file)
        return draft

    def _publish(self) -> None:
        if draft := self._draft:
            with storage_errors():
                draft.close()
                # Register the file before creating it, so that cleanup always finds it.
                self._published[draft.name] = ""
                self._published[draft.name] = self._storage.publish(draft.path, draft.name)
            self._draft = None


def _name(prefix: str, layout: str, stream: str) -> str:
    """Return what the names of a stream's files begin with, apart from their numbers."""
    now = datetime.now(timezone.utc)
    folder = _FOLDERS[layout].format(stream=stream, now=now)
    # The time comes first and has microseconds, so that the newest file of a stream has the last name.
    return f"{prefix}{folder}{stream}-{now:%Y%m%dT%H%M%S%fZ}-{RUN}"


@dataclass
class _Draft:
    """An incomplete file."""

    name: str
    path: Path
    file: BinaryIO = field(init=False)
    writer: FileWriter = field(init=False)
    rows: int = 0

    def write(self, part: Any) -> None:  # noqa: ANN401 - a part
        self.writer.write(part)
        self.rows += len(part)

    def close(self) -> None:
        self.writer.close()
        self.file.close()

    def abandon(self) -> None:
        with suppress(Exception):  # among others, the writer may not exist yet
            self.writer.abandon()
        with suppress(AttributeError, OSError):  # the file may not exist yet, either
            self.file.close()
        with suppress(OSError):
            self.path.unlink()


def _new_format(
    encoding: Any,  # noqa: ANN401 - see `BatchConfig`
    schema: Mapping[str, Any],
    fields: Collection[str],
    parser: RecordParser,
    treatment: str,
) -> FileFormat:
    if encoding.format == "parquet":
        return _parquet()(schema, fields, parser, encoding.compression, treatment)
    return JsonLines(parser, encoding.compression)


def _prepare(kind: str) -> None:
    """Import the Parquet format, where it is needed, in a thread, while the run still waits for the API.

    Raises:
        SettingsError: The package that Parquet needs, which is an extra, is not installed.
    """
    if kind == "parquet":
        if find_spec("pyarrow") is None:
            raise _no_parquet()
        _start_import()


@cache
def _start_import() -> None:
    def import_parquet() -> None:
        with suppress(SettingsError):  # raised again where the format is needed
            _parquet()

    Thread(target=import_parquet, name="import-parquet", daemon=True).start()


def _parquet() -> MakeParquet:
    """Import the Parquet format; if a thread is about to, wait for it.

    Raises:
        SettingsError: The package that it needs cannot be imported.
    """
    try:
        from tap_vonage_reports.output.parquet import Parquet  # noqa: PLC0415
    except ImportError:
        raise _no_parquet() from None
    return Parquet


def _no_parquet() -> SettingsError:
    problem = (
        "The setting batch_config selects Parquet files, which need the package pyarrow. It is not installed. "
        "Run pip install 'tap-vonage-reports[parquet]', or set the format to jsonl."
    )
    return SettingsError([problem])


def _open_private(path: str, flags: int) -> int:
    """Create a file for the user alone, because it holds personal data."""
    return os.open(path, flags, 0o600)
