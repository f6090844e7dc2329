"""Airflow: one mapped task per account of the API key; the accounts are listed in each run."""

# ruff: noqa: INP001 - a program to copy, not a package

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone

from airflow.sdk import dag, task
from vonage_accounts import Setup, list_accounts, load_account

SETUP = Setup.read()


@dag(
    schedule="15 3 * * *",  # once a day: more often reads the lookback more often, and rows are billed
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,  # the state knows what is missing; a day that was left out needs no run of its own
    max_active_runs=1,  # two loads of an account at once would read, and pay for, the same rows
    # What the API refuses for a moment the tap tries again itself. This is for what takes longer.
    default_args={"retries": 3, "retry_delay": timedelta(seconds=SETUP.retry_seconds)},
)
def vonage_records() -> None:
    """The call and message records of all accounts, into the target."""

    @task
    def accounts() -> list[str]:
        """The accounts' keys."""
        return list_accounts()

    # As many at once as share what the key may ask for.
    @task(map_index_template="{{ task.op_kwargs['account'] }}", max_active_tis_per_dag=SETUP.workers)
    def load(account: str) -> int:
        """Load one account; how many records the tap has written."""
        return load_account(account, logging.getLogger("vonage_accounts").log)

    load.expand(account=accounts())


records = vonage_records()

if __name__ == "__main__":
    records.test()
