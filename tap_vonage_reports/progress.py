"""Progress of a run: how much of its plan is read, how fast, and how long the rest will take."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from tap_vonage_reports.metrics import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tap_vonage_reports.metrics import PartitionResult

logger = logging.getLogger(__name__)

LOG_EVERY_SECONDS = 60.0
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
    def percent(self) -> str:
        """The share, rounded down: 100% is the end."""
        return f"{math.floor(self.share * 100)}%"

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


class Renderer(Protocol):
    """A way to show progress.

    Attributes:
        interval_seconds: How often to show it.
    """

    interval_seconds: float

    def show(self, figures: Figures) -> None:
        """Show the progress."""

    def close(self) -> None:
        """Show nothing more."""


class LogLines:
    """Shows progress as one line a minute in the log."""

    interval_seconds = LOG_EVERY_SECONDS

    def show(self, figures: Figures) -> None:
        """Log the progress."""
        time_left = f", {figures.time_left}" if figures.time_left else ""
        logger.info("progress: read %s of %s%s (%s)", figures.percent, figures.days, time_left, figures.details)

    def close(self) -> None:
        """Lines need no end."""


class Progress:
    """The progress of one run. Only the main thread uses it."""

    def __init__(
        self, new_renderer: Callable[[], Renderer] = LogLines, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare; nothing is shown before `start`.

        Args:
            new_renderer: Makes what shows the progress.
            clock: Returns seconds.
        """
        self._new_renderer = new_renderer
        self._clock = clock
        self._renderer: Renderer | None = None
        self._due = math.inf

    def start(self, results: Sequence[PartitionResult], reports: Callable[[], tuple[int, int]]) -> None:
        """Start to show the progress of a run.

        Args:
            results: The results of all its partitions; what is left of them now is the plan.
            reports: Returns how many reports are in flight, and how many wait.
        """
        self._results, self._reports = results, reports
        self._planned = _left(results)
        self._started = self._clock()
        self._renderer = self._new_renderer()
        self._due = self._started + self._renderer.interval_seconds

    def tick(self) -> None:
        """Show the progress if that is due. Cheap otherwise; call it while waiting, and after some rows."""
        now = self._clock()
        if now < self._due or self._renderer is None:
            return
        self._due = now + self._renderer.interval_seconds
        in_flight, waiting = self._reports()
        rows = sum(result.rows for result in self._results)
        seconds = now - self._started
        self._renderer.show(Figures(self._planned, _left(self._results), rows, seconds, in_flight, waiting))

    def close(self) -> None:
        """Show nothing more."""
        self._due = math.inf
        if self._renderer:
            self._renderer.close()


def _left(results: Sequence[PartitionResult]) -> timedelta:
    return sum((result.left for result in results), timedelta(0))
