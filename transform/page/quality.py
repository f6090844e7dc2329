"""The sections about delivery, and about the data."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from transform.page import charts
from transform.page.accounts import accounts_of
from transform.page.charts import COLORS, render
from transform.page.section import MAX_BARS, NO_CURRENCY, Section, empty, largest, numbers
from transform.page.tables import table
from transform.page.words import count, listed, money, plural, seconds, share

if TYPE_CHECKING:
    from transform.page.marts import Marts, Row
    from transform.page.section import Window

MAX_ANOMALIES = 20
LEAST_LATENCY = 0.01
"""Seconds, for a logarithmic scale has no 0."""
NO_WEEKS = "no value has four weeks before it"
CLASSES = {"succeeded": COLORS[1], "failed": COLORS[2], "pending": COLORS[3], "unknown": COLORS[8]}
OUTCOMES = "sum(sent) as sent, sum(succeeded) as succeeded, sum(failed) as failed, sum(pending) as pending, "
OUTCOMES += "sum(unknown) as unknown, sum(known_outcomes) as known"
UNKNOWN_COUNTRY = "unknown country"


def outcomes_of(marts: Marts, window: Window) -> Row:
    """Return the messages of the days of the charts, and their outcomes; None where there are none."""
    (row,) = marts.rows(f"select {OUTCOMES} from vonage__delivery where {window.condition()}")
    return row


def delivery(marts: Marts, window: Window) -> Section:
    """Return the outcomes of messages."""
    section = Section("delivery", "Do messages arrive?", window.days)
    products = marts.rows(f"""
        select product as name, {OUTCOMES} from vonage__delivery where {window.condition()}
        group by 1 order by 2 desc, 1
    """)
    if not products:
        section.lead = "Outbound SMS and MESSAGES."
        section.body.append(empty("No messages were sent in this time."))
        return section
    section.lead = (
        "Outbound SMS and MESSAGES. The rate is delivered messages of those with a known outcome: "
        "pending ones, and those whose outcome the carrier never told, are left out. " + _twice(marts, window)
    )
    countries = marts.rows(f"""
        select coalesce(country, '{UNKNOWN_COUNTRY}') as name, {OUTCOMES} from vonage__delivery
        where {window.condition()} group by 1 order by 2 desc, 1
    """)
    for row in (*products, *countries):
        row["rate"] = row["succeeded"] / row["known"] if row["known"] else None
    shares = [{"name": row["name"]} | {group: float(row[group]) for group in CLASSES} for row in products]
    rated = [row for row in countries if row["known"]]
    bars = [
        {"name": row["name"], "value": float(row["rate"]), "text": f"{share(row['rate'])} of {count(row['known'])}"}
        for row in rated[:MAX_BARS]
    ]
    heads = {"sent": "Sent", "succeeded": "Delivered", "failed": "Failed", "pending": "Pending", "unknown": "Unknown"}
    formats = dict.fromkeys(heads, "count") | {"rate": "share"}
    heads |= {"rate": "Rate"}
    section.body += [
        "<h3>What became of them</h3>",
        render(charts.parts(shares, CLASSES), "Outcomes of messages by product", window.days),
        numbers(products, {"name": "Product"} | heads, formats),
        "<h3>Delivery rate by country</h3>",
    ]
    if bars:
        label = "Delivery rate by country, with the number of known outcomes"
        section.body.append(render(charts.rates(bars), label, window.days, largest(rated, "countries")))
    else:
        section.body.append(empty("No outcome is known yet."))
    section.body.append(numbers(countries, {"name": "Country"} | heads, formats))
    return section


def _twice(marts: Marts, window: Window) -> str:
    """Return whether a message that two products list is counted twice in the mart of outcomes."""
    (rows,) = marts.rows(f"""
        select coalesce(sum(records), 0) as records, coalesce(sum(counted_records), 0) as counted
        from vonage__daily_usage
        where stream in ('sms', 'messages') and direction = 'outbound' and {window.condition()}
    """)
    sent = outcomes_of(marts, window)["sent"] or 0
    if not window.counts_once:
        return window.once
    (doubtful,) = marts.rows("""
        select coalesce(sum(records), 0) as records from vonage__same_message
        where not is_certain and product in ('SMS', 'MESSAGES')
    """)
    rest = ""
    if doubtful["records"]:
        number = int(doubtful["records"])
        verb = "is" if number == 1 else "are"
        rest = (
            f" Over all time, {plural(number, 'row')} {verb} counted although another product may list the same "
            f'message: <a href="#limits">see below</a>.'
        )
    left_out, counted_elsewhere = rows["records"] - sent, rows["records"] - rows["counted"]
    if left_out > 0:
        other = plural(left_out, "row")
        return f"A message that two products list counts once here: {other} of the other product are left out.{rest}"
    if counted_elsewhere > 0:
        listed_too = plural(counted_elsewhere, "message")
        verb = "is" if counted_elsewhere == 1 else "are"
        return (
            f"A message that two products list counts in both: {listed_too} here {verb} also in another product.{rest}"
        )
    return f"No message of this time was found in two products.{rest}"


def latency(marts: Marts, window: Window) -> Section:
    """Return how long delivery takes."""
    rows = marts.rows(f"""
        select coalesce(country, '{UNKNOWN_COUNTRY}') as country, product, coalesce(channel, '') as channel,
            records, p50_ms / 1000 as p50, p95_ms / 1000 as p95
        from vonage__latency where month = date '{window.month}' order by records desc, 1, 2, 3
    """)
    section = Section("latency", "How long does delivery take?", window.in_month)
    section.lead = (
        "Half of the delivered messages took no longer than the first point (p50), 95% than the second (p95). "
        "The scale is logarithmic: the same step to the right multiplies the time."
    )
    if not rows:
        section.body.append(empty("No messages were delivered in this month."))
        return section
    points = [
        {
            "name": f"{row['country']} {row['product']} {row['channel']}".replace("MESSAGES", "Messages").strip(),
            "text": f"{seconds(row['p50'])} / {seconds(row['p95'])}",
            "low": max(row["p50"], LEAST_LATENCY),
            "high": max(row["p95"], LEAST_LATENCY),
        }
        for row in rows[:MAX_BARS]
    ]
    columns = {"country": "Country", "product": "Product", "channel": "Channel", "records": "Delivered"}
    columns |= {"p50": "p50", "p95": "p95"}
    label = "Latency by country and channel: p50 and p95"
    section.body += [
        render(charts.ranges(points), label, window.in_month, largest(rows, "combinations of country and channel")),
        numbers(rows, columns, {"records": "count", "p50": "seconds", "p95": "seconds"}),
    ]
    return section


def compared_of(marts: Marts, window: Window) -> Row:
    """Return how many values were compared with earlier weeks, of how many days, and how many were unusual."""
    (row,) = marts.rows(f"""
        select count(*) as compared, count(distinct usage_date) as days,
            coalesce(sum(case when is_anomaly then 1 else 0 end), 0) as odd
        from vonage__anomalies where {window.condition()}
    """)
    return row


def anomalies(marts: Marts, window: Window) -> Section:
    """Return the days that differ from what is usual."""
    rows = marts.rows(f"""
        select usage_date, product, account_id, metric, coalesce(currency, '{NO_CURRENCY}') as currency,
            expected, actual, difference
        from vonage__anomalies where is_anomaly and {window.condition()}
        order by abs(difference) / (abs(expected) + 1) desc, usage_date desc, product, account_id, metric
    """)
    section = Section("anomalies", "Which days were unusual?", window.days)
    section.lead = (
        "Days far from the median of the same weekday in the four weeks before, by product and account, the largest "
        "difference first. The newest day is left out, because it is usually not complete, and so are the first four "
        "weeks of a product and account."
    )
    compared = compared_of(marts, window)
    among = f"{plural(compared['compared'], 'value')} of {plural(compared['days'], 'day')} could be compared."
    if not rows:
        section.body.append(empty(f"None: {among}" if compared["compared"] else f"Not known yet: {NO_WEEKS}."))
        return section
    section.lead += f" {among}"
    accounts = accounts_of(marts)
    figures = ("expected", "actual", "difference")
    for row in rows:
        row["account"] = accounts.label(row["account_id"])
        row["what"] = f"cost in {row['currency']}" if row["metric"] == "price" else "records"
        for name in figures:
            row[name] = money(row[name]) if row["metric"] == "price" else f"{row[name]:,.0f}".replace("-", "\u2212")
    columns = {"usage_date": "Day", "product": "Product", "account": "Account", "what": "What"}
    columns |= {"actual": "Actual", "expected": "Expected", "difference": "Difference"}
    formats = dict.fromkeys(figures, "number")
    section.body.append(table(rows[:MAX_ANOMALIES], columns, formats))
    if len(rows) > MAX_ANOMALIES:
        section.body += [
            f'<p class="note">The {MAX_ANOMALIES} largest of {count(len(rows))}.</p>',
            numbers(
                sorted(rows, key=lambda row: row["usage_date"], reverse=True), columns, formats, title="All by day"
            ),
        ]
    return section


def limits(marts: Marts, window: Window) -> Section:
    """Return what the page cannot tell."""
    section = Section("limits", "What to know about these numbers", f"all time ({window.time_zone})")
    same = marts.rows(f"""
        select product, other_product, is_certain, coalesce(currency, '{NO_CURRENCY}') as currency,
            sum(records) as records, sum(total_price) as price
        from vonage__same_message group by 1, 2, 3, 4 order by 3 desc, 1, 2
    """)
    for row in same:
        row["counted"] = "may be twice" if not row["is_certain"] else "once" if window.counts_once else "twice"
    heads = {"product": "Rows of", "other_product": "Also in", "counted": "Counted", "currency": "Currency"}
    heads |= {"records": "Records", "price": "Price"}
    section.body.append("<h3>Messages in several products</h3>")
    section.body.append(
        f"<p>Vonage lists an SMS of the Messages API also as SMS, and one of Verify also as SMS or MESSAGES, each with "
        f"a price. {window.once} Where the other row cannot be found, it may be counted twice:</p>"
        + table(same, heads, {"records": "count", "price": "money"})
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
        section.body.append(f"<p>Without rows, so not on this page: {escape(listed(missing, len(missing)))}.</p>")
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
