"""Requests wait for the rate limit in the order of their priority, and a wait ends when it is cancelled."""

from __future__ import annotations

import threading
from functools import partial
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from pyrate_limiter import InMemoryBucket, RateItem

from tap_vonage_reports.api.rate_limit import PriorityRateLimiter, rates_of
from tap_vonage_reports.api.request_context import CancelToken, RequestCancelled, RequestContext
from tests.hostile import LAST_PAGE, HostileServer, as_json, client_of, once, reply

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["once"]
PATIENCE = 20


class WatchedToken(CancelToken):
    """Tells when a request has joined the queue: that is when it is first looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.queued = threading.Event()

    @property
    def cancelled(self) -> bool:
        self.queued.set()
        return super().cancelled


@pytest.fixture
def slots() -> Generator[threading.Semaphore, None, None]:
    """The slots of all limiters, none at first."""
    free = threading.Semaphore(0)
    with mock.patch("pyrate_limiter.Limiter.try_acquire", lambda _self, _name, blocking: free.acquire(blocking)):
        yield free


def start(act: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def finish(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.mark.parametrize("rate", [1000, 2.5, 0.2, 5e-324])
def test_the_most_urgent_request_goes_first(slots: threading.Semaphore, rate: float) -> None:
    limiter, order, sent = PriorityRateLimiter(rate), list[int](), threading.Semaphore(0)

    def ask(context: RequestContext) -> None:
        limiter.wait(context)
        order.append(context.priority[1])
        sent.release()

    threads = []
    for number in (9, 3, 1, 2):
        token = WatchedToken()
        context = RequestContext((0, number), token)
        threads.append(start(partial(ask, context)))
        assert token.queued.wait(PATIENCE)
    for _ in threads:
        slots.release()
        assert sent.acquire(timeout=PATIENCE)
    finish(*threads)
    assert order == [1, 2, 3, 9]


@pytest.mark.parametrize("rate", [0.2, 0.3, 0.999, 1, 1.05, 1.5, 2.5, 3.33, 5, 10, 12.5, 19.9])
def test_no_second_has_more_requests_than_the_limit_and_a_fraction_is_evenly_spread(rate: float) -> None:
    sent = times_sent(rate, seconds=60)
    second = [sum(at <= other < at + 1 for other in sent) for at in sent]
    assert max(second) <= ceil(rate)
    if rate < 1:
        assert min(distances(sent)) >= 1 / rate
    else:
        assert min(distances(sent)) >= 0.95 / rate - 0.001
    assert len(sent) >= 0.9 * rate * 60, "and the limit is used"


def test_two_and_a_half_requests_a_second_are_five_in_any_two_seconds() -> None:
    sent = times_sent(2.5, seconds=120)
    assert max(sum(at <= other < at + 2 for other in sent) for at in sent) == 5


def test_how_long_a_request_would_wait_follows_from_the_limit(slots: threading.Semaphore) -> None:
    with mock.patch("time.monotonic", return_value=100.0) as clock:
        slow, fast, burst = PriorityRateLimiter(0.2), PriorityRateLimiter(4), PriorityRateLimiter(4, spacing=0.25)
        limiters = (slow, fast, burst)
        assert [limiter.seconds_left() for limiter in limiters] == [0, 0, 0]
        for limiter in limiters:
            slots.release()
            limiter.wait(RequestContext())
        assert [limiter.seconds_left() for limiter in limiters] == pytest.approx([5.15, 0.244, 0.064])
        for _ in range(3):
            slots.release()
            burst.wait(RequestContext())
        assert burst.seconds_left() == pytest.approx(1.03), "the second has all the requests that it may have"
        clock.return_value = 102.0
        assert [limiter.seconds_left() for limiter in limiters] == pytest.approx([3.15, 0, 0])


@pytest.mark.parametrize("rate", [2, 2.5, 5, 10])
def test_a_burst_is_no_longer_than_the_limit_of_a_second(rate: float) -> None:
    sent = times_sent(rate, seconds=60, spacing=0.25)
    assert max(sum(at <= other < at + 1 for other in sent) for at in sent) <= ceil(rate)
    assert min(distances(sent)) >= 0.25 / rate - 0.001
    assert sent[1] < 0.5 / rate or rate % 1, "what is left of the second is the pause"
    assert len(sent) >= 0.9 * rate * 60, "and the limit is used"


def times_sent(rate: float, seconds: int, spacing: float = 0.95) -> list[float]:
    """When requests leave, in seconds, if there is always one that waits. No time passes."""
    bucket = InMemoryBucket(rates_of(rate, spacing))
    return [at / 1000 for at in range(seconds * 1000) if bucket.put(RateItem("request", at))]


def distances(times: list[float]) -> list[float]:
    return [later - at for at, later in pairwise(times)]


def test_a_priority_that_changes_counts_from_the_next_request_on(slots: threading.Semaphore) -> None:
    limiter, order, sent = PriorityRateLimiter(1000), list[str](), threading.Semaphore(0)

    def ask(name: str, context: RequestContext) -> None:
        limiter.wait(context)
        order.append(name)
        sent.release()

    context = RequestContext((1, 5))
    slots.release()
    limiter.wait(context)
    context.priority = (0, 1)
    threads = []
    for name, waiting in (("other", RequestContext((1, 0), WatchedToken())), ("changed", context)):
        waiting.cancel_token = token = WatchedToken()
        threads.append(start(partial(ask, name, waiting)))
        assert token.queued.wait(PATIENCE)
    for _ in threads:
        slots.release()
        assert sent.acquire(timeout=PATIENCE)
    finish(*threads)
    assert order == ["changed", "other"]


def test_a_cancelled_wait_ends_and_leaves_the_queue(slots: threading.Semaphore) -> None:
    limiter, token, ended = PriorityRateLimiter(1), WatchedToken(), threading.Event()

    def ask() -> None:
        with pytest.raises(RequestCancelled):
            limiter.wait(RequestContext((0, 0), token))
        ended.set()

    waiting = start(ask)
    assert token.queued.wait(PATIENCE)
    token.cancel()
    finish(waiting)
    assert ended.is_set()
    # It was the first in the queue: had it stayed there, nobody else would ever be sent.
    slots.release()
    finish(start(lambda: limiter.wait(RequestContext((9, 9)))))


@pytest.mark.usefixtures("once")
def test_a_cancelled_request_is_not_sent() -> None:
    context = RequestContext()
    context.cancel_token.cancel()
    with HostileServer(lambda _request: reply(as_json(LAST_PAGE))) as server:
        with pytest.raises(RequestCancelled):
            client_of(server).records({}, context)
        assert server.log == []


def test_a_pause_of_a_cancelled_token_ends_in_the_middle() -> None:
    token, ended = CancelToken(), threading.Event()

    def wait() -> None:
        with pytest.raises(RequestCancelled):
            token.pause(10 * PATIENCE)
        ended.set()

    pausing = start(wait)
    assert not token.cancelled
    token.cancel()
    finish(pausing)
    assert ended.is_set()
    assert token.cancelled
