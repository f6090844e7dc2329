"""A window that cannot be read holds up no other one; a cursor that fails does not make its window unreadable."""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.errors import SyncFailedError
from tap_vonage_reports.sandbox import Fault, Sandbox, Within
from tap_vonage_reports.timestamps import format_timestamp, parse_time
from tests.harness import Output, run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START = datetime(2026, 11, 10, tzinfo=timezone.utc)
DAYS = 8
ROWS_PER_DAY = 48
ROWS = DAYS * ROWS_PER_DAY
PAGE_SIZE = 10


def day(number: float) -> str:
    return format_timestamp(START + timedelta(days=number))


@pytest.fixture
def sandbox(make_sandbox: Callable[..., Sandbox]) -> Sandbox:
    end = START + timedelta(days=DAYS)
    return make_sandbox(rows={"amd": Within(ROWS, START, end)}, page_size=PAGE_SIZE, clock="2026-11-25T00:00:00Z")


def read(sandbox: Sandbox, state: dict[str, Any] | None = None, **more: Any) -> Output:
    dates = {"start_date": day(0), "end_date": day(DAYS), "lookback_hours": 0, "report_window_days": 1}
    more.setdefault("fetch_mode", "sync")
    return run_tap(settings_for(sandbox, **{**dates, **more}), ["amd"], state)


def fail_hour_of(sandbox: Sandbox, number: int) -> None:
    sandbox.faults.on(Fault.WINDOW_FAILED, (START + timedelta(days=number, hours=5)).isoformat()[:16])


def mend(sandbox: Sandbox) -> None:
    """Switch all faults off."""
    sandbox.faults.clear()
    sandbox.faults.on(Fault.NO_RATE_LIMIT)


def ids_of(output: Output) -> set[str]:
    """The ids of the rows that a run has written, as RECORD or into files."""
    files = [path for message in output.messages if message["type"] == "BATCH" for path in message["manifest"]]
    lines = [line for path in files for line in _lines(path)]
    return {*output.ids("amd"), *(json.loads(line)["id"] for line in lines)}


def _lines(address: str) -> list[str]:
    with gzip.open(address.removeprefix("file://"), "rt", encoding="utf-8") as file:
        return list(file)


def batch(folder: Path) -> dict[str, Any]:
    return {"encoding": {"format": "jsonl"}, "storage": {"root": f"file://{folder}"}, "batch_size": 25}


@pytest.mark.promise("Nothing is lost. The bookmark only moves over time that was read completely.")
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_first_run_that_reads_nothing_without_a_start_date_says_where_the_next_one_begins(
    make_sandbox: Callable[..., Sandbox], mode: str
) -> None:
    sandbox = make_sandbox(rows={"amd": 5}, clock="2026-11-25T00:00:00Z")
    first_day = datetime(2026, 11, 18, tzinfo=timezone.utc)
    settings = settings_for(sandbox, start_date=None, fetch_mode=mode, report_window_days=1, lookback_hours=0)
    with sandbox.faults.during(Fault.SERVER_ERROR):
        failed = run_tap(settings, ["amd"])
    assert (failed.code, failed.ids("amd")) == (1, [])
    sandbox.clock.advance(hours=24 * 9)
    output = run_tap(settings, ["amd"], failed.state)
    expected = sandbox.expected("amd", None, None, first_day, sandbox.clock.now() - timedelta(hours=1))
    assert {row["id"] for row in expected} <= ids_of(output)
    assert output.code == 0


@pytest.mark.parametrize("files", [False, True], ids=["records", "batch"])
@pytest.mark.parametrize("workers", [1, 5])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_window_that_fails_leaves_a_gap(
    sandbox: Sandbox, tmp_path: Path, mode: str, workers: int, *, files: bool
) -> None:
    more: dict[str, Any] = {"fetch_mode": mode, "max_concurrent_requests": workers}
    if files:
        more["batch_config"] = batch(tmp_path)
    fail_hour_of(sandbox, 2)
    output = read(sandbox, **more)
    assert output.code == 1
    state = output.bookmark("amd")
    [[start, end]] = state["gaps"]
    if (mode, workers) != ("sync", 5):  # whose windows are shorter, so that every worker has some
        assert [start, end] == [day(2), day(3)]
    assert state["covered"] == [[day(0), start], [end, day(DAYS)]]
    # A program that reads this alone goes on from the gap.
    assert state["replication_key_value"] == start
    rows = {row["id"] for row in sandbox.expected("amd", None, None, parse_time(start), parse_time(end))}
    assert len(ids_of(output)) == ROWS - len(rows)
    window = f"{parse_time(start):%Y-%m-%d %H:%M} to {parse_time(end):%Y-%m-%d %H:%M}"
    assert f"left out {window}. HTTP 500" in output.log
    assert "1 window left out, the next run tries it first" in output.log
    assert isinstance(output.error, SyncFailedError)
    assert window in str(output.error)

    mend(sandbox)
    sandbox.requests.reset()
    resumed = read(sandbox, output.state, **more)
    assert resumed.code == 0
    assert ids_of(resumed) == rows  # nothing is paid for twice
    assert len(ids_of(output) | ids_of(resumed)) == ROWS
    state = resumed.bookmark("amd")
    assert (state["covered"], state["replication_key_value"]) == ([[day(0), day(DAYS)]], day(DAYS))
    assert "gaps" not in state


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_the_next_run_tries_the_gaps_first(sandbox: Sandbox, mode: str) -> None:
    fail_hour_of(sandbox, 2)
    output = read(sandbox, fetch_mode=mode, end_date=day(5))
    mend(sandbox)
    sandbox.requests.reset()
    resumed = read(sandbox, output.state, fetch_mode=mode, max_concurrent_requests=1)
    endpoint = {"sync": "records", "async": "report-create"}[mode]
    entries = [entry for entry in sandbox.requests.log if entry.product == "AMD"]
    starts = [entry.date_start for entry in entries if entry.endpoint == endpoint]
    assert list(dict.fromkeys(starts)) == [f"{(START + timedelta(days=n)):%Y-%m-%dT%H:%M:%SZ}" for n in (2, 5, 6, 7)]
    assert resumed.code == 0


@pytest.mark.parametrize("workers", [1, 5])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_three_windows_in_a_row_that_fail_end_the_partition(sandbox: Sandbox, mode: str, workers: int) -> None:
    sandbox.faults.on(Fault.SERVER_ERROR, endpoints=["records", "report-create"], products=["amd"])
    output = read(sandbox, fetch_mode=mode, max_concurrent_requests=workers)
    assert output.code == 1
    assert output.log.count("left out 2026") == 3
    assert "3 windows left out, the next run tries them first" in output.log
    assert "3 windows in a row could not be read" in output.log
    assert "covered" not in output.bookmark("amd")


def test_failed_windows_that_do_not_follow_each_other_do_not_end_the_partition(sandbox: Sandbox) -> None:
    state: dict[str, Any] | None = None
    for number in (1, 2, 4, 5, 7):
        fail_hour_of(sandbox, number)
        output = read(sandbox, state, end_date=day(number + 1), max_concurrent_requests=1)
        state = output.state
        assert output.code == 1
        assert output.bookmark("amd").get("replication_key_value") == day(number)
        mend(sandbox)
        resumed = read(sandbox, state, end_date=day(number + 1))
        assert resumed.bookmark("amd")["covered"] == [[day(0), day(number + 1)]]
        state = resumed.state


def test_several_gaps_are_counted(sandbox: Sandbox) -> None:
    fail_hour_of(sandbox, 2)
    output = read(sandbox, sync_window_hours=3, max_concurrent_requests=1)
    assert output.bookmark("amd")["covered"] == [[day(0), day(2.125)], [day(2.25), day(DAYS)]]
    # Two windows that touch the hour: it begins in the one and ends in the other.
    sandbox.faults.on(Fault.WINDOW_FAILED, (START + timedelta(days=2, hours=3, minutes=30)).isoformat()[:16])
    again = read(sandbox, output.state, sync_window_hours=1, start_date=day(-1))
    assert again.log.count(": left out 2026-11-12") == 2
    assert "2 windows left out, the next run tries them first" in again.log
    assert again.bookmark("amd")["gaps"] == [[day(2.125), day(2 + 5 / 24)]]


def test_a_refusal_of_the_whole_account_ends_the_partition_as_before(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.FORBIDDEN, after=2 * 5, products=["amd"])
    output = read(sandbox, max_concurrent_requests=1)
    assert "left out" not in output.log
    assert output.bookmark("amd")["covered"] == [[day(0), day(2)]]


def test_a_gap_at_the_beginning_is_not_forgotten_without_a_start_date(sandbox: Sandbox) -> None:
    sandbox.clock.set(START + timedelta(days=7, hours=1))
    settings = settings_for(sandbox, max_concurrent_requests=1)
    # The first window of all: seven days ago.
    fail_hour_of(sandbox, 0)
    output = run_tap(settings, ["amd"])
    assert output.code == 1
    [gap] = output.bookmark("amd")["gaps"]
    assert gap[0] == output.bookmark("amd")["replication_key_value"]
    mend(sandbox)
    sandbox.clock.advance(hours=72)
    resumed = run_tap(settings, ["amd"], output.state)
    assert resumed.code == 0
    covered = resumed.bookmark("amd")["covered"]
    assert len(covered) == 1
    assert covered[0][0] == gap[0]


def test_a_bookmark_that_is_set_back_by_hand_counts_with_gaps_too(sandbox: Sandbox) -> None:
    fail_hour_of(sandbox, 2)
    output = read(sandbox)
    mend(sandbox)
    assert output.state
    output.bookmark("amd")["replication_key_value"] = day(1)
    assert len(read(sandbox, output.state).ids("amd")) == ROWS - ROWS_PER_DAY


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_run_with_gaps_that_is_killed_anywhere_loses_nothing(sandbox: Sandbox, mode: str) -> None:
    sandbox.faults.on(Fault.CURSOR_EXPIRES, 3)
    fail_hour_of(sandbox, 2)
    whole = read(sandbox, fetch_mode=mode)
    mend(sandbox)
    assert whole.code == 1
    cuts = range(0, len(whole.lines), len(whole.lines) // 12)
    for cut in cuts:
        killed = Output(whole.lines[:cut])
        resumed = read(sandbox, killed.state, fetch_mode=mode)
        assert resumed.code == 0
        assert len(set(killed.ids("amd") + resumed.ids("amd"))) == ROWS
        assert resumed.bookmark("amd")["covered"] == [[day(0), day(DAYS)]]
        assert not {"gaps", "page", "reports"} & resumed.bookmark("amd").keys()


# Cursors

FAILING_CURSORS: list[tuple[Fault, str | None]] = [
    (Fault.CURSOR_REFUSED, ""),
    (Fault.CURSOR_REFUSED, "401"),
    (Fault.CURSOR_REFUSED, "500"),
    (Fault.CURSOR_REPEATED, None),
    (Fault.CURSOR_MISSING, None),
]
TRIES = {"401": 2, "500": 8}
"""How often a request is sent that is answered with a status."""


@pytest.mark.parametrize("fault", FAILING_CURSORS, ids=lambda fault: "-".join(filter(None, (fault[0].value, fault[1]))))
@pytest.mark.parametrize("hours", [24, 6])
def test_a_cursor_of_the_state_that_fails_does_not_hold_up_its_window(
    sandbox: Sandbox, fault: tuple[Fault, str | None], hours: int
) -> None:
    sandbox.faults.on(Fault.FORBIDDEN, after=7, products=["amd"])
    first = read(sandbox, max_concurrent_requests=1)
    assert first.bookmark("amd")["page"]["date_start"] == day(1)
    mend(sandbox)
    sandbox.faults.on(fault[0], fault[1], first=TRIES.get(fault[1] or "", 1))
    sandbox.requests.reset()
    second = read(sandbox, first.state, max_concurrent_requests=1, sync_window_hours=hours)
    assert second.code == 0, second.log
    assert "cannot be resumed" in second.log
    assert len(set(first.ids("amd") + second.ids("amd"))) == ROWS
    assert "page" not in second.bookmark("amd")
    assert "20 refetched" in second.log  # the two pages before
    # The window is planned anew with today's settings.
    ends = {entry.date_end for entry in sandbox.requests.log if not entry.cursor and entry.product == "AMD"}
    assert (f"{(START + timedelta(days=1, hours=6)):%Y-%m-%dT%H:%M:%SZ}" in ends) == (hours == 6)


def test_a_window_that_outlives_its_cursors_is_halved_and_the_length_is_remembered(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.CURSOR_EXPIRES, 2)
    output = read(sandbox, max_concurrent_requests=1)
    assert output.code == 0, output.log
    assert set(output.ids("amd")) == set(read(sandbox, fetch_mode="async").ids("amd"))
    assert "halving 2026-11-10 00:00 to 2026-11-11 00:00" in output.log
    # Two useless walks of two pages, and one of two more for each attempt to grow again.
    assert len(output.ids("amd")) < ROWS * 1.4
    hours = output.bookmark("amd")["sync_hours"]
    assert hours < 24
    sandbox.requests.reset()
    second = read(sandbox, output.state, start_date=day(-1), end_date=day(DAYS), max_concurrent_requests=1)
    spans = [entry for entry in sandbox.requests.log if entry.product == "AMD"]
    assert second.code == 0
    assert all(_hours(entry.date_start, entry.date_end) <= 2 * hours for entry in spans)


def _hours(start: str, end: str) -> float:
    return (datetime.fromisoformat(end[:19]) - datetime.fromisoformat(start[:19])) / timedelta(hours=1)


def test_the_length_grows_again_after_some_windows_without_trouble(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.CURSOR_EXPIRES, 2)
    first = read(sandbox, end_date=day(1), max_concurrent_requests=1)
    hours = first.bookmark("amd")["sync_hours"]
    mend(sandbox)
    second = read(sandbox, first.state, max_concurrent_requests=1)
    assert second.bookmark("amd").get("sync_hours", 24) > hours
    assert len(set(first.ids("amd") + second.ids("amd"))) == ROWS


@pytest.mark.parametrize("value", ["", "401", "500"])
def test_cursors_that_never_work_are_done_without(sandbox: Sandbox, value: str) -> None:
    sandbox.faults.on(Fault.CURSOR_REFUSED, value)
    output = read(sandbox)
    assert output.code == 0, output.log
    assert len(set(output.ids("amd"))) == ROWS


def test_a_minute_that_does_not_fit_a_page_without_its_cursor_is_a_gap(make_sandbox: Callable[..., Sandbox]) -> None:
    minute = START + timedelta(hours=5)
    sandbox = make_sandbox(
        rows={"amd": Within(30, minute, minute + timedelta(minutes=1))}, page_size=10, clock="2026-11-25T00:00:00Z"
    )
    sandbox.faults.on(Fault.CURSOR_REFUSED)
    output = read(sandbox, end_date=day(1), max_concurrent_requests=1)
    assert output.code == 1
    [gap] = output.bookmark("amd")["gaps"]
    assert _hours(*gap) <= 2 / 60
    assert "however short" in output.log
    mend(sandbox)
    second = read(sandbox, output.state, end_date=day(1))
    assert len(set(output.ids("amd") + second.ids("amd"))) == 30
