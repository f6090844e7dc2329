"""Large backfills go through reports: complete, exact, resumable, never asked for twice."""

from __future__ import annotations

import itertools
from collections import Counter
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.errors import SyncFailedError
from tap_vonage_reports.extract.reports.scheduler import ReportScheduler
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox import Fault, Sandbox, Within
from tests.harness import Output, run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from tap_vonage_reports.extract.reports.job import ReportJob

# Literal, so that another figure in the code is noticed.
MAX_GAPS_IN_A_ROW = 3
START, END = datetime(2026, 11, 1, tzinfo=timezone.utc), datetime(2026, 11, 11, tzinfo=timezone.utc)
DATES = {"start_date": START.isoformat(), "end_date": END.isoformat()}
ROWS = 300
COMPLETE = ReportScheduler.complete

every_product = pytest.mark.parametrize("stream", PRODUCTS)


def read(
    sandbox: Sandbox, state: Mapping[str, Any] | None = None, streams: tuple[str, ...] = ("amd",), **more: Any
) -> Output:
    return run_tap(settings_for(sandbox, **{**DATES, "fetch_mode": "async", **more}), streams, state)


def created(sandbox: Sandbox) -> list[tuple[str, str, str, str]]:
    """What reports were asked for, accepted ones only."""
    return [
        (entry.product, entry.direction, entry.date_start, entry.date_end)
        for entry in sandbox.requests.log
        if entry.endpoint == "report-create" and entry.status == 200
    ]


def endpoints(sandbox: Sandbox) -> Counter[str]:
    return Counter(entry.endpoint for entry in sandbox.requests.log)


def statuses(sandbox: Sandbox) -> set[int]:
    """How requests ended, less the pages, of which the first only asks for the time."""
    return {entry.status for entry in sandbox.requests.log if entry.endpoint != "records"}


@pytest.fixture
def sandbox(make_sandbox: Callable[..., Sandbox]) -> Sandbox:
    return make_sandbox(rows={"amd": Within(ROWS, START, END)})


@pytest.mark.promise(
    "It is exact. The same CDR gives the same record, byte for byte, by the sync path, the async path and BATCH files."
)
@every_product
def test_a_report_gives_the_same_records_as_pages_byte_for_byte(
    make_sandbox: Callable[..., Sandbox], stream: str
) -> None:
    sandbox = make_sandbox(rows={stream: Within(ROWS, START, END)})
    switches: dict[str, Any] = {"include_message": True, "show_concatenated": True}
    by_pages = read(sandbox, streams=(stream,), fetch_mode="sync", **switches)
    by_reports = read(sandbox, streams=(stream,), **switches)

    def records(output: Output) -> list[bytes]:
        lines = (
            line.partition(b',"time_extracted"')[0] for line in output.lines if line.startswith(b'{"type":"RECORD"')
        )
        return sorted(lines)

    assert by_reports.code == by_pages.code == 0
    assert len(by_pages.ids(stream)) == ROWS * (len(PRODUCTS[stream].directions) or 1)
    assert records(by_reports) == records(by_pages)
    assert endpoints(sandbox)["media"] == (len(PRODUCTS[stream].directions) or 1)


def test_a_long_first_run_reads_the_last_day_by_pages_and_the_rest_by_reports(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    sandbox = make_sandbox(rows={"amd": 40})
    settings = settings_for(sandbox, start_date="2026-08-01")
    output = run_tap(settings, ["amd"])
    assert created(sandbox) == [
        ("AMD", "", "2026-08-01T00:00:00Z", "2026-09-01T00:00:00Z"),
        ("AMD", "", "2026-09-01T00:00:00Z", "2026-10-02T00:00:00Z"),
        ("AMD", "", "2026-10-02T00:00:00Z", "2026-11-02T00:00:00Z"),
        ("AMD", "", "2026-11-02T00:00:00Z", "2026-11-19T11:59:00Z"),
    ]
    pages = [
        entry.date_start for entry in sandbox.requests.log if entry.endpoint == "records" and entry.product == "AMD"
    ]
    assert min(pages) == "2026-11-19T11:59:00Z"
    bounds = datetime(2026, 8, 1, tzinfo=timezone.utc), datetime(2026, 11, 20, 11, 59, tzinfo=timezone.utc)
    assert sorted(output.ids("amd")) == sorted(row["id"] for row in sandbox.expected("amd", None, None, *bounds))
    assert output.bookmark("amd")["covered"] == [["2026-08-01T00:00:00+00:00", "2026-11-20T11:59:00+00:00"]]
    assert "reports" not in output.bookmark("amd")


def test_the_last_day_reaches_to_now_however_long_the_reports_took(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 4})

    def complete_late(scheduler: ReportScheduler, job: ReportJob) -> None:
        sandbox.clock.advance(hours=2)
        COMPLETE(scheduler, job)

    with mock.patch.object(ReportScheduler, "complete", complete_late):
        output = run_tap(settings_for(sandbox, start_date="2026-11-01", report_window_days=10), ["amd"])
    assert output.bookmark("amd")["replication_key_value"] == "2026-11-20T15:59:00+00:00"


def test_a_short_range_needs_no_report(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 4})
    run_tap(settings_for(sandbox, start_date="2026-11-14"), ["amd"])
    assert created(sandbox) == []


def test_the_length_of_reports_and_of_a_backfill_can_be_set(sandbox: Sandbox) -> None:
    output = read(sandbox, fetch_mode="auto", backfill_days=1, report_window_days=4)
    assert len(created(sandbox)) == 3
    assert len(output.ids("amd")) == ROWS


def test_the_id_of_a_report_is_in_the_state_before_it_is_waited_for(sandbox: Sandbox) -> None:
    output = read(sandbox, report_window_days=2)
    reported = [state["bookmarks"]["amd"]["partitions"][0].get("reports", []) for state in output.states]
    assert list(map(len, reported))[:5] == [1, 2, 3, 4, 5]
    assert reported[-1] == []
    first = reported[0][0]
    assert set(first) == {"request_id", "date_start", "date_end", "fingerprint", "requested_at"}


def test_reports_of_later_streams_are_requested_while_earlier_ones_are_read(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    sandbox = make_sandbox(rows={"*": Within(20, START, END)})
    streams = ("amd", "asr", "sms", "voice_call")
    output = read(sandbox, streams=streams)
    assert output.code == 0
    log = [entry.endpoint for entry in sandbox.requests.log]
    assert log[1:7] == ["report-list", *["report-create"] * 5]
    assert [product for product, *_ in created(sandbox)] == [
        "AMD",
        "ASR",
        "ASR",
        "SMS",
        "SMS",
        "VOICE-CALL",
        "VOICE-CALL",
    ]


def test_never_more_reports_are_in_flight_than_allowed(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"*": Within(20, START, END)})
    sandbox.options.polls = 3
    output = read(sandbox, streams=tuple(PRODUCTS), report_window_days=5)
    assert output.code == 0
    assert sandbox.requests.most_in_flight == 5
    assert statuses(sandbox) == {200}
    two = make_sandbox(rows={"amd": Within(20, START, END)})
    two.options.polls = 3
    read(two, report_window_days=1, max_concurrent_reports=2)
    assert two.requests.most_in_flight == 2


def test_a_limit_of_reports_that_is_lower_than_ours_is_learned(sandbox: Sandbox) -> None:
    sandbox.options.max_reports = 2
    sandbox.options.polls = 3
    output = read(sandbox, report_window_days=1)
    assert output.code == 0
    assert len(output.ids("amd")) == ROWS
    refused = [entry for entry in sandbox.requests.log if entry.endpoint == "report-create" and entry.status == 429]
    assert 1 <= len(refused) <= 4
    assert "continuing with 2 at a time" in output.log


PASSING: dict[Fault, dict[str, Any]] = {
    Fault.REPORT_TRUNCATED: {"value": 100},
    Fault.REPORT_FAILED: {"first": 1},
    Fault.REPORT_ABORTED: {"first": 2},
    Fault.REPORT_VANISHED: {"first": 1},
    Fault.FILE_VANISHED: {"first": 1},
    Fault.FILE_FORBIDDEN: {"first": 1},
    Fault.CSV_BLANK_LINES: {},
    Fault.DOWNLOAD_CUT: {"first": 2},
    Fault.DOWNLOAD_CUT_WITHOUT_RANGE: {"first": 2},
    Fault.BAD_CRC: {"first": 1},
    Fault.CORRUPT_ZIP: {"first": 2},
    Fault.NOT_A_ZIP: {"first": 5},
    Fault.ZIP_WITHOUT_CSV: {"first": 1},
    Fault.ROW_WIDTH: {"first": 1},
    Fault.HEADER_WITHOUT_ID: {"first": 1},
    Fault.COUNT_WRONG: {"first": 1},
    Fault.SPLIT_ARCHIVE: {},
    Fault.CSV_CRLF: {},
    Fault.CSV_BOM: {},
    Fault.LINK_ELSEWHERE: {},
    Fault.PREFIXED_REQUEST_IDS: {},
    Fault.EMPTY_REPORT_WITHOUT_LINK: {},
    Fault.EMPTY_REPORT_BLANK: {},
    Fault.MOVED_COLUMNS: {},
    Fault.CREATE_TOO_MANY_REQUESTS: {"value": 0, "first": 2},
    Fault.CREATE_LOST: {"first": 1},
    Fault.CREATED: {},
    # In a list of reports, it would fall into step with the requests that follow each look into it.
    Fault.SERVER_ERROR: {"every": 2, "endpoints": ["records", "report-create", "report-status", "media"]},
    Fault.CREATE_GATEWAY_TIMEOUT: {"first": 1},
    Fault.LIST_ABSENT: {},
    Fault.LIST_ODD: {},
    Fault.LIST_WITHOUT_FILTERS: {},
    Fault.OFFSETS_WITHOUT_COLON: {},
    Fault.CUT: {"every": 3},
}


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: str(fault.value))
def test_a_fault_that_passes_costs_no_record(sandbox: Sandbox, fault: Fault) -> None:
    sandbox.faults.on(fault, **PASSING[fault])
    output = read(sandbox)
    assert output.code == 0, output.log
    assert len(set(output.ids("amd"))) == ROWS
    assert output.bookmark("amd")["covered"] == [[START.isoformat(), END.isoformat()]]


BROKEN_FILES: dict[Fault, str] = {
    Fault.BAD_CRC: "corrupt",
    Fault.CORRUPT_ZIP: "corrupt",
    Fault.ZIP_WITHOUT_CSV: "no CSV",
    Fault.ZIP_BOMB: "a row has more than",
    Fault.ROW_WIDTH: "but the CSV header has width",
    Fault.HEADER_WITHOUT_ID: "no column id",
    Fault.COUNT_WRONG: "but the API announced",
}
LASTING: dict[Fault, str] = {
    Fault.REPORT_FAILED: "ended as FAILED",
    Fault.REPORT_ABORTED: "ended as ABORTED",
    Fault.REPORT_VANISHED: "report vanished",
    Fault.UNKNOWN_REPORT_STATUS: "documentation does not list",
    Fault.FILE_VANISHED: "its file is gone",
    Fault.FILE_FORBIDDEN: "HTTP 403",
    Fault.DOWNLOAD_CUT_WITHOUT_RANGE: "could not be downloaded (The connection broke",
    Fault.NOT_A_ZIP: "could not be downloaded (The media service sent a body that is not a zip archive",
}


@pytest.mark.promise("An error says what failed, why, and what to do.")
@pytest.mark.parametrize("fault", LASTING, ids=lambda fault: str(fault.value))
def test_a_fault_that_lasts_ends_with_an_error_that_names_it_and_the_next_run_is_complete(
    sandbox: Sandbox, fault: Fault
) -> None:
    sandbox.faults.on(fault)
    output = read(sandbox)
    assert isinstance(output.error, SyncFailedError)
    assert LASTING[fault] in str(output.error)
    assert "covered" not in str(output.state)
    sandbox.faults.off(fault)
    resumed = read(sandbox, output.state)
    assert resumed.code == 0, resumed.log
    assert len(set(resumed.ids("amd"))) == ROWS


@pytest.mark.promise("Requested reports stay in state for the next run.")
def test_a_page_in_place_of_the_file_costs_no_second_report(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.NOT_A_ZIP)
    output = read(sandbox)
    sandbox.faults.off(Fault.NOT_A_ZIP)
    assert endpoints(sandbox)["media"] == ReportsClient.retry_policy.max_tries
    assert read(sandbox, output.state).code == 0
    assert len(created(sandbox)) == 1


@pytest.mark.parametrize("status", [201, 202])
def test_a_report_that_is_answered_with_another_success_is_used(sandbox: Sandbox, status: int) -> None:
    sandbox.faults.on(Fault.CREATED, status)
    output = read(sandbox)
    assert output.code == 0
    assert len(output.ids("amd")) == ROWS
    assert endpoints(sandbox)["report-create"] == 1


@pytest.mark.parametrize("fault", [Fault.REPORT_VANISHED, Fault.FILE_VANISHED, Fault.FILE_FORBIDDEN])
def test_a_report_that_is_not_there_yet_is_waited_for_and_not_paid_for_again(sandbox: Sandbox, fault: Fault) -> None:
    sandbox.faults.on(fault, first=5)
    output = read(sandbox)
    assert output.code == 0, output.log
    assert len(set(output.ids("amd"))) == ROWS
    assert len(created(sandbox)) == 1
    assert "check 5 of 10" in output.log


def test_reports_of_other_partitions_are_polled_while_a_file_is_not_there_yet(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    sandbox = make_sandbox(rows={"*": Within(20, START, END)}, polls=4)
    sandbox.faults.on(Fault.FILE_VANISHED, products=["AMD"], first=8)
    output = read(sandbox, streams=("amd", "voice_tts", "websocket_call"), max_concurrent_reports=2)
    assert output.code == 0, output.log
    log = [(entry.endpoint, entry.product) for entry in sandbox.requests.log]
    found = len(log) - log[::-1].index(("media", "AMD"))
    assert ("report-status", "WEBSOCKET-CALL") in log[log.index(("media", "AMD")) : found]
    assert len(created(sandbox)) == 3


@pytest.mark.parametrize("mode", ["auto", "async"])
@pytest.mark.parametrize("fault", BROKEN_FILES, ids=lambda fault: str(fault.value))
def test_a_window_whose_file_cannot_be_read_is_read_by_pages_and_paid_for_once(
    sandbox: Sandbox, fault: Fault, mode: str
) -> None:
    sandbox.faults.on(fault)
    output = read(sandbox, fetch_mode=mode)
    assert output.code == 0, output.log
    assert len(output.ids("amd")) == ROWS
    assert BROKEN_FILES[fault] in output.log
    assert "reading the window by pages instead" in output.log
    assert len(created(sandbox)) == 1
    assert endpoints(sandbox)["media"] <= 2
    (partition,) = (output.state or {})["bookmarks"]["amd"]["partitions"]
    assert partition["covered"] == [[START.isoformat(), END.isoformat()]]
    # Not even where the same time has to be read again.
    again = read(sandbox, {"bookmarks": {"amd": {"partitions": [{**partition, "covered": []}]}}}, fetch_mode=mode)
    assert again.code == 0, again.log
    assert len(again.ids("amd")) == ROWS
    assert len(created(sandbox)) == 1


def test_a_refused_file_is_remembered_by_a_run_that_does_not_get_to_the_pages(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.HEADER_WITHOUT_ID)
    sandbox.faults.on(Fault.SERVER_ERROR, products=["AMD"], endpoints=["records"])
    runs = [read(sandbox)]
    for _ in range(2):
        runs.append(read(sandbox, runs[-1].state))
    assert [run.code for run in runs] == [1, 1, 1]
    assert len(created(sandbox)) == 1
    for fault in (Fault.SERVER_ERROR, Fault.HEADER_WITHOUT_ID):
        sandbox.faults.off(fault)
    last = read(sandbox, runs[-1].state)
    assert (last.code, len(last.ids("amd")), len(created(sandbox))) == (0, ROWS, 1)
    # It is forgotten once nothing of it may be read again.
    assert last.bookmark("amd")["refused_reports"]
    assert "refused_reports" not in str(read(sandbox, last.state, end_date="2026-11-13").state)


def test_reports_behind_a_refused_one_are_read(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.ROW_WIDTH, first=1, after=1)
    output = read(sandbox, report_window_days=2)
    assert (output.code, len(output.ids("amd"))) == (0, ROWS)
    assert len(created(sandbox)) == 5
    assert output.bookmark("amd")["covered"] == [[START.isoformat(), END.isoformat()]]


def test_a_refused_file_of_a_stream_whose_filter_pages_do_not_know_is_an_error_and_paid_for_once(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    sandbox = make_sandbox(rows={"sms/outbound": Within(ROWS, START, END)}, faults=[Fault.HEADER_WITHOUT_ID])
    filters = {"sms": {"filters": {"client_ref": "campaign", "direction": "outbound"}}}
    first = read(sandbox, streams=("sms",), stream_options=filters)
    second = read(sandbox, first.state, streams=("sms",), stream_options=filters)
    for output in (first, second):
        assert "works only for reports" in str(output.error)
        assert "2026-11-01 00:00 to 2026-11-11 00:00" in str(output.error)
    assert len(created(sandbox)) == 1
    assert "SMS" not in {entry.product for entry in sandbox.requests.log if entry.endpoint == "records"}


@contextmanager
def clock_of_reports(clock: SimpleNamespace) -> Generator[None, None, None]:
    """Replace the monotonic clock and the sleep of all that handles reports."""
    with ExitStack() as stack:
        for module in ("creation", "fetcher", "job", "polls", "scheduler"):
            stack.enter_context(mock.patch(f"tap_vonage_reports.extract.reports.{module}.time", clock))
        yield


TOO_SLOW = {Fault.REPORT_STUCK: "did not start", Fault.REPORT_PROCESSING_FOR_EVER: "did not finish"}


@pytest.mark.parametrize(("fault", "said"), TOO_SLOW.items())
def test_a_report_that_takes_too_long_is_an_error_that_says_what_to_change(
    sandbox: Sandbox, fault: Fault, said: str
) -> None:
    sandbox.faults.on(fault)
    moments = itertools.count(0.0, 60.0)
    clock = SimpleNamespace(monotonic=lambda: next(moments), sleep=lambda _seconds: None)
    with clock_of_reports(clock):
        output = read(sandbox, report_timeout_minutes=30)
    assert said in str(output.error)
    assert "report_timeout_minutes" in str(output.error)
    assert output.bookmark("amd")["reports"]


def test_an_api_that_never_has_room_for_a_report_is_an_error(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.CREATE_TOO_MANY_REQUESTS)
    moments = itertools.count(0.0, 60.0)
    clock = SimpleNamespace(monotonic=lambda: next(moments), sleep=lambda _seconds: None)
    with clock_of_reports(clock):
        output = read(sandbox)
    assert "accepts no more reports" in str(output.error)


def test_a_full_disk_is_an_error_that_says_so(sandbox: Sandbox) -> None:
    with mock.patch.object(ReportsClient, "download", side_effect=OSError(28, "No space left on device")):
        output = read(sandbox)
    assert "No space left" in str(output.error)
    assert "TMPDIR" in str(output.error)
    assert output.bookmark("amd")["reports"]
    assert len(read(sandbox, output.state).ids("amd")) == ROWS
    assert len(created(sandbox)) == 1


def test_a_report_that_is_cut_short_arrives_in_halves_and_the_size_is_kept(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.REPORT_TRUNCATED, 100)
    first = read(sandbox)
    assert len(set(first.ids("amd"))) == ROWS
    assert first.bookmark("amd")["report_hours"] <= 60
    sandbox.requests.reset()
    second = read(sandbox, {"bookmarks": {"amd": {"partitions": [{**first.bookmark("amd"), "covered": []}]}}})
    assert statuses(sandbox) == {200}
    assert "truncated" not in second.log
    assert len(set(second.ids("amd"))) == ROWS


def test_reports_after_a_truncated_one_grow_again(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": Within(ROWS, START, START + timedelta(hours=12))})
    sandbox.faults.on(Fault.REPORT_TRUNCATED, 200, first=4)
    output = read(sandbox, max_concurrent_reports=1)
    assert output.code == 0, output.log
    assert len(set(output.ids("amd"))) == ROWS
    # Halved to 15 hours; ten days at that length are 16 reports, beside the four that were truncated. Some more or less
    # are requested before the fourth small one is read, and the next are longer.
    assert len(created(sandbox)) < 20
    assert "report_hours" in str(output.states)
    dates: dict[str, Any] = {"start_date": END.isoformat(), "end_date": (END + timedelta(days=9)).isoformat()}
    sandbox.requests.reset()
    read(sandbox, output.state, max_concurrent_reports=1, **dates)
    assert len(created(sandbox)) <= 4


def test_an_hour_that_no_report_can_hold_is_read_by_pages(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": Within(500, START, START + timedelta(hours=1))})
    sandbox.faults.on(Fault.REPORT_TRUNCATED, 100)
    dates: dict[str, Any] = {"end_date": (START + timedelta(hours=8)).isoformat()}
    output = read(sandbox, **dates)
    assert output.code == 0, output.log
    assert len(set(output.ids("amd"))) == 500
    assert (
        "truncated by the API although it covers no more than an hour, reading the window by pages instead"
        in output.log
    )


@pytest.mark.parametrize(
    "fault", ["csv-bom", "empty-report-without-link", "empty-report-blank=0", "empty-report-blank=1", "csv-blank-lines"]
)
def test_a_report_without_rows_moves_the_bookmark(make_sandbox: Callable[..., Sandbox], fault: str) -> None:
    sandbox = make_sandbox(faults=[fault])
    output = read(sandbox)
    assert output.code == 0
    assert len(created(sandbox)) == 1
    assert "reading the window by pages instead" not in output.log
    assert output.bookmark("amd")["covered"] == [[START.isoformat(), END.isoformat()]]


def test_a_report_of_an_earlier_run_is_taken_up(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.SERVER_ERROR, endpoints=["media"])
    first = read(sandbox)
    assert first.bookmark("amd")["reports"]
    sandbox.faults.off(Fault.SERVER_ERROR)
    second = read(sandbox, first.state)
    assert len(second.ids("amd")) == ROWS
    assert len(created(sandbox)) == 1


def test_rows_of_a_report_that_was_taken_up_late_are_looked_at_again(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"sms/outbound": 60})
    more: dict[str, Any] = {"start_date": "2026-11-10", "end_date": None, "streams": ("sms",)}
    sandbox.faults.on(Fault.SERVER_ERROR, endpoints=["media"])
    runs = [read(sandbox, **more)]
    sandbox.faults.off(Fault.SERVER_ERROR)
    for hours in (60, 1):
        sandbox.clock.advance(hours=hours)
        runs.append(read(sandbox, runs[-1].state, **more))
    latest = {record["id"]: record["status"] for run in runs for record in run.records["sms"]}
    bounds = datetime(2026, 11, 10, tzinfo=timezone.utc), datetime(2026, 11, 20, 11, tzinfo=timezone.utc)
    truth = {row["id"]: row["status"] for row in sandbox.expected("sms", None, "outbound", *bounds)}
    assert "resuming report" in runs[1].log
    assert {key: latest.get(key) for key in truth} == truth


@pytest.mark.parametrize("days", [3.5, 5])
def test_a_report_that_is_too_old_is_asked_for_again(sandbox: Sandbox, days: float) -> None:
    sandbox.faults.on(Fault.SERVER_ERROR, endpoints=["media"])
    first = read(sandbox)
    sandbox.faults.off(Fault.SERVER_ERROR)
    sandbox.clock.advance(days=days)
    sandbox.requests.reset()
    second = read(sandbox, first.state)
    assert len(second.ids("amd")) == ROWS
    assert len(created(sandbox)) == 1
    lost = {entry.endpoint for entry in sandbox.requests.log if entry.status == 404}
    assert lost == ({"media"} if days < 4 else set())


def test_a_report_that_does_not_fit_any_more_is_cancelled_and_forgotten(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"sms": Within(50, START, END)})
    sandbox.faults.on(Fault.REPORT_STUCK)
    sandbox.faults.on(Fault.SERVER_ERROR, endpoints=["report-status"])
    first = read(sandbox, streams=("sms",))
    sandbox.faults.off(Fault.SERVER_ERROR)
    sandbox.faults.off(Fault.REPORT_STUCK)
    assert first.bookmark("sms", direction="outbound")["reports"]
    second = read(sandbox, first.state, streams=("sms",), include_message=True)
    assert endpoints(sandbox)["report-cancel"] == 2
    assert len(second.ids("sms")) == 100
    assert "reports" not in second.bookmark("sms", direction="outbound")


def test_a_product_that_the_account_lacks_is_skipped(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.FORBIDDEN, products=["ASR"])
    output = read(sandbox, streams=("amd", "asr"), report_window_days=3)
    assert output.code == 0
    assert len(output.ids("amd")) == ROWS
    assert "asr, outbound, primary account: skipped" in output.log


def test_the_log_says_what_reports_are_doing(sandbox: Sandbox) -> None:
    lines = read(sandbox).log.splitlines()
    report = "amd, primary account: report of 2026-11-01 00:00 to 2026-11-11 00:00: "
    said = [line.removeprefix(report) for line in lines if line.startswith(report)]
    assert len(said) == 2
    assert said[0] == "requested"
    assert said[1].startswith("read (300 rows in ")
    assert said[1].endswith("rows/s; reports left: 0)")
    halves = read(sandbox, report_window_days=5, adopt_reports=False).log
    assert "amd, primary account: syncing 2026-11-01 00:00 to 2026-11-11 00:00 in 2 reports" in halves


def test_no_temporary_file_is_left(sandbox: Sandbox, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    read(sandbox)
    sandbox.faults.on(Fault.CORRUPT_ZIP)
    read(sandbox)
    assert [path for path in tmp_path.iterdir() if "sandbox" not in path.name] == []


def test_reports_that_are_given_up_do_not_hold_up_those_of_other_partitions(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    sandbox = make_sandbox(rows={"amd": Within(ROWS, START, END)}, subaccount_keys=["sub00001"])
    several: dict[str, Any] = {
        "account_ids": [sandbox.api_key, "sub00001"],
        "report_window_days": 1,
        "max_concurrent_reports": 2,
    }
    sandbox.faults.on(Fault.DOWNLOAD_CUT_WITHOUT_RANGE, accounts=["sub00001"])
    first = read(sandbox, **several)
    left = first.bookmark("amd", account_id="sub00001")["reports"]
    sandbox.faults.on(Fault.UNKNOWN_REPORT_STATUS, accounts=["sub00001"])
    # The second account's reports are taken up and fail while the first one still needs some.
    again = read(sandbox, first.state, **several, start_date=(START - timedelta(days=5)).isoformat())
    assert len(left) >= 2
    assert "1 of 2 partitions" in str(again.error)
    assert len(again.bookmark("amd", account_id=sandbox.api_key)["covered"]) == 1
    assert again.bookmark("amd", account_id=sandbox.api_key)["covered"][0][0] == "2026-10-27T00:00:00+00:00"
    assert len(again.bookmark("amd", account_id="sub00001")["reports"]) <= len(left) + MAX_GAPS_IN_A_ROW
