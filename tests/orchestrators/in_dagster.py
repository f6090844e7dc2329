"""Runs in Dagster's environment, and does what its daemon would: evaluates the sensor or the schedule, and runs that.

Each line of standard input is an order: `sensor`, `reports`, `schedule`, or `known` and an older account. The answer
is a line of JSON on standard output: of each account the records, the retries that it took, and the lines of its log.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from typing import Any

import dagster as dg
from definitions import account_sensor, daily, defs, report_sensor

cursors: list[str | None] = [None]
"""The cursors of `report_sensor`, the last one at the end."""


def main() -> None:
    with dg.DagsterInstance.get() as instance:
        for order in sys.stdin:
            answer = {request.partition_key: load(request, instance) for request in requests(order.strip(), instance)}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


def requests(order: str, instance: dg.DagsterInstance) -> list[Any]:
    if order.startswith("known "):
        instance.add_dynamic_partitions("vonage_accounts", [order.removeprefix("known ")])
        return []
    if order == "schedule":
        return list(daily(dg.build_schedule_context(instance, scheduled_execution_time=datetime.now(timezone.utc))))
    if order == "reports":
        result = report_sensor(dg.build_sensor_context(instance, cursor=cursors[-1]))
        cursors.append(result.cursor)
        return list(result.run_requests or [])
    found = account_sensor(dg.build_sensor_context(instance))
    for change in found.dynamic_partitions_requests or []:
        if isinstance(change, dg.AddDynamicPartitionsRequest):
            instance.add_dynamic_partitions(change.partitions_def_name, change.partition_keys)
        else:
            for key in change.partition_keys:
                instance.delete_dynamic_partition(change.partitions_def_name, key)
    return list(found.run_requests or [])


def load(request: Any, instance: dg.DagsterInstance) -> dict[str, Any]:
    job = defs.resolve_job_def("load")
    run = job.execute_in_process(partition_key=request.partition_key, instance=instance, raise_on_error=False)
    events = [entry.dagster_event for entry in instance.all_logs(run.run_id) if entry.dagster_event]
    made = [event for event in events if event.is_step_materialization]
    return {
        "run_key": request.run_key,
        "success": run.success,
        "records": [event.materialization.metadata["records"].value for event in made],
        "partitions": [event.partition for event in made],
        "retries": sum(event.is_step_restarted for event in events),
        "log": [entry.user_message for entry in instance.all_logs(run.run_id) if not entry.dagster_event],
    }


if __name__ == "__main__":
    main()
