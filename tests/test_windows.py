"""What is read: every instant that is wanted and not covered, once, in windows of the allowed length."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_vonage_reports.windows import (
    Window,
    by_report,
    cut,
    halve_last,
    longest_of,
    plan,
    resumable,
    spans,
    to_read,
    windows_of,
)

if TYPE_CHECKING:
    import portion

ORIGIN = datetime(2026, 10, 1, tzinfo=timezone.utc)


def at(hours: float) -> datetime:
    return ORIGIN + timedelta(hours=hours)


def hours(start: float, end: float) -> Window:
    return Window(at(start), at(end))


windows = st.tuples(st.integers(0, 500), st.integers(0, 500)).map(lambda pair: hours(min(pair), max(pair)))
some_windows = st.lists(windows, max_size=6)


def inside(time: portion.Interval, hour: int) -> bool:
    return at(hour) in time


@given(windows, some_windows, st.integers(0, 100))
def test_everything_wanted_and_not_covered_is_read(wanted: Window, covered: list[Window], lookback: int) -> None:
    need = to_read(wanted, spans(covered), timedelta(hours=lookback))
    for hour in range(-1, 502):
        is_wanted = wanted.start <= at(hour) < wanted.end
        is_covered = any(window.start <= at(hour) < window.end for window in covered)
        if is_wanted and not is_covered:
            assert inside(need, hour)
        if not is_wanted:
            assert not inside(need, hour)


@given(windows, some_windows, st.integers(0, 100))
def test_what_is_covered_is_read_again_only_within_the_lookback(
    wanted: Window, covered: list[Window], lookback: int
) -> None:
    need = to_read(wanted, spans(covered), timedelta(hours=lookback))
    ends = [part.end for part in windows_of(spans(covered))]
    starts = [part.start for part in windows_of(spans(covered))]
    for hour in range(502):
        part_end = next((e for s, e in zip(starts, ends, strict=True) if s <= at(hour) < e), None)
        if part_end is not None and wanted.start <= at(hour) < wanted.end:
            assert inside(need, hour) == (at(hour) >= part_end - timedelta(hours=lookback))


@given(some_windows, st.integers(1, 48))
def test_windows_meet_without_gap_or_overlap_and_none_is_too_long(pieces: list[Window], longest: int) -> None:
    need = spans(pieces)
    cuts = cut(need, timedelta(hours=longest))
    assert spans(cuts) == need
    assert all(timedelta(0) < window.end - window.start <= timedelta(hours=longest) for window in cuts)
    assert all(before.end <= after.start for before, after in pairwise(cuts))


@given(some_windows, windows, st.integers(1, 48))
def test_a_window_that_was_begun_keeps_its_bounds(pieces: list[Window], opened: Window, longest: int) -> None:
    need = spans(pieces)
    kept = [opened] if resumable(opened, need) else []
    planned = plan(need, timedelta(hours=longest), kept)
    assert spans(planned) == need
    assert planned == sorted(planned)
    assert set(kept) <= set(planned)


def test_a_first_run_has_no_lookback() -> None:
    assert list(windows_of(to_read(hours(0, 48), spans([]), timedelta(hours=72)))) == [hours(0, 48)]


def test_a_later_run_reads_from_the_lookback_before_the_bookmark() -> None:
    need = to_read(hours(0, 240), spans([hours(0, 200)]), timedelta(hours=72))
    assert list(windows_of(need)) == [hours(128, 240)]


def test_a_start_date_moved_back_fills_the_gap_and_no_more() -> None:
    need = to_read(hours(0, 200), spans([hours(100, 200)]), timedelta(0))
    assert list(windows_of(need)) == [hours(0, 100)]


def test_rows_that_were_final_when_they_were_read_are_not_read_again() -> None:
    need = to_read(hours(0, 240), spans([hours(0, 100)]), timedelta(hours=72), settled=at(500))
    assert list(windows_of(need)) == [hours(100, 240)]


def test_rows_that_were_partly_final_are_read_again_from_there() -> None:
    need = to_read(hours(0, 240), spans([hours(0, 100)]), timedelta(hours=72), settled=at(150))
    assert list(windows_of(need)) == [hours(78, 240)]


@given(some_windows, st.integers(1, 30))
def test_every_instant_goes_by_exactly_one_path(pieces: list[Window], backfill: int) -> None:
    need, now = spans(pieces), at(600)
    for mode in ("auto", "sync", "async"):
        reports = by_report(need, mode, timedelta(days=backfill), now)
        assert reports | (need - reports) == need
        assert reports in need
        if mode == "auto":
            assert all(window.end <= now - timedelta(hours=24) for window in windows_of(reports))
    assert by_report(need, "sync", timedelta(days=backfill), now).empty
    assert by_report(need, "async", timedelta(days=backfill), now) == need


@pytest.mark.parametrize(("days", "by_reports"), [(7, []), (8, [hours(0, 168)])])
def test_only_a_long_range_goes_by_reports(days: int, by_reports: list[Window]) -> None:
    need = spans([hours(0, days * 24)])
    assert list(windows_of(by_report(need, "auto", timedelta(days=7), at(days * 24)))) == by_reports


def test_an_empty_range_needs_nothing() -> None:
    assert cut(to_read(hours(5, 5), spans([]), timedelta(hours=1)), timedelta(hours=24)) == []


@given(st.integers(0, 20_000), st.integers(1, 40), st.integers(1, 24))
def test_there_are_enough_windows_to_share_and_none_is_cut_below_an_hour(hours: int, pieces: int, most: int) -> None:
    total, longest = timedelta(hours=hours), timedelta(hours=most)
    length = longest_of(total, pieces, longest)
    assert timedelta(hours=1) <= length <= longest
    assert length == longest or length == timedelta(hours=1) or total / length >= pieces / 2
    # What is cut for the workers' sake alone is bounded by what they can use.
    assert length == longest or total / length <= pieces


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=12), st.integers(1, 6))
def test_the_last_windows_are_halved_and_nothing_is_lost_between_them(minutes: list[int], count: int) -> None:
    windows, start = [], at(0)
    for length in minutes:
        windows.append(Window(start, start + timedelta(minutes=length, seconds=7)))
        start = windows[-1].end
    halved = halve_last(windows, count)
    assert spans(halved) == spans(windows)
    assert all(one.end == other.start for one, other in pairwise(halved))
    assert halved[: len(windows[:-count])] == windows[:-count]
    for window in windows[-count:]:
        pieces = [piece for piece in halved if window.start <= piece.start < window.end]
        assert len(pieces) == (2 if window.end - window.start >= timedelta(hours=2) else 1)
        assert all(piece.end - piece.start >= timedelta(minutes=59) for piece in pieces if len(pieces) == 2)
