"""Coverage never claims more time, or a later reading, than what was read."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from tap_vonage_reports.intervals import EMPTY, TimeWindow, to_intervals, to_windows
from tap_vonage_reports.state.coverage import Coverage

ORIGIN = datetime(2026, 10, 1, tzinfo=timezone.utc)


def at(hours: float) -> datetime:
    return ORIGIN + timedelta(hours=hours)


def hours(start: float, end: float) -> TimeWindow:
    return TimeWindow(at(start), at(end))


def parts(coverage: Coverage) -> list[TimeWindow]:
    return list(to_windows(coverage.times))


def tracked(coverage: Coverage) -> list[TimeWindow]:
    return list(to_windows(coverage.tracked))


def test_an_added_window_is_covered_since_it_was_read() -> None:
    coverage = Coverage().add(hours(0, 10), at(50))
    assert (parts(coverage), coverage.read_at) == ([hours(0, 10)], {at(10): at(50)})
    assert coverage.tracked.empty


def test_adjoining_windows_become_one_part_that_keeps_the_reading_of_its_end() -> None:
    coverage = Coverage().add(hours(0, 10), at(50)).add(hours(20, 30), at(60)).add(hours(10, 15), at(70))
    assert parts(coverage) == [hours(0, 15), hours(20, 30)]
    assert coverage.read_at == {at(15): at(70), at(30): at(60)}
    assert coverage.ends == [at(15), at(30)]


def test_a_window_that_fills_a_gap_keeps_the_reading_of_what_follows() -> None:
    coverage = Coverage().add(hours(10, 20), at(50)).add(hours(0, 10), at(90))
    assert (parts(coverage), coverage.read_at) == ([hours(0, 20)], {at(20): at(50)})


def test_time_that_is_read_again_counts_as_read_then() -> None:
    coverage = Coverage().add(hours(0, 10), at(50)).add(hours(8, 10), at(60))
    assert (parts(coverage), coverage.read_at) == ([hours(0, 10)], {at(10): at(60)})


def test_a_window_is_tracked_only_if_its_last_reading_was() -> None:
    coverage = Coverage().add(hours(0, 10), at(50), is_tracked=True)
    assert tracked(coverage) == [hours(0, 10)]
    assert tracked(coverage.add(hours(10, 20), at(60), is_tracked=True)) == [hours(0, 20)]
    assert tracked(coverage.add(hours(4, 6), at(60))) == [hours(0, 4), hours(6, 10)]


def test_time_around_what_is_reopened_keeps_its_reading() -> None:
    coverage = Coverage().add(hours(0, 10), at(50), is_tracked=True).add(hours(20, 30), at(60))
    opened = coverage.reopen(to_intervals([hours(4, 6), hours(25, 40)]))
    assert parts(opened) == [hours(0, 4), hours(6, 10), hours(20, 25)]
    assert opened.read_at == {at(4): at(50), at(10): at(50), at(25): at(60)}
    assert tracked(opened) == [hours(0, 4), hours(6, 10)]


def test_coverage_without_a_read_time_counts_as_read_at_its_end() -> None:
    coverage = Coverage.of([hours(0, 10)], [None], [])
    assert coverage.read_at == {}
    assert coverage.reopen(to_intervals([hours(4, 6)])).read_at == {at(4): at(10), at(10): at(10)}


def test_nothing_is_covered_or_was_read_after_the_end_of_what_can_be_known() -> None:
    coverage = Coverage().add(hours(0, 10), at(50), is_tracked=True).add(hours(20, 30), at(60), is_tracked=True)
    cut = coverage.truncate(at(25))
    assert parts(cut) == tracked(cut) == [hours(0, 10), hours(20, 25)]
    assert cut.read_at == {at(10): at(25), at(25): at(25)}
    assert parts(coverage.truncate(at(30))) == parts(coverage)


def test_only_covered_time_stays_tracked() -> None:
    coverage = Coverage.of([hours(0, 10), hours(20, 30)], [at(50), None], [hours(5, 25)])
    assert tracked(coverage) == [hours(5, 10), hours(20, 25)]
    assert coverage.read_at == {at(10): at(50)}
    narrowed = coverage.track(to_intervals([hours(0, 8)]))
    assert (tracked(narrowed), narrowed.read_at, narrowed.times) == ([hours(5, 8)], coverage.read_at, coverage.times)
    assert coverage.track(EMPTY).tracked.empty


def test_a_joined_range_is_as_old_as_its_oldest_part() -> None:
    covered = Coverage().add(hours(10, 20), at(30)).add(hours(0, 10), at(15))
    assert covered.read_at == {at(20): at(15)}
    assert Coverage().add(hours(10, 20), at(15)).add(hours(0, 10), at(30)).read_at == {at(20): at(15)}


def test_refetched_time_counts_as_fresh_to_the_end_of_its_range() -> None:
    covered = Coverage().add(hours(0, 10), at(12)).add(hours(20, 30), at(35)).add(hours(40, 50), at(50))
    fresh = covered.refresh(to_intervals([hours(5, 6), hours(41, 42)]), at(60), until=at(45))
    assert fresh.read_at == {at(10): at(60), at(30): at(35), at(50): at(50)}
    assert fresh.refresh(to_intervals([hours(5, 6)]), at(20), until=at(45)) == fresh


def test_what_two_have_in_common_was_read_when_the_earlier_of_them_was() -> None:
    first = Coverage().add(hours(0, 10), at(50), is_tracked=True).add(hours(20, 30), at(60))
    second = Coverage().add(hours(5, 25), at(40), is_tracked=True)
    common = first.meet(second)
    assert common == second.meet(first)
    assert parts(common) == [hours(5, 10), hours(20, 25)]
    assert common.read_at == {at(10): at(40), at(25): at(40)}
    assert tracked(common) == [hours(5, 10)]
    assert first.meet(Coverage()).times.empty


def test_what_either_covers_was_read_when_its_oldest_part_was() -> None:
    first = Coverage().add(hours(0, 10), at(50), is_tracked=True)
    second = Coverage().add(hours(5, 20), at(40))
    both = first.join(second)
    assert (parts(both), both.read_at) == ([hours(0, 20)], {at(20): at(40)})
    assert tracked(both) == [hours(0, 5)]
    assert second.join(first).read_at == both.read_at
    # What both cover is as fresh as the later reading.
    assert first.join(Coverage().add(hours(0, 10), at(70))).read_at == {at(10): at(70)}
    assert first.join(Coverage()) == Coverage().join(first) == first


def test_a_window_that_was_read_early_makes_only_its_own_range_older() -> None:
    covered = Coverage().add(hours(20, 30), at(60)).add(hours(0, 10), at(50))
    assert covered.read_at == {at(10): at(50), at(30): at(60)}
    assert covered.add(hours(12, 14), at(40)).read_at == {at(10): at(50), at(14): at(40), at(30): at(60)}


def test_a_range_that_ends_where_reading_ended_is_fresh_as_a_whole() -> None:
    covered = Coverage().add(hours(0, 10), at(12))
    assert covered.refresh(to_intervals([hours(5, 6)]), at(60), until=at(10)).read_at == {at(10): at(60)}
    assert covered.refresh(to_intervals([hours(5, 6)]), at(60), until=at(9)) == covered
    assert covered.refresh(to_intervals([hours(11, 12)]), at(60), until=at(10)) == covered
