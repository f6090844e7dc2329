"""The sections about money."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from transform.page import charts
from transform.page.charts import OTHERS, render
from transform.page.section import (
    DAYS,
    NO_CURRENCY,
    Section,
    by_currency,
    empty,
    heading,
    largest_of,
    money,
    numbers,
    unit,
)
from transform.page.tables import table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from transform.page.marts import Marts, Row
    from transform.page.section import Window

MAX_GROUPS = 8
MAX_BARS = 12
MAX_DIFFERENCES = 30


def cost_by_day(marts: Marts, window: Window) -> Section:
    """Return the cost of each day by product."""
    rows = marts.rows(f"""
        select usage_date, product, coalesce(currency, '{NO_CURRENCY}') as currency, sum(counted_price) as price
        from vonage__daily_usage where {window.condition()}
        group by 1, 2, 3 having sum(counted_price) <> 0 order by 1
    """)
    section = Section("cost_by_day", "What does each day cost?", window.days)
    section.lead = (
        "Price of all traffic by product. A message that several products list is counted once. "
        "REPORTS-USAGE is the price of reading records."
    )
    # The same products in the same colors for every currency, by their shares.
    sums = {currency: sum(abs(row["price"]) for row in some) for currency, some in by_currency(rows, window)}
    shares = [row | {"share": abs(row["price"]) / sums[row["currency"]]} for row in rows if row["currency"] in sums]
    largest = largest_of(shares, "product", "share", MAX_GROUPS)
    for currency, some in by_currency(rows, window):
        totals: dict[tuple[date, str], Any] = defaultdict(int)
        for row in some:
            totals[row["usage_date"], row["product"] if row["product"] in largest else OTHERS] += row["price"]
        groups = [*largest, *([OTHERS] if len({row["product"] for row in shares}) > len(largest) else [])]
        days = [window.first + timedelta(days=number) for number in range(DAYS)]
        points = [
            {"day": day.isoformat(), "group": group, "rank": rank, "value": float(totals.get((day, group), 0))}
            for day in days
            for rank, group in enumerate(groups)
        ]
        section.body += [
            heading(currency, f"{money(sum(row['price'] for row in some))} in {DAYS} days"),
            render(charts.stacked_days(points, groups, currency), f"Cost of each day by product in {currency}"),
            numbers(
                [{"day": day} | {group: totals.get((day, group)) for group in groups} for day in reversed(days)],
                {"day": "Day"} | {group: group for group in groups},
                dict.fromkeys(groups, "money"),
            ),
        ]
    return section


def spend(marts: Marts, window: Window) -> Section:
    """Return the spend by account and by country."""
    section = Section("spend", "Where does the money go?", window.days)
    section.lead = "Price by account and by country. Products without a country are left out of the second chart."
    for title, column, join in (
        (
            "By account",
            "case when accounts.is_own then accounts.account_name else 'unassigned' end",
            "left join dim_vonage__account as accounts on usage.account_id = accounts.account_id",
        ),
        ("By country", "usage.country", ""),
    ):
        rows = marts.rows(f"""
            select {column} as name, coalesce(usage.currency, '{NO_CURRENCY}') as currency,
                sum(usage.counted_records) as records, sum(usage.counted_price) as price
            from vonage__daily_usage as usage {join}
            where {window.condition("usage.usage_date")}
            group by 1, 2 having sum(usage.counted_price) <> 0
        """)
        section.body.append(f"<h3>{title}</h3>")
        for currency, some in by_currency([row for row in rows if row["name"] is not None], window):
            prices = [(row["name"], row["price"]) for row in sorted(some, key=lambda row: -row["price"])]
            section.body += price_bars(prices, currency, f"{title}: price in {currency}")
        section.body.append(
            numbers(
                sorted(rows, key=lambda row: (row["currency"], -row["price"])),
                {"name": title[3:].capitalize(), "currency": "Currency", "records": "Records", "price": "Price"},
                {"records": "count", "price": "money"},
            )
        )
    return section


def bill(marts: Marts, window: Window) -> Section:
    """Return the newest month's bill of each customer."""
    rows = marts.rows(f"""
        select coalesce(accounts.account_name, billing.account_id) as account, billing.product, billing.country,
            coalesce(billing.currency, '{NO_CURRENCY}') as currency, billing.unit,
            sum(billing.units) as units, sum(billing.cost) as cost, sum(billing.amount) as amount,
            min(case when billing.has_plan then 1 else 0 end) as has_plan
        from vonage__customer_billing as billing
        left join dim_vonage__account as accounts on billing.account_id = accounts.account_id
        where billing.month = date '{window.month}'
        group by 1, 2, 3, 4, 5 having sum(billing.amount) <> 0 or sum(billing.cost) <> 0 order by 1, 4, 2
    """)
    totals: dict[tuple[str, str], Row] = {}
    for row in rows:
        total = totals.setdefault(
            (row["account"], row["currency"]),
            {"account": row["account"], "currency": row["currency"], "cost": 0, "amount": 0},
        )
        total["cost"] += row["cost"]
        total["amount"] += row["amount"]
    for total in totals.values():
        total["margin"] = total["amount"] - total["cost"]
    section = Section("bill", "What do customers owe this month?", window.in_month)
    plans = sum(1 for row in rows if row["has_plan"])
    section.lead = "Vonage's price, with the markup and fees of the price plan, rounded by the line. " + (
        "Every line has a price plan."
        if plans == len(rows)
        else f"{len(rows) - plans} of {len(rows)} lines have none, and are billed at cost."
    )
    section.body += [
        table(
            list(totals.values()),
            {"account": "Customer", "currency": "Currency", "cost": "Cost", "amount": "Bill", "margin": "Margin"},
            dict.fromkeys(("cost", "amount", "margin"), "money"),
        ),
        numbers(
            rows,
            {"account": "Customer", "product": "Product", "country": "Country", "unit": "Unit", "currency": "Currency"}
            | {"units": "Units", "cost": "Cost", "amount": "Bill"},
            {"units": "count", "cost": "money", "amount": "money"},
            title="The lines of the bills",
        ),
    ]
    return section


def invoice(marts: Marts, _: Window) -> Section:
    """Return the differences between Vonage's invoices and the records."""
    rows = marts.rows("""
        select invoice, month, time_zone, product, currency, invoiced, expected, difference, is_equal, likely_cause
        from vonage__invoice_reconciliation order by month desc, invoice, is_equal, abs(difference) desc, product
    """)
    section = Section("invoice", "Is Vonage's invoice right?", "the invoices in the seed vonage_invoices")
    if not rows:
        section.lead = "Each line of an invoice beside the records of its month, and records that the invoice lacks."
        section.body.append(empty("No invoice was entered. Add its lines to the seed <code>vonage_invoices</code>."))
        return section
    newest, month = rows[0]["invoice"], rows[0]["month"]
    rows = [row for row in rows if row["month"] == month]
    wrong = [row for row in rows if not row["is_equal"]]
    section.window = f"invoice {newest} for {month:%B %Y} ({rows[0]['time_zone']})"
    section.lead = f"{len(rows) - len(wrong)} of {len(rows)} lines agree with the records. " + (
        "The others, with the most likely cause:" if wrong else ""
    )
    heads = {"product": "Product", "currency": "Currency", "invoiced": "Invoiced", "expected": "Records"}
    heads |= {"difference": "Difference", "likely_cause": "Likely cause"}
    formats = dict.fromkeys(("invoiced", "expected", "difference"), "money")
    if wrong:
        section.body.append(table(wrong[:MAX_DIFFERENCES], heads, formats))
    section.body.append(numbers(rows, heads, formats, title="All lines"))
    return section


def losses(marts: Marts, window: Window) -> Section:
    """Return the price of what failed."""
    rows = marts.rows(f"""
        select product, status, error_code, coalesce(currency, '{NO_CURRENCY}') as currency,
            sum(records) as records, sum(lost_price) as price
        from vonage__spend_lost where month = date '{window.month}' group by 1, 2, 3, 4 order by 6 desc
    """)
    section = Section("losses", "What was paid for failures?", window.in_month)
    section.lead = "Price of messages, calls and checks that failed."
    for currency, some in by_currency(rows, window):
        products: dict[str, Any] = defaultdict(int)
        for row in some:
            products[row["product"]] += row["price"]
        prices = sorted(products.items(), key=lambda each: -each[1])
        section.body += price_bars(prices, currency, f"Price of failures by product in {currency}")
    section.body.append(
        numbers(
            rows,
            {"product": "Product", "status": "Status", "error_code": "Error", "currency": "Currency"}
            | {"records": "Records", "price": "Price"},
            {"records": "count", "price": "money"},
        )
        if rows
        else empty("Nothing.")
    )
    return section


def reading(marts: Marts, window: Window) -> Section:
    """Return what reading the records cost."""
    rows = marts.rows(f"""
        select product, coalesce(currency, '{NO_CURRENCY}') as currency, sum(requests) as requests,
            sum(rows_pulled) as rows_pulled, sum(price) as price, max(product_refetched_share) as refetched
        from vonage__extraction_cost where month = date '{window.month}' group by 1, 2 order by 5 desc, 1
    """)
    section = Section("reading", "What did reading these records cost?", window.in_month)
    section.lead = (
        "The Reports API bills by the row. Refetched is the share of rows, over all time, that were pulled more than "
        "once, by this tap or by another tool."
    )
    for currency, some in by_currency([row for row in rows if row["price"]], window):
        prices = [(row["product"], row["price"]) for row in some]
        section.body += price_bars(prices, currency, f"Price of reading by product in {currency}")
    section.body.append(
        numbers(
            rows,
            {"product": "Product", "currency": "Currency", "requests": "Requests", "rows_pulled": "Rows"}
            | {"price": "Price", "refetched": "Refetched"},
            {"requests": "count", "rows_pulled": "count", "price": "money", "refetched": "share"},
        )
        if rows
        else empty("The stream reports_usage was not loaded, or has no rows in this month.")
    )
    return section


def price_bars(prices: Sequence[tuple[str, Any]], currency: str, description: str) -> list[str]:
    """Return a chart of the first prices, below their currency."""
    shown = [
        {"name": name, "value": float(price), "text": f"{money(price)} {currency}"} for name, price in prices[:MAX_BARS]
    ]
    return [unit(currency), render(charts.bars(shown), description)]
