"""`subaccounts: together`: one report has the rows of all accounts, and they are the rows that `each` brings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox import Fault
from tap_vonage_reports.tap import TapVonageReports
from tests.harness import Output, settings_for
from tests.together import BY_ID, KEYS, SAMPLE, accounts_in, maker, of_all, requests, rows, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_vonage_reports.sandbox import Sandbox


@pytest.fixture
def make(make_sandbox: Callable[..., Sandbox]) -> Callable[..., Sandbox]:
    return maker(make_sandbox)


# The same rows


@pytest.mark.promise("The call and message records arrive complete, and exact to the last digit of every price.")
@pytest.mark.parametrize("stream", PRODUCTS)
def test_together_brings_the_rows_that_each_brings(make: Callable[..., Sandbox], stream: str) -> None:
    sandbox = make(*KEYS, rows={"*": 0, stream: 60})
    together = run(sandbox, "together", streams=[stream])
    assert together.error is None
    assert "records" not in {entry.endpoint for entry in sandbox.requests.log if entry.product == stream.upper()}
    assert rows(together, stream=stream) == rows(run(sandbox, "each", streams=[stream]), stream=stream) != []
    assert len(accounts_in(together, stream)) > len(KEYS) / 2
    assert [run(sandbox, "together", together.state, [stream]).records[stream]] == [[]]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_together_fills_files_with_the_rows_of_all_accounts(
    make: Callable[..., Sandbox], tmp_path: Path, kind: str
) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    sandbox = make(*KEYS)
    batch = {"encoding": {"format": kind}, "storage": {"root": str(tmp_path)}}
    output = run(sandbox, "together", batch_config=batch)
    assert (output.error, len(list((tmp_path / "sms").iterdir()))) == (None, 2)
    expected = rows(run(sandbox, "each"))
    assert f"{len(expected):,} rows in total" in output.log


def test_the_number_of_requests_does_not_grow_with_the_number_of_accounts(make: Callable[..., Sandbox]) -> None:
    few, many = make(*KEYS[:1]), make(*(f"sub{number:05}" for number in range(60)))
    counts = []
    for sandbox in (few, many):
        first = run(sandbox, "together")
        counts.append(requests(sandbox))
        run(sandbox, "together", first.state)
        counts.append(requests(sandbox))
    assert counts[0] == counts[2]
    assert counts[1] == counts[3]
    assert counts[0]["report-create"] == len(PRODUCTS[SAMPLE].directions)


def test_the_lookback_is_refetched_by_report_and_brings_what_has_changed(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS, rows={SAMPLE: 100})
    first = run(sandbox, "together", lookback_hours=72)
    sandbox.clock.advance(hours=30)
    second = run(sandbox, "together", first.state, lookback_hours=72)
    assert second.error is None
    assert requests(sandbox)["report-create"] == 2
    assert requests(sandbox)["records"] == 1  # the first request, for the clock
    assert rows(first, second) == rows(run(sandbox, "each"))


# Kills and faults


@pytest.mark.promise(
    "It resumes. Killed at any instant, the next run goes on at the page, or the report, where the last one stopped."
)
def test_a_run_that_ends_at_any_state_is_completed_by_the_next(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS)
    whole = run(sandbox, "together", report_window_days=3)
    ends = [number for number, message in enumerate(whole.messages) if message["type"] == "STATE"]
    assert len(ends) > 6
    for end in ends:
        cut = Output(whole.lines[: end + 1])
        rest = run(sandbox, "together", cut.state, report_window_days=3)
        assert rest.error is None
        assert rows(cut, rest) == rows(whole)


def test_a_truncated_report_is_halved_until_it_fits(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS)
    with sandbox.faults.during(Fault.REPORT_TRUNCATED, 20, every=2):
        output = run(sandbox, "together")
    assert output.error is None
    assert "truncated by the API, requesting shorter reports" in output.log
    assert rows(output) == rows(run(sandbox, "each"))


def test_what_a_killed_run_had_requested_is_brought_up_to_date_by_the_one_that_reads_it(
    make: Callable[..., Sandbox],
) -> None:
    sandbox = make(*KEYS, rows={SAMPLE: 100})
    whole = run(sandbox, "together", lookback_hours=72)
    end = next(number for number, message in enumerate(whole.messages) if message["type"] == "STATE")
    requested = Output(whole.lines[: end + 1])
    assert [len(part["reports"]) for part in of_all(requested) if "reports" in part] == [1]
    sandbox.clock.advance(hours=48)
    resumed = run(sandbox, "together", requested.state, lookback_hours=72)
    assert resumed.error is None
    assert "resuming report from an earlier run" in resumed.log
    assert requests(sandbox)["records"] == 1
    assert rows(resumed) == rows(run(sandbox, "each"))
    # Nothing is left to be done.
    assert "refetch" not in run(sandbox, "together", resumed.state, lookback_hours=0).log.replace("refetched", "")


def test_a_report_whose_id_was_lost_is_adopted_in_the_same_way_of_reading_alone(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS)
    run(sandbox, "together")
    again = run(sandbox, "together", adopt_reports=True)
    assert requests(sandbox)["report-create"] == 0
    assert rows(again) == rows(run(sandbox, "each"))
    run(sandbox, "each", adopt_reports=True)
    assert requests(sandbox)["report-create"] == 0
    assert rows(run(sandbox, "none", adopt_reports=True)) != rows(again)


def test_another_report_replaces_one_that_cannot_be_read(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS)
    sandbox.faults.on(Fault.ZIP_BOMB, 0.01, first=1)
    output = run(sandbox, "together")
    assert output.error is None
    assert requests(sandbox)["report-create"] == len(PRODUCTS[SAMPLE].directions) + 1
    assert rows(output) == rows(run(sandbox, "each"))


def test_a_report_that_cannot_be_read_is_no_success_and_pages_do_not_replace_it(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS)
    with sandbox.faults.during(Fault.CORRUPT_ZIP):
        output = run(sandbox, "together")
    assert output.code == 1
    assert "set subaccounts to each" in str(output.error)
    assert "The next run requests another report" in str(output.error)
    assert rows(output) == []
    assert all("covered" not in part for part in of_all(output))
    assert rows(run(sandbox, "together", output.state, adopt_reports=True)) == rows(run(sandbox, "each"))
    # `each` is the way out.
    assert rows(run(sandbox, "each", output.state)) == rows(run(sandbox, "each"))


# The refusal that one user has seen


def test_a_refusal_names_each_as_the_way_out_and_marks_nothing_as_read(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS)
    with sandbox.faults.during(Fault.SUBACCOUNTS_REFUSED):
        output = run(sandbox, "together")
    assert output.code == 1
    assert "Set subaccounts to each" in str(output.error)
    assert "HTTP 403" in str(output.error)
    assert all("covered" not in part for part in of_all(output))
    assert rows(run(sandbox, "each", output.state)) == rows(run(sandbox, "each"))


def test_a_product_that_the_account_does_not_have_is_skipped(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS)
    sandbox.faults.on(Fault.FORBIDDEN, products=["amd"])
    output = run(sandbox, "together", streams=[SAMPLE, "amd"])
    assert output.error is None
    assert "amd, all accounts: skipped." in output.log
    assert rows(output)


# Lookups by ID


def test_non_final_rows_are_looked_up_by_their_own_account(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS, rows={SAMPLE: 100})
    first = run(sandbox, "together", **BY_ID)
    assert requests(sandbox)["records"] == 1  # nothing that this run has read itself
    sandbox.clock.advance(hours=30)
    second = run(sandbox, "together", first.state, **BY_ID)
    lookups = [entry for entry in sandbox.requests.log if entry.ids]
    assert {entry.account for entry in lookups} == {sandbox.api_key, *KEYS}
    assert len(second.records[SAMPLE]) < len(first.records[SAMPLE]) / 2
    assert rows(first, second) == rows(run(sandbox, "each"))


def test_where_ids_are_not_found_a_report_refetches_the_lookback(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS, rows={SAMPLE: 100})
    first = run(sandbox, "together", **BY_ID)
    sandbox.clock.advance(hours=30)
    with sandbox.faults.during(Fault.IDS_NOT_FOUND):
        second = run(sandbox, "together", first.state, **BY_ID)
    assert second.error is None
    assert rows(first, second) == rows(run(sandbox, "each"))


def test_a_report_replaces_lookups_that_would_take_longer(
    make: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = make(*KEYS, rows={SAMPLE: 100})
    first = run(sandbox, "together", **BY_ID)
    sandbox.clock.advance(hours=30)
    monkeypatch.setattr("tap_vonage_reports.planning.lookups.MINUTES_PER_MILLION_ROWS", (0, 0.001))
    second = run(sandbox, "together", first.state, **BY_ID)
    assert sum(entry.ids for entry in sandbox.requests.log) < 10  # only of an hour that the report begins in
    assert rows(first, second) == rows(run(sandbox, "each"))


# Settings and state


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"include_subaccounts": True}, "contradict each other"),
        ({"include_subaccounts": False}, "contradict each other"),
        ({"fetch_mode": "sync"}, "only asynchronous reports can include sub-accounts"),
        ({"stream_options": {"sms": {"fetch_mode": "sync"}}}, "The setting stream_options.sms.fetch_mode cannot be"),
        ({"account_ids": ["sub00001"]}, "account_ids and subaccounts together cannot be combined"),
        ({"stream_options": {"sms": {"filters": {"colour": "red"}}}}, "in mode async"),
    ],
)
def test_settings_that_contradict_together_are_an_error_that_says_why(
    make: Callable[..., Sandbox], settings: dict[str, Any], message: str
) -> None:
    assert message in str(run(make(*KEYS), "together", **settings).error)


@pytest.mark.parametrize(("mode", "older"), [("each", True), ("none", False)])
def test_the_older_setting_may_stand_beside_the_same_choice(
    make: Callable[..., Sandbox], mode: str, *, older: bool
) -> None:
    assert run(make(*KEYS[:1]), mode, include_subaccounts=older).error is None


@pytest.mark.parametrize("accounts", [{"": "=="}, {"yesterday": ""}, {"": "AAAA"}, ["AAAA"], {"": 1}])
def test_a_malformed_list_of_accounts_in_the_state_is_an_error(make: Callable[..., Sandbox], accounts: Any) -> None:
    sandbox = make(*KEYS[:1])
    state = run(sandbox, "together").state
    assert state is not None
    state["bookmarks"][SAMPLE]["partitions"][0]["listed_accounts"] = accounts
    assert "The state of stream sms is malformed" in str(run(sandbox, "together", state).error)


def test_a_bookmark_that_is_set_back_by_hand_is_read_from_there(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS)
    state = run(sandbox, "together").state
    assert state is not None
    for part in state["bookmarks"][SAMPLE]["partitions"]:
        part["replication_key_value"] = "2026-11-18T00:00:00+00:00"
    again = run(sandbox, "together", state)
    assert {row["date_received"][:10] for row in again.records[SAMPLE]} == {"2026-11-18", "2026-11-19", "2026-11-20"}


def test_reports_are_planned_for_the_rows_per_day_that_were_seen(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS)
    first = run(sandbox, "together", start_date="2026-11-16")
    assert first.state is not None
    for part in first.state["bookmarks"][SAMPLE]["partitions"]:
        part["recent_rows"], part["recent_seconds"] = 7_000_000, 86_400
    second = run(sandbox, "together", first.state, start_date="2026-11-12")
    assert second.error is None
    assert "truncated" not in second.log
    # 4.9 million rows at most: 16 hours.
    assert requests(sandbox)["report-create"] == 2 * 6


def test_what_is_refetched_waits_for_no_report_of_a_later_stream(
    make: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tap_vonage_reports.extract.reports.next_report.MAX_UNREAD", 2)
    sandbox = make(*KEYS, rows={"*": 12})
    streams = ["amd", "network_api_event", "verify_api", "verify_v2"]
    whole = run(sandbox, "together", streams=streams, lookback_hours=72)
    end = next(number for number, message in enumerate(whole.messages) if message["type"] == "STATE")
    sandbox.clock.advance(hours=30)
    resumed = run(sandbox, "together", Output(whole.lines[: end + 1]).state, streams, lookback_hours=72)
    assert resumed.error is None
    assert "amd, all accounts: refetching rows that may have changed since an earlier run read them on" in resumed.log


def test_a_context_leads_to_its_partition(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS[:1])
    accounts = TapVonageReports(config=settings_for(sandbox, subaccounts="together")).session.accounts
    sms = PRODUCTS[SAMPLE]
    for partition in (
        accounts.partition(sms, sandbox.api_key, "inbound", with_subaccounts=True),
        accounts.partition(sms, KEYS[0], "outbound"),
        accounts.partition(PRODUCTS["amd"], KEYS[0], None),
    ):
        assert accounts.partition_of(partition.product, partition.context) == partition


def test_an_account_whose_lookups_are_refused_does_not_end_those_of_the_others(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS, rows={SAMPLE: 100})
    first = run(sandbox, "together", **BY_ID)
    sandbox.clock.advance(hours=30)
    sandbox.faults.on(Fault.FORBIDDEN, accounts=[KEYS[0]], endpoints=["records"])
    second = run(sandbox, "together", first.state, **BY_ID)
    assert second.error is None
    assert {entry.account for entry in sandbox.requests.log if entry.ids} == {sandbox.api_key, *KEYS}
    assert rows(first, second) == rows(run(make(*KEYS, rows={SAMPLE: 100}, clock=sandbox.clock.now()), "each"))
    assert "refetching the lookback instead" in second.log


def test_a_product_that_only_a_sub_account_has_is_not_skipped(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS)
    sandbox.faults.on(Fault.FORBIDDEN, products=["amd"], accounts=[sandbox.api_key, *KEYS[:2]])
    output = run(sandbox, "together", streams=[SAMPLE, "amd"])
    assert output.code == 1
    assert "Set subaccounts to each" in str(output.error)


def test_the_reason_is_given_where_accounts_cannot_be_listed(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS)
    sandbox.faults.on(Fault.FORBIDDEN, endpoints=["subaccounts"])
    refused = str(run(sandbox, "together").error)
    assert "The sub-accounts could not be listed: HTTP 403" in refused
    assert "Ask Vonage to enable the Subaccounts API, or set subaccounts to none" in refused
    assert "product" not in refused
    odd = make()
    odd.accounts.add(replace(odd.accounts.primary, key=""))
    assert "listed a sub-account without a usable key" in str(run(odd, "together").error)
