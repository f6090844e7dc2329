"""A downloaded archive is complete and well formed, or rejected before the bookmark moves."""

from __future__ import annotations

import csv
import io
import zipfile
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_vonage_reports.errors import ArchiveError
from tap_vonage_reports.records import csv_rows
from tap_vonage_reports.records.report_archive import open_members, read_chunks, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


def archive(members: Mapping[str, str | bytes]) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    file.seek(0)
    return file


def one(content: str | bytes) -> io.BytesIO:
    return archive({"report_SMS_abcd1234_20261120.csv": content})


def read_rows(file: io.BytesIO, count: int | None = None) -> list[dict[str, str]]:
    """The rows of an archive, each as cells by column name."""
    return [
        dict(zip(header, row, strict=True))
        for header, columns in read_chunks(file, count)
        for row in zip(*columns, strict=True)
    ]


GOOD = '"id","text"\n"1","a"\n"2",""\n'


def test_rows_have_the_order_of_the_file() -> None:
    assert verify(one(GOOD), 2) == 2
    assert read_rows(one(GOOD), 2) == [{"id": "1", "text": "a"}, {"id": "2", "text": ""}]


def test_all_csv_members_are_read_with_columns_by_name() -> None:
    file = archive({"a.csv": '"id","b"\n"1","x"\n', "readme.txt": "no", "b.CSV": '"b","id"\n"y","2"\n'})
    assert verify(file, 2) == 2
    assert [(row["id"], row["b"]) for row in read_rows(file, 2)] == [("1", "x"), ("2", "y")]


# The characters that a CSV reader looks at, and others.
text = st.text(
    st.sampled_from('",\n\ra') | st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12
)
dialects = st.sampled_from([("unix", "\n"), ("unix", "\r\n"), ("excel", "\r\n")])
"""All cells in quotes, or only where they have to be."""


@given(st.lists(st.tuples(text, text)), dialects, st.booleans(), st.integers(1, 80))
def test_quotes_newlines_and_any_script_survive(
    rows: list[tuple[str, str]],
    dialect: tuple[str, str],
    bom: bool,  # noqa: FBT001
    chunk_characters: int,
) -> None:
    content = io.StringIO(newline="")
    writer = csv.writer(content, dialect[0], lineterminator=dialect[1])
    writer.writerow(["id", "text"])
    writer.writerows(rows)
    file = one(("\ufeff" if bom else "").encode() + content.getvalue().encode())
    with mock.patch.object(csv_rows, "CHUNK_CHARACTERS", chunk_characters):
        assert verify(file, len(rows)) == len(rows)
        assert [(row["id"], row["text"]) for row in read_rows(file, len(rows))] == rows


@pytest.mark.parametrize("text", ["", "\n", "\r\n", "\ufeff", '"id"', '"id"\n', '"id"\n\n\n', '\n"id"\n'])
def test_a_file_without_rows_is_read_where_zero_rows_are_announced(text: str) -> None:
    assert verify(one(text), 0) == 0
    assert verify(archive({"1.csv": text, "2.csv": GOOD}), 2) == 2


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n", archive({}).getvalue()])
def test_a_download_without_content_is_read_where_zero_rows_are_announced(content: bytes) -> None:
    assert verify(io.BytesIO(content), 0) == 0


@given(st.lists(st.text('",\n\ra', max_size=3), max_size=20).map("".join), st.integers(1, 20))
def test_any_text_is_read_or_rejected_as_the_csv_reader_does(content: str, chunk_characters: int) -> None:
    file = one('"id","text"\n' + content)
    try:
        expected = [row for row in csv.reader(io.StringIO(content, newline=""), strict=True) if row]
    except csv.Error:
        expected = [[]]
    with mock.patch.object(csv_rows, "CHUNK_CHARACTERS", chunk_characters):
        if all(len(row) == 2 for row in expected):
            assert verify(file, None) == len(expected)
            assert [list(row.values()) for row in read_rows(file, None)] == expected
        else:
            with pytest.raises(ArchiveError):
                verify(file, None)


def test_rows_are_read_as_columns_many_at_a_time() -> None:
    rows = [(str(number), f'"{number}"' if number % 7 else "") for number in range(20_000)]
    content = io.StringIO(newline="")
    csv.writer(content, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([("id", "text"), *rows])
    chunks = list(read_chunks(one(content.getvalue()), len(rows)))
    assert 1 < len(chunks) < len(rows) / 100
    assert [row for _, columns in chunks for row in zip(*columns, strict=True)] == rows
    assert {tuple(header) for header, _ in chunks} == {("id", "text")}


def test_a_row_may_be_longer_than_a_chunk() -> None:
    content = GOOD + '"3","' + "long " * 25_000 + '"\n"4",""\n'
    assert [len(row["text"]) for row in read_rows(one(content), 4)] == [1, 0, 125_000, 0]


@pytest.mark.parametrize(("quote", "end"), [('"', "\n"), ('"', "\r\n"), ("", "\n"), ("", "\r\n")])
def test_a_large_file_is_read_in_any_dialect(quote: str, end: str) -> None:
    rows = [(str(number), "text" * 100) for number in range(20_000)]
    lines = [f"{quote}{id_}{quote},{quote}{text}{quote}" for id_, text in [("id", "text"), *rows]]
    chunks = list(read_chunks(one(end.join(lines) + end), len(rows)))
    assert [row for _, columns in chunks for row in zip(*columns, strict=True)] == rows
    assert len(chunks) > 10


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_row_of_wrong_width_is_named_by_its_number(end: str) -> None:
    rows = ['"1","a ""quote"", and\na newline"'] * 9997
    content = "\n".join(['"id","text"', *rows, '"1"', '"1",""']) + end
    with pytest.raises(ArchiveError, match="row 9999 has width 1, but the CSV header has width 2"):
        verify(one(content), 9999)


def test_members_can_be_read_as_bytes() -> None:
    file = archive({"a.csv": GOOD, "readme.txt": "no", "b.CSV": '"id"\n'})
    assert [member.read() for member in open_members(file, 2)] == [GOOD.encode(), b'"id"\n']
    assert not file.closed


def test_reading_a_member_as_bytes_is_bounded() -> None:
    for member in open_members(one("a" * 50_000_000), 1):
        with pytest.raises(ArchiveError, match="inflates to more"):
            member.read()


def test_a_large_file_without_an_announced_count_is_accepted() -> None:
    rows = "".join(f'"{number:09}{hash(number * 7919):x}"\n' for number in range(200_000))
    assert verify(one('"id"\n' + rows), None) == 200_000


def with_wrong_checksum() -> io.BytesIO:
    content = bytearray(one(GOOD).getvalue())
    content[content.find(b"PK\x01\x02") + 16] ^= 1
    return io.BytesIO(bytes(content))


@pytest.mark.promise("A member that inflates beyond what its row count explains is an error.")
@pytest.mark.parametrize(
    ("file", "count", "said"),
    [
        (io.BytesIO(b"not a zip at all"), 0, "corrupt"),
        (io.BytesIO(one(GOOD).getvalue()[:-30]), 2, "corrupt"),
        (with_wrong_checksum(), 2, "corrupt"),
        (archive({"readme.txt": "no"}), 0, "no CSV"),
        (archive({}), 1, "no CSV"),
        (archive({}), None, "no CSV"),
        (io.BytesIO(b""), 1, "corrupt"),
        (io.BytesIO(b"\n"), None, "corrupt"),
        (one(""), None, "the CSV file is empty"),
        (one("\n"), None, "the CSV file is empty"),
        (one(""), 1, "number of rows is 0, but the API announced 1"),
        (one('"text"\n"a"\n'), 1, "no column id"),
        (one('"id","id"\n"1","2"\n'), 1, "twice"),
        (one('"id","text"\n"1"\n'), 1, "row 2 has width 1, but the CSV header has width 2"),
        (one('"id","text"\n"1","a","b"\n'), 1, "row 2 has width 3"),
        (one(GOOD), 3, "number of rows is 2, but the API announced 3"),
        (one('"id"\n"1'), 1, "corrupt"),
        (one('"id"\n"' + "a" * 50_000_000), 1, "inflates to more"),
        (one('"id"\n' + '"a"\n' * 12_000_000), None, "inflates to more"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_corrupt_or_incomplete_file_is_rejected(file: io.BytesIO, count: int | None, said: str) -> None:
    with pytest.raises(ArchiveError, match=said):
        verify(file, count)


@pytest.mark.parametrize("chunk_characters", [1, 40, 1 << 17])
def test_only_rows_with_a_quote_inside_a_cell_need_the_csv_reader(
    monkeypatch: pytest.MonkeyPatch, chunk_characters: int
) -> None:
    """The reader takes longer."""
    reader, read = csv.reader, []

    def recorded(lines: Iterable[str], **dialect: Any) -> Iterator[list[str]]:
        for row in reader(lines, **dialect):
            read.append(row)
            yield row

    rows = [['a "b"', "x,y"], ["", '"'], ["two\nlines", ""], ["x" * 300, 'y"' * 30], ["\n", "z"]] * 3
    text = "".join(",".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row) + "\n" for row in rows)
    monkeypatch.setattr(csv_rows, "CHUNK_CHARACTERS", chunk_characters)
    monkeypatch.setattr(csv, "reader", recorded)
    found = [
        list(row)
        for _, columns in read_chunks(one(f'"id","text"\n{text}'), len(rows))
        for row in zip(*columns, strict=True)
    ]
    assert found == rows
    header, *others = read
    assert header == ["id", "text"]
    assert others == [row for row in rows if '"' in "".join(row)]


@pytest.mark.parametrize("chunk_characters", [1, 7, 40, 1 << 17])
@pytest.mark.parametrize("cell", ["", "\n", '"\n"', '\n"', '"', "\n\n", ",", '","', '"\n","', "\r\n", 'x"\n"y'])
def test_cells_that_look_like_the_ends_of_rows_are_read_and_counted(
    monkeypatch: pytest.MonkeyPatch, cell: str, chunk_characters: int
) -> None:
    rows = [[cell, "x"], ["x", cell], [cell, cell], ["x", "x"]] * 3
    text = "".join(",".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row) + "\n" for row in rows)
    file = one(f'"id","text"\n{text}')
    monkeypatch.setattr(csv_rows, "CHUNK_CHARACTERS", chunk_characters)
    chunks = [columns for _, columns in read_chunks(file, len(rows))]
    assert [list(row) for columns in chunks for row in zip(*columns, strict=True)] == rows
    assert verify(file, len(rows)) == len(rows)


def test_a_file_may_have_a_thousand_columns() -> None:
    header = ",".join(['"id"', *(f'"{number}"' for number in range(999))])
    assert verify(one(header + "\n"), 0) == 0
    with pytest.raises(ArchiveError, match="more than 1000 columns"):
        verify(one(header + ',"more"\n'), 0)


def test_a_file_without_an_announced_count_is_checked() -> None:
    assert verify(one(GOOD), None) == 2


PIECES = ['"', ",", "\n", "a", '""', '"\n"', '","', '"\n', "\r\n", " ", '"a","b"\n', '"a ""b""","\n"\n']


@given(st.lists(st.sampled_from(PIECES)).map("".join), st.sampled_from([1, 7, 40, 1000]))
def test_any_text_is_read_and_counted_as_the_csv_reader_reads_it(content: str, chunk_characters: int) -> None:
    def outcome(read: Callable[[], list[list[str]]]) -> list[list[str]] | str:
        try:
            rows = read()
        except (csv.Error, ArchiveError):
            return "refused"
        return rows if all(len(row) == 2 for row in rows) else "refused"

    def table() -> csv_rows.CsvTable:
        return csv_rows.CsvTable(io.BytesIO(f'"id","text"\n{content}'.encode()))

    def rows_of_table() -> list[list[str]]:
        return [list(row) for columns in table() for row in zip(*columns, strict=True)]

    expected = outcome(lambda: list(filter(None, csv.reader(io.StringIO(content, newline=""), strict=True))))
    with mock.patch.object(csv_rows, "CHUNK_CHARACTERS", chunk_characters):
        assert outcome(rows_of_table) == expected
        counted = outcome(lambda: [["", ""]] * sum(table().count_rows()))
    assert counted == (expected if expected == "refused" else [["", ""]] * len(expected))
