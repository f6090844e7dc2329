"""Standard input, read from the first moment on, while the loader still starts.

A run of the tap is entered in the ledger when its first file is announced. Before the loader is connected to the
database, it marks the run by a hidden file in the run's folder instead (in that for temporary files if the run's is not
local), so that the next run of the loader knows of it even if this one is killed while it starts. As long as it lives,
it holds a lock on that file. Importing this module takes almost no time.
"""

from __future__ import annotations

import json
import os
import queue
import re
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tap_vonage_reports.errors import LoadError
from tap_vonage_reports.file_lock import create_locked, take_abandoned
from tap_vonage_reports.load.names import LOCAL, folder_of, run_of

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
        self._lines: queue.Queue[bytes | BaseException | None] = queue.Queue(_MAX_LINES)
        threading.Thread(target=self._read, name="input", daemon=True).start()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines, to the end of the input.

        Raises:
            LoadError: The input cannot be read.
        """
        while (line := self._lines.get()) is not None:
            if isinstance(line, OSError):
                raise input_error(line.strerror or type(line).__name__) from None
            if isinstance(line, BaseException):
                raise line
            yield line

    def _read(self) -> None:
        end: BaseException | None = None
        try:
            self._read_lines()
        except BaseException as error:  # noqa: BLE001 - it is raised in the main thread, which would wait for ever
            end = error
        self._lines.put(end)

    def _read_lines(self) -> None:
        rest, marked = b"", False
        while chunk := os.read(self._descriptor, _CHUNK_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                marked = marked or mark(line, self._destination)
                self._lines.put(line)
        if rest:
            self._lines.put(rest)


def input_error(why: str) -> LoadError:
    """Return the error of an input that cannot be read."""
    return LoadError(
        f"Standard input cannot be read ({why}). Pipe the output of tap-vonage-reports into the loader. What was "
        "committed remains; the next run of the tap reads the rest again."
    )


def mark(line: bytes, destination: str) -> bool:
    """Mark the run of a BATCH message.

    Args:
        line: A message.
        destination: What identifies the destination.

    Returns:
        True if it is a BATCH message.
    """
    if b'"BATCH"' not in line[:_TYPE_WITHIN]:
        return False
    with suppress(ValueError, KeyError, IndexError, TypeError, AttributeError, OSError, RecursionError):
        message = json.loads(line)
        address = message["manifest"][0]
        if run := run_of(address.rpartition("/")[2]):
            folder = folder_of(address, message["stream"])
            place = Path(folder.removeprefix(LOCAL)) if address.startswith(LOCAL) else elsewhere()
            path = mark_of(place, run, destination)
            if path not in HELD:
                HELD[path] = create_locked(path)
                os.write(HELD[path], f"{folder}\n".encode())
    return True


def elsewhere() -> Path:
    """Return the folder for the marks of runs whose files are not local."""
    return Path(tempfile.gettempdir())


def mark_of(folder: Path, run: str, destination: str) -> Path:
    """Return the path of a mark."""
    return folder / f".{run}.{destination}.announced"


def unmark(path: Path) -> None:
    """Remove a mark, if it exists."""
    with suppress(OSError):
        path.unlink()
    if path in HELD:
        os.close(HELD.pop(path))
        with suppress(OSError):  # Windows removes no file that is open
            path.unlink()


class Mark(NamedTuple):
    """A mark that a loader left.

    Attributes:
        run: The run.
        address: The address of the run's folder; empty if its process ended before that was written.
        path: The mark's path.
    """

    run: str
    address: str
    path: Path


def take_marks(folder: Path, destination: str) -> list[Mark]:
    """Take over the marks for a destination whose processes have ended.

    Returns:
        The marks in the folder.
    """
    taken = []
    with suppress(OSError):
        found = {path: _MARK.fullmatch(path.name) for path in folder.iterdir() if path not in HELD}
        for path, name in found.items():
            if not name or name["destination"] != destination or (descriptor := take_abandoned(path)) is None:
                continue
            HELD[path] = descriptor
            address = os.pread(descriptor, _CHUNK_BYTES, 0).decode(errors="replace").strip()
            taken.append(Mark(name["run"], address, path))
    return taken
