"""Table 1: a report, already generated, to standard output or to files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.measure import Subject
from benchmarks.outputs import BATCH, complete, files, records
from benchmarks.report import Column, ratio, seconds_columns, section, times, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.report import Section

FORMATS = (
    ("Parquet, snappy", "parquet", "snappy"),
    ("JSONL, gzip", "jsonl", "gzip"),
    ("JSONL, uncompressed", "jsonl", "none"),
)
KINDS = {"tap": "tap", "floors": "floor"}
"""The kind of a subject, by how its name begins."""
ABOUT = """\
A report of {rows:,} outgoing SMS, zipped as the API delivers it, becomes typed records. A tiny server that has the
finished report plays the API; the tap asks for it, waits for it, downloads and verifies it as always, and asks for
the report of the incoming SMS too, which is empty. The others are given the file, and check nothing.

Standard output goes to a file in a temporary folder, for all alike. *Whole process* is from start to end. *Path
alone* is that less the median time of the same command on a report without rows; for the tap this takes out the
quarter of a second that it waits before it first asks whether a report is finished.

`floors.py python` is plain Python, as tight as it gets, that turns the file into RECORD lines of the same types;
`floors.py arrow` goes from the zip to one Parquet file by Arrow. The plain SDK tap is what the Singer SDK does with
these rows when a tap only reads and converts them."""


def table(bench: Bench) -> Section:
    """Measure table 1."""
    rows = bench.size(500_000, 2_000)
    outcomes = bench.measure(subjects(bench, rows))
    reference = next(iter(outcomes.values()))
    main = Column("Records/s, whole process", lambda outcome: outcome.rate, whole)
    columns = [
        main,
        Column("Records/s, path alone", lambda outcome: outcome.path_rate, whole),
        Column("Path alone, against the first line", ratio(lambda outcome: outcome.path_rate, reference), times),
        *seconds_columns(),
    ]
    return section(
        1,
        "A report to records",
        about=ABOUT.format(rows=rows),
        outcomes=outcomes.values(),
        columns=columns,
        main=main,
    )


def subjects(bench: Bench, rows: int) -> Iterator[Subject]:
    """The subjects, each on the report and on one without rows.

    Args:
        bench: Where they are measured.
        rows: Rows of the report.
    """
    for count in (rows, 0):
        report = str(bench.report(count).path)
        yield subject("tap, RECORD", bench.reading(count), records, count)
        for name, file_format, compression in FORMATS:
            command = bench.reading(count, **bench.batch(file_format, compression))
            yield subject(f"tap, BATCH {name}", command, files, count, bench.prepare_batch)
        yield subject("floors.py python", bench.floor("python", report), records, count)
        target = bench.out / BATCH / "floor.parquet"
        yield subject("floors.py arrow", bench.floor("arrow", report, str(target)), files, count, bench.prepare_batch)
        command = (*bench.peer("plain_sdk.py"), "--config", str(bench.write({"file": report})))
        yield subject("plain SDK tap", command, records, count)


def subject(
    name: str,
    command: Sequence[str],
    count: Callable[[Path], int],
    rows: int,
    prepare: Callable[[], None] = lambda: None,
) -> Subject:
    """A subject on a report, or on one without rows, by which the other is corrected.

    Args:
        name: Its name.
        command: What is run.
        count: Counts what it has written.
        rows: Rows of the report.
        prepare: Called before each run.
    """
    kind = next((kind for word, kind in KINDS.items() if name.startswith(word)), "peer")
    empty = f"{name}, no rows"
    check = complete(count, rows)
    if not rows:
        return Subject(empty, [command], kind, check=check, prepare=prepare, shown=False)
    return Subject(name, [command], kind, rows, check=check, prepare=prepare, baseline=empty)
