"""A downloaded file is whole, or it is refused before the bookmark moves."""

from __future__ import annotations

import csv
import io
import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_vonage_reports.archive import read_rows, verify
from tap_vonage_reports.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Mapping


def archive(members: Mapping[str, str | bytes]) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    file.seek(0)
    return file


def one(content: str | bytes) -> io.BytesIO:
    return archive({"report_SMS_abcd1234_20261120.csv": content})


GOOD = '"id","text"\n"1","a"\n"2",""\n'


def test_rows_come_by_column_name_in_the_files_order() -> None:
    assert verify(one(GOOD), 2) == 2
    assert list(read_rows(one(GOOD), 2)) == [{"id": "1", "text": "a"}, {"id": "2", "text": ""}]


def test_every_csv_of_an_archive_is_read_whatever_the_order_of_its_columns() -> None:
    file = archive({"a.csv": '"id","b"\n"1","x"\n', "readme.txt": "no", "b.CSV": '"b","id"\n"y","2"\n'})
    assert verify(file, 2) == 2
    assert [(row["id"], row["b"]) for row in read_rows(file, 2)] == [("1", "x"), ("2", "y")]


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30)


@given(st.lists(st.tuples(text, text), max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_quotes_newlines_and_any_script_survive(rows: list[tuple[str, str]], end: str, bom: bool) -> None:  # noqa: FBT001
    content = io.StringIO(newline="")
    writer = csv.writer(content, quoting=csv.QUOTE_ALL, lineterminator=end)
    writer.writerow(["id", "text"])
    writer.writerows(rows)
    file = one(("\ufeff" if bom else "").encode() + content.getvalue().encode())
    assert verify(file, len(rows)) == len(rows)
    assert [(row["id"], row["text"]) for row in read_rows(file, len(rows))] == rows


def damaged() -> io.BytesIO:
    content = bytearray(one(GOOD).getvalue())
    content[content.find(b"PK\x01\x02") + 16] ^= 1
    return io.BytesIO(bytes(content))


@pytest.mark.parametrize(
    ("file", "count", "said"),
    [
        (io.BytesIO(b"not a zip at all"), 0, "damaged"),
        (io.BytesIO(one(GOOD).getvalue()[:-30]), 2, "damaged"),
        (damaged(), 2, "damaged"),
        (archive({"readme.txt": "no"}), 0, "no CSV"),
        (archive({}), 0, "no CSV"),
        (one(""), 0, "no column id"),
        (one('"text"\n"a"\n'), 1, "no column id"),
        (one('"id","id"\n"1","2"\n'), 1, "twice"),
        (one('"id","text"\n"1"\n'), 1, "row 2 of 2 columns has 1 cells"),
        (one('"id","text"\n"1","a","b"\n'), 1, "has 3 cells"),
        (one(GOOD), 3, "has 2 rows, 3 were announced"),
        (one('"id"\n"1'), 1, "damaged"),
        (one(b'"id"\n"\xff"\n'), 1, "damaged"),
        (one('"id"\n"' + "a" * 50_000_000), 1, "inflates beyond"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_is_not_whole_is_refused(file: io.BytesIO, count: int, said: str) -> None:
    with pytest.raises(ArchiveError, match=said):
        verify(file, count)


def test_a_file_whose_rows_were_not_announced_is_still_checked() -> None:
    assert verify(one(GOOD), None) == 2
