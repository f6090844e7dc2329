"""The examples for orchestrators, as their users run them: on the real packages, each in an environment of its own."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.sandbox import DEMO_KEY, Fault, Sandbox, Within
from tests.environments import environment, requirements_of
from tests.harness import catalog_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

EXAMPLES = Path(__file__).parent.parent / "examples"
DRIVERS = Path(__file__).parent / "orchestrators"
TARGET = "target-jsonl==0.1.4"
NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
START, END = NOW - timedelta(hours=4), NOW + timedelta(hours=2)
ROWS = {DEMO_KEY: 450, "sub00001": 300}
"""Of each account, from START to END."""
TOKEN = "0123456789abcdef-token"  # noqa: S105 - of a test
DELAY = timedelta(seconds=60)
"""How far the tap stays behind the API's clock."""


@dataclass
class Place:
    """A folder in which an example is used as its README says, beside a sandbox."""

    folder: Path
    sandbox: Sandbox
    variables: dict[str, str]

    @contextmanager
    def engine(self, name: str, driver: str) -> Generator[Callable[[str], Any], None, None]:
        """Run a driver in an environment of its own; to be called with an order, for the answer."""
        shutil.copy(DRIVERS / driver, self.folder)
        command = [environment(name, requirements_of(name)) / "python", self.folder / driver]
        pipe = subprocess.PIPE
        log = self.folder / f"{name}.log"
        with (
            log.open("w", encoding="utf-8") as errors,
            subprocess.Popen(  # noqa: S603 - ours
                command, cwd=self.folder, env=self.variables, stdin=pipe, stdout=pipe, stderr=errors, text=True
            ) as process,
        ):
            assert process.stdin
            assert process.stdout
            orders, answers = process.stdin, process.stdout

            def ask(order: str) -> Any:
                orders.write(f"{order}\n")
                orders.flush()
                answer = answers.readline()
                assert answer, log.read_text("utf-8")[-3000:]
                return json.loads(answer)

            try:
                yield ask
            except BaseException:
                process.terminate()
                raise

    @contextmanager
    def receiver(self) -> Generator[tuple[str, Callable[[], str]], None, None]:
        """Run the receiver of callbacks. Yield its address, and a function that waits for the next report's ID."""
        command = [sys.executable, str(self.folder / "vonage_callbacks.py"), "--port", "0"]
        with subprocess.Popen(  # noqa: S603 - ours
            command, cwd=self.folder, env=self.variables, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr
            log = process.stderr
            try:
                yield log.readline().split()[-1], lambda: log.readline().split()[1]
            finally:
                process.terminate()

    def covered(self, account: str) -> datetime:
        """Until when an account is covered, as its own state says; the state speaks of no other account."""
        state = json.loads((self.folder / "states" / f"{account}.json").read_text())
        partitions = state["bookmarks"]["sms"]["partitions"]
        assert {partition["context"]["account_id"] for partition in partitions} == {account}
        return min(datetime.fromisoformat(partition["replication_key_value"]) for partition in partitions)

    def loaded(self) -> dict[str, dict[str, str]]:
        """The statuses of each account's rows in the target's file, by id; of several with one id the last."""
        rows: dict[str, dict[str, str]] = {}
        for line in (self.folder / "output" / "sms.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            rows.setdefault(row["account_id"], {})[row["id"]] = row["status"]
        return rows

    def truth(self) -> dict[str, dict[str, str]]:
        """The same as the sandbox has it at this moment."""
        end = self.sandbox.clock.now() - DELAY
        return {
            account.key: {
                row["id"]: row["status"] for row in self.sandbox.expected("sms", account.key, "outbound", START, end)
            }
            for account in self.sandbox.accounts
        }


@pytest.fixture
def place(make_sandbox: Callable[..., Sandbox], tmp_path: Path) -> Place:
    target = environment("target-jsonl", [TARGET]) / "target-jsonl"
    rows = {f"sms/outbound/{account}": Within(count, START, END) for account, count in ROWS.items()}
    sandbox = make_sandbox(rows=rows, subaccount_keys=["sub00001"], clock=NOW)
    config, catalog = tmp_path / "target.json", tmp_path / "catalog.json"
    config.write_text(json.dumps({"destination_path": str(tmp_path / "output"), "do_timestamp_file": False}))
    catalog.write_text(json.dumps(catalog_of(["sms"])))
    (tmp_path / "output").mkdir()
    shutil.copy(EXAMPLES / "vonage_accounts.py", tmp_path)
    variables = {
        "TAP_VONAGE_REPORTS_START_DATE": START.isoformat(),
        "TAP_VONAGE_REPORTS_STREAM_OPTIONS": json.dumps({"sms": {"filters": {"direction": "outbound"}}}),
        "VONAGE_TAP": words(sys.executable, "-m", "tap_vonage_reports", "--config", "ENV", "--catalog", catalog),
        "VONAGE_TARGET": words(target, "--config", config),
        "VONAGE_STATES": str(tmp_path / "states"),
        "VONAGE_RETRY_SECONDS": "0",
        "VONAGE_WORKERS": "1",
    }
    return Place(tmp_path, sandbox, os.environ | sandbox.environment | variables)


def words(*parts: str | Path) -> str:
    """A command as a shell takes it."""
    return shlex.join(Path(part).as_posix() if isinstance(part, Path) else part.replace("\\", "/") for part in parts)


def test_dagster_loads_every_account_as_a_partition(place: Place) -> None:
    for file in ("dagster/definitions.py", "dagster/dagster.yaml", "vonage_callbacks.py"):
        shutil.copy(EXAMPLES / file, place.folder)
    place.variables["DAGSTER_HOME"] = str(place.folder)
    with place.engine("dagster", "in_dagster.py") as ask:
        ask("known closed01")
        place.sandbox.faults.on(Fault.REVOKED, first=1, after=1)
        first = ask("sensor")
        assert list(first) == list(ROWS)
        assert all(load["success"] for load in first.values())
        assert place.loaded() == place.truth()
        assert {account: load["records"] for account, load in first.items()} == {
            account: [len(rows)] for account, rows in place.truth().items()
        }
        assert sum(load["retries"] for load in first.values()) == 1
        for account, load in first.items():
            assert load["partitions"] == [account]
            assert any(line.startswith("tap: ") and "tap_vonage_reports." in line for line in load["log"])
        assert ask("sensor") == {}

        before = place.loaded()
        place.sandbox.clock.set(END)
        second = ask("schedule")
    assert list(second) == list(ROWS), "and not the account that is closed"
    assert place.loaded() == place.truth()
    assert all(before[account].keys() < rows.keys() for account, rows in place.loaded().items())
    assert any(place.loaded()[account][key] != old for account, rows in before.items() for key, old in rows.items())
    assert {place.covered(account) for account in ROWS} == {place.sandbox.clock.now() - DELAY}


def test_dagster_starts_the_run_of_a_partition_when_its_report_is_ready(place: Place) -> None:
    for file in ("dagster/definitions.py", "dagster/dagster.yaml", "vonage_callbacks.py"):
        shutil.copy(EXAMPLES / file, place.folder)
    place.sandbox.options.polls, place.sandbox.options.generation_seconds = None, 3600
    place.sandbox.faults.on(Fault.CALLBACK_LOST, accounts=[DEMO_KEY])
    place.sandbox.faults.on(Fault.CALLBACK_TWICE, accounts=["sub00001"])
    place.variables |= {"DAGSTER_HOME": str(place.folder), "VONAGE_CALLBACK_TOKEN": TOKEN}
    with place.receiver() as (url, next_report):
        place.variables |= {
            "TAP_VONAGE_REPORTS_FETCH_MODE": "async",
            "TAP_VONAGE_REPORTS_WAIT_FOR_REPORTS": "false",
            "TAP_VONAGE_REPORTS_REPORT_CALLBACK_URL": f"{url}/{TOKEN}",
        }
        with place.engine("dagster", "in_dagster.py") as ask:
            first = ask("sensor")
            assert {account: (load["success"], load["records"]) for account, load in first.items()} == {
                account: (True, [0]) for account in ROWS
            }
            assert not any(TOKEN in line for load in first.values() for line in load["log"])
            assert ask("reports") == {}

            place.sandbox.options.generation_seconds = 0
            reports = {next_report(), next_report()}
            second = ask("reports")
            assert list(second) == ["sub00001"], "and not the account whose callback got lost"
            assert {second["sub00001"]["run_key"]} == reports
            assert second["sub00001"]["records"] == [len(place.truth()["sub00001"])]
            assert place.loaded() == {"sub00001": place.truth()["sub00001"]}
            assert ask("reports") == {}
            assert sum(place.sandbox.requests.reports.values()) == len(ROWS), "each report is paid for once"

            third = ask("schedule")
    assert third[DEMO_KEY]["records"] == [len(place.truth()[DEMO_KEY])]
    assert place.loaded() == place.truth()


@pytest.mark.skipif(os.name == "nt", reason="Airflow does not run on Windows")
def test_airflow_loads_every_account_as_a_mapped_task(place: Place) -> None:
    shutil.copy(EXAMPLES / "airflow" / "vonage_dag.py", place.folder)
    place.variables |= {
        "AIRFLOW_HOME": str(place.folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(place.folder),
    }
    with place.engine("airflow", "in_airflow.py") as ask:
        place.sandbox.faults.on(Fault.REVOKED, first=1, after=1)
        first = ask("run")
        assert first["state"] == "success"
        assert place.loaded() == place.truth()
        assert {account: task["records"] for account, task in first["tasks"].items()} == {
            account: len(rows) for account, rows in place.truth().items()
        }
        assert sorted(task["tries"] for task in first["tasks"].values()) == [1, 2]

        before = place.loaded()
        place.sandbox.clock.set(END)
        second = ask("run")
    assert {task["state"] for task in second["tasks"].values()} == {"success"}
    assert place.loaded() == place.truth()
    assert all(before[account].keys() < rows.keys() for account, rows in place.loaded().items())
    assert {place.covered(account) for account in ROWS} == {place.sandbox.clock.now() - DELAY}
