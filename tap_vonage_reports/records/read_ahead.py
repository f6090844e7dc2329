"""Reading ahead: a thread takes items from an iterator while its consumer works on earlier ones.

It pays where the thread runs code that does not hold Python's lock, such as zlib and Arrow.

A signal may raise an exception in the consumer at any moment. The locks of `threading` and `concurrent.futures` do not
bear that: some stay taken for ever, and others raise RuntimeError instead. So this module uses neither.
"""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread
from contextlib import closing, suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")


def read_ahead(items: Generator[T, None, None], ahead: int) -> Generator[T, None, None]:
    """Yield the items of a generator that a thread runs and closes. Both end with this generator.

    If the process cannot have another thread, the generator runs here.

    Args:
        items: The generator. Its items are not None.
        ahead: How many items may wait.

    Raises:
        BaseException: What the generator raises, after the items before it.
    """
    worker = _Worker(items, ahead)
    try:
        if worker.start():
            yield from worker.found_items()
        else:
            with closing(items):
                yield from items
    finally:
        worker.stop()


class _Worker(Generic[T]):
    """A thread that takes items from a generator, and closes it."""

    def __init__(self, items: Generator[T, None, None], ahead: int) -> None:
        self._items = items
        self._room: SimpleQueue[None] = SimpleQueue()
        self._found: SimpleQueue[T | None] = SimpleQueue()
        self._error: BaseException | None = None
        self._is_running = self._is_stopped = False
        self._ended = allocate_lock()
        self._ended.acquire()
        for _ in range(ahead):
            self._room.put(None)

    def start(self) -> bool:
        """Start the thread, or return False if there can be no more."""
        with suppress(RuntimeError):
            start_new_thread(self._take_items, ())
            self._is_running = True
        return self._is_running

    def found_items(self) -> Generator[T, None, None]:
        """Yield the items, then raise what the generator has raised."""
        while (item := self._found.get()) is not None:
            self._room.put(None)
            yield item
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # its traceback holds this frame, and with it the file

    def stop(self) -> None:
        """Stop the thread, and wait until the generator is closed."""
        self._is_stopped = True
        self._room.put(None)
        if self._is_running:
            self._ended.acquire()

    def _take_items(self) -> None:
        try:
            with closing(self._items) as items:
                while self._has_room() and (item := next(items, None)) is not None:
                    self._found.put(item)
                    del item
        except BaseException as error:  # noqa: BLE001 - it is raised where the items are used
            self._error = error
        self._found.put(None)
        self._ended.release()

    def _has_room(self) -> bool:
        self._room.get()
        return not self._is_stopped
