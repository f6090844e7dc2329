"""Hundreds of sub-accounts in one run: the state names all of them, and is written when it is worth it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.state import checkpoint
from tests.harness import Output, run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_vonage_reports.sandbox import Sandbox

ACCOUNTS = 120


@pytest.fixture
def settings(make_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(checkpoint, "LARGE_STATE_BYTES", 1 << 12)
    keys = [f"sub{number:05}" for number in range(ACCOUNTS - 1)]
    sandbox = make_sandbox(rows={"amd": 3}, subaccount_keys=keys)
    dates = {"start_date": "2026-11-18", "end_date": "2026-11-20"}
    return settings_for(sandbox, **dates, include_subaccounts=True, lookback_hours=0)


def length_of(output: Output, kind: str) -> int:
    return sum(len(line) for line in output.lines if line.startswith(b'{"type":"%b"' % kind.encode()))


def ids(*outputs: Output) -> list[str]:
    return sorted(name for output in outputs for name in output.ids("amd"))


def test_the_state_is_not_most_of_what_is_written(settings: dict[str, Any]) -> None:
    output = run_tap(settings, ["amd"])
    assert len(ids(output)) == ACCOUNTS * 6
    assert output.state is not None
    partitions = output.state["bookmarks"]["amd"]["partitions"]
    assert [part["covered"] for part in partitions] == [
        [["2026-11-18T00:00:00+00:00", "2026-11-20T00:00:00+00:00"]]
    ] * ACCOUNTS
    assert length_of(output, "STATE") < length_of(output, "RECORD")


def test_while_it_is_small_the_state_is_written_after_every_window(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "LARGE_STATE_BYTES", 1 << 20)
    assert len(run_tap(settings, ["amd"]).states) >= ACCOUNTS * 2


@pytest.mark.parametrize("kind", ["records", "files"])
def test_a_run_that_ends_between_two_states_is_gone_on_with_from_the_first(
    settings: dict[str, Any], tmp_path: Path, kind: str
) -> None:
    if kind == "files":
        settings["batch_config"] = {"encoding": {"format": "jsonl"}, "storage": {"root": str(tmp_path)}}
    whole = run_tap(settings, ["amd"])
    ends = [number for number, message in enumerate(whole.messages) if message["type"] == "STATE"]
    assert len(ends) > 2
    assert kind == "files" or len(ends) < ACCOUNTS  # the SDK writes one after each file
    for end in ends[1 :: max(2, len(ends) // 6)]:
        cut = Output(whole.lines[: end + 1])
        rest = run_tap(settings, ["amd"], cut.state)
        assert rest.error is None
        if kind == "records":
            # Nothing that a STATE has named comes again.
            assert ids(cut, rest) == ids(whole)
        assert rest.state == whole.state


def test_much_that_comes_is_worth_a_state(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    few = run_tap(settings, ["amd"])
    monkeypatch.setattr(checkpoint, "ROWS_PER_CHECKPOINT", 12)
    assert len(run_tap(settings, ["amd"]).states) > 2 * len(few.states)
