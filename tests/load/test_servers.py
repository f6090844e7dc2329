"""PostgreSQL servers with settings, names and objects of their own."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg import sql

from tap_vonage_reports.errors import LoadError
from tap_vonage_reports.load.postgres import Postgres
from tests.load.canned import batch_message, message, run_loader, schema_message, write
from tests.test_postgres import database_for

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the server comes for Linux and macOS only")


def load(folder: Path, number: int, **settings: Any) -> list[Any]:
    """Load a row whose status is the number, and return the states that were passed on."""
    path = write(
        folder / f"sms-20261120T120000000001Z-0000000{number}-00001.parquet", [{"id": "a", "status": str(number)}]
    )
    return run_loader(schema_message() + batch_message(path) + message("STATE", value=number), **settings)


@pytest.mark.parametrize("name", ["50% %s", "what?", 'a "quoted" ?', "it's", "$1", "back\\slash"])
def test_a_schema_may_have_any_name(postgres: str, tmp_path: Path, name: str) -> None:
    schema = f"{database_for(postgres, tmp_path).schema} {name}"
    for number in (1, 2):
        assert load(tmp_path, number, url=postgres, default_target_schema=schema) == [number]
    with psycopg.connect(postgres) as connection:
        query = sql.SQL("select id, status from {}").format(sql.Identifier(schema, "sms"))
        assert connection.execute(query).fetchall() == [("a", "2")]


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("synchronous_commit", "off", "on"),
        ("synchronous_commit", "remote_apply", "remote_apply"),
        ("timezone", "America/New_York", "UTC"),
        ("datestyle", "German", "ISO, DMY"),
        ("default_transaction_isolation", "serializable", "read committed"),
    ],
)
def test_settings_of_a_role_that_could_lose_or_change_rows_do_not_apply(
    postgres: str, tmp_path: Path, setting: str, value: str, expected: str
) -> None:
    """With synchronous_commit off, a crash of the server would lose rows whose files are removed already."""
    database = Postgres(postgres, {"options": f"-c {setting}={value}"}, database_for(postgres, tmp_path).schema)
    assert database.execute(f"show {setting}") == [(expected,)]
    database.close()


def test_a_role_that_quotes_all_names_can_load_twice(postgres: str, tmp_path: Path) -> None:
    url = f"{postgres}&options={quote('-c quote_all_identifiers=on')}"
    schema = database_for(postgres, tmp_path).schema
    assert [load(tmp_path, number, url=url, default_target_schema=schema) for number in (1, 2)] == [[1], [2]]


@pytest.mark.parametrize(
    ("statement", "options", "words"),
    [
        ("create view {}.sms as select 'a' as id", "", "is no table, but a view"),
        ("create table {}.sms (id text primary key, mine text not null)", "", "Remove the constraint"),
        ("create table {}.sms (id text primary key, status text check (status = 'x'))", "", "Remove the constraint"),
        ("create table {}.other (id text)", "-c default_transaction_read_only=on", "It is read-only"),
    ],
)
def test_what_a_server_refuses_is_explained_with_what_to_do(
    postgres: str, tmp_path: Path, statement: str, options: str, words: str
) -> None:
    schema = database_for(postgres, tmp_path).schema
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create schema {schema}".encode())
        connection.execute(statement.format(schema).encode())
    with pytest.raises(LoadError, match=words):
        load(tmp_path, 1, url=f"{postgres}&options={quote(options)}", default_target_schema=schema)


def test_a_schema_that_no_user_may_create_is_explained(postgres: str, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="that does not begin with pg_"):
        load(tmp_path, 1, url=postgres, default_target_schema="pg_vonage")


@pytest.mark.parametrize(
    ("setting", "words"), [("statement_timeout", "statement_timeout is set"), ("lock_timeout", "Raise lock_timeout")]
)
def test_a_time_limit_of_the_role_is_named(postgres: str, tmp_path: Path, setting: str, words: str) -> None:
    """The table is locked for as long as the loader waits, whatever the machine's speed is."""
    schema = database_for(postgres, tmp_path).schema
    load(tmp_path, 1, url=postgres, default_target_schema=schema)
    with psycopg.connect(postgres) as other:
        other.execute(f"lock table {schema}.sms".encode())
        with pytest.raises(LoadError, match=words):
            load(tmp_path, 2, url=f"{postgres}&options={quote(f'-c {setting}=2000')}", default_target_schema=schema)
    assert load(tmp_path, 2, url=postgres, default_target_schema=schema) == [2]


def test_a_database_whose_encoding_lacks_a_character_is_explained(postgres: str, tmp_path: Path) -> None:
    name = database_for(postgres, tmp_path).schema
    path = write(
        tmp_path / "sms-20261120T120000000001Z-00000001-00001.parquet",
        [{"id": "a", "status": "\N{WHITE SMILING FACE}"}],
    )
    with psycopg.connect(postgres, autocommit=True) as connection:
        options = "encoding 'LATIN1' template template0 lc_collate 'C' lc_ctype 'C'"
        connection.execute(f"create database {name} {options}".encode())
        url = urlsplit(postgres)._replace(path=f"/{name}").geturl()
        with pytest.raises(LoadError, match="Use one in UTF8"):
            run_loader(schema_message() + batch_message(path), url=url)


def test_a_column_with_too_few_digits_before_the_point_is_explained(postgres: str, tmp_path: Path) -> None:
    schema = database_for(postgres, tmp_path).schema
    path = write(
        tmp_path / "sms-20261120T120000000001Z-00000001-00001.parquet",
        [{"id": "a", "total_price": Decimal("12345678901.5")}],
    )
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create schema {schema}".encode())
        connection.execute(f"create table {schema}.sms (id text primary key, total_price numeric(38, 30))".encode())
    with pytest.raises(LoadError, match="Change the columns of money to numeric"):
        run_loader(schema_message() + batch_message(path), url=postgres, default_target_schema=schema)
