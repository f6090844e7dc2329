"""The longest window of a report doubles after three small reports in a row that say something of longer ones."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tap_vonage_reports.errors import StateError
from tap_vonage_reports.state.report_limits import ReportLimit, read_report_limit, write_report_limit
from tests.state.test_bookmarks import bookmark

HOUR = timedelta(hours=1)
LIMIT = ReportLimit(8 * HOUR, rows=1000, small_reports=1)


@pytest.mark.parametrize(
    ("hours", "rows", "small"),
    [
        (8, 249, 2),  # at twice the window less than half of the rows
        (8, 250, 0),
        (4, 124, 2),
        (4, 125, 0),
        (3.99, 0, 1),  # too short to count
        (3.99, 10_000, 1),
    ],
)
def test_a_report_counts_as_small_by_its_rows_at_twice_the_window(hours: float, rows: int, small: int) -> None:
    assert LIMIT.after(hours * HOUR, rows) == ReportLimit(8 * HOUR, 1000, small)


def test_the_third_small_report_in_a_row_doubles_the_window() -> None:
    limit, windows = ReportLimit(8 * HOUR, rows=1000), []
    for rows in (1, 1, 999, 1, 1, 1, 1):
        limit = limit.after(8 * HOUR, rows)
        windows.append(limit.window / HOUR)
    assert windows == [8, 8, 8, 8, 8, 16, 16]
    assert limit.small_reports == 1
    assert limit.rows == 1000


def test_a_limit_is_kept_in_the_state_and_removed_as_a_whole() -> None:
    state: dict[str, Any] = {"other": 1}
    write_report_limit(state, LIMIT)
    assert state == {"other": 1, "report_hours": 8, "report_rows": 1000, "small_reports": 1}
    assert read_report_limit(8, 1000, 1) == LIMIT
    assert read_report_limit(8, None, 0) == ReportLimit(8 * HOUR, 7_000_000)
    assert read_report_limit(None, 1000, 1) is None
    write_report_limit(state, None)
    assert state == {"other": 1}


@pytest.mark.parametrize(
    ("key", "value", "is_valid"),
    [
        ("report_hours", 1, True),
        ("report_hours", 0.99, False),
        ("report_hours", 1_000_000, True),
        ("report_hours", 1_000_001, False),
        ("report_rows", 0, True),
        ("report_rows", -1, False),
        ("report_rows", 1_000_000_000, True),
        ("report_rows", 1_000_000_001, False),
        ("small_reports", -1, False),
    ],
)
def test_a_limit_that_no_run_can_have_learned_is_an_error(key: str, value: float, *, is_valid: bool) -> None:
    state: dict[str, Any] = {"context": {}, "report_hours": 8, "report_rows": 1000, "small_reports": 1, key: value}
    if is_valid:
        assert bookmark(state).report_limit
    else:
        with pytest.raises(StateError):
            bookmark(state)
