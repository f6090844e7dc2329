"""The page: its sections in one HTML file, with style sheet and charts in it and nothing from elsewhere."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from transform.page.costs import bill, cost_by_day, invoice, losses, reading, spend
from transform.page.quality import anomalies, delivery, latency, limits
from transform.page.section import NO_CURRENCY, Section, Window, money, window_of

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
    (first,) = marts.rows("select min(date_day) as day from dim_vonage__date")
    about = (
        f"Call and message records of the Vonage Reports API, {first['day']} to {window.last}. "
        f"Days are in {escape(window.time_zone)}; the newest one may be incomplete. Currencies are never added up."
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
    """Return the key figures of the newest month."""
    costs = marts.rows(f"""
        select coalesce(currency, '{NO_CURRENCY}') as currency, sum(counted_price) as price
        from vonage__daily_usage where usage_date >= date '{window.month}'
        group by 1 having sum(counted_price) <> 0 order by 2 desc
    """)
    (messages,) = marts.rows(f"""
        select sum(sent) as sent, sum(succeeded) as succeeded, sum(known_outcomes) as known
        from vonage__delivery where usage_date >= date '{window.month}'
    """)
    (wrong,) = marts.rows("select count(*) as lines from vonage__invoice_reconciliation where not is_equal")
    (odd,) = marts.rows(f"select count(*) as days from vonage__anomalies where is_anomaly and {window.condition()}")
    month = f"{window.month:%B}"
    figures = [(f"{money(cost['price'])} {cost['currency']}", f"cost in {month}") for cost in costs[:3]]
    if messages["sent"]:
        figures.append((f"{int(messages['sent']):,}", f"messages sent in {month}"))
    if messages["known"]:
        figures.append((f"{messages['succeeded'] / messages['known']:.1%}", "delivered, of known outcomes"))
    if wrong["lines"]:
        figures.append((f"{wrong['lines']}", "lines of invoices that differ"))
    figures.append((f"{odd['days']}", "unusual values in 30 days"))
    shown = "\n".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(text)}</span></div>' for value, text in figures
    )
    return f'<div class="tiles">{shown}</div>'


def _html(section: Section) -> str:
    body = "\n".join(section.body)
    return f"""<section id="{section.name}">
<h2>{escape(section.title)}</h2>
<p class="window">{escape(section.window[0].upper() + section.window[1:])}</p>
<p>{section.lead}</p>
{body}
</section>"""
