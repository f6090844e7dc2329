"""A report's file is read up to its limits to the byte, and not beyond."""

from __future__ import annotations

import io
import zipfile

import pytest

from tap_vonage_reports.errors import ArchiveError
from tap_vonage_reports.records import report_archive
from tap_vonage_reports.records.report_archive import open_members, verify

MIB = 1 << 20


def zipped(content: bytes, name: str = "report.csv", size: int = 0) -> io.BytesIO:
    """A zip of one member, which a comment makes as long as asked for."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    if size:
        with zipfile.ZipFile(file, "a") as archive:
            archive.comment = b"x" * (size - len(file.getvalue()))
    return file


def inflated(file: io.BytesIO, count: int | None) -> int:
    return sum(len(member.read()) for member in open_members(file, count))


@pytest.mark.parametrize(
    ("count", "size", "limit"),
    [
        (1, 0, 8 * MIB),  # whatever the number of rows
        (1023, 0, 32 * MIB),  # 32 KiB for each row, and for the header
        (None, 50_000, 10_000_000),  # two hundred times its size
    ],
)
def test_a_file_may_inflate_to_its_limit_and_not_to_a_byte_more(count: int | None, size: int, limit: int) -> None:
    assert inflated(zipped(b"x" * limit, size=size), count) == limit
    with pytest.raises(ArchiveError, match="inflates to more"):
        inflated(zipped(b"x" * (limit + 1), size=size), count)


def test_several_members_share_the_limit_to_the_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_archive, "MIN_INFLATED_LIMIT_BYTES", 0)
    for more in (0, 1):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a.csv", b"x" * 30_000)
            archive.writestr("b.csv", b"x" * (35_536 + more))  # 64 KiB in all: a row and the header
        if more:
            with pytest.raises(ArchiveError, match="inflates to more"):
                inflated(file, 1)
        else:
            assert inflated(file, 1) == 65_536


@pytest.mark.parametrize(("more", "said"), [(0, "no CSV member"), (1, "its directory has more than 2 MiB")])
def test_the_directory_of_a_file_may_have_two_mebibytes(more: int, said: str) -> None:
    content = zipped(b"", "x" * 82).getvalue()
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    entry = content[start:end]
    assert len(entry) == 128
    directory = entry * (2 * MIB // 128 + more)
    counts = (2 * MIB // 128 + more).to_bytes(2, "little") * 2
    ends = content[end : end + 8] + counts + len(directory).to_bytes(4, "little") + content[end + 16 :]
    with pytest.raises(ArchiveError, match=said):
        verify(io.BytesIO(content[:start] + directory + ends), 1)


@pytest.mark.parametrize("blank", [b"", b"\n", b" " * (8 * MIB - 1)], ids=["nothing", "line break", "spaces"])
def test_a_blank_file_in_place_of_a_zip_stands_for_zero_rows_if_they_are_announced(blank: bytes) -> None:
    assert verify(io.BytesIO(blank), 0) == 0
    for count in (1, None):
        with pytest.raises(ArchiveError):
            verify(io.BytesIO(blank), count)


def test_a_file_of_eight_mebibytes_is_not_searched_for_text() -> None:
    with pytest.raises(ArchiveError):
        verify(io.BytesIO(b" " * (8 * MIB)), 0)
