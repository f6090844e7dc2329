"""CSV members of an archive as Arrow columns of text, in blocks of whole rows.

The text of a member is cut where a row ends, and Arrow parses each block from memory. Arrow's own
streaming reader would do most of that, but cannot be used:

* Over a Python file object, it calls Python from a thread of its own. Dropping the reader during such a call deadlocks.
* Over a file on disk, its blocks have a fixed size. If one ends inside a cell between CR and LF, the LF is lost.

Importing this module needs pyarrow, which comes with the extra `parquet`.
"""

from __future__ import annotations

import codecs
import csv
import io
import sys
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa
import pyarrow.csv as pa_csv

from tap_vonage_reports.records.csv_rows import MAX_ROW_CHARACTERS, check_header
from tap_vonage_reports.records.report_archive import open_members

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import TypeAlias

    ChooseColumns: TypeAlias = Callable[[list[str]], list[str]]

BLOCK_BYTES = 1 << 21
"""Inflated bytes that Arrow parses at a time: some 5,800 rows of SMS."""
MAX_BUFFERED_BYTES = MAX_ROW_CHARACTERS - BLOCK_BYTES
"""Bytes without the end of a row to which another block is added, so that no row exceeds the limit of a row."""

_SENTINEL = "end"
_ODD = "a cell has U+0000, which the CSV reader marks"


def read_cells(
    file: BinaryIO, count: int | None, choose_columns: ChooseColumns
) -> Generator[pa.RecordBatch, None, None]:
    """Read the cells of all CSV members of an archive, in the file's order.

    Args:
        file: The zip file. Nothing else may use it until the generator is closed.
        count: The announced number of rows, or None.
        choose_columns: Returns the names of the wanted columns of a header. The first column always comes.

    Yields:
        Some thousand rows at a time. All columns are text; an empty cell is null.

    Raises:
        ArrowInvalid: Arrow cannot parse the rest. The CSV reader may (`report_archive.read_chunks`).
        ArchiveError: As `report_archive.read_chunks`.
    """
    for member in open_members(file, count):
        text = member.read(BLOCK_BYTES)
        if b"\0" in text:  # before the header, because the CSV reader of Python 3.10 rejects it
            raise pa.ArrowInvalid(_ODD)
        header, has_more = _read_header(text)
        if not has_more and len(text) == BLOCK_BYTES:
            msg = "the header is longer than a block"
            raise pa.ArrowInvalid(msg)
        if not header:
            msg = "the first line is blank"
            raise pa.ArrowInvalid(msg)
        check_header(header)
        if has_more:
            yield from _read_rows(text, member, _BlockParser(header, choose_columns(header)))


def _read_header(text: bytes) -> tuple[list[str], bool]:
    """Return the cells of the first row, and True if text follows it."""
    # Incrementally, because a block may end inside a character.
    try:
        lines = io.StringIO(codecs.getincrementaldecoder("utf-8-sig")().decode(text), newline="")
    except UnicodeDecodeError as error:
        raise pa.ArrowInvalid(error.reason) from None
    return next(csv.reader(lines), []), bool(lines.read(1))


def _read_rows(text: bytes, member: BinaryIO, parser: _BlockParser) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a member.

    Args:
        text: The first block.
        member: The rest.
        parser: The parser of this member.
    """
    while True:
        batch, text = parser.parse_whole_rows(text)
        if batch is not None:
            yield batch
        elif len(text) > MAX_BUFFERED_BYTES:
            msg = "a row is longer than the limit"
            raise pa.ArrowInvalid(msg)
        block = member.read(BLOCK_BYTES)
        if not block:
            break
        if b"\0" in block:
            raise pa.ArrowInvalid(_ODD)
        text += block
    if text:
        yield parser.parse_last_rows(text)


class _BlockParser:
    """Arrow's parser for the blocks of one member, from the header on."""

    def __init__(self, header: list[str], columns: list[str]) -> None:
        """Prepare the parser.

        Args:
            header: The names of all columns.
            columns: The names of the wanted ones.
        """
        self._header = header
        columns = list(dict.fromkeys([*header[:1], *columns]))
        self._conversion = pa_csv.ConvertOptions(
            include_columns=columns,
            column_types=dict.fromkeys(columns, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        )
        self._dialect = pa_csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=True)
        self._sentinel_row = ('"' + '","'.join([_SENTINEL] * len(header)) + '"\n').encode()
        self._rows_to_skip = 1

    def parse_whole_rows(self, text: bytes) -> tuple[pa.RecordBatch | None, bytes]:
        """Parse the rows that end inside a block.

        Returns:
            The rows, None if no row ends; and the text behind them.
        """
        for end in _possible_row_ends(text):
            batch = self._parse(memoryview(text)[:end])
            if batch is not None:
                return batch, text[end:]
        return None, text

    def parse_last_rows(self, text: bytes) -> pa.RecordBatch:
        """Parse the rows at the end of the member, where the last line break is optional.

        Raises:
            ArrowInvalid: The last row does not end.
        """
        batch = self._parse(text if text.endswith(b"\n") else text + b"\n")
        if batch is None:
            msg = "the last row does not end"
            raise pa.ArrowInvalid(msg)
        return batch

    def _parse(self, rows: bytes | memoryview) -> pa.RecordBatch | None:
        """Parse a text, or return None if it is not CSV or does not end with a row.

        Arrow accepts text that ends inside a quoted cell. A sentinel row behind the text detects that: it comes out
        unchanged only if a row ends before it. Otherwise its first cell continues the open cell, and either there are
        too many cells or the open cell, then in the first column, is not the sentinel.
        """
        # Arrow strips a byte order mark from every text. Only the one at the start of the member must go.
        mark = b"" if self._rows_to_skip else codecs.BOM_UTF8
        text = b"".join((mark, rows, self._sentinel_row))
        options = pa_csv.ReadOptions(
            use_threads=False,
            block_size=len(text) + 1,
            column_names=self._header,
            skip_rows_after_names=self._rows_to_skip,
        )
        try:
            table = _read_csv(pa.BufferReader(text), options, self._dialect, self._conversion)
        except pa.ArrowInvalid:
            return None
        if not len(table) or table[0][-1].as_py() != _SENTINEL:
            return None
        self._rows_to_skip = 0
        (batch,) = table.combine_chunks().to_batches()
        return batch[:-1]


def _read_all(
    file: pa.BufferReader,
    options: pa_csv.ReadOptions,
    dialect: pa_csv.ParseOptions,
    conversion: pa_csv.ConvertOptions,
) -> pa.Table:
    with pa_csv.open_csv(file, options, dialect, conversion) as reader:
        return reader.read_all()


# Under Python 3.10, `read_csv` visits all objects of the process on each call.
_read_csv = pa_csv.read_csv if sys.version_info >= (3, 11) else _read_all


def _possible_row_ends(text: bytes) -> Iterator[int]:
    """Yield the offsets where the last whole row of a text may end.

    The first offset is behind the last line break, which may be inside a cell. The second one is behind the last line
    break that follows an even number of quotes, and only wrong if an unquoted cell has a quote.
    """
    last = end = text.rfind(b"\n") + 1
    if end:
        yield end
    quotes = text.count(b'"', 0, end)
    while end and quotes % 2:
        start_of_line = text.rfind(b"\n", 0, end - 1) + 1
        quotes -= text.count(b'"', start_of_line, end)
        end = start_of_line
    if 0 < end < last:
        yield end
