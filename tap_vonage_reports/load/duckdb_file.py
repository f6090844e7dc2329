"""A DuckDB file: rows are merged by key. DuckDB both reads the Parquet files and writes the tables."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import duckdb

from tap_vonage_reports.errors import LoadError
from tap_vonage_reports.load.columns import Kind
from tap_vonage_reports.load.destination import ColumnTypes, column_definitions, value_of
from tap_vonage_reports.load.parquet_rows import literal, quoted

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from tap_vonage_reports.load.destination import Table
    from tap_vonage_reports.load.parquet_rows import ParquetRows

STORAGE_VERSION = "v1.0.0"
"""The oldest DuckDB that can read the file. Others, such as dbt's adapter, are often older than the one here."""

_EXACT = r"DECIMAL\(38,18\)"
TYPES = ColumnTypes(
    created={
        Kind.TEXT: "VARCHAR",
        Kind.TIME: "TIMESTAMP",
        Kind.INTEGER: "BIGINT",
        Kind.NUMBER: "DECIMAL(38,18)",
        Kind.BOOLEAN: "BOOLEAN",
        Kind.JSON: "JSON",
    },
    holding={
        Kind.TIME: "TIMESTAMP WITH TIME ZONE",
        Kind.INTEGER: f"HUGEINT|{_EXACT}",
        Kind.JSON: "VARCHAR",
    },
    widened={
        Kind.INTEGER: "TINYINT|SMALLINT|INTEGER",
        # At most 20 digits before the point, and 18 behind it.
        Kind.NUMBER: r"TINYINT|SMALLINT|INTEGER|BIGINT|DECIMAL\((1?\d,([0-9]|1[0-8])|2\d,([89]|1[0-8])|3[0-7],1[78])\)",
    },
)
_FILE = "loaded"
"""The name of the file in DuckDB."""


_ADVICE: Mapping[str, str] = {
    "set lock": "another process has it open. Close that, and run again",
    "version number": "it was made by a newer version of DuckDB. Upgrade the package duckdb",
    "not a valid DuckDB": "it is not a DuckDB file. Set duckdb_path to another path",
    "orrupt": "it is damaged. Restore it, or set duckdb_path to another path",
    "ermission denied": "it is not writable. Give the user the right to write to it and to its folder",
    "ead-only": "it is not writable. Give the user the right to write to it and to its folder",
    "No space": "its disk is full. Make room there",
}
"""What is wrong with a file and what to do, by words of DuckDB's error."""
_REFUSED: Sequence[tuple[type[Exception] | tuple[type[Exception], ...], str]] = (
    (duckdb.ConstraintException, "A constraint of the table does not allow a row. Remove the constraint."),
    (
        (duckdb.CatalogException, duckdb.BinderException),
        "The schema has other things than tables of this loader under their names, such as a view. Load into another.",
    ),
    (duckdb.OutOfMemoryException, "Give the loader more memory, or set batch_size of the tap to fewer rows."),
    (duckdb.Error, "Check that its disk has room, and that its folder is writable."),
)
"""What to do about an error, by its kind."""


class DuckDBFile:
    """A schema in a DuckDB file.

    Attributes:
        types: The column types.
    """

    types = TYPES

    def __init__(self, connection: Any, path: Path, schema: str) -> None:  # noqa: ANN401 - DuckDB ships no types
        """Open the file.

        Args:
            connection: The connection to DuckDB that reads the Parquet files.
            path: The file. It is created with its folder if it does not exist.
            schema: The schema for the tables. It is created if it does not exist.

        Raises:
            LoadError: The file cannot be used.
        """
        self._connection = connection
        self._schema = schema
        with suppress(OSError):  # DuckDB says it
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Without its type, DuckDB would load an extension for a file of SQLite, for example.
            new = "" if path.exists() else f", storage_version '{STORAGE_VERSION}'"
            connection.execute(f"attach {literal(str(path))} as {_FILE} (type duckdb{new})")
            connection.execute(f"create schema if not exists {_FILE}.{quoted(schema)}")
        except duckdb.Error as error:
            msg = f"The DuckDB file cannot be used ({type(error).__name__}): {_why(path, str(error))}."
            raise LoadError(msg) from None

    def hold(self, run: str) -> bool:  # noqa: ARG002 - as a destination
        """Hold a run: as long as this process has the file open, no other one can."""
        return True

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """Run a `with` block in a transaction."""
        self.execute("begin")
        try:
            yield
            self.execute("commit")
        except BaseException:
            try:
                self._connection.rollback()
            except duckdb.Error:
                """It has ended already."""
            raise

    def execute(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement."""
        try:
            rows: list[tuple[Any, ...]] = self._connection.execute(statement, list(parameters)).fetchall()
        except duckdb.Error as error:
            advice = next(advice for kinds, advice in _REFUSED if isinstance(error, kinds))
            msg = (
                f"DuckDB refused to load the rows ({type(error).__name__}). {advice} Nothing of this transaction "
                "remains, and its files are still there."
            )
            raise LoadError(msg) from None
        return rows

    def name(self, table: str) -> str:
        """Return the name of a table with its schema, quoted."""
        return f"{_FILE}.{quoted(self._schema)}.{quoted(table)}"

    def columns(self, table: str) -> dict[str, str]:
        """Return the columns of a table with their types. DuckDB takes names in any case, and keeps the first one."""
        rows = self.execute(
            "select lower(column_name), data_type from duckdb_columns() where database_name = ? "
            "and lower(schema_name) = lower(?) and lower(table_name) = lower(?) order by column_index",
            [_FILE, self._schema, table],
        )
        return dict(rows)

    def create(self, table: Table, *, with_key: bool = True) -> None:
        """Create a table. It has no index: DuckDB merges by a hash join, and an index would have to fit into memory."""
        del with_key
        self.execute(
            f"create table {self.name(table.schema.stream)} ({', '.join(column_definitions(self, table.schema))})"
        )
        table.columns = {name: TYPES.created[kind] for name, kind in table.schema.kinds.items()}

    def load(self, table: Table, rows: ParquetRows, metadata: Mapping[str, Any], *, replace: bool) -> None:
        """Put rows into a table."""
        given = {quoted(column): value_of(value) for column, value in metadata.items()}
        inserted = [*map(quoted, rows.columns), *given]
        name, query = self.name(table.schema.stream), rows.query(lambda column: self._cell(table, rows, column))
        if not table.columns:
            self.create(table)
            self.execute(f"insert into {name} ({', '.join(inserted)}) select *{_more(given)} from ({query})")
            return
        match = " and ".join(f"stored.{quoted(key)} = files.{quoted(key)}" for key in table.schema.keys)
        values = [quoted(column) for column in rows.columns if column not in table.schema.keys]
        assignments = ", ".join([*(f"{column} = files.{column}" for column in values), *map(" = ".join, given.items())])
        # Unchanged rows are not written again.
        changed = " or ".join(f"stored.{column} is distinct from files.{column}" for column in values)
        update = f"when matched and ({changed}) then update set {assignments} " if replace and values else ""
        sources = [*(f"files.{quoted(column)}" for column in rows.columns), *given.values()]
        self.execute(
            f"merge into {name} as stored using ({query}) as files on {match} {update}"
            f"when not matched then insert ({', '.join(inserted)}) values ({', '.join(sources)})"
        )

    def close(self) -> None:
        """Close the file; the connection to DuckDB stays."""
        with suppress(duckdb.Error):  # without room, DuckDB has closed it
            self._connection.execute(f"detach {_FILE}")

    @staticmethod
    def _cell(table: Table, rows: ParquetRows, column: str) -> str:
        """Return a column's value as the table's type."""
        kind = table.columns.get(column) or TYPES.created[table.schema.kinds[column]]
        if kind == "TIMESTAMP WITH TIME ZONE":
            return f"({rows.value(column)} at time zone 'UTC')"
        return f"cast({rows.value(column)} as {kind})"


def _why(path: Path, error: str) -> str:
    """Return why a file cannot be used, and what to do."""
    with suppress(OSError):
        if path.is_dir():
            return "it is a folder. Set duckdb_path to the path of a file in it"
        if path.exists() and not path.stat().st_size:
            return "it is empty, so it is not a DuckDB file. Remove it; the loader creates a new one"
    found = next((advice for words, advice in _ADVICE.items() if words in error), "")
    return found or "check that its folder exists and is writable, and that its disk has room"


def _more(given: Mapping[str, str]) -> str:
    return "".join(f", {value}" for value in given.values())
