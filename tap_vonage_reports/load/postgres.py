"""PostgreSQL: rows go into a temporary table by COPY, and from there into the stream's table."""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors as sqlstate
from psycopg.conninfo import make_conninfo

from tap_vonage_reports.errors import LoadError
from tap_vonage_reports.load.columns import Kind
from tap_vonage_reports.load.destination import ColumnTypes, column_definitions, key_list, value_of
from tap_vonage_reports.load.parquet_rows import quoted

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from tap_vonage_reports.load.destination import Table
    from tap_vonage_reports.load.parquet_rows import ParquetRows

_WIDE_NUMERIC = r"numeric(\((3[89]|[4-9]\d|\d{3,4}),(1[89]|[2-9]\d)\))?"
"""Those with at least the 38 digits, 18 of them decimals, of the files."""

TYPES = ColumnTypes(
    created={
        Kind.TEXT: "text",
        Kind.TIME: "timestamp without time zone",
        Kind.INTEGER: "bigint",
        Kind.NUMBER: "numeric",
        Kind.BOOLEAN: "boolean",
        Kind.JSON: "jsonb",
    },
    holding={
        Kind.TEXT: "character varying",
        Kind.TIME: "timestamp(\\(6\\))? with(out)? time zone",
        Kind.INTEGER: _WIDE_NUMERIC,
        Kind.NUMBER: _WIDE_NUMERIC,
        Kind.JSON: "json|text",
    },
    widened={
        Kind.TEXT: r"character( varying)?\(\d+\)",
        Kind.TIME: r"timestamp\([0-5]\) without time zone",
        Kind.INTEGER: r"smallint|integer",
        Kind.NUMBER: r"smallint|integer|bigint|numeric\(.*\)",
    },
)
"""As target-postgres makes them."""

_STAGING = "_vonage_rows"
_SESSION = (
    "set timezone = 'UTC'; set datestyle = 'ISO'; set quote_all_identifiers = off; "
    "set default_transaction_isolation = 'read committed'; "
    "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'"
)
"""What a role or database may have set otherwise.

Texts without a zone are in UTC. Types are compared by their names. A loader that has waited for another one sees what
that has created. A file is removed only after a commit that survives a crash of the server.
"""
_MARK = re.compile(r'("[^"]*")|\?|%')
"""What psycopg would take for a parameter, and names, which may contain it."""
_ADVICE: Sequence[tuple[type[psycopg.Error], str]] = (
    (sqlstate.InvalidPassword, "Check the settings user and password."),
    (
        sqlstate.InsufficientPrivilege,
        "Let the user create the schema, or own it and its tables, and create temporary tables.",
    ),
    (sqlstate.ReadOnlySqlTransaction, "It is read-only, at least for this user. Use a server that takes rows."),
    (sqlstate.QueryCanceled, "If statement_timeout is set for the user, raise it. Then run again."),
    (sqlstate.IdleInTransactionSessionTimeout, "Raise idle_in_transaction_session_timeout for the user."),
    (sqlstate.LockNotAvailable, "Another session has locked the table. Raise lock_timeout for the user, or run again."),
    (sqlstate.ReservedName, "Set default_target_schema to a name that does not begin with pg_."),
    (sqlstate.WrongObjectType, "What has the name of a stream is no table, but a view, for example. Rename it."),
    (sqlstate.UntranslatableCharacter, "The database's encoding lacks a character of the rows. Use one in UTF8."),
    (sqlstate.NumericValueOutOfRange, "A column is too narrow for a number. Change the columns of money to numeric."),
    (psycopg.IntegrityError, "A constraint of the table does not allow a row. Remove the constraint."),
    (sqlstate.DependentObjectsStillExist, "Drop what depends on the column, run again, and create it again."),
    (
        sqlstate.FeatureNotSupported,
        "Remove rules from the table. If a view uses a column that has to be widened, drop it, run again, create it.",
    ),
    (sqlstate.InvalidColumnReference, "Give the table a primary key on the key of the stream."),
    (sqlstate.DiskFull, "Make room on the disk of the database server."),
    (psycopg.OperationalError, "Check that the server runs and can be reached, then run again."),
)
_CONNECTION_ADVICE: Sequence[tuple[str, str]] = (
    ("password", "it refused user or password. Check the settings user and password"),
    ("no pg_hba.conf entry", "it allows no connection from here. Check its pg_hba.conf, and ssl_mode"),
    ("SSL", "they could not agree on SSL. Check the settings ssl_mode and ssl_certificate_authority"),
    ("certificate", "its certificate was not accepted. Check ssl_mode and ssl_certificate_authority"),
    ("does not exist", "it has no such user or database. Check the settings user and database"),
    ("refused", "nothing listens there. Check the settings host and port, and that the server runs"),
    ("resolve", "its name is not known. Check the setting host"),
    ("translate host name", "its name is not known. Check the setting host"),
    ("timeout", "it does not answer. Check the settings host and port, and the network"),
)


class Postgres:
    """A schema in a PostgreSQL database. A connection that was lost between two transactions is opened again.

    Attributes:
        types: The column types.
    """

    types = TYPES

    def __init__(self, address: str, parameters: Mapping[str, Any], schema: str) -> None:
        """Connect to the database.

        Args:
            address: Its URL for libpq; may be empty.
            parameters: Parameters of libpq.
            schema: The schema for the tables. It is created if it does not exist.

        Raises:
            LoadError: That failed.
        """
        self._address, self._parameters = address, parameters
        self._schema = schema
        self._runs: set[str] = set()
        self._connection = _connect(self._address, self._parameters)
        try:
            self._create_schema()
        except BaseException:
            self.close()
            raise

    def hold(self, run: str) -> bool:
        """Hold a run, by a lock of the server's that ends with the connection."""
        ((held,),) = self.execute(f"select pg_try_advisory_lock({self._number(run)})")
        if held:
            self._runs.add(run)
        return bool(held)

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """Run a `with` block in a transaction."""
        if not _is_alive(self._connection):
            self.close()
            self._connection = _connect(self._address, self._parameters)
            for run in tuple(self._runs):
                self.hold(run)
        with _errors(), self._connection.transaction():
            yield

    def execute(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement."""
        query = (_MARK.sub(_placeholder, statement) if parameters else statement).encode()
        with _errors():
            cursor = self._connection.execute(query, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def name(self, table: str) -> str:
        """Return the name of a table with its schema, quoted."""
        return f"{quoted(self._schema)}.{quoted(table)}"

    def columns(self, table: str) -> dict[str, str]:
        """Return the columns of a table with their types. If it does not exist, others wait to create it."""
        if not (columns := self._columns(table)):
            self._wait_for_others()
            columns = self._columns(table)
        return columns

    def _columns(self, table: str) -> dict[str, str]:
        rows = self.execute(
            "select attname, format_type(atttypid, atttypmod) from pg_attribute "
            "join pg_class on pg_class.oid = attrelid join pg_namespace on pg_namespace.oid = relnamespace "
            "where nspname = ? and relname = ? and attnum > 0 and not attisdropped order by attnum",
            [self._schema, table],
        )
        return dict(rows)

    def create(self, table: Table, *, with_key: bool = True) -> None:
        """Create a table."""
        parts = column_definitions(self, table.schema)
        if with_key:
            parts.append(f"primary key ({key_list(table.schema)})")
        self.execute(f"create table {self.name(table.schema.stream)} ({', '.join(parts)})")
        table.columns = {name: TYPES.created[kind] for name, kind in table.schema.kinds.items()}

    def load(self, table: Table, rows: ParquetRows, metadata: Mapping[str, Any], *, replace: bool) -> None:
        """Put rows into a table."""
        if table.columns:
            self._upsert(table, rows, metadata, replace=replace)
        else:
            self._fill(table, rows, metadata)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _fill(self, table: Table, rows: ParquetRows, metadata: Mapping[str, Any]) -> None:
        """Fill a new table: straight by COPY, and the index afterwards, which takes a third of the time."""
        name = self.name(table.schema.stream)
        self.create(table, with_key=False)
        defaults = ", ".join(
            f"alter column {quoted(column)} set default {value_of(value)}" for column, value in metadata.items()
        )
        if defaults:
            self.execute(f"alter table {name} {defaults}")
        _check_count(table, rows.count, self._copy(name, rows, options="freeze"))
        dropped = ", ".join(f"alter column {quoted(column)} drop default" for column in metadata)
        self.execute(
            f"alter table {name} {dropped + ', ' if dropped else ''}add primary key ({key_list(table.schema)})"
        )

    def _upsert(self, table: Table, rows: ParquetRows, metadata: Mapping[str, Any], *, replace: bool) -> None:
        name, columns = self.name(table.schema.stream), ", ".join(map(quoted, rows.columns))
        self.execute(f"create temporary table {_STAGING} on commit drop as select {columns} from {name} with no data")
        _check_count(table, rows.count, self._copy(_STAGING, rows))
        given = {quoted(column): value_of(value) for column, value in metadata.items()}
        values = [quoted(column) for column in rows.columns if column not in table.schema.keys] if replace else []
        select = f"select {', '.join([*(f'new.{quoted(column)}' for column in rows.columns), *given.values()])}"
        # In the order of the key, writing into its index is quicker.
        in_order = ", ".join(f"new.{quoted(key)}" for key in table.schema.keys)
        select += f" from {_STAGING} as new {self._changed(table, values)} order by {in_order}"
        action = "do nothing"
        if values:
            assignments = ", ".join(f"{column} = excluded.{column}" for column in [*values, *given])
            action = f"do update set {assignments}"
        insert, action = (
            f"insert into {name} ({', '.join([columns, *given])})",
            f"on conflict ({key_list(table.schema)}) {action}",
        )
        if self._may_discard(name):
            self._insert_counted(table, select, insert, action)
        else:
            self.execute(f"{insert} {select} {action}")
        self.execute(f"drop table {_STAGING}")

    def _may_discard(self, name: str) -> bool:
        """Return True if a table or a partition of it has triggers or rules: nothing else discards rows silently."""
        ((found,),) = self.execute(
            "select bool_or(relhastriggers or relhasrules) from pg_class where oid in (select ?::regclass union all "
            "select relid from pg_partition_tree(?::regclass))",
            [name, name],
        )
        return bool(found)

    def _insert_counted(self, table: Table, select: str, insert: str, action: str) -> None:
        """Insert rows, and compare their number with the server's. To keep them for that takes up to half as long."""
        ((expected, written),) = self.execute(
            f"with changed as materialized ({select}), "
            f"written as ({insert} select * from changed {action} returning 1) "
            "select (select count(*) from changed), (select count(*) from written)"
        )
        _check_count(table, expected, written)

    def _changed(self, table: Table, values: Sequence[str]) -> str:
        """Return the part of a query that leaves out the rows that the table has as they are.

        Most refetched rows have not changed. To write or lock each of them costs the server three times as much.

        Args:
            table: The table.
            values: The columns to compare; none to leave out every row whose key the table has.
        """
        self.execute(f"analyze {_STAGING}")
        match = " and ".join(f"old.{quoted(key)} = new.{quoted(key)}" for key in table.schema.keys)
        is_new = f"old.{quoted(table.schema.keys[0])} is null"
        if values:
            # PostgreSQL cannot compare json.
            compared = [f"{column}::text" if table.columns[column[1:-1]] == "json" else column for column in values]
            old, new = (", ".join(f"{row}.{column}" for column in compared) for row in ("old", "new"))
            is_new += f" or ({old}) is distinct from ({new})"
        return f"left join {self.name(table.schema.stream)} as old on {match} where {is_new}"

    def _copy(self, name: str, rows: ParquetRows, *, options: str = "") -> int:
        """Copy rows into a table, and return how many of them the server says it has."""
        columns = ", ".join(map(quoted, rows.columns))
        statement = f"copy {name} ({columns}) from stdin (format csv{', ' + options if options else ''})"
        with _errors(), self._connection.cursor() as cursor:
            with cursor.copy(statement.encode()) as copy:
                for chunk in rows.csv():
                    copy.write(chunk)
            return cursor.rowcount

    def _create_schema(self) -> None:
        with self.transaction():
            # Not `if not exists`: that needs the right to create schemas even if this one exists.
            if not self._has_schema():
                self._wait_for_others()
                if not self._has_schema():
                    self.execute(f"create schema {quoted(self._schema)}")

    def _has_schema(self) -> bool:
        return bool(self.execute("select 1 from pg_namespace where nspname = ?", [self._schema]))

    def _wait_for_others(self) -> None:
        """Wait for loaders that create something in the same schema; others wait until this transaction ends."""
        self.execute(f"select pg_advisory_xact_lock({self._number('')})")

    def _number(self, name: str) -> int:
        """Return the number of a lock. Its name is a run, or empty for the schema."""
        return int.from_bytes(hashlib.sha256(f"{self._schema}/{name}".encode()).digest()[:7], "big")


def _placeholder(mark: re.Match[str]) -> str:
    return "%s" if mark[0] == "?" else mark[0].replace("%", "%%")


def _is_alive(connection: psycopg.Connection[Any]) -> bool:
    try:
        connection.execute("select 1")
    except psycopg.Error:
        return False
    return True


def _connect(address: str, parameters: Mapping[str, Any]) -> psycopg.Connection[Any]:
    try:
        ours = {"client_encoding": "utf8", "application_name": "target-vonage-files"}
        # Connection pools cannot keep prepared statements.
        connection = psycopg.connect(
            make_conninfo(address, **parameters, **ours), autocommit=True, prepare_threshold=None
        )
        connection.execute(_SESSION)
    except (psycopg.Error, UnicodeError) as error:
        said = str(error)
        why = next((why for words, why in _CONNECTION_ADVICE if words in said), "check the settings of the server")
        msg = f"The PostgreSQL server cannot be used: {why}."
        raise LoadError(msg) from None
    return connection


def _check_count(table: Table, expected: int, written: int) -> None:
    """Compare how many rows should have gone into a table with how many did.

    Raises:
        LoadError: Some did not.
    """
    if expected != written:
        msg = (
            f"PostgreSQL took only {written:,} of {expected:,} rows for the table {table.schema.stream}. A trigger "
            "probably discards rows (BEFORE ... RETURN NULL): remove it, and filter in a view instead. Nothing of this "
            "transaction remains, and its files are still there."
        )
        raise LoadError(msg)


@contextmanager
def _errors() -> Generator[None, None, None]:
    """Raise an error of the server as a `LoadError`, without its text, which may hold values."""
    try:
        yield
    except psycopg.Error as error:
        advice = next((advice for kind, advice in _ADVICE if isinstance(error, kind)), "")
        table = error.diag.table_name or ""
        column = error.diag.column_name or ""
        place = f" (table {table}{', column ' + column if column else ''})" if table else ""
        code = f"{type(error).__name__}, {error.sqlstate}" if error.sqlstate else type(error).__name__
        msg = (
            f"PostgreSQL refused to load the rows: {code}{place}. "
            f"{advice or 'Its log says more.'} Nothing of this transaction remains, and its files are still there."
        )
        raise LoadError(msg) from None
