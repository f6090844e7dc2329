"""The CSV of report files: header check, and rows as columns of cells.

Real files are UTF-8 without a byte order mark, with commas, LF and every cell in double quotes; a missing value is an
empty cell [confirmed]. This module reads that dialect and every other one that Python's CSV reader accepts;
`arrow_csv` reads only the real one, at twice the speed.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, BinaryIO, TextIO

from tap_vonage_reports.errors import ArchiveError
from tap_vonage_reports.odd_text import ERRORS, MARK, mark_nulls, write_out
from tap_vonage_reports.records.parser import KEY_FIELD

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeAlias

    Columns: TypeAlias = Sequence[Sequence[str]]

MAX_ROW_CHARACTERS = 1 << 22
"""Characters of one row, which is in memory as a whole: 128 times the limit for the average row of an archive. A cell
may fill it."""
MAX_COLUMNS = 1000
"""Columns of a table: twenty times as many as any product has."""
CHUNK_CHARACTERS = 1 << 17
"""Characters that are turned into rows at a time: some 360 rows of SMS."""

csv.field_size_limit(max(MAX_ROW_CHARACTERS, csv.field_size_limit()))  # else 128 KiB, for unquoted cells only

_GAPS_INSIDE_ROW = frozenset(("", ","))
"""Text between two quoted parts of a row: nothing inside a cell with an escaped quote, else a comma."""


def check_header(header: Sequence[str]) -> None:
    """Check that columns can be told apart by their names.

    Args:
        header: The cells of the first row.

    Raises:
        ArchiveError: There is no ``id``, a name occurs twice, or there are more than `MAX_COLUMNS` names.
    """
    if len(header) > MAX_COLUMNS:
        msg = f"the CSV header has more than {MAX_COLUMNS} columns"
        raise ArchiveError(msg)
    if KEY_FIELD not in header:
        msg = f"the CSV header has no column {KEY_FIELD}"
        raise ArchiveError(msg)
    if len(set(header)) < len(header):
        msg = "the CSV header names a column twice"
        raise ArchiveError(msg)


class CsvTable:
    """The rows of one CSV file, as columns.

    Iterating gives the columns of some rows at a time: one sequence of cells for each name of the header, all of the
    same length. A missing value is an empty string.

    Attributes:
        header: The names of the columns, in the file's order; empty for a file without any text. Odd characters in them
            are written out.
    """

    def __init__(self, member: BinaryIO) -> None:
        """Read and check the header.

        Args:
            member: The bytes of the file, with or without a byte order mark. The table closes it.

        Raises:
            ArchiveError: The header is unusable (see `check_header`), or longer than `MAX_ROW_CHARACTERS`.
            csv.Error: The file is not CSV. Iterating may raise it, too.
        """
        # The CSV reader needs line breaks as they are, because cells contain them.
        self._text = MarkedText(member, encoding="utf-8-sig", errors=ERRORS, newline="")
        lines = csv.reader(BoundedLines(self._text), strict=True)
        self.header = [write_out(name) for name in next(filter(None, lines), [])]
        if self.header:
            check_header(self.header)

    @property
    def is_odd(self) -> bool:
        """True if cells so far may have something odd, for `odd_text` to mend."""
        return self._text.is_marked

    def __iter__(self) -> Iterator[Columns]:
        """Split rows at their quotes as long as every cell is quoted, then use the CSV reader for the rest.

        Splitting takes less than half the time of the CSV reader. Text that does not split into whole rows goes to the
        CSV reader, which decides if it is another dialect or an error.

        Raises:
            ArchiveError: A row has another width than the header, or more than `MAX_ROW_CHARACTERS`.
        """
        row_gaps = [*[","] * (len(self.header) - 1), "\n"]
        rows_done, rest = 0, ""
        # Read twice as much each time a row does not end, so that a long row costs linear time. The CSV reader rejects
        # those that are too long.
        while text := self._text.read(min(max(CHUNK_CHARACTERS, len(rest)), max(0, MAX_ROW_CHARACTERS - len(rest)))):
            text = rest + text
            parts = text.split('"')
            end = _last_row_end(parts)
            cells = _join_cells(parts[1:end:2], parts[2 : end + 1 : 2], row_gaps)
            if parts[0] or not cells:
                rest = text
                row_goes_on = not (parts[0] or end) and len(text) <= MAX_ROW_CHARACTERS
                if row_goes_on and _GAPS_INSIDE_ROW.issuperset(parts[2:-1:2]):
                    continue
                break
            yield [cells[column :: len(row_gaps)] for column in range(len(row_gaps))]
            rows_done += len(cells) // len(row_gaps)
            rest = '"'.join(["", *parts[end + 1 :]])
        for rows in self._read_any_dialect(rest, rows_done):
            yield list(zip(*rows, strict=True))

    def _read_any_dialect(self, text: str, rows_done: int) -> Iterator[list[list[str]]]:
        """Read rows with the CSV reader.

        Args:
            text: What was read of the file and not yet turned into rows.
            rows_done: The number of rows before it.

        Yields:
            Some rows at a time.
        """
        text += self._text.readline(MAX_ROW_CHARACTERS + 1)
        lines = BoundedLines(io.StringIO(text, newline=""), self._text)
        rows, characters = [], 0
        for number, row in enumerate(csv.reader(lines, strict=True), start=rows_done + 2):
            if not row:  # a blank line
                continue
            if len(row) != len(self.header):
                msg = f"row {number} has width {len(row)}, but the CSV header has width {len(self.header)}"
                raise ArchiveError(msg)
            rows.append(row)
            characters += lines.end_row()
            if characters >= CHUNK_CHARACTERS:
                yield rows
                rows, characters = [], 0
        if rows:
            yield rows


def _last_row_end(parts: list[str]) -> int:
    """Return the index of the last gap that ends a row, or 0.

    Args:
        parts: A text split at its quotes: gaps at even indexes, quoted parts at odd ones.
    """
    return next((end for end in range((len(parts) - 1) // 2 * 2, 0, -2) if parts[end] == "\n"), 0)


def _join_cells(quoted: list[str], gaps: list[str], row_gaps: list[str]) -> list[str]:
    """Join the quoted parts of cells that contain an escaped quote, which splits a cell in two with an empty gap.

    Args:
        quoted: The quoted parts of whole rows.
        gaps: The text behind each part.
        row_gaps: The text behind each cell of a row.

    Returns:
        The cells, the same number for each row. Empty if the gaps do not fit.
    """
    cells: list[str] = []
    start = copied = 0
    while start < len(gaps):
        end = start + len(row_gaps)
        if gaps[start:end] != row_gaps:
            end = gaps.index("\n", start) + 1
            if [gap for gap in gaps[start:end] if gap] != row_gaps:
                return []
            cells += quoted[copied:start]
            for at in range(start, end):
                if gaps[at]:
                    cells.append('"'.join(quoted[start : at + 1]))
                    start = at + 1
            copied = end
        start = end
    return cells + quoted[copied:]


class MarkedText(io.TextIOWrapper):
    """Text in which everything odd is marked. The CSV reader of Python 3.10 rejects U+0000.

    Attributes:
        is_marked: True once something was.
    """

    is_marked = False

    def read(self, size: int | None = -1, /) -> str:
        """Return up to `size` characters, and some more if some of them are marked."""
        return self._mark(super().read(size))

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        """Return a line, or its first `size` characters."""
        return self._mark(super().readline(size))

    def _mark(self, text: str) -> str:
        text = mark_nulls(text)
        self.is_marked |= MARK in text
        return text


class BoundedLines:
    """The lines of texts, one after the other, for a CSV reader that must not collect an endless row."""

    def __init__(self, *texts: TextIO) -> None:
        self._texts = list(texts)
        self._left = MAX_ROW_CHARACTERS

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """Return the next line.

        Raises:
            ArchiveError: The current row has more than `MAX_ROW_CHARACTERS`.
        """
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
        """Start a new row, and return the number of characters of the one that ends."""
        characters, self._left = MAX_ROW_CHARACTERS - self._left, MAX_ROW_CHARACTERS
        return characters
