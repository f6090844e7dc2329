"""A loader for SQLite with nothing but what the Singer SDK gives every loader of a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk.sql import SQLConnector, SQLSink, SQLTarget

if TYPE_CHECKING:
    from collections.abc import Mapping


class SQLiteConnector(SQLConnector):
    allow_temp_tables = False
    allow_column_alter = False

    def get_sqlalchemy_url(self, config: Mapping[str, Any]) -> str:
        return f"sqlite:///{config['file']}"


class SQLiteSink(SQLSink[SQLiteConnector]):
    connector_class = SQLiteConnector


class TargetSQLite(SQLTarget):
    name = "target-sqlite-of-the-sdk"
    default_sink_class = SQLiteSink
    config_jsonschema = {"type": "object", "properties": {"file": {"type": "string"}}}  # noqa: RUF012 - as the SDK has it


if __name__ == "__main__":
    TargetSQLite.cli()
