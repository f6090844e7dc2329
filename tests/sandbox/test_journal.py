from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tests.sandbox.reading import DAY, SHAPES, Reader

if TYPE_CHECKING:
    from collections.abc import Callable


def test_requests_are_counted_and_logged(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"sms": 25}, page_size=10)
    reader.rows(**reader.ask("sms", "outbound"))
    reader.get(**reader.ask("sms", "sideways"))
    report = reader.session.get(f"{reader.sandbox.url}/__sandbox/requests", timeout=60).json()
    assert (report["total"], report["rows"]) == (4, 25)
    assert report["by_status"] == {"200": 3, "422": 1}
    assert report["by_product"] == {"SMS": 4}
    assert 1 <= report["peak_per_second"] <= 4
    log = report["requests"]
    assert [entry["cursor"] for entry in log] == [False, True, True, False]
    assert [entry["rows"] for entry in log] == [10, 10, 5, 0]
    assert log[0] | {"milliseconds": 0} == {
        "at": "2026-11-20T12:00:00+00:00",
        "method": "GET",
        "path": "/v2/reports/records",
        "endpoint": "records",
        "status": 200,
        "product": "SMS",
        "account": "abcd1234",
        "direction": "outbound",
        "date_start": DAY[0],
        "date_end": DAY[1],
        "report": "",
        "ids": 0,
        "cursor": False,
        "credentials": True,
        "rows": 10,
        "fault": "",
        "milliseconds": 0,
    }


def test_the_journal_can_be_reset(reader: Reader) -> None:
    reader.get(**reader.ask("sms", "outbound"))
    url = f"{reader.sandbox.url}/__sandbox/requests"
    assert reader.session.delete(url, timeout=60).status_code == 204
    assert reader.session.get(url, timeout=60).json()["total"] == 0
    assert reader.sandbox.requests.log == []


def test_the_journal_names_the_fault_that_hit(reader: Reader) -> None:
    reader.sandbox.faults.on("503")
    reader.get(**reader.ask("sms", "outbound"))
    assert [(entry.fault, entry.status) for entry in reader.sandbox.requests.log] == [("503", 503)]


def test_the_summary_agrees_with_the_rows_without_paging(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 130}, page_size=50, subaccount_keys=["sub00001"])
    url = f"{reader.sandbox.url}/__sandbox/summary"
    body = reader.session.get(url, params={"date_start": DAY[0], "date_end": DAY[1]}, timeout=60).json()
    told = {(line["stream"], line["direction"] or "", line["account_id"]): line for line in body["lines"]}
    assert len(told) == 2 * len(SHAPES)
    for (stream, direction, account), line in told.items():
        rows = reader.rows(**reader.ask(stream, direction, account_id=account))
        assert line["rows"] == len(rows)
        sums: dict[str, Decimal] = {}
        for row in rows:
            price = row.get("total_price", row.get("price"))
            if price is not None:
                sums[row["currency"]] = sums.get(row["currency"], Decimal()) + Decimal(price or 0)
        assert {currency: Decimal(total) for currency, total in line["total_price"].items()} == sums


def test_the_summary_wants_a_window(reader: Reader) -> None:
    answer = reader.session.get(f"{reader.sandbox.url}/__sandbox/summary", timeout=60)
    assert answer.status_code == 422
