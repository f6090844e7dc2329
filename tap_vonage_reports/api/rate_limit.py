"""Client-side rate limiter shared by all threads; the most urgent request goes first.

First come, first served would give most requests to windows after the one being emitted. Their pages would be
prefetched far ahead, and after a kill, the next run would refetch them.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from fractions import Fraction
from itertools import count
from math import ceil, floor
from typing import TYPE_CHECKING

from pyrate_limiter import InMemoryBucket, Limiter, Rate

if TYPE_CHECKING:
    from tap_vonage_reports.api.request_context import RequestContext

SLACK = 1.03
"""Scale of the limit's windows, because requests arrive at slightly other distances than they leave."""
MIN_SPACING = 0.95
"""Distance between two requests, as a part of the average distance. Without it a burst would ignore priorities."""
BURST_SPACING = 0.05
"""The same for requests that one thread sends one after the other, so that there are no priorities to ignore. A burst
is as long as the limit of a second allows, and the rest of that second is a pause."""
MAX_WINDOW_SECONDS = 10
"""About the longest window over which a limit that is not a whole number is kept, such as 23 requests in 10 s."""
MAX_INTERVAL_SECONDS = 10 * 365 * 86_400
"""Ten years: longer than any run, and short enough to be a number of milliseconds."""
POLL_SHARE = 0.04
"""The interval at which the first in the queue looks for a free slot, as a part of the average distance."""
MIN_POLL_SECONDS = 0.004
"""The shortest such interval: that at 10 requests/s."""
QUEUE_CHECK_SECONDS = 0.2
"""The interval at which the others check whether they are cancelled."""


class PriorityRateLimiter:
    """At most so many requests in any second, in the order of their priorities. Safe to use from several threads.

    A limit below 1 is one request in so many seconds. One that is not a whole number, such as 2.5, is evenly spread:
    five requests in any two seconds, and at most three in any one.
    """

    def __init__(self, requests_per_second: float, *, spacing: float = MIN_SPACING) -> None:
        """Set up a limit.

        Args:
            requests_per_second: How many requests may be sent in any second; more than 0.
            spacing: The least distance between two requests, as a part of the average distance.
        """
        rates = rates_of(requests_per_second, spacing)
        # The library logs the bucket that it would create by itself.
        self._limiter = Limiter(InMemoryBucket(rates))
        self._poll_seconds = min(max(MIN_POLL_SECONDS, POLL_SHARE / requests_per_second), QUEUE_CHECK_SECONDS)
        self._sent = [(rate.interval / 1000, deque[float](maxlen=rate.limit)) for rate in rates]
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
                    self._changed.wait(self._poll_seconds if self._queue[0] == place else QUEUE_CHECK_SECONDS)
            finally:
                self._queue.remove(place)
                heapq.heapify(self._queue)
                self._changed.notify_all()
        context.cancel_token.pause(0)

    def seconds_left(self) -> float:
        """Return how long it takes until a request may be sent, if no other one is sent before."""
        now = time.monotonic()
        left = (max(0.0, sent[0] + interval - now) for interval, sent in self._sent if len(sent) == sent.maxlen)
        return max(left, default=0.0)

    def _acquire(self, place: tuple[tuple[int, int], int]) -> bool:
        """Take a slot if this request is the most urgent one."""
        if self._queue[0] != place or self._limiter.try_acquire("request", blocking=False) is not True:
            return False
        for _, sent in self._sent:
            sent.append(time.monotonic())
        return True


def rates_of(requests_per_second: float, spacing: float = MIN_SPACING) -> list[Rate]:
    """Return a limit as the library takes it: the least distance between two requests, and requests in a window.

    Args:
        requests_per_second: How many requests may be sent in any second; more than 0.
        spacing: The least distance, as a part of the average distance.
    """
    ratio = Fraction(requests_per_second).limit_denominator(MAX_WINDOW_SECONDS)
    requests = ratio.numerator if requests_per_second > 1 else 1
    limit = Rate(requests, ceil(_milliseconds(requests / requests_per_second)))
    if requests == 1:
        return [limit]
    distance = spacing / requests_per_second
    if requests_per_second % 1:  # the window is longer than a second, so only the distance limits what a second has
        distance = max(distance, 1 / ceil(requests_per_second))
    return [Rate(1, max(1, floor(_milliseconds(distance)))), limit]


def _milliseconds(seconds: float) -> float:
    return min(seconds, MAX_INTERVAL_SECONDS) * SLACK * 1000
