"""Past usage counts what REPORTS-USAGE plausibly says, and prices rows to the digit of a single row's price."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.extract import past_usage as module
from tap_vonage_reports.extract.past_usage import PastUsage, past_usage

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_ROW: dict[str, Any] = {"requested_product": "SMS", "items_written": None, "total_price": None, "currency": "EUR"}


def used(monkeypatch: pytest.MonkeyPatch, *rows: Mapping[str, Any]) -> list[PastUsage] | None:
    monkeypatch.setattr(module, "_usage_rows", lambda _session: [{**NO_ROW, **row} for row in rows])
    session: Any = SimpleNamespace()
    return past_usage(session)


def test_a_price_has_four_decimals_and_is_left_out_where_it_would_be_zero() -> None:
    prices = {"EUR": Decimal("0.01"), "USD": Decimal("0.0001")}
    usage = PastUsage(product="SMS", rows=3, price=defaultdict(Decimal, prices))
    assert usage.price_of(1) == {"EUR": Decimal("0.0033")}
    assert usage.price_of(20) == {"EUR": Decimal("0.0667"), "USD": Decimal("0.0007")}


@pytest.mark.parametrize(("number", "counts"), [(10**12 - 1, True), (10**12, False), (-1, False), (0, True)])
def test_an_implausible_number_of_rows_or_price_counts_as_none(
    monkeypatch: pytest.MonkeyPatch, number: int, *, counts: bool
) -> None:
    found = used(monkeypatch, {"items_written": number, "total_price": Decimal(number)}, {"items_written": 5})
    assert found is not None
    (usage,) = found
    kept = number if counts else 0
    assert (usage.product, usage.requests, usage.rows, usage.price["EUR"]) == ("SMS", 2, kept + 5, Decimal(kept))


def test_products_that_the_tap_does_not_know_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"requested_product": name, "items_written": 2} for name in ("NEW", None, "SMS", "NEWER")]
    found = used(monkeypatch, *rows)
    assert found is not None
    assert [(usage.product, usage.requests, usage.rows) for usage in found] == [("SMS", 1, 2), ("other", 3, 6)]
