"""A run that does not wait leaves reports to a later run: nothing is marked read, and nothing is requested twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.config.validation import secrets_of
from tap_vonage_reports.sandbox import Fault, Sandbox, Within
from tests.extract.test_reports import END, ROWS, START, created, read
from tests.harness import Output, run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WINDOWS: dict[str, Any] = {"report_window_days": 4}
"""Three reports from START to END."""
HOUR = 3600.0
CALLBACK = "https://example.com/vonage/0123456789abcdef-token"


@pytest.fixture
def sandbox(make_sandbox: Callable[..., Sandbox]) -> Sandbox:
    return make_sandbox(rows={"amd": Within(ROWS, START, END)}, generation_seconds=HOUR)


def request_only(sandbox: Sandbox, state: Mapping[str, Any] | None = None, **more: Any) -> Output:
    return read(sandbox, state, wait_for_reports=False, **{**WINDOWS, **more})


def requested(sandbox: Sandbox) -> list[dict[str, Any]]:
    """The fields of the reports that were requested, as the API repeats them."""
    return [dict(report.plan.given) for report in sandbox.app.reports]


@pytest.mark.promise("Requested reports stay in state for the next run.")
def test_a_run_that_does_not_wait_requests_reports_and_a_later_one_reads_them(sandbox: Sandbox) -> None:
    first = request_only(sandbox)
    assert first.code == 0, first.log
    assert (first.ids("amd"), len(created(sandbox))) == ([], 3)
    bookmark = first.bookmark("amd")
    assert len(bookmark["reports"]) == 3
    assert not bookmark.keys() & {"covered", "replication_key_value", "gaps", "page"}
    assert "3 reports pending (3 requested), the next run continues with them" in first.log

    second = request_only(sandbox, first.state)
    assert (second.code, second.ids("amd"), second.bookmark("amd")) == (0, [], bookmark)

    sandbox.options.generation_seconds = 0
    third = request_only(sandbox, second.state)
    assert third.code == 0, third.log
    assert len(set(third.ids("amd"))) == len(third.ids("amd")) == ROWS
    assert "pending" not in third.log
    assert third.bookmark("amd")["covered"] == [[START.isoformat(), END.isoformat()]]
    assert len(created(sandbox)) == 3


@pytest.mark.promise("Nothing is lost. The bookmark only moves over time that was read completely.")
def test_the_bookmark_ends_before_a_report_that_is_not_ready(sandbox: Sandbox) -> None:
    sandbox.options.generation_seconds = 0
    sandbox.faults.on(Fault.REPORT_STUCK, after=1, first=1)
    first = request_only(sandbox)
    output = request_only(sandbox, first.state)
    assert output.code == first.code == 0, output.log
    assert "2 reports pending (2 requested)" in output.log
    bookmark = output.bookmark("amd")
    assert bookmark["covered"] == [["2026-11-01T00:00:00+00:00", "2026-11-05T00:00:00+00:00"]]
    assert bookmark["replication_key_value"] == "2026-11-05T00:00:00+00:00"
    assert "gaps" not in bookmark
    assert len(bookmark["reports"]) == 2
    expected = sandbox.expected("amd", None, None, START, START.replace(day=5))
    assert sorted(first.ids("amd") + output.ids("amd")) == sorted(row["id"] for row in expected)
    assert len(created(sandbox)) == 3


def test_pages_behind_a_pending_report_wait_and_other_partitions_are_read(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 40, "asr": 40}, generation_seconds=HOUR)
    settings = settings_for(
        sandbox, start_date="2026-11-01", wait_for_reports=False, stream_options={"asr": {"fetch_mode": "sync"}}
    )
    output = run_tap(settings, ["amd", "asr"])
    assert output.code == 0, output.log
    assert "1 report pending (1 requested), the next run continues with it" in output.log
    assert output.ids("amd") == []
    assert output.ids("asr")
    results = {
        line.split()[-8]: line.split()[-1] for line in output.log.splitlines() if line.endswith(("pending", "read"))
    }
    assert results == {"amd": "pending", "asr": "read"}

    sandbox.options.generation_seconds = 0
    following = run_tap(settings, ["amd", "asr"], output.state)
    assert following.bookmark("amd")["covered"] == [["2026-11-01T00:00:00+00:00", "2026-11-20T11:59:00+00:00"]]


def test_reports_that_are_left_count_toward_the_limit_of_reports_in_flight(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    accounts = ["sub00001", "sub00002"]
    sandbox = make_sandbox(rows={"amd": 40}, subaccount_keys=accounts, generation_seconds=HOUR)
    options: dict[str, Any] = {"max_concurrent_reports": 2, "include_subaccounts": True}
    output = request_only(sandbox, **options)
    assert output.code == 0, output.log
    assert "9 reports pending (2 requested), the next run continues with them" in output.log
    assert sandbox.requests.most_in_flight == 2
    output = request_only(sandbox, output.state, **options)
    assert (output.code, len(created(sandbox))) == (0, 2)
    sandbox.options.generation_seconds = 0
    for _ in range(9):
        output = request_only(sandbox, output.state, **options)
    assert "pending" not in output.log
    assert len(created(sandbox)) == 9
    assert sandbox.requests.most_in_flight <= 2


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.REPORT_VANISHED])
def test_a_report_that_is_ready_is_not_left_because_a_poll_fails(sandbox: Sandbox, fault: Fault) -> None:
    first = request_only(sandbox)
    sandbox.options.generation_seconds = 0
    sandbox.faults.on(fault, first=4, endpoints=["report-status"])
    output = request_only(sandbox, first.state)
    assert output.code == 0, output.log
    assert len(output.ids("amd")) == ROWS


def test_a_report_whose_file_is_late_is_not_left(sandbox: Sandbox) -> None:
    first = request_only(sandbox)
    sandbox.options.generation_seconds = 0
    sandbox.faults.on(Fault.FILE_VANISHED, first=2)
    output = request_only(sandbox, first.state)
    assert output.code == 0, output.log
    assert len(output.ids("amd")) == ROWS


def test_a_request_that_fails_is_repeated_by_a_run_that_does_not_wait(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.SERVER_ERROR, first=2, endpoints=["report-create"])
    output = request_only(sandbox)
    assert output.code == 0, output.log
    assert len(output.bookmark("amd")["reports"]) == 3


def test_a_batch_run_leaves_reports_as_well(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> None:
    files = {"encoding": {"format": "jsonl"}, "storage": {"root": str(tmp_path_factory.mktemp("files"))}}
    first = request_only(sandbox, batch_config=files)
    assert (first.code, len(first.bookmark("amd")["reports"])) == (0, 3)
    assert not [message for message in first.messages if message["type"] == "BATCH"]


# The callback


def test_every_report_is_requested_with_the_callback_and_nothing_else_of_it_changes(sandbox: Sandbox) -> None:
    request_only(sandbox, report_window_days=5)
    request_only(sandbox, report_window_days=5, report_callback_url=CALLBACK, adopt_reports=False)
    plain, called = requested(sandbox)[:2], requested(sandbox)[2:]
    assert called == [{**fields, "callback_url": CALLBACK} for fields in plain]


@pytest.mark.parametrize("keeps_state", [True, False])
@pytest.mark.parametrize(("before", "after"), [("", CALLBACK), (CALLBACK, ""), (CALLBACK, f"{CALLBACK}?v=2")])
def test_reports_are_resumed_and_adopted_whatever_callback_they_were_requested_with(
    sandbox: Sandbox, before: str, after: str, *, keeps_state: bool
) -> None:
    urls: list[dict[str, Any]] = [{"report_callback_url": url} if url else {} for url in (before, after)]
    first = request_only(sandbox, **urls[0])
    sandbox.clock.advance(hours=1)
    sandbox.options.generation_seconds = 0
    output = request_only(sandbox, first.state if keeps_state else None, **urls[1])
    assert output.code == 0, output.log
    assert len(output.ids("amd")) == ROWS
    assert len(created(sandbox)) == 3


@pytest.mark.promise("No secret and no personal datum ever reaches a log line or an error message.")
def test_no_part_of_the_callback_that_may_be_a_token_is_logged(sandbox: Sandbox) -> None:
    query = f"{CALLBACK}?token=fedcba9876543210-query"
    secrets = secrets_of({"report_callback_url": query})
    assert {query, query.removeprefix("https://"), "0123456789abcdef-token", "fedcba9876543210-query"} <= set(secrets)
    output = request_only(sandbox, report_callback_url=query)
    assert output.code == 0
    assert not any(secret in output.log for secret in secrets)


def test_the_setting_is_unused_where_no_report_is_requested(sandbox: Sandbox) -> None:
    output = read(sandbox, fetch_mode="sync", report_callback_url=CALLBACK, wait_for_reports=False)
    assert (output.code, len(output.ids("amd"))) == (0, ROWS)
