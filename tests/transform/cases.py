"""The cases that the page is tested with: marts by name."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tests.transform.made_up import LAST, MadeUp, days

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CURRENCIES = {"USD": "3", "GBP": "1234567.89", "JPY": "9876543", "CHF": "0.001", "SEK": "-5"}
"""Currencies beside EUR, with the price of a day."""
ODD_NAMES = {
    "odd00001": "<b>Bold & \"quoted\" 'name'</b><script>alert(1)</script>",
    "odd00002": "\U0001f600\U0001f469\u200d\U0001f467 Emoji GmbH",
    "odd00003": "\u0634\u0631\u0643\u0629 \u0627\u0644\u0627\u062a\u0635\u0627\u0644\u0627\u062a",
    "odd00004": "\u202eturned",
    "odd00005": "A very long name that somebody has typed into the field International Holdings GmbH & Co. KGaA",
    "odd00006": "x" * 200,
    "odd00007": "\u682a\u5f0f\u4f1a\u793e\u65e5\u672c\u96fb\u8a71\u901a\u4fe1\u30b5\u30fc\u30d3\u30b9",
    "odd00008": "two\nlines\tand `${ticks}`",
    "odd00009": "unassigned",
}
SAME_NAMES = {"same0001": "Acme", "same0002": "acme ", "same0003aaaa": "Branch", "same0003bbbb": "Branch"}
MANY = 200


def common(marts: MadeUp) -> None:
    marts.time_zone = "Europe/Berlin"
    marts.common()


def currencies(marts: MadeUp) -> None:
    marts.common()
    for currency, price in CURRENCIES.items():
        for day in days(10):
            marts.usage(day, Decimal(price), currency=currency)
        marts.loss(Decimal(price), currency=currency)
        marts.reading(Decimal(price), currency=currency)
    marts.usage(LAST, 7, currency=None)


def invoices(marts: MadeUp) -> None:
    marts.few()
    marts.invoice("A-1")
    error: dict[str, Any] = {"difference": 5, "invoiced": 15, "is_equal": False, "likely_cause": "price"}
    marts.invoice("A-2", product="AMD", **error)
    marts.invoice("A-2", account_id="acc00001", product="ASR", **error)
    other = {"currency": "CHF", "usage_currency": "USD", "expected": 7, "difference": None, "is_equal": False}
    marts.invoice("A-2", product="MESSAGES", likely_cause="another currency", **other)
    for number in range(40):
        marts.invoice("<B-1>", month=date(2026, 9, 1), product=f"PRODUCT-{number}", **error)


def open_month(marts: MadeUp) -> None:
    marts.few()
    error: dict[str, Any] = {"difference": -5, "is_equal": False, "likely_cause": "missing line"}
    for number in range(40):
        marts.invoice("C-1", month=date(2026, 11, 1), product=f"PRODUCT-{number}", invoiced=None, **error)
    marts.invoice("A-1", product="AMD", difference=5, invoiced=15, is_equal=False, likely_cause="price")


def several_invoices(marts: MadeUp) -> None:
    marts.few()
    error: dict[str, Any] = {"difference": 5, "invoiced": 15, "is_equal": False, "likely_cause": "price"}
    for product, billed_on in {"SMS": "A-1, A-2", "AMD": "A-2"}.items():
        marts.invoice("A-1, A-2", product=product, billed_on=billed_on, **error)


def doubtful_bills(marts: MadeUp) -> None:
    marts.few()
    marts.usage(LAST, 1, currency="USD")
    first, *_, last = [row for row in marts.rows["vonage__customer_billing"] if row["month"] == LAST.replace(day=1)]
    first |= {"doubtful_records": 3, "doubtful_cost": Decimal("1.25")}
    last |= {"doubtful_records": 1, "doubtful_cost": Decimal("0.75")}


def twice_counted_once(marts: MadeUp) -> None:
    marts.few()
    twice(marts, counted=6)


def twice_counted_twice(marts: MadeUp) -> None:
    marts.few()
    twice(marts, counted=10)


def twice_left_out(marts: MadeUp) -> None:
    marts.few()
    twice(marts, counted=6)
    marts.rows["vonage__delivery"][-1]["sent"] -= 4


def twice(marts: MadeUp, counted: int) -> None:
    """Let four of the ten SMS of a day be MESSAGES, too, and the mart of outcomes have all SMS."""
    marts.usage(LAST, 1, counted_records=counted)
    same = {"month": LAST.replace(day=1), "product": "SMS", "other_product": "MESSAGES", "is_certain": True}
    marts.rows["vonage__same_message"].append(same | {"currency": "EUR", "records": 4, "total_price": 1})
    sms = [row for row in marts.rows["vonage__daily_usage"] if row["stream"] == "sms"]
    marts.delivery(LAST, sum(row["records"] for row in sms if row["usage_date"] in days(30)))


def names(marts: MadeUp) -> None:
    marts.common()
    for number, (account, name) in enumerate((ODD_NAMES | SAME_NAMES).items(), 1):
        marts.account(account, name)
        marts.usage(LAST, number, account_id=account)
    marts.account("foreign1", is_own=False)
    marts.usage(LAST, 100, account_id="foreign1")
    marts.usage(LAST, 200, account_id=None)
    marts.anomaly(LAST - timedelta(days=2), account_id="odd00001")
    marts.anomaly(LAST - timedelta(days=1), actual=10, difference=0, is_anomaly=False)
    marts.anomaly(LAST - timedelta(days=2), account_id="same0003aaaa", metric="price", currency="EUR")


def many(marts: MadeUp) -> None:
    marts.common()
    for number in range(MANY + 50):
        marts.account(f"many{number:04}", f"Customer {number}")
        marts.usage(
            LAST - timedelta(days=number % 30), Decimal(number) + Decimal("0.01"), account_id=f"many{number:04}"
        )
        anomaly = {"account_id": f"many{number:04}", "product": f"PRODUCT-{number % 9}"}
        marts.anomaly(LAST - timedelta(days=number % 28 + 1), difference=number, **anomaly)
    for number in range(50):
        country = f"{chr(65 + number // 26)}{chr(65 + number % 26)}"
        marts.usage(LAST, 1, country=country)
        marts.delivery(LAST, 1000 + number, country=country)
        marts.latency(country=country, records=number, p95_ms=1000 * 3.0 ** (number % 12))
        marts.loss(number, product=f"PRODUCT-{number}-OF-MANY")
        marts.reading(number, product=f"PRODUCT-{number}-OF-MANY")


def products(marts: MadeUp) -> None:
    marts.few()
    marts.delivery(LAST)
    marts.usage(LAST, 5, product="MESSAGES", stream="messages")
    for number in range(11):
        for day in days(10 if number > 3 else 1):
            marts.usage(day, 10 * number if number > 3 else number, product=f"PRODUCT-{number}")
    same = {"month": LAST.replace(day=1), "product": "MESSAGES", "other_product": "SMS", "is_certain": False}
    marts.rows["vonage__same_message"].append(same | {"currency": "EUR", "records": 7, "total_price": 1})


def credits_equal_costs(marts: MadeUp) -> None:
    for day in days():
        marts.usage(day, 5, account_id="acc00001")
        marts.usage(day, -5, account_id="acc00002", country="FR", product="VIDEO-API")
    marts.usage(LAST, 1, currency="USD")


def negative(marts: MadeUp) -> None:
    for day in days():
        marts.usage(day, -3, product="SMS")
        marts.usage(day, 1, product="VOICE-CALL", country="FR", account_id="acc00002")


def nothing(marts: MadeUp) -> None:
    marts.fresh()


def one_day(marts: MadeUp) -> None:
    marts.usage(LAST, 2)
    marts.delivery(LAST)


def one_product_without_accounts(marts: MadeUp) -> None:
    for day in days(5):
        marts.usage(day, "0.0001")


def without_prices(marts: MadeUp) -> None:
    for day in days():
        marts.usage(day, None, currency=None)
        marts.delivery(day, sent=1, succeeded=0, failed=0, pending=1, known_outcomes=0)


def only_a_future_plan(marts: MadeUp) -> None:
    marts.few()
    for row in marts.rows["vonage__customer_billing"]:
        row |= {"has_plan": False, "amount": row["cost"]}


CASES: Mapping[str, Callable[[MadeUp], None]] = {
    "common": common,
    "currencies": currencies,
    "invoices": invoices,
    "open_month": open_month,
    "several_invoices": several_invoices,
    "doubtful_bills": doubtful_bills,
    "twice_counted_once": twice_counted_once,
    "twice_counted_twice": twice_counted_twice,
    "twice_left_out": twice_left_out,
    "names": names,
    "many": many,
    "products": products,
    "credits_equal_costs": credits_equal_costs,
    "negative": negative,
    "nothing": nothing,
    "one_day": one_day,
    "one_product_without_accounts": one_product_without_accounts,
    "without_prices": without_prices,
    "only_a_future_plan": only_a_future_plan,
}


def made(name: str) -> MadeUp:
    """Return the marts of a case."""
    marts = MadeUp()
    CASES[name](marts)
    return marts
