"""Two runs of the tap into PostgreSQL and into a DuckDB file by target-vonage-files: exact, upserted, nothing left."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing
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

from tap_vonage_reports.errors import LoadError
from tap_vonage_reports.load.__main__ import load
from tap_vonage_reports.load.settings import Settings
from tap_vonage_reports.output import batch_files
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox import Sandbox, Within
from tests import target_postgres
from tests.conftest import NOW
from tests.harness import run_tap, settings_for
from tests.load.canned import batch_message, message, run_loader, schema_message, write
from tests.test_postgres import COLUMNS, STREAMS, as_recorded, batch, database_for, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


# What a database does with rows, names and files


TRIGGER = """
create function {schema}.discard() returns trigger language plpgsql as 'begin {body} end';
create trigger discard before {event} on {schema}.{table} for each row execute function {schema}.discard();
"""
PARTITIONED = """
create schema {schema};
create table {schema}.sms (id text primary key) partition by range (id);
create table {schema}.sms_0 partition of {schema}.sms default;
"""
DISCARDING = {
    "inserts": ("sms", "insert", "return null;"),
    "some inserts": ("sms", "insert", "if new.id = ''b'' then return null; end if; return new;"),
    "updates": ("sms", "update", "return null;"),
    "inserts into a partition": ("sms_0", "insert", "return null;"),
    "files": ("_vonage_files", "insert", "if new.loaded_at is null then return new; end if; return null;"),
}


def load_rows(folder: Path, rows: Sequence[dict[str, Any]], number: int, **settings: Any) -> list[Any]:
    """Load rows in a file, whose run is told by the number, and return the states that were passed on."""
    path = write(folder / f"sms-20261120T120000000001Z-0000000{number}-00001.parquet", rows)
    return run_loader(schema_message() + batch_message(path) + message("STATE", value=number), **settings)


@pytest.mark.skipif(sys.platform == "win32", reason="the server comes for Linux and macOS only")
@pytest.mark.parametrize("kind", DISCARDING)
def test_rows_that_a_trigger_discards_are_an_error_before_the_state_and_their_file_stays(
    postgres: str, tmp_path: Path, kind: str
) -> None:
    schema = database_for(postgres, tmp_path).schema
    settings: dict[str, Any] = {"url": postgres, "default_target_schema": schema}
    if "partition" in kind:
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(PARTITIONED.format(schema=schema).encode())
    load_rows(tmp_path, [{"id": "a", "status": "old"}], 1, **settings)
    table, event, body = DISCARDING[kind]
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(TRIGGER.format(schema=schema, table=table, event=event, body=body).encode())
    rows = [{"id": "a", "status": "new"}, {"id": "b", "status": "new"}, {"id": "c", "status": "new"}]
    with pytest.raises(LoadError, match=r"[Aa] trigger (or rule )?.*discard"):
        load_rows(tmp_path, rows, 2, **settings)
    assert len(list(tmp_path.glob("*-00000002-00001.parquet"))) == 1
    assert [row["status"] for row in rows_in("postgres", settings, "sms")] == ["old"], "a part of it was loaded"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"drop trigger discard on {schema}.{table}".encode())
    assert load_rows(tmp_path, rows, 2, **settings) == [2]
    assert {row["id"]: row["status"] for row in rows_in("postgres", settings, "sms")} == dict.fromkeys("abc", "new")


@pytest.mark.skipif(sys.platform == "win32", reason="the server comes for Linux and macOS only")
@pytest.mark.parametrize("table", ["sms", "_vonage_files"])
def test_a_rule_that_discards_rows_is_an_error(postgres: str, tmp_path: Path, table: str) -> None:
    schema = database_for(postgres, tmp_path).schema
    settings: dict[str, Any] = {"url": postgres, "default_target_schema": schema}
    load_rows(tmp_path, [{"id": "a", "status": "old"}], 1, **settings)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create rule discard as on insert to {schema}.{table} do instead nothing".encode())
    with pytest.raises(LoadError, match="rule"):
        load_rows(tmp_path, [{"id": "b", "status": "new"}], 2, **settings)
    assert [row["id"] for row in rows_in("postgres", settings, "sms")] == ["a"]


@pytest.mark.skipif(sys.platform == "win32", reason="the server comes for Linux and macOS only")
def test_a_trigger_that_changes_values_is_no_error(postgres: str, tmp_path: Path) -> None:
    schema = database_for(postgres, tmp_path).schema
    settings: dict[str, Any] = {"url": postgres, "default_target_schema": schema}
    load_rows(tmp_path, [], 1, **settings)
    body = "new.status := upper(new.status); return new;"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(TRIGGER.format(schema=schema, table="sms", event="insert or update", body=body).encode())
    for number, status in ((2, "new"), (3, "delivered")):
        load_rows(tmp_path, [{"id": "a", "status": status}], number, **settings)
        assert [row["status"] for row in rows_in("postgres", settings, "sms")] == [status.upper()]


@pytest.mark.parametrize("kind", [POSTGRES, "duckdb"])
@pytest.mark.parametrize("columns", ["{id} varchar, {status} varchar", "{id} varchar, {_extra} json"])
def test_names_in_another_case_are_used_or_left_alone_as_the_database_takes_names(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, columns: str
) -> None:
    """DuckDB takes names in any case for the same. In PostgreSQL, a name in another case is another name."""
    names = {name: f'"{name.upper()}"' for name in ("id", "status", "_extra")}
    schema = database_for(request.getfixturevalue("postgres"), tmp_path).schema if kind == "postgres" else "vonage"
    statements = [
        f'create schema "{schema.title()}"',
        f'create table "{schema.title()}"."SMS" ({columns.format(**names)})',
    ]
    settings: dict[str, Any] = {"default_target_schema": schema}
    if kind == "postgres":
        settings["url"] = request.getfixturevalue("postgres")
        with psycopg.connect(settings["url"], autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())
    else:
        settings["duckdb_path"] = str(tmp_path / "x.duckdb")
        with duckdb.connect(settings["duckdb_path"]) as file:
            for statement in statements:
                file.execute(statement)
    for number, status in ((1, "new"), (2, "delivered")):
        load_rows(tmp_path, [{"id": "a", "status": status, "_extra": '{"x":"1"}'}], number, **settings)
    rows = [{name.lower(): value for name, value in row.items()} for row in rows_in(kind, settings, "sms")]
    assert [(row["id"], row["status"], row["_extra"]) for row in rows] in (
        [("a", "delivered", '{"x":"1"}')],
        [("a", "delivered", {"x": "1"})],
    )


def zero_bytes(path: Path) -> None:
    path.touch()


def not_a_database(path: Path) -> None:
    path.write_text("id,status\n" * 1000)


def sqlite_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("create table x (a)")
        database.commit()


def damaged(path: Path) -> None:
    with duckdb.connect(str(path)) as file:
        file.execute("create table x as select range from range(100000)")
    content = bytearray(path.read_bytes())
    content[4096:12288] = bytes(8192)
    path.write_bytes(content)


def of_a_newer_duckdb(path: Path) -> None:
    with duckdb.connect(str(path)) as file:
        file.execute("create table x (a int)")
    content = bytearray(path.read_bytes())
    content[12:20] = (9_999).to_bytes(8, "little")
    content[:8] = checksum(bytes(content[8:4096])).to_bytes(8, "little")
    path.write_bytes(content)


def checksum(block: bytes) -> int:
    """Return the checksum with which DuckDB begins a block."""
    found = 5381
    for (word,) in struct.iter_unpack("<Q", block):
        found ^= word * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    return found


def write_protected(path: Path) -> None:
    duckdb.connect(str(path)).close()
    path.chmod(0o400)


IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (zero_bytes, "it is empty, so it is not a DuckDB file. Remove it"),
        (Path.mkdir, "it is a folder"),
        (not_a_database, "it is not a DuckDB file"),
        (sqlite_database, "it is not a DuckDB file"),
        (damaged, "it is damaged"),
        (of_a_newer_duckdb, "newer version of DuckDB"),
        pytest.param(
            write_protected, "it is not writable", marks=pytest.mark.skipif(IS_ROOT, reason="root may write anything")
        ),
    ],
)
def test_a_file_that_is_no_duckdb_file_is_explained_and_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "x.duckdb"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(LoadError, match=words):
        load_rows(tmp_path, [{"id": "a"}], 1, duckdb_path=str(path))
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_path_below_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LoadError, match="check that its folder exists and is writable"):
        load_rows(tmp_path, [{"id": "a"}], 1, duckdb_path=str(tmp_path / "file" / "x.duckdb"))


def test_a_duckdb_file_that_another_process_has_open_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"
    script = f"import duckdb, sys; file = duckdb.connect({str(path)!r}); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(LoadError, match="another process has it open"):
            load_rows(tmp_path, [{"id": "a"}], 1, duckdb_path=str(path))
        process.kill()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("create view vonage.sms as select 'a' as id", "such as a view"),
        ("create table vonage.sms (id varchar, mine varchar not null)", "Remove the constraint"),
        ("create table vonage.sms (id varchar, status varchar check (status = 'x'))", "Remove the constraint"),
        ("create table vonage._vonage_files (id varchar)", "other things than tables of this loader"),
    ],
)
def test_what_duckdb_refuses_is_explained_with_what_to_do(tmp_path: Path, statement: str, words: str) -> None:
    path = tmp_path / "x.duckdb"
    with duckdb.connect(str(path)) as file:
        file.execute("create schema vonage")
        file.execute(statement)
    with pytest.raises(LoadError, match=words):
        load_rows(tmp_path, [{"id": "a", "status": "new"}], 1, duckdb_path=str(path))


@pytest.mark.parametrize("mode", ["hash", "drop"])
def test_what_a_run_left_before_personal_data_was_changed_is_read_again_and_enters_no_table(
    make_sandbox: Callable[..., Sandbox],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    sandbox = make_sandbox(rows={"*": 0, "sms": Within(60, START, END)}, faults=["extra-columns"])
    settings = settings_for(sandbox, **DATES)
    files, database = batch(tmp_path / "files", "parquet"), {"duckdb_path": str(tmp_path / "x.duckdb")}
    lines = run_tap({**settings, **files}, ["sms"]).lines
    before = [line for line in lines if json.loads(line)["type"] != "STATE"]
    with pytest.raises(LoadError, match="not a Singer message"):
        run_loader(b"\n".join([*before, b"and no more"]), **database)
    left = {*(tmp_path / "files").rglob("*.parquet")}
    monkeypatch.setattr(batch_files, "RUN", "feedbeef")  # as another process would have it
    hidden = {**settings, "personal_data": mode, "personal_data_salt": "salt of the tests"}
    run_loader(b"\n".join(run_tap({**hidden, **files}, ["sms"]).lines), **database)
    records = {record["id"]: record for record in run_tap(hidden, ["sms"]).records["sms"]}
    rows = rows_in("duckdb", database, "sms")
    schema = {"properties": {name: PRODUCTS["sms"].schema["properties"][name] for name in rows[0]}}
    assert len(rows) == len(records) > 0
    assert {row["id"]: as_recorded(row, schema) for row in rows} == records
    assert "kept, and not loaded: It was written with another personal_data" in caplog.text
    assert {*(tmp_path / "files").rglob("*.parquet")} == left
