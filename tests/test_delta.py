"""The example for Delta Lake: tables with one row for each id, exact, whenever the program is killed."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from tap_vonage_reports.sandbox import Within
from tests.environments import environment, requirements_of
from tests.harness import run_tap, settings_for
from tests.test_batch_runs import batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_vonage_reports.sandbox import Sandbox

EXAMPLE = Path(__file__).parent.parent / "examples" / "delta"
START, END = datetime(2026, 11, 18, tzinfo=timezone.utc), datetime(2026, 11, 20, tzinfo=timezone.utc)
STREAMS = ("sms", "reports_usage", "accounts")
NEVER = 1_000_000
MERGE = """
import os, sys
sys.argv.pop(0)
limit, merge_size = int(sys.argv.pop(1)), int(sys.argv.pop(1))
sys.path.insert(0, os.path.dirname(sys.argv[0]))
import merge
from pathlib import Path

merge.FILES_PER_COMMIT = merge_size
unlink, removed = Path.unlink, []


def remove(path):
    if path.name.startswith("sms-"):
        if len(removed) == limit:
            os._exit(9)
        removed.append(path)
    unlink(path)


Path.unlink = remove
merge.main()
"""
"""Runs the example, but kills it instead of removing one more file of SMS than a limit."""
READ = """
import json, sys
import duckdb
from deltalake import DeltaTable

rows = DeltaTable(sys.argv[1]).to_pyarrow_dataset()
price = "sum(total_price)::varchar"
found = duckdb.sql(f"select count(*), {price}, min(typeof(total_price)) from rows").fetchall()[0]
statuses = duckdb.sql("select id, status from rows").fetchall()
print(json.dumps([*found, dict(statuses)]))
"""


@pytest.fixture(scope="module")
def python() -> Path:
    return environment("delta", requirements_of("delta")) / "python"


def run(python: Path, program: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [str(each) for each in (python, "-W", "error", "-c", program, *arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the example


@pytest.mark.parametrize("more", [[], ["--by-month", "sms=date_received"]], ids=["whole", "by month"])
@pytest.mark.promise("They are kept up to date while their status still changes.")
def test_a_table_has_the_rows_of_the_api_whenever_the_program_is_killed(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, python: Path, more: list[str]
) -> None:
    sandbox = make_sandbox(
        rows={"sms": Within(150, START, END), "reports_usage": Within(20, START, END)},
        clock=END + timedelta(minutes=2),
        subaccount_keys=["sub00001"],
    )
    settings = settings_for(sandbox, start_date=START.isoformat(), end_date=END.isoformat(), include_subaccounts=True)
    folder, tables, state = tmp_path / "vonage", tmp_path / "lake", None
    statuses = []
    # The files of the first run are merged, some at a time, and none is removed. Then those of both runs are, and more
    # than half of them removed; then the others.
    for kills in ([(0, 7)], [(20, 1000), (NEVER, 1000)]):
        output = run_tap({**settings, **batch(folder, batch_size=40)}, STREAMS, state)
        assert output.code == 0, output.log
        state = output.state
        for limit, size in kills:
            done = run(python, MERGE, EXAMPLE / "merge.py", limit, size, folder, tables, "--tidy", *more)
            assert done.returncode == (0 if limit == NEVER else 9), done.stderr
        truth = {row["id"]: row for row in run_tap(settings, ["sms"]).records["sms"]}
        statuses.append({key: row["status"] for key, row in truth.items()})
        sandbox.clock.advance(days=2)
    assert statuses[0] != statuses[1], "no status has changed"
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    assert table_of(python, tables / "sms") == {
        "rows": len(truth),
        "sum": sum(Decimal(row["total_price"] or 0) for row in truth.values()),
        "type": "DECIMAL(38,18)",
        "statuses": statuses[1],
    }


def test_a_table_stays_divided_as_it_was_made(tmp_path: Path, python: Path) -> None:
    folder, tables = tmp_path / "vonage", tmp_path / "lake"
    folder.mkdir()
    with duckdb.connect() as database:
        rows = "select 'a' as id, timestamptz '2026-11-01 00:00:00Z' as date_received"
        database.execute(f"copy ({rows}) to '{folder}/sms-20261101T000000000000Z-00000000-00001.parquet'")
    before = [path.read_bytes() for path in folder.iterdir()]
    program = [EXAMPLE / "merge.py", NEVER, 1000, folder, tables]
    assert run(python, MERGE, *program, "--by-month", "sms=date_received").returncode == 0
    (folder / "sms-20261102T000000000000Z-00000000-00001.parquet").write_bytes(before[0])
    refused = run(python, MERGE, *program)
    assert refused.returncode == 1
    assert "was made with another --by-month" in refused.stderr
    assert [path.read_bytes() for path in folder.iterdir()] == before


def table_of(python: Path, table: Path) -> dict[str, Any]:
    """What DuckDB reads from a table of SMS."""
    done = run(python, READ, table)
    assert done.returncode == 0, done.stderr
    rows, price, kind, statuses = json.loads(done.stdout)
    return {"rows": rows, "sum": Decimal(price), "type": kind, "statuses": statuses}
