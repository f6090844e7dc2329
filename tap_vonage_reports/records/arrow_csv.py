"""The cells of a downloaded archive as Arrow columns of text, in blocks of whole rows.

Arrow could read the file by itself, but then one of its threads calls Python for bytes, and whoever drops the
reader at that moment waits for it for ever. So the text is inflated and cut into blocks here, in a thread that
ends with its last block, and Arrow only sees what is in memory.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa
import pyarrow.csv as pa_csv

from tap_vonage_reports.records.csv_rows import MAX_ROW_CHARACTERS, check_header
from tap_vonage_reports.records.report_archive import open_members

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

BLOCK_BYTES = 1 << 20
BLOCKS_AHEAD = 16
"""So that there is something to read while a row group is written, and something to write while rows are long."""
MAX_BUFFERED_BYTES = MAX_ROW_CHARACTERS - BLOCK_BYTES
"""Text without the end of a row in it is not collected beyond this: no row that is longer than one may be is read."""

_END = "end"
_ENDLESS = "a row does not end"


def read_cells(
    file: BinaryIO, count: int | None, choose: Callable[[list[str]], list[str]]
) -> Generator[pa.RecordBatch, None, None]:
    """The cells of all members of an archive, in the file's order.

    Args:
        file: The zip file.
        count: How many rows were announced; None where nothing was said.
        choose: Says for a header which of its columns are wanted. The first one comes in any case.

    Yields:
        Some thousand rows at a time. An empty cell is null, which is the same to the parser.

    Raises:
        ArrowInvalid: What follows is beyond Arrow's reader.
        ArchiveError: A header is no good.
    """
    with closing(_blocks(file, count, choose)) as blocks:
        unpacker = ThreadPoolExecutor(1, "unpack")
        try:
            ahead = deque(unpacker.submit(next, blocks, None) for _ in range(BLOCKS_AHEAD))
            while (block := ahead.popleft().result()) is not None:
                ahead.append(unpacker.submit(next, blocks, None))
                yield block
        finally:
            unpacker.shutdown(cancel_futures=True)


def _blocks(
    file: BinaryIO, count: int | None, choose: Callable[[list[str]], list[str]]
) -> Generator[pa.RecordBatch, None, None]:
    for member in open_members(file, count):
        text, table = b"", None
        while more := member.read(BLOCK_BYTES):
            text += more
            table = table or _begin(text, choose)
            block, text = table.read(text) if table else (None, text)
            if block is not None:
                yield block
            elif len(text) > MAX_BUFFERED_BYTES:
                raise pa.ArrowInvalid(_ENDLESS)
        table = table or _begin(text + b"\n", choose)
        if table:
            yield table.read_all(text)
        else:
            check_header(_header(text)[0])


def _begin(text: bytes, choose: Callable[[list[str]], list[str]]) -> _Table | None:
    """Read the header, once something stands behind it."""
    header, more = _header(text)
    if not more:
        return None
    check_header(header)
    return _Table(header, choose(header))


def _header(text: bytes) -> tuple[list[str], bool]:
    """The header, and whether something stands behind it."""
    # The text may end inside a character.
    lines = io.StringIO(codecs.getincrementaldecoder("utf-8-sig")().decode(text), newline="")
    return next(csv.reader(lines), []), bool(lines.read(1))


class _Table:
    """Reads the text of one table."""

    def __init__(self, header: list[str], columns: list[str]) -> None:
        self._header = header
        columns = list(dict.fromkeys([*header[:1], *columns]))
        self._conversion = pa_csv.ConvertOptions(
            include_columns=columns,
            column_types=dict.fromkeys(columns, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        )
        self._parsing = pa_csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
        self._last_row = ('"' + '","'.join([_END] * len(header)) + '"\n').encode()
        self._head = 1

    def read(self, text: bytes) -> tuple[pa.RecordBatch | None, bytes]:
        """Read as many rows as are whole; what is left of the text comes back."""
        for end in _row_ends(text):
            block = self._try(memoryview(text)[:end]) if end else None
            if block is not None:
                return block, text[end:]
        return None, text

    def read_all(self, text: bytes) -> pa.RecordBatch:
        """Read what is left."""
        block = self._try(text if text.endswith(b"\n") or not text else text + b"\n")
        if block is None:
            raise pa.ArrowInvalid(_ENDLESS)
        return block

    def _try(self, rows: bytes | memoryview) -> pa.RecordBatch | None:
        """Read text that may end with a row, or inside a cell that holds line breaks.

        Arrow takes either. A row of our own, put behind the text, comes out as it is only if the text ends with a row:
        else its first cell continues the cell that is open, and it has too many cells unless that is the first one.
        """
        # Arrow takes a byte order mark off whatever it is given, and it is one at the beginning of the file alone.
        text = b"".join((b"" if self._head else codecs.BOM_UTF8, rows, self._last_row))
        options = pa_csv.ReadOptions(
            use_threads=False, block_size=len(text) + 1, column_names=self._header, skip_rows_after_names=self._head
        )
        try:
            # Not `read_csv`, which under Python 3.10 goes through all objects that there are, each time.
            with pa_csv.open_csv(pa.BufferReader(text), options, self._parsing, self._conversion) as reader:
                table = reader.read_all()
        except pa.ArrowInvalid:
            return None
        if not len(table) or table[0][-1].as_py() != _END:
            return None
        self._head = 0
        (block,) = table.combine_chunks().to_batches()
        return block[:-1]


def _row_ends(text: bytes) -> Iterator[int]:
    """Where the last row may end: at the last line break, or at the last one behind an even number of quotes."""
    last = end = text.rfind(b"\n") + 1
    yield end
    quotes = text.count(b'"', 0, end)
    while end and quotes % 2:
        before = text.rfind(b"\n", 0, end - 1) + 1
        quotes -= text.count(b'"', before, end)
        end = before
    if end < last:
        yield end
