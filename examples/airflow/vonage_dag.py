"""Airflow DAG: one mapped task per account of the API key. Each run lists the accounts."""

# ruff: noqa: INP001 - a program to copy, not a package

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone

from airflow.sdk import dag, task
from vonage_accounts import Setup, list_accounts, load_account

SETUP = Setup.read()


@dag(
    schedule="15 3 * * *",  # once a day: every run refetches the lookback, and rows are billed
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,  # the state records what is missing, so a missed day needs no run of its own
    max_active_runs=1,  # two concurrent loads of an account would fetch, and pay for, the same rows
    # The tap itself retries short failures of the API. These retries are for longer ones.
    default_args={"retries": 3, "retry_delay": timedelta(seconds=SETUP.retry_seconds)},
)
def vonage_records() -> None:
    """Load the call and message records of all accounts into the target."""

    @task
    def accounts() -> list[str]:
        """Return the keys of the accounts."""
        return list_accounts()

    # The accounts that are loaded at the same time share the key's rate limit.
    @task(map_index_template="{{ task.op_kwargs['account'] }}", max_active_tis_per_dag=SETUP.workers)
    def load(account: str) -> int:
        """Load one account, and return the number of records written."""
        return load_account(account, logging.getLogger("vonage_accounts").log)

    load.expand(account=accounts())


records = vonage_records()

if __name__ == "__main__":
    records.test()
