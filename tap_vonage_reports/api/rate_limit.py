"""Client-side rate limiter shared by all threads; the most urgent request goes first.

First come, first served would give most requests to windows after the one being emitted. Their pages would be
prefetched far ahead, and after a kill, the next run would refetch them.
"""

from __future__ import annotations

import heapq
import threading
from itertools import count
from typing import TYPE_CHECKING

from pyrate_limiter import Duration, InMemoryBucket, Limiter, Rate

if TYPE_CHECKING:
    from tap_vonage_reports.api.request_context import RequestContext

SLACK_MILLISECONDS = 30
"""Added to each second of the limit, because requests arrive at slightly other distances than they leave."""
MIN_SPACING = 0.95
"""Distance between two requests, as a part of the average distance. Without it a burst would ignore priorities."""
POLL_SECONDS = 0.004
"""The interval at which the first in the queue looks for a free slot: a 25th of the distance at 10 requests/s."""
QUEUE_CHECK_SECONDS = 0.2
"""The interval at which the others check whether they are cancelled."""


class PriorityRateLimiter:
    """At most so many requests in any second, in the order of their priorities. Safe to use from several threads."""

    def __init__(self, requests_per_second: int) -> None:
        """Set up a limit.

        Args:
            requests_per_second: How many requests may be sent in any second.
        """
        second = Duration.SECOND + SLACK_MILLISECONDS
        spacing = Rate(1, max(1, int(MIN_SPACING * second / requests_per_second)))
        limit = Rate(requests_per_second, second)
        # The library logs the bucket that it would create by itself.
        self._limiter = Limiter(InMemoryBucket([limit] if requests_per_second == 1 else [spacing, limit]))
        self._queue: list[tuple[tuple[int, int], int]] = []
        self._arrivals = count()
        self._changed = threading.Condition()

    def wait(self, context: RequestContext) -> None:
        """Wait until a request may be sent.

        Raises:
            RequestCancelled: The request was cancelled before its turn.
        """
        place = (context.priority, next(self._arrivals))
        with self._changed:
            heapq.heappush(self._queue, place)
            try:
                while not context.cancel_token.cancelled and not self._acquire(place):
                    self._changed.wait(POLL_SECONDS if self._queue[0] == place else QUEUE_CHECK_SECONDS)
            finally:
                self._queue.remove(place)
                heapq.heapify(self._queue)
                self._changed.notify_all()
        context.cancel_token.pause(0)

    def _acquire(self, place: tuple[tuple[int, int], int]) -> bool:
        """Take a slot if this request is the most urgent one."""
        return self._queue[0] == place and self._limiter.try_acquire("request", blocking=False) is True
