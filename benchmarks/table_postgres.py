"""Table 3: a report into PostgreSQL, from end to end."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import TYPE_CHECKING

from benchmarks.measure import BenchError, Subject
from benchmarks.report import Column, ratio, seconds_columns, section, times, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.bench import Bench
    from benchmarks.canned import Report
    from benchmarks.database import Database
    from benchmarks.report import Section

TARGET = "meltanolabs-target-postgres==0.8.1"
TARGET_NEEDS = (TARGET, "singer-sdk[parquet]")
COPY = {", COPY": True}
ABOUT = """\
The report of table 1, {rows:,} rows, into an empty schema of PostgreSQL {version} on the same machine, a server
with its own default settings, whose work does not count as CPU or memory here. The tap, with the tiny server of
table 1, is piped into `target-postgres` of MeltanoLabs, which upserts by `id`; *COPY* is its
setting `use_copy`, which makes both forms faster.
dlt reads the file itself, by rows or by Arrow tables, and merges by `id`.

Every run was checked: the number of rows, and whether the sum of the prices in the table is that of the report to
the last digit."""


def table(bench: Bench) -> Section:
    """Measure table 3."""
    from benchmarks.database import Database  # noqa: PLC0415 - its package is needed here alone

    report = bench.report(bench.size(500_000, 2_000))
    with Database(bench.folder) as database:
        outcomes = bench.measure(subjects(bench, database, report))
        version = database.version
    reference = next(iter(outcomes.values()))
    main = Column("Rows/s", lambda outcome: outcome.rate, whole)
    return section(
        3,
        "A report into PostgreSQL",
        about=ABOUT.format(rows=report.rows, version=version),
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


def subjects(bench: Bench, database: Database, report: Report) -> Iterator[Subject]:
    """The tap with a loader, in both modes, and dlt."""
    target = install_target(bench)
    for mode, settings in (("RECORD", {}), ("BATCH Parquet", bench.batch("parquet", "snappy"))):
        for words, use_copy in COPY.items():
            schema = f"tap_{len(mode)}_{use_copy}".lower()
            config = {
                "sqlalchemy_url": database.url.replace("postgresql:", "postgresql+psycopg:"),
                "default_target_schema": schema,
                "load_method": "upsert",
                "use_copy": use_copy,
            }
            pipe = [bench.reading(report.rows, **settings), (target, "--config", str(bench.write(config)))]
            yield subject(f"tap, {mode} to target-postgres{words}", pipe, bench, database, schema, report)
    for number, (name, options) in enumerate({"dlt, rows": (), "dlt, Arrow": ("--arrow",)}.items()):
        schema = f"dlt_{number}"
        script = bench.peer("dlt_postgres.py")
        command = (*script, "--file", str(report.path), "--dsn", database.url, "--dataset", schema, *options)
        yield subject(name, [command], bench, database, schema, report)


def subject(  # noqa: PLR0913, PLR0917 - where, and what for
    name: str, commands: Sequence[Sequence[str]], bench: Bench, database: Database, schema: str, report: Report
) -> Subject:
    """Something that loads the report into a schema.

    Args:
        name: Its name.
        commands: What is run.
        bench: Where it is measured.
        database: The server.
        schema: The schema, which only this subject uses.
        report: What has to be there in the end.
    """
    ours = name.startswith("tap")

    def prepare() -> None:
        database.drop(schema)
        bench.prepare_batch()

    def check(_: object) -> dict[str, float]:
        loaded = database.loaded(schema)
        exact = loaded.total_price == Decimal(report.total_price)
        if loaded.rows != report.rows or (ours and not exact):
            message = f"it has loaded {loaded}, and not {report.rows:,} rows at {report.total_price}"
            raise BenchError(message)
        database.drop(schema)
        return {"exact": exact}

    return Subject(name, commands, "tap" if ours else "peer", report.rows, check, prepare)


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
