"""A page or a lookup moves the bookmark over what it holds, and over nothing else."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.api.request_context import RequestContext
from tap_vonage_reports.errors import (
    AccessDeniedError,
    ApiError,
    ConsecutiveGapsError,
    CredentialsRevokedError,
    ProductUnavailableError,
    RequestRejectedError,
    RetriableApiError,
    WindowInFutureError,
)
from tap_vonage_reports.extract import status_refresh
from tap_vonage_reports.extract.gaps import ReadFailure, leave_gap
from tap_vonage_reports.extract.pages.commit import WindowCommitter
from tap_vonage_reports.extract.pages.id_lookups import (
    LookupCommitter,
    LookupResult,
    fetch_by_ids,
)
from tap_vonage_reports.extract.pages.pagination import Page, iter_pages
from tap_vonage_reports.extract.status_refresh import StatusTracker
from tap_vonage_reports.intervals import TimeWindow, to_windows
from tap_vonage_reports.metrics import FetchMetrics
from tap_vonage_reports.planning.date_range import END_MARGIN
from tap_vonage_reports.planning.plans import PagePlan
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.state.values import PageCursor
from tap_vonage_reports.state.volume import Volume
from tests.planning.test_windows import ACCOUNT, at, hours, open_sync

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tap_vonage_reports.extract.reader import PartitionSync

# Literal, so that another figure in the code is noticed.
PAGES_PER_CHECKPOINT = 10
LOOKUPS_PER_CHECKPOINT = 50
WINDOWS_PER_GROWTH = 12
SMS = PRODUCTS["sms"]
DAY = hours(0, 24)


def open_partition(*, tracks: bool = False, now: float = 24) -> PartitionSync:
    """Open a partition whose non-final rows are tracked like those of SMS, or not at all."""
    sync = open_sync({"context": {"account_id": ACCOUNT}}, now, lookback_hours=0).sync
    if tracks:
        sync.tracker = StatusTracker(SMS.final["outbound"], SMS.date_field, timedelta(hours=72))
    return sync


def committer_of(sync: PartitionSync, *windows: TimeWindow, resume: PageCursor | None = None) -> WindowCommitter:
    return WindowCommitter(sync, PagePlan([*windows], resume, [], sync.until, sync.read_at))


def row(name: str, status: str = "accepted") -> dict[str, Any]:
    return {"id": name, "status": status, "date_received": "2026-10-01T05:30:00Z", "date_finalized": "2026-10-01"}


def page_of(*rows: dict[str, Any], cursor: str | None = None, answered: float = 100, window: TimeWindow = DAY) -> Page:
    return Page([*rows], cursor, "iv" if cursor else None, at(answered), window)


def covered(sync: PartitionSync) -> list[TimeWindow]:
    return list(to_windows(sync.bookmark.coverage.times))


def open_page(sync: PartitionSync) -> PageCursor | None:
    return sync.bookmark.page


# Windows


def test_a_window_counts_as_read_after_its_last_page_is_written_and_not_before() -> None:
    sync = open_partition()
    sync.read_at = at(20)  # a page that was resumed was read then
    windows = committer_of(sync, DAY)
    first = windows.chunk(page_of(row("a"), cursor="next"))
    first.commit()
    assert (covered(sync), first.rows, first.checkpoint_due) == ([], [row("a")], False)
    cursor = PageCursor(DAY, "next", "iv", sync.query.fingerprint, sync.read_at)
    assert open_page(sync) == cursor
    last = windows.chunk(page_of(row("b")))
    assert (covered(sync), open_page(sync), last.checkpoint_due) == ([], cursor, True)
    last.commit()
    assert (covered(sync), open_page(sync)) == ([DAY], None)
    assert sync.bookmark.coverage.read_at == {at(24): sync.read_at}
    assert sync.result.windows == 1


def test_a_window_is_covered_no_further_than_the_answer_with_its_first_page() -> None:
    sync = open_partition()
    windows = committer_of(sync, DAY, hours(24, 48))
    windows.chunk(page_of(cursor="next", answered=20)).commit()
    windows.chunk(page_of(cursor="after", answered=21)).commit()
    windows.chunk(page_of(answered=23)).commit()
    less_the_margin = TimeWindow(at(0), at(20) - END_MARGIN)
    assert covered(sync) == [less_the_margin]
    windows.chunk(page_of(answered=22, window=hours(24, 48))).commit()
    assert covered(sync) == [less_the_margin]


def test_a_window_that_was_read_or_left_out_is_no_longer_left_to_read() -> None:
    sync = open_partition()
    sync.result.left = timedelta(days=2)
    committer_of(sync, DAY).chunk(page_of(row("a"))).commit()
    assert sync.result.left == timedelta(days=1)
    leave_gap(sync, ReadFailure("HTTP 500", hours(24, 48)))
    assert sync.result.left == timedelta(0)
    assert (len(sync.result.gaps), sync.result.gaps_in_a_row) == (1, 1)


def test_the_rows_of_a_window_are_counted_for_the_next_plan_once_it_is_read() -> None:
    sync = open_partition()
    windows = committer_of(sync, DAY)
    windows.chunk(replace(page_of(row("a"), cursor="next"), rows_read=1000)).commit()
    assert sync.bookmark.volume.volume is None
    windows.chunk(replace(page_of(row("b")), rows_read=1234)).commit()
    assert sync.bookmark.volume.volume == Volume(1234, 24 * 3600)


def test_windows_grow_again_after_some_that_did_not_outlive_their_cursors() -> None:
    sync = open_partition()
    sync.window_limit.halve(hours(0, 2))
    pieces = [hours(start, start + 1) for start in range(WINDOWS_PER_GROWTH)]
    windows = committer_of(sync, *pieces)
    for piece in pieces:
        assert sync.window_limit.length == timedelta(hours=1)
        windows.chunk(page_of(window=piece)).commit()
    assert sync.window_limit.length == sync.bookmark.max_page_window == timedelta(hours=2)


def test_a_limit_found_in_a_window_is_kept_with_its_next_page_already() -> None:
    sync = open_partition()
    windows = committer_of(sync, DAY)
    assert sync.window_limit.halve(DAY)
    windows.chunk(page_of(row("a"), cursor="next")).commit()
    assert sync.bookmark.max_page_window == timedelta(hours=12)


def test_a_window_with_one_page_is_covered_no_further_than_its_answer() -> None:
    sync = open_partition()
    committer_of(sync, DAY).chunk(page_of(answered=20)).commit()
    assert covered(sync) == [TimeWindow(at(0), at(20) - END_MARGIN)]


def test_state_is_due_after_some_pages_of_a_window() -> None:
    windows = committer_of(open_partition(), DAY, hours(24, 48))
    pages = 2 * PAGES_PER_CHECKPOINT
    due = [windows.chunk(page_of(cursor=f"cursor-{number}")).checkpoint_due for number in range(pages)]
    assert [number for number, is_due in enumerate(due, 1) if is_due] == [PAGES_PER_CHECKPOINT, pages]
    assert windows.chunk(page_of()).checkpoint_due
    assert not windows.chunk(page_of(cursor="next", window=hours(24, 48))).checkpoint_due


def test_the_log_counts_the_rows_of_a_window_and_the_windows_left(caplog: pytest.LogCaptureFixture) -> None:
    windows = committer_of(open_partition(), DAY, hours(24, 48))
    with caplog.at_level(logging.INFO):
        windows.chunk(page_of(row("a"), row("b"), cursor="next")).commit()
        windows.chunk(page_of(row("c"))).commit()
        windows.chunk(page_of(row("d"), window=hours(24, 48))).commit()
    lines = [message.partition(": read ")[2] for message in caplog.messages]
    assert [(line[:36], line.partition("left: ")[2]) for line in lines] == [
        ("2026-10-01 00:00 to 2026-10-02 00:00", "1)"),
        ("2026-10-02 00:00 to 2026-10-03 00:00", "0)"),
    ]
    assert ["(3 rows" in line for line in lines] == [True, False]


def test_rows_that_are_not_final_are_tracked_until_they_are() -> None:
    sync = open_partition(tracks=True)
    windows = committer_of(sync, DAY)
    windows.chunk(page_of(row("a"), row("b"), cursor="next")).commit()
    assert sync.bookmark.pending_ids == {"a": at(5), "b": at(5)}
    assert sync.bookmark.page
    assert sync.bookmark.page.is_tracked
    windows.chunk(page_of(row("a", "delivered"), row("c"))).commit()
    assert sync.bookmark.pending_ids == {"b": at(5), "c": at(5)}
    assert list(to_windows(sync.bookmark.coverage.tracked)) == [DAY]


def resumed(sync: PartitionSync, *, is_tracked: bool) -> PageCursor:
    return PageCursor(DAY, "cursor", None, sync.query.fingerprint, sync.read_at, is_tracked)


@pytest.mark.parametrize(
    ("has_tracker", "is_reliable", "was_tracked", "is_tracked"),
    [
        (True, True, None, True),
        (True, True, True, True),
        (True, True, False, False),
        (True, False, None, False),
        (False, True, None, False),
    ],
)
def test_a_window_counts_as_tracked_only_if_the_rows_of_all_its_pages_are(
    *, has_tracker: bool, is_reliable: bool, was_tracked: bool | None, is_tracked: bool
) -> None:
    sync = open_partition(tracks=has_tracker)
    sync.ids_reliable = is_reliable
    resume = None if was_tracked is None else resumed(sync, is_tracked=was_tracked)
    committer_of(sync, DAY, resume=resume).chunk(page_of(row("a"))).commit()
    assert list(to_windows(sync.bookmark.coverage.tracked)) == ([DAY] if is_tracked else [])
    assert list(sync.bookmark.pending_ids) == (["a"] if is_tracked else [])


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_resumed_window_is_refetched_from_when_it_was_read_unless_it_started_over(*, is_restarted: bool) -> None:
    sync = open_partition()
    resume = replace(resumed(sync, is_tracked=False), read_at=at(20))
    windows = committer_of(sync, DAY, hours(24, 48), resume=resume)
    windows.chunk(replace(page_of(row("a")), is_restarted=is_restarted)).commit()
    windows.chunk(page_of(row("b"), window=hours(24, 48))).commit()
    assert sync.resumed_reads == ([] if is_restarted else [(DAY, at(20))])


def test_more_ids_than_there_is_room_for_leave_their_window_to_be_refetched(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(status_refresh, "MAX_PENDING_IDS", 3)
    sync = open_partition(tracks=True)
    sync.bookmark.track({"old": at(4)})
    windows = committer_of(sync, DAY, hours(24, 48))
    windows.chunk(page_of(row("old"), row("a"), cursor="next")).commit()
    windows.chunk(page_of(row("a"), row("b"), cursor="after")).commit()
    assert list(sync.bookmark.pending_ids) == ["old", "a", "b"]
    windows.chunk(page_of(row("c"), cursor="last")).commit()
    assert "too many non-final rows to track" in caplog.text
    # Those of other windows stay tracked.
    assert list(sync.bookmark.pending_ids) == ["old"]
    assert sync.bookmark.page
    assert not sync.bookmark.page.is_tracked
    windows.chunk(page_of(row("d"))).commit()
    assert list(sync.bookmark.pending_ids) == ["old"]
    assert sync.bookmark.coverage.tracked.empty
    windows.chunk(page_of(row("e"), window=hours(24, 48))).commit()
    assert list(to_windows(sync.bookmark.coverage.tracked)) == [hours(24, 48)]


def test_an_id_that_cannot_be_looked_up_leaves_its_window_to_be_refetched(caplog: pytest.LogCaptureFixture) -> None:
    sync = open_partition(tracks=True)
    committer_of(sync, DAY).chunk(page_of(row("a"), row("b,c"))).commit()
    assert "cannot be looked up" in caplog.text
    assert (sync.bookmark.pending_ids, sync.bookmark.coverage.tracked.empty) == ({}, True)


# The end of a window


class LateApi:
    """An API that finds every end in the future that is less than a margin before its clock."""

    def __init__(self, now: float, margin: timedelta) -> None:
        self.now, self.latest = at(now), at(now) - margin
        self.ends: list[str] = []

    def records(self, params: Mapping[str, str], context: RequestContext) -> Any:
        assert isinstance(context, RequestContext)
        self.ends.append(params["date_end"])
        if params["date_end"] > f"{self.latest:%Y-%m-%dT%H:%M:%SZ}":
            raise WindowInFutureError(422, "Invalid", ("date_end",), self.now)
        return SimpleNamespace(body={"records": [], "request_status": "SUCCESS"}, at=self.now)


def test_a_window_ends_six_minutes_before_the_clock_once_the_api_has_rejected_its_end() -> None:
    sync = open_partition()
    api: Any = LateApi(12, timedelta(minutes=6))
    [page] = iter_pages(api, sync.query, DAY)
    assert page.window == hours(0, 11.9)
    assert api.ends == ["2026-10-02T00:00:00Z", "2026-10-01T11:54:00Z"]


def test_a_window_is_shortened_once_and_not_into_nothing() -> None:
    sync = open_partition()
    api: Any = LateApi(12, timedelta(minutes=7))
    with pytest.raises(WindowInFutureError):
        list(iter_pages(api, sync.query, DAY))
    assert len(api.ends) == 2
    other: Any = LateApi(12, timedelta(minutes=6))
    [page] = iter_pages(other, sync.query, hours(11.95, 12))
    assert (page.records, page.is_last, page.window) == ([], True, hours(11.95, 11.95))
    assert len(other.ends) == 1


# Lookups by id


class IdApi:
    """An API that knows some rows by their ids, or fails."""

    def __init__(self, answer: list[dict[str, Any]] | ApiError) -> None:
        self.answer = answer
        self.params: list[Mapping[str, str]] = []

    def records(self, params: Mapping[str, str], context: RequestContext) -> Any:
        assert isinstance(context, RequestContext)
        self.params.append(params)
        if isinstance(self.answer, ApiError):
            raise self.answer
        return SimpleNamespace(body={"records": self.answer})


def looked_up(api: Any, *ids: str) -> list[LookupResult]:
    context = RequestContext(metrics=FetchMetrics())
    results = [
        result for result in fetch_by_ids(api, open_partition().query, ids, context) if isinstance(result, LookupResult)
    ]
    assert context.metrics.rows == sum(len(result.records) for result in results)
    return results


def test_an_id_is_missing_if_no_row_came_for_it_whatever_else_came() -> None:
    api = IdApi([row("a"), {"id": None}, row("other")])
    [result] = looked_up(api, "a", "b")
    assert (result.names, result.records, result.missing) == (("a", "b"), api.answer, {"b"})
    assert [one["id"] for one in api.params] == ["a,b"]


def test_a_rejected_lookup_finds_nothing(caplog: pytest.LogCaptureFixture) -> None:
    [result] = looked_up(IdApi(RequestRejectedError(422, "Invalid")), "a", "b")
    assert (result.records, result.missing) == ([], {"a", "b"})
    assert "rejects lookups by ID" in caplog.text


@pytest.mark.parametrize("error", [CredentialsRevokedError, ProductUnavailableError])
def test_a_lookup_without_access_is_an_error_and_not_an_empty_answer(error: type[RequestRejectedError]) -> None:
    with pytest.raises(error):
        looked_up(IdApi(error(401, "Unauthorized")), "a")


@pytest.mark.parametrize("names", [("a",), ("first,a",)])
def test_revoked_credentials_end_the_lookups_of_one_account_and_of_several(names: tuple[str, ...]) -> None:
    with pytest.raises(CredentialsRevokedError):
        looked_up(IdApi(CredentialsRevokedError(401, "Unauthorized")), *names)


@pytest.mark.parametrize("error", [AccessDeniedError, ProductUnavailableError])
def test_a_lookup_of_one_account_that_is_refused_among_several_finds_nothing(
    error: type[RequestRejectedError],
) -> None:
    api = IdApi(error(403, "Low balance"))
    [result] = looked_up(api, "first,a", "first,b")
    assert (result.missing, [one["account_id"] for one in api.params]) == ({"first,a", "first,b"}, ["first"])


def test_a_lookup_that_works_ends_a_row_of_gaps() -> None:
    sync = open_partition(tracks=True)
    lookups = LookupCommitter(sync, 9)
    for _ in range(3):
        leave_gap(sync, ReadFailure("HTTP 500"))
        leave_gap(sync, ReadFailure("HTTP 500"))
        lookups.chunk(LookupResult(("a",), []))
    leave_gap(sync, ReadFailure("HTTP 500"))
    leave_gap(sync, ReadFailure("HTTP 500"))
    with pytest.raises(ConsecutiveGapsError):
        leave_gap(sync, ReadFailure("HTTP 500"))


def test_a_lookup_without_a_usable_answer_is_a_failure_and_not_an_empty_answer() -> None:
    api: Any = IdApi(RetriableApiError("HTTP 500 Internal Error"))
    [failure] = fetch_by_ids(api, open_partition().query, ("a", "b"), RequestContext())
    assert isinstance(failure, ReadFailure)
    assert (str(failure), failure.window) == ("lookup of 2 rows", None)
    assert "HTTP 500" in failure.reason


def test_a_row_is_looked_up_until_it_is_final_and_written() -> None:
    sync = open_partition(tracks=True)
    sync.bookmark.track({name: at(5) for name in "abcd"})
    lookups = LookupCommitter(sync, 2)
    first = lookups.chunk(LookupResult(("a", "b", "c"), [row("a", "delivered"), row("b")]))
    assert (len(first), first.rows, set(sync.bookmark.pending_ids)) == (
        2,
        [row("a", "delivered"), row("b")],
        set("abcd"),
    )
    first.commit()
    assert set(sync.bookmark.pending_ids) == set("bcd")
    lookups.chunk(LookupResult(("d",), [])).commit()
    assert (lookups.missing, set(sync.bookmark.pending_ids)) == ({"c", "d"}, set("bcd"))


def test_a_row_that_is_older_than_the_lookback_is_not_looked_up_again() -> None:
    sync = open_partition(tracks=True, now=24 + 72)
    sync.bookmark.track({"old": at(23), "young": at(24)})
    LookupCommitter(sync, 1).chunk(LookupResult(("old", "young"), [row("old"), row("young")])).commit()
    assert set(sync.bookmark.pending_ids) == {"young"}


def test_state_is_due_after_some_lookups_and_the_last() -> None:
    count = 2 * LOOKUPS_PER_CHECKPOINT + 1
    lookups = LookupCommitter(open_partition(tracks=True), count)
    due = [lookups.chunk(LookupResult(("a",), [])).checkpoint_due for _ in range(count)]
    assert [number for number, is_due in enumerate(due, 1) if is_due] == [50, 100, 101]
