"""The planner never takes old rows for freshly read ones, and plans no more requests than it must."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tap_vonage_reports.intervals import TimeWindow, between, to_intervals, to_windows
from tap_vonage_reports.planning.lookups import batch_ids
from tap_vonage_reports.planning.planner import (
    REPORT_STATUS_RETENTION,
    WindowSizer,
    total_unclaimed,
)
from tap_vonage_reports.planning.windows import is_resumable, lookback_intervals
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.state.report_limits import ReportLimit
from tap_vonage_reports.state.values import PageCursor
from tests.planning.test_windows import ACCOUNT, AMD, HOUR, OpenSync, at, dated, hours, open_sync, request

# Literal, so that another figure in the code is noticed.
IDS_PER_REQUEST = 20


def opened(now: float = 100, state: dict[str, Any] | None = None, **settings: Any) -> OpenSync:
    """Open a partition of which nothing was read, or what a state says."""
    state = {"context": {"account_id": ACCOUNT}} if state is None else state
    return open_sync(state, now, **{**dated(start_date=0), **settings})


def pass_time(partition: OpenSync, until: float) -> None:
    """Set Vonage's clock to a later hour of the same run."""
    for clock in ("_clock", "_earliest_clock"):
        vars(partition.session.dates)[clock] = lambda: at(until) + timedelta(minutes=1)


def test_pages_after_reports_count_as_read_no_later_than_these() -> None:
    partition = opened()
    assert partition.reports().windows
    partition.sync.read_at = at(20)  # when a resumed report was requested
    assert partition.session.planner.pages(partition.sync, 24 * HOUR).read_at == at(20)


def test_pages_without_reports_count_as_read_when_they_are_planned() -> None:
    partition = opened(fetch_mode="sync")
    assert partition.reports().windows == []
    pass_time(partition, 105)
    plan = partition.pages()
    assert (plan.read_at, plan.until) == (at(105), at(105))
    assert plan.windows[-1].end == at(105)


def test_pages_after_reports_reach_to_the_present() -> None:
    partition = opened()
    partition.reports()
    pass_time(partition, 105)
    plan = partition.pages()
    assert (plan.until, plan.windows[-1].end) == (at(105), at(105))


def test_pages_beside_reports_alone_reach_no_further_than_these() -> None:
    partition = opened(fetch_mode="async")
    assert partition.reports().windows[-1].end == at(100)
    pass_time(partition, 105)
    plan = partition.pages()
    assert (plan.until, plan.windows) == (at(100), [])


def open_page(partition: OpenSync, start: float, end: float, read_at: float) -> PageCursor:
    page = PageCursor(hours(start, end), "cursor", None, partition.sync.query.fingerprint, at(read_at))
    partition.bookmark.commit_page(page)
    return page


def test_a_resumed_page_keeps_the_time_of_the_pages_before() -> None:
    partition = opened(fetch_mode="sync")
    page = open_page(partition, 5, 9, 30)
    plan = partition.pages()
    assert (plan.resume_from, plan.read_at) == (page, at(30))
    assert plan.windows[:3] == [hours(0, 5), hours(5, 9), hours(9, 33)]
    assert [plan.cursor_in(window) for window in plan.windows[:3]] == [None, page, None]


def test_a_resumed_page_makes_nothing_newer_than_a_resumed_report() -> None:
    partition = opened()
    open_page(partition, 5, 9, 30)
    windows = partition.reports().windows
    assert hours(0, 5) in windows
    assert all(window.end <= at(5) or window.start >= at(9) for window in windows)
    partition.sync.read_at = at(20)
    assert partition.session.planner.pages(partition.sync, 24 * HOUR).read_at == at(20)


@pytest.mark.parametrize(("age", "is_expired"), [(96 - 1 / 60, False), (96, True)])
def test_a_report_expires_when_vonage_forgets_its_status(age: float, *, is_expired: bool) -> None:
    assert timedelta(hours=96) == REPORT_STATUS_RETENTION
    state: dict[str, Any] = {"context": {"account_id": ACCOUNT}}
    request(opened(100, state, fetch_mode="async"), hours(0, 48))
    later = opened(100, state, fetch_mode="async")
    pass_time(later, 100 + age - 1 / 60)  # the clock is a minute ahead of the end of queries
    plan = later.reports()
    assert ([one.window for one in plan.expired], [one.window for one in plan.resumed]) == (
        ([hours(0, 48)], []) if is_expired else ([], [hours(0, 48)])
    )
    assert (plan.windows[0], plan.stale) == (hours(0, 48), [])


def test_an_overlapping_or_foreign_report_is_stale() -> None:
    partition = opened(fetch_mode="async")
    request(partition, hours(0, 48), 1)
    request(partition, hours(24, 72), 2)
    request(partition, hours(48, 72), 3, ours=False)
    plan = partition.reports()
    assert [one.request_id for one in plan.resumed] == ["report-1"]
    assert [one.request_id for one in plan.stale] == ["report-2", "report-3"]
    assert plan.windows == [hours(0, 48), hours(48, 96), hours(96, 100)]


def test_no_report_is_resumed_where_pages_read_everything() -> None:
    partition = opened(fetch_mode="sync")
    request(partition, hours(0, 48))
    plan = partition.reports()
    assert (plan.windows, plan.resumed, len(plan.stale)) == ([], [], 1)


def test_a_window_whose_file_was_refused_is_read_by_pages_in_every_mode() -> None:
    for mode in ("auto", "async"):
        state: dict[str, Any] = {"context": {"account_id": ACCOUNT}}
        before = opened(100, state, fetch_mode=mode)
        request(before, hours(48, 72))
        before.bookmark.refuse_report(hours(48, 72), "report-0", at(50))
        later = opened(100, state, fetch_mode=mode)
        plan = later.reports()
        assert not to_intervals(plan.windows).overlaps(to_intervals([hours(48, 72)]))
        assert plan.resumed == []
        by_pages = later.pages().windows
        assert hours(48, 72) in by_pages
        assert to_intervals([*plan.windows, *by_pages]) == to_intervals([hours(0, 100)])


def test_a_refused_window_that_pages_cannot_read_is_read_by_nothing() -> None:
    partition = opened(fetch_mode="async", stream_options={"sms": {"filters": {"client_ref": "x"}}})
    planner = partition.session.planner
    partition.bookmark.refuse_report(hours(48, 72), "report-0", at(50))
    assert planner.unreadable(partition.sync).empty  # AMD has no filter
    sms = partition.session.open(
        partition.session.accounts.partition(PRODUCTS["sms"], ACCOUNT, "outbound"), {"context": {}}
    )
    sms.bookmark.refuse_report(hours(48, 72), "report-0", at(50))
    assert list(to_windows(planner.unreadable(sms))) == [hours(48, 72)]
    sms.report_windows = planner.reports(sms).windows
    assert planner.pages(sms, 24 * HOUR).windows == []


@pytest.mark.parametrize(("cap", "length"), [(12, 12), (480, 48), (None, 48)])
def test_a_report_window_is_as_long_as_the_setting_and_the_api_allow(cap: float | None, length: float) -> None:
    partition = opened(fetch_mode="async")
    if cap:
        partition.bookmark.limit_reports(ReportLimit(timedelta(hours=cap)))
    assert partition.reports().windows[0] == hours(0, length)


def test_pages_read_what_no_report_does() -> None:
    partition = opened()
    planner = partition.session.planner
    assert list(to_windows(planner.unclaimed(partition.sync))) == [hours(0, 100)]
    reports = partition.reports().windows
    assert list(to_windows(planner.unclaimed(partition.sync))) == [hours(76, 100)]
    assert total_unclaimed(planner, [partition.sync] * 2) == 48 * HOUR
    pages = partition.pages().windows
    assert [*reports, *pages] == [hours(0, 48), hours(48, 76), hours(76, 100)]


def test_an_id_that_is_not_found_reopens_a_day_before_its_row_and_all_later_kept_time() -> None:
    state: dict[str, Any] = {"context": {"account_id": ACCOUNT}, "covered": [list(dated(a=0, b=200).values())]}
    partition = opened(200, state, lookback_hours=10, fetch_mode="sync")
    partition.bookmark.track({"late": at(150), "early": at(100)})
    planner = partition.session.planner
    # The run reads the last ten hours anyway.
    assert list(to_windows(planner.fall_back(partition.sync, ["late", "early"]))) == [hours(76, 190)]
    assert list(to_windows(planner.fall_back(partition.sync, ["late"]))) == [hours(126, 190)]


def test_a_lookup_takes_as_many_ids_as_the_api_allows() -> None:
    names = [str(number) for number in range(IDS_PER_REQUEST * 2 + 1)]
    batches = batch_ids(names)
    assert [len(batch) for batch in batches] == [20, 20, 1]
    assert [name for batch in batches for name in batch] == names


def test_windows_are_shared_among_workers_within_the_rate_limit() -> None:
    sizer = WindowSizer(workers=3, requests_per_second=30, max_length=24 * HOUR)
    sizer.share(12 * HOUR)
    assert sizer.max_length == HOUR
    slow = WindowSizer(workers=3, requests_per_second=2, max_length=24 * HOUR)
    slow.share(12 * HOUR)
    assert slow.max_length == 3 * HOUR
    slower = WindowSizer(workers=3, requests_per_second=2.5, max_length=24 * HOUR)
    slower.share(10 * HOUR)
    assert slower.max_length == 2 * HOUR, "five windows"
    slowest = WindowSizer(workers=3, requests_per_second=0.2, max_length=24 * HOUR)
    slowest.share(12 * HOUR)
    assert slowest.max_length == 12 * HOUR
    alone = WindowSizer(workers=1, requests_per_second=30, max_length=24 * HOUR)
    alone.share(12 * HOUR)
    assert alone.max_length == 12 * HOUR
    busy = WindowSizer(workers=3, requests_per_second=30, max_length=24 * HOUR)
    busy.share(1000 * HOUR)
    assert busy.max_length == 24 * HOUR


def test_tracked_ids_make_their_hours_be_refetched_where_ids_are_not_used() -> None:
    state: dict[str, Any] = {
        "context": {"account_id": ACCOUNT},
        "covered": [list(dated(a=0, b=200).values())],
        "open": {"2026-10-02T01:00:00+00:00": ["some-id"]},
    }
    partition = opened(200, state, lookback_hours=10, fetch_mode="sync")
    assert partition.sync.lookback.refetch == between(at(25), at(26)) | between(at(190), at(200))
    assert partition.sync.lookback.kept == between(at(0), at(25)) | between(at(26), at(190))
    assert partition.pages().windows == [hours(25, 26), hours(190, 200)]
    # Only covered time can be refetched, whatever hours the ids have.
    state["open"] = {"2026-11-01T00:00:00+00:00": ["some-id"], "2026-09-01T00:00:00+00:00": ["old-id"]}
    assert opened(200, state, lookback_hours=10).sync.lookback.refetch == between(at(190), at(200))


@pytest.mark.parametrize(("lookback", "late", "since"), [(48, 2, 198), (48, 72, 152), (1, 2, 199)])
def test_where_ids_are_looked_up_only_the_time_of_late_rows_is_refetched(
    lookback: float, late: float, since: float
) -> None:
    settings: dict[str, Any] = {"lookback_hours": lookback, "late_rows_hours": late, "status_refresh": "ids"}
    partition = opened(200, **settings)
    session, bookmark = partition.session, partition.bookmark
    bookmark.commit_window(hours(0, 200), at(200), is_tracked=True)
    plan = session.planner.lookback(session.accounts.partition(PRODUCTS["sms"], ACCOUNT, "outbound"), bookmark, at(200))
    assert plan.refetch == between(at(since), at(200))
    # What is older than the lookback is final: it need not be tracked any more.
    assert plan.tracked == between(at(200 - lookback), at(200))


def test_an_id_whose_row_a_window_reads_anyway_is_not_looked_up() -> None:
    partition = opened(200, fetch_mode="sync", lookback_hours=0)
    partition.bookmark.commit_window(hours(0, 150.5), at(200))
    partition.bookmark.track({"covered": at(149), "half": at(150), "missing": at(151)})
    sync = partition.sync
    sync.tracked_before = frozenset(partition.bookmark.pending_ids)
    assert partition.session.planner.pages(sync, 24 * HOUR).id_batches == []
    sync.lookback = replace(sync.lookback, tracked=between(at(0), at(150)))
    assert partition.session.planner.pages(sync, 24 * HOUR).id_batches == [("covered", "half")]


EARLY: dict[str, Any] = {"fetch_mode": "sync", **dated(start_date=-20_000)}


@pytest.mark.parametrize(
    ("start", "end", "is_ours", "is_continued"),
    [
        (-48, 24, True, True),
        (-96, 1, True, True),
        (-97, 1, True, False),
        (-48, 0, True, False),
        (-48, 24, False, False),
    ],
)
def test_a_begun_window_is_continued_where_the_retention_limit_has_passed_its_start(
    start: float, end: float, *, is_ours: bool, is_continued: bool
) -> None:
    partition = opened(**EARLY)
    earliest = partition.session.dates.earliest(AMD)
    window = TimeWindow(earliest + start * HOUR, earliest + end * HOUR)
    query = partition.sync.query.fingerprint if is_ours else "other"
    partition.bookmark.commit_page(PageCursor(window, "cursor", None, query, at(0)))
    plan = partition.pages()
    assert plan.windows[0].start == (window.start if is_continued else earliest)


@pytest.mark.parametrize("covered_since", [-20_000, -400, 80])
def test_without_a_start_date_reading_starts_where_coverage_does_but_within_the_retention(covered_since: float) -> None:
    state: dict[str, Any] = {"context": {"account_id": ACCOUNT}}
    opened(100, state, fetch_mode="sync").bookmark.commit_window(hours(covered_since, covered_since + 10), at(1000))
    partition = open_sync(state, 200, fetch_mode="sync", lookback_hours=0)
    # The seven days before the end, unless more was covered: then there is a gap to fill.
    first = {-20_000: partition.session.dates.earliest(AMD), -400: at(-390), 80: at(32)}[int(covered_since)]
    assert partition.pages().windows[0].start == first


def test_time_after_an_end_date_stays_covered() -> None:
    covered, lookback = between(at(0), at(100)), 24 * HOUR
    assert lookback_intervals(covered, lookback, at(90), {}) == between(at(76), at(90))
    assert lookback_intervals(covered, lookback, at(70), {}).empty


def test_a_lookback_that_no_calendar_holds_reaches_over_all_that_was_read() -> None:
    covered = between(at(0), at(100))
    assert lookback_intervals(covered, timedelta.max, at(100), {}) == covered


def test_a_window_without_length_is_not_resumed() -> None:
    assert not is_resumable(hours(5, 5), between(at(0), at(100)))
    assert is_resumable(hours(5, 6), between(at(5), at(6)))
