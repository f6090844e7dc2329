"""Any report file gives its rows or an error, never a crash, and never takes more memory than a row may."""

from __future__ import annotations

import io
import zipfile
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, BinaryIO
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tap_vonage_reports.errors import ArchiveError
from tap_vonage_reports.output.batch_files import BatchFiles
from tap_vonage_reports.output.parquet import Parquet
from tap_vonage_reports.records import arrow_csv, csv_rows, report_archive
from tap_vonage_reports.records.parser import RecordParser
from tap_vonage_reports.records.report_archive import archive_errors, read_chunks, verify
from tests.hostile import MIB, PRODUCT, memory_below
from tests.output.test_batch_files import config
from tests.plain import plain

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = PRODUCT.schema


def quick(content: bytes, *, name: str = "report.csv", compression: int = zipfile.ZIP_DEFLATED) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression, compresslevel=1) as zipped:
        zipped.writestr(name, content)
    return file


def by_python(file: BinaryIO, count: int | None = None) -> list[tuple[str, ...]] | None:
    """The ids and texts of an archive by the CSV reader; None if it rejects the archive."""
    try:
        rows = verify(file, count)
        parser = RecordParser(SCHEMA)
        records = [record for chunk in read_chunks(file, count) for record in plain(parser.parse_cells(*chunk))]
    except ArchiveError:
        return None
    assert len(records) == rows
    return [(record["id"], record["acc"] or "") for record in records]


def by_arrow(folder: Path, file: BinaryIO, count: int | None = None, kind: str = "parquet") -> int | None:
    """The number of rows of an archive in batch files; None if it is rejected."""
    parser = RecordParser(SCHEMA)
    with BatchFiles("x", SCHEMA, SCHEMA["properties"], parser, config(folder, kind, "none")) as files:
        try:
            return files.write_archive(file, count)
        except ArchiveError:
            return None


def rows_by_arrow(file: BinaryIO) -> list[tuple[str, ...]] | None:
    parts = Parquet(SCHEMA, ["id", "acc"], RecordParser(SCHEMA), "none").from_archive(file, None)
    try:
        with archive_errors():
            return [(row["id"], row["acc"] or "") for part in parts for row in part.to_pylist()]
    except ArchiveError:
        return None


pieces = st.sampled_from(
    [b'"', b",", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xc3", b"\xa9", b"\xef\xbb\xbf", b"id", b"acc", b"1", b'""']
)


@given(
    st.sampled_from([b"", b'"id","acc"\n', b"acc,id\n", b'"id"\n"1"\n', b'"id","acc"\n"1","a"\n']),
    st.lists(pieces, max_size=12).map(b"".join),
)
@settings(max_examples=250, deadline=None)
def test_any_csv_gives_an_error_or_the_same_rows_by_both_readers(start: bytes, rest: bytes) -> None:
    file = quick(start + rest)
    by_one, by_other = by_python(file), rows_by_arrow(file)
    assert by_one is None or by_other is None or by_one == by_other


def zips() -> list[bytes]:
    files = []
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", compression) as zipped:
            for number in range(3):
                with zipped.open(zipfile.ZipInfo(f"a{number}.csv"), "w", force_zip64=number == 1) as member:
                    member.write(b'"id","acc"\n' + b'"1","a"\n' * 5)
        files.append(file.getvalue())
    return files


@given(
    st.sampled_from(zips()),
    st.lists(
        st.tuples(
            st.integers(0, 1000),
            st.sampled_from([0, 1, 4, 30]),
            st.sampled_from([b"\0", b"\xff", b"\xff" * 4, b"\0" * 4, b"\xff" * 8]) | st.binary(max_size=5),
        ),
        min_size=1,
        max_size=3,
    ),
)
@example(zips()[0], [(6, 2, b"\0\x08"), (30, 1, b"\xfd")])
@settings(max_examples=250, deadline=None)
def test_any_zip_gives_rows_or_an_error(content: bytes, changes: list[tuple[int, int, bytes]]) -> None:
    for at, length, new in changes:
        content = content[: at % len(content)] + new + content[at % len(content) + length :]
    with TemporaryFile() as file:  # which seeks as a report's file does
        file.write(content)
        by_python(file)


def bzip2() -> io.BytesIO:
    return quick(b'"id"\n"1"\n', compression=zipfile.ZIP_BZIP2)


def lzma() -> io.BytesIO:
    """A member whose dictionary is said to be of 4 GiB."""
    content = quick(b'"id"\n"1"\n', compression=zipfile.ZIP_LZMA).getvalue()
    at = content.index(b"\x5d\x00")
    return io.BytesIO(content[: at + 1] + b"\xff\xff\xff\xff" + content[at + 5 :])


def encrypted() -> io.BytesIO:
    content = bytearray(quick(b'"id"\n"1"\n').getvalue())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return io.BytesIO(bytes(content))


def with_directory(entries: int) -> io.BytesIO:
    """A zip whose directory has many entries of one member, or is said to have."""
    content = quick(b'"id"\n"1"\n').getvalue()
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    directory = content[start:end] * entries
    ends = (
        content[end : end + 8] + (min(entries, 65535).to_bytes(2, "little") * 2) + len(directory).to_bytes(4, "little")
    )
    return io.BytesIO(content[:start] + directory + ends + content[end + 16 :])


def of_the_same_name() -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("a.csv", b'"id"\n"1"\n')
        with pytest.warns(UserWarning, match="Duplicate name"):
            zipped.writestr("a.csv", b'"id"\n"2"\n')
    return file


@pytest.mark.parametrize(
    "file", [bzip2(), lzma(), encrypted(), with_directory(100_000)], ids=["bzip2", "lzma", "encrypted", "directory"]
)
def test_a_zip_unlike_that_of_any_report_is_rejected(file: io.BytesIO, tmp_path: Path) -> None:
    with memory_below(10 * MIB):
        assert by_python(file) is None
        assert by_arrow(tmp_path, file) is None


def test_members_with_the_same_name_are_all_read() -> None:
    assert by_python(of_the_same_name()) == [("1", ""), ("2", "")]


def test_the_limit_of_inflated_bytes_holds_for_all_members_together() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        for number in range(30):
            zipped.writestr(f"{number}.csv", b'"id"\n' + b'"1"\n' * 100_000)
    with pytest.raises(ArchiveError, match="inflates to more"):
        verify(file, 1)


def test_the_name_of_a_member_is_not_used_as_a_path(tmp_path: Path) -> None:
    for name in ("/etc/x.csv", "../../x.csv", "C:\\x.csv", "x/y.csv"):
        assert by_python(quick(b'"id"\n"1"\n', name=name)) == [("1", "")]
        assert by_arrow(tmp_path / "files", quick(b'"id"\n"1"\n', name=name)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["files"]
    assert by_python(quick(b"", name="x.csv/")) is None
    assert by_python(quick(b"", name="x.csv")) is None


LARGE = 10 * MIB
TABLES = {
    "a cell": b'"id","acc"\n"1","' + b"a" * LARGE + b'"\n',
    "a cell that does not end": b'"id","acc"\n"1","' + b"a" * LARGE,
    "a cell without quotes": b"id,acc\n1," + b"a" * LARGE + b"\n",
    "a cell of line breaks": b'"id","acc"\r\n"1","' + b"\n" * LARGE,
    "a cell of quotes": b'"id","acc"\n"1","' + b'"' * LARGE + b'"\n',
    "a row": b'"id","acc"\n"1"' + b',"a"' * (LARGE // 4) + b"\n",
    "a row over many lines": b'id,acc\n1,"' + b'\n","' * (LARGE // 4) + b'"\n',
    "a header": b'"id","' + b"a" * LARGE + b'"\n"1","a"\n',
    "a header over many lines": b'"id","' + b'\n","' * (LARGE // 4) + b'"\n',
    "a million columns": b'"id"' + b"".join(b',"%d"' % number for number in range(1_000_000)) + b"\n",
    "a million columns and a row": b",".join(b"%d" % number for number in range(1_000_000)) + b",id" + b"\n1" * LARGE,
}


@pytest.mark.parametrize("table", TABLES)
def test_no_row_or_header_takes_more_memory_than_the_limit(table: str, tmp_path: Path) -> None:
    file = quick(TABLES[table])
    with (
        mock.patch.object(csv_rows, "MAX_ROW_CHARACTERS", 1 << 17),
        mock.patch.object(report_archive, "BLOCK_BYTES", 1 << 17),
        mock.patch.multiple(arrow_csv, BLOCK_BYTES=1 << 15, MAX_BUFFERED_BYTES=3 << 15),
        memory_below(LARGE * 3 // 4),
    ):
        # As many rows are announced as would explain any length.
        assert by_python(file, 1_000_000) is None
        assert by_arrow(tmp_path, file, 1_000_000) is None
        assert by_arrow(tmp_path, file, 1_000_000, "jsonl") is None


@pytest.mark.promise("It runs in flat memory.")
def test_memory_does_not_grow_with_long_rows() -> None:
    file = quick(b"id,acc\r\n" + (b'1,"' + b"a" * 100_000 + b'"\r\n') * 500)
    with memory_below(9 * MIB):
        assert sum(len(columns[0]) for _, columns in read_chunks(file, 2000)) == 500


def test_a_cell_of_a_megabyte_is_read_by_both_readers() -> None:
    file = quick(b'"id","acc"\n"1","' + b"a,b\n" * 250_000 + b'"\n"2",""\n')
    assert by_python(file) == rows_by_arrow(file) == [("1", "a,b\n" * 250_000), ("2", "")]


def test_cells_of_nothing_but_quotes_are_read() -> None:
    texts = ['"' * 60_000] * 50
    content = b'"id","acc"\n' + b"".join(b'"1","%b"\n' % text.replace('"', '""').encode() for text in texts)
    assert [text for _, (_, texts_) in read_chunks(quick(content), 1000) for text in texts_] == texts
