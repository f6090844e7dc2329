"""target-jsonl appends lines, and the last line of an id is the current row."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.sandbox import Sandbox, Within
from tests.environments import environment
from tests.harness import COMMAND, catalog_of, run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START, END = datetime(2026, 11, 18, tzinfo=timezone.utc), datetime(2026, 11, 20, tzinfo=timezone.utc)
STREAMS = ("sms", "reports_usage")


@pytest.fixture(scope="module")
def target() -> Path:
    """The loader's command, in an environment of its own because it needs older packages than the tap."""
    return environment("target-jsonl", ["target-jsonl==0.1.4"]) / "target-jsonl"


@pytest.mark.promise("The call and message records arrive complete, and exact to the last digit of every price.")
def test_lines_are_appended_and_the_last_of_an_id_is_the_current_row(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, target: Path
) -> None:
    sandbox = make_sandbox(rows=dict.fromkeys(STREAMS, Within(100, START, END)))
    dates = {"start_date": START.isoformat(), "end_date": END.isoformat()}
    settings = settings_for(sandbox, **dates, max_concurrent_requests=1)  # few windows: ten requests take a second
    write(tmp_path / "config.json", settings)
    write(tmp_path / "catalog.json", catalog_of(STREAMS))
    write(tmp_path / "target.json", {"destination_path": str(tmp_path), "do_timestamp_file": False})
    write(tmp_path / "state.json", {})
    files = {stream: tmp_path / f"{stream}.jsonl" for stream in STREAMS}
    lines: list[list[str]] = []
    for _ in range(2):
        pipe(tmp_path, target)
        lines.append(files["sms"].read_text(encoding="utf-8").splitlines())
        for stream, truth in run_tap(settings, STREAMS).records.items():
            rows = [json.loads(line, parse_float=Decimal) for line in files[stream].read_text("utf-8").splitlines()]
            assert {row["id"]: row for row in rows} == {record["id"]: record for record in truth}
        sandbox.clock.advance(days=3)
    first, second = lines
    assert second[: len(first)] == first, "the first run's lines are no longer there"
    assert len(second) > len(first)
    assert set(second) != set(first), "no status has changed"


def pipe(folder: Path, target: Path) -> None:
    """Run tap and loader, and keep the state for the next run."""
    files = [argument for name in ("config", "catalog", "state") for argument in (f"--{name}", folder / f"{name}.json")]
    with (
        subprocess.Popen([*COMMAND, *files], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tap,  # noqa: S603 - ours
        subprocess.Popen(  # noqa: S603 - from above
            [target, "--config", folder / "target.json"],
            stdin=tap.stdout,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as loader,
    ):
        assert tap.stderr is not None
        log = tap.stderr.read()
        states, errors = loader.communicate()
    assert (tap.returncode, loader.returncode) == (0, 0), (log + errors).decode()[-3000:]
    (folder / "state.json").write_bytes(states.splitlines()[-1])


def write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content), encoding="utf-8")
