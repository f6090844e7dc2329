"""It is fast: several windows are read at once, and what comes out is the same as of one after the other."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.errors import UnreachableError
from tap_vonage_reports.sandbox import Fault, Sandbox, Within
from tap_vonage_reports.state.bookmark import Bookmark
from tap_vonage_reports.state.checkpoint import Checkpointer
from tap_vonage_reports.timestamps import parse_time
from tests.harness import Collector, run_main, run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START = datetime(2026, 11, 1, tzinfo=timezone.utc)
END = START + timedelta(days=5)
DATES = {"start_date": START.isoformat(), "end_date": END.isoformat()}
PATIENCE = 60


class Meeting:
    """Lets requests pass only when so many of them are under way at the same time."""

    def __init__(self, parties: int) -> None:
        self._barrier = threading.Barrier(parties)
        self._records = ReportsClient.records
        self.held = False

    def records(self, client: ReportsClient, query: Any, context: Any) -> Any:
        answer = self._records(client, query, context)
        if not self.held and query["product"] != "REPORTS-USAGE":
            try:
                self._barrier.wait(PATIENCE)
            except threading.BrokenBarrierError:
                msg = "Too few requests at once"
                raise UnreachableError(msg) from None
            self.held = True
        return answer


def meet(parties: int) -> Any:
    meeting = Meeting(parties)
    return mock.patch.object(
        ReportsClient, "records", lambda client, query, context=None: meeting.records(client, query, context)
    )


@pytest.mark.promise("It is fast. It runs at the API's rate limit, not at its latency.")
@pytest.mark.parametrize("workers", [2, 5])
def test_as_many_windows_are_read_at_once_as_the_setting_says(
    make_sandbox: Callable[..., Sandbox], workers: int
) -> None:
    sandbox = make_sandbox(rows={"amd": Within(100, START, END)})
    with meet(workers):
        output = run_tap(settings_for(sandbox, **DATES, max_concurrent_requests=workers), ["amd"])
    assert output.code == 0
    assert len(set(output.ids("amd"))) == len(output.ids("amd")) == 100


def test_small_streams_do_not_wait_for_each_other(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"*": 4})
    hour = {"start_date": "2026-11-19T00:00:00Z", "end_date": "2026-11-19T01:00:00Z"}
    with meet(4):  # each of these streams has one partition and one window
        output = run_tap(settings_for(sandbox, **hour), ["amd", "asr", "verify_api", "video_api"])
    assert output.code == 0


def test_records_come_in_order_of_time(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": Within(3000, START, END)}, page_size=50)
    output = run_tap(settings_for(sandbox, **DATES), ["amd"])
    covered, seen = START, 0
    for message in output.messages:
        if message["type"] == "STATE":
            partition = message["value"]["bookmarks"]["amd"]["partitions"][0]
            covered = parse_time(partition.get("replication_key_value", START.isoformat()))
        elif message["type"] == "RECORD":
            seen += 1
            assert parse_time(message["record"]["start_time"]) >= covered
    assert seen == 3000
    assert covered == END


def test_many_workers_write_the_records_of_one(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"sms": Within(900, START, END), "amd": Within(400, START, END)}, page_size=25)
    outputs = [
        run_tap(settings_for(sandbox, **DATES, max_concurrent_requests=workers), ["sms", "amd"]) for workers in (1, 8)
    ]
    one, many = (
        {stream: sorted(records, key=lambda record: str(record["id"])) for stream, records in output.records.items()}
        for output in outputs
    )
    assert one == many
    assert len(one["sms"]) == 1800


def test_a_small_run_is_not_cut_into_more_windows_than_help(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    run_tap(settings_for(sandbox, start_date="2026-11-19"))
    windows = [entry for entry in sandbox.requests.log if entry.endpoint == "records"]
    partitions = {(entry.product, entry.direction) for entry in windows}
    # The day and a half of each needs two windows; nothing is cut further, and one request asked for the time.
    assert len(windows) == 2 * len(partitions - {("REPORTS-USAGE", "")}) + 2 + 1


def test_a_product_that_is_not_there_is_not_asked_for_window_by_window(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"asr": 10})
    sandbox.faults.on(Fault.FORBIDDEN, products=["AMD"])
    output = run_tap(settings_for(sandbox, start_date="2026-10-21", fetch_mode="sync"), ["amd", "asr"])
    refused = [entry for entry in sandbox.requests.log if entry.product == "AMD"]
    assert output.code == 0
    assert "amd, primary account: skipped" in output.log
    # Those under way when the first refusal came, of 31.
    assert len(refused) <= 10


def test_a_record_of_each_stream_pulls_no_more_than_it_needs(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    sandbox = make_sandbox(rows={"amd": 100_000})
    (tmp_path / "config.json").write_text(
        json.dumps(settings_for(sandbox, stream_options={"amd": {}}, start_date="2026-11-13"))
    )
    assert run_main("--test=records", "--config", tmp_path / "config.json").code == 0
    pages = [entry for entry in sandbox.requests.log if entry.product == "AMD"]
    assert len(pages) <= 4


def test_a_page_that_fails_in_a_later_window_costs_nothing_before_it(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": Within(1000, START, END)}, page_size=20)
    settings = settings_for(sandbox, **DATES)
    sandbox.faults.on(Fault.CURSOR_MISSING, after=20, products=["AMD"])
    first = run_tap(settings, ["amd"])
    sandbox.faults.off(Fault.CURSOR_MISSING)
    second = run_tap(settings, ["amd"], first.state)
    assert first.code == 1
    assert second.code == 0
    assert len({*first.ids("amd"), *second.ids("amd")}) == 1000
    # Which windows have begun when the cursors go missing differs; those before the first of them were read to the end.
    read_until = first.bookmark("amd")["replication_key_value"]
    assert read_until > DATES["start_date"]
    assert min(row["start_time"] for row in second.records["amd"]) >= read_until


def test_only_the_main_thread_writes_state_and_records(
    make_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[str, set[threading.Thread]] = defaultdict(set)

    def watch(owner: type, *names: str) -> None:
        for name in names:
            real = getattr(owner, name)

            def watched(*arguments: Any, _real: Any = real, _name: str = name, **keywords: Any) -> Any:
                threads[_name].add(threading.current_thread())
                return _real(*arguments, **keywords)

            monkeypatch.setattr(owner, name, watched)

    changes = ("commit_page", "commit_window", "track", "untrack", "add_report", "remove_report", "reopen")
    watch(Bookmark, *changes)
    watch(Checkpointer, "write")
    watch(Collector, "send")
    watch(ReportsClient, "records", "create_report")
    sandbox = make_sandbox(rows={"amd": 300, "sms/outbound": 300}, page_size=5)
    more: dict[str, Any] = {"start_date": "2026-11-10T00:00:00Z", "backfill_days": 2, "status_refresh": "ids"}
    settings = settings_for(sandbox, **more, max_concurrent_requests=6)
    first = run_tap(settings, ["amd", "sms"])
    sandbox.clock.advance(hours=3)
    second = run_tap(settings, ["amd", "sms"], first.state)
    assert (first.code, second.code) == (0, 0)
    assert len(threads.pop("records")) > 2  # several workers have fetched
    assert {*threads} == {*changes, "write", "send", "create_report"}
    assert set.union(*threads.values()) == {threading.main_thread()}
