"""Arrow reads the cells that the CSV reader reads, wherever a block ends, or leaves the rest to it."""

from __future__ import annotations

import io
import zipfile
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tap_vonage_reports.errors import ArchiveError
from tap_vonage_reports.records import arrow_csv
from tap_vonage_reports.records.arrow_csv import read_cells
from tap_vonage_reports.records.report_archive import archive_errors, read_chunks
from tests.threads import no_new_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADERS = (["id"], ["id", "a"], ["a", "id"], ["a", "b", "id"], ["id", "a,\n b", 'c"'])
LARGE_ROW_BYTES = 1000


class Dialect(NamedTuple):
    """How a member is written."""

    quotes_all: bool
    line_end: str
    byte_order_mark: bool
    ends_last_row: bool


def archive(*members: bytes) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for number, content in enumerate(members):
            zipped.writestr(f"{number}.csv", content)
    return file


def written(rows: Sequence[Sequence[str]], dialect: Dialect) -> bytes:
    # By hand: before Python 3.13, `csv.writer` leaves a cell with a line break that is not its own without quotes.
    content = "".join(
        ",".join(
            '"' + cell.replace('"', '""') + '"' if dialect.quotes_all or set(cell) & set('",\r\n') else cell
            for cell in row
        )
        + dialect.line_end
        for row in rows
    )
    if not dialect.ends_last_row:
        content = content.removesuffix(dialect.line_end)
    return (("\ufeff" if dialect.byte_order_mark else "") + content).encode()


def by_csv_reader(file: io.BytesIO) -> list[dict[str, str]] | None:
    """The rows of an archive as Python's CSV reader has them; None if it refuses the archive."""
    try:
        with archive_errors():
            return [
                dict(zip(header, row, strict=True))
                for header, columns in read_chunks(file, None)
                for row in zip(*columns, strict=True)
            ]
    except ArchiveError:
        return None


def by_arrow(
    file: io.BytesIO, columns: Sequence[str] | None = None, *, block_bytes: int, max_buffered_bytes: int
) -> tuple[list[dict[str, str]], bool]:
    """The rows of an archive as Arrow has them, and whether these are all."""
    rows: list[dict[str, str]] = []
    sizes = mock.patch.multiple(arrow_csv, BLOCK_BYTES=block_bytes, MAX_BUFFERED_BYTES=max_buffered_bytes)

    def choose(header: list[str]) -> list[str]:
        return header if columns is None else [name for name in header if name in columns]

    with sizes, closing(read_cells(file, None, choose)) as batches:
        try:
            for batch in batches:
                rows += [{name: cell or "" for name, cell in row.items()} for row in batch.to_pylist()]
        except (pa.ArrowInvalid, ArchiveError):
            return rows, False
    return rows, True


cells = st.lists(
    st.sampled_from(["a", "é", " ", '"', ",", "\n", "\r", "\r\n", '","', '"\n"', "\ufeff", "end", 'end","end']),
    max_size=6,
).map("".join)
dialects = st.builds(
    Dialect,
    st.booleans(),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.booleans(),
)


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    header = draw(st.sampled_from(HEADERS))
    rows = draw(st.lists(st.tuples(*(cells for _ in header)).map(list), max_size=12))
    for number, row in enumerate(rows):
        row[header.index("id")] = f"{number}"
    return [header, *rows]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(tables(), dialects), min_size=1, max_size=3), st.integers(1, 200), st.integers(0, 300))
def test_arrow_reads_the_cells_of_the_csv_reader_or_stops_before_it_differs(
    members: list[tuple[list[list[str]], Dialect]], block_bytes: int, max_buffered_bytes: int
) -> None:
    file = archive(*(written(table, dialect) for table, dialect in members))
    expected = [dict(zip(table[0], row, strict=True)) for table, _ in members for row in table[1:]]
    assert by_csv_reader(file) == expected
    found, complete = by_arrow(file, block_bytes=block_bytes, max_buffered_bytes=max_buffered_bytes)
    assert found == (expected if complete else expected[: len(found)])


@settings(max_examples=300, deadline=None)
@given(st.lists(tables(), min_size=1, max_size=3), dialects, st.integers(0, 100))
def test_arrow_reads_every_usual_file_to_its_end(tables: list[list[list[str]]], dialect: Dialect, more: int) -> None:
    quoted = dialect._replace(quotes_all=True, line_end="\n")
    file = archive(*(written(table, quoted) for table in tables))
    longest_header = max(len(written([table[0]], quoted)) for table in tables)
    found = by_arrow(file, block_bytes=longest_header + 4 + more, max_buffered_bytes=LARGE_ROW_BYTES)
    assert found == (by_csv_reader(file), True)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(HEADERS), st.lists(cells | st.sampled_from(["\n", '"']), max_size=8), st.integers(20, 100))
def test_arrow_never_differs_from_what_the_csv_reader_accepts(
    header: list[str], pieces: list[str], block_bytes: int
) -> None:
    start = written([header], Dialect(quotes_all=True, line_end="\n", byte_order_mark=False, ends_last_row=True))
    file = archive(start + "".join(pieces).encode())
    expected = by_csv_reader(file)
    found, complete = by_arrow(file, block_bytes=block_bytes, max_buffered_bytes=LARGE_ROW_BYTES)
    if expected is not None:
        assert found == (expected if complete else expected[: len(found)])


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_line_break_inside_a_cell_survives_every_end_of_a_block(line_end: str) -> None:
    dialect = Dialect(quotes_all=True, line_end=line_end, byte_order_mark=False, ends_last_row=True)
    table = [["id", "text"], *([f"{number}", "x" * number + "\r\ny"] for number in range(60))]
    file = archive(written(table, dialect))
    for block_bytes in range(16, 120):
        rows, complete = by_arrow(file, block_bytes=block_bytes, max_buffered_bytes=LARGE_ROW_BYTES)
        assert (complete, [list(row.values()) for row in rows]) == (True, table[1:]), block_bytes


def test_rows_of_many_lines_are_read_block_by_block() -> None:
    text = "x\n" * 45
    file = archive(b'"id","a"\n' + f'"1","{text}"\n'.encode() * 50)
    rows, complete = by_arrow(file, block_bytes=64, max_buffered_bytes=150)
    assert (complete, rows) == (True, [{"id": "1", "a": text}] * 50)


def test_a_byte_order_mark_inside_the_file_belongs_to_a_cell() -> None:
    table = [["a", "id"], *(["\ufeff", f"{number}"] for number in range(30))]
    dialect = Dialect(quotes_all=False, line_end="\n", byte_order_mark=True, ends_last_row=True)
    rows, complete = by_arrow(archive(written(table, dialect)), block_bytes=20, max_buffered_bytes=LARGE_ROW_BYTES)
    assert (complete, [list(row.values()) for row in rows]) == (True, table[1:])


def test_a_row_longer_than_the_limit_is_left_to_the_csv_reader() -> None:
    row, long_row = b'"1","short"\n', b'"2","' + b"long" * 500 + b'"\n'
    file = archive(b'"id","a"\n' + row * 10 + long_row + row)
    found, complete = by_arrow(file, block_bytes=100, max_buffered_bytes=LARGE_ROW_BYTES)
    assert (len(found), complete) == (10, False)


def test_an_empty_cell_is_null_with_or_without_quotes() -> None:
    (batch,) = read_cells(archive(b'"id","a","b"\n"1","",\n'), None, list)
    assert batch.to_pylist() == [{"id": "1", "a": None, "b": None}]


def test_only_the_wanted_columns_and_the_first_one_come() -> None:
    file = archive(b'"a","id","b","c"\n"1","2","3","4"\n', b'"c","a","id"\n"5","6","7"\n')
    rows, _ = by_arrow(file, ["c", "id"], block_bytes=20, max_buffered_bytes=LARGE_ROW_BYTES)
    assert rows == [{"a": "1", "id": "2", "c": "4"}, {"c": "5", "id": "7"}]


@pytest.mark.parametrize(
    "content",
    [b'"id","a"\n"1"\n', b'"id","a"\n"1","2","3"\n', b'"id","a"\n"1","2', b'"id"\n"1'],
    ids=["too few cells", "too many cells", "a cell that does not end", "an only cell"],
)
def test_a_wrong_row_is_left_to_the_csv_reader(content: bytes) -> None:
    for block_bytes in (12, 1000):
        assert by_arrow(archive(content), block_bytes=block_bytes, max_buffered_bytes=LARGE_ROW_BYTES) == ([], False)


@pytest.mark.parametrize(
    "content",
    [
        b'"id","a"\n"1","2"\n"3","4"\n\n',
        b'"id","a"\n"1","2"\n\n"3","4"\n\n\n\n',
        b'"id","a"\r\n"1","2"\r\n\r\n"3","4"\r\n\r\n',
        b'"id","a"\n\n"1","2"\n"3","4"\n\n',
        b"id,a\n1,2\n\n3,4\n\n",
        b'\xef\xbb\xbf"id","a"\n"1","2"\n\n"3","4"',
    ],
    ids=["last", "between rows", "CR LF", "behind the header", "without quotes", "behind a byte order mark"],
)
def test_a_blank_line_is_no_row(content: bytes) -> None:
    file, rows = archive(content), [{"id": "1", "a": "2"}, {"id": "3", "a": "4"}]
    assert by_csv_reader(file) == rows
    for block_bytes in (16, 100):
        assert by_arrow(file, block_bytes=block_bytes, max_buffered_bytes=LARGE_ROW_BYTES) == (rows, True)


@pytest.mark.parametrize("content", [b'"text"\n', b'"id","id"\n', b'"text"\n"1"\n'])
def test_a_header_without_distinct_columns_is_an_error(content: bytes) -> None:
    with pytest.raises(ArchiveError, match="the CSV header"):
        list(read_cells(archive(content), None, list))


@pytest.mark.parametrize("content", [b"", b"\n", b'\r\n\n"id"\n"1"\n', b'\xef\xbb\xbf\n"id"\n"1"\n'])
def test_a_blank_first_line_is_left_to_the_csv_reader(content: bytes) -> None:
    with pytest.raises(pa.ArrowInvalid):
        list(read_cells(archive(content), None, list))
    assert by_csv_reader(archive(content)) == ([{"id": "1"}] if b"id" in content else None)


def test_a_header_alone_is_a_table_without_rows() -> None:
    for content in (b'"id"\n', b'"id"', b'\xef\xbb\xbf"id"\r\n', b"id\r"):
        assert sum(map(len, read_cells(archive(content), None, list))) == 0


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_the_thread_ends_with_the_reader(taken: int) -> None:
    content = b'"id"\n' + b'"1"\n' * 5000
    small = mock.patch.object(arrow_csv, "BLOCK_BYTES", 100)
    with no_new_threads(), small, closing(read_cells(archive(content), None, list)) as batches:
        assert sum(len(next(batches)) for _ in range(taken)) <= 5000
