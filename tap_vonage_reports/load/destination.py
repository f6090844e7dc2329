"""What a destination can do, and how a table gets the columns of a stream."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tap_vonage_reports.errors import LoadError
from tap_vonage_reports.load.columns import Kind
from tap_vonage_reports.load.parquet_rows import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from tap_vonage_reports.load.columns import StreamSchema
    from tap_vonage_reports.load.parquet_rows import ParquetRows

METADATA: Mapping[str, Kind] = {
    "_sdc_extracted_at": Kind.TIME,
    "_sdc_received_at": Kind.TIME,
    "_sdc_batched_at": Kind.TIME,
    "_sdc_deleted_at": Kind.TIME,
    "_sdc_sequence": Kind.INTEGER,
    "_sdc_table_version": Kind.INTEGER,
    "_sdc_sync_started_at": Kind.INTEGER,
}
"""The columns that Singer targets add to a row, in target-postgres' order."""


@dataclass(frozen=True)
class ColumnTypes:
    """The column types of a database.

    Attributes:
        created: The type of a new column, by kind.
        holding: Patterns of the types that hold all values of a kind as they are, by kind.
        widened: Patterns of the types that a column may have at first; it is changed to the type of a new column.
    """

    created: Mapping[Kind, str]
    holding: Mapping[Kind, str]
    widened: Mapping[Kind, str]

    def needs_widening(self, stream: str, column: str, kind: Kind, found: str) -> bool:
        """Return True if an existing column has to be changed before it can hold values of a kind.

        Args:
            stream: The stream.
            column: The column's name.
            kind: The kind of its values.
            found: The type that it has.

        Raises:
            LoadError: Its type can neither hold them nor be widened without loss.
        """
        if found == self.created[kind] or re.fullmatch(self.holding.get(kind, ""), found):
            return False
        if re.fullmatch(self.widened.get(kind, ""), found):
            return True
        msg = (
            f"The column {column} in the table of {stream} has the type {found}, which cannot hold {kind.value}. "
            f"Change it to {self.created[kind]}, rename the table, or load into another schema (default_target_schema)."
        )
        raise LoadError(msg)


@dataclass
class Table:
    """A table for a stream.

    Attributes:
        schema: The stream's columns.
        columns: The existing columns and their types. Empty if there is no table yet.
    """

    schema: StreamSchema
    columns: dict[str, str] = field(default_factory=dict)


class Destination(Protocol):
    """A database into which rows are loaded.

    Every method but `transaction` and `close` is called inside a transaction, and raises a `LoadError` if it fails.
    """

    types: ColumnTypes

    def hold(self, run: str) -> bool:
        """Hold a run until this process ends.

        Returns:
            False if another process holds it, which therefore lives.
        """

    def transaction(self) -> AbstractContextManager[object]:
        """Run a `with` block in a transaction: all or nothing of it remains."""

    def execute(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement with parameters (``?``), and return its rows."""

    def name(self, table: str) -> str:
        """Return the name of a table with its schema, quoted."""

    def columns(self, table: str) -> dict[str, str]:
        """Return the columns of a table with their types; none if it does not exist."""

    def create(self, table: Table, *, with_key: bool = True) -> None:
        """Create a table."""

    def load(self, table: Table, rows: ParquetRows, metadata: Mapping[str, object], *, replace: bool) -> None:
        """Put rows into a table.

        Args:
            table: The table. It is created if it does not exist.
            rows: The rows.
            metadata: Values of the columns in `METADATA`; none if the table does not have them.
            replace: True if a row replaces the one with the same key, False if that stays.
        """

    def close(self) -> None:
        """Close the connection."""


def prepare_table(destination: Destination, schema: StreamSchema, *, metadata: bool) -> Table:
    """Return a stream's table. If it exists, give it the columns that it lacks, and widen those that are too narrow.

    Args:
        destination: The database.
        schema: The stream's columns.
        metadata: True if the table is to have the columns in `METADATA`.

    Raises:
        LoadError: A column has a type that does not fit.
    """
    if metadata:
        kinds = {**schema.kinds, **{name: kind for name, kind in METADATA.items() if name not in schema.kinds}}
        schema = type(schema)(schema.stream, schema.keys, kinds)
    table = Table(schema, destination.columns(schema.stream))
    if not table.columns:
        return table
    name = destination.name(schema.stream)
    for column, kind in schema.kinds.items():
        wanted = destination.types.created[kind]
        found = table.columns.get(column)
        if found is None:
            destination.execute(f"alter table {name} add column if not exists {quoted(column)} {wanted}")
        elif not destination.types.needs_widening(schema.stream, column, kind, found):
            continue
        else:
            destination.execute(f"alter table {name} alter column {quoted(column)} type {wanted}")
        table.columns[column] = wanted
    return table


def column_definitions(destination: Destination, schema: StreamSchema) -> list[str]:
    """Return the columns of a new table as SQL."""
    created = destination.types.created
    return [
        f"{quoted(name)} {created[kind]}{' not null' if name in schema.keys else ''}"
        for name, kind in schema.kinds.items()
    ]


def key_list(schema: StreamSchema) -> str:
    """Return the columns of the key, for an SQL statement."""
    return ", ".join(map(quoted, schema.keys))


def value_of(value: datetime | int | None) -> str:
    """Return a value of a column in `METADATA` as SQL."""
    if value is None:
        return "null"
    return str(value) if isinstance(value, int) else f"timestamp '{value:%Y-%m-%d %H:%M:%S.%f}'"
