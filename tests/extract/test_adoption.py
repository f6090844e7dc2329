"""A report that was paid for is read, also when its id got lost: between two runs, or behind a request that worked."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tap_vonage_reports.api.client import LIST_TRIES
from tap_vonage_reports.errors import ApiError, ConnectionFailedError, RetriableApiError
from tap_vonage_reports.extract.reports.adoption import ReportFinder, report_of
from tap_vonage_reports.planning.partition import Query
from tap_vonage_reports.planning.planner import Planner
from tap_vonage_reports.sandbox import Fault, Sandbox, Within
from tests.extract.test_report_jobs import Api, creator_of, planned
from tests.extract.test_reports import END, ROWS, START, created, endpoints, read
from tests.harness import Output, run_tap, settings_for
from tests.planning.test_windows import at, hours, open_sync, request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tap_vonage_reports.api.client import ReportsClient
    from tap_vonage_reports.extract.reports.job import ReportJob
    from tap_vonage_reports.planning.plans import PartitionScope, ReportPlan
    from tests.planning.test_windows import OpenSync

# Literal, so that another figure in the code is noticed.
MAX_FAILURES = 2
MAX_LOOKS = 10
SUBACCOUNT = "sub00001"

# Between two runs


@pytest.fixture
def sandbox(make_sandbox: Callable[..., Sandbox]) -> Sandbox:
    rows = {"amd": Within(ROWS, START, END), "sms": Within(ROWS, START, END)}
    return make_sandbox(rows=rows, subaccount_keys=[SUBACCOUNT])


def lost(sandbox: Sandbox, state: Mapping[str, Any] | None = None, **more: Any) -> list[str]:
    """Run until reports are requested, and lose the state. Return their ids."""
    sandbox.requests.reset()
    with sandbox.faults.during(Fault.UNKNOWN_REPORT_STATUS):
        output = read(sandbox, state, **more)
    assert output.code == 1
    ids = [entry.report for entry in sandbox.requests.log if entry.endpoint == "report-create"]
    sandbox.requests.reset()
    return ids


def downloaded(sandbox: Sandbox) -> set[str]:
    return {entry.report for entry in sandbox.requests.log if entry.endpoint == "media"}


@pytest.mark.promise("No report is paid for twice, also when its state was lost on the way.")
@pytest.mark.parametrize("fault", [None, Fault.OFFSETS_WITHOUT_COLON, Fault.PREFIXED_REQUEST_IDS])
def test_reports_of_a_run_whose_state_was_lost_are_read_and_not_requested_again(
    sandbox: Sandbox, fault: Fault | None
) -> None:
    if fault:
        sandbox.faults.on(fault)
    ids = lost(sandbox, report_window_days=4)
    assert len(ids) == 3
    sandbox.clock.advance(hours=1)
    output = read(sandbox, report_window_days=4)
    assert output.code == 0, output.log
    assert created(sandbox) == []
    assert downloaded(sandbox) == set(ids)
    assert len(output.ids("amd")) == ROWS
    assert "amd, primary account: adopting 3 reports from an earlier run, found at the API" in output.log
    assert output.log.splitlines()[-1].endswith("0 reports)")


def test_the_ids_of_adopted_reports_are_in_the_state_before_one_is_waited_for(sandbox: Sandbox) -> None:
    ids = lost(sandbox, report_window_days=4)
    output = read(sandbox, report_window_days=4)
    first = output.states[0]["bookmarks"]["amd"]["partitions"][0]
    assert sorted(report["request_id"] for report in first["reports"]) == sorted(ids)
    position = next(number for number, message in enumerate(output.messages) if message["type"] == "STATE")
    assert not any(message["type"] == "RECORD" for message in output.messages[:position])


@pytest.mark.parametrize("stream", ["sms", "amd"])
def test_time_after_adopted_reports_is_requested(sandbox: Sandbox, stream: str) -> None:
    """The first run ended at its now, and the second one at a later one."""
    ids = lost(sandbox, streams=(stream,), end_date=None, start_date=START.isoformat())
    sandbox.clock.advance(hours=5)
    output = read(sandbox, streams=(stream,), end_date=None)
    assert output.code == 0
    assert {start for _, _, start, _ in created(sandbox)} == {"2026-11-20T11:59:00Z"}
    assert downloaded(sandbox) >= set(ids)
    assert len(set(output.ids(stream))) == ROWS * (2 if stream == "sms" else 1)


@pytest.mark.parametrize("paused", [0, 1, 71])
def test_without_a_start_date_reports_that_begin_earlier_are_adopted(
    make_sandbox: Callable[..., Sandbox], paused: int
) -> None:
    sandbox = make_sandbox(rows={"amd": 24})
    open_dates: dict[str, Any] = {"start_date": None, "end_date": None}
    ids = lost(sandbox, **open_dates)
    sandbox.clock.advance(hours=paused)
    output = read(sandbox, **open_dates)
    assert downloaded(sandbox) >= set(ids)
    assert all(start == "2026-11-20T11:59:00Z" for _, _, start, _ in created(sandbox))
    assert output.bookmark("amd")["covered"][0][0] == "2026-11-13T11:59:00+00:00"


def test_rows_of_an_adopted_report_count_as_read_when_it_was_requested(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"sms/outbound": 24})
    dates: dict[str, Any] = {"start_date": "2026-11-10T00:00:00Z", "end_date": None}
    options: dict[str, Any] = {"streams": ("sms",), "stream_options": {"sms": {"filters": {"direction": "outbound"}}}}
    lost(sandbox, **dates, **options)
    outputs: list[Output] = []
    for _ in range(2):
        sandbox.clock.advance(hours=20)
        outputs.append(read(sandbox, outputs[-1].state if outputs else None, **dates, **options))
    # What may have changed since then was refetched by the same run.
    assert outputs[0].bookmark("sms", direction="outbound")["read_at"] == "2026-11-21T07:59:00+00:00"
    latest = {record["id"]: record["status"] for output in outputs for record in output.records["sms"]}
    until = datetime(2026, 11, 22, 3, 59, tzinfo=timezone.utc)
    rows = sandbox.expected("sms", None, "outbound", datetime(2026, 11, 10, tzinfo=timezone.utc), until)
    assert {row["id"]: latest.get(row["id"]) for row in rows} == {row["id"]: row["status"] for row in rows}


FILTERED = {"stream_options": {"sms": {"filters": {"country": "GB", "direction": "outbound"}}}}
OUTBOUND = {"stream_options": {"sms": {"filters": {"direction": "outbound"}}}}
INBOUND = {"stream_options": {"sms": {"filters": {"direction": "inbound"}}}}
OTHERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "other product": ({"streams": ("amd",)}, {"streams": ("sms",), **OUTBOUND}),
    "other account": ({"account_ids": [SUBACCOUNT]}, {}),
    "other direction": ({"streams": ("sms",), **INBOUND}, {"streams": ("sms",), **OUTBOUND}),
    "filter": ({"streams": ("sms",), **FILTERED}, {"streams": ("sms",), **OUTBOUND}),
    "no filter": ({"streams": ("sms",), **OUTBOUND}, {"streams": ("sms",), **FILTERED}),
    "message": ({"streams": ("sms",), "include_message": True, **OUTBOUND}, {"streams": ("sms",), **OUTBOUND}),
    "no message": ({"streams": ("sms",), **OUTBOUND}, {"streams": ("sms",), "include_message": True, **OUTBOUND}),
    "window not needed": ({"end_date": "2026-11-05"}, {"start_date": "2026-11-05"}),
    "window too early": ({"end_date": "2026-11-06"}, {"start_date": "2026-11-05"}),
    "window too late": ({}, {"end_date": "2026-11-09"}),
    "switched off": ({}, {"adopt_reports": False}),
}


@pytest.mark.parametrize(("first", "second"), OTHERS.values(), ids=OTHERS)
def test_only_a_report_of_the_same_request_is_adopted(
    sandbox: Sandbox, first: dict[str, Any], second: dict[str, Any]
) -> None:
    ids = lost(sandbox, **first)
    output = read(sandbox, **second)
    assert output.code == 0
    assert created(sandbox)
    assert not downloaded(sandbox) & set(ids)


BAD_ENDS = {
    Fault.REPORT_TRUNCATED: 10,
    Fault.REPORT_FAILED: None,
    Fault.REPORT_ABORTED: None,
}


@pytest.mark.parametrize("fault", BAD_ENDS, ids=lambda fault: str(fault.value))
def test_a_report_that_ended_without_all_its_rows_is_not_adopted(sandbox: Sandbox, fault: Fault) -> None:
    sandbox.faults.on(fault, BAD_ENDS[fault])
    ids = lost(sandbox)
    sandbox.faults.off(fault)
    report = sandbox.app.reports.find(ids[0])
    assert report is not None
    report.polled = 9
    output = read(sandbox)
    assert len(created(sandbox)) == 1
    assert len(output.ids("amd")) == ROWS


@pytest.mark.parametrize("age", [72, 95, 97])
def test_a_report_whose_file_has_expired_is_not_adopted(sandbox: Sandbox, age: int) -> None:
    ids = lost(sandbox)
    sandbox.clock.advance(hours=age)
    output = read(sandbox)
    assert output.code == 0
    assert "adopting" not in output.log
    assert not downloaded(sandbox) & set(ids)
    assert len(output.ids("amd")) == ROWS


def test_reports_that_the_state_names_are_not_adopted_a_second_time(sandbox: Sandbox) -> None:
    with sandbox.faults.during(Fault.UNKNOWN_REPORT_STATUS):
        first = read(sandbox, report_window_days=4)
    partition = first.bookmark("amd")
    partition["reports"] = partition["reports"][:1]
    sandbox.requests.reset()
    second = read(sandbox, first.state, report_window_days=4)
    assert created(sandbox) == []
    assert "adopting 2 reports" in second.log
    assert len(second.ids("amd")) == len(set(second.ids("amd"))) == ROWS


def test_a_report_that_was_read_is_never_read_again_for_the_lookback(make_sandbox: Callable[..., Sandbox]) -> None:
    """A day's report of yesterday lies in the lookback as a whole: its rows would never change."""
    sandbox = make_sandbox(rows={"sms/outbound": 24})
    options: dict[str, Any] = {"start_date": "2026-11-16T00:00:00Z", "end_date": None, "report_window_days": 1}
    options |= {"streams": ("sms",), **OUTBOUND}
    first = read(sandbox, **options)
    known = downloaded(sandbox)
    assert len(known) == 5
    sandbox.requests.reset()
    sandbox.clock.advance(hours=2)
    # What other versions have written does not say when its reports were requested.
    older = dict(first.bookmark("sms", direction="outbound"))
    del older["adopt_after"]
    for state in (first.state, {"bookmarks": {"sms": {"partitions": [older]}}}):
        output = read(sandbox, state, **options)
        assert output.code == 0
        assert created(sandbox)
        assert not downloaded(sandbox) & known


def test_reports_of_an_interrupted_lookback_are_adopted(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"sms/outbound": 24})
    options: dict[str, Any] = {"start_date": "2026-11-16T00:00:00Z", "end_date": None, "streams": ("sms",), **OUTBOUND}
    first = read(sandbox, **options)
    sandbox.clock.advance(hours=2)
    ids = lost(sandbox, first.state, **options)
    sandbox.clock.advance(minutes=10)
    read(sandbox, first.state, **options)
    assert downloaded(sandbox) >= set(ids)
    assert [start for _, _, start, _ in created(sandbox)] == ["2026-11-20T13:59:00Z"]


def test_a_full_refresh_with_its_state_reads_anew(sandbox: Sandbox) -> None:
    first = read(sandbox)
    sandbox.requests.reset()
    second = read(sandbox, {"bookmarks": {"amd": {"partitions": [{**first.bookmark("amd"), "covered": []}]}}})
    assert len(created(sandbox)) == 1
    assert "adopting" not in second.log


def test_each_partition_adopts_its_own_reports(sandbox: Sandbox) -> None:
    options: dict[str, Any] = {"account_ids": [sandbox.api_key, SUBACCOUNT], "streams": ("amd", "sms")}
    ids = lost(sandbox, **options, max_concurrent_reports=6)
    output = read(sandbox, **options)
    assert len(ids) == 6
    assert created(sandbox) == []
    assert endpoints(sandbox)["report-list"] == 2
    assert downloaded(sandbox) == set(ids)
    assert len(set(output.ids("amd"))) == 2 * ROWS
    assert len(set(output.ids("sms"))) == 4 * ROWS


LISTS: dict[str, dict[str, Any]] = {
    "absent": {"fault": Fault.LIST_ABSENT},
    "refused": {"fault": Fault.FORBIDDEN, "endpoints": ["report-list"]},
    "odd": {"fault": Fault.LIST_ODD},
    "broken": {"fault": Fault.SERVER_ERROR, "endpoints": ["report-list"]},
    "no JSON": {"fault": Fault.NOT_JSON, "endpoints": ["report-list"]},
    "revoked": {"fault": Fault.REVOKED, "endpoints": ["report-list"]},
    "redirected": {"fault": Fault.REDIRECT, "endpoints": ["report-list"]},
    "unreachable": {"fault": Fault.CUT, "endpoints": ["report-list"]},
}


@pytest.mark.parametrize("rule", LISTS.values(), ids=LISTS)
def test_without_a_list_a_run_goes_on_as_if_there_were_no_reports(sandbox: Sandbox, rule: dict[str, Any]) -> None:
    sandbox.faults.on(**rule)
    output = read(sandbox, account_ids=[sandbox.api_key, SUBACCOUNT])
    assert output.code == 0
    assert len(set(output.ids("amd"))) == 2 * ROWS
    assert "WARNING" not in output.log
    assert endpoints(sandbox)["report-list"] <= LIST_TRIES * MAX_FAILURES


def test_an_echo_without_filters_is_of_no_use_where_filters_are_set(sandbox: Sandbox) -> None:
    options: dict[str, Any] = {"streams": ("sms",), **FILTERED}
    ids = lost(sandbox, **options)
    sandbox.faults.on(Fault.LIST_WITHOUT_FILTERS)
    read(sandbox, **options)
    assert not downloaded(sandbox) & set(ids)
    assert len(created(sandbox)) == 1


@pytest.mark.parametrize("adopts", [True, False])
def test_a_partition_that_adopts_nothing_is_planned_once(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, *, adopts: bool
) -> None:
    planned, reports = [], Planner.reports

    def counted(planner: Planner, scope: PartitionScope) -> ReportPlan:
        planned.append(str(scope.partition))
        return reports(planner, scope)

    monkeypatch.setattr(Planner, "reports", counted)
    output = read(sandbox, account_ids=[sandbox.api_key, SUBACCOUNT], adopt_reports=adopts)
    assert output.code == 0
    assert len(planned) == len(set(planned)) == 2


def test_no_list_is_requested_where_no_report_is_needed(sandbox: Sandbox) -> None:
    read(sandbox, fetch_mode="sync")
    assert endpoints(sandbox)["report-list"] == 0
    with sandbox.faults.during(Fault.UNKNOWN_REPORT_STATUS):
        first = read(sandbox)
    sandbox.requests.reset()
    read(sandbox, first.state)
    assert endpoints(sandbox)["report-list"] == 0


# Behind a request that worked


@pytest.mark.parametrize("fault", [Fault.CREATE_GATEWAY_TIMEOUT, Fault.CREATE_LOST])
def test_a_report_whose_answer_got_lost_is_found_and_not_requested_again(sandbox: Sandbox, fault: Fault) -> None:
    sandbox.faults.on(fault)
    output = read(sandbox, report_window_days=4)
    assert output.code == 0
    assert sum(sandbox.requests.reports.values()) == 3
    assert "report of 2026-11-01 00:00 to 2026-11-05 00:00: found at the API" in output.log
    assert output.log.splitlines()[-1].endswith("3 reports)")
    assert len(output.ids("amd")) == ROWS


def test_reports_that_may_have_been_charged_are_in_the_summary(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.CREATE_GATEWAY_TIMEOUT, first=3)
    sandbox.faults.on(Fault.LIST_ABSENT)
    output = read(sandbox)
    assert len(output.ids("amd")) == ROWS
    *_, total, charged = output.log.splitlines()
    assert total.endswith("1 report)")
    assert charged == "3 more reports may have been charged: each was requested, but no usable answer came"
    never = read(sandbox, adopt_reports=False)
    assert "may have been charged" not in never.log


def test_a_report_that_a_run_never_found_is_read_by_the_next_one(sandbox: Sandbox) -> None:
    sandbox.options.max_reports = 10
    sandbox.faults.on(Fault.CREATE_GATEWAY_TIMEOUT)
    sandbox.faults.on(Fault.LIST_ABSENT)
    first = read(sandbox)
    assert first.code == 1
    assert "8 more reports may have been charged" in first.log
    sandbox.faults.clear()
    sandbox.requests.reset()
    second = read(sandbox, first.state)
    assert second.code == 0
    assert created(sandbox) == []


def test_a_report_without_its_file_is_not_found_in_place_of_the_one_that_replaces_it(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.FILE_VANISHED, first=MAX_LOOKS + 1)
    sandbox.faults.on(Fault.CREATE_GATEWAY_TIMEOUT, after=1, first=1)
    output = read(sandbox)
    assert output.code == 0, output.log
    assert sum(sandbox.requests.reports.values()) == 2
    assert len(output.ids("amd")) == ROWS


class Listing(Api):
    """An API that lists reports, or fails."""

    def __init__(self, *listed: dict[str, Any], error: ApiError | None = None) -> None:
        super().__init__()
        self.listed, self.error, self.lists = list(listed), error, 0
        self.clock = SimpleNamespace(now=lambda: at(100))

    def list_reports(self, _account: str, _statuses: object) -> list[dict[str, Any]]:
        self.lists += 1
        if self.error:
            raise self.error
        return self.listed


def finder_of(api: Listing) -> ReportFinder:
    return ReportFinder(cast("ReportsClient", api), enabled=True)


def echo_of(job: ReportJob, **changes: Any) -> dict[str, Any]:
    """A report in a list, requested a moment ago."""
    body = job.sync.query.report_body(job.window)
    return {**body, "request_id": "lost-1", "request_status": "PENDING", "receive_time": at(100).isoformat(), **changes}


TIMED_OUT = RetriableApiError("HTTP 504 Gateway Timeout")


def test_the_api_is_asked_for_a_lost_report_only_after_a_request_that_failed() -> None:
    job = planned()
    api = Listing(echo_of(job))
    assert finder_of(api).find_lost(job) is None
    assert api.lists == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"receive_time": at(99.9).isoformat()},
        {"receive_time": "soon"},
        {"date_end": at(47).isoformat()},
        {"request_status": "ABORTED"},
        {"request_id": "known-1"},
    ],
    ids="".join,
)
def test_a_report_of_another_request_is_not_taken_for_the_lost_one(changes: dict[str, Any]) -> None:
    job = planned()
    finder = finder_of(Listing(echo_of(job, **changes)))
    finder.note("known-1")
    finder.note_lost(job, 2)
    assert finder.find_lost(job) is None


def test_all_reports_that_lost_requests_have_made_count_and_the_newest_is_read() -> None:
    job = planned()
    metrics = job.sync.result.fetched
    for _ in range(3):
        metrics.count_unconfirmed_report()
    later = {"request_id": "lost-2", "receive_time": at(100.1).isoformat()}
    finder = finder_of(Listing(echo_of(job), echo_of(job, **later)))
    finder.note_lost(job, 2)
    found = finder.find_lost(job)
    assert found is not None
    assert found.request_id == "lost-2"
    assert (metrics.reports, metrics.unconfirmed_reports) == (2, 1)
    assert finder.find_lost(job) is None


def test_the_report_of_the_first_of_two_lost_requests_is_found() -> None:
    job = planned()
    api = Listing(echo_of(job))
    finder = finder_of(api)
    finder.note_lost(job, 2)
    api.clock = SimpleNamespace(now=lambda: at(101))
    finder.note_lost(job, 2)
    found = finder.find_lost(job)
    assert found is not None
    assert found.requested_at == at(100)


def test_a_report_that_is_received_within_a_minute_before_the_request_is_the_lost_one() -> None:
    """The clocks differ by up to a minute."""
    for seconds, is_found in ((60, True), (61, False)):
        job = planned()
        received = at(100) - timedelta(seconds=2 + seconds)
        finder = finder_of(Listing(echo_of(job, receive_time=received.isoformat())))
        finder.note_lost(job, 2)
        assert (finder.find_lost(job) is not None) is is_found


def test_the_list_is_verified_with_one_of_the_first_three_reports_or_not_at_all() -> None:
    api = Listing()
    finder = ReportFinder(cast("ReportsClient", api), enabled=True, needs_list=lambda: True)
    for lists in (1, 2, 3, 3):
        finder.verify_list(planned())
        assert api.lists == lists
    assert not finder.will_find(planned())


def test_the_list_is_verified_by_the_requested_report_and_by_no_other() -> None:
    job = planned()
    job.request_id = "ours"
    api = Listing(echo_of(job, request_id="another"), echo_of(job, request_id="ours", product="OTHER"))
    finder = ReportFinder(cast("ReportsClient", api), enabled=True, needs_list=lambda: True)
    finder.verify_list(job)
    assert not finder.will_find(job)
    api.listed.append(echo_of(job, request_id="ours"))
    for _ in range(2):
        finder.verify_list(job)
        assert finder.will_find(job)
    assert api.lists == 2


def test_the_list_is_not_verified_unless_that_is_worth_a_request() -> None:
    job, api = planned(), Listing()
    finder_of(api).verify_list(job)
    ReportFinder(cast("ReportsClient", api), enabled=False, needs_list=lambda: True).verify_list(job)
    assert api.lists == 0


def test_a_plan_tells_whether_it_adopts_and_shows_progress_for_each_partition() -> None:
    opened, ticks = opened_at(100), []
    plans, added = finder_of(Listing()).plan([opened.sync] * 2, opened.session.planner, lambda: ticks.append(1))
    assert (plans, added) == ([opened.session.planner.reports(opened.sync)] * 2, False)
    assert len(ticks) == 2


def test_only_a_run_says_that_it_adopts(caplog: pytest.LogCaptureFixture) -> None:
    for is_dry in (True, False):
        opened = opened_at(100)
        echo = {**opened.sync.query.report_body(hours(0, 48)), "request_id": "x", "request_status": "SUCCESS"}
        api = Listing({**echo, "receive_time": at(60).isoformat()})
        with caplog.at_level(logging.INFO):
            plans, added = finder_of(api).plan([opened.sync], opened.session.planner, is_dry=is_dry)
        assert (len(plans), added, [report.request_id for report in plans[0].resumed]) == (1, True, ["x"])
        assert ("adopting 1 report" in caplog.text) is not is_dry


def test_a_list_that_fails_again_and_again_is_not_requested_any_more() -> None:
    job, api = planned(), Listing(error=TIMED_OUT)
    finder = finder_of(api)
    finder.note_lost(job, 0)
    for _ in range(MAX_FAILURES + 3):
        assert finder.find_lost(job) is None
    assert api.lists == MAX_FAILURES


def test_a_request_that_never_left_charges_nothing() -> None:
    failure = ConnectionFailedError("The connection failed (ConnectTimeout)")
    job = planned()
    creator_of(Api(failure)).create(job, 0)
    assert job.sync.result.fetched.unconfirmed_reports == 0
    creator_of(Api(TIMED_OUT)).create(job, 0)
    assert job.sync.result.fetched.unconfirmed_reports == 1


def test_a_lost_report_is_looked_for_since_its_request_was_sent() -> None:
    noted: list[float] = []
    finder = SimpleNamespace(find_lost=lambda _job: None, note_lost=lambda _job, seconds: noted.append(seconds))
    before = time.monotonic()
    creator_of(Api(TIMED_OUT), finder=finder).create(planned(), 0)
    (seconds,) = noted
    assert 0 <= seconds <= time.monotonic() - before


# The echo of a request

WINDOW = hours(0, 48)
QUERY = Query(
    {"product": "SMS", "account_id": "abcd1234", "direction": "outbound", "country": "GB", "include_message": "true"}
)
ECHO: dict[str, Any] = {
    "product": "SMS",
    "account_id": "abcd1234",
    "direction": "outbound",
    "country": "GB",
    "include_message": True,
    "include_subaccounts": False,
    "date_start": "2026-10-01T00:00:00Z",
    "date_end": "2026-10-03T00:00:00Z",
    "request_id": "ri3p58f-1",
    "request_status": "SUCCESS",
    "receive_time": "2026-10-04T01:02:03+0000",
    "start_time": "2026-10-04T01:02:04+0000",
    "items_count": 5,
    "_links": {"self": {"href": "/v2/reports/ri3p58f-1"}},
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"include_message": "true"},
        {"include_message": "TRUE", "include_subaccounts": "FALSE"},
        {"show_concatenated": False},
        {"date_start": "2026-10-01T00:00:00+0000", "date_end": "2026-10-03T00:00:00+00:00"},
        {"date_start": "2026-10-01T00:00:00.000Z", "date_end": "2026-10-03T02:00:00+0200"},
        {"status": None, "network": ""},
        {"request_status": "PENDING"},
        {"items_count": None, "_links": None, "price": 0, "currency": "EUR"},
        {"callback_url": "https://example.com/other"},
    ],
    ids=str,
)
def test_a_request_is_recognized_in_every_form_of_its_echo(changes: dict[str, Any]) -> None:
    report = report_of({**ECHO, **changes}, QUERY)
    assert report is not None
    assert (report.request_id, report.window) == ("ri3p58f-1", WINDOW)
    assert report.fingerprint == QUERY.report_fingerprint(WINDOW)
    assert report.requested_at == datetime(2026, 10, 4, 1, 2, 3, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "changes",
    [
        *({name: other} for name in ("product", "account_id", "direction", "country") for other in ("XX", None, "", 5)),
        *({"include_message": other} for other in (False, "false", None, "yes")),
        {"show_concatenated": "true"},
        {"include_subaccounts": True},
        {"network": "23410"},
        {"some_new_filter": "x"},
        {"some_new_switch": False},
        {"date_start": None},
        {"date_start": "yesterday"},
        {"date_end": "2026-09-30T00:00:00Z"},
        {"date_end": 5},
        {"request_id": None},
        {"request_id": "two words"},
        {"request_status": "TRUNCATED"},
        {"request_status": None},
        {"receive_time": None},
        {"receive_time": "0000-00-00T00:00:00Z"},
    ],
    ids=str,
)
def test_a_listed_report_with_other_parameters_is_not_adopted(changes: dict[str, Any]) -> None:
    assert report_of({**ECHO, **changes}, QUERY) is None
    for name in changes.keys() & ECHO.keys() - {"include_subaccounts"}:
        assert report_of({key: value for key, value in ECHO.items() if key != name}, QUERY) is None


# The plan


def adoptable(opened: OpenSync, *windows: tuple[float, float, float]) -> list[str]:
    """Which reports are adopted: windows in hours, and when each was requested."""
    query, planner = opened.sync.query, opened.session.planner
    found = [
        report_of(
            {
                **query.report_body(hours(start, end)),
                "request_id": f"{start:g}-{end:g}",
                "request_status": "SUCCESS",
                "receive_time": at(requested).isoformat(),
            },
            query,
        )
        for start, end, requested in windows
    ]
    plan = planner.reports(opened.sync)
    return [report.request_id for report in planner.adoptable(opened.sync, plan, [one for one in found if one])]


def opened_at(now: float, **state: Any) -> OpenSync:
    options = {"start_date": at(0).isoformat(), "fetch_mode": "async", "lookback_hours": 24}
    return open_sync({"context": {}, **state}, now, **options)


def test_of_reports_for_the_same_time_the_newest_is_adopted() -> None:
    assert adoptable(opened_at(100), (0, 48, 60), (0, 50, 70), (50, 60, 65), (49, 60, 64)) == ["0-50", "50-60"]


def test_a_report_is_adopted_by_its_age() -> None:
    found = [(0, 10, 100), (10, 20, 29), (20, 30, 28), (30, 40, 101), (40, 50, 49), (60, 70, 70)]
    assert adoptable(opened_at(100), *found) == ["0-10", "60-70", "10-20"]


def test_no_report_is_adopted_for_time_that_a_report_of_the_state_reads() -> None:
    opened = opened_at(100)
    request(opened, hours(0, 48))
    assert adoptable(opened, (0, 48, 60), (10, 60, 65), (48, 60, 62)) == ["48-60"]
    assert opened.session.planner.reports(opened.sync).stale == []


def test_no_report_is_adopted_for_time_that_is_covered() -> None:
    covered = [[at(0).isoformat(), at(60).isoformat()]]
    opened = opened_at(100, covered=covered, replication_key_value=at(60).isoformat(), adopt_after=at(60).isoformat())
    assert adoptable(opened, (0, 48, 70), (10, 90, 95), (36, 80, 85), (80, 90, 92)) == ["80-90", "36-80"]


def test_a_report_requested_before_one_that_was_read_is_not_adopted() -> None:
    opened = opened_at(100, adopt_after=at(70).isoformat())
    assert adoptable(opened, (0, 10, 69), (10, 20, 70), (20, 30, 71)) == ["20-30"]


def test_of_reports_in_the_lookback_only_those_that_no_earlier_run_can_have_read_are_adopted() -> None:
    """A state without `adopt_after` does not say which reports were read: within four days of it, any may have been."""
    opened = opened_at(200, covered=[[at(0).isoformat(), at(60).isoformat()]], replication_key_value=at(60).isoformat())
    assert adoptable(opened, (36, 48, 156), (48, 60, 157), (60, 80, 150)) == ["48-60", "60-80"]


def test_a_few_days_beside_a_report_of_an_earlier_run_are_read_by_pages(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 24})
    settings = settings_for(sandbox, start_date="2026-10-20", lookback_hours=0)
    whole = run_tap(settings, ["amd"])
    end = next(number for number, message in enumerate(whole.messages) if message["type"] == "STATE")
    requested = Output(whole.lines[: end + 1])
    sandbox.clock.advance(days=2)
    sandbox.requests.reset()
    rest = run_tap(settings, ["amd"], requested.state)
    assert rest.error is None
    assert not [entry for entry in sandbox.requests.log if entry.endpoint == "report-create"]
    assert set(whole.ids("amd")) < set(rest.ids("amd"))
    assert len(rest.ids("amd")) == len(set(rest.ids("amd")))
