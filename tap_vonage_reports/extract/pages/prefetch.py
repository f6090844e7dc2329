"""Reading ahead: worker threads fetch, one thread consumes, in order.

The seam between HTTP and Singer. Tasks are run by workers in the order in which their items will be needed,
and what they yield is spooled until the one consumer takes it: all of one task, then all of the next. Only
the consumer's thread yields records, writes messages and touches state.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from itertools import chain, dropwhile, islice
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from tap_vonage_reports.api.request_context import RequestCancelled, RequestContext
from tap_vonage_reports.extract.pages.spool import DiskQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Iterable, Sequence

    from tap_vonage_reports.metrics import FetchMetrics

T = TypeVar("T")

OWN_ROOM = 2
"""Items that the task whose turn it is may always have waiting; they stay in memory."""
ROOM_BY_WORKER = 20
"""Items that may wait for each worker beyond the first, over all tasks: what a kill can cost."""
GLANCE_SECONDS = 0.25

Work: TypeAlias = "Callable[[RequestContext], Iterable[T]]"


class FetchTask(Generic[T]):
    """One piece of work: its items on their way to the consumer, then its end or its error."""

    def __init__(self, work: Work[T], rank: int, metrics: FetchMetrics | None) -> None:
        self.work = work
        self.context = RequestContext((1, rank), metrics=metrics)
        self.fetched = 0
        self.ending = False
        self.spool: DiskQueue[T] = DiskQueue()
        self.error: BaseException | None = None
        self.done = False


class Prefetcher(Generic[T]):
    """Runs tasks in worker threads, ahead of their consumer, within a bounded room."""

    def __init__(self, workers: int) -> None:
        """Set up; threads start with the first task.

        Args:
            workers: How many tasks run at once.
        """
        self.workers = workers
        self._room = ROOM_BY_WORKER * (workers - 1)
        self._changed = threading.Condition()
        self._groups: dict[Hashable, deque[FetchTask[T]]] = {}
        """All tasks that are not consumed, by group, in the order in which they will be."""
        self._waiting: deque[tuple[Hashable, FetchTask[T]]] = deque()
        self._spooled = 0
        self._ranks = 0
        self._threads: list[threading.Thread] = []
        self._closed = False

    @property
    def hungry(self) -> bool:
        """Whether there is too little to do for the workers."""
        with self._changed:
            return len(self._waiting) < self.workers

    def add(self, group: Hashable, work: Sequence[Work[T]], metrics: FetchMetrics | None = None) -> None:
        """Hand over the tasks of a group. Groups are consumed in the order in which they are added.

        Args:
            group: The group's name.
            work: What to do, in order: each makes an iterator, which one worker runs through.
            metrics: What the requests of the group are counted in.
        """
        with self._changed:
            tasks = deque(FetchTask(one, self._ranks + number, metrics) for number, one in enumerate(work))
            self._ranks += len(tasks)
            self._groups[group] = tasks
            self._waiting.extend((group, task) for task in tasks)
            self._changed.notify_all()
        while len(self._threads) < min(self.workers, self._ranks):
            # Daemons: a run that ends early must not wait for an answer that nobody will use.
            thread = threading.Thread(target=self._serve, name="reports-fetch", daemon=True)
            self._threads.append(thread)
            thread.start()

    def take(self, group: Hashable, meanwhile: Callable[[], None]) -> Generator[tuple[int, T], None, None]:
        """Consume a group. Its tasks that are not consumed when the generator is closed are dropped.

        Args:
            group: The group's name.
            meanwhile: Called after each item, and several times a second while there is none.

        Yields:
            The number of the task in its group, from 0, and an item of it; all of one task before the next.

        Raises:
            BaseException: What a task raised, in its place in the order.
        """
        try:
            number = 0
            while task := self._first_task(group):
                meanwhile()
                with self._changed:
                    if not task.spool and not task.done:
                        self._changed.wait(GLANCE_SECONDS)
                    if not task.spool:
                        if not task.done:
                            continue
                        if task.error:
                            raise task.error
                        self._groups[group].popleft()
                        number += 1
                        self._changed.notify_all()
                        continue
                    item = task.spool.popleft()
                    self._spooled -= 1
                    self._changed.notify_all()
                yield number, item
        finally:
            self._drop(group)

    def close(self) -> None:
        """Drop everything and let the workers go."""
        for group in list(self._groups):
            self._drop(group)
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _first_task(self, group: Hashable) -> FetchTask[T] | None:
        with self._changed:
            return next(iter(self._groups[group]), None)

    def _drop(self, group: Hashable) -> None:
        with self._changed:
            for task in self._groups.pop(group, ()):
                task.context.cancel_token.cancel()
                self._spooled -= len(task.spool)
                task.spool.close()
            self._waiting = deque(entry for entry in self._waiting if entry[0] != group)
            self._changed.notify_all()

    def _serve(self) -> None:
        while entry := self._next():
            group, task = entry
            try:
                # What was cancelled has no consumer.
                with suppress(RequestCancelled):
                    for item in task.work(task.context):
                        self._put(task, item)
            except BaseException as error:  # noqa: BLE001 - the consumer raises it again
                task.error = error
                self._end_after(group, task)
            with self._changed:
                task.done = True
                self._changed.notify_all()

    def _end_after(self, group: Hashable, failed: FetchTask[T]) -> None:
        """End what comes after a task in its group: the consumer will not get beyond the error."""
        with self._changed:
            self._waiting = deque(entry for entry in self._waiting if entry[0] != group)
            after = dropwhile(lambda task: task is not failed, self._groups.get(group, ()))
            for task in islice(after, 1, None):
                task.context.cancel_token.cancel()
            self._changed.notify_all()

    def _next(self) -> tuple[Hashable, FetchTask[T]] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            entry = self._waiting.popleft() if self._waiting else None
            if not self._waiting:
                # Nothing is left to begin: from here on who has the least goes first, so that all end together.
                for task in chain.from_iterable(self._groups.values()):
                    task.ending = True
            return entry

    def _put(self, task: FetchTask[T], item: T) -> None:
        with self._changed:
            self._changed.wait_for(lambda: task.context.cancel_token.cancelled or self._has_room(task))
            task.context.cancel_token.pause(0)
            task.spool.append(item, store=not self._is_next(task))
            self._spooled += 1
            task.fetched += 1
            if task.ending:
                task.context.priority = (0, task.fetched)
            self._changed.notify_all()

    def _has_room(self, task: FetchTask[T]) -> bool:
        return self._spooled < self._room or self._is_next(task)

    def _is_next(self, task: FetchTask[T]) -> bool:
        """Whether the consumer is waiting for this task, or will be very soon."""
        first = next((tasks[0] for tasks in self._groups.values() if tasks), None)
        return task is first and len(task.spool) < OWN_ROOM
