"""--test: a line for credentials, clock, accounts and each selected product, for few billed rows; the last says OK."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from tap_vonage_reports.connection_test import MAX_ACCOUNTS, MAX_TRIES, WINDOWS
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox import Fault, Within
from tap_vonage_reports.timestamps import parse_time
from tests.conftest import NOW
from tests.harness import Output, StandingClock, catalog_of, run_main, settings_for
from tests.hostile import KEY, SECRET, HostileServer, as_json, reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tap_vonage_reports.sandbox import Sandbox

STREAMS = ("amd", "reports_usage", "sms")
ACCESS = ["credentials: accepted", "clock: correct (within 0 s of Vonage's)", "accounts: 1 (primary)"]
UNTESTED = "FAILED: no stream was tested. See the error"
END = parse_time(NOW) - timedelta(minutes=1)
SUBACCOUNTS = ["sub00001", "sub00002"]


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., Output]:
    """Runs --test with a catalog."""

    def _check(settings: Mapping[str, Any], streams: Iterable[str] = STREAMS, how: str = "--test") -> Output:
        (tmp_path / "config.json").write_text(json.dumps(settings))
        (tmp_path / "catalog.json").write_text(json.dumps(catalog_of(streams)))
        return run_main(how, "--config", tmp_path / "config.json", "--catalog", tmp_path / "catalog.json")

    return _check


def lines_of(output: Output) -> list[str]:
    assert "Traceback" not in output.log
    return [line.decode() for line in output.lines]


def error_of(output: Output) -> str:
    (error,) = [line for line in output.log.splitlines() if "ERROR" in line]
    assert output.code == 1
    assert lines_of(output)[-1].startswith("FAILED: ")
    return error


def line_of(output: Output, name: str) -> str:
    (line,) = [line for line in lines_of(output) if line.startswith(f"{name}: ")]
    return line.removeprefix(f"{name}: ")


def lengths(sandbox: Sandbox, product: str, account: str = "") -> list[timedelta]:
    """How long the windows of a product were, in order."""
    entries = [entry for entry in sandbox.requests.log if entry.product == product and account in ("", entry.account)]
    return [parse_time(entry.date_end) - parse_time(entry.date_start) for entry in entries]


def rows_in(start: timedelta, end: timedelta = timedelta(0)) -> Within:
    """A single row of each direction, so long before the end of what may be read."""
    return Within(1, END - start, END - end)


def test_each_part_has_a_line_and_the_last_one_says_ok(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows={"amd": rows_in(WINDOWS[0]), "sms": rows_in(WINDOWS[0])})
    output = check(settings_for(sandbox))
    assert lines_of(output) == [
        *ACCESS,
        "selection: 3 streams, from the catalog",
        "amd: available, 1 row",
        "reports_usage: available, no rows",
        "sms: available, 1 row",
        "OK: 3 of 3 selected streams available; 2 rows fetched, 2 of them billed",
    ]
    assert output.code == 0


@pytest.mark.parametrize("selected", [["sms"], ["amd", "voice_call"]], ids=str)
def test_only_what_the_catalog_selects_is_requested(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output], selected: list[str]
) -> None:
    sandbox = make_sandbox(rows={"*": 5})
    output = check(settings_for(sandbox), selected)
    assert output.code == 0
    assert [line.partition(":")[0] for line in lines_of(output)[len(ACCESS) :]] == ["selection", *selected, "OK"]
    requested = {entry.product for entry in sandbox.requests.log[1:]}
    assert requested == {PRODUCTS[stream].name for stream in selected}


def test_a_catalog_that_selects_nothing_fails(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    output = check(settings_for(make_sandbox()), [])
    assert "No stream is selected" in error_of(output)
    assert lines_of(output) == [*ACCESS, "selection: 0 streams, from the catalog", UNTESTED]


@pytest.mark.parametrize("number", range(len(WINDOWS)))
def test_the_window_is_a_minute_and_grows_only_while_it_has_no_rows(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output], number: int
) -> None:
    newer = [timedelta(0), *WINDOWS][number]
    sandbox = make_sandbox(rows={"amd": rows_in(WINDOWS[number], newer)})
    assert line_of(check(settings_for(sandbox), ["amd"]), "amd") == "available, 1 row"
    assert lengths(sandbox, "AMD") == [*WINDOWS[: number + 1]]
    assert WINDOWS[0] == timedelta(minutes=1)
    assert WINDOWS[-1] == timedelta(days=1)


def test_no_window_is_longer_than_the_setting_allows(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    sandbox = make_sandbox()
    assert check(settings_for(sandbox, sync_window_hours=1), ["amd"]).code == 0
    assert lengths(sandbox, "AMD") == [*WINDOWS[:2], timedelta(hours=1)]


def test_of_many_rows_one_page_is_pulled_and_counted_as_the_api_counts_it(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    rows = {stream: Within(3_000, END - timedelta(minutes=1), END) for stream in STREAMS}
    sandbox = make_sandbox(rows=rows, faults=[Fault.SUCCESS_WITH_CURSOR])
    output = check(settings_for(sandbox))
    # The first request is for the free product, of the day before.
    assert sum(entry.rows for entry in sandbox.requests.log) == 3_000
    assert lines_of(output)[-1].endswith("; 3,000 rows fetched, 2,000 of them billed")


@pytest.mark.parametrize("fault", [Fault.CUT_BODY, Fault.SERVER_ERROR, Fault.NOT_JSON], ids=str)
def test_rows_of_an_answer_that_was_lost_may_be_billed_as_well(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output], fault: Fault
) -> None:
    sandbox = make_sandbox(rows={"amd": rows_in(WINDOWS[0])})
    sandbox.faults.on(fault, products=["AMD"], first=1)
    output = check(settings_for(sandbox), ["amd"])
    assert lines_of(output)[-1] == "OK: 1 of 1 selected stream available; 1 row fetched, at least 1 billed"


def test_a_product_that_is_free_stays_free_with_retries(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows={"*": rows_in(WINDOWS[0])})
    sandbox.faults.on(Fault.CUT_BODY, products=["REPORTS-USAGE"], every=2)
    output = check(settings_for(sandbox), ["amd", "reports_usage"])
    assert sandbox.faults.hits(Fault.CUT_BODY)
    assert lines_of(output)[-1].endswith("2 rows fetched, 1 of them billed")


def test_one_direction_is_enough(make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]) -> None:
    sandbox = make_sandbox(rows={"sms": 500})
    assert check(settings_for(sandbox), ["sms", "voice_call"]).code == 0
    assert {entry.direction for entry in sandbox.requests.log[1:]} == {"outbound"}
    only_inbound = settings_for(sandbox, stream_options={"sms": {"filters": {"direction": "inbound"}}})
    assert check(only_inbound, ["sms"]).code == 0
    assert sandbox.requests.log[-1].direction == "inbound"


def test_a_filter_that_only_reports_accept_is_left_out_and_named(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows={"sms": 24})
    options = {"sms": {"fetch_mode": "async", "filters": {"client_ref": "hidden-value", "direction": "outbound"}}}
    output = check(settings_for(sandbox, stream_options=options), ["sms"])
    assert output.code == 0
    assert re.fullmatch(
        r"available, \d+ rows? \(tested without client_ref, which only reports accept\)", line_of(output, "sms")
    )
    assert "hidden-value" not in output.log + "".join(lines_of(output))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.UNPROVISIONED, "HTTP 401 Unauthorized"),
        (Fault.FORBIDDEN, "HTTP 403 Forbidden"),
        (Fault.UNKNOWN_PRODUCT, "HTTP 422 Unprocessable entity (invalid parameters: product)"),
    ],
    ids=str,
)
def test_a_product_that_is_not_available_does_not_fail(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output], fault: Fault, said: str
) -> None:
    sandbox = make_sandbox()
    sandbox.faults.on(fault, products=["AMD"])
    output = check(settings_for(sandbox))
    assert line_of(output, "amd") == f"not available, {said}"
    assert line_of(output, "sms") == "available, no rows"
    assert lines_of(output)[-1] == "OK: 2 of 3 selected streams available; 0 rows fetched, 0 of them billed"
    assert output.code == 0


def test_nothing_available_at_all_is_a_failure(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    output = check(settings_for(make_sandbox(faults=[Fault.FORBIDDEN])))
    assert [line_of(output, stream) for stream in STREAMS] == ["not available, HTTP 403 Forbidden"] * 3
    assert "api_url" in error_of(output)


@pytest.mark.parametrize("products", [["SMS"], []], ids=["one product", "the account"])
def test_low_balance_fails_with_its_title(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output], products: list[str]
) -> None:
    sandbox = make_sandbox()
    sandbox.faults.on(Fault.LOW_BALANCE, products=products)
    output = check(settings_for(sandbox))
    assert line_of(output, "credentials") == "accepted"
    assert line_of(output, "sms") == "failed, HTTP 403 Low balance"
    assert error_of(output).count("HTTP 403 Low balance") == 1


def test_a_product_that_breaks_fails_and_the_others_are_tested(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    sandbox = make_sandbox()
    sandbox.faults.on(Fault.SERVER_ERROR, products=["AMD"])
    output = check(settings_for(sandbox))
    assert line_of(output, "amd").startswith("failed, HTTP 500")
    assert line_of(output, "sms") == "available, no rows"
    assert "HTTP 500" in error_of(output)
    assert len(lengths(sandbox, "AMD")) == MAX_TRIES


def test_wrong_credentials_are_told_before_anything_else(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    sandbox = make_sandbox()
    output = check(settings_for(sandbox, api_secret="a-wrong-one"))  # noqa: S106 - it is wrong
    assert "Authentication failed (HTTP 401 Unauthorized). Check api_key and api_secret" in error_of(output)
    assert lines_of(output) == ["credentials: refused", UNTESTED]
    assert len(sandbox.requests.log) == 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.UNAVAILABLE, "HTTP 503"),
        (Fault.GATEWAY_PAGE, "A firewall, proxy or gateway may have answered"),
        (Fault.REDIRECT, "Redirects are not followed"),
        (Fault.NOT_JSON, "not a JSON object"),
        (Fault.CUT, "The connection broke"),
    ],
    ids=str,
)
def test_an_api_that_is_down_is_told_once(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output], fault: Fault, said: str
) -> None:
    output = check(settings_for(make_sandbox(faults=[fault])))
    assert said in error_of(output)
    assert lines_of(output) == ["credentials: not tested, because the API gave no usable answer", UNTESTED]


@pytest.mark.parametrize("then", [None, Fault.LOW_BALANCE], ids=str)
def test_a_first_try_that_fails_is_no_verdict(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output], then: Fault | None
) -> None:
    sandbox = make_sandbox(faults=[then] if then else [])
    sandbox.faults.on(Fault.SERVER_ERROR, first=MAX_TRIES - 1)
    assert line_of(check(settings_for(sandbox)), "credentials") == "accepted"


def test_an_api_that_is_down_is_tried_no_more_than_promised(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(faults=[Fault.SERVER_ERROR])
    output = check(settings_for(sandbox))
    assert lines_of(output) == ["credentials: not tested, because the API gave no usable answer", UNTESTED]
    assert len(sandbox.requests.log) == MAX_TRIES
    assert output.log.count(f"Try 2 of {MAX_TRIES}") == 1


@pytest.mark.parametrize(
    ("minutes", "said"),
    [
        (15, "this machine's clock is 0:15:00 ahead of the API's Date header. Correct the clock that is wrong"),
        (-15, "the API's Date header is 0:15:00 ahead of this machine's clock. Correct the clock that is wrong"),
        (2, "correct (within 120 s of Vonage's)"),
    ],
)
def test_a_clock_that_is_off_is_told_and_does_not_fail(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output], minutes: int, said: str
) -> None:
    sandbox = make_sandbox()
    sandbox.faults.on(Fault.RECEIVED_AT, "none")
    with mock.patch.object(StandingClock, "shift", timedelta(minutes=minutes)):
        output = check(settings_for(sandbox))
    assert line_of(output, "clock") == said
    assert output.code == 0


@pytest.mark.parametrize(
    ("received_at", "said"),
    [("none", "unknown, because the API's answers contain no time."), ("0", "correct (within 0 s")],
)
def test_an_api_without_a_date_header_is_no_failure(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output], received_at: str, said: str
) -> None:
    sandbox = make_sandbox(faults=[Fault.NO_DATE_HEADER])
    sandbox.faults.on(Fault.RECEIVED_AT, received_at)
    output = check(settings_for(sandbox))
    assert line_of(output, "clock").startswith(said)
    assert output.code == 0


def test_a_named_account_that_is_refused_is_told_before_anything_is_billed(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows={"*": 500}, subaccount_keys=SUBACCOUNTS)
    output = check(settings_for(sandbox, account_ids=[sandbox.api_key, SUBACCOUNTS[0], "foreign1"]))
    assert "account foreign1" in error_of(output)
    assert lines_of(output) == [*ACCESS[:2], "accounts: not all of them can be read", UNTESTED]
    assert {entry.product for entry in sandbox.requests.log} == {"REPORTS-USAGE"}


def test_credentials_and_accounts_are_checked_by_a_minute_of_the_free_product(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(subaccount_keys=SUBACCOUNTS)
    assert check(settings_for(sandbox, account_ids=[sandbox.api_key, SUBACCOUNTS[0]]), ["amd"]).code == 0
    # Longer, it would transfer rows that are ignored; empty or turned round, the API might refuse it.
    assert lengths(sandbox, "REPORTS-USAGE") == [timedelta(minutes=1)] * 2


def test_accounts_are_told_apart_where_they_differ(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows={"sms": 500}, subaccount_keys=SUBACCOUNTS)
    sandbox.faults.on(Fault.FORBIDDEN, products=["AMD"], accounts=[SUBACCOUNTS[1]])
    sandbox.faults.on(Fault.LOW_BALANCE, products=["SMS"], accounts=[SUBACCOUNTS[1]])
    output = check(settings_for(sandbox, include_subaccounts=True))
    assert line_of(output, "accounts") == "3 (primary, sub00001, sub00002)"
    assert line_of(output, "amd") == (
        "available, no rows (primary, sub00001); not available, HTTP 403 Forbidden (sub00002)"
    )
    assert re.fullmatch(
        r"available, \d+ rows? \(primary, sub00001\); failed, HTTP 403 Low balance \(sub00002\)", line_of(output, "sms")
    )
    assert line_of(output, "reports_usage") == "available, no rows"
    assert "sms, outbound, account sub00002" in error_of(output)
    assert sandbox.api_key not in output.log + "".join(lines_of(output))


def test_rows_of_one_account_spare_the_longer_windows_of_the_others(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows={"amd": 24}, subaccount_keys=SUBACCOUNTS)
    assert check(settings_for(sandbox, include_subaccounts=True), ["amd"]).code == 0
    of_primary, *others = [lengths(sandbox, "AMD", account) for account in (sandbox.api_key, *SUBACCOUNTS)]
    assert len(of_primary) > 1
    assert others == [[WINDOWS[0]]] * 2


def test_of_very_many_accounts_some_stand_for_all(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    keys = [f"sub{number:05}" for number in range(30)]
    sandbox = make_sandbox(subaccount_keys=keys)
    output = check(settings_for(sandbox, include_subaccounts=True), ["amd"])
    assert line_of(output, "accounts").startswith("31 (primary, sub00000, ")
    assert line_of(output, "accounts").endswith(", and 21 more); only the first 10 are tested below")
    assert len({entry.account for entry in sandbox.requests.log if entry.product == "AMD"}) == MAX_ACCOUNTS
    assert output.code == 0


def test_an_address_that_lists_no_subaccounts_is_told(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    sandbox = make_sandbox()
    sandbox.faults.on(Fault.LOW_BALANCE, endpoints=["subaccounts"])
    output = check(settings_for(sandbox, include_subaccounts=True))
    assert "The sub-accounts could not be listed" in error_of(output)
    assert lines_of(output) == [*ACCESS[:2], "accounts: not all of them can be read", UNTESTED]


def test_a_date_in_the_future_is_told(make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]) -> None:
    output = check(settings_for(make_sandbox(), end_date="2027-01-01"))
    assert "The setting end_date is in the future" in error_of(output)
    assert lines_of(output) == [UNTESTED]


def test_the_window_ends_where_a_run_would_end(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    sandbox = make_sandbox()
    assert check(settings_for(sandbox, end_date="2026-11-10"), ["amd"]).code == 0
    assert sandbox.requests.log[-1].date_end == "2026-11-10T00:00:00Z"


def test_a_bound_that_the_api_finds_in_the_future_is_moved(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows={"amd": 500}, subaccount_keys=SUBACCOUNTS)
    ahead = timedelta(minutes=4)
    sandbox.faults.on(Fault.DATE_SKEW, ahead.total_seconds())
    sandbox.faults.on(Fault.RECEIVED_AT, "none")
    with mock.patch.object(StandingClock, "shift", ahead):
        output = check(settings_for(sandbox, include_subaccounts=True), ["amd"])
    assert output.code == 0
    assert line_of(output, "amd").startswith("available, ")
    assert len(set(lengths(sandbox, "AMD", SUBACCOUNTS[0]))) == 1


def test_a_product_of_which_the_api_answers_no_window_is_not_tested(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    sandbox, ahead = make_sandbox(rows={"amd": 500}), timedelta(days=2)
    sandbox.faults.on(Fault.DATE_SKEW, ahead.total_seconds(), products=["REPORTS-USAGE"])
    sandbox.faults.on(Fault.RECEIVED_AT, "none")
    with mock.patch.object(StandingClock, "shift", ahead):
        output = check(settings_for(sandbox), ["amd"])
    assert line_of(output, "amd") == "not tested: every window ends in the future for the API"
    assert "Set end_date to an earlier time" in error_of(output)
    assert "0 of 1 selected stream available" in lines_of(output)[-1]


@pytest.mark.parametrize("ahead", [timedelta(minutes=10), timedelta(days=1)], ids=str)
def test_a_date_header_that_is_ahead_moves_no_window_and_hides_no_refusal(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output], ahead: timedelta
) -> None:
    sandbox = make_sandbox(rows={"amd": rows_in(WINDOWS[0])}, subaccount_keys=SUBACCOUNTS)
    sandbox.faults.on(Fault.DATE_SKEW, ahead.total_seconds())
    sandbox.faults.on(Fault.FORBIDDEN, products=["SMS"])
    output = check(settings_for(sandbox, account_ids=[sandbox.api_key, *SUBACCOUNTS]), ["amd", "sms"])
    assert output.code == 0
    assert line_of(output, "amd") == "available, 3 rows"
    assert lengths(sandbox, "AMD") == [WINDOWS[0]] * 3
    assert line_of(output, "sms") == "not available, HTTP 403 Forbidden"


def test_a_map_that_fails_is_told_with_its_property(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows={"amd": 24, "sms": 24})
    output = check(settings_for(sandbox, stream_maps={"sms": {"cents": "1 / 0"}}))
    assert line_of(output, "sms").startswith(
        "failed, The setting stream_maps cannot be applied to a row of sms, in cents"
    )
    assert line_of(output, "amd").startswith("available")
    assert "in cents (ZeroDivisionError)" in error_of(output)


def test_no_secret_and_no_row_is_shown(make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]) -> None:
    sandbox = make_sandbox(rows={"sms": 500})
    output = check(settings_for(sandbox), ["sms"])
    rows = sandbox.expected("SMS", sandbox.api_key, "outbound", END - WINDOWS[-1], END)
    shown = output.log + "".join(lines_of(output))
    assert rows
    assert not [row for row in rows if row["to"] in shown or row["id"] in shown]
    assert sandbox.api_key not in shown
    assert sandbox.api_secret not in shown


@pytest.mark.parametrize("secret", [KEY, SECRET])
def test_a_title_that_repeats_a_secret_is_redacted(check: Callable[..., Output], secret: str) -> None:
    problem = as_json({"type": "x", "title": f"No\nmoney for {secret}"})
    with HostileServer(lambda _request: reply(problem, "402 Payment Required")) as server:
        output = check({"api_url": server.url, "api_key": KEY, "api_secret": SECRET}, ["sms"])
    assert line_of(output, "sms") == "failed, HTTP 402 Nomoney for [redacted]"
    assert secret not in error_of(output)


def test_a_state_is_left_alone(make_sandbox: Callable[..., Sandbox], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(settings_for(make_sandbox())))
    (tmp_path / "state.json").write_text("not even JSON")
    output = run_main("--test", "--config", tmp_path / "config.json", "--state", tmp_path / "state.json")
    assert output.code == 0
    assert line_of(output, "selection") == "18 streams, the default, because no catalog was given"
    assert lines_of(output)[-1].startswith("OK: 18 of 18 selected streams available")


@pytest.mark.parametrize("how", ["--test=records", "--test=schema"])
def test_the_other_tests_write_messages(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output], how: str
) -> None:
    sandbox = make_sandbox(rows={"amd": 24, "asr": 24})
    output = check(settings_for(sandbox), ["amd"], how)
    assert output.code == 0
    kinds = {message["type"] for message in output.messages}
    assert kinds == ({"SCHEMA"} if how == "--test=schema" else {"SCHEMA", "RECORD", "STATE"})
    assert {stream: len(records) for stream, records in output.records.items()} == (
        {} if how == "--test=schema" else {"amd": 1}
    )
    assert {entry.product for entry in sandbox.requests.log} <= {"REPORTS-USAGE", "AMD"}


def test_a_sample_has_no_row_that_a_filter_excludes(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows={"amd": 24, "sms": 24})
    options = {"sms": {"fetch_mode": "async", "filters": {"client_ref": "hidden-value"}}}
    output = check(settings_for(sandbox, stream_options=options), ["amd", "sms"], "--test=records")
    assert output.code == 0
    assert {stream: len(records) for stream, records in output.records.items()} == {"amd": 1}
    assert "sms: not sampled, because only reports accept client_ref" in output.log
    assert "hidden-value" not in output.log


def test_another_word_is_refused(make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]) -> None:
    sandbox = make_sandbox()
    output = check(settings_for(sandbox), ["amd"], "--test=record")
    assert output.code == 1
    assert "'record' is not one of 'all', 'records', 'schema', 'disabled'" in output.log
    assert sandbox.requests.log == []


def test_the_guide_shows_the_lines_as_they_are(
    make_sandbox: Callable[..., Sandbox], check: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows={"sms": Within(2, END - WINDOWS[0], END), "reports_usage": rows_in(WINDOWS[0])})
    sandbox.faults.on(Fault.FORBIDDEN, products=["AMD"])
    with mock.patch.object(StandingClock, "shift", timedelta(seconds=1)):
        lines = lines_of(check(settings_for(sandbox)))
    page = (Path(__file__).parent.parent / "docs" / "guide.md").read_text(encoding="utf-8")
    assert "```text\n" + "".join(f"{line}\n" for line in lines) + "```" in page
