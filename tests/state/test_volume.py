"""The volume in the state is that of the time read last, each time counted once."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.errors import StateError
from tap_vonage_reports.intervals import EMPTY, TimeWindow, between
from tap_vonage_reports.state.volume import RECENT_ROWS, RECENT_SECONDS, Volume, VolumeCounter, read_volume
from tap_vonage_reports.timestamps import parse_time
from tests.harness import run_tap, settings_for
from tests.state.test_bookmarks import at, bookmark

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_vonage_reports.sandbox import Sandbox

# Literal, so that another figure in the code is noticed.
MAX_SECONDS = 14 * 86_400
DAY = 86_400
STEADY = {"amd": 480}
"""Rows that the sandbox has in the time that these tests read."""


def hours(start: float, end: float) -> TimeWindow:
    return TimeWindow(at(start), at(end))


def counter(state: dict[str, Any] | None = None) -> VolumeCounter:
    return VolumeCounter({} if state is None else state, None, EMPTY)


def rate(counted: VolumeCounter) -> float:
    assert counted.volume
    assert counted.volume.rows_per_day is not None
    return counted.volume.rows_per_day


def test_a_steady_volume_is_the_same_however_it_is_cut() -> None:
    for length in (0.25, 1, 24, 31 * 24):
        counted = counter()
        for number in range(40):
            counted.count(hours(number * length, (number + 1) * length), round(length * 100))
        assert rate(counted) == pytest.approx(2400)
        assert counted.volume
        assert counted.volume.seconds <= MAX_SECONDS


def test_a_new_level_counts_in_full_after_some_weeks_and_a_single_day_hardly() -> None:
    counted = counter()
    for day in range(30):
        counted.count(hours(day * 24, day * 24 + 24), 700)
    counted.count(hours(720, 744), 7000)
    assert 700 * 1.5 <= rate(counted) <= 700 * 2.5  # one day of seven to fourteen
    for day in range(31, 75):
        counted.count(hours(day * 24, day * 24 + 24), 70)
    assert 70 < rate(counted) < 140


def test_a_long_window_replaces_what_came_before_it() -> None:
    counted = counter()
    counted.count(hours(0, 24 * 31), 310)
    assert counted.volume == Volume(70, 7 * DAY)
    counted.count(hours(24 * 31, 24 * 38), 7000)
    assert counted.volume == Volume(7070, 14 * DAY)
    counted.count(hours(24 * 38, 24 * 69), 310_000)
    assert counted.volume == Volume(70_000, 7 * DAY)


def test_two_weeks_are_counted_whole_and_a_second_more_is_scaled_to_one() -> None:
    week = Volume(700, 7 * DAY)
    assert week.add(week) == Volume(1400, 14 * DAY)
    assert week.add(Volume(700, 7 * DAY + 1)) == Volume(700, 7 * DAY)  # the later week alone
    assert Volume(1000, 10 * DAY).add(Volume(200, 5 * DAY)) == Volume(200 + 200, 7 * DAY)
    assert week.scaled(7 * DAY) is week


@pytest.mark.parametrize(
    ("key", "value", "is_valid"),
    [
        (RECENT_ROWS, 10**12, True),
        (RECENT_ROWS, 10**12 + 1, False),
        (RECENT_ROWS, 0, True),
        (RECENT_ROWS, -1, False),
        (RECENT_SECONDS, 10**9, True),
        (RECENT_SECONDS, 10**9 + 1, False),
        (RECENT_SECONDS, 1, True),
        (RECENT_SECONDS, 0, False),
    ],
)
def test_a_volume_in_the_state_that_no_run_can_have_counted_is_an_error(
    key: str, value: int, *, is_valid: bool
) -> None:
    state: dict[str, Any] = {"context": {}, RECENT_ROWS: 5, RECENT_SECONDS: DAY, key: value}
    if is_valid:
        assert bookmark(state).volume.volume
    else:
        with pytest.raises(StateError):
            bookmark(state)


def test_a_partition_that_falls_silent_is_estimated_as_silent() -> None:
    counted = counter()
    for hour in range(24 * 14):
        counted.count(hours(hour, hour + 1), 1)
    for hour in range(24 * 14, 24 * 14 * 10):
        counted.count(hours(hour, hour + 1), 0)
    assert rate(counted) <= 0.2


def test_refetched_time_is_not_counted_again() -> None:
    state: dict[str, Any] = {}
    counted = VolumeCounter(state, Volume(700, 7 * DAY), between(at(0), at(48)))
    counted.count(hours(0, 48), 10_000)
    assert (rate(counted), state) == (100, {})
    counted.count(hours(24, 72), 96)  # half of it is new
    assert rate(counted) == pytest.approx((700 + 48) / 8)
    counted.count(hours(48, 72), 10_000)  # refetched by the same run
    assert rate(counted) == pytest.approx((700 + 48) / 8)


def test_a_window_without_rows_counts_and_one_without_length_does_not() -> None:
    counted = counter()
    counted.count(hours(5, 5), 3)
    assert counted.volume is None
    counted.count(hours(5, 29), 0)
    assert rate(counted) == 0


@pytest.mark.parametrize(("seconds", "rows_per_day"), [(3599, None), (3600, 240)])
def test_less_than_an_hour_says_nothing_of_a_day(seconds: int, rows_per_day: float | None) -> None:
    assert Volume(10, seconds).rows_per_day == rows_per_day


def test_no_rows_are_expected_where_the_volume_is_unknown_and_its_share_of_a_day_where_it_is_not() -> None:
    counted = counter()
    assert counted.expected(timedelta(days=30)) == 0
    counted.count(hours(0, 12), 100)
    assert counted.expected(timedelta(hours=6)) == 50


def test_the_state_keeps_whole_numbers_and_is_read_back() -> None:
    state: dict[str, Any] = {}
    counter(state).count(TimeWindow(at(0), at(0) + timedelta(seconds=100_000.4)), 1_234_567)
    assert state == {RECENT_ROWS: 1_234_567, RECENT_SECONDS: 100_000}
    assert read_volume(state[RECENT_ROWS], state[RECENT_SECONDS]) == Volume(1_234_567, 100_000)
    assert read_volume(5, None) is None


def test_the_volume_of_other_filters_is_forgotten() -> None:
    state: dict[str, Any] = {"context": {}}
    first = bookmark(state)
    first.commit_window(hours(0, 24), at(30))
    first.volume.count(hours(0, 24), 50)
    assert bookmark(json.loads(json.dumps(state))).volume.volume == Volume(50, DAY)
    state["query"] = "others"
    assert bookmark(state).volume.volume is None
    assert RECENT_ROWS not in state


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_pages_and_reports_count_the_same_volume(make_sandbox: Callable[..., Sandbox], mode: str) -> None:
    sandbox = make_sandbox(rows=STEADY, page_size=7)
    dates = {"start_date": "2026-11-16", "end_date": "2026-11-20"}
    output = run_tap(settings_for(sandbox, fetch_mode=mode, **dates), ["amd"])
    kept = output.bookmark("amd")
    expected = sandbox.expected("amd", None, None, *map(parse_time, dates.values()))
    assert (kept[RECENT_ROWS], kept[RECENT_SECONDS]) == (len(expected), 4 * DAY)
    assert len(expected) > 0


def test_a_window_that_is_resumed_counts_all_its_pages(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows=STEADY, page_size=7)
    settings = settings_for(
        sandbox,
        fetch_mode="sync",
        start_date="2026-11-18",
        end_date="2026-11-19",
        lookback_hours=0,
        max_concurrent_requests=1,
    )
    whole = run_tap(settings, ["amd"])
    halfway = next(state for state in whole.states if "page" in json.dumps(state))
    assert RECENT_ROWS not in json.dumps(halfway)
    resumed = run_tap(settings, ["amd"], halfway)
    assert resumed.bookmark("amd")[RECENT_ROWS] == whole.bookmark("amd")[RECENT_ROWS]


def test_a_second_run_with_a_lookback_keeps_the_volume(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows=STEADY)
    settings = settings_for(sandbox, fetch_mode="sync", start_date="2026-11-16", lookback_hours=72)
    first = run_tap(settings, ["amd"])
    second = run_tap(settings, ["amd"], first.state)
    assert len(second.records["amd"]) > 100  # all refetched
    assert [second.bookmark("amd")[key] for key in (RECENT_ROWS, RECENT_SECONDS)] == [
        first.bookmark("amd")[key] for key in (RECENT_ROWS, RECENT_SECONDS)
    ]
