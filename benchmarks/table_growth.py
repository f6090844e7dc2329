"""Table 4: how time and memory grow with the report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Subject, exponent
from benchmarks.outputs import complete, counted, files
from benchmarks.report import Column, number, seconds_columns, section, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.bench import Bench
    from benchmarks.measure import Outcome
    from benchmarks.report import Section

SIZES, QUICK_SIZES = (50_000, 500_000, 2_000_000), (1_000, 2_000, 4_000)
COUNTER = (sys.executable, "-I", "-S", str(Path(__file__).with_name("counter.py")))
MODES = ("tap, RECORD", "tap, BATCH Parquet")
ABOUT = """\
Reports of growing size, read as in table 1; but the records go through a pipe to a program that counts them, so that
two gigabytes of them measure no disk. *Path alone* is the whole time less that of the quickest run
of the same command on a report without rows."""


def table(bench: Bench) -> Section:
    """Measure table 4."""
    sizes = QUICK_SIZES if bench.quick else SIZES
    outcomes = bench.measure(subjects(bench, sizes))
    for outcome in outcomes.values():
        if outcome.subject.baseline:
            # The median, where chance made it long, would leave next to nothing of the smallest size.
            outcome.start = outcomes[outcome.subject.baseline].wall.low
    main = Column("Peak MB", lambda outcome: outcome.megabytes, whole)
    columns = [
        Column("Rows/s, path alone", lambda outcome: outcome.path_rate, whole),
        Column("Seconds, path alone", lambda outcome: outcome.path, number),
        *seconds_columns(),
    ]
    return section(
        4,
        "Growth",
        about=ABOUT,
        outcomes=outcomes.values(),
        columns=columns,
        main=main,
        notes=[note(mode, outcomes) for mode in MODES if any(name.startswith(mode) for name in outcomes)],
    )


def subjects(bench: Bench, sizes: tuple[int, ...]) -> Iterator[Subject]:
    """The tap in both modes, on reports of several sizes and on one without rows."""
    for size in (*sizes, 0):
        for mode in MODES:
            batch = mode != MODES[0]
            settings = bench.batch("parquet", "snappy") if batch else {}
            yield Subject(
                f"{mode}, {size:,} rows",
                [bench.reading(size, **settings), *([] if batch else [COUNTER])],
                rows=size,
                check=complete(files if batch else counted, size),
                prepare=bench.prepare_batch if batch else lambda: None,
                baseline=f"{mode}, 0 rows" if size else "",
                shown=bool(size),
            )


def note(mode: str, outcomes: Mapping[str, Outcome]) -> str:
    """How time and memory of a mode grow."""
    grown = [outcome for name, outcome in outcomes.items() if name.startswith(mode) and outcome.subject.rows]
    first, last = grown[0], grown[-1]
    power = exponent((outcome.subject.rows, outcome.path.median) for outcome in grown)
    memory = last.megabytes.median / first.megabytes.median
    multiple = last.subject.rows / first.subject.rows
    return (
        f"{mode}: time grows with the power {number(power)} of the rows (least squares through the logarithms of the "
        "rows and of the median seconds of the path alone). "
        f"With {multiple:,.0f} times the rows, the peak memory is {number(memory)} times as large."
    )
