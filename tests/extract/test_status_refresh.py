"""Status refresh by id: what is not final is looked up again, and nothing is staler than with the lookback."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.extract import status_refresh
from tap_vonage_reports.extract.status_refresh import StatusTracker
from tap_vonage_reports.intervals import TimeWindow
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox import Fault
from tests.harness import Output, run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tap_vonage_reports.api.responses import ApiResponse
    from tap_vonage_reports.sandbox import Sandbox
    from tap_vonage_reports.sandbox.journal import Entry

STREAMS = ("sms", "messages")
SOME = {"sms": 150, "messages": 100}
START = datetime(2026, 11, 18, tzinfo=timezone.utc)
LOOKBACK = timedelta(hours=72)
BEHIND = timedelta(seconds=60)

Table = dict[tuple[str, str], dict[str, Any]]


def by_id(sandbox: Sandbox, **settings: Any) -> dict[str, Any]:
    return settings_for(sandbox, **{"start_date": START.isoformat(), "status_refresh": "ids", **settings})


def load(table: Table, output: Output) -> None:
    """Do as a target that upserts."""
    for stream, records in output.records.items():
        table.update({(stream, record["id"]): record for record in records})


def runs(sandbox: Sandbox, table: Table, count: int, *, hours: float, **settings: Any) -> Iterator[Output]:
    """Runs with some hours in between, each from the state of the one before, loaded into a table."""
    state = None
    for number in range(count):
        if number:
            sandbox.clock.advance(hours=hours)
        output = run_tap(by_id(sandbox, **settings), STREAMS, state)
        assert output.error is None
        load(table, output)
        yield output
        state = output.state


def assert_fresh(sandbox: Sandbox, table: Table, streams: tuple[str, ...] = STREAMS) -> None:
    """All rows are there, and those that are younger than the lookback are as the API has them now."""
    now = sandbox.clock.now()
    rows = [
        (stream, row)
        for stream in streams
        for direction in PRODUCTS[stream].directions
        for row in sandbox.expected(stream, None, direction, START, now - BEHIND)
    ]
    assert len(rows) > 100
    assert {(stream, row["id"]) for stream, row in rows} == table.keys()
    young = (now - LOOKBACK).strftime("%Y-%m-%dT%H:%M:%S")
    for stream, row in rows:
        if row["date_received"] >= young:
            record = table[stream, row["id"]]
            for name in ("status", "latency", "total_price"):
                assert str(record[name] if record[name] is not None else "") == str(row.get(name) or ""), name


def looked_up(sandbox: Sandbox) -> list[Entry]:
    return [entry for entry in sandbox.requests.log if entry.ids]


def kept(state: Mapping[str, Any] | None, stream: str, direction: str = "outbound") -> list[str]:
    assert state is not None
    (partition,) = [
        part for part in state["bookmarks"][stream]["partitions"] if part["context"]["direction"] == direction
    ]
    return [name for names in partition.get("open", {}).values() for name in names]


def test_ten_daily_runs_end_in_the_same_table_for_a_fifth_of_the_extra_rows(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    tables: dict[str, Table] = {}
    pulled: Counter[str] = Counter()
    seen: set[tuple[str, str]] = set()
    for mode in ("window", "ids"):
        sandbox = make_sandbox(rows={"sms": 345, "messages": 145})
        table = tables[mode] = {}
        for day, output in enumerate(runs(sandbox, table, 11, hours=24, status_refresh=mode)):
            if day:
                pulled[mode] += sum(map(len, output.records.values()))
            else:
                seen = set(table)
    assert tables["ids"] == tables["window"]
    fresh = len(tables["ids"].keys() - seen)
    assert pulled["ids"] - fresh <= (pulled["window"] - fresh) / 5


def test_whenever_a_run_ends_the_next_one_leaves_nothing_stale(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows=SOME, page_size=5)
    first = run_tap(by_id(sandbox), STREAMS)
    sandbox.clock.advance(hours=20)
    second = run_tap(by_id(sandbox, max_concurrent_requests=1), STREAMS, first.state)
    written: Table = {}
    load(written, first)
    ends = [number for number, message in enumerate(second.messages) if message["type"] == "STATE"]
    assert len(ends) > 10
    sandbox.clock.advance(hours=20)
    for end in [*ends[::6], ends[-1]]:
        table = dict(written)
        load(table, Output(second.lines[: end + 1]))
        third = run_tap(by_id(sandbox), STREAMS, second.messages[end]["value"])
        load(table, third)
        assert_fresh(sandbox, table)


def test_queries_by_id_carry_twenty_ids_and_nothing_that_may_not_go_with_them(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    sandbox = make_sandbox(rows=SOME)
    settings = by_id(sandbox, include_message=True, show_concatenated=True)
    first = run_tap(settings, STREAMS)
    sandbox.requests.reset()
    sandbox.clock.advance(days=1)
    second = run_tap(settings, STREAMS, first.state)
    assert second.error is None
    queries = looked_up(sandbox)
    assert {entry.status for entry in queries} == {200}
    assert max(entry.ids for entry in queries) == 20
    # All in one partition's queries are full but the last one.
    assert sum(entry.ids < 20 for entry in queries) <= len({(entry.product, entry.direction) for entry in queries})
    assert "looking up" in second.log
    assert any(record["message_body"] for record in second.records["sms"])


def test_a_row_is_kept_until_it_is_final_or_older_than_the_look_back(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows=SOME)
    for output in runs(sandbox, {}, 4, hours=24):
        open_now = {
            row["id"]
            for row in sandbox.expected(
                "sms", None, "outbound", max(START, sandbox.clock.now() - LOOKBACK), sandbox.clock.now() - BEHIND
            )
            if row["status"] in {"submitted", "accepted", "buffered", "unknown"}
        }
        assert open_now
        # By the hour: some are kept a little longer.
        assert open_now <= set(kept(output.state, "sms"))
        assert len(kept(output.state, "sms")) <= len(open_now) + 10


def test_rows_that_never_change_are_not_kept(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows=SOME)
    output = run_tap(by_id(sandbox), STREAMS)
    assert kept(output.state, "sms", "inbound") == kept(output.state, "messages", "inbound") == []


def test_rows_that_are_listed_late_are_found_within_the_hours_that_are_set(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    sandbox = make_sandbox(rows=SOME, faults=["late-rows"])
    table: Table = {}
    assert len(list(runs(sandbox, table, 4, hours=24, late_rows_hours=3))) == 4
    assert_fresh(sandbox, table)


@pytest.mark.parametrize("fault", [Fault.IDS_NOT_FOUND, Fault.IDS_REFUSED])
def test_rows_not_found_by_id_are_refetched_by_window_in_the_same_run(
    make_sandbox: Callable[..., Sandbox], fault: Fault
) -> None:
    sandbox = make_sandbox(rows=SOME, faults=[fault.value])
    table: Table = {}
    logs = []
    for output in runs(sandbox, table, 4, hours=15):
        assert_fresh(sandbox, table)
        logs.append(output.log)
    assert "does not find" in "".join(logs)


def test_windows_read_by_report_in_this_run_are_not_refetched_for_an_id(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows=SOME, faults=["ids-not-found"])
    settings = by_id(sandbox, backfill_days=1)
    first = run_tap(settings, STREAMS)
    second = run_tap(settings, STREAMS, first.state)
    assert "does not find" in second.log
    assert second.state is not None
    for stream in STREAMS:
        for partition in second.state["bookmarks"][stream]["partitions"]:
            assert len(partition["covered"]) == 1, "time is left out"


@pytest.mark.parametrize("kind", ["records", "files"])
def test_only_the_lookback_that_ids_replaced_is_refetched_by_windows(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, kind: str
) -> None:
    sandbox = make_sandbox(rows={"messages": 100}, faults=["ids-not-found"])
    files = {"batch_config": {"encoding": {"format": "jsonl"}, "storage": {"root": str(tmp_path)}}}
    settings = by_id(sandbox, **(files if kind == "files" else {}))
    first = run_tap(settings, ["messages"])
    sandbox.clock.advance(hours=10)
    sandbox.requests.reset()
    second = run_tap(settings, ["messages"], first.state)
    assert "does not find" in second.log
    windows = [
        (entry.date_start, entry.date_end)
        for entry in sandbox.requests.log
        if entry.product == "MESSAGES" and entry.direction == "outbound" and entry.date_start
    ]
    assert all(end <= start for (_, end), (start, _) in pairwise(sorted(windows))), "time is read twice"


def test_refetched_windows_do_not_wait_for_prefetched_ones(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows=SOME, faults=["ids-not-found"], page_size=3)
    table: Table = {}
    logs = []
    for output in runs(sandbox, table, 2, hours=15, max_concurrent_requests=1):
        assert_fresh(sandbox, table)
        logs.append(output.log)
    assert "does not find" in logs[-1]


def test_more_rows_than_can_be_kept_are_read_by_their_windows(
    make_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_refresh, "MAX_PENDING_IDS", 60)
    sandbox = make_sandbox(rows=SOME, page_size=20)
    table: Table = {}
    for output in runs(sandbox, table, 4, hours=15):
        assert len(kept(output.state, "messages")) <= 60
        assert_fresh(sandbox, table)
        assert "too many non-final rows to track" in output.log


def test_a_stream_with_filters_is_read_by_its_windows(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows=SOME)
    settings = by_id(sandbox, stream_options={"sms": {"filters": {"status": "delivered"}}})
    first = run_tap(settings, ["sms"])
    sandbox.clock.advance(hours=12)
    table: Table = {}
    load(table, first)
    load(table, run_tap(settings, ["sms"], first.state))
    assert looked_up(sandbox) == []
    delivered = {
        row["id"]
        for direction in PRODUCTS["sms"].directions
        for row in sandbox.expected("sms", None, direction, START, sandbox.clock.now() - BEHIND)
        if row.get("status") == "delivered"
    }
    assert {name for _, name in table} == delivered


def test_switching_status_refresh_loses_nothing(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows=SOME)
    table: Table = {}
    state = None
    for mode in ("window", "ids", "ids", "window", "ids", "window", "window", "ids"):
        output = run_tap(by_id(sandbox, status_refresh=mode), STREAMS, state)
        load(table, output)
        state = output.state
        assert_fresh(sandbox, table)
        assert (kept(state, "sms") != []) == (mode == "ids")
        sandbox.clock.advance(hours=17)


def test_rows_from_reports_are_refetched_by_windows_once(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows=SOME)
    table: Table = {}
    first = run_tap(by_id(sandbox, backfill_days=1), STREAMS)
    load(table, first)
    assert sandbox.requests.reports
    state = first.state
    for look_ups in (False, True):
        sandbox.clock.advance(hours=20)
        sandbox.requests.reset()
        output = run_tap(by_id(sandbox, backfill_days=30), STREAMS, state)
        load(table, output)
        state = output.state
        assert_fresh(sandbox, table)
        days = [entry for entry in sandbox.requests.log if entry.date_start < "2026-11-20" and entry.date_start]
        assert not (look_ups and [entry for entry in days if entry.product in {"SMS", "MESSAGES"}])


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_files_keep_the_same_rows_open_as_records(
    make_sandbox: Callable[..., Sandbox], tmp_path: Any, kind: str
) -> None:
    sandbox = make_sandbox(rows=SOME)
    config = {"batch_config": {"encoding": {"format": kind}, "storage": {"root": str(tmp_path)}}}
    states: list[Any] = [None, None]
    for _ in range(2):
        states = [
            run_tap(by_id(sandbox, **files), STREAMS, state).state
            for files, state in zip(({}, config), states, strict=True)
        ]
        assert states[0] == states[1]
        sandbox.clock.advance(days=1)


def test_ids_that_cannot_stand_in_a_list_are_not_kept(
    make_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = make_sandbox(rows={"sms": 150})
    records = ReportsClient.records

    def with_commas(client: ReportsClient, query: Mapping[str, str], *args: Any, **kwargs: Any) -> ApiResponse:
        answer = records(client, query, *args, **kwargs)
        for row in answer.body["records"]:
            row["id"] = f"{row['id']},{row['id']}"
        return answer

    monkeypatch.setattr(ReportsClient, "records", with_commas)
    first = run_tap(by_id(sandbox), ["sms"])
    assert "cannot be looked up" in first.log
    sandbox.clock.advance(hours=1)
    second = run_tap(by_id(sandbox), ["sms"], first.state)
    assert looked_up(sandbox) == []
    assert len(set(second.ids("sms")) & set(first.ids("sms"))) > 10


# What has to be looked up again


SMS = PRODUCTS["sms"]
WHOLE_DAY = TimeWindow(START, START + timedelta(hours=24))
LAST_HOUR = START + timedelta(hours=23)


def refresh(direction: str = "outbound") -> StatusTracker:
    return StatusTracker(SMS.final[direction], SMS.date_field, LOOKBACK)


def row(
    name: str, status: str = "accepted", date: str | None = "2026-11-18T05:59:59+00:00", **more: Any
) -> dict[str, Any]:
    return {"id": name, "status": status, "date_received": date, **more}


@pytest.mark.parametrize(
    ("came", "hour"),
    [
        ("2026-11-18T05:00:00+00:00", START + timedelta(hours=5)),
        ("2026-11-18T05:59:59.999Z", START + timedelta(hours=5)),
        ("2026-11-18T00:00:00+0000", START),
        ("2026-11-17T23:59:59+00:00", LAST_HOUR),
        ("2026-11-19T00:00:00+00:00", LAST_HOUR),
        ("yesterday", LAST_HOUR),
        (None, LAST_HOUR),
        (1763424000, LAST_HOUR),
    ],
    ids=str,
)
def test_a_row_that_tells_no_time_in_its_window_counts_as_one_of_its_last_hour(came: Any, hour: datetime) -> None:
    assert refresh().assess([row("a", date=came)], WHOLE_DAY, START).pending == {"a": hour}


@pytest.mark.parametrize(("minutes", "is_open"), [(-1, True), (0, False), (1, False)])
def test_a_row_is_settled_when_all_of_its_hour_is_older_than_the_look_back(minutes: int, *, is_open: bool) -> None:
    read_at = START + timedelta(hours=6) + LOOKBACK + timedelta(minutes=minutes)
    assessed = refresh().assess([row("a")], WHOLE_DAY, read_at)
    assert list(assessed.pending) == (["a"] if is_open else [])
    assert assessed.final == ([] if is_open else ["a"])
    known = {"a": START + timedelta(hours=5)}
    assert refresh().final_ids([("a", row("a")), ("b", row("b"))], known, read_at) == assessed.final


@pytest.mark.parametrize(
    ("status", "finalized", "is_final"),
    [
        ("delivered", "2026-11-18T06:00:00+00:00", True),
        ("delivered", "", False),
        ("delivered", None, False),
        ("expired", "2026-11-18T06:00:00+00:00", True),
        ("submitted", "2026-11-18T06:00:00+00:00", False),
        ("unknown", "2026-11-18T06:00:00+00:00", False),
        ("a status of tomorrow", "2026-11-18T06:00:00+00:00", False),
        (None, "2026-11-18T06:00:00+00:00", False),
    ],
)
def test_only_a_known_final_status_with_what_goes_with_it_is_final(
    status: str, finalized: str | None, *, is_final: bool
) -> None:
    assessed = refresh().assess([row("a", status, date_finalized=finalized)], WHOLE_DAY, START)
    assert (assessed.final == ["a"]) == is_final


def test_of_a_row_that_comes_twice_the_last_counts() -> None:
    final = row("a", "delivered", date_finalized="2026-11-18T06:00:00+00:00")
    assert refresh().assess([row("a"), final], WHOLE_DAY, START).pending == {}
    again = refresh().assess([final, row("a")], WHOLE_DAY, START)
    assert (list(again.pending), again.final) == (["a"], [])


@pytest.mark.parametrize("name", ["a,b", "a b", "", "\u00e9", "a\n", "a" * 201])
def test_an_id_that_cannot_stand_in_a_query_is_not_kept(name: str) -> None:
    assessed = refresh().assess([row(name), row("fine")], WHOLE_DAY, START)
    assert list(assessed.pending) == ["fine"]
    assert not assessed.is_complete
