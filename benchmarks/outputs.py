"""What a run has written: how many records, in which form ever, and which."""

from __future__ import annotations

import gzip
import importlib
from typing import TYPE_CHECKING

import msgspec

from benchmarks.measure import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BATCH = "batch"
"""The folder for BATCH files, in the one for output."""
TYPE_WITHIN = 40
"""The type of a message stands within so many bytes of its line."""
PARQUET, GZIP = b"PAR1", b"\x1f\x8b"


class _Record(msgspec.Struct):
    id: str


class _Message(msgspec.Struct):
    type: str
    record: _Record | None = None


_record = msgspec.json.Decoder(_Record)
_message = msgspec.json.Decoder(_Message)


def count_records(path: Path) -> int:
    """How many RECORD messages a file of Singer messages has."""
    with path.open("rb") as file:
        return sum(b'"RECORD"' in line[:TYPE_WITHIN] for line in file)


def count_files(folder: Path) -> int:
    """How many rows the files of a folder have together: Parquet, or JSON lines, gzipped or not."""
    return sum(map(_count_file, filter(lambda path: path.is_file(), folder.rglob("*"))))


def _count_file(path: Path) -> int:
    with path.open("rb") as file:
        head = file.read(4)
    if head == PARQUET:
        parquet = importlib.import_module("pyarrow.parquet")  # only who writes such files needs it
        return int(parquet.read_metadata(path).num_rows)
    with gzip.open(path) if head.startswith(GZIP) else path.open("rb") as file:
        return sum(1 for _ in file)


def records(out: Path) -> int:
    """The rows that a run has written to standard output."""
    return count_records(out / "stdout")


def counted(out: Path) -> int:
    """The rows that `counter.py` has counted behind a run."""
    return int((out / "stdout").read_text())


def files(out: Path) -> int:
    """The rows that a run has written to files; none should be on standard output as well."""
    return count_files(out / BATCH) + records(out)


def complete(count: Callable[[Path], int], rows: int) -> Callable[[Path], dict[str, float]]:
    """A check that refuses a run which has not written every row once.

    Args:
        count: Counts what a run has written.
        rows: How many rows there are.
    """

    def check(out: Path) -> dict[str, float]:
        found = count(out)
        if found != rows:
            message = f"it wrote {found:,} rows, and should have written {rows:,}"
            raise BenchError(message)
        return {}

    return check


def record_ids(path: Path) -> Iterator[str]:
    """The ids of the records in a file of Singer messages."""
    with path.open("rb") as file:
        for line in file:
            message = _message.decode(line)
            if message.record is not None:
                yield message.record.id


def row_ids(path: Path) -> Iterator[str]:
    """The ids of the rows in a file of JSON lines, or in all such files of a stream's folder below a folder."""
    files = sorted(path.glob("**/sms/*.jsonl")) if path.is_dir() else [path]
    for each in files:
        with each.open("rb") as file:
            for line in file:
                yield _record.decode(line).id
