"""The sections about delivery, and about the data."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from transform.page import charts
from transform.page.charts import COLORS, render
from transform.page.section import NO_CURRENCY, Section, empty, numbers, seconds
from transform.page.tables import table

if TYPE_CHECKING:
    from transform.page.marts import Marts
    from transform.page.section import Window

MAX_BARS = 12
MAX_ANOMALIES = 20
CLASSES = {"succeeded": COLORS[1], "failed": COLORS[2], "pending": COLORS[3], "unknown": COLORS[8]}


def delivery(marts: Marts, window: Window) -> Section:
    """Return the outcomes of messages."""
    columns = "sum(sent) as sent, sum(succeeded) as succeeded, sum(failed) as failed, sum(pending) as pending, "
    columns += "sum(unknown) as unknown, sum(known_outcomes) as known"
    section = Section("delivery", "Do messages arrive?", window.days)
    section.lead = (
        "Outbound SMS and MESSAGES. The rate is delivered messages of those with a known outcome: "
        "pending ones, and those whose outcome the carrier never told, are left out."
    )
    products = marts.rows(f"""
        select product, {columns} from vonage__delivery where {window.condition()} group by 1 order by 2 desc
    """)
    shares = [
        {"name": row["product"], "group": group, "value": float(row[group])} for row in products for group in CLASSES
    ]
    countries = marts.rows(f"""
        select coalesce(country, 'unknown country') as country, {columns} from vonage__delivery
        where {window.condition()} group by 1 having sum(known_outcomes) > 0 order by 2 desc
    """)
    bars = [
        {
            "name": row["country"],
            "value": float(row["succeeded"] / row["known"]),
            "text": f"{row['succeeded'] / row['known']:.1%} of {int(row['known']):,}",
        }
        for row in countries[:MAX_BARS]
    ]
    if not products:
        section.body.append(empty("No messages were sent in this time."))
        return section
    heads = {"sent": "Sent", "succeeded": "Delivered", "failed": "Failed", "pending": "Pending", "unknown": "Unknown"}
    formats = dict.fromkeys(heads, "count") | {"rate": "share"}
    for row in (*products, *countries):
        row["rate"] = row["succeeded"] / row["known"] if row["known"] else None
    section.body += [
        "<h3>What became of them</h3>",
        render(charts.parts(shares, CLASSES), "Outcomes of messages by product"),
        numbers(products, {"product": "Product"} | heads | {"rate": "Rate"}, formats),
        "<h3>Delivery rate by country</h3>",
        render(charts.rates(bars), "Delivery rate by country, with the number of known outcomes"),
        numbers(countries, {"country": "Country"} | heads | {"rate": "Rate"}, formats),
    ]
    return section


def latency(marts: Marts, window: Window) -> Section:
    """Return how long delivery takes."""
    rows = marts.rows(f"""
        select coalesce(country, 'unknown country') as country, product, coalesce(channel, '') as channel,
            records, p50_ms / 1000 as p50, p95_ms / 1000 as p95
        from vonage__latency where month = date '{window.month}' order by records desc
    """)
    section = Section("latency", "How long does delivery take?", window.in_month)
    section.lead = (
        "Half of the delivered messages took no longer than the first point (p50), 95% than the second (p95). "
        "The scale is logarithmic."
    )
    if not rows:
        section.body.append(empty("No messages were delivered in this month."))
        return section
    for row in rows:
        row["name"] = f"{row['country']} {row['product']} {row['channel']}".replace("MESSAGES", "Messages").strip()
        row["text"] = f"{seconds(row['p50'])} / {seconds(row['p95'])}"
    points = [
        {"name": row["name"], "text": row["text"], "low": max(row["p50"], 0.01), "high": max(row["p95"], 0.01)}
        for row in rows[:MAX_BARS]
    ]
    section.body += [
        render(charts.ranges(points), "Latency by country and channel: p50 and p95 in seconds"),
        numbers(
            rows,
            {"country": "Country", "product": "Product", "channel": "Channel", "records": "Delivered"}
            | {"p50": "p50 (s)", "p95": "p95 (s)"},
            {"records": "count", "p50": "money", "p95": "money"},
        ),
    ]
    return section


def anomalies(marts: Marts, window: Window) -> Section:
    """Return the days that differ from what is usual."""
    rows = marts.rows(f"""
        select anomalies.usage_date, anomalies.product, accounts.account_name as account,
            case when anomalies.metric = 'price' then coalesce(anomalies.currency, '{NO_CURRENCY}')
                else 'records' end as unit,
            anomalies.expected, anomalies.actual, anomalies.difference
        from vonage__anomalies as anomalies
        left join dim_vonage__account as accounts on anomalies.account_id = accounts.account_id
        where anomalies.is_anomaly and {window.condition()}
        order by abs(anomalies.difference) / (anomalies.expected + 1) desc, 1 desc
    """)
    section = Section("anomalies", "Which days were unusual?", window.days)
    section.lead = (
        "Days far from the median of the same weekday in the four weeks before. The newest day is left out, because it "
        "is usually not complete."
    )
    section.body.append(
        table(
            rows[:MAX_ANOMALIES],
            {"usage_date": "Day", "product": "Product", "account": "Account", "unit": "Unit"}
            | {"expected": "Expected", "actual": "Actual", "difference": "Difference"},
            dict.fromkeys(("expected", "actual", "difference"), "money"),
        )
        if rows
        else empty("None.")
    )
    if len(rows) > MAX_ANOMALIES:
        section.body.append(f"<p>The largest {MAX_ANOMALIES} of {len(rows)}.</p>")
    return section


def limits(marts: Marts, _: Window) -> Section:
    """Return what the page cannot tell."""
    section = Section("limits", "What to know about these numbers", "all time")
    same = marts.rows(f"""
        select product, other_product, is_certain, coalesce(currency, '{NO_CURRENCY}') as currency,
            sum(records) as records, sum(total_price) as price
        from vonage__same_message group by 1, 2, 3, 4 order by 3 desc, 1, 2
    """)
    for row in same:
        row["counted"] = "once" if row["is_certain"] else "may be twice"
    section.body.append("<h3>Messages in several products</h3>")
    section.body.append(
        "<p>Vonage lists an SMS of the Messages API also as SMS, and one of Verify also as SMS or MESSAGES, each with "
        "a price. Where both rows are found, only one is counted. Where the other row cannot be found, the message "
        "may be counted twice:</p>"
        + table(
            same,
            {"product": "Rows of", "other_product": "Also in", "counted": "Counted", "currency": "Currency"}
            | {"records": "Records", "price": "Price"},
            {"records": "count", "price": "money"},
        )
        if same
        else "<p>None were found.</p>"
    )
    hidden = marts.rows("select reason from vonage__same_message_limits where reason is not null order by 1")
    section.body += [f"<p>{escape(row['reason'])}</p>" for row in hidden]
    streams = marts.rows("select stream, records, newest_row_at, newest_load_at from vonage__freshness order by stream")
    for row in streams:
        for name in ("newest_row_at", "newest_load_at"):
            row[name] = f"{row[name]:%Y-%m-%d %H:%M}" if row[name] else None
    missing = [row["stream"] for row in streams if not row["records"]]
    section.body.append("<h3>Streams</h3>")
    if missing:
        section.body.append(f"<p>Without rows, so not on this page: {', '.join(map(escape, missing))}.</p>")
    section.body.append(
        numbers(
            streams,
            {"stream": "Stream", "records": "Records", "newest_row_at": "Newest row (UTC)"}
            | {"newest_load_at": "Last loaded (UTC)"},
            {"records": "count"},
            title="How fresh they are",
        )
    )
    section.body.append(
        "<p>Number rental and other recurring charges are not in the Reports API, so they are on no chart.</p>"
    )
    return section
