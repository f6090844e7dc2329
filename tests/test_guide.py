"""The guide's own lines, from an empty folder to a table: the commands are taken from the page and run as they are."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.records.parser import RecordParser
from tap_vonage_reports.sandbox import Fault, Sandbox
from tap_vonage_reports.tap import TapVonageReports
from tests.conftest import NOW
from tests.environments import ROOT, environment
from tests.plain import plain
from tests.test_meltano_runs import MELTANO, TARGET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the guide's lines are for a POSIX shell")

START = datetime.fromisoformat("2026-10-01T00:00:00+00:00")
CLOCK = datetime.fromisoformat(NOW.replace("Z", "+00:00"))
CHOSEN = ("sms", "voice_call")

Row = dict[str, Any]


def block_of(page: str, name: str) -> str:
    """The block of a page that follows a mark."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", text, re.DOTALL)
    assert found, name
    return found[1]


def lines_of(page: str, name: str) -> list[str]:
    """The commands in the block of a page that follows a mark, continued lines joined."""
    return block_of(page, name).replace("\\\n", "").strip().splitlines()


def guides_loaders() -> dict[str, dict[str, Any]]:
    """The loaders that the guide adds to a project, by name."""
    loaders = yaml.safe_load(block_of("guide.md", "meltano-loaders"))["plugins"]["loaders"]
    return {loader["name"]: loader for loader in loaders}


@dataclass(frozen=True)
class Newcomer:
    """Somebody who follows the guide.

    Attributes:
        folder: Their Meltano project.
        variables: Their environment.
    """

    folder: Path
    variables: dict[str, str]

    def start(self, line: str) -> subprocess.Popen[str]:
        """Start a command as it stands on the page, in a process group of its own."""
        return subprocess.Popen(  # noqa: S603 - from the guide
            ["bash", "-c", line.replace("/path/to/clone", shlex.quote(str(ROOT)))],  # noqa: S607 - the user's shell
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *lines: str) -> str:
        """Run commands one after the other; what the last one printed."""
        output = ""
        for line in lines:
            process = self.start(line)
            output = process.communicate()[0]
            assert process.returncode == 0, f"{line}\n{output[-3000:]}"
        return output

    def plan(self) -> dict[str, Any]:
        """The plan, by the lines of the page on costs; the catalog is there, by the same line of the guide."""
        catalog, state, plan = lines_of("cost.md", "meltano-plan")
        assert [catalog] == lines_of("guide.md", "meltano-catalog")
        self.run(state, f"{plan.replace('--plan', '--plan=json')} > plan.json")
        content: dict[str, Any] = json.loads((self.folder / "plan.json").read_text(encoding="utf-8"))
        return content

    def rows(self, stream: str) -> dict[str, Row]:
        """The rows of a stream's file: of several with one id the last."""
        path = self.folder / "output" / f"{stream}.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return {row["id"]: row for row in (json.loads(line, parse_float=Decimal) for line in lines)}


def truth(sandbox: Sandbox, stream: str) -> dict[str, Row]:
    """The records of a stream as the sandbox has them now."""
    product, end = PRODUCTS[stream], sandbox.clock.now() - timedelta(seconds=60)
    rows = [
        row
        for direction in product.directions or (None,)
        for row in sandbox.expected(product.name, sandbox.api_key, direction, START, end)
    ]
    return {record["id"]: record for record in plain(RecordParser(product.schema, product.aliases).parse_rows(rows))}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    rows = {"*": 0, "sms": 2, "voice_call": 1}
    with Sandbox(rows=rows, clock=NOW, faults=["no-rate-limit"]) as opened:
        yield opened


@pytest.fixture(scope="module")
def newcomer(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    """A project made from nothing by the guide's lines, with the loader for files."""
    programs = environment("meltano", [MELTANO])
    others = ("MELTANO_", "TAP_VONAGE_REPORTS_", "TARGET_JSONL_")
    own = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    mine = {
        "PATH": f"{programs}{os.pathsep}{own['PATH']}",
        "LD_PRELOAD": "",  # downloads need the real date (./run --date)
        "MELTANO_CLI_LOG_FORMAT": "uncolored",
        "MELTANO_CLI_DISABLE_VERSION_CHECK": "true",
        "MELTANO_SEND_ANONYMOUS_USAGE_STATS": "false",
        "NO_COLOR": "1",
    }
    variables = {**own, **mine, **sandbox.environment}
    home = tmp_path_factory.mktemp("newcomer")
    create, enter, choose = lines_of("guide.md", "meltano-init")
    Newcomer(home, variables).run(create)
    folder = home / enter.removeprefix("cd ")
    someone = Newcomer(folder, variables)
    someone.run(choose, *lines_of("guide.md", "meltano-add"))
    path = folder / "meltano.yml"
    project = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert project["plugins"].keys() == {"extractors"}
    project["plugins"]["loaders"] = [guides_loaders()[TARGET]]
    path.write_text(yaml.safe_dump(project, sort_keys=False), encoding="utf-8")
    someone.run(*lines_of("guide.md", "meltano-install"), *lines_of("guide.md", "meltano-select"))
    return someone


def test_the_guide_leads_from_nothing_to_the_rows_of_the_chosen_streams(sandbox: Sandbox, newcomer: Newcomer) -> None:
    [run] = lines_of("guide.md", "meltano-run")
    table = newcomer.run(*lines_of("guide.md", "meltano-catalog"), *lines_of("guide.md", "meltano-plan"))
    assert f"Selection: {len(CHOSEN)} streams, from the catalog." in table
    assert "State: none" in table
    newcomer.run(run)
    assert {path.stem for path in (newcomer.folder / "output").glob("*.jsonl")} == set(CHOSEN)
    assert {stream: newcomer.rows(stream) for stream in CHOSEN} == {stream: truth(sandbox, stream) for stream in CHOSEN}


def test_the_plan_of_the_next_run_goes_by_the_state_and_the_selection(sandbox: Sandbox, newcomer: Newcomer) -> None:
    before = sandbox.clock.now()
    sandbox.clock.advance(days=1)
    planned = newcomer.plan()
    assert {part["stream"] for part in planned["partitions"]} == set(CHOSEN)
    assert len(planned["partitions"]) == sum(len(PRODUCTS[stream].directions) for stream in CHOSEN)
    bookmarks = {datetime.fromisoformat(part["bookmark"]) for part in planned["partitions"]}
    assert all(before - timedelta(minutes=5) < bookmark <= before for bookmark in bookmarks)


def test_the_connection_test_goes_by_the_selection(newcomer: Newcomer) -> None:
    output = newcomer.run(*lines_of("guide.md", "meltano-test"))
    assert f"selection: {len(CHOSEN)} streams, from the catalog" in output
    assert f"OK: {len(CHOSEN)} of {len(CHOSEN)} selected streams available" in output


def test_an_interrupted_run_is_completed_by_the_next_one(sandbox: Sandbox, newcomer: Newcomer) -> None:
    run = lines_of("guide.md", "meltano-run")[-1]
    sandbox.faults.on(Fault.UNAVAILABLE, 600, endpoints=["records"], products=["voice_call"])
    try:
        sandbox.requests.reset()
        process = newcomer.start(run)
        while not sandbox.faults.hits(Fault.UNAVAILABLE) and process.poll() is None:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        output = process.communicate()[0]
    finally:
        sandbox.faults.off(Fault.UNAVAILABLE)
    assert process.returncode != 0, output[-3000:]
    newcomer.run(run)
    assert {stream: newcomer.rows(stream) for stream in CHOSEN} == {stream: truth(sandbox, stream) for stream in CHOSEN}


def test_reports_of_a_run_whose_state_meltano_lost_are_requested_once(sandbox: Sandbox, newcomer: Newcomer) -> None:
    run = f"TAP_VONAGE_REPORTS_FETCH_MODE=async {lines_of('guide.md', 'meltano-run')[-1]} --full-refresh"
    sandbox.requests.reset()
    sandbox.faults.on(Fault.REPORT_VANISHED, endpoints=["report-status"])
    try:
        process = newcomer.start(run)
        while not sandbox.faults.hits(Fault.REPORT_VANISHED) and process.poll() is None:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate()
    finally:
        sandbox.faults.off(Fault.REPORT_VANISHED)
    newcomer.run(run)
    assert {stream: newcomer.rows(stream) for stream in CHOSEN} == {stream: truth(sandbox, stream) for stream in CHOSEN}
    created = [entry for entry in sandbox.requests.log if entry.endpoint == "report-create" and entry.status == 200]
    requested = Counter((entry.product, entry.direction, entry.date_start) for entry in created)
    assert requested
    assert set(requested.values()) == {1}


def test_the_guides_loaders_are_those_of_the_projects_own_file() -> None:
    loaders = yaml.safe_load((ROOT / "meltano.yml").read_text(encoding="utf-8"))["plugins"]["loaders"]
    ours = {loader["name"]: loader for loader in loaders}
    # docs/loaders.md has the third one, which takes files alone.
    assert guides_loaders().keys() == ours.keys() - {"target-vonage-files"}
    for name, loader in guides_loaders().items():
        offered = {setting["name"]: setting for setting in ours[name]["settings"]}
        assert {key: ours[name][key] for key in ("namespace", "pip_url", "executable")}.items() <= loader.items()
        assert loader["config"] == {key: offered[key]["value"] for key in loader["config"]}
        for setting in loader.get("settings", []):
            assert setting.items() <= offered[setting["name"]].items()


@pytest.mark.skipif(not shutil.which("jq"), reason="needs jq")
def test_the_guides_filter_selects_two_streams_and_changes_nothing_else(tmp_path: Path) -> None:
    someone = Newcomer(tmp_path, dict(os.environ))
    catalog = TapVonageReports(config={"api_key": "abcd1234", "api_secret": "nobodys-secret"}).catalog_dict
    (tmp_path / "all.json").write_text(json.dumps(catalog), encoding="utf-8")
    someone.run(block_of("guide.md", "select"))
    written = json.loads((tmp_path / "catalog.json").read_text(encoding="utf-8"))
    for stream in catalog["streams"]:
        (root,) = (entry for entry in stream["metadata"] if not entry["breadcrumb"])
        root["metadata"]["selected"] = stream["tap_stream_id"] in CHOSEN
    assert written == json.loads(json.dumps(catalog))


@pytest.mark.skipif(not shutil.which("jq"), reason="needs jq")
@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ("", "old"),
        ('{"type":"SCHEMA","stream":"sms","schema":{},"key_properties":["id"]}\n', "old"),
        ('{"type":"STATE","value":"first"}\n{"type":"STATE","value":"new"}\n', "new"),
        ('{"type":"STATE","value":"new"}\n{"type":"STATE","val', "new"),
    ],
)
def test_saving_the_state_of_a_run_that_wrote_none_keeps_the_old_one(
    tmp_path: Path, messages: str, expected: str
) -> None:
    """Without a state, everything would be read and billed again."""
    (tmp_path / "state.json").write_text('"old"', encoding="utf-8")
    (tmp_path / "messages.jsonl").write_text(messages, encoding="utf-8")
    Newcomer(tmp_path, dict(os.environ)).run(block_of("loaders.md", "save-state"))
    assert json.loads((tmp_path / "state.json").read_text(encoding="utf-8")) == expected
