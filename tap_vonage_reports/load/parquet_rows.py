"""The rows of Parquet files, read by DuckDB: the newest row of each key, with each column as a database takes it."""

from __future__ import annotations

import glob
import os
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import duckdb

if sys.platform == "linux":
    import fcntl

from tap_vonage_reports.errors import LoadError
from tap_vonage_reports.load.columns import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import Path

    from tap_vonage_reports.load.columns import StreamSchema

PERSONAL_DATA = "tap_vonage_reports.personal_data"
"""The key in a file's metadata that tells how the tap treated personal data."""
_KEPT = "keep"
"""How it treated them if a file does not tell."""
CHUNK_BYTES = 1 << 20
"""How much CSV is read at a time, and how much the pipe between reading and sending holds where its size can be set."""
_FITTING: dict[Kind, tuple[str, ...]] = {
    Kind.TEXT: ("VARCHAR",),
    Kind.TIME: ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE"),
    Kind.INTEGER: ("BIGINT", "INTEGER", "SMALLINT"),
    Kind.NUMBER: ("DECIMAL", "BIGINT", "INTEGER", "SMALLINT"),
    Kind.BOOLEAN: ("BOOLEAN",),
    Kind.JSON: ("VARCHAR", "JSON"),
}
"""The types in a file that hold each kind exactly."""


def engine(folder: Path, *, memory: str = "") -> Any:  # noqa: ANN401 - DuckDB ships no types
    """Return a connection to DuckDB that keeps nothing but what does not fit into memory.

    Args:
        folder: A private temporary folder.
        memory: The most memory that it takes, such as ``1GB``; empty for DuckDB's default, most of the machine's.
    """
    limit = {"memory_limit": memory} if memory else {}
    connection = duckdb.connect(config={"temp_directory": str(folder), **limit})
    connection.execute("set preserve_insertion_order = false")
    return connection


def quoted(name: str) -> str:
    """Return a name as an identifier, for DuckDB and for PostgreSQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


class ParquetRows:
    """The rows of some files of one stream. Of several rows with the same key, only the last one counts.

    Attributes:
        columns: The columns of the files, in the schema's order.
        count: The number of rows that count.
        treatment: How the tap treated personal data in the last file.
    """

    def __init__(
        self,
        connection: Any,  # noqa: ANN401 - see `engine`
        schema: StreamSchema,
        paths: Sequence[str],
        *,
        may_have_others: bool = False,
    ) -> None:
        """Look at the files.

        Args:
            connection: A connection to DuckDB.
            schema: The stream's columns.
            paths: The files' paths, the newest last.
            may_have_others: True to leave out columns that the schema does not have; False to refuse them.

        Raises:
            LoadError: A file is damaged, or does not fit the schema.
        """
        self._connection = connection
        self._schema = schema
        # A path may hold characters that stand for others in a pattern.
        names = ", ".join(literal(glob.escape(path)) for path in paths)
        # A folder such as read_date=2026-11-28 is no column.
        options = "union_by_name = true, hive_partitioning = false, filename = true, file_row_number = true"
        self._files = f"read_parquet([{names}], {options})"
        with duckdb_errors(self._damaged()):
            found = connection.execute(f"describe select * exclude (filename, file_row_number) from {self._files}")
            self._types = {
                name: str(kind) for name, kind, *_ in found.fetchall() if name in schema.kinds or not may_have_others
            }
            self._check_types()
            self.columns = tuple(name for name in schema.kinds if name in self._types)
            keys = ", ".join(map(quoted, schema.keys))
            order = f"list_position([{', '.join(map(literal, paths))}], filename) desc, file_row_number desc"
            self._outdated = (
                "select filename as outdated_file, file_row_number as outdated_row from (select filename, "
                f"file_row_number, row_number() over (partition by {keys} order by {order}) as age "
                f"from {self._files}) where age > 1"
            )
            rows, distinct = connection.execute(
                f"select count(*), count(distinct ({keys})) from {self._files}"
            ).fetchone()
            told = connection.execute(
                "select decode(value) from parquet_kv_metadata(?) where key = encode(?)",
                [glob.escape(paths[-1]), PERSONAL_DATA],
            ).fetchone()
        self.treatment: str = told[0] if told else _KEPT
        self.count: int = distinct
        self._has_outdated = distinct < rows

    def value(self, name: str) -> str:
        """Return the expression for a column's value. A time is in UTC and has no zone."""
        return f"({quoted(name)} at time zone 'UTC')" if self._types[name].endswith("TIME ZONE") else quoted(name)

    def query(self, expression: Callable[[str], str]) -> str:
        """Return a query of the rows.

        Args:
            expression: Gives what to select for a column.
        """
        selected = ", ".join(f"{expression(name)} as {quoted(name)}" for name in self.columns)
        query = f"select {selected} from {self._files} as files"
        if self._has_outdated:
            query += (
                f" anti join ({self._outdated}) on files.filename = outdated_file "
                "and files.file_row_number = outdated_row"
            )
        return query

    def csv(self) -> Iterator[bytes]:
        """Yield the rows as CSV for PostgreSQL, in UTF-8: an empty cell without quotes is null.

        Raises:
            LoadError: A file is damaged.
        """
        with duckdb_errors(self._damaged()):
            yield from _streamed(self._connection, self.query(self._csv_cell))

    def _csv_cell(self, name: str) -> str:
        value, kind = self.value(name), self._types[name]
        if kind.startswith("DECIMAL") and not kind.endswith(",0)"):
            # Without the zeros that the width of the column adds; PostgreSQL would keep them.
            return f"rtrim(rtrim({value}::varchar, '0'), '.')"
        return value

    def _check_types(self) -> None:
        for name, kind in self._types.items():
            expected = self._schema.kinds.get(name)
            if expected is None or kind.partition("(")[0] not in _FITTING[expected]:
                msg = (
                    f"A BATCH file of {self._schema.stream} does not have the columns that its SCHEMA message says. "
                    "Load it with the messages of the run that wrote it, and with this version of the loader."
                )
                raise LoadError(msg)
        if not self._types.keys() >= set(self._schema.keys):
            msg = f"A BATCH file of {self._schema.stream} lacks the key. Use files of tap-vonage-reports."
            raise LoadError(msg)

    def _damaged(self) -> str:
        return (
            f"A BATCH file of {self._schema.stream} cannot be read. Check that the loader has the right to. If it is "
            "damaged, remove it: the state has not passed it, so the next run of the tap reads its rows again"
        )


@contextmanager
def duckdb_errors(problem: str) -> Generator[None, None, None]:
    """Raise an error of DuckDB as a `LoadError`, without its text, which may hold values.

    Args:
        problem: What failed and what to do, without a full stop.
    """
    try:
        yield
    except duckdb.Error as error:
        msg = f"{problem} ({type(error).__name__})."
        raise LoadError(msg) from None


def _streamed(connection: Any, query: str) -> Iterator[bytes]:  # noqa: ANN401 - see `engine`
    """Yield what DuckDB writes as CSV, while it writes."""
    copy = f"copy ({query}) to {{}} (format csv, header false, use_tmp_file false)"
    if not os.path.isdir("/dev/fd"):  # noqa: PTH112 - no file: Windows
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "rows.csv")  # noqa: PTH118 - for DuckDB
            connection.execute(copy.format(literal(path)))
            with open(path, "rb") as file:  # noqa: PTH123 - likewise
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
        return
    receiver, sender = os.pipe()
    if sys.platform == "linux":
        with suppress(OSError):  # the system may allow less
            fcntl.fcntl(sender, fcntl.F_SETPIPE_SZ, CHUNK_BYTES)
    failures: list[BaseException] = []

    def write() -> None:
        try:
            connection.execute(copy.format(literal(f"/dev/fd/{sender}")))
        except BaseException as error:  # noqa: BLE001 - it is raised in the main thread
            failures.append(error)
        finally:
            os.close(sender)

    writer = threading.Thread(target=write, name="csv", daemon=True)
    writer.start()
    try:
        with os.fdopen(receiver, "rb", buffering=0) as pipe:
            while chunk := pipe.read(CHUNK_BYTES):
                yield chunk
    finally:
        # Of a reader that has failed, the writer finds the pipe closed.
        writer.join()
    if failures:
        raise failures[0]
