"""Rows that a run left out are read by a later one, even if an account moves or leaves the list in between."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from tap_vonage_reports.extract.reports.adoption import ReportFinder
from tap_vonage_reports.sandbox import Fault
from tests.extract.test_adoption import Listing, echo_of
from tests.extract.test_report_jobs import planned
from tests.planning.test_windows import at
from tests.together import BY_ID, KEYS, SAMPLE, maker, of_all, requests, rows, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_vonage_reports.api.client import ReportsClient
    from tap_vonage_reports.sandbox import Sandbox
    from tests.harness import Output

FIRST_DAY = "2026-11-14T02:00:00Z"
"""A time in the first of seven days before the sandbox's now, so that nothing before it is read."""


@pytest.fixture
def make(make_sandbox: Callable[..., Sandbox]) -> Callable[..., Sandbox]:
    return maker(make_sandbox)


def run_without_start(sandbox: Sandbox, mode: str, state: Any = None, **settings: Any) -> Output:
    given: dict[str, Any] = {"start_date": None, "report_window_days": 1, **settings}
    return run(sandbox, mode, state, **given)


def expected(sandbox: Sandbox, since: str, **settings: Any) -> set[bytes]:
    return set(rows(run(sandbox, "each", start_date=since, **settings)))


@pytest.mark.promise("Nothing is lost. The bookmark only moves over time that was read completely.")
@pytest.mark.parametrize(("first", "second"), [("each", "together"), ("together", "each")])
def test_what_the_first_run_left_out_is_read_after_a_move_days_later_without_a_start_date(
    make: Callable[..., Sandbox], first: str, second: str
) -> None:
    sandbox = make(*KEYS[:2])
    with sandbox.faults.during(Fault.WINDOW_FAILED, FIRST_DAY):
        failed = run_without_start(sandbox, first)
    sandbox.clock.advance(hours=48)
    moved = run_without_start(sandbox, second, failed.state)
    assert (failed.code, moved.code) == (1, 0)
    assert expected(sandbox, "2026-11-13T12:00:00Z") <= set(rows(failed, moved))


@pytest.mark.parametrize("mode", ["each", "together"])
def test_what_was_left_out_of_an_account_that_left_is_read_when_it_comes_back(
    make: Callable[..., Sandbox], mode: str
) -> None:
    sandbox = make(*KEYS[:2])
    with sandbox.faults.during(Fault.WINDOW_FAILED, FIRST_DAY):
        outputs = [run_without_start(sandbox, "together")]
    account = sandbox.accounts.remove(KEYS[1])
    outputs.append(run_without_start(sandbox, "together", outputs[-1].state))
    sandbox.clock.advance(hours=48)
    sandbox.accounts.add(account)
    outputs.append(run_without_start(sandbox, mode, outputs[-1].state))
    assert [output.code for output in outputs] == [1, 0, 0]
    assert expected(sandbox, "2026-11-13T12:00:00Z") <= set(rows(*outputs))


@pytest.mark.parametrize("status_refresh", ["window", "ids"])
def test_accounts_that_have_no_time_in_common_are_read_from_where_each_of_them_ends(
    make: Callable[..., Sandbox], status_refresh: str
) -> None:
    sandbox = make(KEYS[0], rows={SAMPLE: 60})
    settings = {**BY_ID, "status_refresh": status_refresh}
    outputs = [run_without_start(sandbox, "none", account_ids=[KEYS[0]], **settings)]
    sandbox.clock.advance(hours=24 * 20)
    outputs.append(run_without_start(sandbox, "none", outputs[-1].state, account_ids=[sandbox.api_key], **settings))
    outputs.append(run_without_start(sandbox, "together", outputs[-1].state, **settings))
    everything = expected(sandbox, "2026-11-13T12:00:00Z", **settings, account_ids=[KEYS[0]])
    assert {row for row in everything if KEYS[0].encode() in row} <= set(rows(*outputs))


@pytest.mark.parametrize("waits", [True, False])
def test_no_report_is_adopted_that_was_requested_while_an_account_was_away(
    make: Callable[..., Sandbox], *, waits: bool
) -> None:
    sandbox = make(*KEYS[:2], polls=1 if waits else 2)
    settings: dict[str, Any] = {"report_window_days": 1, "adopt_reports": True}
    outputs = [run(sandbox, "together", **settings)]
    account = sandbox.accounts.remove(KEYS[1])
    sandbox.clock.advance(hours=48)
    outputs.append(run(sandbox, "together", outputs[-1].state, **settings, wait_for_reports=waits))
    sandbox.accounts.add(account)
    sandbox.faults.on(Fault.SERVER_ERROR, accounts=[KEYS[1]])
    outputs.append(run(sandbox, "each", outputs[-1].state, **settings))
    sandbox.faults.off(Fault.SERVER_ERROR)
    outputs.append(run(sandbox, "together", outputs[-1].state, **settings))
    assert [output.code for output in outputs] == [0, 0, 1, 0]
    assert rows(*outputs) == rows(run(sandbox, "each"))


@pytest.mark.parametrize("mode", ["each", "together"])
def test_no_report_of_a_lost_state_is_adopted_if_an_earlier_state_says_that_an_account_was_away(
    make: Callable[..., Sandbox], mode: str
) -> None:
    sandbox = make(*KEYS[:2])
    outputs = [run(sandbox, "together")]
    account = sandbox.accounts.remove(KEYS[1])
    outputs.append(run(sandbox, "together", outputs[-1].state))
    sandbox.clock.advance(hours=24)
    run(sandbox, "together", outputs[-1].state)  # its state is lost, its reports are at the API
    sandbox.clock.advance(hours=1)
    sandbox.accounts.add(account)
    if mode == "each":
        sandbox.faults.on(Fault.SERVER_ERROR, accounts=[KEYS[1]])
        outputs.append(run(sandbox, "each", outputs[-1].state))
        sandbox.faults.off(Fault.SERVER_ERROR)
    outputs.append(run(sandbox, "together", outputs[-1].state, adopt_reports=True))
    assert outputs[-1].code == 0
    assert rows(*outputs) == rows(run(sandbox, "each"))


def test_no_report_is_adopted_that_was_requested_before_a_known_list_had_an_account(
    make: Callable[..., Sandbox],
) -> None:
    sandbox = make(*KEYS[:2])
    with sandbox.faults.during(Fault.SUBACCOUNTS_REFUSED):
        outputs = [run(sandbox, "together")]  # the list is known, and nothing was read
    account = sandbox.accounts.remove(KEYS[1])
    with sandbox.faults.during(Fault.SUBACCOUNTS_REFUSED):
        outputs.append(run(sandbox, "together", outputs[-1].state))
    run(sandbox, "together", outputs[-1].state)  # its state is lost, its reports are at the API
    sandbox.clock.advance(hours=1)
    sandbox.accounts.add(account)
    outputs.append(run(sandbox, "together", outputs[-1].state, adopt_reports=True))
    assert [output.code for output in outputs] == [1, 1, 0]
    assert rows(*outputs) == rows(run(sandbox, "each"))


@pytest.mark.parametrize(("since", "is_found"), [(at(0) - timedelta(seconds=1), True), (at(0), False), (None, False)])
def test_no_report_is_left_to_the_list_that_the_next_run_would_not_adopt(
    since: datetime | None, *, is_found: bool
) -> None:
    job = planned()
    job.sync.partition = replace(job.sync.partition, with_subaccounts=True)
    job.request_id, job.requested_at = "mine", at(0)
    api = Listing(echo_of(job, request_id="mine"))
    finder = ReportFinder(
        cast("ReportsClient", api), enabled=True, needs_list=lambda: True, accounts_since=lambda: since
    )
    finder.verify_list(job)
    assert finder.will_find(job) is is_found


def test_the_state_forgets_which_reports_not_to_adopt_once_vonage_has_forgotten_them(
    make: Callable[..., Sandbox],
) -> None:
    sandbox = make(*KEYS[:2])
    together = run(sandbox, "together")
    each = run(sandbox, "each", together.state)
    assert [part.keys() for part in of_all(each)] == [{"context", "adopt_after"}] * 2
    sandbox.clock.advance(hours=73)
    assert of_all(run(sandbox, "each", each.state)) == []


@pytest.mark.parametrize("has_rows", [True, False])
def test_an_account_that_catches_up_is_skipped_only_if_no_report_has_rows_of_it(
    make: Callable[..., Sandbox], *, has_rows: bool
) -> None:
    none = {f"{SAMPLE}/{direction}/{KEYS[1]}": 0 for direction in ("outbound", "inbound")}
    sandbox = make(*KEYS[:2], rows={SAMPLE: 12, **({} if has_rows else none)})
    outputs = [run(sandbox, "none")]
    sandbox.clock.advance(hours=12)
    sandbox.faults.on(Fault.FORBIDDEN, accounts=[KEYS[1]])
    outputs.append(run(sandbox, "together", outputs[-1].state))
    assert outputs[-1].code == has_rows
    sandbox.faults.off(Fault.FORBIDDEN)
    outputs.append(run(sandbox, "together", outputs[-1].state))
    assert rows(*outputs) == rows(run(sandbox, "each"))


def test_reports_in_the_place_of_lookups_are_read_by_a_later_run_that_does_not_wait(
    make: Callable[..., Sandbox],
) -> None:
    sandbox = make(*KEYS, rows={SAMPLE: 300}, polls=3)
    outputs = [run(sandbox, "together", **BY_ID)]
    sandbox.clock.advance(hours=30)
    with sandbox.faults.during(Fault.IDS_NOT_FOUND):
        for _ in range(6):
            outputs.append(run(sandbox, "together", outputs[-1].state, **BY_ID, wait_for_reports=False))
            assert requests(sandbox)["report-cancel"] == 0
    assert [output.code for output in outputs] == [0] * 7
    assert rows(*outputs) == rows(run(sandbox, "each"))


def test_a_state_that_leaves_windows_of_all_accounts_to_pages_is_read_by_reports(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS)
    first = run(sandbox, "together", end_date="2026-11-15")
    for part in of_all(first):
        part["refused_reports"] = [
            {
                "date_start": "2026-11-15T00:00:00Z",
                "date_end": "2026-11-17T00:00:00Z",
                "refused_at": "2026-11-19T00:00:00Z",
            }
        ]
    second = run(sandbox, "together", first.state)
    assert second.error is None
    assert rows(first, second) == rows(run(sandbox, "each"))
