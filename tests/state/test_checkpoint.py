"""STATE is written when it is due, never with the SDK's marker, and a large one less often."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tap_vonage_reports.state.checkpoint import Checkpointer
from tap_vonage_reports.state.report_limits import ReportLimit
from tests.state.test_bookmarks import at, bookmark

# Literal, so that another figure in the code is noticed.
SMALL_STATE_BYTES = 16_384
BYTES_PER_ROW = 500
BYTES_PER_WINDOW = 1024
BYTES_PER_REPORT = 65_536
ROWS_PER_CHECKPOINT = 10_000
ROWS_PER_PAGE = 1000


class States:
    """The states that a checkpointer has written, all of one length."""

    def __init__(self, length: int, state: dict[str, Any] | None = None) -> None:
        self.length = length
        self.written: list[dict[str, Any]] = []
        self._state = state if state is not None else {}

    def write(self) -> int:
        self.written.append(dict(self._state))
        return self.length


@pytest.mark.parametrize("length", [0, SMALL_STATE_BYTES])
def test_a_small_state_is_written_whenever_it_is_due(length: int) -> None:
    states = States(length)
    checkpointer = Checkpointer(states.write)
    for count in range(1, 4):
        checkpointer.write_if_due(ROWS_PER_PAGE, due=False)
        checkpointer.write_if_due(0)
        checkpointer.write_for_report(can_wait=True)
        assert len(states.written) == 2 * count


def large(states: States) -> Checkpointer:
    """A checkpointer that has seen how large the state is."""
    checkpointer = Checkpointer(states.write)
    checkpointer.write()
    states.written.clear()
    return checkpointer


def test_a_state_of_sixteen_kibibytes_is_written_after_a_window_without_rows() -> None:
    states = States(SMALL_STATE_BYTES)
    large(states).write_if_due(0)
    assert len(states.written) == 1


def test_a_state_is_not_written_for_a_byte_less_than_it_is_worth() -> None:
    for more in (0, 1):
        states = States(1000 * BYTES_PER_ROW + BYTES_PER_WINDOW + more)
        large(states).write_if_due(1000)
        assert len(states.written) == 1 - more


def test_a_checkpointer_is_active_while_records_are_written() -> None:
    checkpointer = Checkpointer(States(0).write)
    seen = [checkpointer.is_active]
    with checkpointer.active(bookmark({"context": {}})):
        seen.append(checkpointer.is_active)
    assert [*seen, checkpointer.is_active] == [False, True, False]


def test_a_large_state_waits_for_windows_that_are_worth_its_length() -> None:
    states = States(100 * BYTES_PER_WINDOW)
    checkpointer = large(states)
    for count in range(1, 3):
        for _ in range(99):
            checkpointer.write_if_due(0)
            checkpointer.write_if_due(0, due=False)
        assert len(states.written) == count - 1
        checkpointer.write_if_due(0)
        assert len(states.written) == count


def test_a_large_state_waits_for_rows_that_are_worth_its_length_and_the_end_of_a_window() -> None:
    states = States(1000 * BYTES_PER_ROW + BYTES_PER_WINDOW)
    checkpointer = large(states)
    checkpointer.write_if_due(1000, due=False)
    assert not states.written
    checkpointer.write_if_due(0)
    assert len(states.written) == 1


@pytest.mark.parametrize("length", [10**5, 10**7, 10**9])
@pytest.mark.parametrize("rows", [1, 499, ROWS_PER_PAGE])
@pytest.mark.parametrize("due", [True, False])
def test_no_more_rows_than_with_one_account_lie_between_two_states(length: int, rows: int, *, due: bool) -> None:
    states = States(length)
    checkpointer = large(states)
    since = 0
    for _ in range(3 * ROWS_PER_CHECKPOINT // rows):
        before = len(states.written)
        since += rows
        assert since <= ROWS_PER_CHECKPOINT
        checkpointer.write_if_due(rows, due=due)
        if len(states.written) > before:
            since = 0
    assert states.written


@pytest.mark.parametrize("partitions", [100, 1000, 20_000])
def test_all_states_together_grow_with_windows_rows_and_reports(partitions: int) -> None:
    states = States(300 * partitions)
    checkpointer = large(states)
    worth = 0
    for number in range(2 * partitions):
        rows = number % 4
        checkpointer.write_if_due(rows)
        worth += rows * BYTES_PER_ROW + BYTES_PER_WINDOW
    assert 0 < len(states.written) * states.length <= worth
    states.written.clear()
    for _ in range(partitions):
        checkpointer.write_for_report(can_wait=True)
    assert 0 < len(states.written) * states.length <= worth + partitions * BYTES_PER_REPORT


def test_a_state_of_more_than_sixteen_kibibytes_waits_until_it_is_worth_it() -> None:
    states = States(SMALL_STATE_BYTES + 1)
    checkpointer = large(states)
    checkpointer.write_if_due(0)
    assert not states.written
    checkpointer.write_for_report(can_wait=True)
    assert len(states.written) == 1


@pytest.mark.parametrize(("length", "is_large"), [(BYTES_PER_REPORT, False), (BYTES_PER_REPORT + 1, True)])
def test_reports_share_a_state_of_more_than_sixty_four_kibibytes(length: int, *, is_large: bool) -> None:
    states = States(length)
    checkpointer = Checkpointer(states.write)
    assert not checkpointer.is_large()
    checkpointer.write()
    assert checkpointer.is_large() is is_large
    checkpointer.write_for_report(can_wait=True)
    assert len(states.written) == (1 if is_large else 2)


def test_pages_of_a_window_are_written_before_the_next_one_could_exceed_the_limit_of_rows() -> None:
    states = States(10**9)
    checkpointer = large(states)
    checkpointer.write_if_due(ROWS_PER_CHECKPOINT - ROWS_PER_PAGE, due=False)
    assert not states.written
    checkpointer.write_if_due(1, due=False)
    assert len(states.written) == 1


def test_a_report_that_only_the_state_names_is_never_without_a_state() -> None:
    states = States(10**9)
    checkpointer = large(states)
    for count in range(1, 4):
        checkpointer.write_for_report(can_wait=False)
        assert len(states.written) == count


def test_any_state_counts_as_written() -> None:
    states = States(10**9)
    checkpointer = large(states)
    checkpointer.write_if_due(ROWS_PER_CHECKPOINT - ROWS_PER_PAGE)
    checkpointer.write()
    checkpointer.write_if_due(ROWS_PER_CHECKPOINT - ROWS_PER_PAGE)
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
