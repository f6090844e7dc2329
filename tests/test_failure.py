"""What fails is named and told what to do; what does not is read all the same; nothing is short and silent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports import exact_json
from tap_vonage_reports.api import connections
from tap_vonage_reports.errors import (
    CredentialsError,
    SettingsError,
    SyncFailedError,
    UnreachableError,
)
from tap_vonage_reports.sandbox import Fault, Sandbox
from tap_vonage_reports.timestamps import parse_time
from tests.extract import test_reports
from tests.harness import Output, run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable

DATES = {"start_date": "2026-11-18", "end_date": "2026-11-20", "lookback_hours": 0}
STREAM = "voice_call"
PAGE_SIZE = 3
ROWS = 35
COMPLETE = ROWS * 2 * 2  # two days, two directions
MAX_VALUES = 20_000
"""The limit of values in a body, in place of a million: counting so many takes long."""

HARMLESS: dict[Fault, dict[str, Any]] = {
    Fault.NEXT_LINK_WITHOUT_DATES: {},
    Fault.NEXT_LINK_WITHOUT_IV: {},
    Fault.NEXT_LINK_BARE: {},
    Fault.NEXT_LINK_ELSEWHERE: {},
    Fault.NEXT_LINK_PRODUCT_PATH: {},
    Fault.CURSOR_ONLY_IN_LINK: {},
    Fault.SUCCESS_WITH_CURSOR: {},
    Fault.ROWS_REPEATED: {},
    Fault.ROWS_SHUFFLED: {},
    Fault.NO_CHANGES: {},
    Fault.NO_WINDOW_LIMIT: {},
    Fault.FUTURE_ACCEPTED: {},
    Fault.DATES_DEFAULTED: {},
    Fault.DIRECTION_IGNORED: {},
    Fault.CURRENCY_BLANK: {},
    Fault.NO_RATE_LIMIT: {},
    Fault.CLOCK_SKEW: {},
    Fault.NO_DATE_HEADER: {},
    Fault.DATE_SKEW: {},
    Fault.RECEIVED_AT: {},
    Fault.EXTRA_COLUMNS: {},
    Fault.ODD_COLUMNS: {},
    Fault.PARAMS_AS_TEXT: {},
    Fault.MOVED_COLUMNS: {},
    Fault.MISSING_COLUMNS: {},
    Fault.UNFIT_VALUES: {},
    Fault.ODD_TEXT: {},
    Fault.NUL_IN_TEXT: {},
    Fault.LONG_NUMBER: {},
    Fault.LONG_CELL: {"every": 20},
    Fault.REDACTED: {},
    Fault.SLOW_BODY: {"value": 0.001},
    Fault.SLOW_HEADERS: {"value": 0},
}
"""Faults that cost nothing."""

PASSING: dict[Fault, dict[str, Any]] = {
    Fault.TOO_MANY_REQUESTS: {"value": 0, "every": 2},
    Fault.SERVER_ERROR: {"every": 2},
    Fault.UNAVAILABLE: {"every": 2},
    Fault.GATEWAY_PAGE: {"every": 2},
    Fault.CUT: {"every": 2},
    Fault.CUT_BODY: {"every": 2},
    Fault.NOT_JSON: {"every": 2},
    Fault.JSON_CUT: {"every": 2},
    Fault.EMPTY_BODY: {"every": 2},
    Fault.JSON_BOMB: {"every": 2, "value": MAX_VALUES},
    Fault.ITEMS_COUNT_WRONG: {"every": 2},
    Fault.CURSOR_REFUSED: {"first": 1},
    Fault.CURSOR_REPEATED: {"first": 0},
    Fault.ENDLESS_PAGES: {"every": 2},
}
"""Faults that a retry gets past."""

LASTING = {
    Fault.TOO_MANY_REQUESTS: (0, "429", SyncFailedError),
    Fault.SERVER_ERROR: (None, "HTTP 500", SyncFailedError),
    Fault.UNAVAILABLE: (None, "HTTP 503", SyncFailedError),
    Fault.GATEWAY_PAGE: (None, "HTTP 403", SyncFailedError),
    Fault.LOW_BALANCE: (None, "HTTP 403 Low balance", SyncFailedError),
    Fault.CUT: (None, "connection broke", SyncFailedError),
    Fault.CUT_BODY: (None, "connection broke", SyncFailedError),
    Fault.NOT_JSON: (None, "not a JSON object", SyncFailedError),
    Fault.JSON_CUT: (None, "not a JSON object", SyncFailedError),
    Fault.EMPTY_BODY: (None, "not a JSON object", SyncFailedError),
    Fault.JSON_BOMB: (MAX_VALUES, f"more than {MAX_VALUES:,} values", SyncFailedError),
    Fault.ITEMS_COUNT_WRONG: (None, "announced", SyncFailedError),
    Fault.CURSOR_MISSING: (None, "no cursor", SyncFailedError),
    Fault.CURSOR_REPEATED: (None, "same cursor twice", SyncFailedError),
    Fault.ENDLESS_PAGES: (None, "without a new row", SyncFailedError),
    Fault.REDIRECT: (None, "HTTP 302", SyncFailedError),
    Fault.REVOKED: (None, "api_key and api_secret", CredentialsError),
    Fault.UNPROVISIONED: (None, "HTTP 401", SyncFailedError),
    Fault.FORBIDDEN: (None, "HTTP 403", SyncFailedError),
    Fault.UNKNOWN_PRODUCT: (None, "HTTP 422", SyncFailedError),
}
"""Faults that nothing gets past, and what the error names."""


def read(
    sandbox: Sandbox, state: dict[str, Any] | None = None, streams: tuple[str, ...] = (STREAM,), **more: Any
) -> Output:
    return run_tap(settings_for(sandbox, **{**DATES, **more}), streams, state)


@pytest.fixture
def sandbox(make_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    monkeypatch.setattr(exact_json, "MAX_VALUES", MAX_VALUES)
    # A later clock, so that the rows are final and listed whatever the skew.
    return make_sandbox(rows={"voice_call": ROWS, "amd": ROWS}, page_size=PAGE_SIZE, clock="2026-11-25T00:00:00Z")


@pytest.fixture
def dripping(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of a second for an exchange in place of five timeouts."""
    monkeypatch.setattr(connections, "MAX_EXCHANGE_TIMEOUTS", 0.1)


def test_every_fault_of_the_sandbox_is_tried() -> None:
    of_reports = {
        *test_reports.PASSING,
        *test_reports.LASTING,
        *test_reports.BROKEN_FILES,
        *test_reports.TOO_SLOW,
    }
    of_refresh = {Fault.IDS_NOT_FOUND, Fault.IDS_REFUSED}  # tests/extract/test_status_refresh.py
    of_windows = {Fault.WINDOW_FAILED, Fault.CURSOR_EXPIRES}  # tests/test_gaps.py
    of_callbacks = {Fault.CALLBACK_LOST, Fault.CALLBACK_TWICE, Fault.CALLBACK_CUT}  # tests/sandbox/test_callbacks.py
    # tests/test_together.py
    of_accounts = {Fault.SUBACCOUNTS_REFUSED, Fault.SUBACCOUNTS_IGNORED, Fault.SUBACCOUNTS_UNLISTED}
    of_rows = {Fault.ROWS_WITHOUT_ID, Fault.ROWS_NO_OBJECTS}  # tests/test_odd_rows.py
    elsewhere = {*of_reports, *of_refresh, *of_windows, *of_rows, *of_callbacks, *of_accounts}
    tried = {*HARMLESS, *PASSING, *LASTING, *elsewhere}
    # Late rows have a test of their own below.
    assert set(Fault) - tried == {Fault.LATE_ROWS}


@pytest.mark.promise("Retried: 429, 5xx, timeouts, broken connections, truncated or non-JSON bodies, failed downloads.")
@pytest.mark.parametrize("fault", [*HARMLESS, *PASSING], ids=lambda fault: str(fault.value))
def test_a_fault_that_passes_costs_no_record(sandbox: Sandbox, fault: Fault) -> None:
    sandbox.faults.on(fault, **{**HARMLESS, **PASSING}[fault])
    # Of several workers, one could be hit by every second answer time after time.
    output = read(sandbox, max_concurrent_requests=1)
    assert output.code == 0, output.log
    assert len(set(output.ids(STREAM))) == COMPLETE
    if fault is not Fault.CURSOR_REFUSED:  # which starts the window over
        assert len(output.ids(STREAM)) == COMPLETE


@pytest.mark.promise("Nothing is lost. The bookmark only moves over time that was read completely.")
@pytest.mark.promise("Unknown is never treated as empty.")
@pytest.mark.promise("An error says what failed, why, and what to do.")
@pytest.mark.parametrize("fault", LASTING, ids=lambda fault: str(fault.value))
def test_a_fault_that_lasts_ends_with_an_error_that_names_it(sandbox: Sandbox, fault: Fault) -> None:
    value, named, kind = LASTING[fault]
    sandbox.faults.on(fault, value)
    output = read(sandbox)
    assert output.code == 1
    assert isinstance(output.error, kind), output.error
    assert named in output.log + str(output.error)
    sandbox.faults.off(fault)
    resumed = read(sandbox, output.state)
    assert resumed.code == 0
    assert len(set(output.ids(STREAM) + resumed.ids(STREAM))) == COMPLETE


def test_rows_that_are_listed_late_arrive_through_the_lookback(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"voice_call": 48}, faults=["late-rows"])
    settings = settings_for(sandbox, start_date="2026-11-20")
    output, ids = None, set()
    for _ in range(8):
        output = run_tap(settings, [STREAM], output.state if output else None)
        ids |= set(output.ids(STREAM))
        sandbox.clock.advance(hours=6)
    bounds = parse_time("2026-11-20"), parse_time("2026-11-21")
    truth = {
        row["id"] for direction in ("inbound", "outbound") for row in sandbox.expected(STREAM, None, direction, *bounds)
    }
    assert truth
    assert truth <= ids


@pytest.mark.promise("A product that the API calls unavailable and that was never read is skipped with a warning.")
@pytest.mark.parametrize("fault", [Fault.UNPROVISIONED, Fault.FORBIDDEN, Fault.UNKNOWN_PRODUCT])
def test_a_product_that_the_account_lacks_is_skipped_with_a_warning(sandbox: Sandbox, fault: Fault) -> None:
    sandbox.faults.on(fault, products=["AMD"])
    output = read(sandbox, streams=("amd", STREAM))
    assert output.code == 0
    assert len(output.ids(STREAM)) == COMPLETE
    assert [line for line in output.log.splitlines() if "amd" in line and "skipped" in line]


@pytest.mark.promise(
    "A summary at the end names it with the API's title, the names of the invalid parameters and what to do."
)
@pytest.mark.promise("It makes the exit code 1.")
def test_a_product_that_was_read_before_and_is_refused_now_fails_the_run(sandbox: Sandbox) -> None:
    first = read(sandbox, streams=("amd", STREAM))
    sandbox.faults.on(Fault.FORBIDDEN, products=["AMD"])
    output = read(sandbox, first.state, streams=("amd", STREAM), end_date="2026-11-21")
    assert isinstance(output.error, SyncFailedError)
    assert "amd" in str(output.error)
    assert "403" in str(output.error)
    assert len(output.ids(STREAM)) == ROWS * 2
    assert output.bookmark("amd") == first.bookmark("amd")


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_product_that_is_refused_after_a_first_window_is_no_missing_product(sandbox: Sandbox, mode: str) -> None:
    # The first window is whole, and is read in the very run that is refused the second.
    requests = {"sync": -(-ROWS // PAGE_SIZE), "async": 1}[mode]
    endpoints = {"sync": ["records"], "async": ["report-create"]}[mode]
    sandbox.faults.on(Fault.FORBIDDEN, after=requests, products=["AMD"], endpoints=endpoints)
    one_by_one: dict[str, Any] = {"report_window_days": 1, "max_concurrent_reports": 1, "max_concurrent_requests": 1}
    output = read(sandbox, streams=("amd", STREAM), fetch_mode=mode, **one_by_one)
    assert output.bookmark("amd")["replication_key_value"] == "2026-11-19T00:00:00+00:00"
    assert isinstance(output.error, SyncFailedError)
    assert "amd" in str(output.error)
    assert "skipped" not in output.log


@pytest.mark.promise(
    "A refusal that concerns one product or account ends that partition, the other partitions and streams go on."
)
def test_one_account_that_is_refused_does_not_stop_the_others(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": ROWS}, subaccount_keys=["sub00001"])
    output = read(sandbox, streams=("amd",), account_ids=["foreign1", sandbox.api_key, "sub00001"])
    assert len(output.ids("amd")) == 4 * ROWS
    assert "account foreign1: skipped" in output.log


@pytest.mark.promise("Unknown is never treated as empty.")
@pytest.mark.parametrize("streams", [("amd",), ("amd", "sms", "reports_usage")])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_an_account_that_is_named_and_refused_for_everything_is_an_error_that_names_it(
    make_sandbox: Callable[..., Sandbox], streams: tuple[str, ...], mode: str
) -> None:
    sandbox = make_sandbox(rows={"amd": ROWS}, subaccount_keys=["sub00001"])
    output = read(sandbox, streams=streams, account_ids=[sandbox.api_key, "foreign1", "sub00001"], fetch_mode=mode)
    assert isinstance(output.error, SyncFailedError)
    assert "account foreign1" in str(output.error)
    assert "account_ids" in str(output.error)
    assert "sub00001" not in str(output.error)
    assert "primary" not in str(output.error)
    assert len(output.ids("amd")) == 4 * ROWS


def test_only_accounts_that_are_refused_are_named_where_nothing_was_read(sandbox: Sandbox) -> None:
    output = read(sandbox, account_ids=["foreign1", "foreign2"])
    assert "nothing was read (account foreign1, account foreign2)" in str(output.error)


@pytest.mark.promise("A product that the API calls unavailable and that was never read is skipped with a warning.")
def test_an_account_that_lacks_the_selected_products_and_is_served_otherwise_is_no_refused_account(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    sandbox = make_sandbox(rows={"amd": ROWS}, subaccount_keys=["sub00001"])
    sandbox.faults.on(Fault.FORBIDDEN, products=["AMD"], accounts=["sub00001"])
    output = read(sandbox, streams=("amd",), account_ids=[sandbox.api_key, "sub00001"])
    assert output.code == 0
    assert "account sub00001: skipped" in output.log


def test_a_subaccount_that_was_listed_and_is_refused_is_no_account_that_was_named(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    sandbox = make_sandbox(rows={"amd": ROWS}, subaccount_keys=["sub00001"])
    sandbox.faults.on(Fault.FORBIDDEN, accounts=["sub00001"])
    output = read(sandbox, streams=("amd",), include_subaccounts=True)
    assert output.code == 0
    assert "account sub00001: skipped" in output.log


@pytest.mark.promise("Unknown is never treated as empty.")
@pytest.mark.parametrize("fault", [Fault.GATEWAY_PAGE, Fault.LOW_BALANCE])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_refusal_that_does_not_speak_of_the_product_skips_nothing(sandbox: Sandbox, fault: Fault, mode: str) -> None:
    endpoint = {"sync": "records", "async": "report-create"}[mode]
    sandbox.faults.on(fault, products=["AMD"], endpoints=[endpoint])
    output = read(sandbox, streams=("amd", STREAM), fetch_mode=mode)
    assert isinstance(output.error, SyncFailedError)
    assert "1 of 3 partitions" in str(output.error)
    assert "HTTP 403" in str(output.error)
    assert "skipped" not in output.log
    assert len(output.ids(STREAM)) == COMPLETE


@pytest.mark.parametrize("fault", [Fault.GATEWAY_PAGE, Fault.REVOKED])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_refusal_that_passes_costs_no_record_and_no_report(sandbox: Sandbox, fault: Fault, mode: str) -> None:
    value = 401 if fault is Fault.GATEWAY_PAGE else None
    for endpoint in ("records", "report-create", "report-status", "media"):
        sandbox.requests.reset()
        sandbox.faults.on(fault, value, after=2 if endpoint == "records" else 0, first=1, endpoints=[endpoint])
        output = read(sandbox, fetch_mode=mode, adopt_reports=False)
        assert output.code == 0, output.log
        assert len(output.ids(STREAM)) == COMPLETE
        assert sandbox.requests.reports.total() == (2 if mode == "async" else 0)


@pytest.mark.promise("Wrong credentials end the run at once.")
def test_a_401_without_words_of_the_api_at_the_start_is_an_error_that_says_what_to_check(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.GATEWAY_PAGE, 401)
    output = read(sandbox)
    assert isinstance(output.error, CredentialsError)
    assert "HTTP 401" in str(output.error)
    assert "api_key and api_secret" in str(output.error)
    assert "proxy" in str(output.error)


@pytest.mark.promise("When every selected stream is refused, the run fails.")
def test_when_every_stream_is_refused_the_run_fails(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.FORBIDDEN)
    output = read(sandbox)
    assert isinstance(output.error, SyncFailedError)
    assert "every selected stream" in str(output.error)


@pytest.mark.promise("Wrong credentials end the run at once.")
def test_wrong_credentials_end_the_run_with_the_first_request(sandbox: Sandbox) -> None:
    output = run_tap({**settings_for(sandbox), "api_secret": "wrong"})
    assert isinstance(output.error, CredentialsError)
    assert sandbox.requests.total == 1
    assert output.lines == []


def test_credentials_that_are_revoked_during_a_run_skip_nothing(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.REVOKED, after=3)
    output = read(sandbox, streams=("amd", STREAM))
    assert isinstance(output.error, SyncFailedError)
    assert "skipped" not in output.log
    assert "revoked" in str(output.error)


def test_an_api_that_does_not_answer_is_an_error_that_says_so() -> None:
    output = run_tap({"api_url": "http://127.0.0.1:9", "api_key": "abcd1234", "api_secret": "hush-hush"})
    assert isinstance(output.error, UnreachableError)
    assert "api_url" in str(output.error)


def test_an_api_that_speaks_no_tls_is_unreachable(sandbox: Sandbox) -> None:
    output = run_tap({**settings_for(sandbox), "api_url": sandbox.url.replace("http:", "https:")})
    assert isinstance(output.error, UnreachableError)
    assert "api_url" in str(output.error)


@pytest.mark.usefixtures("dripping")
def test_an_answer_whose_head_drips_holds_no_worker(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.SLOW_HEADERS, 0.02, after=1, first=4)
    output = read(sandbox, request_timeout_seconds=1, max_concurrent_requests=2)
    assert output.code == 0, output.log
    assert "arrived too slowly" in output.log
    assert len(output.ids(STREAM)) == COMPLETE


@pytest.mark.parametrize("name", ["start_date", "end_date"])
def test_dates_in_the_future_are_an_error_before_anything_is_read(sandbox: Sandbox, name: str) -> None:
    output = run_tap(settings_for(sandbox, **{name: "2027-01-01"}))
    assert isinstance(output.error, SettingsError)
    assert f"{name} is in the future" in str(output.error)
    assert output.lines == []


def test_subaccounts_that_cannot_be_listed_are_an_error(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.FORBIDDEN, endpoints=["subaccounts"])
    output = read(sandbox, include_subaccounts=True)
    assert "sub-accounts could not be listed" in str(output.error)
    assert output.lines == []


def test_a_start_before_the_retention_is_cut_with_a_warning(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    settings = settings_for(sandbox, start_date="2020-01-01", end_date="2025-10-21")
    output = run_tap(settings, ["amd"])
    windows = [entry.date_start for entry in sandbox.requests.log if entry.product == "AMD"]
    assert min(windows) == "2025-10-20T12:00:00Z"
    assert "13 months" in output.log
    video = make_sandbox()
    run_tap(settings_for(video, start_date="2020-01-01", end_date="2026-08-23"), ["video_api"])
    windows = [entry.date_start for entry in video.requests.log if entry.product == "VIDEO-API"]
    assert min(windows) == "2026-08-22T12:00:00Z"
