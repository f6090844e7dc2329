"""Reading ahead: a thread takes items from an iterator while its consumer works on earlier ones.

It pays where the thread runs code that does not hold Python's lock, such as zlib and Arrow.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")


def read_ahead(items: Generator[T, None, None], ahead: int, name: str) -> Generator[T, None, None]:
    """Yield the items of a generator that a thread runs. Both end with this generator.

    Args:
        items: The generator. Its items are not None.
        ahead: How many items may wait.
        name: The name of the thread.

    Raises:
        Exception: What the generator raises, after the items before it.
    """
    with closing(items):
        worker = ThreadPoolExecutor(1, name)
        try:
            waiting = deque(worker.submit(next, items, None) for _ in range(ahead))
            while (item := waiting.popleft().result()) is not None:
                waiting.append(worker.submit(next, items, None))
                yield item
        finally:
            worker.shutdown(cancel_futures=True)
