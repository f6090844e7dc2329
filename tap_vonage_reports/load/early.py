"""Standard input, read from the first moment on, while the loader still starts.

A run of the tap is entered in the ledger when its first file is announced. Before the loader is connected to the
database, it marks the run by an empty hidden file in the run's folder instead, so that the next run of the loader knows
of it even if this one is killed while it starts. As long as it lives, it holds a lock on that file. Importing this
module takes almost no time.
"""

from __future__ import annotations

import json
import os
import queue
import re
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tap_vonage_reports.load.names import LOCAL, folder_of, run_of

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK_BYTES = 1 << 16
_MAX_LINES = 1_000
"""Lines that wait in memory."""
_TYPE_WITHIN = 40
"""The type of a message stands within so many bytes of its line."""
HELD: dict[Path, int] = {}
"""The marks of this process, with the descriptors that hold their locks."""
_MARK = re.compile(r"\.(?P<run>[0-9a-f]{8})\.(?P<destination>[0-9a-f]{16})\.announced")


class EarlyInput:
    """The lines of a descriptor. A thread reads them, and marks the run of the first BATCH message.

    Args:
        descriptor: What to read.
        destination: What identifies the destination: 16 hexadecimal digits.
    """

    def __init__(self, descriptor: int, destination: str) -> None:
        self._descriptor = descriptor
        self._destination = destination
        self._lines: queue.Queue[bytes | None] = queue.Queue(_MAX_LINES)
        threading.Thread(target=self._read, name="input", daemon=True).start()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines, to the end of the input."""
        return iter(self._lines.get, None)

    def _read(self) -> None:
        rest, marked = b"", False
        with suppress(OSError):
            while chunk := os.read(self._descriptor, _CHUNK_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    marked = marked or mark(line, self._destination)
                    self._lines.put(line)
        if rest:
            self._lines.put(rest)
        self._lines.put(None)


def mark(line: bytes, destination: str) -> bool:
    """Mark the run of a BATCH message in its folder, if its files are local.

    Args:
        line: A message.
        destination: What identifies the destination.

    Returns:
        True if it is a BATCH message.
    """
    if b'"BATCH"' not in line[:_TYPE_WITHIN]:
        return False
    with suppress(ValueError, KeyError, IndexError, TypeError, AttributeError, OSError):
        message = json.loads(line)
        address = message["manifest"][0]
        if (run := run_of(address.rpartition("/")[2])) and address.startswith(LOCAL):
            folder = Path(folder_of(address.removeprefix(LOCAL), message["stream"]))
            path = mark_of(folder, run, destination)
            if path not in HELD:
                HELD[path] = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
                _lock(HELD[path])
    return True


def mark_of(folder: Path, run: str, destination: str) -> Path:
    """Return the path of a mark."""
    return folder / f".{run}.{destination}.announced"


def unmark(path: Path) -> None:
    """Remove a mark, if it exists."""
    with suppress(OSError):
        path.unlink()
    if path in HELD:
        os.close(HELD.pop(path))


def _lock(descriptor: int) -> bool:
    """Lock a mark, and return False if a process that lives has locked it."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def take_marks(folder: Path, destination: str) -> dict[str, Path]:
    """Take over the marks for a destination whose processes have ended.

    Returns:
        The marks in the folder, by run.
    """
    taken = {}
    with suppress(OSError):
        found = {path: _MARK.fullmatch(path.name) for path in folder.iterdir() if path not in HELD}
        for path, name in found.items():
            if name and name["destination"] == destination:
                descriptor = os.open(path, os.O_WRONLY)
                if _lock(descriptor):
                    taken[name["run"]], HELD[path] = path, descriptor
                else:
                    os.close(descriptor)
    return taken
