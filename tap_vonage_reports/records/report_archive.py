"""Downloaded report archives: the CSV members of a zip, inflated within limits, and checked.

A real archive has one deflated member, written as a stream: only the zip's directory knows its sizes [confirmed].
Whether large reports have several members is [unknown], so all that end in ``.csv`` are read. Columns appear, disappear
and move between reports, so they are identified by name.
"""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from contextlib import closing, contextmanager
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from tap_vonage_reports.errors import ArchiveError
from tap_vonage_reports.records.csv_rows import CsvTable
from tap_vonage_reports.records.odd_rows import mend_columns
from tap_vonage_reports.records.read_ahead import read_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from _typeshed import WriteableBuffer

    from tap_vonage_reports.records.csv_rows import Columns

MAX_BYTES_PER_ROW = 1 << 15
"""Inflated bytes that an average row may have: 32 KiB, some 90 times those of an SMS."""
MAX_INFLATION_RATIO = 200
"""Inflated bytes per byte of an archive whose number of rows is not announced. CSV inflates about tenfold."""
MIN_INFLATED_LIMIT_BYTES = 1 << 23
"""A limit is never lower than this, whatever the number of rows: 8 MiB, twice the longest row."""
MAX_READ_BYTES = 1 << 21
"""Bytes read from an archive at a time. Its directory is read as a whole: less than 100 bytes for each member."""
CHUNK_BYTES = 1 << 17
"""Bytes that a reader takes at a time."""
BLOCK_BYTES = 1 << 20
BLOCKS_AHEAD = 3
"""Bytes that are inflated at a time, and how many such blocks may wait."""

_CORRUPTIONS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    csv.Error,
    NotImplementedError,
    RuntimeError,
    UnicodeDecodeError,  # of the name in a member's own header, which differs from the directory's
)
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def verify(file: BinaryIO, count: int | None, on_progress: Callable[[], None] = lambda: None) -> int:
    """Read an archive to its end and check it.

    Args:
        file: The zip file.
        count: The announced number of rows (`items_count`); None if the API announced none.
        on_progress: Called after every few thousand rows. It must not raise.

    Returns:
        The number of rows.

    Raises:
        ArchiveError: The file is not a zip, has no CSV member, a wrong checksum, a header without ``id``, a row of
            another width than the header, another number of rows than announced, or exceeds a limit.
    """
    found = 0
    with archive_errors():
        for table in _open_tables(file, count):
            for rows in table.count_rows():
                found += rows
                on_progress()
    check_count(found, count)
    return found


@contextmanager
def archive_errors() -> Generator[None, None, None]:
    """Raise errors of the zip, zlib and CSV readers as `ArchiveError`, without their text.

    Raises:
        ArchiveError: One of them was raised.
    """
    try:
        yield
    except _CORRUPTIONS as error:
        msg = f"the downloaded file is corrupt ({type(error).__name__})"
        raise ArchiveError(msg) from None


def check_count(found: int, announced: int | None) -> None:
    """Check the number of rows against the announced one; None if the API announced none.

    Raises:
        ArchiveError: They differ.
    """
    if announced is not None and found != announced:
        msg = f"the number of rows is {found}, but the API announced {announced}"
        raise ArchiveError(msg)


def read_chunks(file: BinaryIO, count: int | None) -> Iterator[tuple[list[str], Columns]]:
    """Read the rows of an archive, some at a time, in the file's order.

    Args:
        file: The zip file. Nothing else may use it until the iterator has ended.
        count: The announced number of rows, or None. It only limits the inflated size: see `check_count`.

    Yields:
        The names of the columns, and for each column the cells of some rows. A missing value is an empty string. Where
        cells were odd, there is a column `odd_rows.ORIGINALS` behind them.

    Raises:
        ArchiveError: As `verify`. Errors of the zip and CSV readers pass as they are: see `archive_errors`.
    """
    for table in _open_tables(file, count):
        for columns in table:
            if table.is_odd:
                mended = mend_columns(dict(zip(table.header, columns, strict=True)))
                yield list(mended), list(mended.values())
            else:
                yield table.header, columns


def _open_tables(file: BinaryIO, count: int | None) -> Iterator[CsvTable]:
    """Open the CSV members of an archive, and read their headers.

    Raises:
        ArchiveError: As `verify`.
    """
    for member in open_members(file, count):
        table = CsvTable(member)
        if not table.header and count is None:
            msg = "the CSV file is empty, and the API did not announce zero rows"
            raise ArchiveError(msg)
        yield table


def open_members(file: BinaryIO, count: int | None) -> Iterator[BinaryIO]:
    """Open the CSV members of an archive, one after the other.

    Args:
        file: The zip file. Nothing else may use it until the iterator has ended: a thread reads ahead.
        count: The announced number of rows, or None.

    Yields:
        Each member, which inflates as it is read. It is closed when the next one is requested.

    Raises:
        ArchiveError: There is no CSV member, or it is compressed by a method that reports do not use. Reading a member
            raises it if all members together inflate to more than the number of rows explains.
    """
    size = file.seek(0, io.SEEK_END)
    if count == 0 and size < MIN_INFLATED_LIMIT_BYTES and _is_blank(file):
        return
    explained = MAX_INFLATION_RATIO * size if count is None else MAX_BYTES_PER_ROW * (count + 1)
    bytes_left = max(MIN_INFLATED_LIMIT_BYTES, explained)
    with zipfile.ZipFile(cast("IO[bytes]", _BoundedZip(file, size))) as archive:
        # As entries of the directory, because several members can have the same name.
        members = [member for member in archive.infolist() if member.filename.lower().endswith(".csv")]
        if not members and (count != 0 or archive.infolist()):
            msg = "the downloaded file has no CSV member"
            raise ArchiveError(msg)
        for member in members:
            if member.compress_type not in _COMPRESSIONS:
                msg = "the downloaded file uses a compression method that reports do not use"
                raise ArchiveError(msg)
            with archive.open(member) as inflated:
                with closing(read_ahead(_inflate(inflated), BLOCKS_AHEAD)) as blocks:
                    bounded = _BoundedMember(blocks, bytes_left)
                    with io.BufferedReader(bounded, CHUNK_BYTES) as content:
                        yield cast("BinaryIO", content)
                bytes_left = bounded.bytes_left


def _inflate(member: IO[bytes]) -> Generator[bytes, None, None]:
    while block := member.read(BLOCK_BYTES):
        yield block


def _is_blank(file: BinaryIO) -> bool:
    """Return True if a file has no text, which is how an API may send zero rows [unknown]."""
    file.seek(0)
    return not file.read().strip()


class _BoundedZip:
    """A file for `zipfile`, which otherwise seeks and reads whatever the archive tells it to."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self.tell = file.tell
        self.seekable = file.seekable

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET and not 0 <= offset <= self._size:
            msg = "the downloaded file is corrupt (an offset points outside it)"
            raise ArchiveError(msg)
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        if size > MAX_READ_BYTES:
            msg = f"the downloaded file is corrupt (its directory has more than {MAX_READ_BYTES >> 20} MiB)"
            raise ArchiveError(msg)
        return self._file.read(size)


class _BoundedMember(io.RawIOBase):
    """A member that fails when it inflates beyond a limit.

    Attributes:
        bytes_left: How many bytes may still be read.
    """

    def __init__(self, blocks: Iterator[bytes], limit: int) -> None:
        super().__init__()
        self._blocks = blocks
        self._block = memoryview(b"")
        self.bytes_left = limit

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer as far as a block goes, and return the number of bytes."""
        if not self._block:
            self._block = memoryview(next(self._blocks, b""))
        view = memoryview(buffer)
        size = min(len(view), len(self._block))
        self.bytes_left -= size
        if self.bytes_left < 0:
            msg = "the downloaded file inflates to more bytes than its number of rows explains"
            raise ArchiveError(msg)
        view[:size], self._block = self._block[:size], self._block[size:]
        return size
