"""Reading ahead: in order, within its room, and ended at once when nobody wants the rest."""

from __future__ import annotations

import itertools
import os
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from tap_vonage_reports.api.request_context import RequestCancelled, RequestContext
from tap_vonage_reports.errors import PrefetchStorageError
from tap_vonage_reports.extract.pages import prefetch
from tap_vonage_reports.extract.pages import spool as spool_module
from tap_vonage_reports.extract.pages.prefetch import Prefetcher
from tap_vonage_reports.extract.pages.spool import DiskQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

PATIENCE, PATIENCE_AT_CLOSE = 60, 10


@pytest.fixture
def make() -> Generator[Callable[[int], Prefetcher[Any]], None, None]:
    made: list[Prefetcher[Any]] = []

    def _make(workers: int) -> Prefetcher[Any]:
        made.append(Prefetcher(workers))
        return made[-1]

    yield _make
    for ahead in made:
        ahead.close()


def nothing() -> None:
    pass


def work(*items: object) -> Callable[[RequestContext], Iterable[object]]:
    return lambda _context: iter(items)


def test_items_come_in_the_order_of_tasks_whichever_is_done_first(make: Callable[[int], Prefetcher[Any]]) -> None:
    last_done = threading.Event()

    def first(_context: RequestContext) -> Iterator[str]:
        assert last_done.wait(PATIENCE)
        yield "a"

    def last(_context: RequestContext) -> Iterator[str]:
        yield "d"
        last_done.set()

    ahead = make(3)
    ahead.add("group", [first, work("b", "c"), last])
    assert list(ahead.consume("group", nothing)) == ["a", "b", "c", "d"]


@pytest.mark.promise("It runs in flat memory.")
@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_is_read_ahead_than_there_is_room_for(make: Callable[[int], Prefetcher[Any]], workers: int) -> None:
    ahead = make(workers)
    room = prefetch.ITEMS_PER_WORKER * (workers - 1) + prefetch.ITEMS_OF_FIRST_TASK
    lock, fetched, taken, most = threading.Lock(), 0, 0, 0

    def fetch(_context: RequestContext) -> Iterator[int]:
        nonlocal fetched, most
        for number in range(100):
            with lock:
                fetched += 1
                most = max(most, fetched - taken)
            yield number

    ahead.add("group", [fetch] * 4)
    for _ in ahead.consume("group", nothing):
        with lock:
            taken += 1
    assert taken == 400
    # One more is in the hands of each worker, and one in the consumer's.
    assert most <= room + workers + 1


def test_twenty_pages_are_read_ahead_for_each_worker_but_the_first(make: Callable[[int], Prefetcher[Any]]) -> None:
    full = threading.Event()

    def first(_context: RequestContext) -> Iterator[int]:
        assert full.wait(PATIENCE)
        yield 0

    def ahead_of_it(_context: RequestContext) -> Iterator[int]:
        yield from range(1, 21)
        full.set()  # the twentieth is buffered

    ahead = make(2)
    ahead.add("group", [first, ahead_of_it])
    assert list(ahead.consume("group", nothing)) == list(range(21))


def test_a_worker_that_waits_for_room_goes_on_once_its_task_is_the_next(make: Callable[[int], Prefetcher[Any]]) -> None:
    """The room is full of what comes after its task, so nothing is taken out until it goes on."""
    full, blocked, over = threading.Event(), threading.Event(), threading.Event()
    calls = 0

    def first(_context: RequestContext) -> Iterator[str]:
        assert over.wait(PATIENCE)
        yield from ()

    def second(_context: RequestContext) -> Iterator[int]:
        assert full.wait(PATIENCE)
        blocked.set()
        yield 0

    def third(_context: RequestContext) -> Iterator[int]:
        yield from range(1, 2 * prefetch.ITEMS_PER_WORKER + 1)
        full.set()
        yield 2 * prefetch.ITEMS_PER_WORKER + 1

    def release() -> None:
        nonlocal calls
        calls += blocked.is_set()
        if calls > 1:
            over.set()

    ahead = make(3)
    ahead.add("group", [first, second, third])
    assert consumed(ahead, release) == list(range(2 * prefetch.ITEMS_PER_WORKER + 2))


def consumed(
    ahead: Prefetcher[Any], meanwhile: Callable[[], None] = nothing, group: str = "group"
) -> list[object] | None:
    """What a consumer takes; None if it waits for ever."""
    items: list[object] = []
    consumer = threading.Thread(target=lambda: items.extend(ahead.consume(group, meanwhile)), daemon=True)
    consumer.start()
    consumer.join(PATIENCE_AT_CLOSE)
    return None if consumer.is_alive() else items


@pytest.mark.parametrize("items", [0, 2])
def test_the_consumer_wakes_at_each_item_and_at_the_end_of_a_task(
    make: Callable[[int], Prefetcher[Any]], monkeypatch: pytest.MonkeyPatch, items: int
) -> None:
    monkeypatch.setattr(prefetch, "POLL_SECONDS", 2 * PATIENCE)
    waits = threading.Semaphore(0)

    def task(_context: RequestContext) -> Iterator[int]:
        for _ in range(items):
            assert waits.acquire(timeout=PATIENCE)
            yield 0
        assert waits.acquire(timeout=PATIENCE)

    ahead = make(1)
    ahead.add("group", [task] * 50)
    assert consumed(ahead, waits.release) == [0] * 50 * items


def test_requests_of_a_task_that_is_needed_earlier_go_first(make: Callable[[int], Prefetcher[Any]]) -> None:
    """Whatever the caller itself requests goes before them, in the order of all groups."""
    priorities: list[tuple[int, int]] = []

    def note(context: RequestContext) -> Iterator[str]:
        priorities.append(context.priority)
        yield ""

    ahead = make(1)
    for group in ("first", "second"):
        ahead.add(group, [note, note])
    for group in ("first", "second"):
        assert consumed(ahead, group=group) == ["", ""]
    assert RequestContext().priority < priorities[0]
    assert priorities == sorted(set(priorities))
    assert len(priorities) == 4


def test_idle_workers_take_up_a_later_group(make: Callable[[int], Prefetcher[Any]]) -> None:
    ahead = make(1)
    for group in ("first", "second"):
        ahead.add(group, [work(group)])
        assert consumed(ahead, group=group) == [group]


def test_workers_that_wait_for_room_are_free_once_their_group_is_dropped(
    make: Callable[[int], Prefetcher[Any]],
) -> None:
    full = threading.Barrier(3)

    def fill(_context: RequestContext) -> Iterator[int]:
        yield 0
        full.wait(PATIENCE)
        yield from itertools.count(1)

    ahead = make(2)
    ahead.add("dropped", [work("first"), fill, fill])
    items = ahead.consume("dropped", nothing)
    assert next(items) == "first"
    full.wait(PATIENCE)
    items.close()
    ahead.add("group", [work("a"), work("b")])
    assert consumed(ahead) == ["a", "b"]


def test_the_tasks_of_the_next_group_run_while_the_first_is_consumed(make: Callable[[int], Prefetcher[Any]]) -> None:
    begun = threading.Event()

    def next_group(_context: RequestContext) -> Iterator[str]:
        begun.set()
        yield "next"

    def this_group(_context: RequestContext) -> Iterator[str]:
        assert begun.wait(PATIENCE)
        yield "this"

    ahead = make(2)
    ahead.add("this", [this_group])
    ahead.add("next", [next_group])
    assert [item for group in ("this", "next") for item in ahead.consume(group, nothing)] == ["this", "next"]


def test_an_error_comes_in_its_place_and_nothing_after_it_is_begun(make: Callable[[int], Prefetcher[Any]]) -> None:
    begun: list[int] = []

    def fail(_context: RequestContext) -> Iterator[str]:
        begun.append(1)
        msg = "no"
        raise ValueError(msg)

    def after(_context: RequestContext) -> Iterator[str]:
        begun.append(2)
        yield ""

    ahead = make(1)
    ahead.add("group", [work("a"), fail, after])
    got = ahead.consume("group", nothing)
    assert next(got) == "a"
    with pytest.raises(ValueError, match="no"):
        next(got)
    assert begun == [1]


class LongWait:
    """Work that does nothing but wait, and tells when that begins and when it is cut short."""

    def __init__(self) -> None:
        self.begun, self.cancelled = threading.Event(), threading.Event()

    def __call__(self, context: RequestContext) -> Iterator[str]:
        self.begun.set()
        try:
            context.cancel_token.pause(PATIENCE)
        except RequestCancelled:
            self.cancelled.set()
            raise
        yield "never"


def test_tasks_behind_an_error_are_not_fetched_further(make: Callable[[int], Prefetcher[Any]]) -> None:
    later = LongWait()

    def fail(_context: RequestContext) -> Iterator[str]:
        assert later.begun.wait(PATIENCE)
        msg = "no"
        raise ValueError(msg)

    ahead = make(2)
    ahead.add("group", [fail, later])
    assert later.cancelled.wait(PATIENCE)
    with pytest.raises(ValueError, match="no"):
        next(ahead.consume("group", nothing))


def test_an_unwanted_request_is_cancelled_while_it_waits(make: Callable[[int], Prefetcher[Any]]) -> None:
    wait = LongWait()
    ahead = make(2)
    ahead.add("group", [work("a"), wait])
    ahead.add("other", [work("b")])
    got = ahead.consume("group", nothing)
    next(got)
    assert wait.begun.wait(PATIENCE)
    got.close()
    assert wait.cancelled.wait(PATIENCE)
    assert list(ahead.consume("other", nothing)) == ["b"]


def test_the_consumer_can_work_while_no_item_arrives(make: Callable[[int], Prefetcher[Any]]) -> None:
    looked = threading.Event()

    def slow(_context: RequestContext) -> Iterator[str]:
        assert looked.wait(PATIENCE)
        yield "a"

    ahead = make(1)
    ahead.add("group", [slow])
    assert list(ahead.consume("group", looked.set)) == ["a"]


def test_a_full_disk_is_an_error_that_says_so(make: Callable[[int], Prefetcher[Any]]) -> None:
    full = threading.Event()

    def no_file(*_: Any, **__: Any) -> None:
        full.set()
        raise OSError(28, "No space left on device")

    def first(_context: RequestContext) -> Iterator[str]:
        assert full.wait(PATIENCE)
        yield "a"

    ahead = make(2)
    with mock.patch.object(tempfile, "SpooledTemporaryFile", no_file):
        ahead.add("group", [first, work("b")])
        got = ahead.consume("group", nothing)
        assert next(got) == "a"
        with pytest.raises(PrefetchStorageError, match=r"No space left on device.*TMPDIR"):
            next(got)


@pytest.mark.parametrize("is_busy", [True, False])
def test_closing_ends_every_worker(make: Callable[[int], Prefetcher[Any]], *, is_busy: bool) -> None:
    before = set(threading.enumerate())
    ahead, wait = make(3), LongWait()
    ahead.add("done", [work("a"), work("b"), work("c")])
    assert list(ahead.consume("done", nothing)) == ["a", "b", "c"]
    if is_busy:
        ahead.add("pending", [wait])
        assert wait.begun.wait(PATIENCE)
    workers = set(threading.enumerate()) - before
    assert len(workers) == 3
    time.sleep(0.1)  # the others wait for work by now
    ahead.close()
    for worker in workers:
        worker.join(PATIENCE_AT_CLOSE)
    assert not any(worker.is_alive() for worker in workers)


@pytest.mark.promise("Temporary files are private to the user and removed on every way out.")
def test_a_spool_gives_back_what_was_put_in_and_the_file_with_it() -> None:
    spool: DiskQueue[Any] = DiskQueue()
    items = [{"price": "0.0333", "n": number, "text": "x" * 10_000} for number in range(20)]
    for number, item in enumerate(items):
        spool.append(item, store=number % 3 > 0)
    assert [spool.popleft() for _ in range(10)] == items[:10]
    spool.append("more")
    assert [spool.popleft() for _ in range(len(spool))] == [*items[10:], "more"]
    assert len(spool) == 0


def test_a_spool_is_no_larger_than_what_waits_however_much_has_passed_through(monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[Any] = []

    def opened(_memory: int, prefix: str) -> Any:
        files.append(tempfile.TemporaryFile(prefix=prefix))  # noqa: SIM115 - the spool closes it
        return files[-1]

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", opened)
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 10_000, raising=False)
    spool: DiskQueue[bytes] = DiskQueue()
    waiting, size, sizes = 7, 3_000, []
    for number in range(200):
        spool.append(number.to_bytes(2, "big") * (size // 2))
        if number >= waiting:
            assert spool.popleft()[:2] == (number - waiting).to_bytes(2, "big")
        sizes.append(sum(os.fstat(file.fileno()).st_size for file in files if not file.closed))
    assert max(sizes) <= waiting * size + 2 * (10_000 + size + 100)
    spool.close()
    assert all(file.closed for file in files)
    assert len(files) > 40
