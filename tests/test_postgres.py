"""A real PostgreSQL, by meltanolabs-target-postgres: rows upserted, and numbers exact to the last digit."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox import Sandbox, Within
from tests import target_postgres
from tests.conftest import NOW
from tests.harness import Output, run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import LiteralString

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the server comes for Linux and macOS only")

START, END = datetime(2026, 11, 18, tzinfo=timezone.utc), datetime(2026, 11, 20, tzinfo=timezone.utc)
DATES = {"start_date": START.isoformat(), "end_date": END.isoformat()}
STREAMS = {"sms": 200, "verify_v2": 30, "reports_usage": 30}
"""The streams that are loaded, and how many rows of each (and of each direction) there are."""
COLUMNS = {
    "string": "text",
    "date-time": "timestamp without time zone",
    "number": "numeric",
    "integer": "bigint",
    "boolean": "boolean",
    "object": "jsonb",
}
"""What the kinds of fields are in a table; times are in UTC."""


@dataclass(frozen=True)
class Database:
    """What the target writes to: a schema of a test's own.

    Attributes:
        server: The server's address.
        schema: The schema.
        folder: Where the target's configuration goes.
    """

    server: str
    schema: str
    folder: Path

    def load(self, output: Output) -> None:
        """Give messages to the target."""
        settings = {"default_target_schema": self.schema, "load_method": "upsert"}
        target_postgres.load(self.server, self.folder, output.lines, **settings)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """What stands in a table; without the columns that the target adds."""
        rows = self._query(sql.SQL("select * from {}").format(sql.Identifier(self.schema, table)))
        return [{name: value for name, value in row.items() if not name.startswith("_sdc_")} for row in rows]

    def count(self, table: str, condition: LiteralString) -> int:
        """How many rows of a table meet a condition."""
        query = sql.SQL("select count(*) as rows from {} where ").format(sql.Identifier(self.schema, table))
        (row,) = self._query(query + sql.SQL(condition))
        return int(row["rows"])

    def columns(self, table: str) -> list[dict[str, Any]]:
        """What the server says of a table's columns."""
        query = sql.SQL("select * from information_schema.columns where table_schema = {} and table_name = {}")
        rows = self._query(query.format(sql.Literal(self.schema), sql.Literal(table)))
        return [row for row in rows if not row["column_name"].startswith("_sdc_")]

    def _query(self, query: sql.Composed) -> list[dict[str, Any]]:
        with psycopg.connect(self.server) as connection, connection.cursor(row_factory=dict_row) as cursor:
            set_json_loads(partial(json.loads, parse_float=Decimal), cursor)
            return cursor.execute(query).fetchall()


@dataclass(frozen=True)
class Loaded:
    """What two runs have loaded, of which the second found rows that had changed.

    Attributes:
        database: Where it is.
        form: In which form the rows came: records, parquet or jsonl.
        before: The rows of SMS by id as they were at the first run, from the sandbox itself.
        rows: What then stood in its table.
        after: The rows of SMS by id as they were at the second run.
        records: The RECORD messages that a run gives after it, by stream.
    """

    database: Database
    form: str
    before: dict[str, dict[str, Any]]
    rows: list[dict[str, Any]]
    after: dict[str, dict[str, Any]]
    records: dict[str, list[dict[str, Any]]]


def database_for(server: str, folder: Path) -> Database:
    """A new schema."""
    return Database(server, f"test_{uuid4().hex}", folder)


@pytest.fixture(scope="module", params=["records", "parquet", "jsonl"])
def loaded(postgres: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Loaded:
    """Two runs, with three days in between."""
    folder, form = tmp_path_factory.mktemp("postgres"), request.param
    database = database_for(postgres, folder)
    volumes = {stream: Within(rows, START, END) for stream, rows in {"*": 0, **STREAMS}.items()}
    with Sandbox(rows=volumes, clock=NOW, faults=["no-rate-limit"]) as sandbox:
        # Few windows: ten requests take a second.
        records = settings_for(sandbox, **DATES, show_concatenated=True, max_concurrent_requests=1)
        settings = records if form == "records" else {**records, **batch(folder / "files", form)}
        first, before = run_tap(settings, STREAMS), truth(sandbox)
        database.load(first)
        stored = database.rows("sms")
        sandbox.clock.advance(days=3)
        database.load(run_tap({**settings, "fetch_mode": "async"}, STREAMS, first.state))
        return Loaded(database, form, before, stored, truth(sandbox), run_tap(records, STREAMS).records)


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


def kind_of(spec: dict[str, Any]) -> str:
    """The kind of a field's values: its format, or else its type."""
    (kind,) = {spec["type"]} if isinstance(spec["type"], str) else set(spec["type"]) - {"null"}
    return str(spec.get("format", kind))


def as_recorded(row: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A row of a table as its RECORD message, but for objects that are text: those are objects."""
    record = dict(row)
    for name, spec in schema["properties"].items():
        if isinstance(row[name], datetime):
            record[name] = row[name].replace(tzinfo=timezone.utc).isoformat()
        if kind_of(spec) == "object" and isinstance(row[name], str):
            record[name] = json.loads(row[name], parse_float=Decimal)
    return record


@pytest.mark.promise("A row may be emitted again, and the key id makes it one row in any target that upserts.")
def test_a_second_run_changes_rows_and_doubles_none(loaded: Loaded) -> None:
    assert loaded.after != loaded.before, "no status has changed"
    assert_equal(loaded.rows, loaded.before)
    assert_equal(loaded.database.rows("sms"), loaded.after)


@pytest.mark.parametrize("stream", STREAMS)
def test_a_column_has_the_type_of_its_values(loaded: Loaded, stream: str) -> None:
    # Parquet has no type for objects: they are JSON in a text there, and so in the table.
    types = {**COLUMNS, "object": "text"} if loaded.form == "parquet" else COLUMNS
    columns = loaded.database.columns(stream)
    assert {column["column_name"]: column["data_type"] for column in columns} == {
        name: types[kind_of(spec)] for name, spec in PRODUCTS[stream].schema["properties"].items()
    }
    precisions = {column["numeric_precision"] for column in columns if column["data_type"] == "numeric"}
    assert precisions == {None}, "a price may be cut"


@pytest.mark.parametrize("stream", STREAMS)
def test_a_table_has_what_the_records_have_in_whatever_form_they_came(loaded: Loaded, stream: str) -> None:
    rows = loaded.database.rows(stream)
    assert rows
    assert {row["id"]: as_recorded(row, PRODUCTS[stream].schema) for row in rows} == {
        record["id"]: record for record in loaded.records[stream]
    }


def test_text_forms_are_exact_decimals_and_texts_that_records_and_files_can_share(
    postgres: str, make_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    database, streams = database_for(postgres, tmp_path), ("sms", "reports_usage")
    sandbox = make_sandbox(rows=dict.fromkeys(streams, Within(20, START, END)))
    sandbox.faults.on("nul-in-text", products=["reports_usage"])
    settings = settings_for(sandbox, **DATES, max_concurrent_requests=1)
    texts = {**settings, "decimals": "text", "objects": "text", "batch_layout": "stream/date"}
    records = run_tap(settings, streams).records
    for files in ({}, batch(tmp_path / "files", "parquet")):
        database.load(run_tap({**texts, **files}, streams))
        for stream in streams:
            rows = [as_recorded(row, PRODUCTS[stream].schema) for row in database.rows(stream)]
            assert {row["id"]: row for row in rows} == {record["id"]: record for record in records[stream]}
            assert len(rows) == len(records[stream])
    columns = {column["column_name"]: column for column in database.columns("sms")}
    price = columns["total_price"]
    assert (price["data_type"], price["numeric_precision"], price["numeric_scale"]) == ("numeric", 38, 18)
    assert columns["_extra"]["data_type"] == "text"
    assert {row["_extra"] for row in database.rows("sms")} == {None}


def test_a_null_object_is_the_null_of_json(loaded: Loaded) -> None:
    every, filled = (loaded.database.count("sms", condition) for condition in ("true", "_extra is not null"))
    objects = "_extra is not null" if loaded.form == "parquet" else "jsonb_typeof(_extra) = 'object'"
    assert loaded.database.count("sms", objects) == 0
    assert filled == (0 if loaded.form == "parquet" else every), "change docs/loaders.md"


def test_the_streams_here_have_values_of_every_kind(loaded: Loaded) -> None:
    filled = {
        kind_of(PRODUCTS[stream].schema["properties"][name])
        for stream in STREAMS
        for row in loaded.database.rows(stream)
        for name, value in row.items()
        if value is not None
    }
    assert filled == set(COLUMNS)


def test_files_of_any_width_of_values_are_read_together(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, postgres: str
) -> None:
    database = database_for(postgres, tmp_path)
    prices = ["1", "0.0333", "12345678901234567890.123456789012345678", "-0.000000000000000001", ""]
    sandbox = make_sandbox(rows={"sms": 0})
    messages = run_tap(settings_for(sandbox, **DATES, **batch(tmp_path, "parquet")), ["sms"]).lines
    for price in prices:
        messages.append(_batch_of_one(tmp_path, price))
    database.load(Output(messages))
    rows = database.rows("sms")
    assert {row["id"]: row["total_price"] for row in rows} == {
        f"id-{price}": Decimal(price) if price else None for price in prices
    }
    assert {row["client_ref"] for row in rows} == {None}


def _batch_of_one(folder: Path, price: str) -> bytes:
    """A BATCH message with a file of one row, in which all but id, time and price is null."""
    from tap_vonage_reports.output.batch_files import BatchFiles  # noqa: PLC0415
    from tap_vonage_reports.records.parser import RecordParser  # noqa: PLC0415
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


@pytest.mark.parametrize("form", ["records", "parquet", "jsonl"])
def test_odd_characters_stop_no_loading(
    postgres: str, make_sandbox: Callable[..., Sandbox], tmp_path: Path, form: str
) -> None:
    """PostgreSQL has no U+0000 in a text, and no half of a surrogate pair."""
    faults = ["nul-in-text,every=3", "odd-text,every=4", "rows-without-id,every=5"]
    sandbox = make_sandbox(rows={"sms": Within(60, START, END)}, faults=faults)
    database = database_for(postgres, tmp_path)
    settings = settings_for(sandbox, **DATES, lookback_hours=0)
    output = run_tap(settings if form == "records" else {**settings, **batch(tmp_path / "files", form)}, ["sms"])
    assert output.code == 0
    database.load(output)
    expected = run_tap(settings, ["sms"]).records["sms"]
    assert {row["id"] for row in database.rows("sms")} == {row["id"] for row in expected}
    assert any("\N{REPLACEMENT CHARACTER}" in str(row.values()) for row in database.rows("sms"))
