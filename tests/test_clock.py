"""No query reaches into Vonage's present, whatever this machine's clock says."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.api.clock import ServerClock
from tap_vonage_reports.config.schema import CONFIG_JSONSCHEMA
from tap_vonage_reports.config.settings import Settings
from tap_vonage_reports.extract.session import SyncSession
from tap_vonage_reports.sandbox import Fault, Sandbox
from tap_vonage_reports.sandbox.clock import Clock
from tap_vonage_reports.timestamps import format_query_time, parse_time
from tests.harness import Output, StandingClock, catalog_of, in_time_zone, run_forked, run_tap, settings_for
from tests.hostile import KEY, SECRET, HostileServer, reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tap_vonage_reports.api.responses import ApiResponse

LEARN, ASK, CREATE = ServerClock.learn, ReportsClient.records, ReportsClient.create_report


def last_end(sandbox: Sandbox) -> str:
    return max(entry.date_end for entry in sandbox.requests.log if entry.product == "AMD")


@pytest.mark.parametrize("clock", ["2020-02-29T00:00:00Z", "2035-06-30T23:59:59Z"])
def test_the_end_is_a_minute_before_vonages_clock(make_sandbox: Callable[..., Sandbox], clock: str) -> None:
    sandbox = make_sandbox(clock=clock)
    output = run_tap(settings_for(sandbox), ["amd"])
    assert output.code == 0
    assert last_end(sandbox) == {"2020": "2020-02-28T23:59:00Z", "2035": "2035-06-30T23:58:59Z"}[clock[:4]]


def test_a_bound_that_is_not_in_the_past_shortens_the_window_once(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 50})
    sandbox.faults.on(Fault.DATE_SKEW, timedelta(days=2).total_seconds())
    output = run_tap(settings_for(sandbox, start_date="2026-11-20T00:00:00Z"), ["amd"])
    refused = [entry for entry in sandbox.requests.log if entry.status == 422 and entry.product == "AMD"]
    assert refused
    assert output.code == 0, output.error
    assert output.bookmark("amd")["replication_key_value"] == "2026-11-20T11:54:00+00:00"


@pytest.mark.parametrize(("start", "code"), [("2026-11-20T12:00:00Z", 0), ("2026-11-20T12:00:01Z", 1)])
def test_a_start_date_may_be_the_present_but_not_the_future(
    make_sandbox: Callable[..., Sandbox], start: str, code: int
) -> None:
    output = run_tap(settings_for(make_sandbox(rows={"amd": 50}), start_date=start), ["amd"])
    assert output.code == code, output.error
    assert ("start_date is in the future" in str(output.error)) == bool(code)


DAY_SECONDS = "86400"
CLOCKS_AHEAD = {
    # What is off of the Date header, the time in the body and this machine's clock; one of them is right.
    "date": ({Fault.DATE_SKEW: DAY_SECONDS}, 0),
    "date, and no time in the body": ({Fault.DATE_SKEW: DAY_SECONDS, Fault.RECEIVED_AT: "none"}, 0),
    "date and machine": ({Fault.DATE_SKEW: DAY_SECONDS}, 1),
    "no date, machine": ({Fault.NO_DATE_HEADER: None}, 1),
    "body and machine": ({Fault.RECEIVED_AT: DAY_SECONDS}, 1),
    "date and body": ({Fault.DATE_SKEW: DAY_SECONDS, Fault.RECEIVED_AT: DAY_SECONDS}, 0),
}


@pytest.mark.promise("Nothing is lost. The bookmark only moves over time that was read completely.")
@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize(("faults", "days"), CLOCKS_AHEAD.values(), ids=CLOCKS_AHEAD)
def test_time_that_has_not_happened_yet_is_not_covered_whichever_clock_is_ahead(
    make_sandbox: Callable[..., Sandbox], mode: str, faults: Mapping[Fault, str | None], days: int
) -> None:
    sandbox = make_sandbox(rows={"amd": 50}, faults=["future-accepted"])
    start, present = parse_time("2026-11-20"), sandbox.clock.now()
    settings = settings_for(sandbox, start_date="2026-11-20", fetch_mode=mode, lookback_hours=0)
    for fault, value in faults.items():
        sandbox.faults.on(fault, value)
    with mock.patch.object(StandingClock, "shift", timedelta(days=days)):
        first = run_tap(settings, ["amd"])
    assert first.code == 0
    covered = first.bookmark("amd")["covered"]
    assert covered == [["2026-11-20T00:00:00+00:00", "2026-11-20T11:59:00+00:00"]]
    assert first.log.count("The clocks differ") == 1
    assert "1 day, 0:00:00 ahead of" in first.log
    for fault in faults:
        sandbox.faults.off(fault)
    # By then, the first run's whole window has passed.
    sandbox.clock.advance(days=5)
    second = run_tap(settings, ["amd"], first.state)
    assert "The clocks differ" not in second.log
    end = parse_time(second.bookmark("amd")["replication_key_value"])
    assert end > present + timedelta(days=4)
    truth = [row["id"] for row in sandbox.expected("amd", None, None, start, end)]
    assert sorted({*first.ids("amd"), *second.ids("amd")}) == sorted(truth)


CLOCKS_BEHIND = {
    "date": ({Fault.DATE_SKEW: "-86400"}, 0),
    "body": ({Fault.RECEIVED_AT: "-86400"}, 0),
    "machine": ({}, -1),
    "no date, machine": ({Fault.NO_DATE_HEADER: None}, -1),
}


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize(("faults", "days"), CLOCKS_BEHIND.values(), ids=CLOCKS_BEHIND)
def test_a_clock_that_is_behind_is_believed_and_costs_rows_that_come_again(
    make_sandbox: Callable[..., Sandbox], mode: str, faults: Mapping[Fault, str | None], days: int
) -> None:
    sandbox = make_sandbox(rows={"amd": 50})
    settings = settings_for(sandbox, start_date="2026-11-18", fetch_mode=mode)
    for fault, value in faults.items():
        sandbox.faults.on(fault, value)
    with mock.patch.object(StandingClock, "shift", timedelta(days=days)):
        first = run_tap(settings, ["amd"])
    assert first.code == 0
    assert first.log.count("The clocks differ") == 1
    assert first.bookmark("amd")["replication_key_value"] == "2026-11-19T11:59:00+00:00"
    for fault in faults:
        sandbox.faults.off(fault)
    second = run_tap(settings, ["amd"], first.state)
    assert second.bookmark("amd")["replication_key_value"] == "2026-11-20T11:59:00+00:00"
    truth = sandbox.expected("amd", None, None, parse_time("2026-11-18"), parse_time("2026-11-20T11:59:00Z"))
    assert {*first.ids("amd"), *second.ids("amd")} == {row["id"] for row in truth}


def test_a_date_header_that_jumps_covers_nothing_that_has_not_happened(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 50}, faults=["future-accepted"])
    sandbox.faults.on(Fault.DATE_SKEW, 86400, every=2)
    output = run_tap(settings_for(sandbox, start_date="2026-11-18"), ["amd"])
    assert output.code == 0
    assert output.bookmark("amd")["replication_key_value"] <= "2026-11-20T11:59:00+00:00"


@pytest.mark.parametrize(
    "value",
    ["none", "soon", "", "0001-01-01T00:00:00Z", "9999-12-31", "2026-13-01", f"2026-11-20T{'1' * 400}"],
    ids=lambda value: value[:12],
)
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_time_in_the_body_that_is_none_changes_nothing(
    make_sandbox: Callable[..., Sandbox], value: str, mode: str
) -> None:
    sandbox = make_sandbox(rows={"amd": 50})
    settings = settings_for(sandbox, start_date="2026-11-18", fetch_mode=mode)
    right = run_tap(settings, ["amd"])
    sandbox.faults.on(Fault.RECEIVED_AT, value)
    odd = run_tap(settings, ["amd"])
    assert (odd.code, records_of(odd), odd.state) == (0, records_of(right), right.state)
    assert "The clocks differ" not in odd.log


@pytest.mark.promise("Unknown is never treated as empty.")
@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("body", ["", "none"])
def test_without_vonages_clock_nothing_counts_as_deleted_by_the_retention(
    make_sandbox: Callable[..., Sandbox], mode: str, body: str
) -> None:
    sandbox = make_sandbox(rows={"amd": 50}, faults=["no-date-header"])
    if body:
        sandbox.faults.on(Fault.RECEIVED_AT, body)
    dates = {"start_date": "2026-06-01", "end_date": "2026-06-03"}
    with mock.patch.object(StandingClock, "shift", timedelta(days=400)):
        output = run_tap(settings_for(sandbox, **dates, fetch_mode=mode), ["amd"])
    assert output.code == 0
    truth = sandbox.expected("amd", None, None, *map(parse_time, dates.values()))
    assert sorted(output.ids("amd")) == sorted(row["id"] for row in truth)
    assert "Make sure that this machine's clock is correct" in output.log


def test_a_clock_is_unknown_until_an_answer_tells_the_time() -> None:
    clock = ServerClock()
    assert not clock.known
    for date in (None, "", "yesterday", "Thu, 01 Jan 1970 00:00:00 GMT"):
        clock.learn(date)
        assert not clock.known
    assert clock.learn("Fri, 20 Nov 2026 12:00:00 GMT") == parse_time("2026-11-20T12:00:00Z")
    assert clock.known


@pytest.mark.parametrize("has_date", [True, False])
def test_only_an_api_without_a_date_header_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, has_date: bool
) -> None:
    if not has_date:
        monkeypatch.setattr(ServerClock, "learn", lambda clock, _date: LEARN(clock, None))
    with HostileServer(lambda _request: reply(b'{"records": [], "request_status": "SUCCESS"}')) as server:
        config = {"api_url": server.url, "api_key": KEY, "api_secret": SECRET}
        session = SyncSession(Settings.from_config(config, CONFIG_JSONSCHEMA), lambda: 0)
        assert session.client.clock.known == has_date
    assert ("neither a Date header" in caplog.text) == (not has_date)


def test_a_clock_that_is_off_changes_nothing(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 50})
    sandbox.faults.on(Fault.CLOCK_SKEW, -7200)
    output = run_tap(settings_for(sandbox, start_date="2026-11-19"), ["amd"])
    assert output.code == 0
    assert output.bookmark("amd")["replication_key_value"] == "2026-11-20T09:59:00+00:00"


def records_of(output: Output) -> list[bytes]:
    """The lines of records, without the time at which they were written."""
    return [line.partition(b',"time_extracted"')[0] for line in output.lines if line.startswith(b'{"type":"RECORD"')]


@pytest.mark.parametrize("hours", [-26, -1, 1, 26])
def test_a_machine_whose_clock_is_off_reads_the_same(make_sandbox: Callable[..., Sandbox], hours: int) -> None:
    sandbox = make_sandbox(rows={"amd": 50})
    settings = settings_for(sandbox, start_date="2026-11-19")
    right = run_tap(settings, ["amd"])
    with mock.patch.object(StandingClock, "shift", timedelta(hours=hours)):
        off = run_tap(settings, ["amd"])
    assert off.code == 0
    assert records_of(off) == records_of(right)
    assert hours < 0 or off.state == right.state


def test_without_a_date_header_this_machines_clock_is_used_and_that_is_said(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    sandbox = make_sandbox(rows={"amd": 50}, clock=Clock(), faults=["no-date-header", "received-at=none"])
    before = sandbox.clock.now()
    output = run_tap(settings_for(sandbox), ["amd"])
    assert output.code == 0
    assert "neither a Date header" in output.log
    reached = parse_time(output.bookmark("amd")["replication_key_value"])
    assert before - timedelta(seconds=62) < reached <= sandbox.clock.now() - timedelta(seconds=60)


def test_neither_a_date_header_nor_a_right_clock_fails_the_run_and_loses_nothing(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    sandbox = make_sandbox(rows={"amd": 50}, clock=Clock(), faults=["no-date-header", "received-at=none"])
    settings = settings_for(sandbox, lookback_hours=0)
    start = sandbox.clock.now() - timedelta(days=6)  # the seven days of the first run are later, by its wrong clock
    with mock.patch.object(StandingClock, "shift", timedelta(hours=1)):
        first = run_tap(settings, ["amd"])
    assert first.code == 1
    assert "check this machine's clock" in str(first.error)
    sandbox.faults.off(Fault.NO_DATE_HEADER)
    second = run_tap(settings, ["amd"], first.state)
    end = parse_time(second.bookmark("amd")["replication_key_value"])
    truth = {row["id"] for row in sandbox.expected("amd", None, None, start, end)}
    assert truth <= {*first.ids("amd"), *second.ids("amd")}


@pytest.mark.parametrize(
    ("start", "end", "window"),
    [
        # The hour that comes twice, and the one that never comes, where clocks change; and a day that is rare.
        ("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", ("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z")),
        ("2026-03-29T01:59:59+01:00", "2026-03-29T03:00:00+02:00", ("2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z")),
        ("2026-11-01T01:30:00-0230", "2026-11-01T01:30:00-0330", ("2026-11-01T04:00:00Z", "2026-11-01T05:00:00Z")),
        ("2026-02-28T23:59:59.250+05:30", "2026-03-01", ("2026-02-28T18:29:59.250Z", "2026-03-01T00:00:00Z")),
    ],
)
def test_dates_mean_the_instants_that_their_offsets_say(
    make_sandbox: Callable[..., Sandbox], start: str, end: str, window: tuple[str, str]
) -> None:
    sandbox = make_sandbox(rows={"amd": 5000})
    output = run_tap(settings_for(sandbox, start_date=start, end_date=end, max_concurrent_requests=1), ["amd"])
    starts, ends = zip(
        *((one.date_start, one.date_end) for one in sandbox.requests.log if one.product == "AMD"), strict=True
    )
    assert (min(starts), max(ends)) == window
    truth = sandbox.expected("amd", None, None, *map(parse_time, window))
    assert sorted(output.ids("amd")) == sorted(row["id"] for row in truth)


@pytest.mark.parametrize(
    ("clock", "first"),
    [("2025-03-31T12:00:00Z", "2024-02-29T12:00:00Z"), ("2024-02-29T00:00:00Z", "2023-01-29T00:00:00Z")],
)
def test_the_retention_reaches_over_leap_days(make_sandbox: Callable[..., Sandbox], clock: str, first: str) -> None:
    sandbox = make_sandbox(clock=clock)
    output = run_tap(settings_for(sandbox, start_date="2001-01-01", fetch_mode="async"), ["amd"])
    assert output.code == 0
    created = [entry.date_start for entry in sandbox.requests.log if entry.endpoint == "report-create"]
    assert min(created) == first


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_run_over_midnight_loses_nothing_at_it(make_sandbox: Callable[..., Sandbox], mode: str) -> None:
    sandbox = make_sandbox(rows={"amd": 2000}, clock="2026-12-31T23:58:00Z", page_size=100)
    settings = settings_for(
        sandbox, start_date="2026-12-31T00:00:00Z", lookback_hours=0, fetch_mode=mode, max_concurrent_requests=1
    )

    def ask(api: ReportsClient, *arguments: Any, **keywords: Any) -> ApiResponse:
        sandbox.clock.advance(seconds=13)
        return ASK(api, *arguments, **keywords)

    def create(api: ReportsClient, *arguments: Any, **keywords: Any) -> ApiResponse:
        sandbox.clock.advance(minutes=3)
        return CREATE(api, *arguments, **keywords)

    with mock.patch.object(ReportsClient, "records", ask), mock.patch.object(ReportsClient, "create_report", create):
        first = run_tap(settings, ["amd"])
        assert sandbox.clock.now() > parse_time("2027-01-01")
        second = run_tap(settings, ["amd"], first.state)
    reached = [parse_time(run.bookmark("amd")["replication_key_value"]) for run in (first, second)]
    assert parse_time("2026-12-31T23:57:00Z") <= reached[0] < reached[1] <= sandbox.clock.now() - timedelta(minutes=1)
    truth = sandbox.expected("amd", None, None, parse_time("2026-12-31"), reached[1])
    assert sorted(first.ids("amd") + second.ids("amd")) == sorted(row["id"] for row in truth)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such time zones")
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_the_time_zone_of_the_machine_changes_no_byte(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, mode: str
) -> None:
    sandbox = make_sandbox(rows={"amd": 30})
    # A date without an offset is in UTC, wherever it is read.
    settings = settings_for(
        sandbox, start_date="2026-11-17 05:00", fetch_mode=mode, max_concurrent_requests=1, adopt_reports=False
    )
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "catalog.json").write_text(json.dumps(catalog_of(["amd"])))
    arguments: list[str | Path] = ["--config", tmp_path / "config.json", "--catalog", tmp_path / "catalog.json"]
    asked, outputs = [], []
    for zone in ("UTC", "Asia/Kolkata", "America/St_Johns"):
        sandbox.requests.reset()
        outputs.append(run_forked(*arguments, prepare=[partial(in_time_zone, zone)]))
        asked.append([(entry.date_start, entry.date_end) for entry in sandbox.requests.log if entry.product == "AMD"])
    assert records_of(outputs[0])
    assert records_of(outputs[0]) == records_of(outputs[1]) == records_of(outputs[2])
    assert outputs[0].bookmark("amd") == outputs[1].bookmark("amd") == outputs[2].bookmark("amd")
    assert asked[0] == asked[1] == asked[2]
    assert asked[0][0][0] == format_query_time(datetime(2026, 11, 17, 5, tzinfo=timezone.utc))
