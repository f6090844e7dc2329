"""A window is read to its end although cursors fail: from its first page again, then in halves, else it is a gap."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.api.request_context import RequestContext
from tap_vonage_reports.errors import (
    AccessDeniedError,
    ApiError,
    CredentialsRevokedError,
    RateLimitedError,
    RequestRejectedError,
    RetriableApiError,
    UndecodableBodyError,
)
from tap_vonage_reports.extract.gaps import ReadFailure
from tap_vonage_reports.extract.pages.window_reader import read_window
from tap_vonage_reports.state.values import PageCursor
from tap_vonage_reports.timestamps import parse_time
from tests.extract.test_page_commits import open_partition
from tests.planning.test_windows import at, hours

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tap_vonage_reports.extract.reader import PartitionSync

HOUR = timedelta(hours=1)
GONE = RequestRejectedError(410, "Gone")
BROKEN = RetriableApiError("HTTP 500 Oops")


class HourlyApi:
    """An API with a row in each hour, two on a page, whose cursors fail.

    Attributes:
        lasts: How many pages behind the first one a walk may have.
        error: What the next page is then.
        first_error: What a first page is, if anything.
    """

    def __init__(
        self, lasts: int = 99, error: ApiError = GONE, first_error: ApiError | None = None, left: int = 0
    ) -> None:
        self.lasts, self.error, self.first_error = lasts, error, first_error
        self.asked: list[tuple[float, float, str]] = []
        self._left = left  # of a walk that an earlier run began

    def records(self, params: Mapping[str, str], context: RequestContext) -> Any:
        assert isinstance(context, RequestContext)
        start, end = ((parse_time(params[name]) - at(0)) / HOUR for name in ("date_start", "date_end"))
        cursor = params.get("cursor", "")
        self.asked.append((start, end, cursor))
        if not cursor:
            self._left = self.lasts
            if self.first_error:
                raise self.first_error
        elif self._left:
            self._left -= 1
        else:
            raise self.error
        found = [f"hour {hour}" for hour in range(round(start), round(end))][int(cursor or 0) :]
        more = {"cursor": str(int(cursor or 0) + 2), "iv": "iv", "request_status": "TRUNCATED"}
        body = {"request_status": "SUCCESS", **(more if len(found) > 2 else {})}
        return SimpleNamespace(body={"records": [{"id": name} for name in found[:2]], **body}, at=at(100))


class Read:
    """What reading a window gives."""

    def __init__(
        self, api: HourlyApi, sync: PartitionSync | None = None, resume: PageCursor | None = None, end: float = 8
    ) -> None:
        self.sync = sync or open_partition()
        self.context = RequestContext()
        client: Any = api
        found = list(read_window(client, self.sync, hours(0, end), resume, self.context))
        self.pages = [page for page in found if not isinstance(page, ReadFailure)]
        self.failures = [page for page in found if isinstance(page, ReadFailure)]

    @property
    def hours(self) -> list[int]:
        return [int(row["id"].split()[1]) for page in self.pages for row in page.records]

    @property
    def counts(self) -> tuple[int, int]:
        return self.context.metrics.rows, self.context.metrics.refetched


def page_at(offset: int) -> PageCursor:
    return PageCursor(hours(0, 8), str(offset), "iv", "query", at(30), rows_read=offset)


def test_a_window_without_trouble_is_walked_once() -> None:
    read = Read(HourlyApi())
    assert read.hours == [*range(8)]
    assert [page.rows_read for page in read.pages] == [2, 4, 6, 8]
    assert not any(page.is_restarted for page in read.pages)
    assert (read.counts, read.failures, read.sync.window_limit.length) == ((8, 0), [], None)


def test_a_resumed_window_is_walked_from_its_page_on() -> None:
    read = Read(HourlyApi(left=99), resume=page_at(4))
    assert read.hours == [4, 5, 6, 7]
    assert [page.rows_read for page in read.pages] == [6, 8]
    assert (read.counts, read.failures) == ((4, 0), [])


@pytest.mark.parametrize(
    "error", [GONE, BROKEN, CredentialsRevokedError(401, "Unauthorized"), AccessDeniedError(403, "x")]
)
def test_a_page_of_an_earlier_run_that_fails_costs_the_window_no_row(error: ApiError) -> None:
    read = Read(HourlyApi(lasts=99, error=error), resume=page_at(4))
    assert read.hours == [*range(8)]
    assert all(page.is_restarted for page in read.pages)
    assert read.counts == (8, 4)  # four of them had been fetched by the earlier run
    assert read.failures == []


def test_a_page_of_an_earlier_run_waits_for_the_rate_limit_and_is_not_dropped_for_it() -> None:
    read = Read(HourlyApi(error=RateLimitedError("HTTP 429")), resume=page_at(4))
    assert (read.pages, [failure.window for failure in read.failures]) == ([], [hours(0, 8)])


def test_a_cursor_that_fails_once_restarts_its_window_and_what_comes_again_is_counted() -> None:
    api, sync, context = HourlyApi(lasts=1), open_partition(), RequestContext()
    client: Any = api
    found: list[Any] = []
    for page in read_window(client, sync, hours(0, 8), None, context):
        found.append(page)
        api.lasts = 99  # of the next walk
    assert [page.is_restarted for page in found] == [False, False, True, True, True, True]
    assert [page.rows_read for page in found] == [2, 4, 2, 4, 6, 8]
    assert (context.metrics.rows, context.metrics.refetched) == (12, 4)
    assert sync.window_limit.length is None


def test_cursors_that_never_last_lead_to_shorter_windows_without_a_gap() -> None:
    api = HourlyApi(lasts=1)
    read = Read(api)
    assert sorted(set(read.hours)) == [*range(8)]
    assert read.failures == []
    assert read.sync.window_limit.length == 4 * HOUR
    assert [asked[:2] for asked in api.asked if not asked[2]] == [(0, 8), (0, 8), (0, 4), (4, 8)]


def test_a_window_is_halved_immediately_once_another_has_outlived_its_cursors() -> None:
    sync = open_partition()
    sync.window_limit.halve(hours(0, 16))
    api = HourlyApi(lasts=1)
    read = Read(api, sync)
    assert [asked[:2] for asked in api.asked if not asked[2]] == [(0, 8), (0, 4), (4, 8)]
    assert sorted(set(read.hours)) == [*range(8)]


def test_a_window_that_no_halving_helps_is_a_gap_that_says_how_the_cursor_was_refused() -> None:
    class Endless(HourlyApi):
        def records(self, params: Mapping[str, str], context: RequestContext) -> Any:
            return super().records({**params, "date_end": "2026-10-02T00:00:00Z"}, context)

    read = Read(Endless(lasts=0), end=1 / 30)
    assert len(read.failures) > 0
    assert all(
        "refuses its own cursors" in failure.reason and "HTTP 410 Gone" in failure.reason for failure in read.failures
    )
    assert read.sync.window_limit.length == timedelta(minutes=1)


@pytest.mark.parametrize("error", [GONE, BROKEN, UndecodableBodyError("text")])
def test_a_first_page_that_fails_is_a_gap_and_has_nothing_to_do_with_cursors(error: ApiError) -> None:
    api = HourlyApi(first_error=error)
    read = Read(api)
    assert [failure.window for failure in read.failures] == [hours(0, 8)]
    assert "cursors" not in read.failures[0].reason
    assert (len(api.asked), read.sync.window_limit.length) == (1, None)


@pytest.mark.parametrize("error", [RateLimitedError("HTTP 429"), UndecodableBodyError("text")])
def test_an_error_that_says_nothing_of_the_cursor_restarts_nothing(error: ApiError) -> None:
    api = HourlyApi(lasts=1, error=error)
    read = Read(api)
    assert (read.hours, [failure.window for failure in read.failures]) == ([0, 1, 2, 3], [hours(0, 8)])
    assert len(api.asked) == 3


def test_a_refusal_of_the_account_ends_the_partition() -> None:
    with pytest.raises(AccessDeniedError):
        Read(HourlyApi(lasts=1, error=AccessDeniedError(403, "Low balance")))
