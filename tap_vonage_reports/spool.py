"""A queue whose items wait on disk."""

from __future__ import annotations

import pickle
import tempfile
from collections import deque
from typing import IO, Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")


IN_MEMORY_BYTES = 1 << 16
"""What is smaller than this in all, such as pages without rows, is not worth a file."""


class _Stored(NamedTuple):
    start: int
    length: int


class Spool(Generic[T]):
    """First in, first out. For one thread at a time; closing it gives back all that it takes up."""

    def __init__(self) -> None:
        """Make an empty spool."""
        self._entries: deque[T | _Stored] = deque()
        self._file: IO[bytes] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, item: T, *, store: bool = True) -> None:
        """Put an item at the end.

        Args:
            item: The item.
            store: Whether it goes to the disk; else it stays in memory as it is.

        Raises:
            OSError: There is no room on the disk.
        """
        self._entries.append(self._write(item) if store else item)

    def popleft(self) -> T:
        """Take the first item."""
        entry = self._entries.popleft()
        item = self._read(entry) if isinstance(entry, _Stored) else entry
        if not self._entries:
            self.close()
        return item

    @property
    def closed(self) -> bool:
        """Whether it takes up nothing."""
        return not self._entries and self._file is None

    def close(self) -> None:
        """Drop what is left, and the file."""
        self._entries.clear()
        if self._file:
            self._file.close()
            self._file = None

    def _write(self, item: T) -> _Stored:
        if self._file is None:
            # Nobody else can read it, and it is gone when it is closed, or the process ends.
            self._file = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES, prefix="vonage-pages-")  # noqa: SIM115 - closed with the spool
        content = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
        start = self._file.seek(0, 2)
        self._file.write(content)
        return _Stored(start, len(content))

    def _read(self, entry: _Stored) -> T:
        file: Any = self._file
        file.seek(entry.start)
        item: T = pickle.loads(file.read(entry.length))  # noqa: S301 - this process wrote it
        return item
