"""target-vonage-files: loads the tap's Parquet files into PostgreSQL or a DuckDB file, and then removes them.

One transaction per STATE message: the rows of all files announced before it are upserted by key, then the files are
removed, then the STATE is passed on. A process that is killed anywhere leaves nothing that the next run does not put
right (see `ledger`).
"""
