"""Parquet files of two runs, read by DuckDB as docs/loaders.md says: the newest row of each id, of the right types."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox import Sandbox, Within
from tests.harness import run_tap, settings_for
from tests.test_batch_runs import batch, comparable
from tests.test_postgres import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

DOCS = Path(__file__).parent.parent / "docs" / "loaders.md"
START, END = datetime(2026, 11, 18, tzinfo=timezone.utc), datetime(2026, 11, 20, tzinfo=timezone.utc)
STREAMS = ("sms", "verify_v2", "reports_usage")
TYPES = {
    "string": "VARCHAR",
    "date-time": "TIMESTAMP WITH TIME ZONE",
    "number": "DECIMAL(38,18)",
    "integer": "BIGINT",
    "boolean": "BOOLEAN",
    "object": "VARCHAR",
}


def view_of(stream: str) -> str:
    """The view that the documentation gives for SMS, for another stream."""
    found = re.search(r"<!-- view -->\n```sql\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    view = found[1].replace("create view sms ", f"create view {stream} ").replace("/sms-*", f"/{stream}-*")
    assert view.count(stream) == 2
    return view


@pytest.mark.promise("They are kept up to date while their status still changes.")
def test_a_view_of_the_newest_rows_is_what_the_api_has_after_each_run(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sandbox = make_sandbox(rows=dict.fromkeys(STREAMS, Within(100, START, END)))
    settings = settings_for(sandbox, start_date=START.isoformat(), end_date=END.isoformat(), show_concatenated=True)
    state, seen = None, []
    with duckdb.connect() as database:
        for layout in ("stream/date", "flat"):  # in this order, full paths sort the other way
            files = batch(Path("vonage"))
            output = run_tap({**settings, **files, "batch_layout": layout}, STREAMS, state)
            assert output.code == 0, output.log
            state = output.state
            truth = run_tap(settings, STREAMS).records
            for stream in STREAMS:
                database.execute(view_of(stream).replace("create view", "create or replace view"))
                assert comparable(rows_of(database, stream)) == comparable(truth[stream])
            seen.append({row["id"]: row["status"] for row in truth["sms"]})
            sandbox.clock.advance(days=3)
        for stream in STREAMS:
            kinds = {name: kind_of(spec) for name, spec in PRODUCTS[stream].schema["properties"].items()}
            columns = database.execute(f"describe {stream}").fetchall()
            assert {name: kind for name, kind, *_ in columns} == {name: TYPES[kind] for name, kind in kinds.items()}
    assert seen[0] != seen[1], "no status has changed"


def rows_of(database: duckdb.DuckDBPyConnection, stream: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = database.table(stream).to_arrow_table().to_pylist()
    return rows
