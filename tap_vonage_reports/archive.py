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
from typing import IO, TYPE_CHECKING, BinaryIO

from tap_vonage_reports.errors import ArchiveError
from tap_vonage_reports.records import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import WriteableBuffer

LARGEST_ROW = 1 << 15
"""Bytes that a row may take on average; a member that inflates beyond what its rows explain is refused."""
SMALLEST_LIMIT = 1 << 20

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
    found = 0
    try:
        for member in _members(file):
            with _opened(file, member, count) as text:
                rows = csv.reader(text, strict=True)
                width = len(_header(next(rows, None)))
                for row in rows:
                    if len(row) != width:
                        msg = f"row {rows.line_num} of {width} columns has {len(row)} cells"
                        raise ArchiveError(msg)
                    found += 1
    except _BROKEN as error:
        msg = f"it is damaged ({type(error).__name__})"
        raise ArchiveError(msg) from None
    if count is not None and found != count:
        msg = f"it has {found} rows, {count} were announced"
        raise ArchiveError(msg)
    return found


def read_rows(file: BinaryIO, count: int | None) -> Iterator[dict[str, str]]:
    """The rows of an archive that `verify` has found whole, in the file's order.

    Args:
        file: The zip file.
        count: As for `verify`.

    Yields:
        Each row as cells by column name; a missing value is an empty text.
    """
    for member in _members(file):
        with _opened(file, member, count) as text:
            rows = csv.reader(text, strict=True)
            header = _header(next(rows, None))
            for row in rows:
                yield dict(zip(header, row, strict=True))


def _members(file: BinaryIO) -> list[str]:
    with zipfile.ZipFile(file) as archive:
        members = [name for name in archive.namelist() if name.lower().endswith(".csv")]
    if not members:
        msg = "it holds no CSV file"
        raise ArchiveError(msg)
    return members


def _opened(file: BinaryIO, member: str, count: int | None) -> io.TextIOWrapper:
    limit = max(SMALLEST_LIMIT, LARGEST_ROW * ((count or 0) + 1))
    inner = zipfile.ZipFile(file).open(member)  # noqa: SIM115 - closed with what is made of it
    # "utf-8-sig" takes a BOM for what it is; newlines are the CSV reader's, for they may stand inside cells.
    return io.TextIOWrapper(io.BufferedReader(_Limited(inner, limit), 1 << 16), encoding="utf-8-sig", newline="")


def _header(header: list[str] | None) -> list[str]:
    if not header or KEY not in header:
        msg = f"its header has no column {KEY}"
        raise ArchiveError(msg)
    if len(set(header)) < len(header):
        msg = "its header names a column twice"
        raise ArchiveError(msg)
    return header


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

    def close(self) -> None:
        """Close the member, too."""
        self._inner.close()
        super().close()
