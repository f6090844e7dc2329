"""The bookmark moves over what was read, and over nothing else."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tap_vonage_reports.config.settings import fingerprint
from tap_vonage_reports.errors import StateError
from tap_vonage_reports.intervals import TimeWindow, to_intervals, to_windows
from tap_vonage_reports.sandbox import Sandbox, Within
from tap_vonage_reports.state.bookmark import Bookmark
from tap_vonage_reports.state.validation import check_state
from tap_vonage_reports.state.values import PageCursor
from tap_vonage_reports.timestamps import format_timestamp, parse_time
from tests.harness import Output, catalog_of, run_tap, settings_for
from tests.planning.test_windows import dated, open_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

ORIGIN = datetime(2026, 10, 1, tzinfo=timezone.utc)
KEY = "abcd1234"


def at(hours: float) -> datetime:
    return ORIGIN + timedelta(hours=hours)


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[Sandbox]:
    """One without rows, for many runs."""
    clock = "2026-11-20T12:00:00Z"
    with Sandbox(rows={"*": 0}, clock=clock, faults=["no-rate-limit"], subaccount_keys=["sub00001"]) as sandbox:
        yield sandbox


def asked(sandbox: Sandbox, product: str, **only: str) -> list[tuple[str, str]]:
    """What was asked for, to the minute: windows that adjoin as one, in order of time."""
    windows = [
        TimeWindow(parse_time(entry.date_start), parse_time(entry.date_end))
        for entry in sandbox.requests.log
        if entry.product == product and all(getattr(entry, name) == value for name, value in only.items())
    ]
    return [
        (format_timestamp(part.start)[:16], format_timestamp(part.end)[:16])
        for part in to_windows(to_intervals(windows))
    ]


PAGE = {"date_start": "2026-11-16", "date_end": "2026-11-17", "cursor": "cursor"}
REPORT = {
    "request_id": "report-1",
    "date_start": "2026-11-14",
    "date_end": "2026-11-15",
    "fingerprint": "x",
    "requested_at": "2026-11-19",
}
REFUSED = {"date_start": "2026-11-14", "date_end": "2026-11-15", "refused_at": "2026-11-19"}


NO_HOURS: list[Any] = [0, -1, 1e-300, 1e300, float("nan"), float("inf"), True, "24", []]


def bookmark(state: dict[str, Any], query: str = "", since: datetime = ORIGIN) -> Bookmark:
    return Bookmark(state, stream="sms", replication_key="date_received", row_filter=query, since=since)


spans_of_hours = st.lists(
    st.tuples(st.integers(0, 300), st.integers(1, 100)).map(
        lambda pair: TimeWindow(at(pair[0]), at(pair[0] + pair[1]))
    ),
    min_size=1,
    max_size=8,
)


@given(spans_of_hours)
def test_coverage_survives_being_written_and_read(windows: list[TimeWindow]) -> None:
    state: dict[str, Any] = {"context": {}}
    first = bookmark(state)
    for window in windows:
        first.commit_window(window, at(500))
    again = bookmark(dict(state))
    assert again.coverage.times == to_intervals(windows)
    assert state["replication_key_value"] == format_timestamp(max(window.end for window in windows))
    assert [[parse_time(start), parse_time(end)] for start, end in state["covered"]] == [
        [part.start, part.end] for part in to_windows(to_intervals(windows))
    ]


def test_an_open_page_survives_being_written_and_read() -> None:
    state: dict[str, Any] = {"context": {}}
    page = PageCursor(TimeWindow(at(0), at(24)), "cursor", "iv", "query", at(30))
    bookmark(state).commit_page(page)
    assert bookmark(state).page == page
    done = bookmark(state)
    done.commit_window(TimeWindow(at(0), at(24)), at(30))
    assert "page" not in state
    assert bookmark(state).page is None


def test_a_first_run_reads_from_the_start_date_and_the_bookmark_reaches_now(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    sandbox = make_sandbox()
    output = run_tap(settings_for(sandbox, start_date="2026-11-18T12:00:00Z"), ["amd"])
    assert asked(sandbox, "AMD") == [("2026-11-18T12:00", "2026-11-20T11:59")]
    assert output.bookmark("amd") == {
        "context": {"account_id": KEY},
        "replication_key": "start_time",
        "replication_key_value": "2026-11-20T11:59:00+00:00",
        "covered": [["2026-11-18T12:00:00+00:00", "2026-11-20T11:59:00+00:00"]],
        "read_at": "2026-11-20T11:59:00+00:00",
        "recent_rows": 0,
        "recent_seconds": 172_740,
    }


def test_empty_windows_move_the_bookmark(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    first = run_tap(settings_for(sandbox, start_date="2026-11-19T12:00:00Z"), ["amd"])
    sandbox.clock.advance(hours=5)
    second = run_tap(settings_for(sandbox, start_date="2026-11-19T12:00:00Z"), ["amd"], first.state)
    assert first.records == second.records == {}
    assert second.bookmark("amd")["replication_key_value"] == "2026-11-20T16:59:00+00:00"


def test_without_a_start_date_seven_days_are_read(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    run_tap(settings_for(sandbox), ["amd"])
    assert asked(sandbox, "AMD")[0][0] == "2026-11-13T11:59"


def test_without_a_start_date_a_long_pause_leaves_no_gap(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    first = run_tap(settings_for(sandbox), ["amd"])
    sandbox.clock.advance(days=20)
    second = run_tap(settings_for(sandbox), ["amd"], first.state)
    assert second.bookmark("amd")["covered"] == [["2026-11-13T11:59:00+00:00", "2026-12-10T11:59:00+00:00"]]


def test_the_lookback_reads_again_what_may_have_changed(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"sms/outbound": 200})
    settings = settings_for(sandbox, start_date="2026-11-18T00:00:00Z")
    first = run_tap(settings, ["sms"])
    sandbox.clock.advance(days=4)
    sandbox.requests.reset()
    second = run_tap(settings, ["sms"], first.state)
    assert asked(sandbox, "SMS", direction="outbound")[0][0] == "2026-11-18T00:00"  # 72 hours, but not before the start
    sandbox.clock.advance(days=4)
    sandbox.requests.reset()
    run_tap(settings, ["sms"], second.state)
    assert asked(sandbox, "SMS", direction="outbound")[0][0] == "2026-11-21T11:59"
    before = {record["id"]: record for record in first.records["sms"]}
    changed = [record for record in second.records["sms"] if before.get(record["id"], record) != record]
    assert changed, "no status became final in four days"
    truth = sandbox.expected("sms", KEY, "outbound", parse_time("2026-11-18"), parse_time("2026-11-20T11:59:00Z"))
    latest = {**before, **{record["id"]: record for record in second.records["sms"]}}
    final = {row["id"]: row["status"] for row in truth}
    assert {key: latest[key]["status"] for key in final} == final


@pytest.mark.parametrize(("settings", "start"), [({"lookback_hours": 0}, "11:59"), ({"lookback_hours": 2}, "09:59")])
def test_the_lookback_can_be_set(make_sandbox: Callable[..., Sandbox], settings: dict[str, Any], start: str) -> None:
    sandbox = make_sandbox()
    first = run_tap(settings_for(sandbox, start_date="2026-11-18", **settings), ["amd"])
    sandbox.clock.advance(hours=3)
    sandbox.requests.reset()
    run_tap(settings_for(sandbox, start_date="2026-11-18", **settings), ["amd"], first.state)
    assert asked(sandbox, "AMD") == [(f"2026-11-20T{start}", "2026-11-20T14:59")]


def test_a_start_date_moved_back_fills_exactly_the_gap(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 100})
    first = run_tap(settings_for(sandbox, start_date="2026-11-18", lookback_hours=0), ["amd"])
    sandbox.requests.reset()
    second = run_tap(settings_for(sandbox, start_date="2026-11-15", lookback_hours=0), ["amd"], first.state)
    assert asked(sandbox, "AMD") == [("2026-11-15T00:00", "2026-11-18T00:00")]
    assert not set(first.ids("amd")) & set(second.ids("amd"))
    assert len(second.ids("amd")) == 300
    assert second.bookmark("amd")["covered"] == [["2026-11-15T00:00:00+00:00", "2026-11-20T11:59:00+00:00"]]


def test_a_start_date_moved_forward_and_back_leaves_nothing_stale(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    first = run_tap(settings_for(sandbox, start_date="2026-11-19", lookback_hours=6), ["amd"])
    sandbox.clock.advance(days=10)
    second = run_tap(settings_for(sandbox, start_date="2026-11-28", lookback_hours=6), ["amd"], first.state)
    assert len(second.bookmark("amd")["covered"]) == 2
    sandbox.requests.reset()
    third = run_tap(settings_for(sandbox, start_date="2026-11-19", lookback_hours=6), ["amd"], second.state)
    assert asked(sandbox, "AMD")[0][0] == "2026-11-20T05:59"  # the lookback before the end of the first part, too
    assert third.bookmark("amd")["covered"] == [["2026-11-19T00:00:00+00:00", "2026-11-30T11:59:00+00:00"]]


def test_an_end_date_is_exclusive_and_the_next_run_goes_on_there(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": Within(500, at(0), at(48))})
    settings = settings_for(sandbox, start_date="2026-10-01", lookback_hours=0)
    first = run_tap({**settings, "end_date": "2026-10-01T07:13:21Z"}, ["amd"])
    second = run_tap({**settings, "end_date": "2026-10-03"}, ["amd"], first.state)
    both = first.ids("amd") + second.ids("amd")
    assert len(both) == len(set(both)) == 500


def test_a_resumed_backfill_does_not_pay_for_final_rows_again(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"sms/outbound": 50})
    settings = settings_for(sandbox, start_date="2026-10-01")
    first = run_tap({**settings, "end_date": "2026-10-10"}, ["sms"])
    sandbox.requests.reset()
    run_tap({**settings, "end_date": "2026-10-12"}, ["sms"], first.state)
    assert asked(sandbox, "SMS", direction="outbound")[0][0] == "2026-10-10T00:00"


def test_accounts_with_different_histories_never_share_a_bookmark(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 24}, subaccount_keys=["sub00001", "sub00002"])
    early = run_tap(settings_for(sandbox, start_date="2026-11-10", end_date="2026-11-15"), ["amd"])
    three = settings_for(sandbox, start_date="2026-11-10", end_date="2026-11-16", lookback_hours=0)
    output = run_tap({**three, "include_subaccounts": True}, ["amd"], early.state)
    by_account = {
        account: [record for record in output.records["amd"] if record["account_id"] == account]
        for account in (KEY, "sub00001", "sub00002")
    }
    assert {account: len(records) for account, records in by_account.items()} == {
        KEY: 24,
        "sub00001": 144,
        "sub00002": 144,
    }
    covered = {account: output.bookmark("amd", account_id=account)["covered"] for account in by_account}
    assert set(map(str, covered.values())) == {"[['2026-11-10T00:00:00+00:00', '2026-11-16T00:00:00+00:00']]"}


def test_changed_filters_read_from_the_start_again(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    settings = settings_for(sandbox, start_date="2026-11-18", lookback_hours=0)
    first = run_tap(settings, ["messages"])
    narrow = {**settings, "stream_options": {"messages": {"filters": {"provider": "sms"}}}}
    sandbox.requests.reset()
    second = run_tap(narrow, ["messages"], first.state)
    assert asked(sandbox, "MESSAGES", direction="inbound")[0][0] == "2026-11-18T00:00"
    assert "filters have changed" in second.log
    sandbox.requests.reset()
    third = run_tap(narrow, ["messages"], second.state)
    assert asked(sandbox, "MESSAGES") == []
    assert "nothing to read" in third.log


@pytest.mark.parametrize("stream", ["amd", "sms"])
def test_state_of_another_tap_is_read_without_loss(make_sandbox: Callable[..., Sandbox], stream: str) -> None:
    sandbox = make_sandbox()
    state = {"bookmarks": {stream: {"replication_key": "x", "replication_key_value": "2026-11-19T00:00:00Z"}}}
    output = run_tap(settings_for(sandbox, start_date="2026-11-17", lookback_hours=1), [stream], state)
    first = asked(sandbox, stream.upper())[0][0]
    # One partition: the bookmark can only speak of it. Two: nobody knows of which, so all is read.
    assert first == ("2026-11-18T23:00" if stream == "amd" else "2026-11-17T00:00")
    assert ("does not say which partition it belongs to" in output.log) == (stream == "sms")
    assert "replication_key_value" not in (output.state or {})["bookmarks"][stream]


def test_a_partition_bookmark_without_coverage_is_read_without_loss(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    old = {"context": {"account_id": KEY}, "replication_key_value": "2026-10-19T00:00:00+00:00"}
    run_tap(settings_for(sandbox, lookback_hours=1), ["amd"], {"bookmarks": {"amd": {"partitions": [old]}}})
    assert asked(sandbox, "AMD")[0][0] == "2026-10-18T23:00"


def test_a_bookmark_in_the_future_does_not_stop_the_tap(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    old = {"context": {"account_id": KEY}, "replication_key_value": "2030-01-01T00:00:00+00:00"}
    output = run_tap(
        settings_for(sandbox, start_date="2026-11-01"), ["amd"], {"bookmarks": {"amd": {"partitions": [old]}}}
    )
    assert "refetching it" in output.log
    assert output.bookmark("amd")["replication_key_value"] == "2026-11-20T11:59:00+00:00"
    assert asked(sandbox, "AMD")[0][0] == "2026-11-19T11:59"


def test_a_time_of_reading_in_the_future_does_not_stop_the_lookback(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    settings = settings_for(sandbox, start_date="2026-11-01", lookback_hours=24)
    first = run_tap(settings, ["amd"])
    first.bookmark("amd")["read_at"] = "2030-01-01T00:00:00+00:00"
    sandbox.clock.advance(hours=1)
    sandbox.requests.reset()
    run_tap(settings, ["amd"], first.state)
    assert asked(sandbox, "AMD") == [("2026-11-19T12:59", "2026-11-20T12:59")]


def test_an_end_date_before_the_bookmark_takes_nothing_back(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    settings = settings_for(sandbox, start_date="2026-11-15", lookback_hours=0)
    first = run_tap(settings, ["amd"])
    second = run_tap({**settings, "start_date": "2026-11-14", "end_date": "2026-11-17"}, ["amd"], first.state)
    assert second.bookmark("amd")["covered"] == [["2026-11-14T00:00:00+00:00", "2026-11-20T11:59:00+00:00"]]
    assert "refetching it" not in second.log


@pytest.mark.parametrize(
    "start",
    ["2026-11-18", "2026-11-18T00", "2026-11-18 00:00Z", "2026-11-18T02:00:00+0200", "2026-11-18T00:00:00.000000Z"],
)
def test_every_form_of_date_that_is_accepted_works_with_state(make_sandbox: Callable[..., Sandbox], start: str) -> None:
    sandbox = make_sandbox()
    settings = settings_for(sandbox, start_date=start, lookback_hours=0)
    first = run_tap(settings, ["amd"])
    assert asked(sandbox, "AMD")[0][0] == "2026-11-18T00:00"
    sandbox.clock.advance(hours=1)
    assert run_tap(settings, ["amd"], first.state).code == 0


def test_other_streams_in_the_state_are_left_alone(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    first = run_tap(settings_for(sandbox, start_date="2026-11-18"), ["amd"])
    second = run_tap(settings_for(sandbox, start_date="2026-11-18"), ["asr"], first.state)
    assert second.bookmark("amd") == first.bookmark("amd")


def test_full_table_reads_all_again(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    settings = settings_for(sandbox, start_date="2026-11-18", lookback_hours=0)
    first = run_tap(settings, ["amd"])
    catalog = catalog_of(["amd"])
    for entry in catalog["streams"]:
        entry["replication_method"] = "FULL_TABLE"
    sandbox.requests.reset()
    output = run_tap(settings, state=first.state, catalog=catalog)
    assert asked(sandbox, "AMD") == [("2026-11-18T00:00", "2026-11-20T11:59")]
    assert output.bookmark("amd")["covered"] == first.bookmark("amd")["covered"]


def test_state_is_written_after_every_window(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 10})
    output = run_tap(settings_for(sandbox, start_date="2026-11-10", end_date="2026-11-15"), ["amd"])
    reached = [state["bookmarks"]["amd"]["partitions"][0].get("replication_key_value") for state in output.states]
    ends = {format_timestamp(parse_time(entry.date_end)) for entry in sandbox.requests.log if entry.product == "AMD"}
    assert len(ends) > 5
    assert reached == [None, *sorted(ends)]


def test_state_never_speaks_of_records_that_are_not_out(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 25}, page_size=10)
    output = run_tap(settings_for(sandbox, start_date="2026-11-10", end_date="2026-11-15"), ["amd"])
    out: set[str] = set()
    for message in output.messages:
        if message["type"] == "RECORD":
            out.add(message["record"]["id"])
        if message["type"] == "STATE" and "covered" in (state := message["value"]["bookmarks"]["amd"]["partitions"][0]):
            _, end = state["covered"][-1]
            rows = sandbox.expected("amd", KEY, None, parse_time("2026-11-10"), parse_time(end))
            assert {row["id"] for row in rows} <= out


def test_the_sdk_leaves_no_marks_in_the_state(make_sandbox: Callable[..., Sandbox]) -> None:
    output: Output = run_tap(settings_for(make_sandbox(rows={"amd": 10}), start_date="2026-11-18"), ["amd"])
    marks = ("progress_markers", "starting_replication_value", "signpost")
    assert not [mark for mark in marks if mark in str(output.states)]
    assert "resumable" not in output.log


@pytest.mark.parametrize(
    "partition",
    [
        {"covered": "2026"},
        {"covered": [["2026-01-01"]]},
        {"covered": [["2026-01-02", "2026-01-01"]]},
        {"covered": [["x", "y"]]},
        {"page": {"date_start": "2026-01-01"}},
        {"page": "x"},
        {"replication_key_value": "last tuesday"},
        {"read_at": "x"},
        {"read_at": "2026-11-19T00:00:00+00:00"},
        {"covered": [["2026-11-01", "2026-11-02"]], "read_at": ["2026-11-19", "2026-11-19"]},
        {"covered": [["2026-11-01", "2026-11-02"]], "replication_key_value": 20261102},
        {"covered": [["0001-01-01T00:00:00+02:00", "2026-11-02"]]},
        {"covered": None},
        {"page": {**PAGE, "cursor": 5}},
        {"page": {**PAGE, "cursor": ""}},
        {"page": {**PAGE, "date_end": "2026-11-14"}},
        {"reports": [{**REPORT, "request_id": 5}]},
        {"reports": [REPORT, REPORT]},
        {"reports": {"report-1": REPORT}},
        *({"report_hours": hours} for hours in NO_HOURS),
        {"report_rows": -1},
        {"recent_rows": -1, "recent_seconds": 7},
        {"recent_rows": 1, "recent_seconds": 0},
        {"recent_rows": "many", "recent_seconds": 7},
        {"small_reports": "many"},
        {"refused_reports": [{"date_start": "2026-11-14", "date_end": "2026-11-15"}]},
        {"refused_reports": [{**REFUSED, "date_end": "2026-11-13"}]},
        {"refused_reports": [{**REFUSED, "refused_at": "yesterday"}]},
        {"progress_markers": None},
        {"tracked": [["x", "y"]]},
        {"tracked": None},
        {"open": ["id"]},
        {"open": {"2026-11-19T12:30:00+00:00": ["id"]}},
        {"open": {"9999-12-31T23:00:00+00:00": ["id"]}},
        {"open": {"2026-11-19T12:00:00+00:00": ["id,id"]}},
        {"open": {"last tuesday": []}},
    ],
    ids=str,
)
def test_malformed_state_is_an_error_before_anything_is_read(
    make_sandbox: Callable[..., Sandbox], partition: dict[str, Any]
) -> None:
    sandbox = make_sandbox()
    state = {"bookmarks": {"amd": {"partitions": [{"context": {"account_id": KEY}, **partition}]}}}
    output = run_tap(settings_for(sandbox), ["amd"], state)
    assert isinstance(output.error, StateError)
    assert "amd" in str(output.error)
    assert "tuesday" not in str(output.error)
    assert sandbox.requests.total == 0


# States of any age or damage

RIGHT: dict[str, Any] = {
    "bookmarks": {
        "amd": {
            "partitions": [
                {
                    "context": {"account_id": KEY},
                    "replication_key": "start_time",
                    "replication_key_value": "2026-11-19T12:00:00+00:00",
                    "covered": [
                        ["2026-11-15T00:00:00+00:00", "2026-11-16T00:00:00+00:00"],
                        ["2026-11-17T00:00:00+00:00", "2026-11-19T12:00:00+00:00"],
                    ],
                    "read_at": [None, "2026-11-19T12:00:00+00:00"],
                    "page": {
                        "date_start": "2026-11-16T00:00:00+00:00",
                        "date_end": "2026-11-17T00:00:00+00:00",
                        "cursor": "cursor",
                        "iv": "iv",
                        "query": "query",
                        "read_at": "2026-11-19T12:00:00+00:00",
                    },
                    "reports": [
                        {
                            "request_id": "report-1",
                            "date_start": "2026-11-14T00:00:00+00:00",
                            "date_end": "2026-11-15T00:00:00+00:00",
                            "fingerprint": "fingerprint",
                            "requested_at": "2026-11-19T12:00:00+00:00",
                        }
                    ],
                    "report_hours": 24.0,
                    "report_rows": 1000,
                    "small_reports": 1,
                    "recent_rows": 600,
                    "recent_seconds": 302_400,
                    "refused_reports": [
                        {
                            "date_start": "2026-11-13T00:00:00+00:00",
                            "date_end": "2026-11-14T00:00:00+00:00",
                            "refused_at": "2026-11-19T12:00:00+00:00",
                        }
                    ],
                    "tracked": [["2026-11-18T00:00:00+00:00", "2026-11-19T12:00:00+00:00"]],
                    "open": {"2026-11-18T05:00:00+00:00": ["id-1", "id-2"], "2026-11-19T11:00:00+00:00": ["id-3"]},
                    "note": {"of": ["a later release"]},
                },
                {"context": {"account_id": "sub00001"}, "replication_key_value": "2026-11-18T00:00:00Z"},
            ],
        },
        "asr": {"replication_key": "x", "replication_key_value": "2026-11-18T00:00:00+00:00"},
        "of_another_tap": {"partitions": [{"context": {"id": 1}, "cursor": 5}], "anything": None},
    },
    "currently_syncing": "amd",
}

odd_times = st.sampled_from(
    (
        "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+02:00", "9999-12-31T23:59:59.999999-01:00", "2026-11-18T24:00:00Z",
        "9999-12-31", "2026-11-18", "2026-11-18T05:30:00+05:30", "2026-11-18T00:00:00.123456789Z", "1799000000", "",
        "2026-11-17T00:00:00+00:00",
    )
)  # fmt: skip
odd_numbers = st.sampled_from((0, -1, 1, 0.5, 1e-300, 1e300, 10**400, float("nan"), float("inf"), True))
any_json = st.recursive(
    st.none() | odd_times | odd_numbers | st.text(max_size=5) | st.sampled_from(["\ud800", "..", "a/b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["context", "x"]), inner, max_size=2),
    max_leaves=4,
)


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every node of a JSON value but the whole of it."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*path, key)
        yield from places_in(part, (*path, key))


@st.composite
def damaged_states(draw: st.DrawFn) -> dict[str, Any]:
    state = deepcopy(RIGHT)
    for _ in range(draw(st.integers(1, 2))):
        *path, last = draw(st.sampled_from(list(places_in(state))))
        node: Any = state
        for key in path:
            node = node[key]
        damage = draw(st.sampled_from(["replace", "delete", "double"]))
        if damage == "replace":
            node[last] = draw(any_json)
        elif damage == "delete":
            del node[last]
        elif isinstance(node, list):
            node.append(deepcopy(node[last]))
        if not list(places_in(state)):
            break
    return state


@given(damaged_states())
@settings(max_examples=30, deadline=None)
@example(RIGHT)
def test_a_state_of_any_damage_is_refused_before_anything_is_read_or_costs_nothing(
    shared_sandbox: Sandbox, state: dict[str, Any]
) -> None:
    shared_sandbox.requests.reset()
    accounts = [KEY, "sub00001"]
    dates = {"start_date": "2026-11-14", "end_date": "2026-11-20", "lookback_hours": 0}
    before = set(state)
    output = run_tap(settings_for(shared_sandbox, account_ids=accounts, **dates), ["amd", "asr"], state)
    if output.error:
        assert isinstance(output.error, StateError)
        # Not even the time was asked.
        assert "REPORTS-USAGE" not in {entry.product for entry in shared_sandbox.requests.log}
        return
    for account in accounts:
        covered = [[*map(parse_time, part)] for part in output.bookmark("amd", account_id=account)["covered"]]
        assert [start for start, end in covered if start <= parse_time("2026-11-14") < parse_time("2026-11-20") <= end]
    assert before <= {*(output.state or ())}


@given(damaged_states(), st.sampled_from([0, 24, 10_000]), st.sampled_from(["sync", "async", "auto"]))
def test_any_state_is_planned_with_or_rejected(state: dict[str, Any], lookback: float, mode: str) -> None:
    try:
        check_state(state, {"amd": None, "asr": None})
        partition = state["bookmarks"]["amd"]["partitions"][0]
    except (StateError, LookupError):
        return
    opened = open_sync(partition, 1200, lookback_hours=lookback, fetch_mode=mode, **dated(start_date=1000))
    for window in [*opened.reports().windows, *opened.pages().windows]:
        opened.bookmark.commit_window(window, opened.sync.read_at)
    assert opened.session.planner.missing(opened.sync).empty
    check_state({"bookmarks": {"amd": {"partitions": [json.loads(json.dumps(partition))]}}}, {"amd": None})


def test_keys_that_this_release_does_not_know_are_kept(make_sandbox: Callable[..., Sandbox]) -> None:
    output = run_tap(settings_for(make_sandbox(), start_date="2026-11-18"), ["amd"], RIGHT)
    assert output.state is not None
    assert output.bookmark("amd", account_id=KEY)["note"] == {"of": ["a later release"]}
    assert output.state["bookmarks"]["of_another_tap"] == RIGHT["bookmarks"]["of_another_tap"]
    assert output.state["currently_syncing"] == "amd"


def test_a_bookmark_that_is_set_back_by_hand_is_read_from_there(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    run = settings_for(sandbox, start_date="2026-11-10", lookback_hours=0)
    first = run_tap(run, ["amd"])
    assert first.state is not None
    first.bookmark("amd")["replication_key_value"] = "2026-11-15T00:00:00Z"
    sandbox.requests.reset()
    second = run_tap(run, ["amd"], first.state)
    assert asked(sandbox, "AMD") == [("2026-11-15T00:00", "2026-11-20T11:59")]
    assert second.bookmark("amd")["covered"] == [["2026-11-10T00:00:00+00:00", "2026-11-20T11:59:00+00:00"]]


def test_a_state_that_has_lost_what_it_covers_is_refused_and_not_taken_for_one_without(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    sandbox = make_sandbox()
    first = run_tap(settings_for(sandbox, start_date="2026-11-18"), ["amd"])
    del first.bookmark("amd")["covered"]
    second = run_tap(settings_for(sandbox, start_date="2026-11-01"), ["amd"], first.state)
    assert isinstance(second.error, StateError)
    assert "covered" in str(second.error)


queries = st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=4)


@given(queries, queries, st.randoms(use_true_random=False))
def test_equal_queries_have_one_fingerprint_and_different_ones_have_two(
    one: dict[str, str], other: dict[str, str], chance: Random
) -> None:
    in_another_order = dict(chance.sample(list(one.items()), len(one)))
    assert fingerprint(one) == fingerprint(in_another_order)
    assert (fingerprint(one) == fingerprint(other)) == (one == other)
