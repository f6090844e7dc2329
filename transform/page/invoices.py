"""The section about Vonage's invoices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transform.page.accounts import accounts_of
from transform.page.section import NO_CURRENCY, Section, empty, numbers
from transform.page.tables import table
from transform.page.words import money, plural

if TYPE_CHECKING:
    from transform.page.marts import Marts, Row
    from transform.page.section import Window

MAX_DIFFERENCES = 30


def invoice(marts: Marts, _: Window) -> Section:
    """Return the differences between Vonage's invoices and the records, of all invoices."""
    rows = marts.rows(f"""
        select invoice, month, time_zone, account_id, product, coalesce(currency, '{NO_CURRENCY}') as currency,
            coalesce(usage_currency, '{NO_CURRENCY}') as usage_currency,
            billed_on, invoiced, expected, difference, is_equal, likely_cause
        from vonage__invoice_reconciliation order by month desc, invoice, is_equal, abs(difference) desc, product
    """)
    section = Section("invoice", "Is Vonage's invoice right?", "all invoices in the seed vonage_invoices")
    section.lead = "Lines of invoices beside the records of their month, and a line for records that no invoice has."
    if not rows:
        section.body.append(empty("No invoice was entered. Add its lines to the seed <code>vonage_invoices</code>."))
        return section
    accounts = accounts_of(marts)
    invoices: dict[tuple[object, ...], Row] = {}
    for row in rows:
        row["account"] = accounts.label(row["account_id"])
        if row["expected"] and row["usage_currency"] != row["currency"]:
            # An amount in another currency than its line says would be added up with others.
            row["likely_cause"] = f"{row['likely_cause']} (records: {money(row['expected'])} {row['usage_currency']})"
            row["expected"] = None
        key = (row["invoice"], row["month"], row["time_zone"])
        total = invoices.setdefault(key, row | {"month": f"{row['month']:%B %Y}", "lines": 0, "wrong": 0})
        total["lines"] += 1
        total["wrong"] += not row["is_equal"]
    # An open month has records without a line for every product: invoiced lines are not to be cut off for them.
    wrong = sorted((row for row in rows if not row["is_equal"]), key=lambda row: row["invoiced"] is None)
    section.lead += (
        f" {len(rows) - len(wrong):,} of {plural(len(rows), 'line')} agree with the records."
        f"{' The others, with the most likely cause, are below.' if wrong else ''}"
    )
    counts = {"lines": "count", "wrong": "count"}
    heads = {"invoice": "Invoice", "month": "Month", "time_zone": "Time zone", "lines": "Compared", "wrong": "Differ"}
    section.body.append(table(list(invoices.values()), heads, counts))
    heads = {"invoice": "Invoice"} if len(invoices) > 1 else {}
    heads |= {"billed_on": "Billed on"} if any(row["billed_on"] not in {None, row["invoice"]} for row in rows) else {}
    heads |= {"account": "Account"} if any(row["account_id"] for row in rows) else {}
    heads |= {"product": "Product", "currency": "Currency", "invoiced": "Invoiced", "expected": "From records"}
    heads |= {"difference": "Difference", "likely_cause": "Likely cause"}
    formats = dict.fromkeys(("invoiced", "expected", "difference"), "money")
    if wrong:
        section.body += ["<h3>Lines that differ</h3>", table(wrong, heads, formats, most=MAX_DIFFERENCES)]
    section.body.append(numbers(rows, heads, formats, title="All lines"))
    return section
