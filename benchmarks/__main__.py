"""`./run bench`: measures the tables and writes `results.md`, with a chart, and all figures in `results.json`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import machine, report
from benchmarks.bench import Bench
from benchmarks.measure import BenchError
from benchmarks.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

OUTPUT = Path(__file__).with_name("results.md")
FEWEST = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Returns:
        0, or 1 when a subject failed.
    """
    options = parser().parse_args(arguments)
    if os.name == "nt":
        say("Processes are measured on Linux and macOS only.")
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started ends, too
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        try:
            run(options, Path(folder).resolve())
        except BenchError as error:
            say(f"The benchmark has failed. {error}")
            return 1
        except KeyboardInterrupt:
            return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    top.add_argument("--quick", action="store_true", help="small sizes, once, to see that everything works; no files")
    top.add_argument(
        "--table", type=int, action="append", choices=TABLES, help="measure this table only; may be repeated"
    )
    top.add_argument(
        "--repeat", type=int, metavar="N", help=f"how often each subject runs (default {FEWEST}, quick: 1)"
    )
    top.add_argument("--output", type=Path, metavar="FILE", help=f"the page to write (default {OUTPUT.name} here)")
    top.add_argument(
        "--only", action="append", default=[], metavar="WORD", help="subjects with this in their name; no files"
    )
    return top


def run(options: argparse.Namespace, folder: Path) -> None:
    """Measure what was asked for; each table is written as soon as it is there.

    Args:
        options: The command line.
        folder: Where everything happens.

    Raises:
        BenchError: A subject failed.
    """
    repeat = options.repeat or (1 if options.quick else FEWEST)
    output = options.output or (None if options.quick or options.only else OUTPUT)
    with Bench(folder, quick=options.quick, repeat=repeat, only=options.only, say=say) as bench:
        for number in sorted(set(options.table or TABLES)):
            say(f"Table {number}")
            bench.versions.clear()
            section = TABLES[number](bench)
            section.measured = measured(repeat, bench.versions)
            if output:
                write(section, output)
            else:
                write(section, folder / OUTPUT.name)
                sys.stdout.write(report.text_of(section) + "\n\n")
                sys.stdout.flush()


def measured(repeat: int, versions: dict[str, str]) -> str:
    """When, on what and with what a table was measured."""
    today = datetime.now(timezone.utc).date()
    runs = "1 run" if repeat == 1 else f"{repeat} runs"
    return f"Measured {today}, {runs} of each, on {machine.describe()}; {machine.versions(versions)}."


def write(section: report.Section, page: Path) -> None:
    """Put a section into the results, and write the page and the chart anew.

    Args:
        section: The section.
        page: The page; the figures and the chart are beside it.
    """
    from benchmarks.chart import draw  # noqa: PLC0415 - most uses do without it

    kept = page.with_suffix(".json")
    results = report.load(kept)
    results.replace(section)
    report.save(results, kept)
    chart = page.with_suffix(".svg")
    page.write_text(report.page_of(results, chart.name), "utf-8")
    draw(results.ordered, chart)


def say(line: str) -> None:
    """Tell of what takes a while."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
