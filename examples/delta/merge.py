"""Merge BATCH Parquet files into Delta Lake tables, one per stream, and remove the files.

    python merge.py vonage lake

merges the files below the folder `vonage` into the tables `lake/sms`, `lake/voice_call` and so on, which then have one
row for each id: the newest one. With --tidy, it also joins small files of the tables, and removes files that the tables
have not used for a week. With --by-month sms=date_received, the table `sms` is divided by the month of that column, so
that a merge reads only the months of its rows. The column must never change for an id.

A file is removed only after the commit that contains its rows, the oldest one first. So the program can be killed at
any moment: the next run merges the files that are left again, which changes nothing.
"""

# ruff: noqa: INP001 - a program to copy, not a package

from __future__ import annotations

import argparse
import sys
from datetime import timedelta
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
from deltalake import DeltaTable

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES_PER_COMMIT = 10
"""Files whose rows are merged in one commit: by default, up to a million rows, which need about 1.3 GB of memory."""
KEYS = {"accounts": "api_key"}
"""The streams whose key is not `id`."""
UNUSED_FOR = timedelta(days=7)
"""How long a query may run that still needs files of an older version of a table."""

# A refetched row is in a later file, and names of files contain the time at which the tap started to read.
NEWEST = """
select * exclude (filename, file_row_number) {month}
from read_parquet($files, filename = true, file_row_number = true, union_by_name = true, hive_partitioning = false)
qualify row_number() over (
    partition by {key} order by regexp_extract(filename, '[^-]+-[^-]+-[^-]+$') desc, file_row_number desc
) = 1
"""


def main() -> None:
    """Merge the files of all streams."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, help="the tap's setting batch_config.storage.root")
    parser.add_argument("tables", help="where the tables are: a folder, or a URL that deltalake supports")
    parser.add_argument(
        "--by-month", metavar="STREAM=COLUMN", type=division, action="append", default=[], help="divide a table"
    )
    parser.add_argument("--tidy", action="store_true", help="join small files, and remove unused ones")
    options = parser.parse_args()
    tables, months = options.tables.rstrip("/"), dict(options.by_month)
    for stream, files in files_by_stream(options.files):
        while batch := list(islice(files, FILES_PER_COMMIT)):
            rows = merge(batch, f"{tables}/{stream}", KEYS.get(stream, "id"), months.get(stream))
            remove(batch)
            sys.stdout.write(f"{stream}: {rows} rows of {len(batch)} files\n")
        if options.tidy:
            tidy(f"{tables}/{stream}")


def division(text: str) -> tuple[str, str]:
    """Return the stream and the column of an argument of --by-month."""
    stream, column = text.split("=")
    return stream, column


def files_by_stream(folder: Path) -> Iterator[tuple[str, Iterator[Path]]]:
    """Yield the streams, and the files of each, the oldest first. The names say both, in any `batch_layout`.

    A prefix that stands before the name of a stream ends with a hyphen, which no stream has in its name.
    """
    names = {path: path.name.split("-")[-4:] for path in folder.rglob("*-*-*-*.parquet")}
    found = sorted((stream, parts, path) for path, (stream, *parts) in names.items() if not path.name.startswith("."))
    for stream, files in groupby(found, key=itemgetter(0)):
        yield stream, (path for *_, path in files)


def merge(files: list[Path], table: str, key: str, date: str | None = None) -> int:
    """Merge the rows of files into a table, in one commit, and return their number.

    Args:
        files: The files.
        table: The table, which is created if it is missing.
        key: The column by which rows are the same.
        date: The column by whose month the table is divided.
    """
    month = f", coalesce(strftime({date}, '%Y-%m'), 'none') as month" if date else ""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")  # otherwise columns of time would have this machine's zone
        names = [str(file) for file in files]
        source = connection.sql(NEWEST.format(key=key, month=month), params={"files": names}).to_arrow_table()
    target = DeltaTable.create(table, source.schema, mode="ignore", partition_by=["month"] if date else None)
    if bool(date) != ("month" in target.metadata().partition_columns):
        sys.exit(f"The table {table} was made with another --by-month. Use the same, or remove the table.")
    same = f"target.{key} = source.{key}"
    if date:
        months = ", ".join(f"'{each}'" for each in source["month"].unique().to_pylist())
        same = f"target.month in ({months}) and target.month = source.month and {same}"
    (
        target.merge(
            source,
            predicate=same,
            source_alias="source",
            target_alias="target",
            merge_schema=True,  # a newer version of the tap may have more columns
        )
        .when_matched_update_all()
        .when_not_matched_insert_all()
        .execute()
    )
    return len(source)


def remove(files: list[Path]) -> None:
    """Remove files, the oldest first: what a crash leaves is then never older than what the table has."""
    for file in files:
        file.unlink()


def tidy(table: str) -> None:
    """Join the small files of a table, and remove those that no version of the last days needs."""
    target = DeltaTable(table)
    target.optimize.compact()
    target.vacuum(retention_hours=int(UNUSED_FOR / timedelta(hours=1)), dry_run=False)


if __name__ == "__main__":
    main()
