"""Dagster definitions: one partition per account of the API key. New sub-accounts become partitions by themselves.

Runs start once a day, for new accounts, and when a report of an account is ready.
"""

# ruff: noqa: INP001 - a program to copy, not a package

import json

import dagster as dg
import vonage_callbacks
from vonage_accounts import Setup, list_accounts, load_account

accounts = dg.DynamicPartitionsDefinition(name="vonage_accounts")


@dg.asset(
    partitions_def=accounts,
    # Its limit is the number of concurrent loads: the accounts share the key's rate limit.
    pool="vonage_api_key",
    # The tap itself retries short failures of the API. These retries are for longer ones.
    retry_policy=dg.RetryPolicy(max_retries=3, delay=Setup.read().retry_seconds, backoff=dg.Backoff.EXPONENTIAL),
)
def vonage_records(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Load the call and message records of one account into the target."""
    records = load_account(context.partition_key, context.log.log)
    return dg.MaterializeResult(metadata={"records": records})


load = dg.define_asset_job("load", selection=[vonage_records], partitions_def=accounts)


@dg.sensor(job=load, minimum_interval_seconds=3600, default_status=dg.DefaultSensorStatus.RUNNING)
def account_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Keep the partitions equal to the accounts, and load new accounts immediately.

    Of an account that is closed, the state and what was loaded stay.
    """
    known = set(context.instance.get_dynamic_partitions("vonage_accounts"))
    listed = list_accounts()
    new, gone = [account for account in listed if account not in known], sorted(known - set(listed))
    return dg.SensorResult(
        dynamic_partitions_requests=[accounts.build_add_request(new), accounts.build_delete_request(gone)],
        run_requests=[dg.RunRequest(partition_key=account) for account in new],
    )


@dg.sensor(job=load, minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def report_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Load the accounts whose reports are ready, as `vonage_callbacks.py` was told. One run reads all that are.

    The cursor has the reports of the last evaluation. Only now are their runs certain to be requested, so only now are
    their callbacks removed. A callback that comes twice starts no second run, because the run key is the report's ID.
    """
    inbox = vonage_callbacks.Inbox(vonage_callbacks.Setup.read().folder)
    inbox.remove(json.loads(context.cursor or "[]"))
    ready = inbox.accounts()
    known = set(context.instance.get_dynamic_partitions("vonage_accounts"))
    report_of = {account: report for report, account in ready.items() if account in known}
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=report, partition_key=account) for account, report in report_of.items()],
        cursor=json.dumps([*ready]),
    )


@dg.schedule(job=load, cron_schedule="15 3 * * *", default_status=dg.DefaultScheduleStatus.RUNNING)
def daily(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
    """Load every account once a day: every run refetches the lookback, and rows are billed."""
    day = context.scheduled_execution_time.date()
    known = context.instance.get_dynamic_partitions("vonage_accounts")
    return [dg.RunRequest(run_key=f"{day}/{account}", partition_key=account) for account in known]


defs = dg.Definitions(assets=[vonage_records], jobs=[load], sensors=[account_sensor, report_sensor], schedules=[daily])
