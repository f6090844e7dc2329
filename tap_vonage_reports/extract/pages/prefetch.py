"""Prefetches pages: worker threads fetch several windows at a time, and one consumer takes their items in order.

Tasks start in the order in which their items are needed. Their items wait on disk until the consumer takes them: all
items of one task, then all of the next. This module separates HTTP from Singer: only the consumer's thread writes
records and touches state.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from itertools import dropwhile, islice
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from tap_vonage_reports.api.request_context import RequestCancelled, RequestContext
from tap_vonage_reports.extract.pages.spool import DiskQueue
from tap_vonage_reports.metrics import FetchMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Iterable, Sequence

T = TypeVar("T")

ITEMS_OF_FIRST_TASK = 2
"""Items of the task being consumed that may always wait; they stay in memory."""
ITEMS_PER_WORKER = 20
"""Items that may wait for each worker beyond the first, over all tasks: the pages that a kill can cost."""
POLL_SECONDS = 0.25

Work: TypeAlias = "Callable[[RequestContext], Iterable[T]]"


class FetchTask(Generic[T]):
    """One piece of work: its items on their way to the consumer, then its end or its error."""

    def __init__(self, work: Work[T], rank: int, metrics: FetchMetrics) -> None:
        """Set up a task.

        Args:
            work: Makes an iterator of items.
            rank: The place of the task in the order of all tasks.
            metrics: Counts its requests.
        """
        self.work = work
        self.context = RequestContext((1, rank), metrics=metrics)
        self.items: DiskQueue[T] = DiskQueue()
        self.error: BaseException | None = None
        self.done = False


class Prefetcher(Generic[T]):
    """Runs tasks in worker threads ahead of their consumer, within a bounded buffer."""

    def __init__(self, workers: int) -> None:
        """Set up a prefetcher. Threads start with the first task.

        Args:
            workers: How many tasks run at the same time.
        """
        self.workers = workers
        self._max_buffered = ITEMS_PER_WORKER * (workers - 1)
        self._changed = threading.Condition()
        self._groups: dict[Hashable, deque[FetchTask[T]]] = {}
        """All tasks that are not consumed, by group, in the order in which they will be."""
        self._waiting: deque[tuple[Hashable, FetchTask[T]]] = deque()
        self._buffered = 0
        self._task_count = 0
        self._threads: list[threading.Thread] = []
        self._closed = False

    @property
    def has_idle_workers(self) -> bool:
        """True if fewer tasks are queued than there are workers."""
        with self._changed:
            return len(self._waiting) < self.workers

    def add(self, group: Hashable, work: Sequence[Work[T]], metrics: FetchMetrics | None = None) -> None:
        """Queue the tasks of a group. Groups are consumed in the order in which they are added.

        Args:
            group: The group's name.
            work: The tasks in order: each makes an iterator, which one worker exhausts.
            metrics: Counts the requests of the group.
        """
        metrics = metrics or FetchMetrics()
        with self._changed:
            tasks = deque(FetchTask(one, self._task_count + number, metrics) for number, one in enumerate(work))
            self._task_count += len(tasks)
            self._groups[group] = tasks
            self._waiting.extend((group, task) for task in tasks)
            self._changed.notify_all()
        while len(self._threads) < min(self.workers, self._task_count):
            # Daemons: a run that ends early must not wait for an answer that nobody will use.
            thread = threading.Thread(target=self._run_tasks, name="reports-fetch", daemon=True)
            self._threads.append(thread)
            thread.start()

    def consume(self, group: Hashable, meanwhile: Callable[[], None]) -> Generator[T, None, None]:
        """Take the items of a group. Closing the generator drops the tasks that are not consumed.

        Args:
            group: The group's name.
            meanwhile: Called after each item, and several times a second while there is none.

        Yields:
            Items: all of one task before the next.

        Raises:
            BaseException: What a task raised, in its place in the order.
        """
        try:
            while task := self._first_task(group):
                meanwhile()
                with self._changed:
                    if not task.items and not task.done:
                        self._changed.wait(POLL_SECONDS)
                    if not task.items:
                        if task.done:
                            self._finish(group, task)
                        continue
                    item = task.items.popleft()
                    self._buffered -= 1
                    self._changed.notify_all()
                yield item
        finally:
            self._drop(group)

    def close(self) -> None:
        """Drop everything and stop the workers."""
        for group in list(self._groups):
            self._drop(group)
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _first_task(self, group: Hashable) -> FetchTask[T] | None:
        with self._changed:
            return next(iter(self._groups[group]), None)

    def _finish(self, group: Hashable, task: FetchTask[T]) -> None:
        """Go on to the next task of a group, unless this one failed."""
        if task.error:
            raise task.error
        self._groups[group].popleft()
        self._changed.notify_all()

    def _drop(self, group: Hashable) -> None:
        with self._changed:
            for task in self._groups.pop(group, ()):
                task.context.cancel_token.cancel()
                self._buffered -= len(task.items)
                task.items.close()
            self._waiting = deque(entry for entry in self._waiting if entry[0] != group)
            self._changed.notify_all()

    def _run_tasks(self) -> None:
        while entry := self._next():
            group, task = entry
            try:
                with suppress(RequestCancelled):  # nobody consumes a cancelled task
                    for item in task.work(task.context):
                        self._put(task, item)
            except BaseException as error:  # noqa: BLE001 - the consumer raises it again
                task.error = error
                self._cancel_after(group, task)
            with self._changed:
                task.done = True
                self._changed.notify_all()

    def _cancel_after(self, group: Hashable, failed: FetchTask[T]) -> None:
        """Cancel the tasks behind a failed one of their group: the consumer will not get there.

        The caller wakes the workers that wait for room.
        """
        with self._changed:
            self._waiting = deque(entry for entry in self._waiting if entry[0] != group)
            after = dropwhile(lambda task: task is not failed, self._groups.get(group, ()))
            for task in islice(after, 1, None):
                task.context.cancel_token.cancel()

    def _next(self) -> tuple[Hashable, FetchTask[T]] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return self._waiting.popleft() if self._waiting else None

    def _put(self, task: FetchTask[T], item: T) -> None:
        with self._changed:
            self._changed.wait_for(lambda: task.context.cancel_token.cancelled or self._has_room(task))
            task.context.cancel_token.pause(0)
            task.items.append(item, store=not self._is_next(task))
            self._buffered += 1
            self._changed.notify_all()

    def _has_room(self, task: FetchTask[T]) -> bool:
        return self._buffered < self._max_buffered or self._is_next(task)

    def _is_next(self, task: FetchTask[T]) -> bool:
        """Return True if the consumer is waiting for this task, or will be very soon."""
        first = next((tasks[0] for tasks in self._groups.values() if tasks), None)
        return task is first and len(task.items) < ITEMS_OF_FIRST_TASK
