"""Loaders as docs/loaders.md describes them: exact where it says so, and no worse than it says elsewhere."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from tests.environments import ROOT, environment
from tests.loaders.dataset import FORMS, LONG, ROWS, Dataset, Rows, differences, load, newest, total

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


every_form = pytest.mark.parametrize("form", FORMS)

# DuckDB

DUCKDB = ["target-duckdb==0.8.0", "duckdb==1.0.0"]
"""With any later DuckDB, the loader drops rows (test_nightly_loaders.py)."""
DUMP = """
import duckdb, json, sys
path, folder, *tables = sys.argv[1:]
types = {}
with duckdb.connect(path, read_only=True) as database:
    for table in tables:
        types[table] = {name: kind for name, kind, *_ in database.execute(f"describe vonage.{table}").fetchall()}
        database.execute(f"copy vonage.{table} to '{folder}/{table}.parquet'")
print(json.dumps(types))
"""


def in_duckdb(
    programs: Path, folder: Path, runs: Sequence[bytes], *tables: str
) -> tuple[dict[str, Rows], dict[str, dict[str, str]]]:
    """Load runs with target-duckdb, and return the rows and the types of columns by table."""
    (folder / "config.json").write_text(json.dumps({"path": str(folder / "db"), "default_target_schema": "vonage"}))
    for messages in runs:
        done = load([programs / "target-duckdb", "--config", folder / "config.json"], messages)
        assert done.returncode == 0, done.stderr.decode()[-3000:]
    dumped = load([programs / "python", "-c", DUMP, folder / "db", folder, *tables], b"")
    assert dumped.returncode == 0, dumped.stderr.decode()
    return {table: pq.read_table(folder / f"{table}.parquet").to_pylist() for table in tables}, json.loads(
        dumped.stdout
    )


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="DuckDB 1.0 is for Python 3.12 and older")
@pytest.mark.promise("In every loader's table the digits that the API sent.")
@every_form
def test_target_duckdb_is_exact_with_text_and_rounds_numbers(dataset: Dataset, tmp_path: Path, form: str) -> None:
    tables, types = in_duckdb(environment("target-duckdb", DUCKDB), tmp_path, dataset.runs[form], *ROWS)
    for stream, rows in tables.items():
        assert len(rows) == len(dataset.truth[stream]), "a row is missing, or is there twice"
    wrong = {stream: differences(dataset, stream, newest(stream, rows)) for stream, rows in tables.items()}
    if form == "text":
        assert wrong == {stream: {} for stream in ROWS}
        assert types["sms"]["total_price"] == types["sms"]["_extra"] == "VARCHAR"
        assert total(tables["sms"]) == total(dataset.truth["sms"].values())
    else:
        assert wrong == {"sms": {"total_price": long_prices(dataset)}, "reports_usage": {}, "accounts": {}}
        assert (types["sms"]["total_price"], types["sms"]["_extra"]) == ("DOUBLE", "JSON")


# SQLite

SQLITE = [sys.executable, "-W", "ignore", "-m", "tests.loaders.sqlite_target"]
UNSUPPORTED = "type 'decimal.Decimal' is not supported" if sys.version_info >= (3, 11) else "unsupported type"


@pytest.mark.parametrize(
    ("form", "run", "error"), [("number", 0, UNSUPPORTED), ("text", 1, "UNIQUE constraint failed")]
)
def test_a_loader_of_the_sdk_for_sqlite_fails_on_numbers_and_on_refetched_rows(
    dataset: Dataset, tmp_path: Path, form: str, run: int, error: str
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"file": str(tmp_path / "db")}))
    # One stream, because the SDK's targets load several concurrently, and any of them may fail first.
    runs = [
        b"".join(line for line in messages.splitlines(keepends=True) if b'"stream":"sms"' in line)
        for messages in dataset.runs[form]
    ]
    done = [load([*SQLITE, "--config", config], messages, cwd=ROOT) for messages in runs[: run + 1]]
    assert [each.returncode for each in done] == [0] * run + [1]
    assert error in done[-1].stderr.decode()
    with closing(sqlite3.connect(tmp_path / "db")) as database:
        if form == "text":
            kinds = {kind for (kind,) in database.execute("select distinct typeof(total_price) from sms")}
            assert kinds == {"real", "integer", "null"}, "a text in a decimal column becomes a float"


def long_prices(dataset: Dataset) -> int:
    """Return the number of prices that no float holds."""
    count: int = sum(row["total_price"] == LONG for row in dataset.truth["sms"].values())
    assert count
    assert Decimal(str(float(LONG))) != LONG
    return count
