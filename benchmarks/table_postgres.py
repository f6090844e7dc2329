"""Table 3: a report into a database, from end to end."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from shutil import rmtree
from typing import TYPE_CHECKING

from benchmarks.measure import BenchError, Subject, launch
from benchmarks.outputs import BATCH
from benchmarks.report import Column, ratio, seconds_columns, section, times, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.canned import Report
    from benchmarks.database import Database, Loaded
    from benchmarks.report import Section

TARGET = "meltanolabs-target-postgres==0.8.1"
TARGET_NEEDS = (TARGET, "singer-sdk[parquet]")
LOADER = (sys.executable, "-m", "tap_vonage_reports.load")
ROWS, MORE_ROWS = 500_000, 2_000_000
ABOUT = """\
The report of table 1, {rows:,} rows, into an empty schema of PostgreSQL {version} on the same machine, a server
with its own default settings, whose work does not count as CPU or memory here, or into a new DuckDB file. The tap,
with the tiny server of table 1, is piped into the loader: `target-postgres` of MeltanoLabs, which upserts by `id`
(with its setting `use_copy`, which makes it faster), or `target-vonage-files`.
dlt reads the file itself, by rows or by Arrow tables, and merges by `id`.

*Again* loads the same report into the table that already has it: every row is upserted, and none has changed, as most
rows that are read again. `target-vonage-files` finds that out and does not write them. The lines with another number
of rows are of a longer report.

Every run was checked: the number of rows, and whether the sum of the prices in the table is that of the report to
the last digit; and that `target-vonage-files` has left no file."""


def table(bench: Bench) -> Section:
    """Measure table 3."""
    from benchmarks.database import Database  # noqa: PLC0415 - its package is needed here alone

    rows = bench.size(ROWS, 2_000)
    with Database(bench.folder) as database:
        chosen = list(subjects(bench, database, bench.report(rows)))
        if not bench.quick and bench.takes(", 2,000,000 rows"):
            chosen += subjects(bench, database, bench.report(MORE_ROWS), suffix=f", {MORE_ROWS:,} rows")
        outcomes = bench.measure(chosen)
        version = database.version
    reference = next(iter(outcomes.values()))
    main = Column("Rows/s", lambda outcome: outcome.rate, whole)
    return section(
        3,
        "A report into a database",
        about=ABOUT.format(rows=rows, version=version),
        outcomes=outcomes.values(),
        columns=[
            main,
            Column("Against the first line", ratio(lambda outcome: outcome.rate, reference), times),
            Column(
                "Sum of prices exact", lambda outcome: outcome.fact("exact"), lambda exact: "yes" if exact else "no"
            ),
            *seconds_columns(),
        ],
        main=main,
    )


def subjects(bench: Bench, database: Database, report: Report, *, suffix: str = "") -> Iterator[Subject]:
    """The tap with a loader, in both modes, and dlt.

    Args:
        bench: Where they are measured.
        database: The server.
        report: What they load.
        suffix: The end of their names; those that would take very long are left out if there is one.
    """
    tap = bench.reading(report.rows)
    tap_files = bench.reading(report.rows, **bench.batch("parquet", "snappy"))
    names: dict[str, Callable[[str], list[tuple[str, ...]]]] = {
        "tap, RECORD to target-postgres, COPY": lambda schema: [tap, target_postgres(bench, database, schema)],
        BATCH_TO_POSTGRES: lambda schema: [tap_files, target_postgres(bench, database, schema)],
        FILES_TO_POSTGRES: lambda schema: [tap_files, loader(bench, url=database.url, default_target_schema=schema)],
        FILES_TO_DUCKDB: lambda schema: [tap_files, loader(bench, duckdb_path=str(bench.folder / f"{schema}.duckdb"))],
        "dlt, rows": lambda schema: [dlt(bench, database, report, schema)],
        DLT_ARROW: lambda schema: [dlt(bench, database, report, schema, "--arrow")],
    }
    for number, (name, commands_for) in enumerate(names.items()):
        if suffix and name not in FAST:
            continue
        schema = f"s{number}_{report.rows}"
        place = DuckDB(bench.folder / f"{schema}.duckdb") if name == FILES_TO_DUCKDB else Schema(database, schema)
        commands = commands_for(schema)
        yield subject(name + suffix, commands, bench, place, report)
        if name in FAST:
            yield subject(f"{name}, again{suffix}", commands, bench, place, report, again=True)


BATCH_TO_POSTGRES = "tap, BATCH Parquet to target-postgres, COPY"
FILES_TO_POSTGRES = "tap, BATCH to target-vonage-files, PostgreSQL"
FILES_TO_DUCKDB = "tap, BATCH to target-vonage-files, DuckDB"
DLT_ARROW = "dlt, Arrow"
FAST = {BATCH_TO_POSTGRES, FILES_TO_POSTGRES, FILES_TO_DUCKDB, DLT_ARROW}
"""What is measured again on its own table, and with a longer report."""


def target_postgres(bench: Bench, database: Database, schema: str) -> tuple[str, ...]:
    """The command of target-postgres."""
    config = {
        "sqlalchemy_url": database.url.replace("postgresql:", "postgresql+psycopg:"),
        "default_target_schema": schema,
        "load_method": "upsert",
        "use_copy": True,
    }
    return (install_target(bench), "--config", str(bench.write(config)))


def loader(bench: Bench, **settings: str) -> tuple[str, ...]:
    """The command of target-vonage-files."""
    return (*LOADER, "--config", str(bench.write(settings)))


def dlt(bench: Bench, database: Database, report: Report, schema: str, *options: str) -> tuple[str, ...]:
    """The command of dlt."""
    script = bench.peer("dlt_postgres.py")
    return (*script, "--file", str(report.path), "--dsn", database.url, "--dataset", schema, *options)


@dataclass(frozen=True)
class Schema:
    """A schema in PostgreSQL, which only one subject uses."""

    database: Database
    name: str

    def drop(self) -> None:
        """Remove it."""
        self.database.drop(self.name)

    def loaded(self) -> Loaded:
        """What it holds."""
        return self.database.loaded(self.name)


@dataclass(frozen=True)
class DuckDB:
    """A DuckDB file, which only one subject uses."""

    path: Path

    def drop(self) -> None:
        """Remove it."""
        self.path.unlink(missing_ok=True)

    def loaded(self) -> Loaded:
        """What it holds."""
        import duckdb  # noqa: PLC0415 - needed here alone

        from benchmarks.database import Loaded  # noqa: PLC0415 - its package is needed here alone

        with duckdb.connect(str(self.path), read_only=True) as connection:
            found = connection.execute("select count(*), sum(total_price) from vonage.sms").fetchone()
            rows, total = found or (0, Decimal())
        return Loaded(rows, total)


def subject(  # noqa: PLR0913 - where, and what for
    name: str,
    commands: Sequence[Sequence[str]],
    bench: Bench,
    place: Schema | DuckDB,
    report: Report,
    *,
    again: bool = False,
) -> Subject:
    """Something that loads the report into a place of its own.

    Args:
        name: Its name.
        commands: What is run.
        bench: Where it is measured.
        place: The place.
        report: What has to be there in the end.
        again: Whether the report is there already.
    """
    ours = name.startswith("tap")

    def prepare() -> None:
        place.drop()
        bench.prepare_batch()
        if again:
            usage = launch(commands, bench.folder, bench.out)
            if any(usage.codes):
                message = f"{name} ended with {usage.codes} when it loaded the report for the first time"
                raise BenchError(message)
            rmtree(bench.out / BATCH)
            bench.prepare_batch()

    def check(out: Path) -> dict[str, float]:
        loaded = place.loaded()
        exact = loaded.total_price == Decimal(report.total_price)
        if loaded.rows != report.rows or (ours and not exact):
            message = f"it has loaded {loaded}, and not {report.rows:,} rows at {report.total_price}"
            raise BenchError(message)
        if "target-vonage-files" in name and any(path.is_file() for path in (out / BATCH).rglob("*")):
            message = "it has left files"
            raise BenchError(message)
        place.drop()
        return {"exact": exact}

    return Subject(name, commands, "tap" if ours else "peer", report.rows, check, prepare)


@cache
def install_target(bench: Bench) -> str:
    """Give the loader an environment of its own, as Meltano does; its command."""
    bench.say(f"Installing {TARGET} ...")
    home = bench.folder / "target"
    python = str(home / "bin" / "python")
    bench.uv("venv", "--quiet", "--python", sys.executable, str(home))
    bench.uv("pip", "install", "--quiet", "--python", python, *TARGET_NEEDS)
    for line in bench.uv("pip", "freeze", "--quiet", "--python", python).splitlines():
        name, _, version = line.partition("==")
        if name in {TARGET.partition("==")[0], "psycopg"}:
            bench.versions[name] = version
    return str(home / "bin" / "target-postgres")
