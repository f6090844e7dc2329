"""A poll of a report is one try; the scheduler repeats it later, and gives up like any other request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.api.retry import RetryPolicy
from tap_vonage_reports.errors import (
    ApiError,
    ConnectionFailedError,
    RequestRejectedError,
    RetriableApiError,
    SyncFailedError,
    UnreachableError,
)
from tap_vonage_reports.sandbox import Fault, Sandbox, Within
from tap_vonage_reports.timestamps import parse_time
from tests.harness import Output, run_tap, settings_for
from tests.hostile import HostileServer, client_of, reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_vonage_reports.api.responses import ApiResponse

# Literal, so that another figure in the code is noticed.
MAX_LOOKS = 10
BROKEN = RetriableApiError("HTTP 500 Oops")
START, END = "2026-11-01T00:00:00+00:00", "2026-11-11T00:00:00+00:00"
ROWS = 50


@pytest.fixture
def sandbox(make_sandbox: Callable[..., Sandbox]) -> Sandbox:
    return make_sandbox(rows={"amd": Within(ROWS, parse_time(START), parse_time(END))})


def read(sandbox: Sandbox, state: dict[str, Any] | None = None) -> Output:
    settings = settings_for(sandbox, start_date=START, end_date=END, fetch_mode="async")
    return run_tap(settings, ["amd"], state)


def polls(sandbox: Sandbox) -> list[int]:
    return [entry.status for entry in sandbox.requests.log if entry.endpoint == "report-status"]


def test_a_poll_is_one_try() -> None:
    with HostileServer(lambda _request: reply(b"", "500 Oops")) as server:
        with pytest.raises(RetriableApiError, match="HTTP 500"):
            client_of(server).report_status("some-report")
        assert len(server.log) == 1


def test_a_poll_without_a_connection_says_so_and_does_not_end_the_run() -> None:
    client = ReportsClient("http://127.0.0.1:9", "k", "s", timeout_seconds=1, user_agent="test", delay_factor=0)
    with pytest.raises(ConnectionFailedError):
        client.report_status("some-report")


def test_a_poll_that_fails_is_repeated_later(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.SERVER_ERROR, endpoints=["report-status"], first=1)
    sandbox.options.polls = 2
    poll = mock.patch.object(ReportsClient, "report_status", autospec=True, side_effect=ReportsClient.report_status)
    with poll as polled:
        output = read(sandbox)
    assert output.code == 0
    assert len(output.ids("amd")) == ROWS
    assert polls(sandbox)[:2] == [500, 200]
    assert polled.call_count == len(polls(sandbox))
    assert len([line for line in output.log.splitlines() if "poll failed" in line]) == 1


def test_polls_that_fail_now_and_then_fail_no_report(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.SERVER_ERROR, endpoints=["report-status"], every=2)
    sandbox.options.polls = 20
    output = read(sandbox)
    assert output.code == 0
    assert polls(sandbox).count(500) > RetryPolicy().max_tries


def test_a_report_that_is_requested_again_has_all_its_tries_again(sandbox: Sandbox) -> None:
    poll, failures = ReportsClient.report_status, [BROKEN] * (RetryPolicy().max_tries - 1)
    gone = [RequestRejectedError(404, "Not Found")] * (MAX_LOOKS + 1)
    errors: Iterator[ApiError] = iter([*failures, *gone, *failures])

    def fail_first(client: ReportsClient, request_id: str) -> ApiResponse:
        for error in errors:
            raise error
        return poll(client, request_id)

    with mock.patch.object(ReportsClient, "report_status", fail_first):
        output = read(sandbox)
    assert output.code == 0
    assert len(output.ids("amd")) == ROWS


@pytest.mark.parametrize(
    ("failure", "kind"),
    [(BROKEN, SyncFailedError), (ConnectionFailedError("The connection failed (ConnectTimeout)"), UnreachableError)],
    ids=["broken", "no connection"],
)
def test_polls_that_fail_all_the_time_are_an_error_and_the_report_is_resumed(
    sandbox: Sandbox, failure: ApiError, kind: type[Exception]
) -> None:
    with mock.patch.object(ReportsClient, "report_status", side_effect=failure) as polled:
        first = read(sandbox)
    assert isinstance(first.error, kind)
    assert polled.call_count == RetryPolicy().max_tries
    second = read(sandbox, first.state)
    assert len(second.ids("amd")) == ROWS
    assert sum(sandbox.requests.reports.values()) == 1
