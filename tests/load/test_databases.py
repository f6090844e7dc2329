"""Two runs of the tap into PostgreSQL and into a DuckDB file by target-vonage-files: exact, upserted, nothing left."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from tap_vonage_reports.load.__main__ import load
from tap_vonage_reports.load.settings import Settings
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox import Sandbox, Within
from tests import target_postgres
from tests.conftest import NOW
from tests.harness import run_tap, settings_for
from tests.test_postgres import COLUMNS, STREAMS, as_recorded, batch, database_for, kind_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.harness import Output
    from tests.test_postgres import Database

START, END = datetime(2026, 11, 18, tzinfo=timezone.utc), datetime(2026, 11, 20, tzinfo=timezone.utc)
DATES = {"start_date": START.isoformat(), "end_date": END.isoformat()}
TYPES = {
    "postgres": COLUMNS,
    "duckdb": {
        "string": "VARCHAR",
        "date-time": "TIMESTAMP",
        "number": "DECIMAL(38,18)",
        "integer": "BIGINT",
        "boolean": "BOOLEAN",
        "object": "JSON",
    },
}
POSTGRES = pytest.param(
    "postgres", marks=pytest.mark.skipif(sys.platform == "win32", reason="the server comes for Linux and macOS only")
)


@dataclass(frozen=True)
class Runs:
    """Two runs of the tap, of which the second found rows that had changed.

    Attributes:
        files: What the two runs wrote, as messages with Parquet files.
        records: The RECORD messages that a run gives after each of them, by stream.
    """

    files: tuple[Output, Output]
    records: tuple[dict[str, list[dict[str, Any]]], dict[str, list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("files")
    volumes = {stream: Within(rows, START, END) for stream, rows in {"*": 0, **STREAMS}.items()}
    faults = ["no-rate-limit", "extra-columns"]
    with Sandbox(rows=volumes, clock=NOW, faults=faults) as sandbox:
        records = settings_for(sandbox, **DATES, show_concatenated=True, max_concurrent_requests=1)
        settings = {**records, **batch(folder, "parquet")}
        first, before = run_tap(settings, STREAMS), run_tap(records, STREAMS).records
        sandbox.clock.advance(days=3)
        second = run_tap({**settings, "fetch_mode": "async"}, STREAMS, first.state)
        return Runs((first, second), (before, run_tap(records, STREAMS).records))


def pipe(lines: Sequence[bytes], settings: dict[str, Any], folder: Path) -> list[Any]:
    """Give messages to the loader, with copies of their files.

    Returns:
        The states that it passed on.
    """
    states: list[Any] = []
    copied = []
    for line in lines:
        message = json.loads(line)
        if message["type"] == "BATCH":
            for number, address in enumerate(message["manifest"]):
                path = folder / address.rpartition("/")[2]
                path.write_bytes(Path(address.removeprefix("file://")).read_bytes())
                message["manifest"][number] = f"file://{path}"
        copied.append(json.dumps(message).encode() + b"\n")
    load(Settings(**settings), io.BytesIO(b"".join(copied)), lambda value: states.append(json.loads(value)))
    return states


@dataclass(frozen=True)
class Loaded:
    """What the loader has made of two runs."""

    kind: str
    settings: dict[str, Any]
    database: Database
    states: tuple[list[Any], list[Any]]
    before: list[dict[str, Any]]
    files_left: list[Path]

    def rows(self, table: str) -> list[dict[str, Any]]:
        return rows_in(self.kind, self.settings, table)

    def batched_at(self, table: str) -> dict[str, datetime]:
        """When each row was written, by id."""
        query = f"select id, _sdc_batched_at from {self.settings.get('default_target_schema', 'vonage')}.{table}"  # noqa: S608 - from a test
        if self.kind == "postgres":
            with psycopg.connect(self.settings["url"]) as connection:
                return dict(connection.execute(query.encode()).fetchall())
        with duckdb.connect(self.settings["duckdb_path"], read_only=True) as file:
            return dict(file.execute(query).fetchall())

    def columns(self, table: str) -> list[tuple[str, str]]:
        if self.kind == "postgres":
            with psycopg.connect(self.settings["url"]) as connection:
                query = "select column_name, data_type from information_schema.columns where table_schema = %s "
                query += "and table_name = %s order by ordinal_position"
                return connection.execute(query.encode(), [self.database.schema, table]).fetchall()
        with duckdb.connect(self.settings["duckdb_path"], read_only=True) as file:
            return [row[:2] for row in file.execute(f"describe vonage.{table}").fetchall()]


def rows_in(kind: str, settings: dict[str, Any], table: str) -> list[dict[str, Any]]:
    """Return the rows of a table, with its objects as objects, and without the loader's columns."""
    loads = partial(json.loads, parse_float=Decimal)
    if kind == "postgres":
        name = sql.Identifier(settings["default_target_schema"], table)
        with psycopg.connect(settings["url"]) as connection, connection.cursor(row_factory=dict_row) as cursor:
            set_json_loads(loads, cursor)
            rows = cursor.execute(sql.SQL("select * from {}").format(name)).fetchall()
    else:
        with duckdb.connect(settings["duckdb_path"], read_only=True) as file:
            found = file.execute(f"select * from vonage.{table}")  # noqa: S608 - from a test
            names = [column[0] for column in found.description or []]
            rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    return [{name: value for name, value in row.items() if not name.startswith("_sdc_")} for row in rows]


@pytest.fixture(scope="module", params=[POSTGRES, "duckdb"])
def loaded(runs: Runs, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Loaded:
    folder, kind = tmp_path_factory.mktemp("loaded"), request.param
    server = request.getfixturevalue("postgres") if kind == "postgres" else ""
    database = database_for(server, folder)
    settings = {
        "postgres": {"url": server, "default_target_schema": database.schema},
        "duckdb": {"duckdb_path": str(folder / "x.duckdb")},
    }[kind]
    first = pipe(runs.files[0].lines, settings, folder)
    before = rows_in(kind, settings, "sms")
    second = pipe(runs.files[1].lines, settings, folder)
    return Loaded(kind, settings, database, (first, second), before, list(folder.rglob("*.parquet")))


@pytest.mark.promise("A row may be emitted again, and the key id makes it one row in any target that upserts.")
@pytest.mark.parametrize("stream", STREAMS)
def test_the_table_is_what_the_records_are_to_the_last_digit(loaded: Loaded, runs: Runs, stream: str) -> None:
    rows = loaded.rows(stream)
    records = {record["id"]: record for record in runs.records[1][stream]}
    assert len(rows) == len(records)
    assert {row["id"]: as_recorded(row, PRODUCTS[stream].schema) for row in rows} == records
    assert any(row["_extra"] for row in rows)


def test_a_second_run_replaces_rows_that_have_changed(loaded: Loaded, runs: Runs) -> None:
    before = {record["id"]: record for record in runs.records[0]["sms"]}
    assert {row["id"]: as_recorded(row, PRODUCTS["sms"].schema) for row in loaded.before} == before
    assert before != {record["id"]: record for record in runs.records[1]["sms"]}


def test_every_state_is_passed_on_as_it_came_and_no_file_is_left(loaded: Loaded, runs: Runs) -> None:
    assert loaded.states == tuple(output.states for output in runs.files)
    assert loaded.files_left == []


def test_a_row_that_has_not_changed_is_not_written_again(loaded: Loaded, runs: Runs) -> None:
    before, after = ({record["id"]: record for record in records["sms"]} for records in runs.records)
    same = {key for key, record in after.items() if before.get(key) == record}
    assert 0 < len(same) < len(after)
    times = loaded.batched_at("sms")
    assert max(times[key] for key in same) < min(times[key] for key in after.keys() - same)


@pytest.mark.parametrize("stream", STREAMS)
def test_a_column_has_the_type_of_its_values(loaded: Loaded, stream: str) -> None:
    properties = PRODUCTS[stream].schema["properties"]
    columns = [(name, kind) for name, kind in loaded.columns(stream) if not name.startswith("_sdc_")]
    assert columns == [(name, TYPES[loaded.kind][kind_of(spec)]) for name, spec in properties.items()]


@pytest.mark.skipif(sys.platform == "win32", reason="the server comes for Linux and macOS only")
@pytest.mark.parametrize("earlier", ["target-postgres", "target-vonage-files"])
def test_one_can_change_over_from_target_postgres_and_back(
    runs: Runs, postgres: str, tmp_path: Path, earlier: str
) -> None:
    """Records by target-postgres, and files by this loader, into the same tables in both orders."""
    database = database_for(postgres, tmp_path)
    settings = {"default_target_schema": database.schema}
    for number, mine in enumerate([earlier == "target-vonage-files", earlier != "target-vonage-files"]):
        if mine:
            pipe(runs.files[number].lines, {**settings, "url": postgres}, tmp_path)
        else:
            schemas = [line for line in runs.files[0].lines if b'"type":"SCHEMA"' in line]
            lines = [as_schema_of_records(line) for line in schemas] + [
                json.dumps({"type": "RECORD", "stream": stream, "record": record}, default=float).encode()
                for stream in STREAMS
                for record in runs.records[number][stream]
            ]
            target_postgres.load(postgres, tmp_path, lines, load_method="upsert", **settings)
        columns = {(column["column_name"], column["data_type"]) for column in database.columns("sms")}
        assert {kind for _, kind in columns} == {COLUMNS[kind] for kind in COLUMNS if kind != "object"} | {"jsonb"}
        expected = {record["id"]: record["status"] for record in runs.records[number]["sms"]}
        assert {row["id"]: row["status"] for row in database.rows("sms")} == expected


def as_schema_of_records(line: bytes) -> bytes:
    message = json.loads(line)
    for name in message["schema"]["properties"].keys() & {"_extra", "request_params"}:
        message["schema"]["properties"][name]["type"] = ["object", "null"]
    return json.dumps(message).encode()
