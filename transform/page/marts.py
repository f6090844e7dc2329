"""The marts: queries of the models, in a DuckDB file or in PostgreSQL."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator

Row = dict[str, Any]


class NoModelsError(Exception):
    """The database cannot be opened, or has no models in the schema."""


class Cursor(Protocol):
    """What the two databases have in common."""

    @property
    def description(self) -> Any:  # noqa: ANN401 - a sequence of columns, the name first
        """The columns of the result."""

    def execute(self, query: Any, /) -> Any:  # noqa: ANN401 - the databases' own types
        """Run a query."""

    def fetchall(self) -> list[Any]:
        """Return the rows of the result."""


class Marts:
    """The models in one schema."""

    def __init__(self, cursor: Cursor, schema: str) -> None:
        """Set the schema in which the models are.

        Args:
            cursor: A connection's cursor.
            schema: The schema's name.
        """
        self._cursor = cursor
        quoted = schema.replace('"', '""').replace("'", "''")
        cursor.execute(f"set search_path = '{quoted}'")

    def rows(self, query: str) -> list[Row]:
        """Return the rows of a query, by column."""
        self._cursor.execute(query)
        names = [column[0] for column in self._cursor.description]
        return [dict(zip(names, row, strict=True)) for row in self._cursor.fetchall()]


@contextmanager
def open_marts(database: str, schema: str) -> Generator[Marts, None, None]:
    """Open a DuckDB file by its path, or a PostgreSQL database by its URL, only to read.

    Args:
        database: The path or the URL.
        schema: The schema with the models.

    Raises:
        NoModelsError: The database cannot be opened, or a query of the models fails.
    """
    if database.startswith(("postgresql:", "postgres:")):
        import psycopg  # noqa: PLC0415 - only where it is PostgreSQL

        try:
            with psycopg.connect(database) as connection:
                connection.read_only = True
                yield Marts(connection.cursor(), schema)
        except psycopg.Error as error:
            raise NoModelsError(_first_line(error)) from error
        return
    import duckdb  # noqa: PLC0415 - only where it is DuckDB

    try:
        with closing(duckdb.connect(database, read_only=True)) as connection:
            yield Marts(connection.cursor(), schema)
    except duckdb.Error as error:
        raise NoModelsError(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
