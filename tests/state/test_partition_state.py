"""Each event changes the state of its partition in one step, and nothing else in it."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.intervals import EMPTY, TimeWindow, before, to_intervals, to_windows
from tap_vonage_reports.state.report_limits import RefusedReport, ReportLimit
from tap_vonage_reports.state.values import PageCursor, PendingReport
from tap_vonage_reports.timestamps import format_timestamp
from tests.state.test_bookmarks import at, bookmark

if TYPE_CHECKING:
    from datetime import datetime

    from tap_vonage_reports.state.bookmark import Bookmark


def hours(start: float, end: float) -> TimeWindow:
    return TimeWindow(at(start), at(end))


def empty_state() -> dict[str, Any]:
    return {"context": {}}


def state_with_gap(first_read_at: datetime | None = None) -> dict[str, Any]:
    """The state of a partition that has left out the second of three days."""
    state = empty_state()
    opened = bookmark(state)
    opened.commit_window(hours(0, 24), first_read_at or at(100))
    opened.leave_gap(hours(24, 48))
    opened.commit_window(hours(48, 72), at(100))
    return state


def reread(state: dict[str, Any]) -> Bookmark:
    """The bookmark that the next run reads."""
    return bookmark(json.loads(json.dumps(state)))


def page_of(window: TimeWindow) -> PageCursor:
    return PageCursor(window, "cursor", None, "query", at(50))


def report_of(number: int) -> PendingReport:
    return PendingReport(f"report-{number}", hours(number, number + 1), "fingerprint", at(50))


@pytest.mark.parametrize("event", ["page", "window", "report"])
def test_a_partition_that_was_ever_served_is_known_as_such(event: str) -> None:
    state = empty_state()
    assert not bookmark(state).started
    opened = bookmark(state)
    if event == "page":
        opened.commit_page(page_of(hours(0, 24)))
    elif event == "window":
        opened.commit_window(hours(0, 24), at(50))
    else:
        opened.add_report(report_of(1))
    assert opened.started
    assert reread(state).started


def test_a_committed_window_closes_its_own_page_and_no_other() -> None:
    state = empty_state()
    opened = bookmark(state)
    opened.commit_page(page_of(hours(24, 48)))
    opened.commit_window(hours(0, 24), at(50))
    assert reread(state).page == page_of(hours(24, 48))
    opened.commit_window(hours(24, 40), at(50))
    assert reread(state).page is None


def test_time_that_is_marked_for_refetching_stays_covered_in_the_state_until_a_window_is_written() -> None:
    state = empty_state()
    opened = bookmark(state)
    opened.commit_window(hours(0, 24), at(50), is_tracked=True)
    opened.track({"some-id": at(3)})
    before = json.dumps(state)
    opened.apply_lookback(to_intervals([hours(12, 24)]), None)
    assert json.dumps(state) == before
    opened.commit_window(hours(24, 48), at(60))
    again = reread(state)
    assert list(to_windows(again.coverage.times)) == [hours(0, 12), hours(24, 48)]
    assert (again.pending_ids, again.coverage.tracked) == ({}, EMPTY)


def test_tracked_time_keeps_its_ids() -> None:
    state = empty_state()
    opened = bookmark(state)
    opened.commit_window(hours(0, 24), at(50), is_tracked=True)
    opened.track({"some-id": at(3)})
    opened.apply_lookback(to_intervals([hours(20, 24)]), to_intervals([hours(0, 20)]))
    opened.commit_window(hours(20, 24), at(60))
    again = reread(state)
    assert again.pending_ids == {"some-id": at(3)}
    assert list(to_windows(again.coverage.tracked)) == [hours(0, 20)]


def test_a_tracked_id_stands_once_under_its_latest_hour() -> None:
    state = empty_state()
    opened = bookmark(state)
    opened.track({"a": at(3), "b": at(3)})
    opened.track({"a": at(4), "b": at(3)})
    assert sorted(chain.from_iterable(state["open"].values())) == ["a", "b"]
    assert reread(state).pending_ids == {"a": at(4), "b": at(3)}
    opened.untrack(["b", "unknown"])
    assert reread(state).pending_ids == {"a": at(4)}
    opened.untrack(["a"])
    assert state == empty_state()


def test_a_report_leaves_the_state_alone() -> None:
    state = empty_state()
    opened = bookmark(state)
    opened.add_report(report_of(1))
    opened.add_report(report_of(2))
    opened.remove_report("report-1")
    assert reread(state).reports == [report_of(2)]
    opened.remove_report("report-2")
    assert state == {**empty_state(), "adopt_after": at(50).isoformat()}
    assert reread(state).adopt_after == at(50)


def test_the_latest_report_that_was_read_or_dropped_is_remembered() -> None:
    opened = bookmark(empty_state())
    for number, requested_at in ((1, 52), (2, 51), (3, 53)):
        opened.add_report(PendingReport(f"report-{number}", hours(number, number + 1), "fingerprint", at(requested_at)))
    opened.remove_report("report-1")
    opened.remove_report("report-2")
    opened.remove_report("report-unknown")
    assert opened.adopt_after == at(52)


def test_a_refused_window_is_remembered_until_nothing_of_it_may_be_read_again() -> None:
    state = empty_state()
    opened = bookmark(state)
    opened.add_report(report_of(1))
    opened.refuse_report(hours(0, 24), "report-1", at(30))
    assert opened.reports == reread(state).reports == []
    assert reread(state).refused_reports == [RefusedReport(hours(0, 24), at(30))]
    opened.commit_window(hours(0, 48), at(50))
    for refetch, is_remembered in ((hours(20, 48), True), (hours(24, 48), False)):
        later = reread(state)
        later.apply_lookback(to_intervals([refetch]), None)
        assert bool(later.refused_reports) == is_remembered


def test_the_limit_of_reports_survives_a_run() -> None:
    state = empty_state()
    for limit in (ReportLimit(timedelta(hours=12)), ReportLimit(timedelta(hours=3), rows=100, small_reports=2), None):
        bookmark(state).limit_reports(limit)
        assert reread(state).report_limit == limit
    assert state == empty_state()
    assert bookmark({**state, "report_hours": 24.0}).report_limit == ReportLimit(timedelta(hours=24))


def test_a_reset_forgets_everything_but_the_reports_and_their_window() -> None:
    state = empty_state()
    opened = bookmark(state)
    opened.commit_window(hours(0, 24), at(50), is_tracked=True)
    opened.commit_page(page_of(hours(24, 48)))
    opened.track({"some-id": at(3)})
    opened.add_report(report_of(1))
    opened.limit_reports(ReportLimit(timedelta(hours=12)))
    opened.reset()
    for one in (opened, reread(state)):
        assert (one.coverage.times.empty, one.page, one.pending_ids) == (True, None, {})
        assert (one.reports, one.report_limit) == ([report_of(1)], ReportLimit(timedelta(hours=12)))


def test_only_coverage_under_other_filters_counts_for_nothing() -> None:
    state = empty_state()
    bookmark(state).commit_page(page_of(hours(0, 24)))
    assert not bookmark(dict(state), "filters").filters_changed
    bookmark(state).commit_window(hours(24, 48), at(50))
    changed = bookmark(dict(state), "filters")
    assert (changed.filters_changed, changed.coverage.times.empty) == (True, True)


def test_a_bare_bookmark_before_the_start_covers_nothing() -> None:
    state = {"context": {}, "replication_key_value": "2026-09-30T00:00:00+00:00"}
    assert bookmark(state).coverage.times.empty
    state["replication_key_value"] = "2026-10-02T00:00:00+00:00"
    assert list(to_windows(bookmark(state).coverage.times)) == [hours(0, 24)]


def test_the_marks_of_the_sdk_do_not_survive_the_reading_of_a_state() -> None:
    state = {"context": {}, "progress_markers": {}, "replication_key_signpost": "x"}
    bookmark(state)
    assert state == {"context": {}}


def test_only_time_before_a_truncation_stays_covered() -> None:
    opened = bookmark(empty_state())
    opened.commit_window(hours(0, 24), at(50))
    assert not opened.truncate(at(24))
    assert opened.truncate(at(20))
    assert list(to_windows(opened.coverage.times)) == [hours(0, 20)]


# Gaps and the length of windows


def test_a_gap_holds_back_the_bookmark_until_it_is_read() -> None:
    state = empty_state()
    opened = bookmark(state)
    opened.commit_window(hours(0, 24), at(100))
    opened.leave_gap(hours(24, 48))
    assert "gaps" not in state  # the bookmark ends before it
    opened.commit_window(hours(48, 72), at(100))
    assert state["replication_key_value"] == format_timestamp(at(24))
    again = reread(state)
    assert list(to_windows(again.coverage.times)) == [hours(0, 24), hours(48, 72)]
    assert list(to_windows(again.gaps)) == [hours(24, 48)]
    again.commit_window(hours(24, 36), at(200))
    assert list(to_windows(again.gaps)) == [hours(36, 48)]
    again.commit_window(hours(36, 48), at(200))
    assert again.gaps.empty


def test_gaps_without_any_time_that_was_read_are_kept_and_do_not_count_as_served() -> None:
    state = empty_state()
    opened = bookmark(state)
    opened.leave_gap(hours(0, 24))
    opened.leave_gap(hours(24, 48))
    again = reread(state)
    assert list(to_windows(again.gaps)) == [hours(0, 48)]
    assert (again.started, again.coverage.times.empty) == (False, True)
    again.commit_window(hours(0, 48), at(100))
    assert again.gaps.empty


def test_a_gap_that_is_read_leaves_no_trace() -> None:
    state, plain = empty_state(), empty_state()
    opened, other = bookmark(state), bookmark(plain)
    opened.leave_gap(hours(0, 24))
    opened.commit_window(hours(24, 48), at(100))
    again = bookmark(state)
    again.commit_window(hours(0, 24), at(100))
    other.commit_window(hours(0, 48), at(100))
    assert state == plain


def test_a_gap_that_nobody_reads_any_more_does_not_hold_back_the_bookmark() -> None:
    state = empty_state()
    opened = bookmark(state)
    opened.leave_gap(hours(0, 24))
    opened.commit_window(hours(24, 48), at(100))
    moved = bookmark(state, since=at(24))
    moved.commit_window(hours(48, 72), at(100))
    assert state["replication_key_value"] == format_timestamp(at(72))
    assert "gaps" not in state


@pytest.mark.parametrize("value", [12, 30, 60])
def test_a_bookmark_set_back_by_hand_counts_beside_a_gap(value: float) -> None:
    state = state_with_gap()
    state["replication_key_value"] = format_timestamp(at(value))
    assert reread(state).coverage.times == to_intervals([hours(0, 24), hours(48, 72)]) & before(at(value))


def test_an_older_release_reads_again_from_the_gap_on() -> None:
    state = state_with_gap()
    del state["gaps"]  # a key that it does not know
    assert list(to_windows(reread(state).coverage.times)) == [hours(0, 24)]


def test_each_part_beside_a_gap_keeps_when_it_was_read() -> None:
    state = state_with_gap(first_read_at=at(50))
    assert reread(state).coverage.read_at == {at(24): at(50), at(72): at(100)}


def test_a_length_of_windows_is_kept_until_it_is_gone() -> None:
    state = empty_state()
    opened = bookmark(state)
    opened.cap_page_window(timedelta(minutes=45))
    assert state["sync_hours"] == 0.75
    again = bookmark(state)
    assert again.max_page_window == timedelta(minutes=45)
    again.cap_page_window(None)
    assert "sync_hours" not in state


@pytest.mark.parametrize("length", [1, 61, 90, 3599, 12345])
def test_a_length_of_windows_survives_the_state_to_the_second(length: int) -> None:
    state = empty_state()
    bookmark(state).cap_page_window(timedelta(seconds=length))
    assert reread(state).max_page_window == timedelta(seconds=length)
