"""A tap of a few rows, which goes on from the last STATE as the real one does; and the loader in this process."""

from __future__ import annotations

import io
import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from tap_vonage_reports.load.__main__ import load
from tap_vonage_reports.load.parquet_rows import PERSONAL_DATA
from tap_vonage_reports.load.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SCHEMA = {
    "id": {"type": "string"},
    "date_received": {"type": ["string", "null"], "format": "date-time"},
    "latency": {"type": ["integer", "null"]},
    "total_price": {"type": ["number", "null"]},
    "concatenated": {"type": ["boolean", "null"]},
    "status": {"type": ["string", "null"]},
    "_extra": {"type": ["string", "null"]},
}
TYPES = {
    "id": pa.string(),
    "date_received": pa.timestamp("us", "UTC"),
    "latency": pa.int64(),
    "total_price": pa.decimal128(38, 18),
    "concatenated": pa.bool_(),
    "status": pa.string(),
    "_extra": pa.string(),
}
WINDOWS = 2
ROWS = 4
STREAMS = ("messages", "sms")
NOON = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)


def message(kind: str, **values: Any) -> bytes:
    return json.dumps({"type": kind, **values}).encode() + b"\n"


def schema_message(stream: str = "sms", columns: dict[str, Any] | None = None) -> bytes:
    schema = {"type": "object", "properties": SCHEMA if columns is None else columns}
    return message("SCHEMA", stream=stream, schema=schema, key_properties=["id"])


def batch_message(*paths: Path, stream: str = "sms") -> bytes:
    manifest = [f"file://{path}" for path in paths]
    return message("BATCH", stream=stream, encoding={"format": "parquet", "compression": "snappy"}, manifest=manifest)


def write(path: Path, rows: Sequence[dict[str, Any]], types: dict[str, Any] | None = None, treatment: str = "") -> Path:
    """Write rows to a Parquet file as the tap does. Columns that a row lacks are null."""
    columns = {name: kind for name, kind in TYPES.items() if types is None} or dict(types or {})
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {name: pa.array([row.get(name) for row in rows], kind) for name, kind in columns.items()}
    metadata = {PERSONAL_DATA: treatment} if treatment else None
    pq.write_table(pa.table(data, metadata=metadata), path)
    return path


@dataclass
class CannedTap:
    """A tap that has `WINDOWS` windows for each of two streams, with a file and a STATE for each.

    Every run changes the status of all rows that it reads, as if they were delivered meanwhile.

    Attributes:
        folder: Where its files go.
        truth: What the API has now: the rows by stream and id, as the last run has read them.
    """

    folder: Path
    truth: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    runs: int = 0

    def run(self, done: int) -> bytes:
        """Return the messages of a run.

        Args:
            done: How many windows the last STATE has passed.
        """
        self.runs += 1
        run, number, lines = secrets.token_hex(4), 0, [message("STATE", value=done)]
        for position, (stream, window) in enumerate(
            ((stream, window) for stream in STREAMS for window in range(WINDOWS)), 1
        ):
            if window == 0:
                lines.append(schema_message(stream))
            if position <= done:
                continue
            rows = [self._row(window, row) for row in range(ROWS)]
            self.truth |= {(stream, row["id"]): row for row in rows}
            number += 1
            time = f"20261120T12000000{self.runs:04}Z"
            folder = self.folder / stream / "read_date=2026-11-20"
            path = write(folder / f"{stream}-{time}-{run}-{number:05}.parquet", rows)
            lines += [batch_message(path, stream=stream), message("STATE", value=position)]
        return b"".join(lines)

    def _row(self, window: int, row: int) -> dict[str, Any]:
        return {
            "id": f"{window}-{row}",
            "date_received": NOON,
            "total_price": Decimal(f"0.{window}{row}00000000000001"),
            "status": f"as of run {self.runs}",
        }

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]


def run_loader(lines: bytes, **settings: Any) -> list[Any]:
    """Run the loader in this process, and return the states that it passed on."""
    states: list[Any] = []
    load(Settings(**settings), io.BytesIO(lines), lambda value: states.append(msgspec.json.decode(value)))
    return states


def rows_of(path: Path, table: str = "vonage.sms") -> list[dict[str, Any]]:
    """Return the rows of a table in a DuckDB file, without the columns that the loader adds."""
    with duckdb.connect(str(path), read_only=True) as database:
        found = database.execute(f"select * from {table} order by id")  # noqa: S608 - from a test
        names = [column[0] for column in found.description]
        rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    return [{name: value for name, value in row.items() if not name.startswith("_sdc_")} for row in rows]
