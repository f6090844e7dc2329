"""What is refused or broken for one product or account stays there: the rest is complete, and the next run mends it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.errors import ProductUnavailableError
from tap_vonage_reports.sandbox import Fault, Sandbox
from tests.harness import Output, catalog_of, partition_lines, run_main, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

START = datetime(2026, 11, 1, tzinfo=timezone.utc)
DAYS = 6
KEY, OTHER = "abcd1234", "sub00001"
pytestmark = pytest.mark.usefixtures("summary_with_partitions")
STREAMS = ("amd", "asr", "sms")
PARTITIONS = 2 * (1 + 2 + 2)
MODES: dict[str, dict[str, Any]] = {
    "sync": {"fetch_mode": "sync", "max_concurrent_requests": 1},
    "async": {"fetch_mode": "async", "report_window_days": 2, "max_concurrent_reports": 1},
}
REFUSALS = [("sync", Fault.UNPROVISIONED), ("async", Fault.FORBIDDEN), ("sync", Fault.UNKNOWN_PRODUCT)]
DRIFTS = [
    ("sync", Fault.EXTRA_COLUMNS),
    ("async", Fault.UNFIT_VALUES),
    ("sync", Fault.MISSING_COLUMNS),
    ("async", Fault.MOVED_COLUMNS),
]

both_ways = pytest.mark.parametrize("mode", MODES)


@dataclass
class Tap:
    """The command with a folder for its files, and the sandbox that it reads from."""

    sandbox: Sandbox
    folder: Path
    settings: Mapping[str, Any]

    def run(self, days: int = DAYS, state: Mapping[str, Any] | None = None) -> Output:
        end = START + timedelta(days=days)
        settings = settings_for(
            self.sandbox,
            account_ids=[KEY, OTHER],
            start_date=START.isoformat(),
            end_date=end.isoformat(),
            lookback_hours=0,
            **self.settings,
        )
        arguments: list[str | Path] = []
        for name, content in (("config", settings), ("catalog", catalog_of(STREAMS)), ("state", state)):
            if content:
                (self.folder / name).write_text(json.dumps(content))
                arguments += [f"--{name}", self.folder / name]
        return run_main(*arguments)

    def truth(self, stream: str, account: str) -> list[str]:
        """The ids of all rows of an account."""
        rows = self.sandbox.expected(stream, account, None, START, START + timedelta(days=DAYS))
        return [row["id"] for row in rows]


@pytest.fixture
def make_tap(make_sandbox: Callable[..., Sandbox], tmp_path: Path) -> Callable[[str], Tap]:
    def make(mode: str) -> Tap:
        sandbox = make_sandbox(rows=dict.fromkeys(STREAMS, 3), subaccount_keys=[OTHER], page_size=5)
        return Tap(sandbox, tmp_path, MODES[mode])

    return make


def results(output: Output) -> dict[tuple[str, str, str], tuple[int, str]]:
    """The summary: rows and result by stream, direction and account."""
    found = {
        (line["stream"], line["direction"], line["account"]): (int(line["rows"].replace(",", "")), line["result"])
        for line in partition_lines(output.log)
    }
    total = next(line for line in output.log.splitlines() if "rows in total" in line).rpartition(" | ")[2]
    assert int(total.split()[0].replace(",", "")) == sum(rows for rows, _ in found.values())
    return found


def ended_otherwise(output: Output, result: str) -> set[tuple[str, str]]:
    """The streams and accounts that did not end well, all of them in this way."""
    found = results(output)
    assert len(found) == PARTITIONS
    assert {end for _, end in found.values()} <= {"read", result}
    return {(stream, account) for (stream, _, account), (_, end) in found.items() if end == result}


def levels_of(output: Output, partition: str) -> set[str]:
    """How loudly the log speaks of a partition."""
    return {line.split(" | ")[1].strip() for line in output.log.splitlines() if f" | {partition}: " in line}


def check_complete(tap: Tap, *outputs: Output, but: Collection[tuple[str, str]] = ()) -> None:
    """Runs have given all rows of every stream and account, each once; nothing of some that are named."""
    for stream in STREAMS:
        for account, name in ((KEY, "primary"), (OTHER, OTHER)):
            records = [record for output in outputs for record in output.records[stream]]
            ids = [record["id"] for record in records if record["account_id"] == account]
            truth = [] if (stream, name) in but else tap.truth(stream, account)
            assert sorted(ids) == sorted(truth), (stream, account)


def check_mended(tap: Tap, *before: Output) -> None:
    """The next run without the fault is a success, gives what is missing and no more, and leaves nothing."""
    tap.sandbox.faults.clear()
    tap.sandbox.faults.on(Fault.NO_RATE_LIMIT)
    output = tap.run(state=before[-1].state)
    assert output.code == 0
    assert {end for _, end in results(output).values()} == {"read"}
    check_complete(tap, *before, output)
    assert tap.run(state=output.state).records == {}


@pytest.mark.parametrize(("mode", "refusal"), REFUSALS)
def test_a_product_that_is_refused_from_the_start_is_skipped(
    make_tap: Callable[[str], Tap], mode: str, refusal: Fault
) -> None:
    tap = make_tap(mode)
    tap.sandbox.faults.on(refusal, products=["ASR"])
    output = tap.run()
    skipped = {("asr", "primary"), ("asr", OTHER)}
    assert output.code == 0
    assert ended_otherwise(output, "skipped") == skipped
    assert levels_of(output, "asr, inbound, primary account") >= {"WARNING"}
    assert "ERROR" not in output.log
    check_complete(tap, output, but=skipped)
    check_mended(tap, output)


@pytest.mark.parametrize(("mode", "refusal"), REFUSALS)
def test_a_product_that_is_refused_after_it_was_read_fails_the_run(
    make_tap: Callable[[str], Tap], mode: str, refusal: Fault
) -> None:
    tap = make_tap(mode)
    first = tap.run(DAYS - 2)
    tap.sandbox.faults.on(refusal, products=["ASR"])
    second = tap.run(state=first.state)
    assert second.code == 1
    assert ended_otherwise(second, "failed") == {("asr", "primary"), ("asr", OTHER)}
    assert levels_of(second, "asr, inbound, primary account") >= {"ERROR"}
    assert "4 of 10 partitions could not be read" in second.log
    assert second.records.keys() == {"amd", "sms"}
    check_mended(tap, first, second)


@both_ways
@pytest.mark.parametrize("fault", [Fault.REVOKED, Fault.FORBIDDEN])
def test_an_account_that_is_lost_in_the_middle_costs_the_other_nothing(
    make_tap: Callable[[str], Tap], mode: str, fault: Fault
) -> None:
    tap = make_tap(mode)
    asked = {"sync": "records", "async": "report-create"}[mode]
    tap.sandbox.faults.on(fault, accounts=[OTHER], endpoints=[asked], after=2)
    output = tap.run()
    assert output.code == 1
    found = results(output)
    rows, end = found["amd", "-", OTHER]
    assert 0 < rows < len(tap.truth("amd", OTHER))
    assert end == "failed"
    assert {end for (_, _, account), (_, end) in found.items() if account == "primary"} == {"read"}
    # A 403 for what was never read is taken for a product that the account lacks; a 401 is not.
    assert found["sms", "inbound", OTHER] == (0, "failed" if fault is Fault.REVOKED else "skipped")
    check_mended(tap, output)


def test_a_report_that_was_taken_on_and_is_refused_later_is_no_missing_product(
    make_tap: Callable[[str], Tap],
) -> None:
    tap = make_tap("async")
    with mock.patch.object(ReportsClient, "report_status", side_effect=ProductUnavailableError(403, "Forbidden")):
        output = tap.run()
    assert output.code == 1
    assert {end for _, end in results(output).values()} == {"failed"}
    check_mended(tap, output)


@both_ways
def test_when_every_product_is_refused_the_run_fails(make_tap: Callable[[str], Tap], mode: str) -> None:
    tap = make_tap(mode)
    tap.sandbox.faults.on(Fault.FORBIDDEN, products=STREAMS)
    output = tap.run()
    assert output.code == 1
    assert ended_otherwise(output, "skipped") == {(stream, name) for stream in STREAMS for name in ("primary", OTHER)}
    assert "refused every selected stream" in output.log
    check_mended(tap, output)


@pytest.mark.parametrize(("mode", "drift"), DRIFTS)
def test_a_product_whose_columns_have_changed_fails_nothing(
    make_tap: Callable[[str], Tap], mode: str, drift: Fault
) -> None:
    tap = make_tap(mode)
    tap.sandbox.faults.on(drift, products=["ASR"])
    output = tap.run()
    assert output.code == 0
    assert {end for _, end in results(output).values()} == {"read"}
    check_complete(tap, output)
    surprises = [line for line in output.log.splitlines() if " it goes into _extra" in line]
    assert bool(surprises) == (drift in (Fault.EXTRA_COLUMNS, Fault.UNFIT_VALUES))
    assert len(set(surprises)) == len(surprises)
    assert all(" | asr: the field " in line for line in surprises)
