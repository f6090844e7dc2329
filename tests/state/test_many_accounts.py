"""Hundreds of sub-accounts in one run: the state names all of them, and is written when it is worth it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from singer_sdk.helpers._state import get_writeable_state_dict as sdk_state_of

from tap_vonage_reports.state import checkpoint
from tap_vonage_reports.state.partition_index import PartitionIndex
from tests.harness import Output, run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_vonage_reports.sandbox import Sandbox

ACCOUNTS = 60


@pytest.fixture
def settings(make_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(checkpoint, "SMALL_STATE_BYTES", 1 << 12)
    return settings_of(make_sandbox, ACCOUNTS)


def settings_of(make_sandbox: Callable[..., Sandbox], accounts: int) -> dict[str, Any]:
    keys = [f"sub{number:05}" for number in range(accounts - 1)]
    sandbox = make_sandbox(rows={"amd": 3}, subaccount_keys=keys)
    dates = {"start_date": "2026-11-18", "end_date": "2026-11-20"}
    return settings_for(sandbox, **dates, include_subaccounts=True, lookback_hours=0)


def length_of(output: Output, kind: str) -> int:
    return sum(len(line) for line in output.lines if line.startswith(b'{"type":"%b"' % kind.encode()))


def ids(*outputs: Output) -> list[str]:
    return sorted(name for output in outputs for name in output.ids("amd"))


def test_the_state_grows_with_rows_and_windows(settings: dict[str, Any]) -> None:
    output = run_tap(settings, ["amd"])
    assert len(ids(output)) == ACCOUNTS * 6
    assert output.state is not None
    partitions = output.state["bookmarks"]["amd"]["partitions"]
    assert [part["covered"] for part in partitions] == [
        [["2026-11-18T00:00:00+00:00", "2026-11-20T00:00:00+00:00"]]
    ] * ACCOUNTS
    worth = ACCOUNTS * (6 * checkpoint.BYTES_PER_ROW + 2 * checkpoint.BYTES_PER_WINDOW)
    assert length_of(output, "STATE") < worth + 3 * len(output.lines[-1])


def test_four_times_the_accounts_write_four_times_the_state(make_sandbox: Callable[..., Sandbox]) -> None:
    runs = {accounts: run_tap(settings_of(make_sandbox, accounts), ["amd"]) for accounts in (50, 200)}
    few, many = (length_of(output, "STATE") for output in runs.values())
    assert few < many < 4.4 * few


def test_the_sdk_searches_no_list_of_partitions(settings: dict[str, Any]) -> None:
    find = mock.patch.object(PartitionIndex, "find", autospec=True, side_effect=PartitionIndex.find)
    with (
        find as found,
        mock.patch("singer_sdk.streams._state.get_writeable_state_dict", wraps=sdk_state_of) as searched,
    ):
        run_tap(settings, ["amd"])
    assert not [call for call in searched.call_args_list if call.kwargs.get("state_partition_context")]
    assert 0 < found.call_count <= 5 * ACCOUNTS


def test_while_it_is_small_the_state_is_written_after_every_window(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SMALL_STATE_BYTES", 1 << 20)
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
    assert len(ends) < ACCOUNTS
    for end in ends[1 :: max(2, len(ends) // 6)]:
        cut = Output(whole.lines[: end + 1])
        rest = run_tap(settings, ["amd"], cut.state)
        assert rest.error is None
        if kind == "records":
            # Nothing that a STATE has named comes again.
            assert ids(cut, rest) == ids(whole)
        assert rest.state == whole.state


def test_a_kill_refetches_no_more_rows_than_with_one_account(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "ROWS_PER_CHECKPOINT", 12)
    monkeypatch.setattr(checkpoint, "ROWS_PER_PAGE", 3)
    lines = run_tap(settings, ["amd"]).messages
    since = 0
    for message in lines:
        since = 0 if message["type"] == "STATE" else since + (message["type"] == "RECORD")
        assert since <= 12
