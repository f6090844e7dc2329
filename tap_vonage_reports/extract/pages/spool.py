"""DiskQueue: a queue that stores its items on disk, for prefetched pages."""

from __future__ import annotations

import pickle
import tempfile
from collections import deque
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Generic, NamedTuple, TypeVar

from tap_vonage_reports.errors import PrefetchStorageError

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")


IN_MEMORY_BYTES = 1 << 16
"""Less than this, such as pages without rows, is not worth a file."""
SEGMENT_BYTES = 1 << 23
"""A file that has grown to this is followed by another one: 8 MiB, the space that items already taken can hold."""


class _Segment:
    """One file of a queue, which exists while items in it wait.

    Attributes:
        file: The file. Nobody else can read it, and it is gone when it is closed or the process ends.
        waiting: How many items in it were not taken.
    """

    def __init__(self) -> None:
        self.file: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES, prefix="vonage-pages-")  # noqa: SIM115 - closed with its last item
        self.waiting = 0

    def close(self) -> None:
        with suppress(OSError):  # its content is of no use any more
            self.file.close()


class _Stored(NamedTuple):
    segment: _Segment
    start: int
    length: int


class DiskQueue(Generic[T]):
    """A first-in, first-out queue for one thread at a time.

    Its files are as large as what waits, and 8 MiB more. Closing it frees memory and disk.
    """

    def __init__(self) -> None:
        """Make an empty queue."""
        self._entries: deque[T | _Stored] = deque()
        self._last: _Segment | None = None

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
        """Drop what is left, and the files."""
        for entry in self._entries:
            if isinstance(entry, _Stored):
                entry.segment.close()
        self._entries.clear()
        if self._last:
            self._last.close()
            self._last = None

    def _write(self, item: T) -> _Stored:
        content = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
        with _checked():
            segment = self._last = self._last or _Segment()
            start = segment.file.seek(0, 2)
            segment.file.write(content)
            segment.file.flush()  # a full disk is reported here, not where the item is taken
        segment.waiting += 1
        if start + len(content) >= SEGMENT_BYTES:
            self._last = None
        return _Stored(segment, start, len(content))

    def _read(self, entry: _Stored) -> T:
        segment = entry.segment
        with _checked():
            segment.file.seek(entry.start)
            content = segment.file.read(entry.length)
        segment.waiting -= 1
        if not segment.waiting and segment is not self._last:
            segment.close()
        item: T = pickle.loads(content)  # noqa: S301 - this process wrote it
        return item


@contextmanager
def _checked() -> Generator[None, None, None]:
    try:
        yield
    except OSError as error:
        raise PrefetchStorageError(error.strerror) from None
