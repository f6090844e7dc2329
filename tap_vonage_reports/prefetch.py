"""Reading ahead: worker threads fetch, one thread consumes, in order.

The seam between HTTP and Singer: `in_order` runs generators in workers, which spool what they yield into
bounded queues, and hands it to its caller in the order of the tasks. Only the caller's thread yields
records, writes messages and touches state.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

T = TypeVar("T")


class _Task(Generic[T]):
    """One generator on its way through a worker; its items, then its end or its error."""

    def __init__(self, items: Callable[[], Iterable[T]], room: int) -> None:
        self.items = items
        self.spool: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(room)


def in_order(
    tasks: Iterable[Callable[[], Iterable[T]]], *, workers: int = 1, room: int = 4
) -> Generator[tuple[int, T], None, None]:
    """Run tasks in worker threads, ahead of their consumer, and yield what they yield, first in first out.

    Args:
        tasks: Each makes an iterator, which one worker runs through.
        workers: How many tasks run at once.
        room: How many items of one task may wait for the consumer.

    Yields:
        The number of the task, from 0, and an item of it; all of one task before the next.

    Raises:
        BaseException: What a task raised, in its place in the order.
    """
    stop = threading.Event()
    waiting = iter(tasks)
    running: deque[_Task[T]] = deque()
    number = 0
    try:
        while True:
            while len(running) < workers and (items := next(waiting, None)) is not None:
                running.append(_start(items, room, stop))
            if not running:
                return
            task = running[0]
            while (got := task.spool.get()) is not None:
                if isinstance(got, BaseException):
                    raise got
                yield number, got[0]
            running.popleft()
            number += 1
    finally:
        stop.set()


def _start(items: Callable[[], Iterable[T]], room: int, stop: threading.Event) -> _Task[T]:
    task = _Task(items, room)
    # Daemons: a run that ends early must not wait for an answer that nobody will use.
    threading.Thread(target=_run, args=(task, stop), name="reports-fetch", daemon=True).start()
    return task


def _run(task: _Task[T], stop: threading.Event) -> None:
    try:
        for item in task.items():
            if not _put(task, (item,), stop):
                return
    except BaseException as error:  # noqa: BLE001 - the consumer raises it again
        _put(task, error, stop)
    else:
        _put(task, None, stop)


def _put(task: _Task[T], item: tuple[T] | BaseException | None, stop: threading.Event) -> bool:
    """Wait for room; give up, with False, once nobody consumes any more."""
    while not stop.is_set():
        try:
            task.spool.put(item, timeout=0.2)
        except queue.Full:
            continue
        return True
    return False
