"""The length limit of page windows: halved when cursors do not last, doubled when they do."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tap_vonage_reports.planning.window_limit import WindowLimit
from tests.planning.test_windows import hours


def test_a_limit_splits_windows_and_halves_what_was_read() -> None:
    limit = WindowLimit(max_length=timedelta(hours=6))
    assert limit.split(hours(0, 12)) == [hours(0, 6), hours(6, 12)]
    assert limit.halve(hours(0, 6))
    assert limit.length == timedelta(hours=3)
    assert limit.split(hours(0, 6)) == [hours(0, 3), hours(3, 6)]


def test_a_longer_window_that_fails_later_does_not_raise_the_limit() -> None:
    limit = WindowLimit(timedelta(hours=1))
    assert limit.halve(hours(0, 24))
    assert limit.length == timedelta(hours=1)


@pytest.mark.parametrize(("minutes", "half"), [(3, 90), (2, 60), (119 / 60, 60), (118 / 60, None), (1, None)])
def test_a_window_is_halved_down_to_a_minute(minutes: float, half: int | None) -> None:
    limit = WindowLimit()
    assert limit.halve(hours(0, minutes / 60)) is (half is not None)
    assert limit.length == (timedelta(seconds=half) if half else None)


def test_a_limit_doubles_after_twelve_windows_of_its_length_without_trouble_until_it_is_gone() -> None:
    limit = WindowLimit(timedelta(hours=6))
    lengths = []
    for _ in range(2):
        for _ in range(11):
            limit.count_read(hours(0, 6))
            limit.count_read(hours(0, 1))  # says nothing of longer ones
        lengths.append(limit.length)
        limit.count_read(hours(0, 6))
        lengths.append(limit.length)
    assert lengths == [timedelta(hours=6), timedelta(hours=12), timedelta(hours=12), None]
    limit.count_read(hours(0, 24))
    assert limit.length is None


def test_halving_a_window_resets_the_count() -> None:
    limit = WindowLimit(timedelta(hours=4))
    for _ in range(11):
        limit.count_read(hours(0, 4))
    limit.halve(hours(0, 4))
    limit.count_read(hours(0, 2))
    assert limit.length == timedelta(hours=2)


def test_a_window_of_half_the_limit_counts_and_a_shorter_one_does_not() -> None:
    limit = WindowLimit(timedelta(hours=4))
    for length in [*[1.99] * 12, *[2] * 11]:
        limit.count_read(hours(0, length))
    assert limit.length == timedelta(hours=4)
    limit.count_read(hours(0, 2))
    assert limit.length == timedelta(hours=8)


def test_a_doubled_limit_stays_as_long_as_it_is_shorter_than_a_day() -> None:
    for before, after in ((timedelta(hours=11.9), timedelta(hours=23.8)), (timedelta(hours=12), None)):
        limit = WindowLimit(before)
        for _ in range(12):
            limit.count_read(hours(0, before / timedelta(hours=1)))
        assert limit.length == after
