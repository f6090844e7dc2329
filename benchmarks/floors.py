"""The floors: the least that a program has to do to read an SMS report in Python, and in Arrow.

They check nothing, keep no state and know this one report; what the tap takes beyond them is the price of what it does
beyond them. Each is a process of its own: ``floors.py python REPORT.zip`` and ``floors.py arrow REPORT.zip FILE``.
"""

from __future__ import annotations

import csv
import io
import os
import sys
import zipfile
from datetime import datetime, timezone
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

TIMES = ("date_received", "date_finalized")
ROWS_AT_ONCE = 1000
UTC = "+00:00"


def main(kind: str, *arguments: str) -> None:
    """Run a floor."""
    FLOORS[kind](*arguments)


def python_floor(report: str) -> None:
    """Unzip, split, give each cell its type, and write one line for each row."""
    import msgspec  # noqa: PLC0415 - the other floor does without

    encode = msgspec.json.Encoder(decimal_format="number").encode_lines
    write = sys.stdout.buffer.write
    converters: dict[str, Callable[[str], Any]] = {
        **dict.fromkeys(TIMES, _time),
        "latency": int,
        "total_price": Decimal,
        "concatenated": "true".__eq__,
    }
    with zipfile.ZipFile(report) as archive, archive.open(archive.namelist()[0]) as member:
        rows = csv.reader(io.TextIOWrapper(member, "utf-8", newline=""))
        names = next(rows)
        typed = [(place, converters[name]) for place, name in enumerate(names) if name in converters]
        while lines := list(islice(rows, ROWS_AT_ONCE)):
            messages = []
            for line in lines:
                cells: list[Any] = [cell or None for cell in line]
                for place, convert in typed:
                    cell = cells[place]
                    if cell is not None:
                        cells[place] = convert(cell)
                messages.append({"type": "RECORD", "stream": "sms", "record": dict(zip(names, cells))})  # noqa: B905 - the floor checks nothing
            write(encode(messages))


def arrow_floor(report: str, target: str) -> None:
    """Unzip, let Arrow split and convert by columns, and write one Parquet file."""
    import pyarrow as pa  # noqa: PLC0415 - the other floor does without
    from pyarrow import csv as arrow_csv  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    with zipfile.ZipFile(report) as archive:
        name = archive.namelist()[0]
        with archive.open(name) as member:
            names = next(csv.reader([member.readline().decode()]))
        types = {
            **dict.fromkeys(names, pa.string()),
            **dict.fromkeys(TIMES, pa.timestamp("ms", tz="UTC")),
            "latency": pa.int64(),
            "total_price": pa.decimal128(38, 12),
            "concatenated": pa.bool_(),
        }
        schema = pa.schema([(name, types[name]) for name in names])
        with archive.open(name) as member, parquet.ParquetWriter(target, schema, compression="snappy") as writer:
            batches = arrow_csv.open_csv(
                member,
                arrow_csv.ReadOptions(block_size=1 << 23),
                arrow_csv.ParseOptions(newlines_in_values=True),
                arrow_csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True),
            )
            for batch in batches:
                writer.write_batch(batch)
    # Arrow's thread may still hold some of Python's bytes, and would abort a Python that is ending by giving them back.
    os._exit(0)


def _time(text: str) -> str:
    """A time in the form that the tap writes; nearly always it comes so."""
    return text if text.endswith(UTC) else datetime.fromisoformat(text).astimezone(timezone.utc).isoformat()


FLOORS: dict[str, Callable[..., None]] = {"python": python_floor, "arrow": arrow_floor}

if __name__ == "__main__":
    main(*sys.argv[1:])
