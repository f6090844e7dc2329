"""Accounts come and go, and `each` and `together` take turns: nothing is lost, and what was read counts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.sandbox import Fault
from tests.harness import Output
from tests.together import BY_ID, KEYS, SAMPLE, accounts_in, maker, rows, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_vonage_reports.sandbox import Sandbox


@pytest.fixture
def make(make_sandbox: Callable[..., Sandbox]) -> Callable[..., Sandbox]:
    return maker(make_sandbox)


# The list of accounts


def test_an_account_that_is_added_is_read_from_the_start_date(make: Callable[..., Sandbox]) -> None:
    before, after = make(*KEYS[:3]), make(*KEYS)
    first = run(before, "together")
    second = run(after, "together", first.state)
    assert second.error is None
    assert accounts_in(second) == {KEYS[3]}
    assert rows(first, second) == rows(run(after, "each"))
    third = run(after, "together", second.state)
    assert third.records[SAMPLE] == []
    # It has caught up: nothing speaks of it apart any more.
    assert third.state is not None
    assert {part["context"]["account_id"] for part in third.state["bookmarks"][SAMPLE]["partitions"]} == {
        before.api_key
    }


def test_an_account_that_is_added_while_a_report_waits_is_read_from_the_start_date(
    make: Callable[..., Sandbox],
) -> None:
    before, after = make(*KEYS[:3]), make(*KEYS)
    whole = run(before, "together")
    end = next(number for number, message in enumerate(whole.messages) if message["type"] == "STATE")
    pending = Output(whole.lines[: end + 1])
    after.faults.on(Fault.REPORT_VANISHED, first=0)
    second = run(after, "together", pending.state)
    assert second.error is None
    assert rows(second) == rows(run(after, "each"))


def test_an_account_that_is_removed_keeps_what_was_read(make: Callable[..., Sandbox]) -> None:
    before, after = make(*KEYS), make(*KEYS[:3])
    first = run(before, "together")
    after.clock.advance(hours=24)
    second = run(after, "together", first.state)
    assert second.error is None
    assert KEYS[3] not in accounts_in(second)
    after_all = rows(run(after, "each"))
    assert set(after_all) <= set(rows(first, second))


def test_an_account_that_comes_back_is_read_for_the_time_in_between(make: Callable[..., Sandbox]) -> None:
    with_it, without = make(*KEYS), make(*KEYS[:3])
    first = run(with_it, "together")
    for sandbox in (with_it, without):
        sandbox.clock.advance(hours=24)
    second = run(without, "together", first.state)
    with_it.clock.advance(hours=24)
    third = run(with_it, "together", second.state)
    assert rows(first, second, third) == rows(run(with_it, "each"))


def test_rows_of_accounts_that_are_not_listed_are_kept_and_counted(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS)
    expected = rows(run(sandbox, "each"))
    with sandbox.faults.during(Fault.SUBACCOUNTS_UNLISTED, 2):
        output = run(sandbox, "together")
    assert rows(output) == expected
    foreign = sum(row["account_id"] in KEYS[2:] for row in output.records[SAMPLE])
    assert foreign
    assert f"{foreign} rows of accounts that the Subaccounts API does not list" in output.log


@pytest.mark.parametrize(("ignored", "warns"), [(True, True), (False, False)])
def test_reports_with_the_primary_accounts_rows_alone_are_a_warning(
    make: Callable[..., Sandbox], *, ignored: bool, warns: bool
) -> None:
    sandbox = make(*KEYS)
    if ignored:
        sandbox.faults.on(Fault.SUBACCOUNTS_IGNORED)
    output = run(sandbox, "together")
    assert output.error is None
    assert ("all rows are the primary account's" in output.log) == warns
    assert "all rows" not in run(make(), "together").log  # without sub-accounts that is right


# From one way to the other


@pytest.mark.parametrize(("first", "second"), [("each", "together"), ("together", "each")])
def test_a_move_reads_nothing_again_and_loses_nothing(make: Callable[..., Sandbox], first: str, second: str) -> None:
    sandbox = make(*KEYS)
    before = run(sandbox, first)
    assert run(sandbox, second, before.state).records[SAMPLE] == []
    sandbox.clock.advance(hours=24)
    after = run(sandbox, second, before.state)
    expected = rows(run(sandbox, "each"))
    assert rows(before, after) == expected
    assert len(after.records[SAMPLE]) == len(expected) - len(rows(before))
    back = run(sandbox, first, after.state)
    assert (back.error, back.records[SAMPLE]) == (None, [])


def test_a_move_to_together_counts_what_all_accounts_have_in_common(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS)
    early = run(sandbox, "none", end_date="2026-11-18", account_ids=[sandbox.api_key, *KEYS])
    late = run(sandbox, "none", early.state, account_ids=[sandbox.api_key])
    together = run(sandbox, "together", late.state)
    times = [row["date_received"] for row in together.records[SAMPLE]]
    assert min(times) >= "2026-11-18"
    assert accounts_in(together) >= {*KEYS}
    assert rows(early, late, together) == rows(run(sandbox, "each"))


def test_an_account_that_no_earlier_run_has_read_costs_the_others_nothing(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS)
    some = run(sandbox, "none", account_ids=[sandbox.api_key, *KEYS[:3]])
    together = run(sandbox, "together", some.state)
    assert accounts_in(together) == {KEYS[3]}
    assert rows(some, together) == rows(run(sandbox, "each"))


def test_a_new_account_starts_at_the_start_date_after_a_move_to_each(make: Callable[..., Sandbox]) -> None:
    before, after = make(*KEYS[:3]), make(*KEYS)
    first = run(before, "together")
    second = run(after, "each", first.state)
    assert accounts_in(second) == {KEYS[3]}
    assert rows(first, second) == rows(run(after, "each"))


def test_coverage_under_other_filters_counts_in_neither_way(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS)
    filtered = {"stream_options": {SAMPLE: {"filters": {"status": "delivered"}}}}
    first = run(sandbox, "each", **filtered)
    second = run(sandbox, "together", first.state)
    assert rows(second) == rows(run(sandbox, "each"))


def test_rows_that_may_still_change_are_refetched_after_a_move(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS, rows={SAMPLE: 100})
    first = run(sandbox, "each", **BY_ID)
    sandbox.clock.advance(hours=30)
    second = run(sandbox, "together", first.state, **BY_ID)
    assert rows(first, second) == rows(run(sandbox, "each"))


def test_an_account_that_is_added_is_read_for_all_time_wherever_start_date_moves(make: Callable[..., Sandbox]) -> None:
    before, after = make(*KEYS[:3]), make(*KEYS)
    outputs = [run(before, "together")]
    for start in ("2026-11-17", "2026-11-17", "2026-11-12"):
        outputs.append(run(after, "together", outputs[-1].state, start_date=start))
    assert all(output.error is None for output in outputs)
    assert rows(*outputs) == rows(run(after, "each"))
    assert run(after, "together", outputs[-1].state).records[SAMPLE] == []


@pytest.mark.parametrize("fault", [{"fault": "window-failed", "value": "2026-11-15T02:00:00Z"}, {"fault": "500"}])
def test_what_failed_of_an_account_that_catches_up_is_read_days_later_without_a_start_date(
    make: Callable[..., Sandbox], fault: dict[str, Any]
) -> None:
    before, after = make(*KEYS[:3]), make(*KEYS)
    first = run(before, "together", start_date=None)
    after.faults.on(**fault, accounts=[KEYS[3]])
    failed = run(after, "together", first.state, start_date=None)
    assert failed.code == 1
    after.faults.off(fault["fault"])
    expected = rows(run(after, "each", start_date=None))
    after.clock.advance(hours=9 * 24)
    last = run(after, "together", failed.state, start_date=None)
    assert last.error is None
    assert set(expected) <= set(rows(first, failed, last))


def pending_state(sandbox: Sandbox) -> Any:
    """The state of a run of `together` that ended after its first STATE: a report is requested."""
    whole = run(sandbox, "together")
    end = next(number for number, message in enumerate(whole.messages) if message["type"] == "STATE")
    return Output(whole.lines[: end + 1]).state


@pytest.mark.parametrize("with_coverage", [False, True])
def test_reports_requested_without_an_account_do_not_count_for_it_though_no_known_account_is_listed(
    make: Callable[..., Sandbox], *, with_coverage: bool
) -> None:
    sandbox = make(*KEYS)
    before = run(sandbox, "together") if with_coverage else None
    state: Any = before.state if before else pending_state(sandbox)
    for part in state["bookmarks"][SAMPLE]["partitions"]:
        del part["listed_accounts"]
    assert rows(run(sandbox, "together", state)) == rows(run(sandbox, "each"))


def test_a_report_that_is_pending_while_each_is_used_counts_for_its_own_accounts_alone(
    make: Callable[..., Sandbox],
) -> None:
    old, new = make(*KEYS[:2]), make(*KEYS)
    state = pending_state(old)
    away = run(new, "each", state, account_ids=[KEYS[3]])
    again = run(new, "together", away.state)
    assert rows(away, again) == rows(run(new, "each"))


@pytest.mark.parametrize("keeps_state", [True, False])
def test_a_lost_report_is_not_adopted_if_an_account_is_newer_than_it(
    make: Callable[..., Sandbox], *, keeps_state: bool
) -> None:
    sandbox = make(*KEYS[:3])
    known = run(sandbox, "together", end_date="2026-11-15")
    run(sandbox, "together", known.state)  # its state is lost, its reports are at the API
    sandbox.clock.advance(hours=1)
    sandbox.accounts.add(replace(sandbox.accounts.subaccounts[0], key=KEYS[3], created_at="2026-11-20T12:30:00Z"))
    state, before = (known.state, [known]) if keeps_state else (None, [])
    found = run(sandbox, "together", state, adopt_reports=True)
    assert "adopting" not in found.log
    assert rows(*before, found) == rows(run(sandbox, "each"))


@pytest.mark.parametrize("created_at", [None, "soon", ""])
def test_no_lost_report_is_adopted_if_an_account_may_be_newer(make: Callable[..., Sandbox], created_at: Any) -> None:
    sandbox = make(*KEYS[:3])
    run(sandbox, "together")
    sandbox.accounts.add(replace(sandbox.accounts.subaccounts[0], key=KEYS[3], created_at=created_at))
    output = run(sandbox, "together", adopt_reports=True)
    assert "adopting" not in output.log
    assert rows(output) == rows(run(sandbox, "each"))


def test_an_account_that_left_the_list_and_comes_back_is_billed_for_the_time_in_between_alone(
    make: Callable[..., Sandbox],
) -> None:
    with_it, without = make(*KEYS), make(*KEYS[:3])
    first = run(with_it, "together")
    second = run(without, "together", first.state)
    for sandbox in (with_it, without):
        sandbox.clock.advance(hours=24)
    third = run(without, "together", second.state)
    fourth = run(with_it, "together", third.state)
    assert rows(first, third, fourth) == rows(run(with_it, "each"))
    assert {row["date_received"][:10] for row in fourth.records[SAMPLE]} <= {"2026-11-20", "2026-11-21"}
    # The same while accounts are read one by one in between.
    each = run(without, "each", third.state)
    assert each.records[SAMPLE] == []
    with_it.clock.advance(hours=24)
    without.clock.advance(hours=24)
    news = run(without, "each", each.state)
    back = run(with_it, "together", news.state)
    assert rows(first, third, news, back) == rows(run(with_it, "each"))
    assert {row["account_id"] for row in back.records[SAMPLE]} == {KEYS[3]}
    assert min(row["date_received"] for row in back.records[SAMPLE]) >= "2026-11-20"


def test_time_that_was_filled_while_an_account_was_away_is_read_of_it(make: Callable[..., Sandbox]) -> None:
    with_it, without = make(*KEYS), make(*KEYS[:3])
    first = run(with_it, "together", start_date="2026-11-16")
    second = run(without, "together", first.state, start_date="2026-11-16")
    third = run(without, "together", second.state)
    fourth = run(with_it, "together", third.state)
    assert rows(first, third, fourth) == rows(run(with_it, "each"))


def test_a_refusal_after_a_move_costs_nothing_that_was_read(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS)
    early = run(sandbox, "none", end_date="2026-11-18", account_ids=[sandbox.api_key, *KEYS])
    late = run(sandbox, "none", early.state, account_ids=[sandbox.api_key, *KEYS[:2]])
    with sandbox.faults.during(Fault.SUBACCOUNTS_REFUSED):
        refused = run(sandbox, "together", late.state)
    assert refused.code == 1
    back = run(sandbox, "each", refused.state)
    assert accounts_in(back) <= {*KEYS[2:]}
    assert rows(early, late, back) == rows(run(sandbox, "each"))


def test_an_account_that_joins_is_as_fresh_as_its_own_partition(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS, rows={SAMPLE: 100})
    others = [sandbox.api_key, *KEYS[:3]]
    old = run(sandbox, "none", account_ids=[KEYS[3]], end_date="2026-11-19", lookback_hours=72)
    sandbox.clock.advance(hours=30)
    fresh = run(sandbox, "none", old.state, account_ids=others, end_date="2026-11-19", lookback_hours=72)
    moved = run(sandbox, "together", fresh.state, lookback_hours=72)
    assert moved.error is None
    assert rows(old, fresh, moved) == rows(run(sandbox, "each"))


@pytest.mark.parametrize("status_refresh", ["window", "ids"])
def test_rows_of_an_account_that_caught_up_are_brought_up_to_date(
    make: Callable[..., Sandbox], status_refresh: str
) -> None:
    before, after = make(*KEYS[:3], rows={SAMPLE: 300}), make(*KEYS, rows={SAMPLE: 300})
    settings = {**BY_ID, "status_refresh": status_refresh}
    outputs = [run(before, "together", **settings)]
    for _ in range(4):
        after.clock.advance(hours=20)
        outputs.append(run(after, "together", outputs[-1].state, **settings))
    assert [output.error for output in outputs] == [None] * 5
    after.clock.advance(hours=20)
    assert rows(*outputs, run(after, "together", outputs[-1].state, **settings)) == rows(run(after, "each"))


def test_an_account_that_catches_up_may_have_filters_that_only_reports_accept(make: Callable[..., Sandbox]) -> None:
    before, after = make(*KEYS[:3]), make(*KEYS)
    filters = {"stream_options": {SAMPLE: {"filters": {"client_ref": "none"}}}}
    first = run(before, "together", **filters)
    assert first.error is None
    assert run(after, "together", first.state, **filters).error is None


# What was read under other filters, at other times, or without the account


@pytest.mark.parametrize("away_first", [False, True])
def test_what_was_read_under_other_filters_does_not_count_for_an_account_that_left(
    make: Callable[..., Sandbox], *, away_first: bool
) -> None:
    sandbox = make(*KEYS)
    filters = {"stream_options": {SAMPLE: {"filters": {"status": "delivered"}}}}
    outputs = [run(sandbox, "together", **filters)]
    account = sandbox.accounts.remove(KEYS[3])
    sandbox.clock.advance(hours=2)
    outputs.append(run(sandbox, "together", outputs[-1].state, **filters))
    if away_first:
        outputs.append(run(sandbox, "together", outputs[-1].state))
    sandbox.accounts.add(account)
    outputs.append(run(sandbox, "each", outputs[-1].state))
    assert rows(*outputs) == rows(run(sandbox, "each"))


@pytest.mark.parametrize("mode", ["each", "together"])
def test_a_change_of_filters_is_said(make: Callable[..., Sandbox], mode: str) -> None:
    sandbox = make(*KEYS[:1])
    first = run(sandbox, mode, stream_options={SAMPLE: {"filters": {"status": "delivered"}}})
    log = run(sandbox, mode, first.state).log
    assert log.count("the filters have changed since the last run") == (2 if mode == "together" else 4)


def test_reports_without_any_row_are_a_warning_if_there_are_sub_accounts(make: Callable[..., Sandbox]) -> None:
    alone = {f"{SAMPLE}/{direction}/abcd1234": 0 for direction in ("outbound", "inbound")}
    sandbox = make(*KEYS, rows={SAMPLE: 12, **alone})
    with sandbox.faults.during(Fault.SUBACCOUNTS_IGNORED):
        first = run(sandbox, "together")
        assert "The reports of all accounts have no rows, although the account has sub-accounts" in first.log
        assert "have no rows" not in run(sandbox, "together", first.state).log
    assert "have no rows" not in run(sandbox, "together").log


def test_a_report_that_waited_while_an_account_was_away_makes_it_no_fresher(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS, rows={SAMPLE: 60})
    settings: dict[str, Any] = {"lookback_hours": 72, "report_window_days": 3}
    first = run(sandbox, "together", **settings)
    sandbox.clock.advance(hours=48)
    account = sandbox.accounts.remove(KEYS[3])
    killed = run(sandbox, "together", first.state, **settings)
    end = next(number for number, message in enumerate(killed.messages) if message["type"] == "STATE")
    outputs = [first, Output(killed.lines[: end + 1])]
    sandbox.accounts.add(account)
    for _ in range(3):
        outputs.append(run(sandbox, "together", outputs[-1].state, **settings))
        assert outputs[-1].error is None
        assert rows(*outputs) == rows(run(sandbox, "each"))
        sandbox.clock.advance(hours=24)


def test_an_account_that_comes_back_is_brought_up_to_date(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS, rows={SAMPLE: 60})
    settings: dict[str, Any] = {"lookback_hours": 72}
    outputs = [run(sandbox, "together", start_date="2026-11-15", end_date="2026-11-19", **settings)]
    account = sandbox.accounts.remove(KEYS[3])
    sandbox.clock.advance(hours=30)
    outputs.append(run(sandbox, "together", outputs[-1].state, end_date="2026-11-19", **settings))
    sandbox.accounts.add(account)
    for _ in range(3):
        outputs.append(run(sandbox, "together", outputs[-1].state, start_date="2026-11-15", **settings))
        assert set(rows(run(sandbox, "each", start_date="2026-11-15"))) <= set(rows(*outputs))
        sandbox.clock.advance(hours=24)


def test_rows_that_reports_read_are_refetched_though_the_others_are_tracked_by_id(
    make: Callable[..., Sandbox],
) -> None:
    sandbox = make(*KEYS[:3], rows={SAMPLE: 60})
    settings: dict[str, Any] = {**BY_ID, "fetch_mode": "async", "report_window_days": 1}
    outputs = [run(sandbox, "together", **settings)]
    sandbox.accounts.add(replace(sandbox.accounts.subaccounts[0], key=KEYS[3]))
    sandbox.faults.on(Fault.WINDOW_FAILED, "2026-11-13T02:00:00Z", accounts=[KEYS[3]])
    sandbox.clock.advance(hours=2)
    outputs.append(run(sandbox, "together", outputs[-1].state, **settings))
    sandbox.faults.off(Fault.WINDOW_FAILED)
    sandbox.clock.advance(hours=30)
    outputs.append(run(sandbox, "together", outputs[-1].state, **settings))
    assert [output.code for output in outputs] == [0, 1, 0]
    assert rows(*outputs) == rows(run(sandbox, "each"))


def test_without_a_start_date_an_account_that_is_added_is_read_from_seven_days_before_once(
    make: Callable[..., Sandbox],
) -> None:
    sandbox = make(*KEYS[:3])
    last = run(sandbox, "together", start_date=None)
    for _ in range(2):
        sandbox.clock.advance(hours=120)
        last = run(sandbox, "together", last.state, start_date=None)
    sandbox.accounts.add(replace(sandbox.accounts.subaccounts[0], key=KEYS[3], created_at="2026-11-30T11:00:00Z"))
    days: list[list[str]] = []
    for _ in range(3):
        last = run(sandbox, "together", last.state, start_date=None)
        own = [row for row in last.records[SAMPLE] if row["account_id"] == KEYS[3]]
        days.append(sorted({row["date_received"][:10] for row in own}))
        sandbox.clock.advance(hours=24)
    assert days == [
        [f"2026-11-{day}" for day in range(23, 31)],
        ["2026-11-30", "2026-12-01"],
        ["2026-12-01", "2026-12-02"],
    ]


def test_what_is_read_behind_an_old_report_is_not_read_again(make: Callable[..., Sandbox]) -> None:
    sandbox = make(*KEYS)
    settings: dict[str, Any] = {"lookback_hours": 72, "report_window_days": 4}
    killed = run(sandbox, "together", **settings)
    end = next(number for number, message in enumerate(killed.messages) if message["type"] == "STATE")
    sandbox.clock.advance(hours=48)
    resumed = run(sandbox, "together", Output(killed.lines[: end + 1]).state, **settings)
    again = run(sandbox, "together", resumed.state, **settings)
    first = {
        direction: min(row["date_received"] for row in again.records[SAMPLE] if row["direction"] == direction)
        for direction in ("inbound", "outbound")
    }
    assert min(first.values()) >= "2026-11-19"
