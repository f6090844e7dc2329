"""STATE is written when it is due, never with the SDK's marker, and a large one less often."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tap_vonage_reports.state.checkpoint import (
    LARGE_STATE_BYTES,
    ROWS_PER_CHECKPOINT,
    WINDOWS_PER_CHECKPOINT,
    Checkpointer,
)
from tap_vonage_reports.state.report_limits import ReportLimit
from tests.state.test_bookmarks import at, bookmark


class States:
    """The states that a checkpointer has written, all of one length."""

    def __init__(self, length: int, state: dict[str, Any] | None = None) -> None:
        self.length = length
        self.written: list[dict[str, Any]] = []
        self._state = state if state is not None else {}

    def write(self) -> int:
        self.written.append(dict(self._state))
        return self.length


@pytest.mark.parametrize("length", [0, LARGE_STATE_BYTES - 1])
def test_a_small_state_is_written_whenever_it_is_due(length: int) -> None:
    states = States(length)
    checkpointer = Checkpointer(states.write)
    for count in range(1, 4):
        checkpointer.write_if_due(1_000_000, due=False)
        checkpointer.write_if_due(0)
        assert len(states.written) == count


def large(states: States) -> Checkpointer:
    """A checkpointer that has seen how large the state is."""
    checkpointer = Checkpointer(states.write)
    checkpointer.write()
    states.written.clear()
    return checkpointer


def test_a_large_state_waits_for_many_windows() -> None:
    states = States(LARGE_STATE_BYTES)
    checkpointer = large(states)
    for count in range(1, 3):
        for _ in range(WINDOWS_PER_CHECKPOINT - 1):
            checkpointer.write_if_due(0)
            checkpointer.write_if_due(0, due=False)
        assert len(states.written) == count - 1
        checkpointer.write_if_due(0)
        assert len(states.written) == count


def test_a_large_state_waits_for_many_rows_and_the_end_of_a_page() -> None:
    states = States(LARGE_STATE_BYTES)
    checkpointer = large(states)
    for count in range(1, 3):
        checkpointer.write_if_due(ROWS_PER_CHECKPOINT - 2)
        checkpointer.write_if_due(1)
        assert len(states.written) == count - 1
        checkpointer.write_if_due(1, due=False)
        assert len(states.written) == count - 1
        checkpointer.write_if_due(0)
        assert len(states.written) == count


def test_any_state_counts_as_written() -> None:
    states = States(LARGE_STATE_BYTES)
    checkpointer = large(states)
    checkpointer.write_if_due(ROWS_PER_CHECKPOINT - 1)
    checkpointer.write()
    checkpointer.write_if_due(ROWS_PER_CHECKPOINT - 1)
    assert len(states.written) == 1


def test_the_marker_of_the_sdk_is_in_the_state_of_the_active_partition_but_in_no_written_one() -> None:
    state: dict[str, Any] = {"context": {}}
    active = bookmark(state)
    states = States(0, state)
    checkpointer = Checkpointer(states.write)

    def fail() -> None:
        with checkpointer.active(active):
            assert "progress_markers" in state
            checkpointer.write()
            assert "progress_markers" in state
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fail()
    assert "progress_markers" not in state
    checkpointer.write()
    assert "progress_markers" not in state
    assert states.written == [{"context": {}}] * 2


@pytest.mark.parametrize("length", [1, 12.5, 48])
def test_the_longest_report_window_is_kept_in_hours(length: float) -> None:
    state: dict[str, Any] = {"context": {}}
    bookmark(state).limit_reports(ReportLimit(timedelta(hours=length)))
    assert state["report_hours"] == length
    assert bookmark(state).report_limit == ReportLimit(at(length) - at(0))
