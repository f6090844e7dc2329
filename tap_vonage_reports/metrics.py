"""What a partition costs: what is asked of the API for it, and the rows that come, by which it bills [confirmed]."""

from __future__ import annotations

import threading
from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import portion

from tap_vonage_reports.intervals import bounds, length, spans
from tap_vonage_reports.redaction import safe_for_log
from tap_vonage_reports.tables import money
from tap_vonage_reports.timestamps import normalize_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tap_vonage_reports.intervals import TimeWindow


MIN_PRICE, MAX_PRICE = Decimal("1e-9"), Decimal("1e9")
"""What no answer costs is no price, and might be too long to be written."""


class FetchMetrics:
    """What one partition has cost so far. Safe to use from several threads.

    Attributes:
        known: The time that was read before, whose rows are pulled again.
        requests: Queries for records that were sent, those that had to be sent again included.
        reports: Reports that were asked for.
        rows: Rows that the API has given, also those that were not delivered. Whether it bills for an answer that got
            lost is unknown: its rows are not counted.
        again: How many of these had been given before.
        prices: What the answers say that it costs, by currency [likely: 0 in all samples].
    """

    def __init__(self, date_field: str = "") -> None:
        """Begin at nothing.

        Args:
            date_field: The field with a row's time.
        """
        self.known: portion.Interval = portion.empty()
        self.requests = 0
        self.reports = 0
        self.rows = 0
        self.again = 0
        self.prices: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._date_field = date_field
        self._lock = threading.Lock()

    @classmethod
    def total(cls, costs: Iterable[FetchMetrics]) -> FetchMetrics:
        """What several partitions cost together."""
        total = cls()
        for cost in costs:
            total.requests += cost.requests
            total.reports += cost.reports
            total.rows += cost.rows
            total.again += cost.again
            for currency, price in cost.prices.items():
                total.prices[currency] += price
        return total

    @property
    def price(self) -> str:
        """The prices, as a table shows them."""
        return money(self.prices)

    def count_request(self) -> None:
        """A query for records is sent."""
        with self._lock:
            self.requests += 1

    def count_report(self) -> None:
        """A report was asked for."""
        with self._lock:
            self.reports += 1

    def count_price(self, body: Mapping[str, Any]) -> None:
        """An answer has come, and may say what it costs."""
        price = body.get("price")
        if isinstance(price, (int, Decimal)) and price is not True and MIN_PRICE <= price <= MAX_PRICE:
            with self._lock:
                self.prices[safe_for_log(body.get("currency"))] += Decimal(price)

    def count_page(
        self, records: Sequence[Mapping[str, Any]], window: TimeWindow, *, repeated: int = 0, known: int = 0
    ) -> int:
        """A page has come.

        Args:
            records: Its rows, without those that are repeated.
            window: The window that it is of.
            repeated: How many rows stood on the pages before, too.
            known: How many of the rows that come now had come when the window was begun for the first time.

        Returns:
            How many rows came.
        """
        self._add(len(records) + repeated, max(self._known_of(records, window), min(known, len(records))) + repeated)
        return len(records) + repeated

    def count_looked_up(self, rows: int) -> None:
        """Rows that were looked up have come."""
        self._add(rows, rows)

    def count_file(self, rows: int, window: TimeWindow) -> None:
        """A report's file has come. How many of its rows had come before is told by the time that they are of."""
        whole = spans([window])
        seconds = length(whole).total_seconds()
        self._add(rows, round(rows * length(whole & self.known).total_seconds() / seconds) if seconds else 0)

    def _add(self, rows: int, again: int) -> None:
        with self._lock:
            self.rows += rows
            self.again += again

    def _known_of(self, records: Sequence[Mapping[str, Any]], window: TimeWindow) -> int:
        """How many rows of a window lie in time that was read before."""
        whole = spans([window])
        known = whole & self.known
        if known.empty or known == whole:
            return 0 if known.empty else len(records)
        parts = bounds(known)
        times = (normalize_timestamp(str(row.get(self._date_field))) for row in records)
        return sum(any(start <= time < end for start, end in parts) for time in times if time)
