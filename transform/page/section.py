"""Parts of the page: the time that it shows, its sections, and what they have in common."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from html import escape
from typing import TYPE_CHECKING, Any

from transform.page.tables import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from transform.page.marts import Marts, Row

DAYS = 30
"""The days of the charts."""
MAX_CURRENCIES = 3
"""The currencies with charts; tables have all."""
NO_CURRENCY = "(no currency)"
HALF_A_CENT = 0.005
MINUTE, HOUR = 60, 3600


@dataclass
class Window:
    """The time that the page shows.

    Attributes:
        first: The first day of the charts.
        last: The newest day of which there are rows.
        time_zone: The time zone of the days.
        currencies: The currencies, those with most records first.
    """

    first: date
    last: date
    time_zone: str
    currencies: Sequence[str] = ()

    @property
    def month(self) -> date:
        """The first day of the newest month."""
        return self.last.replace(day=1)

    @property
    def days(self) -> str:
        """The window in words."""
        return (
            f"{self.first:%B} {self.first.day} to {self.last:%B} {self.last.day}, {self.last.year} ({self.time_zone})"
        )

    @property
    def in_month(self) -> str:
        """The newest month in words."""
        return f"{self.last:%B %Y}, up to {self.last:%B} {self.last.day} ({self.time_zone})"

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


def window_of(marts: Marts) -> Window | None:
    """Return the time to show, or None if there are no rows."""
    (row,) = marts.rows("select max(date_day) as last, max(time_zone) as time_zone from dim_vonage__date")
    if row["last"] is None:
        return None
    currencies = marts.rows(f"""
        select coalesce(currency, '{NO_CURRENCY}') as currency, sum(counted_records) as records
        from vonage__daily_usage group by 1 having sum(counted_price) <> 0 order by 2 desc, 1
    """)
    names = [currency["currency"] for currency in currencies]
    return Window(row["last"] - timedelta(days=DAYS - 1), row["last"], row["time_zone"], names)


def by_currency(rows: Iterable[Row], window: Window) -> list[tuple[str, list[Row]]]:
    """Return rows by currency. Currencies are never added up."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["currency"]].append(row)
    return [(currency, groups[currency]) for currency in window.currencies if currency in groups][:MAX_CURRENCIES]


def largest_of(rows: Sequence[Row], column: str, value: str, most: int) -> list[str]:
    """Return the values of a column with the largest sums; one less if others are left."""
    sums: dict[str, Any] = defaultdict(int)
    for row in rows:
        sums[row[column]] += row[value]
    ordered = sorted(sums, key=lambda name: (-sums[name], name))
    return ordered if len(ordered) <= most else ordered[: most - 1]


def numbers(
    rows: Sequence[Row], columns: dict[str, str], formats: dict[str, str], title: str = "The numbers as a table"
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


def money(value: Any) -> str:  # noqa: ANN401 - a number of any kind
    """Return an amount in words."""
    return "< 0.01" if 0 < value < HALF_A_CENT else f"{value:,.2f}"


def seconds(value: float) -> str:
    """Return a length of time in words."""
    if value < MINUTE:
        return f"{value:.2g} s"
    return f"{value / MINUTE:.3g} min" if value < HOUR else f"{value / HOUR:.2g} h"
