"""Lookups by ID: only of rows that nothing else reads, and only while they are quicker than a report."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.intervals import EMPTY, between, to_intervals
from tap_vonage_reports.planning.lookups import batch_ids, id_batches, lookups_pay
from tap_vonage_reports.state.volume import Volume, VolumeCounter
from tests.planning.test_windows import at, hours

if TYPE_CHECKING:
    from tap_vonage_reports.intervals import TimeWindow

# Literal, so that another figure in the code is noticed.
IDS_PER_REQUEST = 20
SECONDS_PER_MILLION_ROWS = 600


def counter(volume: Volume | None) -> VolumeCounter:
    return VolumeCounter({}, volume, EMPTY)


def looked_up(*reports: TimeWindow, is_tracked: bool = True) -> list[tuple[str, ...]]:
    """Plan lookups of a row of each of four hours; pages read the last two, and of the first only a half."""
    scope: Any = SimpleNamespace(
        lookback=SimpleNamespace(tracked=between(at(0), at(4)) if is_tracked else None),
        bookmark=SimpleNamespace(pending_ids={**{f"row-{hour}": at(hour) for hour in range(4)}, "new": at(0)}),
        report_windows=reports,
        tracked_before={f"row-{hour}" for hour in range(4)},
    )
    return id_batches(scope, to_intervals([hours(0.5, 1), hours(2, 4)]))


def test_rows_that_pages_or_reports_read_anyway_are_not_looked_up() -> None:
    assert looked_up() == [("row-0", "row-1")]
    assert looked_up(hours(0, 0.5)) == [("row-1",)]  # pages and reports together read all of the first hour
    assert looked_up(hours(1, 2)) == [("row-0",)]
    assert looked_up(hours(0, 2)) == []


def test_nothing_is_looked_up_where_ids_are_not_used() -> None:
    assert looked_up(is_tracked=False) == []


def test_a_lookup_has_ids_of_one_account_in_their_order() -> None:
    names = ["a,1", "b,1", "a,2", *(f"c,{number}" for number in range(IDS_PER_REQUEST + 1))]
    assert batch_ids(names) == [
        ("a,1", "a,2"),
        ("b,1",),
        tuple(f"c,{number}" for number in range(IDS_PER_REQUEST)),
        (f"c,{IDS_PER_REQUEST}",),
    ]
    assert batch_ids([]) == []


@pytest.mark.parametrize(
    ("rows_per_day", "days", "reports"),
    [
        (None, 3, 1),  # no row was counted yet, or none of a whole day
        (0, 3, 1),
        (500_000, 2, 1),
        (1_000_001, 1, 2),
        (4_000_000, 0.5, 2),
        (1_000_000, 3, 3),
    ],
)
def test_lookups_pay_as_long_as_they_are_no_slower_than_a_report_at_its_slowest(
    rows_per_day: int | None, days: float, reports: int
) -> None:
    """With one account for each row, every row takes a request."""
    settings: Any = SimpleNamespace(max_requests_per_second=0.05)
    most = round(reports * SECONDS_PER_MILLION_ROWS * settings.max_requests_per_second)
    for rows, pays in ((most, True), (most + 1, False)):
        bookmark: Any = SimpleNamespace(
            volume=counter(None if rows_per_day is None else Volume(rows_per_day, 86_400)),
            pending_ids={f"account-{number},id": at(0) for number in range(rows)},
        )
        assert lookups_pay(bookmark, timedelta(days=days), settings) is pays


def test_lookups_are_compared_with_the_shortest_report_where_no_volume_is_known() -> None:
    bookmark: Any = SimpleNamespace(volume=counter(None), pending_ids={"a,1": at(0), "b,1": at(0)})
    for requests_per_second, pays in ((2 / 600, True), (1.9 / 600, False)):
        settings: Any = SimpleNamespace(max_requests_per_second=requests_per_second)
        assert lookups_pay(bookmark, timedelta(days=30), settings) is pays
