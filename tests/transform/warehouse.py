"""The two warehouses of the tests: the tap's Parquet files read by DuckDB, and tables of target-postgres."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from tap_vonage_reports.products import PRODUCTS, read_schema
from tests import target_postgres
from tests.harness import run_tap
from tests.transform.staging import key_of, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Row = tuple[Any, ...]
LEFT_OUT = ("voice_failed", "status_description")
"""A field that is not selected."""
_TABLE = """
create table vonage.{stream} as
select {columns}
from read_parquet('{files}', union_by_name = true, filename = true, file_row_number = true)
qualify row_number() over (partition by {key} order by parse_filename(filename) desc, file_row_number desc) = 1
"""
Planted = dict[str, list[dict[str, Any]]]


class Warehouse(Protocol):
    """A place where rows are loaded and models built."""

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables for dbt."""

    @property
    def address(self) -> str:
        """Where the models are."""

    def load(self, settings: Mapping[str, Any], catalog: dict[str, Any], planted: Planted) -> None:
        """Run the tap from its last state, and load what it gives, and more rows."""

    def query(self, query: str) -> list[Row]:
        """Return the rows of a query of the models."""

    def pasted(self, queries: Mapping[str, str]) -> dict[str, list[Row]]:
        """Return the rows of queries of the loaded tables, in the schema vonage; nothing that they make stays."""


class Files:
    """BATCH files in Parquet, and a DuckDB file for the models."""

    def __init__(self, folder: Path) -> None:
        """Take an empty folder."""
        self._files, self._database = folder / "files", folder / "models.duckdb"
        self._files.mkdir()
        self._state: dict[str, Any] | None = None

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables for dbt."""
        return {
            "VONAGE_TARGET": "duckdb",
            "VONAGE_LAYOUT": "parquet",
            "VONAGE_FILES": str(self._files),
            "VONAGE_DUCKDB": str(self._database),
        }

    @property
    def address(self) -> str:
        """Where the models are."""
        return str(self._database)

    def load(self, settings: Mapping[str, Any], catalog: dict[str, Any], planted: Planted) -> None:
        """Run the tap from its last state, with files."""
        files = {"batch_config": {"encoding": {"format": "parquet"}, "storage": {"root": str(self._files)}}}
        output = run_tap({**settings, **files}, state=self._state, catalog=catalog)
        assert output.code == 0, output.log
        self._state = output.state
        for stream, rows in planted.items():
            schema = pq.read_schema(next(self._files.rglob(f"{stream}-*.parquet")))
            name = f"{stream}-{datetime.now(timezone.utc):%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(4)}-00001.parquet"
            pq.write_table(pa.Table.from_pylist(rows, schema), self._files / stream / name)

    def query(self, query: str) -> list[Row]:
        """Return the rows of a query."""
        with duckdb.connect(str(self._database), read_only=True) as database:
            database.execute("set search_path = 'analytics'")
            rows: list[Row] = database.execute(query).fetchall()
            return rows

    def pasted(self, queries: Mapping[str, str]) -> dict[str, list[Row]]:
        """Return the rows of queries of tables as the loader makes them, out of the files."""
        with duckdb.connect() as database:
            database.execute("set timezone = 'UTC'")
            database.execute("create schema vonage")
            for folder in self._files.iterdir():
                schema = read_schema(folder.name)
                columns = ", ".join(
                    f"\"{name}\" at time zone 'UTC' as {name}" if kind_of(spec) == "timestamp" else f'"{name}"'
                    for name, spec in schema["properties"].items()
                    if (folder.name, name) != LEFT_OUT
                )
                files, key = folder / "*.parquet", key_of(schema)
                database.execute(_TABLE.format(stream=folder.name, files=files, key=key, columns=columns))
            return {name: database.execute(query).fetchall() for name, query in queries.items()}


@dataclass
class Tables:
    """Tables of target-postgres, and the models beside them."""

    server: str
    folder: Path
    settings: Mapping[str, Any]
    state: dict[str, Any] | None = None

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables for dbt."""
        return postgres_variables(self.server) | {"VONAGE_LAYOUT": "upserted", "VONAGE_SCHEMA": "vonage"}

    @property
    def address(self) -> str:
        """Where the models are."""
        return self.server

    def load(self, settings: Mapping[str, Any], catalog: dict[str, Any], planted: Planted) -> None:
        """Run the tap from its last state, and load its records."""
        output = run_tap(settings, state=self.state, catalog=catalog)
        assert output.code == 0, output.log
        self.state = output.state
        lines = list(output.lines)
        for stream, rows in planted.items():
            lines += target_postgres.records(stream, rows, PRODUCTS[stream].schema)
        target_postgres.load(self.server, self.folder, lines, default_target_schema="vonage", **self.settings)

    def query(self, query: str) -> list[Row]:
        """Return the rows of a query."""
        with psycopg.connect(self.server) as connection:
            connection.execute("set search_path to analytics")
            return connection.execute(query.encode()).fetchall()

    def pasted(self, queries: Mapping[str, str]) -> dict[str, list[Row]]:
        """Return the rows of queries of the tables."""
        with psycopg.connect(self.server) as connection:
            results = {name: connection.execute(query.encode()) for name, query in queries.items()}
            rows = {name: cursor.fetchall() if cursor.description else [] for name, cursor in results.items()}
            connection.rollback()
            return rows


def postgres_variables(server: str) -> dict[str, str]:
    """The environment variables with which dbt finds a PostgreSQL server by its URL."""
    address = urlsplit(server)
    host = parse_qs(address.query).get("host", [address.hostname or ""])[0]
    return {
        "VONAGE_TARGET": "postgres",
        "PGHOST": host,
        "PGPORT": str(address.port or 5432),
        "PGUSER": unquote(address.username or "postgres"),
        "PGPASSWORD": unquote(address.password or ""),
        "PGDATABASE": address.path.lstrip("/") or "postgres",
    }
