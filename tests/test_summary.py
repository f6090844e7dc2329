"""The summary at the end of a run fits a page: one line for each stream, partitions only where one failed."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tap_vonage_reports.metrics import PartitionResult, SyncStatus
from tap_vonage_reports.planning.partition import Partition
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.summary import WIDTH, log_summary, summary

if TYPE_CHECKING:
    from tap_vonage_reports.products import Product

LONGEST = max(PRODUCTS.values(), key=lambda product: len(product.stream))
SHORTEST = min(PRODUCTS.values(), key=lambda product: len(product.stream))


def read(
    product: Product, account: str = "abcd1234", direction: str | None = None, *, rows: int = 1
) -> PartitionResult:
    """The result of a partition that was read to its end."""
    result = PartitionResult(Partition(product, account, direction, is_primary=account == "abcd1234"))
    result.rows = result.fetched.rows = rows
    result.windows, result.seconds = 3, 1.25
    result.end()
    return result


def failed(product: Product, account: str) -> PartitionResult:
    result = read(product, account)
    result.gaps.append("2026-11-01 00:00 to 2026-11-02 00:00: HTTP 500")
    result.end()
    return result


def cells(line: str) -> list[str]:
    return line.split()


def test_each_stream_has_one_line_with_the_sums_of_its_accounts() -> None:
    lines = summary([read(LONGEST, f"sub{number:05}", rows=10) for number in range(400)] + [read(SHORTEST, rows=2)])
    assert [cells(line)[:3] for line in lines[1:-1]] == [
        [LONGEST.stream, "4,000", "4,000"],
        [SHORTEST.stream, "2", "2"],
    ]
    assert cells(lines[1])[-2:] == ["500.0", "read"]
    assert lines[-1] == "4,002 rows in total (4,002 fetched, 0 refetched; 0 requests, 0 reports)"


@pytest.mark.parametrize("rows", [1, 987_654_321, 9_876_543_210])
@pytest.mark.parametrize("currencies", [(), ("EUR",), ("EUR", "GBP", "JPY", "PLN", "SEK", "USD")])
def test_no_line_is_longer_than_a_hundred_columns(rows: int, currencies: tuple[str, ...]) -> None:
    results = [read(product, rows=rows) for product in PRODUCTS.values()] + [failed(LONGEST, "sub00001")]
    for result in results:
        fetched = result.fetched
        fetched.refetched, fetched.requests, fetched.reports, result.seconds = rows, rows // 1000, rows // 10000, 1e6
        result.odd_rows = result.rows_without_id = fetched.unconfirmed_reports = 1234
        fetched.prices.update({currency: Decimal("12345.678901234") for currency in currencies})
    for lines in (summary(results), summary(results, with_partitions=True)):
        assert max(map(len, lines)) <= WIDTH
        assert all(currency in " ".join(lines) for currency in currencies)


def test_only_partitions_that_failed_have_a_line() -> None:
    lines = summary([read(LONGEST), failed(LONGEST, "sub00001"), read(SHORTEST)])
    assert [cells(line)[-1] for line in lines[1:3]] == ["failed", "read"]
    assert [cells(line)[:3] for line in lines[3:5]] == [
        ["stream", "direction", "account"],
        [LONGEST.stream, "-", "sub00001"],
    ]
    assert lines[5] == "1 window left out, the next run tries it first"
    assert len(lines) == 7


def test_a_stream_whose_partitions_were_skipped_in_part_was_read() -> None:
    skipped = read(LONGEST, "sub00001")
    skipped.status = SyncStatus.SKIPPED
    assert cells(summary([skipped])[1])[-1] == "skipped"
    assert cells(summary([skipped, read(LONGEST)])[1])[-1] == "read"


def test_the_level_debug_lists_every_partition(caplog: pytest.LogCaptureFixture) -> None:
    results = [read(LONGEST, direction="inbound"), read(LONGEST, direction="outbound")]
    with caplog.at_level(logging.INFO):
        log_summary(results)
    assert "inbound" not in caplog.text
    with caplog.at_level(logging.DEBUG):
        log_summary(results)
    assert [cells(message)[1] for message in caplog.messages if "bound" in message] == ["inbound", "outbound"]


def test_one_is_singular() -> None:
    result = read(SHORTEST)
    result.fetched.requests = result.fetched.reports = result.odd_rows = 1
    *_, total, odd = summary([result])
    assert total == "1 row in total (1 fetched, 0 refetched; 1 request, 1 report)"
    assert odd == "1 row with invalid characters"


def test_a_run_that_read_nothing_has_no_summary() -> None:
    assert summary([]) == []
