"""The sandbox's clock: real time, real time shifted to another date, or a fixed time that only the test changes."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone


def _utc(moment: datetime | str) -> datetime:
    """Return a moment in UTC.

    Raises:
        ValueError: If the moment has no offset.
    """
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        message = f"A moment needs an offset, such as 2026-11-20T00:00:00Z: {moment.isoformat()}"
        raise ValueError(message)
    return moment.astimezone(timezone.utc)


class Clock:
    """The sandbox's clock, which is the only source of time for everything in it.

    The rate limit is the exception: it counts real seconds, because clients run in real time.
    """

    def __init__(self, now: datetime | str | None = None) -> None:
        """Start the clock.

        Args:
            now: The moment at which the clock stands still; the real time if left out.
        """
        self._lock = threading.Lock()
        self._fixed = None if now is None else _utc(now)
        self._offset = timedelta()

    def now(self) -> datetime:
        """Return the present moment, in UTC."""
        with self._lock:
            return self._fixed if self._fixed is not None else datetime.now(timezone.utc) + self._offset

    def set(self, now: datetime | str) -> None:
        """Stop the clock at a moment."""
        moment = _utc(now)
        with self._lock:
            self._fixed = moment

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> None:
        """Move the clock; negative amounts move it back. A running clock keeps running."""
        step = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        with self._lock:
            if self._fixed is None:
                self._offset += step
            else:
                self._fixed += step

    def run(self) -> None:
        """Let the clock run on in real time from the moment that it shows."""
        with self._lock:
            if self._fixed is not None:
                self._offset = self._fixed - datetime.now(timezone.utc)
                self._fixed = None
