"""The sections about money."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from transform.page import charts
from transform.page.accounts import UNASSIGNED_IS, accounts_of
from transform.page.charts import COLORS, OTHERS, render
from transform.page.section import (
    MAX_BARS,
    NO_CURRENCY,
    Section,
    by_currency,
    charted,
    empty,
    heading,
    largest,
    largest_of,
    numbers,
    unit,
)
from transform.page.tables import table
from transform.page.words import listed, money

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

    from transform.page.marts import Marts, Row
    from transform.page.section import Window

MAX_GROUPS = 8
NO_COUNTRY = "no country"


def costs_of(marts: Marts, window: Window) -> list[Row]:
    """Return the cost of the newest month and of the days of the charts, for each currency."""
    rows = marts.rows(f"""
        select coalesce(currency, '{NO_CURRENCY}') as currency,
            sum(case when usage_date >= date '{window.month}' then counted_price else 0 end) as month,
            sum(case when {window.condition()} then counted_price else 0 end) as days
        from vonage__daily_usage group by 1
    """)
    return [row for _, (row,) in by_currency(rows, window) if row["currency"] in window.currencies]


def cost_by_day(marts: Marts, window: Window) -> Section:
    """Return the cost of each day by product."""
    rows = marts.rows(f"""
        select usage_date, product, coalesce(currency, '{NO_CURRENCY}') as currency, sum(counted_price) as price
        from vonage__daily_usage where {window.condition()}
        group by 1, 2, 3 having sum(counted_price) <> 0 order by 1
    """)
    section = Section("cost_by_day", "What does each day cost?", window.days)
    section.lead = (
        f"Price of all traffic by product, as Vonage charges it. {window.once} "
        "REPORTS-USAGE is the price of reading records."
    )
    costs = costs_of(marts, window)
    if not costs:
        section.body.append(empty("No record has a price in this time."))
        return section
    heads = {"currency": "Currency", "days": f"In {window.length}", "month": f"Since {window.month:%B} 1"}
    section.body.append(table(costs, heads, {"days": "money", "month": "money"}))
    groups = by_currency(rows, window)
    shown, note = charted(groups)
    # The same products in the same colors for every currency, by their shares.
    sums = {currency: sum(abs(row["price"]) for row in some) for currency, some in shown}
    shares = [row | {"share": abs(row["price"]) / sums[row["currency"]]} for row in rows if row["currency"] in sums]
    colors = dict(zip(largest_of(shares, "product", "share", MAX_GROUPS), COLORS, strict=False))
    for currency, some in shown:
        section.body += _days_of(currency, some, colors | {OTHERS: COLORS[-1]}, window)
    left_out = {currency for currency, _ in groups[len(shown) :]}
    if left_out:
        heads = {"usage_date": "Day", "currency": "Currency", "product": "Product", "price": "Price"}
        others = [row for row in reversed(rows) if row["currency"] in left_out]
        section.body += [note, numbers(others, heads, {"price": "money"}, title="The currencies without a chart")]
    return section


def _days_of(currency: str, rows: Sequence[Row], colors: Mapping[str, str], window: Window) -> list[str]:
    """Return the chart of a currency's days, and its table. Products without a color are added up."""
    totals: dict[tuple[date, str], Any] = defaultdict(int)
    for row in rows:
        totals[row["usage_date"], row["product"] if row["product"] in colors else OTHERS] += row["price"]
    products = [product for product in colors if any(product == name for _, name in totals)]
    points = [
        {"day": day.isoformat(), "group": product, "rank": rank, "value": float(totals.get((day, product), 0))}
        for day in window.dates
        for rank, product in enumerate(products)
    ]
    days: list[Row] = [
        {"day": day} | {product: totals.get((day, product)) for product in products} for day in window.dates
    ]
    for row in days:
        row["total"] = sum(row[product] or 0 for product in products)
    columns = {"day": "Day", "total": "All"} | {product: product for product in products}
    others = sorted({row["product"] for row in rows} - set(colors))
    chart = charts.stacked_days(points, {product: colors[product] for product in products}, currency)
    note = f"Others: {listed(others)}." if others else ""
    return [
        heading(currency, f"{money(sum(row['price'] for row in rows))} in {window.length}"),
        render(chart, f"Cost of each day by product in {currency}", window.days, note),
        numbers(days[::-1], columns, dict.fromkeys(("total", *products), "money")),
    ]


def spend(marts: Marts, window: Window) -> Section:
    """Return the spend by account and by country."""
    section = Section("spend", "Where does the money go?", window.days)
    accounts = accounts_of(marts)
    section.body += [
        *_spend_by(marts, window, "account", "account_id", accounts.payer),
        *_spend_by(marts, window, "country", "country", lambda country: country or NO_COUNTRY),
    ]
    section.lead = f"Price by account and by country. {window.once} Some products have no country. {UNASSIGNED_IS}"
    return section


def _spend_by(marts: Marts, window: Window, what: str, column: str, name_of: Callable[[str | None], str]) -> list[str]:
    """Return the prices by what a column says, as charts and a table."""
    rows: dict[tuple[str, str], Row] = {}
    for row in marts.rows(f"""
        select {column} as id, coalesce(currency, '{NO_CURRENCY}') as currency,
            sum(counted_records) as records, sum(counted_price) as price
        from vonage__daily_usage where {window.condition()} group by 1, 2
    """):
        name = name_of(row["id"])
        sums = rows.setdefault((name, row["currency"]), {"name": name, "currency": row["currency"]})
        sums["records"] = sums.get("records", 0) + row["records"]
        sums["price"] = sums.get("price", 0) + row["price"]
    priced = [row for row in rows.values() if row["price"]]
    plural_of = {"account": "accounts", "country": "countries"}[what]
    body = [f"<h3>By {what}</h3>"]
    if not priced:
        return [*body, empty("No record has a price in this time.")]
    groups = by_currency(priced, window)
    shown, note = charted(groups)
    for currency, some in shown:
        prices = _by_size(some)
        body += price_bars(
            [(row["name"], row["price"]) for row in prices],
            currency,
            f"Price by {what} in {currency}",
            window.days,
            plural_of,
        )
    columns = {"name": what.capitalize(), "currency": "Currency", "records": "Records", "price": "Price"}
    ordered = [row for _, some in groups for row in _by_size(some)]
    return [*body, note, numbers(ordered, columns, {"records": "count", "price": "money"})]


def _by_size(rows: Sequence[Row]) -> list[Row]:
    """Return rows by the size of their price, also of a credit."""
    return sorted(rows, key=lambda row: (-abs(row["price"]), row["name"]))


def losses(marts: Marts, window: Window) -> Section:
    """Return the price of what failed."""
    rows = marts.rows(f"""
        select product, status, error_code, coalesce(currency, '{NO_CURRENCY}') as currency,
            sum(records) as records, sum(lost_price) as price
        from vonage__spend_lost where month = date '{window.month}' group by 1, 2, 3, 4 order by 6 desc, 1, 2, 3
    """)
    section = Section("losses", "What was paid for failures?", window.in_month)
    section.lead = f"Price of messages, calls and checks that failed. {window.once}"
    if not rows:
        section.body.append(empty("Nothing: no failed record of this month has a price."))
        return section
    groups = by_currency(rows, window)
    shown, note = charted(groups)
    for currency, some in shown:
        products: dict[str, Any] = defaultdict(int)
        for row in some:
            products[row["product"]] += row["price"]
        prices = sorted(products.items(), key=lambda each: -each[1])
        what = f"Price of failures by product in {currency}"
        section.body += price_bars(prices, currency, what, window.in_month, "products")
    columns = {"product": "Product", "status": "Status", "error_code": "Error", "currency": "Currency"}
    columns |= {"records": "Records", "price": "Price"}
    ordered = [row for _, some in groups for row in some]
    section.body += [note, numbers(ordered, columns, {"records": "count", "price": "money"})]
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
    if not rows:
        section.body.append(empty("The stream reports_usage was not loaded, or has no rows in this month."))
        return section
    shown, note = charted(by_currency([row for row in rows if row["price"]], window))
    for currency, some in shown:
        prices = [(row["product"], row["price"]) for row in some]
        what = f"Price of reading by product in {currency}"
        section.body += price_bars(prices, currency, what, window.in_month, "products")
    columns = {"product": "Product", "currency": "Currency", "requests": "Requests", "rows_pulled": "Rows"}
    columns |= {"price": "Price", "refetched": "Refetched"}
    formats = {"requests": "count", "rows_pulled": "count", "price": "money", "refetched": "share"}
    section.body += [note, numbers([row for _, some in by_currency(rows, window) for row in some], columns, formats)]
    return section


def price_bars(prices: Sequence[tuple[str, Any]], currency: str, label: str, window: str, what: str) -> list[str]:
    """Return a chart of the first prices, below their currency.

    Args:
        prices: Names and prices, the largest first.
        currency: Their currency.
        label: What the chart shows.
        window: The time that it is about, with its time zone.
        what: What the names are, in the plural.
    """
    shown = [{"name": name, "value": float(price), "text": money(price)} for name, price in prices[:MAX_BARS]]
    return [unit(currency), render(charts.bars(shown), label, window, largest(prices, what))]
