"""A downloaded zip as rows: its members, the CSV dialect, the header, and the checks.

Seen in real files [confirmed]: one deflated entry, streamed, so that only the central directory knows sizes;
UTF-8 without BOM, comma, LF, every cell in double quotes, an empty string for a missing value. Whether large
reports have several entries is unknown: all that end in ``.csv`` are read. Columns come, go and move, so they
are taken by name.
"""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, BinaryIO, TextIO, cast

from tap_vonage_reports.errors import ArchiveError
from tap_vonage_reports.records.parser import KEY_FIELD

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from _typeshed import WriteableBuffer

    Columns = Sequence[Sequence[str]]

MAX_BYTES_PER_ROW = 1 << 15
"""Bytes that a row may take on average; an archive that inflates beyond what its rows explain is refused."""
MAX_INFLATION = 200
"""The same for a report that does not say how many rows it has, by the size of its file: CSV inflates about tenfold."""
MIN_INFLATED_BYTES = 1 << 20
MAX_ROW_CHARACTERS = 1 << 22
"""Characters of a row, which is in memory as a whole: 128 times what rows take on average at most."""
MAX_COLUMNS = 1000
"""Columns of a table: twenty times as many as any product has."""
MAX_READ_BYTES = 1 << 21
"""Bytes that are read of the file at once. Its directory is, which has less than a hundred for each member."""
BYTES_AT_ONCE = 1 << 17
CHARACTERS_AT_ONCE = 1 << 17

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, UnicodeDecodeError, csv.Error, NotImplementedError, RuntimeError)
_INSIDE_ROW = frozenset(("", ","))
"""What may stand behind a quote that ends a cell or a part of one, inside a row."""
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def verify(file: BinaryIO, count: int | None) -> int:
    """Read an archive to its end, and refuse it unless it is whole.

    Args:
        file: The zip file.
        count: How many rows were announced (`items_count`); None where nothing was said.

    Returns:
        How many rows it has.

    Raises:
        ArchiveError: It is no zip, holds no CSV, has a bad checksum, a header without id, a row of another
            width than the header, another number of rows than announced, or inflates without end.
    """
    with damage_refused():
        found = sum(len(columns[0]) for _, columns in read_chunks(file, count))
    check_count(found, count)
    return found


@contextmanager
def damage_refused() -> Generator[None, None, None]:
    """Refuse an archive that cannot be read to its end.

    Raises:
        ArchiveError: In place of what the libraries raise.
    """
    try:
        yield
    except _BROKEN as error:
        msg = f"it is damaged ({type(error).__name__})"
        raise ArchiveError(msg) from None


def check_count(found: int, announced: int | None) -> None:
    """Refuse an archive that has more or fewer rows than were announced.

    Raises:
        ArchiveError: It has.
    """
    if announced is not None and found != announced:
        msg = f"it has {found} rows, {announced} were announced"
        raise ArchiveError(msg)


def check_header(header: Sequence[str]) -> None:
    """Refuse a header by which columns cannot be told.

    Raises:
        ArchiveError: It has no id, a name twice, or more names than any table has.
    """
    if len(header) > MAX_COLUMNS:
        msg = f"its header names more than {MAX_COLUMNS} columns"
        raise ArchiveError(msg)
    if KEY_FIELD not in header:
        msg = f"its header has no column {KEY_FIELD}"
        raise ArchiveError(msg)
    if len(set(header)) < len(header):
        msg = "its header names a column twice"
        raise ArchiveError(msg)


def read_chunks(file: BinaryIO, count: int | None) -> Iterator[tuple[list[str], Columns]]:
    """The rows of an archive, some at a time, in the file's order.

    Args:
        file: The zip file.
        count: As for `verify`.

    Yields:
        The names of the columns, and of each column the cells of some rows; a missing value is an empty text.

    Raises:
        ArchiveError: The archive is not whole, see `verify`; and what the libraries raise, see `damage_refused`.
    """
    for member in open_members(file, count):
        table = _Table(member)
        for columns in table:
            yield table.header, columns


def open_members(file: BinaryIO, count: int | None) -> Iterator[BinaryIO]:
    """The CSV files of an archive.

    Args:
        file: The zip file.
        count: As for `verify`.

    Yields:
        The bytes of each, inflated as they are read; closed when the next one is asked for, or none any more.

    Raises:
        ArchiveError: There is none; or, while one is read, it inflates beyond what its number of rows explains.
    """
    size = file.seek(0, io.SEEK_END)
    left = max(MIN_INFLATED_BYTES, MAX_INFLATION * size if count is None else MAX_BYTES_PER_ROW * (count + 1))
    with zipfile.ZipFile(cast("IO[bytes]", _Zip(file, size))) as archive:
        # Not by name: several members may have the same one.
        members = [member for member in archive.infolist() if member.filename.lower().endswith(".csv")]
        if not members:
            msg = "it holds no CSV file"
            raise ArchiveError(msg)
        for member in members:
            if member.compress_type not in _COMPRESSIONS:
                msg = "it is compressed in a way that reports are not"
                raise ArchiveError(msg)
            with archive.open(member) as inner:
                limited = _Limited(inner, left)
                with io.BufferedReader(limited, BYTES_AT_ONCE) as content:
                    yield cast("BinaryIO", content)
                left = limited.left


class _Table:
    """Header and cells of one CSV file."""

    def __init__(self, member: BinaryIO) -> None:
        # "utf-8-sig" takes a BOM for what it is; newlines are the CSV reader's, for they may stand inside cells.
        self._text = io.TextIOWrapper(member, encoding="utf-8-sig", newline="")
        self.header = next(csv.reader(_Lines(self._text), strict=True), [])
        check_header(self.header)

    def __iter__(self) -> Iterator[Columns]:
        """Columns of some rows, for all rows in turn.

        Where every cell is in quotes, a text that is cut at its quotes falls into cells and what stands between them,
        which takes less than half the time of the CSV reader. That reads what is left when a text turns out to be
        anything else, be it wrong or right.
        """
        between = [*[","] * (len(self.header) - 1), "\n"]
        done, rest = 0, ""
        # Twice as much with each try, lest a long row be looked at from its beginning again and again.
        while text := self._text.read(max(CHARACTERS_AT_ONCE, min(len(rest), MAX_ROW_CHARACTERS - len(rest)))):
            text = rest + text
            parts = text.split('"')
            end = _end_of_rows(parts)
            cells = _whole_cells(parts[1:end:2], parts[2 : end + 1 : 2], between)
            if parts[0] or not cells:
                rest = text
                if not (parts[0] or end) and len(text) <= MAX_ROW_CHARACTERS and _INSIDE_ROW.issuperset(parts[2:-1:2]):
                    continue
                break
            yield [cells[column :: len(between)] for column in range(len(between))]
            done += len(cells) // len(between)
            rest = '"'.join(["", *parts[end + 1 :]])
        for rows in self._read_with_care(rest, done):
            yield list(zip(*rows, strict=True))

    def _read_with_care(self, text: str, done: int) -> Iterator[list[list[str]]]:
        """Rows by the CSV reader, some at a time, from a text on that comes before all that has not been read."""
        text += self._text.readline(MAX_ROW_CHARACTERS + 1)
        lines = _Lines(io.StringIO(text, newline=""), self._text)
        rows, characters = [], 0
        for number, row in enumerate(csv.reader(lines, strict=True), start=done + 2):
            if len(row) != len(self.header):
                msg = f"row {number} of {len(self.header)} columns has {len(row)} cells"
                raise ArchiveError(msg)
            rows.append(row)
            characters += lines.end_row()
            if characters >= CHARACTERS_AT_ONCE:
                yield rows
                rows, characters = [], 0
        if rows:
            yield rows


def _end_of_rows(parts: list[str]) -> int:
    """Where among the parts, a gap and a cell in turn, the last gap is that ends a row."""
    return next((end for end in range((len(parts) - 1) // 2 * 2, 0, -2) if parts[end] == "\n"), 0)


def _whole_cells(cells: list[str], gaps: list[str], between: list[str]) -> list[str]:
    """Put together the cells that were cut at a quote inside, which is written as two with nothing between.

    Args:
        cells: The cells of some rows.
        gaps: What stands behind each.
        between: What has to stand behind the cells of a row.

    Returns:
        As many cells for each row; none when something else stands between them.
    """
    whole: list[str] = []
    start = taken = 0
    while start < len(gaps):
        end = start + len(between)
        if gaps[start:end] != between:
            end = gaps.index("\n", start) + 1
            if [gap for gap in gaps[start:end] if gap] != between:
                return []
            whole += cells[taken:start]
            for at in range(start, end):
                if gaps[at]:
                    whole.append('"'.join(cells[start : at + 1]))
                    start = at + 1
            taken = end
        start = end
    return whole + cells[taken:]


class _Lines:
    """Lines for a CSV reader, which takes as many as a row goes on: no more than a row may have."""

    def __init__(self, *texts: TextIO) -> None:
        self._texts = list(texts)
        self._left = MAX_ROW_CHARACTERS

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while self._texts:
            line = self._texts[0].readline(self._left + 1)
            if line:
                self._left -= len(line)
                if self._left < 0:
                    msg = f"a row has more than {MAX_ROW_CHARACTERS} characters"
                    raise ArchiveError(msg)
                return line
            self._texts.pop(0)
        raise StopIteration

    def end_row(self) -> int:
        """Note that a row is whole; how many characters it has."""
        characters, self._left = MAX_ROW_CHARACTERS - self._left, MAX_ROW_CHARACTERS
        return characters


class _Zip:
    """A file for the zip reader, which seeks and reads whatever the file tells it to."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self.tell = file.tell
        self.seekable = file.seekable

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET and not 0 <= offset <= self._size:
            msg = "it is damaged (it points outside itself)"
            raise ArchiveError(msg)
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        if size > MAX_READ_BYTES:
            msg = "it is damaged (its directory is larger than any report's)"
            raise ArchiveError(msg)
        return self._file.read(size)


class _Limited(io.RawIOBase):
    """Reads no more than a limit out of a member, so that a small file cannot inflate without end.

    Attributes:
        left: How many bytes may still be read.
    """

    def __init__(self, inner: IO[bytes], limit: int) -> None:
        super().__init__()
        self._inner = inner
        self.left = limit

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer, as far as the member goes."""
        view = memoryview(buffer)
        chunk = self._inner.read(min(len(view), BYTES_AT_ONCE))
        self.left -= len(chunk)
        if self.left < 0:
            msg = "it inflates beyond what its number of rows explains"
            raise ArchiveError(msg)
        view[: len(chunk)] = chunk
        return len(chunk)
