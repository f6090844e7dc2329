"""What a run costs is told in its last lines: rows pulled, rows pulled again, requests and reports."""

from __future__ import annotations

import json
import logging
from collections import Counter
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.intervals import TimeWindow, to_intervals
from tap_vonage_reports.metrics import FetchMetrics
from tap_vonage_reports.sandbox import Within
from tests.harness import Output, partition_lines, run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tap_vonage_reports.api.request_context import RequestContext
    from tap_vonage_reports.api.responses import ApiResponse
    from tap_vonage_reports.sandbox import Sandbox

START, END = datetime(2026, 11, 18, tzinfo=timezone.utc), datetime(2026, 11, 20, tzinfo=timezone.utc)
SDK_METRICS = "singer_sdk.metrics"
pytestmark = pytest.mark.usefixtures("summary_with_partitions")
COUNTS = ("rows", "fetched", "refetched", "requests", "reports", "windows")


def costs(output: Output) -> dict[str, int]:
    """The summary's line of the only partition."""
    assert output.error is None, output.error
    (line,) = partition_lines(output.log)
    assert line["result"] == "read"
    return {name: int(line[name].replace(",", "")) for name in COUNTS}


def total(output: Output) -> str:
    return next(line for line in output.log.splitlines() if "rows in total" in line)


def test_the_summary_counts_what_the_api_has_given(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 2500})
    output = run_tap(settings_for(sandbox, start_date="2026-11-18", end_date="2026-11-20"), ["amd"])
    asked = [entry for entry in sandbox.requests.log if entry.product == "AMD"]
    assert costs(output) == {
        "rows": 5000,
        "fetched": sum(entry.rows for entry in asked),
        "refetched": 0,
        "requests": len(asked),
        "reports": 0,
        "windows": len({entry.date_start for entry in asked}),
    }
    assert total(output) == f"5,000 rows in total (5,000 fetched, 0 refetched; {len(asked)} requests, 0 reports)"


def test_the_summary_counts_what_reports_have_brought(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 25})
    dates = {"start_date": "2026-11-16", "end_date": "2026-11-20"}
    output = run_tap(settings_for(sandbox, fetch_mode="async", report_window_days=2, **dates), ["amd"])
    counted = costs(output)
    assert (counted["rows"], counted["fetched"], counted["reports"], counted["windows"]) == (100, 100, 2, 2)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_rows_refetched_by_the_lookback_are_counted_row_by_row(make_sandbox: Callable[..., Sandbox], mode: str) -> None:
    sandbox = make_sandbox(rows={"amd": 240})
    settings = settings_for(sandbox, start_date="2026-11-18", lookback_hours=6, fetch_mode=mode)
    first = run_tap(settings, ["amd"])
    sandbox.clock.advance(hours=6)
    second = run_tap(settings, ["amd"], first.state)
    before = Counter(first.ids("amd"))
    again = sum(name in before for name in second.ids("amd"))
    assert costs(second)["fetched"] == len(second.ids("amd"))
    # By report, it is told by the share of the time.
    assert costs(second)["refetched"] == pytest.approx(again, abs=0 if mode == "sync" else 1)
    assert costs(second)["reports"] == (mode == "async")
    assert again > 50


def test_rows_that_are_repeated_are_pulled_and_not_delivered(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 100}, page_size=10, faults=["rows-repeated=3"])
    output = run_tap(settings_for(sandbox, start_date="2026-11-18", end_date="2026-11-20"), ["amd"])
    asked = [entry for entry in sandbox.requests.log if entry.product == "AMD"]
    counted = costs(output)
    assert counted["rows"] == 200
    assert counted["fetched"] == sum(entry.rows for entry in asked) > 200
    assert counted["refetched"] == counted["fetched"] - 200


def test_a_window_that_is_begun_again_is_counted_again(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 100}, page_size=10)
    sandbox.faults.on("cursor-refused", after=3, first=1)
    settings = settings_for(sandbox, start_date="2026-11-18", end_date="2026-11-19", max_concurrent_requests=1)
    output = run_tap(settings, ["amd"])
    asked = [entry for entry in sandbox.requests.log if entry.product == "AMD"]
    counted = costs(output)
    assert counted["requests"] == len(asked)
    assert counted["fetched"] == sum(entry.rows for entry in asked) == 140
    assert counted["refetched"] == 40


def test_requests_that_are_tried_again_are_counted(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 100}, page_size=10)
    sandbox.faults.on("500", every=3)
    output = run_tap(settings_for(sandbox, start_date="2026-11-18", end_date="2026-11-20"), ["amd"])
    asked = [entry for entry in sandbox.requests.log if entry.product == "AMD"]
    assert {entry.status for entry in asked} == {200, 500}
    assert costs(output)["requests"] == len(asked)
    assert costs(output)["fetched"] == 200


def test_prices_from_the_answers_are_in_the_summary(
    make_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    records = ReportsClient.records

    def priced(client: ReportsClient, query: Mapping[str, str], context: RequestContext | None = None) -> ApiResponse:
        answer = records(client, query, context)
        if context:
            context.metrics.count_price({"price": Decimal("0.0004") * len(answer.body["records"]), "currency": "EUR"})
        return answer

    sandbox = make_sandbox(rows={"amd": 100})
    free = run_tap(settings_for(sandbox, start_date="2026-11-18", end_date="2026-11-20"), ["amd"])
    assert "price" not in free.log
    monkeypatch.setattr(ReportsClient, "records", priced)
    output = run_tap(settings_for(sandbox, start_date="2026-11-18", end_date="2026-11-20"), ["amd"])
    assert "price: 0.0800 EUR" in output.log.splitlines()
    assert "0.0800 EUR" in next(line for line in output.log.splitlines() if line.startswith("amd  "))


@pytest.mark.parametrize("price", [None, "0.5", -1, True, 0, Decimal("1e30"), Decimal("1e-30"), [1]], ids=str)
def test_text_that_is_not_a_price_is_not_counted(price: object) -> None:
    cost = FetchMetrics()
    cost.count_price({"price": price, "currency": "EUR"})
    assert cost.price == ""


def test_rows_without_a_time_are_not_known_to_have_come_before() -> None:
    cost = FetchMetrics("date")
    cost.refetch = to_intervals([TimeWindow(START, START + timedelta(hours=1))])
    rows: list[dict[str, Any]] = [
        {"date": "2026-11-18T00:30:00+00:00"},
        {"date": "2026-11-18T01:30:00+00:00"},
        {"date": None},
        {},
    ]
    assert cost.count_page(rows, TimeWindow(START, END)) == 4
    assert (cost.rows, cost.refetched) == (4, 1)
    cost.count_page(rows, TimeWindow(START, START + timedelta(hours=1)))
    assert (cost.rows, cost.refetched) == (8, 5)


def test_the_costs_are_metrics_of_the_sdk_too(
    make_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger(SDK_METRICS), "handlers", [caplog.handler])
    sandbox = make_sandbox(rows={"amd": Within(50, START, END)})
    with caplog.at_level(logging.INFO, SDK_METRICS):
        run_tap(settings_for(sandbox, start_date="2026-11-18", end_date="2026-11-20"), ["amd"])
    points = [
        json.loads(record.getMessage().partition("METRIC: ")[2]) for record in caplog.records if "METRIC" in record.msg
    ]
    values = {point["metric"]: point["value"] for point in points if point["tags"].get("stream") == "amd"}
    asked = [entry for entry in sandbox.requests.log if entry.product == "AMD"]
    assert values["http_request_count"] == len(asked)
    assert values["rows_pulled_count"] == values["record_count"] == 50
    assert values["rows_pulled_again_count"] == values["report_count"] == 0
