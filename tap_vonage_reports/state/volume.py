"""The volume of a partition in the state: rows and length of the windows read last.

It estimates the next run: for `--plan`, and for how long a report may be and when it may be ready. A state without it
loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec

from tap_vonage_reports.intervals import duration, to_intervals

if TYPE_CHECKING:
    from tap_vonage_reports.intervals import TimeSet, TimeWindow

RECENT_ROWS = "recent_rows"
RECENT_SECONDS = "recent_seconds"

MEMORY = 7 * 86_400
"""Seconds that the figure speaks of: a week, because weekends differ from working days."""
MAX_SECONDS = 2 * MEMORY
"""Longer time is scaled down to a week. Once a week is seldom enough for whole numbers to stay exact."""
MIN_SECONDS = 3600
"""With less, a single busy minute would be taken for the whole day."""

Rows: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
Seconds: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=10**9)]


@dataclass(frozen=True)
class Volume:
    """How many rows the time read last had.

    Attributes:
        rows: The rows.
        seconds: The length of that time, at most `MAX_SECONDS`.
    """

    rows: int
    seconds: int

    @property
    def rows_per_day(self) -> float | None:
        """The average of that time; None for so little time that it says nothing of a day."""
        return self.rows / self.seconds * 86_400 if self.seconds >= MIN_SECONDS else None

    def add(self, window: Volume) -> Volume:
        """Return the volume after another window. If that is too long, older time is scaled down to a week in all."""
        if self.seconds + window.seconds <= MAX_SECONDS:
            return Volume(self.rows + window.rows, self.seconds + window.seconds)
        new = window.scaled(MEMORY)
        old = self.scaled(MEMORY - new.seconds)
        return Volume(old.rows + new.rows, old.seconds + new.seconds)

    def scaled(self, seconds: int) -> Volume:
        """Return the same average over so much time, unless it is shorter already."""
        return self if self.seconds <= seconds else Volume(round(self.rows * seconds / self.seconds), seconds)


class VolumeCounter:
    """Counts the volume of one partition in its state.

    Attributes:
        volume: The volume so far; None where nothing was counted.
    """

    def __init__(self, state: dict[str, Any], volume: Volume | None, known: TimeSet) -> None:
        """Go on from the volume of earlier runs.

        Args:
            state: The partition's state, which is changed in place.
            volume: What it says; None to start over.
            known: The time that was read before. It is not counted again when it is refetched.
        """
        self._state = state
        self.volume = volume
        self._known = known
        if volume is None:
            _write(state, None)

    def expected(self, length: timedelta) -> float:
        """Return how many rows so much time will have, going by the average so far; 0 where that is unknown."""
        return expected_rows((self.volume.rows_per_day if self.volume else None) or 0, length)

    def count(self, window: TimeWindow, rows: int) -> None:
        """Count a window that was read to its end, but for the time that was counted before.

        Args:
            window: The window.
            rows: All its rows. The share of the time counted before is estimated by time.
        """
        whole = to_intervals([window])
        fresh = duration(whole - self._known)
        self._known |= whole
        seconds = round(fresh.total_seconds())
        if seconds:
            added = Volume(round(rows * (fresh / duration(whole))), seconds)
            self.volume = self.volume.add(added) if self.volume else added.scaled(MEMORY)
            _write(self._state, self.volume)


def expected_rows(rows_per_day: float, length: timedelta) -> float:
    """Return how many rows so much time will have. A fraction counts: many short windows may have a few rows in all."""
    return rows_per_day * (length / timedelta(days=1))


def read_volume(rows: int | None, seconds: int | None) -> Volume | None:
    """Return the volume; None where the state does not name it."""
    return None if rows is None or seconds is None else Volume(rows, seconds)


def _write(state: dict[str, Any], volume: Volume | None) -> None:
    if volume:
        state.update({RECENT_ROWS: volume.rows, RECENT_SECONDS: volume.seconds})
        return
    for key in (RECENT_ROWS, RECENT_SECONDS):
        state.pop(key, None)
