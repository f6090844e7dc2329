"""Reading ahead: in order, within its room, and ended at once when nobody wants the rest."""

from __future__ import annotations

import tempfile
import threading
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from tap_vonage_reports import prefetch
from tap_vonage_reports.errors import SpoolError
from tap_vonage_reports.prefetch import ReadAhead
from tap_vonage_reports.spool import Spool
from tap_vonage_reports.turns import Cancelled, RateLimit, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

PATIENCE = 60


@pytest.fixture
def make() -> Generator[Callable[[int], ReadAhead[Any]], None, None]:
    made: list[ReadAhead[Any]] = []

    def _make(workers: int) -> ReadAhead[Any]:
        made.append(ReadAhead(workers))
        return made[-1]

    yield _make
    for ahead in made:
        ahead.close()


def nothing() -> None:
    pass


def work(*items: object) -> Callable[[Turn], Iterable[object]]:
    return lambda _turn: iter(items)


def test_items_come_in_the_order_of_tasks_whichever_is_done_first(make: Callable[[int], ReadAhead[Any]]) -> None:
    last_done = threading.Event()

    def first(_turn: Turn) -> Iterator[str]:
        assert last_done.wait(PATIENCE)
        yield "a"

    def last(_turn: Turn) -> Iterator[str]:
        yield "d"
        last_done.set()

    ahead = make(3)
    ahead.add("group", [first, work("b", "c"), last])
    assert list(ahead.take("group", nothing)) == [(0, "a"), (1, "b"), (1, "c"), (2, "d")]


@pytest.mark.promise("It runs in flat memory.")
@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_is_read_ahead_than_there_is_room_for(make: Callable[[int], ReadAhead[Any]], workers: int) -> None:
    ahead = make(workers)
    room = prefetch.ROOM_BY_WORKER * (workers - 1) + prefetch.OWN_ROOM
    lock, fetched, taken, most = threading.Lock(), 0, 0, 0

    def fetch(_turn: Turn) -> Iterator[int]:
        nonlocal fetched, most
        for number in range(100):
            with lock:
                fetched += 1
                most = max(most, fetched - taken)
            yield number

    ahead.add("group", [fetch] * 4)
    for _ in ahead.take("group", nothing):
        with lock:
            taken += 1
    assert taken == 400
    # One more is in the hands of each worker, and one in the consumer's.
    assert most <= room + workers + 1


def test_the_tasks_of_the_next_group_run_while_the_first_is_consumed(make: Callable[[int], ReadAhead[Any]]) -> None:
    begun = threading.Event()

    def next_group(_turn: Turn) -> Iterator[str]:
        begun.set()
        yield "next"

    def this_group(_turn: Turn) -> Iterator[str]:
        assert begun.wait(PATIENCE)
        yield "this"

    ahead = make(2)
    ahead.add("this", [this_group])
    ahead.add("next", [next_group])
    assert [item for group in ("this", "next") for _, item in ahead.take(group, nothing)] == ["this", "next"]


def test_an_error_comes_in_its_place_and_nothing_after_it_is_begun(make: Callable[[int], ReadAhead[Any]]) -> None:
    begun: list[int] = []

    def fail(_turn: Turn) -> Iterator[str]:
        begun.append(1)
        msg = "no"
        raise ValueError(msg)

    def after(_turn: Turn) -> Iterator[str]:
        begun.append(2)
        yield ""

    ahead = make(1)
    ahead.add("group", [work("a"), fail, after])
    got = ahead.take("group", nothing)
    assert next(got) == (0, "a")
    with pytest.raises(ValueError, match="no"):
        next(got)
    assert begun == [1]


class LongWait:
    """Work that does nothing but wait, and tells when that begins and when it is cut short."""

    def __init__(self) -> None:
        self.begun, self.cancelled = threading.Event(), threading.Event()

    def __call__(self, turn: Turn) -> Iterator[str]:
        self.begun.set()
        try:
            turn.pause(PATIENCE)
        except Cancelled:
            self.cancelled.set()
            raise
        yield "never"


def test_what_comes_after_an_error_is_not_fetched_any_further(make: Callable[[int], ReadAhead[Any]]) -> None:
    later = LongWait()

    def fail(_turn: Turn) -> Iterator[str]:
        assert later.begun.wait(PATIENCE)
        msg = "no"
        raise ValueError(msg)

    ahead = make(2)
    ahead.add("group", [fail, later])
    assert later.cancelled.wait(PATIENCE)
    with pytest.raises(ValueError, match="no"):
        next(ahead.take("group", nothing))


def test_what_nobody_wants_any_more_is_cancelled_in_its_wait(make: Callable[[int], ReadAhead[Any]]) -> None:
    wait = LongWait()
    ahead = make(2)
    ahead.add("group", [work("a"), wait])
    ahead.add("other", [work("b")])
    got = ahead.take("group", nothing)
    next(got)
    assert wait.begun.wait(PATIENCE)
    got.close()
    assert wait.cancelled.wait(PATIENCE)
    assert list(ahead.take("other", nothing)) == [(0, "b")]


def test_there_is_something_to_do_while_nothing_comes(make: Callable[[int], ReadAhead[Any]]) -> None:
    looked = threading.Event()

    def slow(_turn: Turn) -> Iterator[str]:
        assert looked.wait(PATIENCE)
        yield "a"

    ahead = make(1)
    ahead.add("group", [slow])
    assert list(ahead.take("group", looked.set)) == [(0, "a")]


def test_a_full_disk_is_an_error_that_says_so(make: Callable[[int], ReadAhead[Any]]) -> None:
    full = threading.Event()

    def no_file(*_: Any, **__: Any) -> None:
        full.set()
        raise OSError(28, "No space left on device")

    def first(_turn: Turn) -> Iterator[str]:
        assert full.wait(PATIENCE)
        yield "a"

    ahead = make(2)
    with mock.patch.object(tempfile, "SpooledTemporaryFile", no_file):
        ahead.add("group", [first, work("b")])
        got = ahead.take("group", nothing)
        assert next(got) == (0, "a")
        with pytest.raises(SpoolError, match=r"No space left on device.*TMPDIR"):
            next(got)


@pytest.mark.promise("Temporary files are private to the user and removed on every way out.")
def test_a_spool_gives_back_what_was_put_in_and_the_file_with_it() -> None:
    spool: Spool[Any] = Spool()
    items = [{"price": "0.0333", "n": number, "text": "x" * 10_000} for number in range(20)]
    for number, item in enumerate(items):
        spool.append(item, store=number % 3 > 0)
    assert [spool.popleft() for _ in range(10)] == items[:10]
    spool.append("more")
    assert [spool.popleft() for _ in range(len(spool))] == [*items[10:], "more"]
    assert spool.closed


def test_the_most_urgent_request_goes_first() -> None:
    limit, order, free = RateLimit(1000), list[int](), threading.Semaphore(0)

    def ask(rank: int) -> None:
        limit.wait(Turn((0, rank)))
        order.append(rank)

    with mock.patch.object(limit, "_limiter") as limiter:
        limiter.try_acquire = lambda _name, blocking: free.acquire(blocking=blocking)
        threads = [threading.Thread(target=ask, args=(rank,)) for rank in (9, 3, 1, 2)]
        for number, thread in enumerate(threads, start=1):
            thread.start()
            while limit.queue_length < number:
                pass
        for number in range(1, 5):
            free.release()
            while len(order) < number:
                pass
        for thread in threads:
            thread.join()
    assert order == [1, 2, 3, 9]


def test_a_wait_for_the_rate_limit_can_be_cancelled() -> None:
    limit, turn = RateLimit(1), Turn()
    turn.cancel()
    with pytest.raises(Cancelled):
        limit.wait(turn)
    assert limit.queue_length == 0
