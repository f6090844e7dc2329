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
from itertools import chain, islice
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from tap_vonage_reports.errors import ArchiveError
from tap_vonage_reports.records import KEY

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from _typeshed import WriteableBuffer

    Columns = Sequence[Sequence[str]]

LARGEST_ROW = 1 << 15
"""Bytes that a row may take on average; a member that inflates beyond what its rows explain is refused."""
MOST_INFLATION = 200
"""The same for a report that does not say how many rows it has, by the size of its file: CSV inflates about tenfold."""
SMALLEST_LIMIT = 1 << 20
BYTES_AT_ONCE = 1 << 17
CHARACTERS_AT_ONCE = 1 << 17
ROWS_AT_ONCE = 1000

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, UnicodeDecodeError, csv.Error, NotImplementedError, RuntimeError)


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
        ArchiveError: It has no id, or a name twice.
    """
    if KEY not in header:
        msg = f"its header has no column {KEY}"
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
    explained = MOST_INFLATION * file.seek(0, io.SEEK_END) if count is None else LARGEST_ROW * (count + 1)
    limit = max(SMALLEST_LIMIT, explained)
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.lower().endswith(".csv")]
        if not names:
            msg = "it holds no CSV file"
            raise ArchiveError(msg)
        for name in names:
            with archive.open(name) as inner, io.BufferedReader(_Limited(inner, limit), BYTES_AT_ONCE) as member:
                yield cast("BinaryIO", member)


class _Table:
    """Header and cells of one CSV file."""

    def __init__(self, member: BinaryIO) -> None:
        # "utf-8-sig" takes a BOM for what it is; newlines are the CSV reader's, for they may stand inside cells.
        self._text = io.TextIOWrapper(member, encoding="utf-8-sig", newline="")
        self.header = next(csv.reader(self._text, strict=True), [])
        check_header(self.header)

    def __iter__(self) -> Iterator[Columns]:
        """Columns of some rows, for all rows in turn.

        Where every cell is in quotes, a text that is cut at its quotes falls into cells and what stands between them,
        which takes less than half the time of the CSV reader. That reads what is left when a text turns out to be
        anything else, be it wrong or right.
        """
        between = [*[","] * (len(self.header) - 1), "\n"]
        done, rest = 0, ""
        while text := self._text.read(CHARACTERS_AT_ONCE):
            text = rest + text
            parts = text.split('"')
            end = _end_of_rows(parts)
            cells = _whole_cells(parts[1:end:2], parts[2 : end + 1 : 2], between)
            if parts[0] or not cells:
                rest = text
                break
            yield [cells[column :: len(between)] for column in range(len(between))]
            done += len(cells) // len(between)
            rest = '"'.join(["", *parts[end + 1 :]])
        rows = self._read_with_care(rest, done)
        while some := list(islice(rows, ROWS_AT_ONCE)):
            yield list(zip(*some, strict=True))

    def _read_with_care(self, text: str, done: int) -> Iterator[list[str]]:
        """Rows by the CSV reader, from a text on that comes before all that has not been read."""
        lines = chain(io.StringIO(text + self._text.readline(), newline=""), self._text)
        for number, row in enumerate(csv.reader(lines, strict=True), start=done + 2):
            if len(row) != len(self.header):
                msg = f"row {number} of {len(self.header)} columns has {len(row)} cells"
                raise ArchiveError(msg)
            yield row


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
                if at > start and not gaps[at - 1]:
                    whole[-1] += '"' + cells[at]
                else:
                    whole.append(cells[at])
            taken = end
        start = end
    return whole + cells[taken:]


class _Limited(io.RawIOBase):
    """Reads no more than a limit out of a member, so that a small file cannot inflate without end."""

    def __init__(self, inner: IO[bytes], limit: int) -> None:
        super().__init__()
        self._inner = inner
        self._left = limit

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer, as far as the member goes."""
        view = memoryview(buffer)
        chunk = self._inner.read(len(view))
        self._left -= len(chunk)
        if self._left < 0:
            msg = "it inflates beyond what its number of rows explains"
            raise ArchiveError(msg)
        view[: len(chunk)] = chunk
        return len(chunk)
