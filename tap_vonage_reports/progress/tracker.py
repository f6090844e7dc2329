"""Tracker of a run's progress: sums up the time that is left to read, and shows it at intervals."""

from __future__ import annotations

import math
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from tap_vonage_reports.progress.figures import Figures
from tap_vonage_reports.progress.renderers import new_renderer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tap_vonage_reports.metrics import PartitionResult
    from tap_vonage_reports.progress.renderers import Renderer


class Progress:
    """The progress of one run. Only the main thread uses it."""

    def __init__(
        self, new_renderer: Callable[[], Renderer] = new_renderer, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare the tracker. It shows nothing before `start`.

        Args:
            new_renderer: Makes the renderer.
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
        """Show the progress if it is due; otherwise return quickly. Call this while waiting, and after some rows."""
        now = self._clock()
        if now < self._due or self._renderer is None:
            return
        self._due = now + self._renderer.interval_seconds
        in_flight, waiting = self._reports()
        rows = sum(result.rows for result in self._results)
        seconds = now - self._started
        self._renderer.show(Figures(self._planned, _left(self._results), rows, seconds, in_flight, waiting))

    def close(self) -> None:
        """Stop showing progress."""
        self._due = math.inf
        if self._renderer:
            self._renderer.close()


def _left(results: Sequence[PartitionResult]) -> timedelta:
    return sum((result.left for result in results), timedelta(0))
