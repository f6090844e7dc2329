"""Total rows and prices per account, by DuckDB over the BATCH files of all runs.

    python totals.py s3://my-bucket/vonage sms

prints CSV: account, currency, status, rows, and the sum of total_price, exact to the last digit. The address is a
folder, or a URL of any storage that fsspec supports. For S3, credentials, region and AWS_ENDPOINT_URL come from the
environment.
"""

# ruff: noqa: INP001 - a program to copy, not a package

from __future__ import annotations

import csv
import sys

import duckdb
from fsspec.core import url_to_fs

# A refetched row is in a later file, and file names contain the time at which the tap started to read.
TOTALS = """
with latest as (
    from read_parquet($files, filename = true, file_row_number = true, union_by_name = true)
    qualify row_number() over (partition by id order by parse_filename(filename) desc, file_row_number desc) = 1
)
select account_id, currency, status, count(*) as rows, cast(coalesce(sum(total_price), 0) as varchar) as total_price
from latest
group by all
order by all
"""


def main(address: str, stream: str) -> None:
    """Print the totals of a stream.

    Args:
        address: The folder of the files: `root` of the tap's setting batch_config.storage. Folders in it are searched,
            so any `batch_layout` will do.
        stream: The stream; one with a column total_price.
    """
    files, _ = url_to_fs(address)
    with duckdb.connect() as connection:
        # DuckDB's own S3 support is an extension that it would download first; this needs nothing but a package.
        connection.register_filesystem(files)
        found = connection.execute(TOTALS, {"files": f"{address.rstrip('/')}/**/{stream}-*.parquet"})
        writer = csv.writer(sys.stdout)
        writer.writerow(column[0] for column in found.description)
        writer.writerows(found.fetchall())


if __name__ == "__main__":
    if len(sys.argv) != 3:  # noqa: PLR2004 - the program and its two arguments
        sys.exit(__doc__)
    main(*sys.argv[1:])
