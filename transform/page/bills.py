"""The section about the bills of customers."""

from __future__ import annotations

from datetime import timedelta
from html import escape
from typing import TYPE_CHECKING

from transform.page.accounts import UNASSIGNED, UNASSIGNED_IS, accounts_of
from transform.page.section import NO_CURRENCY, Section, by_currency, empty, numbers, span
from transform.page.tables import table
from transform.page.words import listed, money, plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from transform.page.marts import Marts, Row
    from transform.page.section import Window

MAX_CUSTOMERS = 30
CUSTOMERS = {"account": "Customer", "currency": "Currency", "cost": "Cost", "amount": "Bill", "margin": "Margin"}
LINES = {"account": "Customer", "product": "Product", "country": "Country", "unit": "Unit", "currency": "Currency"}
LINES |= {"units": "Units", "cost": "Cost", "amount": "Bill"}
FORMATS = dict.fromkeys(("cost", "amount", "margin"), "money")


def bill(marts: Marts, window: Window) -> Section:
    """Return the newest month's bill of each customer, and the one before, which may be the final one."""
    section = Section("bill", "What do customers owe this month?", window.in_month)
    section.lead = "Vonage's price, with the markup and fees of the price plan, rounded by the line."
    rows = _lines(marts, window.month)
    if rows:
        without = sum(1 for row in rows if not row["has_plan"])
        verb = "has" if without == 1 else "have"
        section.lead += (
            f" {without} of {plural(len(rows), 'line')} {verb} no plan: billed at cost."
            if without
            else " Every line has a price plan."
        )
        section.lead += "" if window.is_month_over else " The month is not over, so no bill is final."
        section.lead += f" {UNASSIGNED_IS}" if any(row["account_id"] == UNASSIGNED for row in rows) else ""
        section.lead += _billed_twice(rows, window)
        customers, totals = _customers(rows, window)
        section.body.append(table(customers, CUSTOMERS, FORMATS, totals=totals, most=MAX_CUSTOMERS))
        if len(customers) > MAX_CUSTOMERS:
            section.body.append(numbers(customers, CUSTOMERS, FORMATS, title="All customers"))
        section.body.append(numbers(rows, LINES, {"units": "count"} | FORMATS, title="The lines of the bills"))
    else:
        section.body.append(empty("No record of this month has a price or a fee."))
    last = window.month - timedelta(days=1)
    before = _lines(marts, last.replace(day=1))
    if before:
        customers, totals = _customers(before, window)
        title = f"The bills of {span(max(window.begin, last.replace(day=1)), last)}"
        section.body.append(numbers([*customers, *totals], CUSTOMERS, FORMATS, title=title))
    return section


def _lines(marts: Marts, month: date) -> list[Row]:
    """Return the lines of the bills of a month."""
    rows = marts.rows(f"""
        select account_id, product, country, coalesce(currency, '{NO_CURRENCY}') as currency, unit,
            sum(units) as units, sum(cost) as cost, sum(amount) as amount,
            coalesce(sum(doubtful_cost), 0) as doubtful_cost, min(case when has_plan then 1 else 0 end) as has_plan
        from vonage__customer_billing where month = date '{month}'
        group by 1, 2, 3, 4, 5 having sum(amount) <> 0 or sum(cost) <> 0
    """)
    accounts = accounts_of(marts)
    for row in rows:
        row["account"] = accounts.label(row["account_id"])
    return sorted(rows, key=lambda row: (row["account"], row["currency"], row["product"], row["country"] or ""))


def _billed_twice(rows: Sequence[Row], window: Window) -> str:
    """Return what the bills may have twice, because another product may list the same messages."""
    doubtful = [row for row in rows if row["doubtful_cost"]]
    if not doubtful:
        return ""
    amounts = [
        f"{money(sum(row['doubtful_cost'] for row in some))} {escape(currency)}"
        for currency, some in by_currency(doubtful, window)
    ]
    return (
        f" Of the cost, {listed(amounts)} may be billed twice, because another product may list the same messages: "
        '<a href="#limits">see below</a>.'
    )


def _customers(rows: Sequence[Row], window: Window) -> tuple[list[Row], list[Row]]:
    """Return the sums of each customer and currency, the largest bill first, and those of each currency."""
    customers: dict[tuple[str, str], Row] = {}
    sums: dict[str, Row] = {}
    for row in rows:
        start = {"currency": row["currency"], "cost": 0, "amount": 0}
        customer = customers.setdefault((row["account"], row["currency"]), start | {"account": row["account"]})
        for total in (customer, sums.setdefault(row["currency"], start | {"account": "All customers"})):
            total["cost"] += row["cost"]
            total["amount"] += row["amount"]
    for total in (*customers.values(), *sums.values()):
        total["margin"] = total["amount"] - total["cost"]
    ordered = [
        row
        for _, some in by_currency(customers.values(), window)
        for row in sorted(some, key=lambda row: (-abs(row["amount"]), row["account"]))
    ]
    return ordered, [total for _, (total,) in by_currency(sums.values(), window)]
