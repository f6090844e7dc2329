"""Runs in Airflow's environment, and runs the DAG as `airflow dags test` does.

Each line of standard input is an order to run it once; the answer is a line of JSON on standard output: the state of
the run, and of each account the state of its task, how often that was tried, and what it has returned.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any
from unittest import mock

from airflow.__main__ import main as airflow
from vonage_dag import records


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Airflow logs to standard output
    with mock.patch.object(sys, "argv", ["airflow", "db", "migrate"]):
        airflow()  # in this process: to import Airflow takes longer than to make the tables
    for _ in sys.stdin:
        run = records.test()
        tasks = {task.rendered_map_index: describe(task) for task in run.get_task_instances() if task.task_id == "load"}
        answers.write(json.dumps({"state": run.state, "tasks": tasks}) + "\n")
        answers.flush()


def describe(task: Any) -> dict[str, Any]:
    return {"state": task.state, "tries": task.try_number, "records": task.xcom_pull(map_indexes=task.map_index)}


if __name__ == "__main__":
    main()
