"""The page: its sections in one HTML file, with style sheet and charts in it and nothing from elsewhere."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from transform.page.bills import bill
from transform.page.costs import cost_by_day, costs_of, losses, reading, spend
from transform.page.invoices import invoice
from transform.page.quality import anomalies, compared_of, delivery, latency, limits, outcomes_of
from transform.page.section import MAX_CURRENCIES, Section, Window, span, window_of
from transform.page.words import count, listed, money, plural, share

if TYPE_CHECKING:
    from collections.abc import Callable

    from transform.page.marts import Marts

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p>{about}</p>
</header>
{tiles}
<nav>{links}</nav>
{sections}
<footer>{footer}</footer>
</body>
</html>
"""
SECTIONS: tuple[Callable[[Marts, Window], Section], ...] = (
    cost_by_day,
    spend,
    bill,
    invoice,
    delivery,
    latency,
    losses,
    anomalies,
    reading,
    limits,
)
"""The sections in their order."""
TITLE = "Vonage usage and cost"


def build(marts: Marts) -> str:
    """Return the page as HTML."""
    style = (files("transform.page") / "page.css").read_text(encoding="utf-8")
    window = window_of(marts)
    if window is None:
        empty = "The models have no rows. Load records, run <code>dbt build</code>, and make this page again."
        return _PAGE.format(title=TITLE, style=style, about=empty, tiles="", links="", sections="", footer="")
    sections = [section(marts, window) for section in SECTIONS]
    links = "\n".join(f'<a href="#{section.name}">{escape(section.title)}</a>' for section in sections)
    about = (
        f"Call and message records of the Vonage Reports API, {span(window.begin, window.last)}. Charts cover "
        f"{window.length}, bills the newest month. Days are in {escape(window.time_zone)}; the newest one may be "
        "incomplete. Currencies are never added up."
    )
    footer = "Made from the dbt project vonage_reports. The marts have every digit; this page rounds to two."
    return _PAGE.format(
        title=TITLE,
        style=style,
        about=about,
        tiles=tiles(marts, window),
        links=links,
        sections="\n".join(map(_html, sections)),
        footer=footer,
    )


def tiles(marts: Marts, window: Window) -> str:
    """Return the key figures. Each stands in a table of its section, too."""
    month = span(window.month, window.last)
    costs = [cost for cost in costs_of(marts, window) if cost["month"]]
    figures = [
        ("cost_by_day", f"{money(cost['month'])} {cost['currency']}", f"cost, {month}")
        for cost in costs[:MAX_CURRENCIES]
    ]
    if len(costs) > MAX_CURRENCIES:
        others = [cost["currency"] for cost in costs[MAX_CURRENCIES:]]
        figures.append(("cost_by_day", f"+ {plural(len(others), 'currency', 'currencies')}", listed(others, 3)))
    sent = outcomes_of(marts, window)
    if sent["sent"]:
        figures.append(("delivery", count(sent["sent"]), f"messages sent in {window.length}"))
    if sent["known"]:
        figures.append(("delivery", share(sent["succeeded"] / sent["known"]), "delivered, of known outcomes"))
    (lines,) = marts.rows("select count(*) as wrong from vonage__invoice_reconciliation where not is_equal")
    if lines["wrong"]:
        words = "difference from an invoice" if lines["wrong"] == 1 else "differences from invoices"
        figures.append(("invoice", count(lines["wrong"]), words))
    compared = compared_of(marts, window)
    if compared["compared"]:
        figures.append(
            ("anomalies", count(compared["odd"]), f"unusual, of {plural(compared['compared'], 'value')} compared")
        )
    shown = "\n".join(
        f'<a class="tile" href="#{section}"><b>{escape(value)}</b><span>{escape(text)}</span></a>'
        for section, value, text in figures
    )
    return f'<div class="tiles">{shown}</div>'


def _html(section: Section) -> str:
    lead = f'<p class="lead">{section.lead}</p>' if section.lead else ""
    body = "\n".join(section.body)
    return f"""<section id="{section.name}">
<h2>{escape(section.title)}</h2>
<p class="window">{escape(section.window[0].upper() + section.window[1:])}</p>
{lead}
{body}
</section>"""
