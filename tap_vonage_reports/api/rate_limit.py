"""Whose turn it is to ask the API: rate limits that let the most urgent request go first, and waits that end early.

Several threads ask at once. Were they served as they come, the windows behind the one that is written now would get
the larger part of the requests, and run far ahead of it: pages that a kill would have to pay for again.
"""

from __future__ import annotations

import heapq
import threading
from itertools import count

from pyrate_limiter import Duration, InMemoryBucket, Limiter, Rate

SLACK_MILLISECONDS = 30
"""A second of the limit is longer by this, because requests do not arrive quite as they leave."""
EVENNESS = 0.95
"""Requests leave one by one, at this part of their average distance at least: a burst has no order of urgency."""
LOOK_EVERY_SECONDS = 0.004
GLANCE_SECONDS = 0.2


class RequestCancelled(Exception):  # noqa: N818 - no error: nobody wants the answer any more
    """Nobody waits for the answer any more."""


class RequestContext:
    """How urgent a request is, and whether its answer is still wanted."""

    def __init__(self, rank: tuple[int, int] = (0, 0)) -> None:
        """Make a turn.

        Args:
            rank: Of all that wait, the lowest goes first. It may change while nobody waits with it.
        """
        self.rank = rank
        self._stopped = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._stopped.is_set()

    def cancel(self) -> None:
        """End the waits, now and in future."""
        self._stopped.set()

    def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            Cancelled: The turn was cancelled before or meanwhile.
        """
        if self._stopped.wait(seconds):
            raise RequestCancelled


class PriorityRateLimiter:
    """So many requests in any second, the most urgent ones first."""

    def __init__(self, per_second: int) -> None:
        """Set up a limit.

        Args:
            per_second: How many requests may be sent in a second.
        """
        second = Duration.SECOND + SLACK_MILLISECONDS
        rates = [Rate(1, max(1, int(EVENNESS * second / per_second))), Rate(per_second, second)]
        # The bucket is given because the library announces the one it would make itself.
        self._limiter = Limiter(InMemoryBucket(rates[-1:] if per_second == 1 else rates))
        self._waiting: list[tuple[tuple[int, int], int]] = []
        self._arrivals = count()
        self._moved = threading.Condition()

    @property
    def queue_length(self) -> int:
        """How many wait."""
        with self._moved:
            return len(self._waiting)

    def wait(self, turn: RequestContext) -> None:
        """Wait until a request may be sent.

        Raises:
            Cancelled: The turn was cancelled meanwhile.
        """
        place = (turn.rank, next(self._arrivals))
        with self._moved:
            heapq.heappush(self._waiting, place)
            try:
                # Who is first is asked again each time, for a more urgent request may have come.
                while not turn.cancelled and not (
                    self._waiting[0] == place and self._limiter.try_acquire("request", blocking=False)
                ):
                    self._moved.wait(LOOK_EVERY_SECONDS if self._waiting[0] == place else GLANCE_SECONDS)
            finally:
                self._waiting.remove(place)
                heapq.heapify(self._waiting)
                self._moved.notify_all()
        turn.pause(0)
