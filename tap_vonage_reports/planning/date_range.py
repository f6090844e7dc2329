"""The date range of a run, from the settings, the retention of each product, and Vonage's clock."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tap_vonage_reports.timestamps import months_before

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_vonage_reports.config.settings import Settings
    from tap_vonage_reports.products import Product, Retention

logger = logging.getLogger(__name__)

DEFAULT_RANGE = timedelta(days=7)
END_MARGIN = timedelta(seconds=60)
"""The distance between the end of a query and Vonage's clock (60 s works in production [confirmed])."""


class DateRange:
    """The dates that a run may read."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], datetime],
        *,
        earliest: Callable[[], datetime] | None = None,
        is_known: Callable[[], bool] = lambda: True,
    ) -> None:
        """Set up the dates of a run.

        Args:
            settings: The settings, for `start_date` and `end_date`.
            clock: Returns the time on Vonage's clock, in UTC.
            earliest: Returns the earliest time that any clock shows; the same if left out.
            is_known: Returns False while nothing but this machine's clock tells the time.
        """
        self._settings = settings
        self._clock = clock
        self._earliest_clock = earliest or clock
        self._is_known = is_known
        self._clamped: set[Retention] = set()

    def clock(self) -> datetime:
        """Return the time on the earliest clock, which is that of a report's request."""
        return min(self._clock(), self._earliest_clock())

    def now(self) -> datetime:
        """Return the latest end of a query: now on Vonage's clock less the margin, to the second."""
        return (self._clock() - END_MARGIN).replace(microsecond=0)

    def read_at(self) -> datetime:
        """Return since when rows that are read from now on are read: `now`, on the earliest clock."""
        return (self.clock() - END_MARGIN).replace(microsecond=0)

    def end(self) -> datetime:
        """Return where to stop reading: `end_date`, or now."""
        return self._settings.end_date or self.now()

    def earliest(self, product: Product) -> datetime:
        """Return the oldest time of which Vonage still has records of a product."""
        now = self._clock().replace(microsecond=0)
        return months_before(now, product.retention.months) - timedelta(days=product.retention.days)

    def start(self, product: Product, end: datetime | None = None) -> datetime:
        """Return where a first run starts: `start_date`, or 7 days ago, but not before the retention limit.

        Args:
            product: The product.
            end: Where reading ends: 7 days before it, where that is earlier; None for the run's end.

        While nothing but this machine's clock tells the time, no `start_date` is too early: by a clock that is ahead,
        rows that Vonage still has would count as deleted, and not be read.
        """
        earliest = self.earliest(product)
        start = self._settings.start_date or min(self.end(), end or self.end()) - DEFAULT_RANGE
        if start >= earliest or not self._is_known():
            return start
        if product.retention not in self._clamped:
            self._clamped.add(product.retention)
            logger.warning(
                "%s: start_date is before the retention limit (%s); reading from %s",
                product.stream,
                product.retention,
                earliest.date(),
            )
        return earliest
