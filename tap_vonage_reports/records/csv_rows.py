"""The CSV of report files: header check, and rows as columns of cells.

Real files are UTF-8 without a byte order mark, with commas, LF and every cell in double quotes; a missing value is an
empty cell [confirmed]. This module reads that dialect and every other one that Python's CSV reader accepts;
`arrow_csv` reads only the real one, at twice the speed.
"""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, TextIO, TypeVar

from tap_vonage_reports.errors import ArchiveError
from tap_vonage_reports.odd_text import ERRORS, MARK, mark_nulls, write_out
from tap_vonage_reports.records.parser import KEY_FIELD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    Columns: TypeAlias = Sequence[Sequence[str]]

T = TypeVar("T")

MAX_ROW_CHARACTERS = 1 << 22
"""Characters of one row, which is in memory as a whole: 128 times the limit for the average row of an archive. A cell
may fill it."""
MAX_COLUMNS = 1000
"""Columns of a table: twenty times as many as any product has."""
CHUNK_CHARACTERS = 1 << 17
"""Characters that are turned into rows at a time: some 360 rows of SMS."""
_CELL_END, _ROW_END, _LAST_ROW_END = '","', '"\n"', '"\n'

csv.field_size_limit(max(MAX_ROW_CHARACTERS, csv.field_size_limit()))  # else 128 KiB, for unquoted cells only


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
        """Read the rows, some at a time.

        Raises:
            ArchiveError: A row has another width than the header, or more than `MAX_ROW_CHARACTERS`.
        """
        for rows in self._read(_split_rows):
            yield list(zip(*rows, strict=True))

    def count_rows(self) -> Iterator[int]:
        """Check the rows, some at a time, without splitting them: in half the time.

        Yields:
            How many there are.

        Raises:
            ArchiveError: As for reading them.
        """
        for rows in self._read(_check_rows):
            yield len(rows)

    def _read(self, convert: Callable[[list[str], int], Sequence[T]]) -> Iterator[Sequence[T | list[str]]]:
        """Read quoted rows with a function as long as it can, then use the CSV reader for the rest.

        Args:
            convert: Takes rows as `_cut_rows` returns them, and the number of cells that each must have. Returns
                nothing if one has another number, or is no row: the CSV reader decides if that is another dialect or an
                error.
        """
        width, rows_done, rest = len(self.header), 0, ""
        # Read twice as much each time a row does not end, so that a long row costs linear time. The CSV reader rejects
        # those that are too long.
        while text := self._text.read(min(max(CHUNK_CHARACTERS, len(rest)), max(0, MAX_ROW_CHARACTERS - len(rest)))):
            text = rest + text
            rows, rest = _cut_rows(text)
            converted = convert(rows, width)
            if not converted:
                rows, rest = _join_rows(rows, rest)
                converted = convert(rows, width)
            if converted:
                yield converted
                rows_done += len(rows)
            else:
                rest = text
                if rows or not _is_inside_row(text):
                    break
        yield from self._read_any_dialect(rest, rows_done)

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


def _cut_rows(text: str) -> tuple[list[str], str]:
    """Cut a text where a quote and a line break may end a row.

    Returns:
        The rows, without the first and the last quote and the line break; none if the first cell is not quoted. And the
        text behind them.
    """
    if not text.startswith('"'):
        return [], text
    content = text[1:]
    if content.endswith(_LAST_ROW_END):
        return content.removesuffix(_LAST_ROW_END).split(_ROW_END), ""
    *rows, rest = content.split(_ROW_END)
    return rows, f'"{rest}'


def _join_rows(rows: list[str], rest: str) -> tuple[list[str], str]:
    """Join what `_cut_rows` has cut inside a cell, between an escaped quote and a line break.

    An even number of quotes is inside a row, an odd one before such a cut.

    Returns:
        The rows, and the text behind them.
    """
    joined, parts, is_inside_cell = [], [], False
    for row in rows:
        parts.append(row)
        is_inside_cell ^= row.count('"') % 2 == 1
        if is_inside_cell:
            parts.append(_ROW_END)
        else:
            joined.append("".join(parts))
            parts = []
    return joined, "".join(['"', *parts]).removesuffix('"') + rest


def _is_inside_row(text: str) -> bool:
    """Return True if only quoted cells are in a text that has no whole row."""
    before, *parts = text.split('"')
    return not before and {"", ","}.issuperset(parts[1:-1:2])


def _split_rows(rows: list[str], width: int) -> list[list[str]]:
    """Return the cells of rows; nothing if one has another number of cells, or is no row."""
    cells = [row.split(_CELL_END) for row in rows]
    odd = [number for number, row in enumerate(rows) if row.count('"') != 2 * (width - 1)]
    with suppress(csv.Error, ValueError):
        for number, of_row in zip(odd, _read_rows([rows[number] for number in odd]), strict=True):
            cells[number] = of_row
        if set(map(len, cells)) == {width}:
            return cells
    return []


def _check_rows(rows: list[str], width: int) -> list[str]:
    """Return rows; nothing if one has another number of cells, or is no row."""
    ends = width - 1
    odd = [row for row in rows if row.count('"') != 2 * ends or row.count(_CELL_END) != ends]
    with suppress(csv.Error):
        widths = list(map(len, _read_rows(odd)))
        if widths == [width] * len(odd):
            return rows
    return []


def _read_rows(rows: Sequence[str]) -> list[list[str]]:
    """Return the cells of rows in which a cell contains a quote; of fewer rows if one is only a part of a row.

    Raises:
        csv.Error: One of them is no row.
    """
    if any(row.count('"') % 2 for row in rows):
        return []
    return list(csv.reader([f'"{row}"' for row in rows], strict=True))


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
