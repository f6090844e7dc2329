"""No query reaches into Vonage's present, whatever this machine's clock says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tap_vonage_reports.client import VonageClock
from tap_vonage_reports.sandbox import Fault, Sandbox
from tests.harness import run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable


def last_end(sandbox: Sandbox) -> str:
    return max(entry.date_end for entry in sandbox.requests.log if entry.product == "AMD")


@pytest.mark.parametrize("clock", ["2020-02-29T00:00:00Z", "2035-06-30T23:59:59Z"])
def test_the_end_is_a_minute_before_vonages_clock(make_sandbox: Callable[..., Sandbox], clock: str) -> None:
    sandbox = make_sandbox(clock=clock)
    output = run_tap(settings_for(sandbox), ["amd"])
    assert output.code == 0
    assert last_end(sandbox) == {"2020": "2020-02-28T23:59:00Z", "2035": "2035-06-30T23:58:59Z"}[clock[:4]]


def test_a_bound_that_is_not_in_the_past_shortens_the_window_once(
    make_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = make_sandbox(rows={"amd": 50})
    # The clock is not learned, so that the tap believes this machine's, which is ahead by two days.
    monkeypatch.setattr(VonageClock, "learn", _learn_nothing)
    sandbox.clock.set("2026-11-20T12:00:00Z")
    output = run_tap(settings_for(sandbox, start_date="2026-11-20T00:00:00Z"), ["amd"])
    refused = [entry for entry in sandbox.requests.log if entry.status == 422 and entry.product == "AMD"]
    assert refused
    reach = output.bookmark("amd").get("replication_key_value", "")
    assert reach <= "2026-11-20T11:59:00+00:00"


def _learn_nothing(clock: VonageClock, date: str | None) -> object:
    from tap_vonage_reports.client import _http_date  # noqa: PLC0415 - what `learn` returns

    return _http_date(date) or clock.now()


def test_rows_after_the_answer_do_not_count_as_read_where_the_future_is_accepted(
    make_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = make_sandbox(rows={"amd": 50}, faults=["future-accepted"])
    monkeypatch.setattr(VonageClock, "learn", _learn_nothing)
    output = run_tap(settings_for(sandbox, start_date="2026-11-20T00:00:00Z"), ["amd"])
    assert output.code == 0
    assert output.bookmark("amd")["replication_key_value"] == "2026-11-20T12:00:00+00:00"


def test_a_clock_that_is_off_changes_nothing(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 50})
    sandbox.faults.on(Fault.CLOCK_SKEW, -7200)
    output = run_tap(settings_for(sandbox, start_date="2026-11-19"), ["amd"])
    assert output.code == 0
    assert output.bookmark("amd")["replication_key_value"] == "2026-11-20T09:59:00+00:00"
