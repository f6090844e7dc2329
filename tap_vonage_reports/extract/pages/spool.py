"""DiskQueue: a queue whose items wait on disk, for pages that are prefetched."""

from __future__ import annotations

import pickle
import tempfile
from collections import deque
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from tap_vonage_reports.errors import PrefetchStorageError

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")


IN_MEMORY_BYTES = 1 << 16
"""Less than this, such as pages without rows, is not worth a file."""


class _Stored(NamedTuple):
    start: int
    length: int


class DiskQueue(Generic[T]):
    """A first-in, first-out queue for one thread at a time. Closing it frees memory and disk."""

    def __init__(self) -> None:
        """Make an empty queue."""
        self._entries: deque[T | _Stored] = deque()
        self._file: IO[bytes] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, item: T, *, store: bool = True) -> None:
        """Add an item at the end.

        Args:
            item: The item.
            store: True to write it to disk; else it stays in memory as it is.

        Raises:
            PrefetchStorageError: It cannot be stored.
        """
        self._entries.append(self._write(item) if store else item)

    def popleft(self) -> T:
        """Remove and return the first item.

        Raises:
            PrefetchStorageError: It cannot be read.
        """
        entry = self._entries.popleft()
        item = self._read(entry) if isinstance(entry, _Stored) else entry
        if not self._entries:
            self.close()
        return item

    def close(self) -> None:
        """Drop what is left, and the file."""
        self._entries.clear()
        if self._file:
            with suppress(OSError):  # its content is of no use any more
                self._file.close()
            self._file = None

    def _write(self, item: T) -> _Stored:
        content = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
        with _checked():
            if self._file is None:
                # Nobody else can read it, and it is gone when it is closed or the process ends.
                self._file = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES, prefix="vonage-pages-")  # noqa: SIM115 - closed with the queue
            start = self._file.seek(0, 2)
            self._file.write(content)
            self._file.flush()  # a full disk is reported here, not where the item is taken
        return _Stored(start, len(content))

    def _read(self, entry: _Stored) -> T:
        file: Any = self._file
        with _checked():
            file.seek(entry.start)
            content = file.read(entry.length)
        item: T = pickle.loads(content)  # noqa: S301 - this process wrote it
        return item


@contextmanager
def _checked() -> Generator[None, None, None]:
    try:
        yield
    except OSError as error:
        raise PrefetchStorageError(error.strerror) from None
