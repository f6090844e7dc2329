"""What is read: every instant that is wanted and not covered, once, in windows of the allowed length."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_vonage_reports.config.schema import CONFIG_JSONSCHEMA
from tap_vonage_reports.config.settings import Settings
from tap_vonage_reports.extract.session import SyncSession
from tap_vonage_reports.intervals import TimeWindow, split, to_intervals, to_windows
from tap_vonage_reports.planning.windows import (
    adoptable_reports,
    async_intervals,
    is_resumable,
    lookback_intervals,
    plan_windows,
    shared_window_length,
)
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.state.values import PageCursor, PendingReport
from tap_vonage_reports.timestamps import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.intervals import TimeSet
    from tap_vonage_reports.planning.plans import PagePlan, ReportPlan

ORIGIN = datetime(2026, 10, 1, tzinfo=timezone.utc)


def at(hours: float) -> datetime:
    return ORIGIN + timedelta(hours=hours)


def hours(start: float, end: float) -> TimeWindow:
    return TimeWindow(at(start), at(end))


windows = st.tuples(st.integers(0, 500), st.integers(0, 500)).map(lambda pair: hours(min(pair), max(pair)))
some_windows = st.lists(windows, max_size=6)


def inside(time: TimeSet, hour: int) -> bool:
    return at(hour) in time


def to_read(wanted: TimeWindow, covered: TimeSet, lookback: timedelta, settled: datetime | None = None) -> TimeSet:
    """What a run reads."""
    read_at = {part.end: settled for part in to_windows(covered) if settled}
    return to_intervals([wanted]) - (covered - lookback_intervals(covered, lookback, wanted.end, read_at))


@given(windows, some_windows, st.integers(0, 100))
def test_everything_wanted_and_not_covered_is_read(
    wanted: TimeWindow, covered: list[TimeWindow], lookback: int
) -> None:
    need = to_read(wanted, to_intervals(covered), timedelta(hours=lookback))
    for hour in range(-1, 502):
        is_wanted = wanted.start <= at(hour) < wanted.end
        is_covered = any(window.start <= at(hour) < window.end for window in covered)
        if is_wanted and not is_covered:
            assert inside(need, hour)
        if not is_wanted:
            assert not inside(need, hour)


@given(windows, some_windows, st.integers(0, 100))
def test_covered_time_is_refetched_only_within_the_lookback(
    wanted: TimeWindow, covered: list[TimeWindow], lookback: int
) -> None:
    need = to_read(wanted, to_intervals(covered), timedelta(hours=lookback))
    ends = [part.end for part in to_windows(to_intervals(covered))]
    starts = [part.start for part in to_windows(to_intervals(covered))]
    for hour in range(502):
        part_end = next((e for s, e in zip(starts, ends, strict=True) if s <= at(hour) < e), None)
        if part_end is not None and wanted.start <= at(hour) < wanted.end:
            assert inside(need, hour) == (at(hour) >= part_end - timedelta(hours=lookback))


@given(some_windows, st.integers(1, 48))
def test_windows_meet_without_gap_or_overlap_and_none_is_too_long(pieces: list[TimeWindow], longest: int) -> None:
    need = to_intervals(pieces)
    cuts = split(need, timedelta(hours=longest))
    assert to_intervals(cuts) == need
    assert all(timedelta(0) < window.end - window.start <= timedelta(hours=longest) for window in cuts)
    assert all(before.end <= after.start for before, after in pairwise(cuts))


@given(some_windows, windows, st.integers(1, 48))
def test_a_window_that_was_begun_keeps_its_bounds(pieces: list[TimeWindow], opened: TimeWindow, longest: int) -> None:
    need = to_intervals(pieces)
    kept = [opened] if is_resumable(opened, need) else []
    planned = plan_windows(need, timedelta(hours=longest), kept)
    assert to_intervals(planned) == need
    assert planned == sorted(planned)
    assert set(kept) <= set(planned)


def test_a_first_run_has_no_lookback() -> None:
    assert list(to_windows(to_read(hours(0, 48), to_intervals([]), timedelta(hours=72)))) == [hours(0, 48)]


def test_a_later_run_reads_from_the_lookback_before_the_bookmark() -> None:
    need = to_read(hours(0, 240), to_intervals([hours(0, 200)]), timedelta(hours=72))
    assert list(to_windows(need)) == [hours(128, 240)]


def test_a_start_date_moved_back_fills_the_gap_and_no_more() -> None:
    need = to_read(hours(0, 200), to_intervals([hours(100, 200)]), timedelta(0))
    assert list(to_windows(need)) == [hours(0, 100)]


def test_rows_that_were_final_when_they_were_read_are_not_read_again() -> None:
    need = to_read(hours(0, 240), to_intervals([hours(0, 100)]), timedelta(hours=72), settled=at(500))
    assert list(to_windows(need)) == [hours(100, 240)]


def test_rows_that_were_partly_final_are_read_again_from_there() -> None:
    need = to_read(hours(0, 240), to_intervals([hours(0, 100)]), timedelta(hours=72), settled=at(150))
    assert list(to_windows(need)) == [hours(78, 240)]


@given(some_windows, st.integers(1, 30))
def test_every_instant_goes_by_exactly_one_path(pieces: list[TimeWindow], backfill: int) -> None:
    need, now = to_intervals(pieces), at(600)
    for mode in ("auto", "sync", "async"):
        reports = async_intervals(need, mode, timedelta(days=backfill), now)
        assert reports | (need - reports) == need
        assert reports in need
        if mode == "auto":
            assert all(window.end <= now - timedelta(hours=24) for window in to_windows(reports))
    assert async_intervals(need, "sync", timedelta(days=backfill), now).empty
    assert async_intervals(need, "async", timedelta(days=backfill), now) == need


@pytest.mark.parametrize(("days", "by_reports"), [(7, []), (8, [hours(0, 168)])])
def test_only_a_long_range_goes_by_reports(days: int, by_reports: list[TimeWindow]) -> None:
    need = to_intervals([hours(0, days * 24)])
    assert list(to_windows(async_intervals(need, "auto", timedelta(days=7), at(days * 24)))) == by_reports


def test_a_report_of_which_none_would_be_requested_is_not_adopted() -> None:
    """Where pages read the time anyway, a report saves nothing."""
    report = PendingReport("x", hours(0, 24), "", at(30))
    missing = to_intervals([hours(0, 48)])
    assert adoptable_reports([report], missing, to_intervals([hours(24, 48)]), at(40)) == []
    assert adoptable_reports([report], missing, to_intervals([hours(23, 48)]), at(40)) == [report]


def test_an_empty_range_needs_nothing() -> None:
    assert split(to_read(hours(5, 5), to_intervals([]), timedelta(hours=1)), timedelta(hours=24)) == []


@given(st.integers(0, 20_000), st.integers(1, 40), st.integers(1, 24))
def test_there_are_enough_windows_to_share_and_none_is_cut_below_an_hour(hours: int, pieces: int, most: int) -> None:
    total, longest = timedelta(hours=hours), timedelta(hours=most)
    length = shared_window_length(total, pieces, longest)
    assert timedelta(hours=1) <= length <= longest
    assert length == longest or length == timedelta(hours=1) or total / length >= pieces / 2
    # What is cut for the workers' sake alone is bounded by what they can use.
    assert length == longest or total / length <= pieces


# The whole way from state, settings and clock to what is asked for. Hours are counted from ORIGIN.

HOUR = timedelta(hours=1)
ACCOUNT = "abcd1234"
AMD = PRODUCTS["amd"]


class OpenSync:
    """A partition at the beginning of a run, as a stream opens it, and its plans."""

    def __init__(self, session: SyncSession, sync: PartitionSync) -> None:
        self.session = session
        self.sync = sync
        self.bookmark = sync.bookmark

    def reports(self) -> ReportPlan:
        plan = self.session.planner.reports(self.sync)
        self.sync.report_windows = plan.windows
        return plan

    def pages(self) -> PagePlan:
        plan = self.session.planner.pages(self.sync, 24 * HOUR)
        self.sync.until, self.sync.read_at = plan.until, plan.read_at
        if plan.resume_from is None:
            self.bookmark.clear_page()
        return plan


def open_sync(state: dict[str, Any], now: float, **settings: Any) -> OpenSync:
    """Open a partition of AMD."""
    config = {"api_key": ACCOUNT, "api_secret": "hush-hush", "report_window_days": 2, "backfill_days": 2, **settings}
    session = SyncSession(Settings.from_config(config, CONFIG_JSONSCHEMA), lambda: 0)
    # Now is held back for a minute.
    clock = SimpleNamespace(now=lambda: at(now) + timedelta(minutes=1), known=True)
    clock.earliest = clock.now
    vars(session)["client"] = SimpleNamespace(clock=clock)  # nothing else of it is needed
    return OpenSync(session, session.open(session.accounts.partition(AMD, ACCOUNT, None), state))


def hours_of(planned: Iterable[TimeWindow]) -> list[int]:
    """The hours that windows consist of; one that is in several is there several times."""
    return [
        hour
        for window in planned
        for hour in range(round((window.start - ORIGIN) / HOUR), round((window.end - ORIGIN) / HOUR))
    ]


def dated(**dates: float | None) -> dict[str, str]:
    return {name: format_timestamp(at(date)) for name, date in dates.items() if date is not None}


def request(opened: OpenSync, window: TimeWindow, number: int = 0, *, ours: bool = True) -> None:
    """Request a report."""
    fingerprint = opened.sync.query.report_fingerprint(window) if ours else "other"
    now = opened.session.dates.now()
    opened.bookmark.add_report(PendingReport(f"report-{number}", window, fingerprint, now))


@dataclass(frozen=True)
class Case:
    """A state, settings and a clock; all times are hours."""

    covered: list[tuple[int, int]]
    settled: int | None
    page: tuple[int, int] | None
    reports: list[tuple[int, int]]
    ours: bool
    start: int
    end: int | None
    now: int
    lookback: int
    mode: str

    def opened(self) -> OpenSync:
        state: dict[str, Any] = {"context": {"account_id": ACCOUNT}}
        if self.covered:
            state["covered"] = [[format_timestamp(at(start)), format_timestamp(at(end))] for start, end in self.covered]
        if self.covered and self.settled is not None:
            state["read_at"] = format_timestamp(at(self.settled))
        dates = dated(start_date=self.start, end_date=self.end)
        settings = {**dates, "lookback_hours": self.lookback, "fetch_mode": self.mode}
        # What an earlier run has left open, of this query or of another.
        earlier = open_sync(state, self.now, **settings)
        if self.page:
            query = earlier.sync.query.fingerprint if self.ours else "other"
            earlier.bookmark.commit_page(PageCursor(hours(*self.page), "cursor", None, query, at(self.page[1])))
        for number, pair in enumerate(self.reports):
            request(earlier, hours(*pair), number, ours=self.ours)
        return open_sync(json.loads(json.dumps(state)), self.now, **settings)

    def expected(self) -> set[int]:
        """What has to be read, hour by hour, and nothing that a set of time is needed for."""
        parts = sorted(self.covered)
        needed = set()
        for hour in range(self.start, self.now if self.end is None else self.end):
            part = next((part for part in parts if part[0] <= hour < part[1]), None)
            if part is None:
                needed.add(hour)
                continue
            seen_until = part[1] if self.settled is None or part is not parts[-1] else self.settled
            if hour >= seen_until - self.lookback:
                needed.add(hour)
        return needed


def apart(bounds: list[int]) -> list[tuple[int, int]]:
    """Pieces of time between which there is time."""
    bounds = sorted(set(bounds))
    return list(zip(bounds[::2], bounds[1::2], strict=False))


pieces = st.lists(st.integers(0, 300), max_size=8).map(apart)
cases = st.builds(
    Case,
    covered=pieces,
    settled=st.none() | st.integers(300, 400),
    page=pieces.map(lambda some: some[0] if some else None),
    reports=pieces,
    ours=st.booleans(),
    start=st.integers(0, 300),
    end=st.none() | st.integers(300, 400),
    now=st.integers(400, 410),
    lookback=st.sampled_from([0, 1, 24, 72, 1000]),
    mode=st.sampled_from(["auto", "sync", "async"]),
)


@given(cases)
def test_a_plan_covers_what_is_missing_and_the_lookback_and_nothing_else(case: Case) -> None:
    opened = case.opened()
    plan, page_plan = opened.reports(), opened.pages()
    reports, kept, pages, page = plan.windows, plan.resumed, page_plan.windows, page_plan.resume_from
    planned = hours_of([*reports, *pages])
    assert len(planned) == len(set(planned))
    assert set(planned) == case.expected()
    assert all(
        window.end - window.start <= 48 * HOUR for window in reports if window not in [one.window for one in kept]
    )
    assert all(window.end - window.start <= 24 * HOUR for window in pages if not page or window != page.window)
    assert reports == sorted(reports)
    assert pages == sorted(pages)


@given(cases)
def test_open_pages_and_reports_are_resumed_wherever_they_are_still_missing(case: Case) -> None:
    opened = case.opened()
    plan, page_plan = opened.reports(), opened.pages()
    reports, kept, pages, page = plan.windows, plan.resumed, page_plan.windows, page_plan.resume_from
    needed = case.expected()
    if case.page and case.ours and case.page[0] < case.page[1] and set(range(*case.page)) <= needed:
        assert page
        assert hours(*case.page) == page.window
        assert page.window in pages
        needed -= set(range(*case.page))
    else:
        assert page is None
    wanted = [
        hours(*window) for window in case.reports if case.ours and case.mode != "sync" and set(range(*window)) <= needed
    ]
    assert [one.window for one in kept] == wanted
    assert set(wanted) <= set(reports)


@given(cases)
def test_only_time_that_is_past_goes_by_reports_unless_told_so(case: Case) -> None:
    plan = (opened := case.opened()).reports()
    reports, kept = plan.windows, plan.resumed
    fresh = [window for window in reports if window not in [one.window for one in kept]]
    if case.mode == "sync":
        assert reports == []
    if case.mode == "async":
        assert opened.session.planner.unclaimed(opened.sync).empty or case.page
    if case.mode == "auto":
        assert all(window.end <= opened.sync.until - timedelta(hours=24) for window in fresh)


@dataclass(frozen=True)
class Past:
    """A run: hours since the one before, its dates, its mode, and the windows after which it is killed."""

    gap: int
    start: int | None
    end: int | None
    mode: str
    count: int | None

    def settings(self, now: int) -> tuple[int | None, int | None, dict[str, Any]]:
        """Dates that a run can have then, and its settings."""
        start, end = (date if date is not None and date < now else None for date in (self.start, self.end))
        if start is not None and end is not None:
            start, end = min(start, end), max(start, end)
        return start, end, {**dated(start_date=start, end_date=end), "fetch_mode": self.mode}


def pasts(start: st.SearchStrategy[int | None], end: st.SearchStrategy[int | None]) -> st.SearchStrategy[list[Past]]:
    modes = st.sampled_from(["auto", "sync", "async"])
    counts = st.none() | st.integers(0, 6)
    return st.lists(st.builds(Past, st.integers(1, 200), start, end, modes, counts), min_size=1, max_size=6)


def read_windows(opened: OpenSync, count: int | None) -> tuple[list[TimeWindow], bool]:
    """Read so many windows, or all; what was read, and whether that is all."""
    done: list[TimeWindow] = []
    for path in ("reports", "pages"):
        for window in opened.reports().windows if path == "reports" else opened.pages().windows:
            if len(done) == count:
                return done, False
            opened.bookmark.commit_window(window, opened.sync.read_at)
            done.append(window)
    return done, True


@dataclass(frozen=True)
class Played:
    """A run that has been played: when, its dates, the hours that it has read, and whether these are all."""

    now: int
    start: int | None
    end: int | None
    read: list[int]
    whole: bool


def played(runs: list[Past], lookback: int) -> Iterator[Played]:
    """Run after run, each from the state that the one before has left."""
    state: dict[str, Any] = {"context": {"account_id": ACCOUNT}}
    now = 0
    for run in runs:
        now += run.gap
        start, end, settings = run.settings(now)
        done, whole = read_windows(open_sync(state, now, **settings, lookback_hours=lookback), run.count)
        yield Played(now, start, end, hours_of(done), whole)
        state = json.loads(json.dumps(state))


@given(pasts(st.none() | st.integers(-50, 300), st.none() | st.integers(0, 400)), st.integers(0, 100))
def test_after_any_sequence_of_killed_runs_nothing_stays_stale(runs: list[Past], lookback: int) -> None:
    seen: dict[int, int] = {}
    for run in played(runs, lookback):
        seen |= dict.fromkeys(run.read, run.now)
        last = run.now if run.end is None else run.end
        for hour in range(last - 168 if run.start is None else run.start, last) if run.whole else ():
            # What this run has not read was final when it was read.
            assert seen.get(hour) == run.now or seen[hour] >= hour + lookback


@given(pasts(st.integers(-50, 0), st.none()), st.integers(0, 100))
def test_final_rows_are_not_refetched_wherever_runs_are_killed(runs: list[Past], lookback: int) -> None:
    seen: dict[int, int] = {}
    for run in played(runs, lookback):
        for hour in run.read:
            assert hour not in seen or seen[hour] < hour + 1 + lookback
            seen[hour] = run.now


@pytest.mark.parametrize("start", [None, -20_000], ids=["by default", "before the retention"])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_open_pages_and_reports_are_resumed_when_the_start_moves_with_the_clock(start: int | None, mode: str) -> None:
    state: dict[str, Any] = {"context": {"account_id": ACCOUNT}}
    first = open_sync(state, 0, fetch_mode=mode, **dated(start_date=start))
    [begun, *_] = first.reports().windows or first.pages().windows
    if mode == "sync":
        first.bookmark.commit_page(PageCursor(begun, "cursor", None, first.sync.query.fingerprint, first.sync.read_at))
    else:
        request(first, begun)
    second = open_sync(state, 5, fetch_mode=mode, **dated(start_date=start))
    plan, page_plan = second.reports(), second.pages()
    reports, kept, pages, page = plan.windows, plan.resumed, page_plan.windows, page_plan.resume_from
    assert [*reports, *pages][0] == begun
    assert [one.window for one in [*kept, page] if one] == [begun]


def test_a_report_that_was_asked_for_is_read_although_little_else_is_left() -> None:
    state: dict[str, Any] = {"context": {"account_id": ACCOUNT}}
    settings = {"fetch_mode": "auto", **dated(start_date=0, end_date=96)}
    first = open_sync(state, 200, **settings)
    read, waiting = first.reports().windows
    first.bookmark.commit_window(read, first.sync.read_at)
    request(first, waiting)
    plan = open_sync(state, 210, **settings).reports()
    assert plan.windows == [one.window for one in plan.resumed] == [waiting]


def test_a_page_before_the_retention_limit_is_not_resumed() -> None:
    state: dict[str, Any] = {"context": {"account_id": ACCOUNT}}
    first = open_sync(state, 0, fetch_mode="sync", **dated(start_date=-20_000))
    begun = first.pages().windows[0]
    first.bookmark.commit_page(PageCursor(begun, "cursor", None, first.sync.query.fingerprint, first.sync.read_at))
    later = open_sync(state, 100, fetch_mode="sync", **dated(start_date=-20_000))
    plan = later.pages()
    assert plan.resume_from is None
    assert plan.windows[0].start == later.session.dates.earliest(AMD)


def test_an_impossible_open_page_is_not_resumed() -> None:
    state: dict[str, Any] = {"context": {"account_id": ACCOUNT}}
    first = open_sync(state, 0, fetch_mode="sync", **dated(start_date=-20_000))
    begun = TimeWindow(datetime.min.replace(tzinfo=timezone.utc), ORIGIN)
    first.bookmark.commit_page(PageCursor(begun, "cursor", None, first.sync.query.fingerprint, first.sync.read_at))
    second = open_sync(state, 5, fetch_mode="sync", **dated(start_date=-20_000))
    assert second.pages().windows[0].start == second.session.dates.earliest(AMD)


def test_an_open_page_that_reports_have_overtaken_is_still_read_after_a_kill() -> None:
    settings = {"lookback_hours": 72, "fetch_mode": "auto", **dated(start_date=0)}
    state: dict[str, Any] = {"context": {"account_id": ACCOUNT}}
    read_windows(open_sync(state, 100, **settings), None)
    second = open_sync(state, 110, **settings)
    begun = second.pages().windows[0]
    second.bookmark.commit_page(PageCursor(begun, "cursor", None, second.sync.query.fingerprint, second.sync.read_at))
    third = open_sync(state, 1000, **settings)
    reports = third.reports().windows
    read_windows(third, len(reports))
    assert begun.end <= reports[0].start
    plan = open_sync(state, 1010, **settings).pages()
    assert plan.resume_from
    assert plan.windows[0] == begun


def test_time_skipped_by_a_later_start_is_read_when_the_start_moves_back() -> None:
    state: dict[str, Any] = {"context": {"account_id": ACCOUNT}}
    for now, start in ((100, 0), (110, 60)):
        read_windows(open_sync(state, now, **dated(start_date=start), lookback_hours=72), None)
    # Of the first run's rows those since hour 28 were not final, and the second has read those since hour 60 again.
    pages = open_sync(state, 111, **dated(start_date=0), lookback_hours=0).pages().windows
    assert set(range(28, 60)) <= set(hours_of(pages))


def test_a_window_in_the_log_has_two_different_ends() -> None:
    assert str(TimeWindow(ORIGIN, ORIGIN + timedelta(minutes=1))) == "2026-10-01 00:00 to 2026-10-01 00:01"
    short = TimeWindow(ORIGIN, ORIGIN + timedelta(seconds=59))
    assert str(short) == "2026-10-01 00:00:00 to 2026-10-01 00:00:59"
