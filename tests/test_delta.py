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
BY_MONTH = ("--by-month", "reports_usage=date_received")
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

files = DeltaTable(sys.argv[1]).file_uris()
rows = duckdb.read_parquet(files)
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


@pytest.mark.promise("They are kept up to date while their status still changes.")
def test_a_table_has_the_rows_of_the_api_whenever_the_program_is_killed(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, python: Path
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
            done = run(python, MERGE, EXAMPLE / "merge.py", limit, size, folder, tables, "--tidy", *BY_MONTH)
            assert done.returncode == (0 if limit == NEVER else 9), done.stderr
        truth = run_tap(settings, STREAMS).records
        statuses.append({row["id"]: row["status"] for row in truth["sms"]})
        sandbox.clock.advance(days=2)
    assert statuses[0] != statuses[1], "no status has changed"
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    for stream in ("sms", "reports_usage"):
        assert table_of(python, tables / stream) == {
            "rows": len(truth[stream]),
            "sum": sum(Decimal(row["total_price"] or 0) for row in truth[stream]),
            "type": "DECIMAL(38,18)",
            "statuses": {row["id"]: row["status"] for row in truth[stream]},
        }


def test_files_of_any_layout_and_prefix_go_into_the_table_of_their_stream(tmp_path: Path, python: Path) -> None:
    folder, tables = tmp_path / "vonage", tmp_path / "lake"
    names = {
        "sms/sms-20261101T000000000000Z-ffffffff-00001": "old",
        "cdr-sms-20261102T000000000000Z-00000000-00001": "new",
    }
    for name, status in names.items():
        path = folder / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = f"select 'a' as id, '{status}' as status, 0.1::decimal(38, 18) as total_price"
        with duckdb.connect() as database:
            database.execute(f"copy ({rows}) to '{path}'")
    with duckdb.connect() as database:
        account = folder / "cdr-accounts-20261102T000000000000Z-00000000-00002.parquet"
        database.execute(f"copy (select 'abcd1234' as api_key) to '{account}'")
    done = run(python, MERGE, EXAMPLE / "merge.py", NEVER, 1000, folder, tables)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tables.iterdir()) == ["accounts", "sms"]
    assert table_of(python, tables / "sms")["statuses"] == {"a": "new"}
    assert list(folder.rglob("*.parquet")) == []


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
    """What DuckDB reads from a table."""
    done = run(python, READ, table)
    assert done.returncode == 0, done.stderr
    rows, price, kind, statuses = json.loads(done.stdout)
    return {"rows": rows, "sum": Decimal(price), "type": kind, "statuses": statuses}
