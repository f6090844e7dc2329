"""The content of a report's archive: the CSV file of its rows, changed by faults."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tap_vonage_reports.sandbox.archive import END_SIZE, Archive
from tap_vonage_reports.sandbox.odd_bytes import as_csv
from tap_vonage_reports.sandbox.table import line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

MOST_ROWS = 7_000_000
"""Rows of a report (likely: the limit is a gigabyte of archive, which is about as many)."""
_SPARE = 1 << 20
_FILLING = b"x"


@dataclass(frozen=True)
class Makeup:
    """The structure of a file. Everything but the defaults is a fault.

    Attributes:
        most_rows: Maximum number of rows; the newest ones are kept.
        rows_of_member: Rows of a CSV file, where the archive holds several.
        short_row: Number of the row, from 1, that lacks its last cell; 0 for none.
        bomb: Bytes of a single cell that replaces all rows; 0 for rows.
        mark: True if the file begins with a byte order mark.
        line_break: What ends a line.
        blank_lines: True if a blank line follows each row.
        blank: Content of a file without rows; None for the header.
        csv: True if there is a CSV file at all.
        odd: True if rows have placeholders for odd bytes.
    """

    most_rows: int = MOST_ROWS
    rows_of_member: int = 0
    short_row: int = 0
    bomb: int = 0
    mark: bool = False
    line_break: bytes = b"\n"
    blank_lines: bool = False
    blank: bytes | None = None
    csv: bool = True
    odd: bool = False


@dataclass(frozen=True)
class Built:
    """A file that is complete.

    Attributes:
        path: Its path.
        size: Its size in bytes.
        rows: Number of rows that it has (or would have without a fault).
        truncated: True if rows are missing.
        crc_offsets: The offsets of its CRCs.
    """

    path: Path
    size: int
    rows: int
    truncated: bool
    crc_offsets: tuple[int, ...]

    def read(self, start: int, length: int) -> bytes:
        """Return a part of the file."""
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(length)

    @property
    def bad_crc(self) -> dict[int, bytes]:
        """The bytes that make the file's CRCs wrong, by offset."""
        return {offset: bytes(byte ^ 0xFF for byte in self.read(offset, 4)) for offset in self.crc_offsets}

    @property
    def no_end(self) -> dict[int, bytes]:
        """The bytes that make the file an invalid archive, by offset."""
        return {self.size - END_SIZE: bytes(END_SIZE)}


class CancelledError(Exception):
    """The file is no longer wanted."""


def build(  # noqa: PLR0913 - what a file is made of
    path: Path,
    name: str,
    *,
    at: datetime,
    columns: tuple[str, ...],
    batches: Iterable[list[bytes]],
    makeup: Makeup,
    cancelled: Callable[[], bool],
) -> Built:
    """Write the archive of a report.

    Args:
        path: Where it goes; readable for the user alone.
        name: Name of the CSV file, without its ending.
        at: The time of the entry.
        columns: The columns.
        batches: The rows, as lines of CSV text.
        makeup: How the file is made up.
        cancelled: Returns True when writing should stop; called from time to time.

    Raises:
        CancelledError: If `cancelled` returned True.
    """
    with open(path, "xb", opener=_private) as file:
        writer = _Writer(Archive(file, at), name, columns, makeup)
        writer.begin()
        for batch in batches:
            if cancelled():
                raise CancelledError
            if not writer.add(batch):
                break
        size = writer.finish()
    return Built(path, size, writer.rows, writer.truncated, tuple(writer.archive.crc_offsets))


def _private(path: str, flags: int) -> int:
    """Open a file for the user alone."""
    return os.open(path, flags, 0o600)


class _Writer:
    """Writes the entries of an archive."""

    def __init__(self, archive: Archive, name: str, columns: tuple[str, ...], makeup: Makeup) -> None:
        self.archive, self._name, self._makeup = archive, name, makeup
        self._header = line(dict(zip(columns, columns, strict=True)), columns)
        self._head = b""
        self._members = 0
        self._left = makeup.rows_of_member
        self.rows = 0
        self.truncated = False

    def begin(self) -> None:
        """Begin the first entry."""
        if self._makeup.csv:
            self._member()
        else:
            self.archive.open(f"{self._name}.txt")
            self.archive.write(b"No data\n")

    def _member(self) -> None:
        """Begin a CSV file."""
        self._members += 1
        suffix = f"_{self._members}" if self._makeup.rows_of_member else ""
        self.archive.open(f"{self._name}{suffix}.csv")
        self._head = b"\xef\xbb\xbf" * self._makeup.mark + self._header + self._makeup.line_break
        if self._makeup.blank is None:
            self._put_head()

    def _put_head(self) -> None:
        """Write the header of the CSV file unless it is there."""
        self.archive.write(self._head)
        self._head = b""

    def add(self, batch: list[bytes]) -> bool:
        """Add rows, and return True if more are wanted."""
        room = self._makeup.most_rows - self.rows if self.archive.room > _SPARE else 0
        if len(batch) > room:
            self.truncated = True
            batch = batch[:room]
        number = self._makeup.short_row - self.rows - 1
        if 0 <= number < len(batch):
            batch[number] = batch[number].rpartition(b',"')[0]
        self.rows += len(batch)
        if batch and self._makeup.csv and not self._makeup.bomb:
            row_end = self._makeup.line_break * (1 + self._makeup.blank_lines)
            for part in self._parts(batch):
                self._put_head()
                content = row_end.join((*part, b""))
                self.archive.write(as_csv(content) if self._makeup.odd else content)
        return not self.truncated

    def _parts(self, batch: list[bytes]) -> Iterator[list[bytes]]:
        """Yield the rows by the CSV file that they go into."""
        if not self._makeup.rows_of_member:
            yield batch
            return
        while batch:
            if not self._left:
                self.archive.close()
                self._member()
                self._left = self._makeup.rows_of_member
            part, batch = batch[: self._left], batch[self._left :]
            self._left -= len(part)
            yield part

    def finish(self) -> int:
        """Finish the archive, and return its length."""
        if self._makeup.bomb:
            self.archive.write(b'"')
            self.archive.repeat(_FILLING, self._makeup.bomb)
            self.archive.write(b'"' + self._makeup.line_break)
        if self._makeup.blank is not None and self._makeup.csv and not self.rows:
            self.archive.write(self._makeup.blank)
        self.archive.close()
        return self.archive.finish()
