"""The figures of a run's progress, and the text of its line: how far it is, how fast, and how long the rest takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from tap_vonage_reports.plurals import counted

MIN_ROUND_DAYS = 10
"""Fewer days are shown with a decimal place."""
DAY, HOUR_MINUTES, DAY_HOURS = timedelta(days=1), 60, 24


@dataclass(frozen=True)
class Figures:
    """The progress of a run at one moment.

    Attributes:
        planned: The time that the run reads, over all partitions.
        left: How much of that it has not read yet.
        rows: Rows that were written.
        seconds: How long the run has been reading.
        in_flight: Reports that the API generates now.
        waiting: Reports that were not requested yet, or were generated and wait to be read.
    """

    planned: timedelta
    left: timedelta
    rows: int
    seconds: float
    in_flight: int = 0
    waiting: int = 0

    @property
    def share(self) -> float:
        """How much of the plan is read, from 0 to 1."""
        return 1 - self.left / self.planned if self.planned else 1.0

    @property
    def percent(self) -> int:
        """The share in percent, rounded down: 100 is the end."""
        return math.floor(self.share * 100)

    @property
    def days(self) -> str:
        """The length of the plan in days."""
        days = self.planned / DAY
        return f"{days:,.0f} days" if days >= MIN_ROUND_DAYS else f"{days:.1f} days"

    @property
    def time_left(self) -> str:
        """How long the rest takes at the speed of this run so far; empty while nothing is read, or all of it."""
        if self.share in (0, 1):
            return ""
        return f"about {_duration(self.seconds * (1 - self.share) / self.share)} left"

    @property
    def details(self) -> str:
        """The counts of rows and reports."""
        speed = self.rows / self.seconds if self.seconds else 0
        parts = [f"{counted(self.rows, 'row')}, {speed:,.0f} rows/s"]
        if self.in_flight or self.waiting:
            parts.append(f"{counted(self.in_flight, 'report')} in flight, {self.waiting:,} waiting")
        return "; ".join(parts)


def _duration(seconds: float) -> str:
    """Return a length of time in its two largest units, rounded up to the minute."""
    minutes = math.ceil(seconds / 60)
    hours, minutes = divmod(minutes, HOUR_MINUTES)
    days, hours = divmod(hours, DAY_HOURS)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
