"""Parts of the page: the time that it shows, its sections, and what they have in common."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from html import escape
from typing import TYPE_CHECKING, Any

from transform.page.tables import table
from transform.page.words import count, listed, plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from transform.page.marts import Marts, Row

MAX_DAYS = 30
"""The most days of the charts."""
MAX_CURRENCIES = 3
"""The currencies with charts; tables have all."""
MAX_BARS = 12
"""The bars of a chart; tables have all."""
NO_CURRENCY = "(no currency)"


@dataclass
class Window:
    """The time that the page shows.

    Attributes:
        begin: The first day of which there are rows.
        first: The first day of the charts.
        last: The newest day of which there are rows.
        time_zone: The time zone of the days.
        currencies: The currencies, those with most records first.
        counts_once: False if a message that several products list is counted in each of them.
    """

    begin: date
    first: date
    last: date
    time_zone: str
    currencies: Sequence[str] = ()
    counts_once: bool = True

    @property
    def month(self) -> date:
        """The first day of the newest month."""
        return self.last.replace(day=1)

    @property
    def is_month_over(self) -> bool:
        """True if the newest day is the last one of its month."""
        return (self.last + timedelta(days=1)).day == 1

    @property
    def dates(self) -> list[date]:
        """The days of the charts."""
        return [self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1)]

    @property
    def length(self) -> str:
        """The number of days in words."""
        return plural(len(self.dates), "day")

    @property
    def days(self) -> str:
        """The window in words."""
        return f"{span(self.first, self.last)} ({self.time_zone})"

    @property
    def in_month(self) -> str:
        """The newest month in words, as far as there are rows."""
        return f"{span(self.month, self.last)} ({self.time_zone})"

    @property
    def once(self) -> str:
        """How messages are counted that several products list."""
        if self.counts_once:
            return "A message that several products list is counted once."
        return "A message that several products list is counted in each of them (vonage_count_once is off)."

    def condition(self, column: str = "usage_date") -> str:
        """Return SQL that selects the days of the charts."""
        return f"{column} between date '{self.first}' and date '{self.last}'"


@dataclass
class Section:
    """A part of the page.

    Attributes:
        name: Its name in links.
        title: Its title.
        window: What time it is about.
        lead: What it says, as HTML.
        body: Charts and tables, as HTML.
    """

    name: str
    title: str
    window: str
    lead: str = ""
    body: list[str] = field(default_factory=list)


def span(first: date, last: date) -> str:
    """Return two days and what is between them in words."""
    if first == last:
        return f"{last:%B} {last.day}, {last.year}"
    year = "" if first.year == last.year else f", {first.year}"
    month = "" if (first.year, first.month) == (last.year, last.month) else f"{last:%B} "
    return f"{first:%B} {first.day}{year} to {month}{last.day}, {last.year}"


def window_of(marts: Marts) -> Window | None:
    """Return the time to show, or None if there are no rows."""
    (row,) = marts.rows("""
        select min(date_day) as begin_day, max(date_day) as last, max(time_zone) as time_zone from dim_vonage__date
    """)
    if row["last"] is None:
        return None
    first = max(row["begin_day"], row["last"] - timedelta(days=MAX_DAYS - 1))
    window = Window(row["begin_day"], first, row["last"], row["time_zone"])
    currencies = marts.rows(f"""
        select coalesce(currency, '{NO_CURRENCY}') as currency, sum(counted_records) as records
        from vonage__daily_usage where usage_date >= date '{min(window.first, window.month)}'
        group by 1 having sum(abs(counted_price)) > 0 order by 2 desc, 1
    """)
    window.currencies = [currency["currency"] for currency in currencies]
    (rows,) = marts.rows("select sum(records) as records, sum(counted_records) as counted from vonage__daily_usage")
    (same,) = marts.rows("select count(*) as lines from vonage__same_message where is_certain")
    window.counts_once = not same["lines"] or rows["records"] != rows["counted"]
    return window


def by_currency(rows: Iterable[Row], window: Window) -> list[tuple[str, list[Row]]]:
    """Return rows by currency, in the page's order of currencies. Currencies are never added up."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["currency"]].append(row)
    ranks = {currency: rank for rank, currency in enumerate(window.currencies)}
    return sorted(groups.items(), key=lambda group: (ranks.get(group[0], len(ranks)), group[0]))


def charted(groups: Sequence[tuple[str, list[Row]]]) -> tuple[list[tuple[str, list[Row]]], str]:
    """Return the currencies with charts, and HTML that says which ones have none."""
    left_out = [currency for currency, _ in groups[MAX_CURRENCIES:]]
    if not left_out:
        return list(groups), ""
    names = escape(listed(left_out))
    note = (
        f'<p class="note">Without a chart: {names}. The table below has {"it" if len(left_out) == 1 else "them"}.</p>'
    )
    return list(groups[:MAX_CURRENCIES]), note


def largest(rows: Sequence[object], what: str, most: int = MAX_BARS) -> str:
    """Return what a chart leaves out.

    Args:
        rows: All rows.
        what: What they are, in the plural.
        most: How many of them the chart has.
    """
    return f"The {most} largest of {count(len(rows))} {what}; the table has all." if len(rows) > most else ""


def largest_of(rows: Sequence[Row], column: str, value: str, most: int) -> list[str]:
    """Return the values of a column with the largest sums; one less if others are left."""
    sums: dict[str, Any] = defaultdict(int)
    for row in rows:
        sums[row[column]] += row[value]
    ordered = sorted(sums, key=lambda name: (-sums[name], name))
    return ordered if len(ordered) <= most else ordered[: most - 1]


def numbers(
    rows: Sequence[Row],
    columns: Mapping[str, str],
    formats: Mapping[str, str],
    title: str = "The numbers as a table",
) -> str:
    """Return a table that opens on a click, and on paper."""
    return f"<details><summary>{title}</summary>{table(rows, columns, formats)}</details>"


def heading(currency: str, text: str) -> str:
    """Return the heading of a currency."""
    return f"<h3>{escape(currency)} <small>{escape(text)}</small></h3>"


def unit(currency: str) -> str:
    """Return the currency of a chart."""
    return f'<p class="unit">{escape(currency)}</p>'


def empty(text: str) -> str:
    """Return what stands where there is nothing."""
    return f'<p class="empty">{text}</p>'
