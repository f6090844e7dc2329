"""What the loader takes and refuses: messages, files, columns, settings."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import duckdb
import fsspec
import psycopg
import pyarrow as pa
import pytest
from fsspec.implementations.local import LocalFileSystem

from tap_vonage_reports.errors import LoadError, SettingsError
from tap_vonage_reports.load import __main__ as program
from tap_vonage_reports.load.early import HELD, EarlyInput, mark
from tap_vonage_reports.load.files import FileStore
from tap_vonage_reports.load.messages import read_messages
from tap_vonage_reports.load.postgres import Postgres
from tap_vonage_reports.load.settings import SETTINGS, Settings, about, read_settings
from tap_vonage_reports.load.workspace import workspace
from tests.load.canned import NOON, SCHEMA, TYPES, batch_message, message, rows_of, run_loader, schema_message, write
from tests.test_meltano import PLUGINS
from tests.test_postgres import database_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROW = {"id": "a", "date_received": NOON, "total_price": Decimal("0.10"), "status": "new", "_extra": '{"x":"1"}'}
RUN = "20261120T120000000001Z-0123abcd"


def load(folder: Path, *rows: dict[str, Any], number: int = 1, name: str = "x.duckdb") -> Path:
    """Load rows in one file, and return the DuckDB file."""
    path = write(folder / f"sms-{RUN}-{number:05}.parquet", rows)
    run_loader(schema_message() + batch_message(path) + message("STATE", value=1), duckdb_path=str(folder / name))
    return folder / name


def test_of_several_rows_with_an_id_the_last_one_of_the_last_file_counts(tmp_path: Path) -> None:
    files = [
        write(tmp_path / name, [{**ROW, "status": f"{name} {number}"} for number in range(2)])
        for name in ("z.parquet", "a.parquet")
    ]
    run_loader(schema_message() + batch_message(*files), duckdb_path=str(tmp_path / "x.duckdb"))
    (row,) = rows_of(tmp_path / "x.duckdb")
    assert row["status"] == "a.parquet 1"


def test_a_path_may_hold_any_character(tmp_path: Path) -> None:
    path = write(tmp_path / "day=1 [x]*'%20" / "a'b?.parquet", [ROW])
    database = tmp_path / "new" / "it's.duckdb"
    run_loader(schema_message() + batch_message(path), duckdb_path=str(database))
    assert [row["id"] for row in rows_of(database)] == ["a"]
    assert not path.exists()


def test_every_digit_and_null_arrives(tmp_path: Path) -> None:
    prices = ["12345678901234567890.123456789012345678", "-0.000000000000000001", "100", "0", None]
    rows = [{"id": str(number), "total_price": price and Decimal(price)} for number, price in enumerate(prices)]
    found = rows_of(load(tmp_path, *rows))
    assert [row["total_price"] for row in found] == [price and Decimal(price) for price in prices]
    assert {row["_extra"] for row in found} == {None}


@pytest.mark.skipif(sys.platform == "win32", reason="the server comes for Linux and macOS only")
def test_every_digit_text_and_null_arrives_in_postgres(tmp_path: Path, postgres: str) -> None:
    schema = database_for(postgres, tmp_path).schema
    prices = ["12345678901234567890.123456789012345678", "-0.000000000000000001", "100", "0", "0.10", None]
    texts = ["", 'a "quoted", text\nof two lines\r\n', "\\.", "NULL", "\N{WHITE SMILING FACE}", None]
    rows = [
        {"id": str(number), "total_price": price and Decimal(price), "status": text}
        for number, (price, text) in enumerate(zip(prices, texts, strict=True))
    ]
    for number in (1, 2):  # straight into a new table, and by upsert
        path = write(
            tmp_path / f"sms-{RUN}-{number:05}.parquet", [{**row, "id": f"{number}{row['id']}"} for row in rows]
        )
        run_loader(schema_message() + batch_message(path), url=postgres, default_target_schema=schema)
    with psycopg.connect(postgres) as connection:
        query = f"select total_price::text, status, _extra from {schema}.sms order by id"  # noqa: S608 - a test's schema
        found = connection.execute(query.encode()).fetchall()
    expected = ["12345678901234567890.123456789012345678", "-0.000000000000000001", "100", "0", "0.1", None]
    assert found == [(price, text, None) for price, text in zip(expected, texts, strict=True)] * 2


def test_a_new_column_is_added_and_a_missing_one_keeps_its_values(tmp_path: Path) -> None:
    database = load(tmp_path, ROW)
    columns = {name: SCHEMA[name] for name in ("id", "status")} | {"network": {"type": ["string", "null"]}}
    types = {name: pa.string() for name in columns}
    path = write(tmp_path / "new.parquet", [{"id": "a", "status": "delivered", "network": "26201"}], types)
    run_loader(schema_message(columns=columns) + batch_message(path), duckdb_path=str(database))
    (row,) = rows_of(database)
    assert (row["status"], row["network"], row["total_price"]) == ("delivered", "26201", Decimal("0.1"))


NARROW = {
    "smallint": ("latency", 1),
    "numeric(10,2)": ("total_price", Decimal("0.25")),
    "character varying(9)": ("status", "new"),
    "timestamp(0) without time zone": ("date_received", NOON.replace(tzinfo=None)),
}


@pytest.mark.skipif(sys.platform == "win32", reason="the server comes for Linux and macOS only")
def test_narrow_columns_are_widened_and_inexact_ones_refused(tmp_path: Path, postgres: str) -> None:
    schema = database_for(postgres, tmp_path).schema
    settings = {"url": postgres, "default_target_schema": schema}
    columns = ", ".join(f"{name} {kind}" for kind, (name, _) in NARROW.items())
    exact = Decimal("0.123456789012345678")
    row = {**ROW, "latency": 3_000_000_000, "total_price": exact, "status": "a longer text"}
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(
            f"create schema {schema}; create table {schema}.sms (id text primary key, {columns})".encode()
        )
        connection.execute(
            f"insert into {schema}.sms ({', '.join(name for name, _ in NARROW.values())}, id) "  # noqa: S608
            "values (%s, %s, %s, %s, 'old')".encode(),
            [value for _, value in NARROW.values()],
        )
        run_loader(schema_message() + batch_message(write(tmp_path / "1.parquet", [row])), **settings)
        query = f"select id, total_price, status from {schema}.sms order by id"  # noqa: S608 - a test's schema
        found = connection.execute(query.encode()).fetchall()
        assert found == [("a", exact, "a longer text"), ("old", Decimal("0.25"), "new")]
        connection.execute(f"alter table {schema}.sms alter total_price type double precision".encode())
        path = write(tmp_path / "2.parquet", [row])
        with pytest.raises(LoadError, match=r"total_price .* double precision, which cannot hold decimals"):
            run_loader(schema_message() + batch_message(path), **settings)
    assert path.exists()


def test_a_file_that_is_missing_and_was_not_loaded_is_an_error(tmp_path: Path) -> None:
    states: list[Any] = []
    lines = schema_message() + batch_message(tmp_path / f"sms-{RUN}-00001.parquet") + message("STATE", value=1)
    with pytest.raises(LoadError, match="is missing, and was not loaded before"):
        states = run_loader(lines, duckdb_path=str(tmp_path / "x.duckdb"))
    assert states == []


def test_a_damaged_file_blocks_no_later_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    damaged = tmp_path / f"sms-{RUN}-00001.parquet"
    damaged.write_bytes(b"PAR1 and no more")
    with pytest.raises(LoadError, match="cannot be read"):
        run_loader(schema_message() + batch_message(damaged), duckdb_path=str(tmp_path / "x.duckdb"))
    good = write(tmp_path / "sms-20261120T130000000001Z-0123abce-00001.parquet", [ROW])
    with caplog.at_level(logging.WARNING):
        run_loader(schema_message() + batch_message(good), duckdb_path=str(tmp_path / "x.duckdb"))
    assert "an interrupted run left is kept, and not loaded" in caplog.text
    assert [row["id"] for row in rows_of(tmp_path / "x.duckdb")] == ["a"]
    caplog.clear()
    run_loader(schema_message(), duckdb_path=str(tmp_path / "x.duckdb"))
    assert "interrupted run" not in caplog.text


def test_an_older_row_that_an_interrupted_run_left_replaces_no_newer_one(tmp_path: Path) -> None:
    left = write(tmp_path / f"sms-{RUN}-00001.parquet", [{**ROW, "status": "left"}, {**ROW, "id": "b"}])
    other = write(tmp_path / "sms-20261120T120000000001Z-feedbeef-00001.parquet", [ROW])
    database = load(tmp_path, {**ROW, "status": "newer"}, number=2)
    with duckdb.connect(str(database)) as connection:
        run = "insert into vonage._vonage_files (name, folder) values ('0123abcd', ?)"
        connection.execute(run, [f"file://{tmp_path}"])
    mine = {**ROW, "id": "c"}
    for folder, settings in ((tmp_path / "own", {}), (tmp_path, {"load_leftovers": False})):
        path = write(folder / "sms-20261120T120000000001Z-cafecafe-00001.parquet", [mine])
        run_loader(schema_message() + batch_message(path), duckdb_path=str(database), **settings)
        assert left.exists(), "a pipeline with a folder of its own, or without load_leftovers, has taken it"
    path = write(tmp_path / "sms-20261120T120000000001Z-cafecaff-00001.parquet", [mine])
    run_loader(schema_message() + batch_message(path), duckdb_path=str(database))
    assert {row["id"]: row["status"] for row in rows_of(database)} == {"a": "newer", "b": "new", "c": "new"}
    assert not left.exists()
    assert other.exists(), "a file of another pipeline is gone"


@pytest.mark.skipif(sys.platform == "win32", reason="the server comes for Linux and macOS only")
def test_another_loader_that_is_at_work_is_left_alone(tmp_path: Path, postgres: str) -> None:
    """Two pipelines into the same schema, at the same time, even in the same folder."""
    schema = database_for(postgres, tmp_path).schema
    settings = Settings(url=postgres, default_target_schema=schema)
    mine = write(tmp_path / f"sms-{RUN}-00001.parquet", [ROW])
    other = write(tmp_path / "sms-20261120T120000000002Z-feedbeef-00001.parquet", [{**ROW, "id": "b"}])
    starting = write(tmp_path / "sms-20261120T120000000001Z-cafecafe-00001.parquet", [{**ROW, "id": "c"}])

    def lines() -> Iterator[bytes]:
        yield schema_message()
        yield batch_message(mine)
        # From here on, this loader holds its run. A second one comes and goes, and a third one is starting.
        mark(batch_message(starting), settings.identity)
        run_loader(schema_message() + batch_message(other), url=postgres, default_target_schema=schema)
        assert mine.exists()
        assert starting.exists()
        yield message("STATE", value=1)

    program.load(settings, lines(), lambda _: None)
    with psycopg.connect(postgres) as connection:
        ids = connection.execute(f"select id from {schema}.sms order by id".encode()).fetchall()  # noqa: S608 - a test's
    assert ids == [("a",), ("b",)]
    assert [path.name for path in tmp_path.glob("*.parquet")] == [starting.name]
    os.close(HELD.popitem()[1])  # the third one has ended
    again = write(tmp_path / "sms-20261120T120000000001Z-0123abce-00001.parquet", [ROW])
    run_loader(schema_message() + batch_message(again), url=postgres, default_target_schema=schema)
    with psycopg.connect(postgres) as connection:
        assert connection.execute(f"select count(*) from {schema}.sms".encode()).fetchall() == [(3,)]  # noqa: S608
    assert [path for path in tmp_path.iterdir() if path.is_file()] == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (message("RECORD", stream="sms", record={"id": "a"}), "writes RECORD messages.*batch_config"),
        (message("BATCH", stream="sms", encoding={"format": "jsonl"}, manifest=[]), "other BATCH files than Parquet"),
        (message("BATCH", stream="amd", encoding={"format": "parquet"}, manifest=[]), "before the SCHEMA message"),
        (message("SCHEMA", stream="amd", schema=SCHEMA, key_properties=[]), "has no key"),
        (message("SCHEMA", stream="amd", schema=SCHEMA, key_properties=["other"]), "has no key"),
        (
            schema_message("amd", {"id": {"type": "string"}, "ID": {"type": "string"}}),
            "Two columns of the stream amd differ only in case",
        ),
    ],
)
def test_what_cannot_be_loaded_is_refused_with_advice(tmp_path: Path, line: bytes, words: str) -> None:
    with pytest.raises(LoadError, match=words):
        run_loader(schema_message() + line, duckdb_path=str(tmp_path / "x.duckdb"))


DEEP = b"[" * 100_000 + b"]" * 100_000
NO_MESSAGES = [
    *(b"hello", b"{", b"[]", b"5", b"null", b'""', b"{}", b"\xff\xfe", b'{"type": 5}', b'{"type": null}', DEEP),
    *(b'{"type": "SECRET-447700900123"}', b'{"type": ["SCHEMA"]}', b'{"type": "STATE", ', b'{"type": "state"}'),
    b'{"type": "STATE", "value": %b}' % DEEP,
    b'{"type": "SCHEMA", "stream": "sms", "schema": {"properties": {"a": {"properties": %b}}}}' % DEEP,
]
VALID: dict[str, dict[str, Any]] = {
    "SCHEMA": {"stream": "sms", "schema": {"properties": SCHEMA}, "key_properties": ["id"]},
    "BATCH": {"stream": "sms", "encoding": {"format": "parquet"}, "manifest": []},
    "STATE": {"value": {"a": 1}},
}
ODD = [None, 447700900123, True, "447700900123 SECRET\0", ["SECRET"], [["SECRET"]], {"SECRET": "SECRET"}]
ODD_COLUMNS = [5, "SECRET", ["SECRET"], None, {"type": 5}, {"type": {"SECRET": 1}}, {"type": [["SECRET"]]}]


def fits(kind: str, name: str, value: object) -> bool:
    """Return True if a member may have one of the odd values."""
    if name == "value":
        return value is not None
    if name in ("manifest", "key_properties"):
        return value == ["SECRET"]
    return (kind, name) == ("SCHEMA", "schema") and isinstance(value, dict)


def odd_messages() -> Iterator[tuple[str, bytes]]:
    """Yield messages that lack a member, or have an odd one, with their types."""
    for kind, members in VALID.items():
        for name in members:
            if name != "key_properties":
                yield kind, message(kind, **{key: value for key, value in members.items() if key != name})
            yield from (
                (kind, message(kind, **{**members, name: value})) for value in ODD if not fits(kind, name, value)
            )
    for column in ODD_COLUMNS:
        yield "SCHEMA", schema_message(columns={**SCHEMA, "x": column})
    for name in ("", "a b", "x" * 64, "\0", 'quoted"', "é"):
        yield "SCHEMA", schema_message(columns={**SCHEMA, name: {"type": "string"}})
        yield "SCHEMA", schema_message(stream=name)
    for value in ODD:
        yield "BATCH", message("BATCH", stream="sms", encoding={"format": "parquet"}, manifest=[value])
        if not isinstance(value, str):
            yield "BATCH", message("BATCH", stream="sms", encoding={"format": value}, manifest=[])


@pytest.mark.parametrize("line", NO_MESSAGES, ids=lambda line: repr(line[:40]))
def test_a_line_that_is_no_message_is_an_error_about_that_line(line: bytes) -> None:
    with pytest.raises(LoadError, match=r"^Line 2 of the input is not a Singer message") as error:
        list(read_messages([schema_message(), line]))
    assert "SECRET" not in str(error.value)
    assert "4477" not in str(error.value)


@pytest.mark.parametrize(("kind", "line"), list(odd_messages()), ids=lambda value: repr(value)[:90])
def test_a_message_that_lacks_a_member_or_has_an_odd_one_is_an_error_about_its_line(kind: str, line: bytes) -> None:
    with pytest.raises(LoadError, match=f"^Line 3 of the input is a {kind} message that cannot be used: ") as error:
        list(read_messages([b"\n", schema_message(), line]))
    assert "SECRET" not in str(error.value)
    assert "4477" not in str(error.value)


def test_members_that_the_loader_does_not_use_may_be_anything() -> None:
    lines = [message(kind, **members, more=value) for kind, members in VALID.items() for value in ODD]
    lines += [message(kind, stream=value, record=value) for kind in ("RECORD", "ACTIVATE_VERSION") for value in ODD]
    assert len(list(read_messages(lines))) == len(lines)


def test_an_odd_message_stops_the_loader_before_anything_after_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / f"sms-{RUN}-00001.parquet", [ROW])
    source, config = tmp_path / "messages", tmp_path / "config.json"
    source.write_bytes(schema_message() + message("STATE") + batch_message(path))
    config.write_text(json.dumps({"duckdb_path": str(tmp_path / "x.duckdb")}))
    assert program.run(["--config", str(config), "--input", str(source)]) == 1
    assert "Line 2 of the input is a STATE message" in caplog.text
    assert "bug" not in caplog.text
    assert path.exists()


def test_a_stream_without_rows_has_an_empty_table(tmp_path: Path) -> None:
    lines = schema_message() + message("ACTIVATE_VERSION", stream="sms", version=1) + message("STATE", value={"a": 1})
    assert run_loader(lines, duckdb_path=str(tmp_path / "x.duckdb")) == [{"a": 1}]
    assert rows_of(tmp_path / "x.duckdb") == []


def test_a_file_with_other_columns_than_its_schema_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [{**ROW, "total_price": 0.1}], {**TYPES, "total_price": pa.float64()})
    with pytest.raises(LoadError, match="does not have the columns"):
        run_loader(schema_message() + batch_message(path), duckdb_path=str(tmp_path / "x.duckdb"))
    assert path.exists()


def test_an_older_duckdb_can_read_the_file(tmp_path: Path) -> None:
    database = load(tmp_path, ROW)
    with duckdb.connect() as connection:
        connection.execute(f"attach '{database}' as other (read_only)")
        tags = connection.execute("select tags from duckdb_databases() where database_name = 'other'").fetchone()
    assert tags
    assert str(tags[0]["storage_version"]).startswith("v1.0.0")


# Settings


def test_meltano_offers_every_setting_as_the_loader_describes_it() -> None:
    offered = {setting["name"]: setting for setting in PLUGINS["target-vonage-files"]["settings"]}
    described = about()["properties"]
    assert list(offered) == list(SETTINGS) == list(described)
    for name, spec in described.items():
        assert offered[name]["label"] == spec["title"]
        assert offered[name]["description"] == spec["description"]
        assert offered[name].get("sensitive", False) == spec.get("secret", False)
        assert offered[name].get("value") == (spec["default"] or None)


def test_settings_come_from_files_and_from_the_environment(tmp_path: Path) -> None:
    files = [tmp_path / "1.json", tmp_path / "2.json"]
    files[0].write_text(json.dumps({"host": "a", "port": 1, "password": None, "storage_params": {"a": 1}}))
    files[1].write_text(json.dumps({"port": "5433", "add_record_metadata": "false"}))
    environment = {"TARGET_VONAGE_FILES_USER": "me", "TARGET_VONAGE_FILES_LOGLEVEL": "debug", "OTHER": "x"}
    settings = read_settings([*map(str, files), "ENV"], environment)
    assert settings.server == ("", {"host": "a", "port": 5433, "user": "me"})
    assert not settings.add_record_metadata


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "No destination is set"),
        ({"duckdb_path": "x", "host": "y"}, "Both duckdb_path and host are set"),
        ({"duckdb_path": "x", "databse": "y"}, "There is no setting databse"),
        ({"host": "x", "port": "http"}, "The setting port has the wrong type"),
        ({"url": "mysql://me:hidden-word@x"}, "begins with postgresql://"),
    ],
)
def test_wrong_settings_are_named_and_never_shown(tmp_path: Path, values: dict[str, Any], words: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(values))
    with pytest.raises(SettingsError, match=words) as error:
        read_settings([str(file)], {})
    assert "hidden-word" not in str(error.value)


@pytest.mark.skipif(sys.platform == "win32", reason="the server comes for Linux and macOS only")
def test_a_server_that_cannot_be_used_is_explained_without_the_password(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"host": "127.0.0.1", "port": 1, "user": "me", "password": "hidden-word"}))
    assert program.run(["--config", str(config), "--input", os.devnull]) == 1
    assert "nothing listens there. Check the settings host and port" in caplog.text
    assert "hidden-word" not in caplog.text + capsys.readouterr().err


@pytest.mark.parametrize("words", [["--version"], ["--about"], ["--about", "--format", "json"], ["--help"]])
def test_the_command_tells_about_itself(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert program.run(words) == 0
    assert "vonage-files" in capsys.readouterr().out


def test_an_odd_argument_is_an_error_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    assert program.run(["--confg", "x"]) == 1
    assert "--confg" in caplog.text


def test_files_of_any_storage_are_loaded_and_removed(tmp_path: Path, memory: Callable[[Path], str]) -> None:
    address = memory(write(tmp_path / f"sms-{RUN}-00001.parquet", [ROW]))
    batch = message("BATCH", stream="sms", encoding={"format": "parquet"}, manifest=[address])
    run_loader(schema_message() + batch, duckdb_path=str(tmp_path / "x.duckdb"))
    assert [row["id"] for row in rows_of(tmp_path / "x.duckdb")] == ["a"]
    with pytest.raises(FileNotFoundError):
        memory(Path(address))


@pytest.mark.skipif(sys.platform == "win32", reason="it has no locks that end with a process")
def test_a_remote_file_of_a_loader_that_was_killed_while_it_started_is_loaded_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    storage, settings = fsspec.filesystem("memory"), Settings(duckdb_path=str(tmp_path / "x.duckdb"))
    batches = []
    for run, key in (("0123abcd", "a"), ("feedbeef", "b")):
        path = write(tmp_path / f"sms-20261120T120000000001Z-{run}-00001.parquet", [{**ROW, "id": key}])
        storage.pipe_file(f"/started/sms/{path.name}", path.read_bytes())
        manifest = [f"memory:///started/sms/{path.name}"]
        batches.append(message("BATCH", stream="sms", encoding={"format": "parquet"}, manifest=manifest))
    mark(batches[0], settings.identity)
    os.close(HELD.popitem()[1])  # it was killed
    run_loader(schema_message() + batches[1] + message("STATE", value=1), duckdb_path=settings.duckdb_path)
    assert [row["id"] for row in rows_of(tmp_path / "x.duckdb")] == ["a", "b"]
    assert storage.find("/started") == []
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_file_that_its_killed_tap_has_removed_meanwhile_is_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(LoadError, match="is missing"):
        load_missing(tmp_path)
    gone = FileStore({}, tmp_path).at(str(tmp_path / f"sms-{RUN}-00002.parquet"))
    monkeypatch.setattr(FileStore, "find", lambda *_: [gone])
    path = write(tmp_path / "sms-20261120T120000000001Z-feedbeef-00001.parquet", [ROW])
    run_loader(schema_message() + batch_message(path), duckdb_path=str(tmp_path / "x.duckdb"))
    assert "WARNING" not in caplog.text


def load_missing(folder: Path) -> None:
    """Load a file that is not there, so that its run does not end."""
    run_loader(
        schema_message() + batch_message(folder / f"sms-{RUN}-00001.parquet"), duckdb_path=str(folder / "x.duckdb")
    )


@pytest.mark.skipif(sys.platform == "win32", reason="it has no locks that end with a process")
def test_temporary_folders_of_killed_loaders_are_removed_and_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    script = (
        "import sys; from tap_vonage_reports.load.workspace import workspace; block = workspace(); "
        "folder = block.__enter__(); (folder / 'copy.parquet').touch(); print(folder, flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(  # noqa: S603 - this Python
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout
        folder = Path(process.stdout.readline().strip())
        with workspace() as own:
            assert {*tmp_path.iterdir()} == {folder, own}
        process.kill()
    assert [*tmp_path.iterdir()] == [folder]
    (tmp_path / "target-vonage-files-link").symlink_to(Path(__file__).parent)
    with workspace() as own:
        assert {*tmp_path.iterdir()} == {tmp_path / "target-vonage-files-link", own}
    assert Path(__file__).exists()


@pytest.fixture
def memory() -> Callable[[Path], str]:
    """Put a file into fsspec's storage in memory, and return its address; or look whether an address is there."""
    import fsspec  # noqa: PLC0415 - needed here alone

    storage = fsspec.filesystem("memory")

    def put(path: Path) -> str:
        if not path.exists():
            storage.info(f"/batches/{path.name}")
        storage.pipe_file(f"/batches/{path.name}", path.read_bytes())
        return f"memory://batches/{path.name}"

    return put


def test_a_loaded_file_that_cannot_be_removed_is_removed_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "rm_file", refuse)
        database = load(tmp_path, ROW)
    assert "Loaded files are still there" in caplog.text
    assert len(list(tmp_path.glob("*.parquet"))) == 1
    path = write(tmp_path / "sms-20261121T120000000001Z-feedbeef-00001.parquet", [{**ROW, "status": "changed"}])
    run_loader(schema_message() + batch_message(path) + message("STATE", value=2), duckdb_path=str(database))
    assert list(tmp_path.glob("*.parquet")) == []
    assert [row["status"] for row in rows_of(database)] == ["changed"]
    with duckdb.connect(str(database), read_only=True) as file:
        assert file.execute("select name from vonage._vonage_files where loaded_at is null").fetchall() == []


def test_messages_that_are_repeated_after_a_kill_replace_rows_that_were_there(tmp_path: Path) -> None:
    for leftovers in (False, True):
        folder = tmp_path / str(leftovers)
        database = load(folder, ROW)
        changed = write(folder / "sms-20261121T120000000001Z-4567abcd-00001.parquet", [{**ROW, "status": "delivered"}])
        settings: dict[str, Any] = {"duckdb_path": str(database), "load_leftovers": leftovers}
        messages = schema_message() + batch_message(changed)
        missing = batch_message(folder / "sms-20261121T120000000001Z-4567abcd-00002.parquet")
        with pytest.raises(LoadError, match="is missing"):  # the first try, whose run is not ended
            run_loader(messages + missing, **settings)
        assert changed.exists()
        assert run_loader(messages + message("STATE", value=2), **settings) == [2]
        assert [row["status"] for row in rows_of(database)] == ["delivered"]
        assert not changed.exists()


def test_a_run_beside_another_one_leaves_its_files_alone(tmp_path: Path) -> None:
    database = load(tmp_path, ROW)
    other = write(tmp_path / "sms-20261121T120000000001Z-4567abcd-00001.parquet", [{**ROW, "status": "delivered"}])
    with pytest.raises(LoadError):
        run_loader(
            schema_message() + batch_message(other) + batch_message(tmp_path / "gone.parquet"),
            duckdb_path=str(database),
        )
    run_loader(schema_message(), duckdb_path=str(database))
    assert other.exists()
    assert [row["status"] for row in rows_of(database)] == ["new"]


@pytest.mark.parametrize("path", [":memory:", "md:warehouse", "postgres:dbname=x", ":memory:x", " :memory:"])
def test_a_database_that_is_no_file_is_refused(path: str) -> None:
    with pytest.raises(SettingsError, match="duckdb_path is not the path of a file"):
        read_settings(["ENV"], {"TARGET_VONAGE_FILES_DUCKDB_PATH": path})


def test_files_of_one_name_in_two_folders_of_a_remote_storage_are_both_loaded(tmp_path: Path) -> None:
    rows = [{**ROW, "id": name} for name in ("a", "b")]
    storage = fsspec.filesystem("memory")
    addresses = []
    for row in rows:
        content = write(tmp_path / "part.parquet", [row]).read_bytes()
        storage.pipe(f"/{row['id']}/part.parquet", content)
        addresses.append(f"memory://{row['id']}/part.parquet")
    batch = message("BATCH", stream="sms", encoding={"format": "parquet"}, manifest=addresses)
    run_loader(schema_message() + batch, duckdb_path=str(tmp_path / "x.duckdb"))
    assert sorted(row["id"] for row in rows_of(tmp_path / "x.duckdb")) == ["a", "b"]


def test_a_file_with_columns_that_were_deselected_after_a_kill_is_loaded_without_them_and_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As with the setting `personal_data`: the file holds what nobody wants to keep any longer."""
    database = tmp_path / "x.duckdb"
    with pytest.raises(LoadError, match="is missing"):
        load_missing(tmp_path)
    left = write(tmp_path / f"sms-{RUN}-00002.parquet", [{**ROW, "id": "left"}])
    columns = {name: SCHEMA[name] for name in ("id", "total_price")}
    types = {name: TYPES[name] for name in columns}
    path = write(tmp_path / "sms-20261120T120000000001Z-feedbeef-00001.parquet", [{"id": "a"}], types)
    run_loader(schema_message(columns=columns) + batch_message(path), duckdb_path=str(database))
    assert rows_of(database) == [{"id": "a", "total_price": None}, {"id": "left", "total_price": Decimal("0.1")}]
    assert not left.exists()
    assert "WARNING" not in caplog.text


def interrupted(folder: Path, row: dict[str, Any], treatment: str = "", **settings: Any) -> Path:
    """Leave a file of a run that was interrupted, and return it."""
    with pytest.raises(LoadError, match="is missing"):
        run_loader(
            schema_message() + batch_message(folder / f"sms-{RUN}-00001.parquet"),
            duckdb_path=str(folder / "x.duckdb"),
            **settings,
        )
    return write(folder / f"sms-{RUN}-00002.parquet", [row], treatment=treatment)


@pytest.mark.parametrize("treatment", ["hash 0123456789abcdef", "drop 0123456789abcdef"])
def test_what_was_left_before_personal_data_was_changed_is_kept_and_not_loaded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, treatment: str
) -> None:
    files = [
        write(tmp_path / f"sms-20261120T120000000001Z-feedbee{number}-00001.parquet", [ROW], treatment=treatment)
        for number in range(2)
    ]
    database = tmp_path / "x.duckdb"
    left = interrupted(tmp_path, {**ROW, "id": "left"}, treatment="keep")
    caplog.clear()
    assert run_loader(schema_message() + batch_message(files[0]) + message("STATE", value=1), duckdb_path=str(database))
    assert [row["id"] for row in rows_of(database)] == ["a"]
    assert left.exists()
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "kept, and not loaded: It was written with another personal_data or personal_data_salt." in warning
    assert warning.endswith(
        "The tap reads its rows again. Remove the file, whose name ends with 0123abcd-00002.parquet."
    )
    caplog.clear()
    run_loader(schema_message() + batch_message(files[1]), duckdb_path=str(database))
    assert "interrupted run" not in caplog.text
    assert not files[1].exists()


def test_what_was_left_waits_until_a_file_shows_how_personal_data_are_treated(tmp_path: Path) -> None:
    """The files that a repeated message names were loaded, and are gone."""
    treatment = "hash 0123456789abcdef"
    path = write(tmp_path / "sms-20261120T120000000001Z-feedbeef-00001.parquet", [ROW], treatment=treatment)
    lines, database = schema_message() + batch_message(path), tmp_path / "x.duckdb"
    run_loader(lines, duckdb_path=str(database))
    left = interrupted(tmp_path, {**ROW, "id": "left"}, treatment=treatment)
    run_loader(lines + message("STATE", value=1), duckdb_path=str(database))
    assert left.exists()
    path = write(tmp_path / "sms-20261120T120000000001Z-feedbee0-00001.parquet", [ROW], treatment=treatment)
    run_loader(schema_message() + batch_message(path) + message("STATE", value=1), duckdb_path=str(database))
    assert [row["id"] for row in rows_of(database)] == ["a", "left"]
    assert not left.exists()


@pytest.mark.parametrize("killed", ["at work", "before it was connected"])
def test_messages_of_an_interrupted_run_replace_no_row_that_a_later_run_has_loaded(tmp_path: Path, killed: str) -> None:
    """Without `load_leftovers`, the files of the interrupted run are still there."""
    database = tmp_path / "x.duckdb"
    settings: dict[str, Any] = {"duckdb_path": str(database), "load_leftovers": False}
    older = write(tmp_path / f"sms-{RUN}-00001.parquet", [ROW, {**ROW, "id": "b"}])
    lines = schema_message() + batch_message(older)
    if killed == "at work":
        with pytest.raises(LoadError, match="is missing"):
            run_loader(lines + batch_message(tmp_path / f"sms-{RUN}-00002.parquet"), **settings)
    else:
        mark(batch_message(older), Settings(**settings).identity)
        os.close(HELD.popitem()[1])
    newer = write(tmp_path / "sms-20261120T120000000002Z-feedbeef-00001.parquet", [{**ROW, "status": "delivered"}])
    run_loader(schema_message() + batch_message(newer), **settings)
    states: list[Any] = []
    with pytest.raises(LoadError, match=r"older rows would replace newer ones.*load_leftovers"):
        states = run_loader(lines + message("STATE", value=1), **settings)
    assert states == []
    assert {row["id"]: row["status"] for row in rows_of(database)} == {"a": "delivered"}
    assert older.exists()
    last = write(tmp_path / "sms-20261120T120000000003Z-feedbee0-00001.parquet", [{**ROW, "id": "c"}])
    run_loader(schema_message() + batch_message(last) + message("STATE", value=1), duckdb_path=str(database))
    assert {row["id"]: row["status"] for row in rows_of(database)} == {"a": "delivered", "b": "new", "c": "new"}
    assert not older.exists()


def lines_of_interrupted(folder: Path, stream: str, **settings: Any) -> bytes:
    """The messages up to a file with a row, of a run that ends because the next file is missing."""
    first, missing = (folder / f"{stream}-{RUN}-0000{number}.parquet" for number in (1, 2))
    lines = schema_message() + batch_message(write(first, [ROW]))
    with pytest.raises(LoadError, match="is missing"):
        run_loader(lines + batch_message(missing), **settings)
    return lines


def test_a_later_run_is_one_in_any_layout_with_a_prefix(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"duckdb_path": str(tmp_path / "x.duckdb"), "load_leftovers": False}
    lines = lines_of_interrupted(tmp_path, "cdr-sms", **settings)
    name = "cdr-sms/sms-20261120T120000000002Z-feedbeef-00001.parquet"
    newer = write(tmp_path / name, [{**ROW, "status": "delivered"}])
    run_loader(schema_message() + batch_message(newer), **settings)
    with pytest.raises(LoadError, match="older rows would replace newer ones"):
        run_loader(lines, **settings)
    assert [row["status"] for row in rows_of(tmp_path / "x.duckdb")] == ["delivered"]


def test_messages_of_an_interrupted_run_are_loaded_after_runs_of_other_streams_and_folders(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"duckdb_path": str(tmp_path / "x.duckdb"), "load_leftovers": False}
    lines = lines_of_interrupted(tmp_path, "sms", **settings)
    name = "20261120T120000000002Z-feedbeef-00001.parquet"
    other = write(tmp_path / "other" / f"sms-{name}", [{**ROW, "id": "b"}])
    messages = write(tmp_path / f"messages-{name}", [{**ROW, "id": "c"}])
    run_loader(schema_message() + batch_message(other), **settings)
    run_loader(schema_message("messages") + batch_message(messages, stream="messages"), **settings)
    assert run_loader(lines + message("STATE", value=1), **settings) == [1]
    assert [row["id"] for row in rows_of(tmp_path / "x.duckdb")] == ["a", "b"]


@pytest.mark.skipif(sys.platform == "win32", reason="the server comes for Linux and macOS only")
@pytest.mark.parametrize("isolation", ["read\\ committed", "serializable"])
def test_two_loaders_that_both_find_nothing_in_the_database_both_load(
    tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch, isolation: str
) -> None:
    """Also where the role's or the database's transactions see nothing that others have created meanwhile."""
    schema = database_for(postgres, tmp_path).schema
    both, seen, execute = threading.Barrier(2), set(), Postgres.execute

    def execute_together(self: Postgres, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        found = execute(self, statement, parameters)
        look = (threading.get_ident(), statement, *parameters)
        if "pg_namespace" in statement and look not in seen:
            seen.add(look)
            both.wait(10)
        return found

    monkeypatch.setattr(Postgres, "execute", execute_together)
    lines = []
    for part, key in (("0123abcd", "a"), ("feedbeef", "b")):
        path = write(tmp_path / part / "sms" / f"sms-20261120T120000000001Z-{part}-00001.parquet", [{**ROW, "id": key}])
        lines.append(schema_message() + batch_message(path) + message("STATE", value=key))
    options = quote(f"-c default_transaction_isolation={isolation}")
    run = partial(run_loader, url=f"{postgres}&options={options}", default_target_schema=schema)
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(run, lines)) == [["a"], ["b"]]
    with psycopg.connect(postgres) as connection:
        query = f"select id from {schema}.sms order by id"  # noqa: S608 - a test's schema
        assert connection.execute(query.encode()).fetchall() == [("a",), ("b",)]


def test_an_input_that_cannot_be_read_is_an_error_after_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = [b"first\n"]

    def read(_descriptor: int, _size: int) -> bytes:
        if not chunks:
            raise OSError(errno.EIO, "Input/output error")
        return chunks.pop()

    monkeypatch.setattr("tap_vonage_reports.load.early.os.read", read)
    lines = iter(EarlyInput(0, "0" * 16))
    assert next(lines) == b"first"
    with pytest.raises(LoadError, match=r"Standard input cannot be read \(Input/output error\)"):
        next(lines)


def test_an_unexpected_error_while_the_input_is_read_ends_the_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tap_vonage_reports.load.early.os.read", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(EarlyInput(0, "0" * 16))


@pytest.mark.parametrize("stream", ["stdin", "stdout"])
def test_a_closed_stream_is_an_error_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, stream: str
) -> None:
    config = tmp_path / "loader.json"
    config.write_text(json.dumps({"duckdb_path": str(tmp_path / "x.duckdb")}))
    monkeypatch.setattr(sys, stream, None)
    assert program.run(["--config", str(config)]) == 1
    assert f"Standard {'input' if stream == 'stdin' else 'output'} cannot be" in caplog.text
    assert "(it is closed)" in caplog.text
    assert not (tmp_path / "x.duckdb").exists()
