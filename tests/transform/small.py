"""A warehouse of a few rows, on either engine, for what is wrong in seeds, settings and loads."""

from __future__ import annotations

import csv
import re
import shutil
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from tests.transform.project import Project
from tests.transform.staging import PROJECT
from tests.transform.warehouse import postgres_variables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.transform.project import Dbt
    from tests.transform.warehouse import Row

STREAMS = ("sms", "messages", "verify_v2", "accounts")
_STREAMS = re.compile(r"^  vonage_streams:\n(    - \w+\n)+", re.MULTILINE)
SEED_COLUMNS = {
    path.stem: path.read_text(encoding="utf-8").splitlines()[0].split(",") for path in (PROJECT / "seeds").glob("*.csv")
}


class Small:
    """A copy of the project, and tables whose columns are text, as a loader of JSON could make them.

    Attributes:
        project: The copy.
        files: The folder of Parquet files.
    """

    def __init__(self, dbt: Dbt, folder: Path, server: str | None = None, layout: str = "upserted") -> None:
        """Prepare the copy.

        Args:
            dbt: The process that runs it.
            folder: An empty folder.
            server: The URL of a PostgreSQL server; None for DuckDB.
            layout: How the rows are loaded, as in macros/layout.sql.
        """
        copy = folder / "project"
        self._server, self._file = server, folder / "warehouse.duckdb"
        shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns("target", "logs", "*.duckdb", "page"))
        settings = copy / "dbt_project.yml"
        streams = "  vonage_streams:\n" + "".join(f"    - {stream}\n" for stream in STREAMS)
        settings.write_text(_STREAMS.sub(streams, settings.read_text(encoding="utf-8")), encoding="utf-8")
        place = postgres_variables(server) if server else {"VONAGE_TARGET": "duckdb", "VONAGE_DUCKDB": str(self._file)}
        own = {"VONAGE_LAYOUT": layout, "VONAGE_SCHEMA": "small", "VONAGE_MODELS_SCHEMA": "small_models"}
        self.project = Project(dbt, copy, place | own)
        self.use_files(folder / "files")

    def use_files(self, folder: Path) -> None:
        """Take another folder for the files, for the layout `parquet`."""
        self.files = folder
        self.project.variables["VONAGE_FILES"] = str(folder)

    def load(self, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Replace all tables; the keys of the first row are the columns of a table."""
        statements = ["drop schema if exists small cascade", "create schema small"]
        for name, rows in tables.items():
            columns = ", ".join(f'"{column}" text' for column in rows[0])
            statements.append(f"create table small.{name} ({columns})")
            for row in rows:
                values = ", ".join("null" if value is None else f"'{value}'" for value in row.values())
                statements.append(f"insert into small.{name} values ({values})")  # noqa: S608 - the rows of a test
        for statement in statements:
            self._execute(statement)

    def load_file(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a Parquet file, whose columns are text, below the folder `files`."""
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)

    def seed(self, name: str, *lines: Mapping[str, Any]) -> None:
        """Replace the lines of a seed; what a line does not name is empty."""
        with (self.project.folder / "seeds" / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, SEED_COLUMNS[name], lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)

    def query(self, query: str) -> list[Row]:
        """Return the rows of a query of the models."""
        return self._execute(query, "small_models")

    def _execute(self, statement: str, schema: str = "small") -> list[Row]:
        if self._server:
            with psycopg.connect(self._server) as connection:
                connection.execute(f"set search_path to {schema}".encode())
                cursor = connection.execute(statement.encode())
                return cursor.fetchall() if cursor.description else []
        with duckdb.connect(str(self._file)) as database:
            if schema == "small_models":
                database.execute("set search_path = 'small_models'")
            rows: list[Row] = database.execute(statement).fetchall()
            return rows
