"""Runs by Meltano as docs/meltano.md says: state in PostgreSQL and in S3, and several runs at the same time."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import requests
import yaml

from tap_vonage_reports.config.schema import CONFIG_JSONSCHEMA
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.records.parser import RecordParser
from tap_vonage_reports.sandbox import Sandbox
from tap_vonage_reports.tap import TapVonageReports
from tests.conftest import NOW
from tests.environments import ROOT, environment
from tests.object_storage import object_storage
from tests.plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="meltano el does not run on Windows")

MELTANO = "meltano[postgres,s3]==4.4.1"
TAP, TARGET = "tap-vonage-reports", "target-jsonl"
ACCOUNTS = {"north": "acct0001", "south": "acct0002"}
"""The accounts of the runs that go on at the same time, by the names of the runs."""
CLOCK = datetime.fromisoformat(NOW.replace("Z", "+00:00"))
START = CLOCK - timedelta(days=4)
BEHIND = timedelta(seconds=60)
OTHERS = ("MELTANO_", "TAP_VONAGE_REPORTS_", "TARGET_JSONL_", "AWS_")
BUCKET = "states"
SMS = PRODUCTS["sms"]

Row = dict[str, Any]
States = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Command:
    """A command of Meltano.

    Attributes:
        arguments: Its arguments.
        variables: Environment variables of its own.
    """

    arguments: Sequence[str]
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Project:
    """A Meltano project: this repository's, in a folder of its own.

    Attributes:
        folder: Where its meltano.yml is.
        variables: Environment variables for all of its commands.
    """

    folder: Path
    variables: Mapping[str, str]

    @classmethod
    def new(cls, folder: Path, variables: Mapping[str, str], more: Mapping[str, list[Row]] | None = None) -> Project:
        """Make a project, with more plugins if need be."""
        project = yaml.safe_load((ROOT / "meltano.yml").read_text(encoding="utf-8"))
        for plugin in project["plugins"]["extractors"]:
            plugin["pip_url"] = f"-e {shlex.quote(str(ROOT))}"
        for kind, plugins in (more or {}).items():
            project["plugins"][kind] += plugins
        folder.mkdir(exist_ok=True)
        (folder / "meltano.yml").write_text(yaml.safe_dump(project, sort_keys=False), encoding="utf-8")
        return cls(folder, variables)

    def share_plugins(self, installed: Project) -> None:
        """Have the plugins that are installed in another project."""
        (self.folder / ".meltano").mkdir()
        for kind in ("extractors", "loaders"):
            (self.folder / ".meltano" / kind).symlink_to(installed.folder / ".meltano" / kind)

    def run(self, *commands: Command) -> None:
        """Run commands, all at the same time."""
        program = environment("meltano", [MELTANO]) / "meltano"
        own = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)}
        always = {
            "MELTANO_ENVIRONMENT": "sandbox",
            "MELTANO_CLI_LOG_FORMAT": "uncolored",
            "MELTANO_CLI_DISABLE_VERSION_CHECK": "true",
        }
        running = [
            subprocess.Popen(  # noqa: S603 - from the tests below
                [program, "--env-file", os.devnull, *command.arguments],
                cwd=self.folder,
                env={**own, **always, **self.variables, **command.variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for command in commands
        ]
        logs = [process.communicate()[0] for process in running]
        failed = [log[-3000:] for process, log in zip(running, logs, strict=True) if process.returncode]
        assert not failed, "\n".join(failed)

    def catalogs(self) -> list[str]:
        """Where Meltano keeps catalogs of runs, in its folder of runs."""
        runs = self.folder / ".meltano" / "run"
        return sorted(path.relative_to(runs).as_posix() for path in runs.rglob("tap.properties.json"))

    def lines(self, run: str) -> list[Row]:
        """The lines of a run's file of SMS."""
        text = (self.folder / "output" / run / "sms.jsonl").read_text(encoding="utf-8")
        return [json.loads(line, parse_float=Decimal) for line in text.splitlines()]


@contextmanager
def sandbox() -> Generator[Sandbox, None, None]:
    """Two sub-accounts with messages whose status changes for days."""
    rows = {"*": 0, "sms": 20}
    with Sandbox(rows=rows, clock=NOW, faults=["no-rate-limit"], subaccount_keys=[*ACCOUNTS.values()]) as opened:
        yield opened


def variables(sandbox: Sandbox) -> dict[str, str]:
    """The tap's variables for all runs."""
    return {
        **sandbox.environment,
        "TAP_VONAGE_REPORTS_START_DATE": START.isoformat(),
        # Few windows: ten requests take a second.
        "TAP_VONAGE_REPORTS_MAX_CONCURRENT_REQUESTS": "1",
        "TAP_VONAGE_REPORTS__SELECT": '["sms.*"]',
    }


def truth(sandbox: Sandbox, account: str) -> dict[str, Row]:
    """The records of an account as they are now, from the sandbox itself."""
    end = sandbox.clock.now() - BEHIND
    rows = [row for direction in SMS.directions for row in sandbox.expected(SMS.name, account, direction, START, end)]
    return {record["id"]: record for record in plain(RecordParser(SMS.schema, SMS.aliases).parse_rows(rows))}


def latest(lines: list[Row]) -> dict[str, Row]:
    """The rows of a file: of several with one id the last."""
    return {row["id"]: row for row in lines}


# Where the state is


@dataclass(frozen=True)
class Store:
    """A place for the state.

    Attributes:
        variables: The environment variables that name it to Meltano.
        states: What stands there, by state id.
    """

    variables: Mapping[str, str]
    states: Callable[[], States]


@pytest.fixture(scope="module")
def in_postgres(postgres: str) -> Store:
    def states() -> States:
        with psycopg.connect(postgres) as connection:
            rows = connection.execute("select state_id, completed_state from state").fetchall()
        return {name: json.loads(state)["singer_state"] for name, state in rows}

    return Store({"MELTANO_DATABASE_URI": postgres.replace("postgresql:", "postgresql+psycopg:")}, states)


@pytest.fixture(scope="module")
def installed(in_postgres: Store) -> Project:
    """A project in which the plugins are installed as meltano.yml says; they stay, and are brought up to date."""
    project = Project.new(environment("meltano", [MELTANO]).parent / "project", {})
    # The first command makes the tables, which two runs must not do at the same time. Downloads need the real date
    # (./run --date).
    project.run(Command(["install", TAP, TARGET], {**in_postgres.variables, "LD_PRELOAD": ""}))
    return project


@pytest.fixture(scope="module")
def in_s3() -> Iterator[Store]:
    with object_storage() as address:
        requests.put(f"{address}/{BUCKET}", timeout=60).raise_for_status()

        def states() -> States:
            listed = requests.get(f"{address}/{BUCKET}", timeout=60).text
            keys = re.findall(r"<Key>vonage/([^<]+)/state.json</Key>", listed)
            contents = [requests.get(f"{address}/{BUCKET}/vonage/{key}/state.json", timeout=60).json() for key in keys]
            return {key: state["completed"]["singer_state"] for key, state in zip(keys, contents, strict=True)}

        yield Store(
            {
                "MELTANO_STATE_BACKEND_URI": f"s3://{BUCKET}/vonage",
                "MELTANO_STATE_BACKEND_S3_AWS_ACCESS_KEY_ID": "nobody",
                "MELTANO_STATE_BACKEND_S3_AWS_SECRET_ACCESS_KEY": "nothing",
                "MELTANO_STATE_BACKEND_S3_ENDPOINT_URL": address,
                "AWS_DEFAULT_REGION": "us-east-1",
            },
            states,
        )


@dataclass(frozen=True)
class Done:
    """What a run has done.

    Attributes:
        lines: The lines that it added to its file.
        rows: The rows that its file then had.
        truth: The rows that the account then had.
    """

    lines: list[Row]
    rows: dict[str, Row]
    truth: dict[str, Row]


@dataclass(frozen=True)
class Runs:
    """Two rounds of runs with a day in between, in each round one run of each of some accounts, at the same time.

    Attributes:
        first: What the runs of the first round have done, by their names.
        second: What those of the second round have done.
        states: The states after them, by state id.
        catalogs: Where Meltano kept the catalogs.
    """

    first: dict[str, Done]
    second: dict[str, Done]
    states: States
    catalogs: list[str]


@pytest.fixture(
    scope="module", params=[("in_postgres", ["north", "south"]), ("in_s3", ["north"])], ids=["postgres", "s3"]
)
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, installed: Project) -> Runs:
    place, names = request.param
    store: Store = request.getfixturevalue(place)
    with sandbox() as api:
        project = Project.new(tmp_path_factory.mktemp("meltano"), {**variables(api), **store.variables})
        project.share_plugins(installed)

        def round_of_runs(before: Mapping[str, Done]) -> dict[str, Done]:
            commands = [
                Command(
                    ["el", "--no-install", f"--state-id=vonage-{run}", TAP, TARGET],
                    {
                        "TAP_VONAGE_REPORTS_ACCOUNT_IDS": json.dumps([account]),
                        "TARGET_JSONL_DESTINATION_PATH": f"output/{run}",
                    },
                )
                for run, account in accounts.items()
            ]
            project.run(*commands)
            done = {}
            for run, account in accounts.items():
                lines = project.lines(run)
                known = len(before[run].lines) if before else 0
                done[run] = Done(lines[known:], latest(lines), truth(api, account))
            return done

        accounts = {run: ACCOUNTS[run] for run in names}
        for run in accounts:
            (project.folder / "output" / run).mkdir(parents=True)
        first = round_of_runs({})
        api.clock.advance(days=1)
        second = round_of_runs(first)
        return Runs(first, second, store.states(), project.catalogs())


def test_a_second_run_reads_only_the_look_back_and_what_is_new(runs: Runs) -> None:
    again = CLOCK - BEHIND - timedelta(hours=SMS.lookback_hours)
    for run, second in runs.second.items():
        assert {row["id"] for row in runs.first[run].lines} == set(runs.first[run].truth)
        assert sorted(row["id"] for row in second.lines) == sorted(
            name for name, row in second.truth.items() if datetime.fromisoformat(row["date_received"]) >= again
        )
        assert 0 < len(second.lines) < len(second.rows)


def test_runs_at_the_same_time_do_not_disturb_each_other(runs: Runs) -> None:
    for done in (runs.first, runs.second):
        assert {run: each.rows for run, each in done.items()} == {run: each.truth for run, each in done.items()}
        for run, each in done.items():
            assert {row["account_id"] for row in each.lines} == {ACCOUNTS[run]}


def test_each_run_has_a_state_of_its_own(runs: Runs) -> None:
    accounts = {
        name: {partition["context"]["account_id"] for partition in state["bookmarks"]["sms"]["partitions"]}
        for name, state in runs.states.items()
        if name.startswith("vonage-")
    }
    assert accounts == {f"vonage-{run}": {ACCOUNTS[run]} for run in runs.second}


def test_each_run_by_el_has_a_folder_of_its_own(runs: Runs) -> None:
    folders = [path.rsplit("/", 1)[0] for path in runs.catalogs]
    assert len(set(folders)) == len(folders)
    assert sorted(folder.rsplit("/", 1)[0] for folder in folders) == sorted(
        f"elt/vonage-{run}" for run in [*runs.second] * 2
    )


# Plugins of their own


@pytest.fixture
def inherited() -> dict[str, list[Row]]:
    """The plugins that the documentation gives for runs at the same time."""
    text = (ROOT / "docs" / "meltano.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- inherited -->\n```yaml\n(.*?)```", text, re.DOTALL)
    assert found is not None
    plugins: dict[str, list[Row]] = yaml.safe_load(found[1])["plugins"]
    return plugins


def test_plugins_that_inherit_can_run_at_the_same_time(
    tmp_path: Path, installed: Project, in_postgres: Store, inherited: dict[str, list[Row]]
) -> None:
    with sandbox() as api:
        project = Project.new(tmp_path / "project", {**variables(api), **in_postgres.variables}, inherited)
        project.share_plugins(installed)
        for run in ACCOUNTS:
            (project.folder / "output" / run).mkdir(parents=True)
        project.run(*(Command(["run", "--no-install", f"{TAP}--{run}", f"{TARGET}--{run}"], {}) for run in ACCOUNTS))
        for run, account in ACCOUNTS.items():
            assert latest(project.lines(run)) == truth(api, account)
    # The catalog of `meltano run` is in a folder named by the plugin alone: this is why two runs of one plugin break.
    assert project.catalogs() == [f"{TAP}--{run}/tap.properties.json" for run in ACCOUNTS]


# Settings from the environment

FROM_ENVIRONMENT = {
    "api_key": ("12345678", "12345678"),
    "api_secret": ("0123", "0123"),
    "account_ids": ("acct0001, acct0002", ["acct0001", "acct0002"]),
    "subaccounts": ("each", "each"),
    "include_subaccounts": ("true", True),
    "start_date": ("2026-01-01", "2026-01-01"),
    "end_date": ("2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z"),
    "lookback_hours": ("0.5", 0.5),
    "status_refresh": ("ids", "ids"),
    "late_rows_hours": ("1.5", 1.5),
    "include_message": ("1", True),
    "show_concatenated": ("no", False),
    "fetch_mode": ("sync", "sync"),
    "backfill_days": ("3", 3),
    "sync_window_hours": ("0.25", 0.25),
    "report_window_days": ("4", 4),
    "max_requests_per_second": ("0.5", 0.5),
    "max_report_requests_per_second": ("2", 2),
    "max_concurrent_requests": ("2", 2),
    "max_concurrent_reports": ("1", 1),
    "adopt_reports": ("false", False),
    "report_timeout_minutes": ("30", 30),
    "wait_for_reports": ("false", False),
    "report_callback_url": ("https://example.com/vonage?token=x", "https://example.com/vonage?token=x"),
    "request_timeout_seconds": ("10", 10),
    "personal_data": ("hash", "hash"),
    "personal_data_salt": ("0123456789abcdef-pepper", "0123456789abcdef-pepper"),
    "decimals": ("text", "text"),
    "objects": ("text", "text"),
    "stream_options": ('{"sms": {"lookback_hours": 0.5}}', {"sms": {"lookback_hours": 0.5}}),
    "batch_config": (
        '{"encoding": {"format": "jsonl"}, "storage": {"root": "out"}}',
        {"encoding": {"format": "jsonl"}, "storage": {"root": "out"}},
    ),
    "batch_layout": ("stream/date", "stream/date"),
    "api_url": ("http://127.0.0.1:9", "http://127.0.0.1:9"),
}
"""Of each setting a text as it stands in a variable, and the value that the tap makes of it."""
SHOW_CONFIG = """#!/usr/bin/env python3
import shutil, sys
shutil.copy(sys.argv[sys.argv.index("--config") + 1], "seen.json")
"""


def test_every_setting_comes_through_the_environment_of_meltano(tmp_path: Path) -> None:
    assert FROM_ENVIRONMENT.keys() == CONFIG_JSONSCHEMA["properties"].keys()
    project = Project.new(tmp_path / "project", {})
    path = project.folder / "meltano.yml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    (plugin,) = [plugin for plugin in content["plugins"]["extractors"] if plugin["name"] == TAP]
    del plugin["pip_url"]
    plugin |= {"executable": "./show-config", "capabilities": []}
    content["environments"] = [{"name": "sandbox"}]
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    program = project.folder / "show-config"
    program.write_text(SHOW_CONFIG, encoding="utf-8")
    program.chmod(0o755)
    variables = {f"TAP_VONAGE_REPORTS_{name.upper()}": text for name, (text, _) in FROM_ENVIRONMENT.items()}
    project.run(Command(["invoke", TAP], variables))
    seen = json.loads((project.folder / "seen.json").read_text(encoding="utf-8"))
    settings = TapVonageReports(config=seen).config
    assert {name: settings[name] for name in FROM_ENVIRONMENT} == {
        name: value for name, (_, value) in FROM_ENVIRONMENT.items()
    }
