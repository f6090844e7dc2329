"""Reports are planned so short that the API truncates none, by the rows per day that a partition had."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from tap_vonage_reports.planning.report_length import max_report_length, report_length
from tap_vonage_reports.state.report_limits import ReportLimit
from tap_vonage_reports.state.volume import Volume

DAY = 86_400


def lengths(rows_per_day: int, limit: ReportLimit | None = None, days: int = 30) -> tuple[float, float]:
    """How long reports may become, and may be now, in hours."""
    volume = Volume(rows_per_day, DAY) if rows_per_day >= 0 else None
    bookmark: Any = SimpleNamespace(volume=SimpleNamespace(volume=volume), report_limit=limit)
    settings: Any = SimpleNamespace(report_window=timedelta(days=days))
    hour = timedelta(hours=1)
    return max_report_length(settings, bookmark) / hour, report_length(settings, bookmark) / hour


@pytest.mark.parametrize(
    ("rows_per_day", "hours"),
    [
        (-1, 720),  # unknown
        (0, 720),
        (1000, 720),
        (7_000_000, 16),  # 70 % of seven million rows, in whole hours
        (4_900_000, 24),
        (4_900_001, 23),
        (10**9, 1),
    ],
)
def test_a_report_is_planned_for_seven_tenths_of_the_rows_that_it_may_have(rows_per_day: int, hours: float) -> None:
    assert lengths(rows_per_day) == (hours, hours)


def test_few_rows_make_no_length_that_cannot_be_represented() -> None:
    assert lengths(1, days=365 * 20) == (100_000, 100_000)


def test_a_truncated_report_tells_how_many_rows_one_may_have_and_how_long_it_may_be() -> None:
    assert lengths(1000, ReportLimit(timedelta(hours=6), rows=10_000)) == (168, 6)
    assert lengths(100_000, ReportLimit(timedelta(hours=6), rows=10_000)) == (1, 1)
