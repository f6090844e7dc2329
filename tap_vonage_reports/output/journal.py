"""The journal of BATCH files: those that no message names yet, for the next run to remove if this process is killed.

A journal is a hidden file that its process holds a lock on. A name is entered before the file's draft is created, and
removed when the file's message is written, which is before any STATE covers its rows. So the files in the journal of a
process that has ended can go: the tap reads their rows again. What runs at the same time keeps its files, also in a
folder that two pipelines share.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tap_vonage_reports.file_lock import create_locked, take_abandoned
from tap_vonage_reports.plurals import counted

if TYPE_CHECKING:
    from tap_vonage_reports.output.storage import Storage

logger = logging.getLogger(__name__)

_NAME = re.compile(r"\.(?P<run>[0-9a-f]{8})-\d{5,}(?P<place>(-[0-9a-f]{16})?)\.unannounced")
_MAX_BYTES = 1 << 24


class Journal:
    """The files of one writer that no message names yet.

    Args:
        storage: The storage of the files.
        run: The run's part of their names: 8 hexadecimal digits.
    """

    def __init__(self, storage: Storage, run: str) -> None:
        self._storage = storage
        self._run = run
        self._path = Path()
        self._descriptor: int | None = None

    def add(self, name: str, number: int) -> None:
        """Enter a file before it is created. The first one creates the journal.

        Args:
            name: The file's name.
            number: Its number, which no other file of the run has.

        Raises:
            OSError: The journal cannot be written.
        """
        if sys.platform == "win32":  # there are no locks that would tell whether its process lives
            return
        if self._descriptor is None:
            folder, place = self._storage.journals
            folder.mkdir(parents=True, exist_ok=True)
            self._path = folder / f".{self._run}-{number:05}{place}.unannounced"
            self._descriptor = create_locked(self._path)
        os.write(self._descriptor, f"{name}\n".encode())

    def clear(self) -> None:
        """Remove all names: their files were announced, or are gone."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)

    def close(self, *, keep: bool = False) -> None:
        """Remove the journal.

        Args:
            keep: True to leave it to the next run, because files could not be removed.
        """
        if self._descriptor is not None:
            if not keep:
                with suppress(OSError):
                    self._path.unlink()
            os.close(self._descriptor)
            self._descriptor = None


def remove_unannounced(storage: Storage) -> None:
    """Remove the files of killed runs that no message names, complete or not.

    Args:
        storage: Where they are. If that is not local, only runs on this machine are known.
    """
    folder, place = storage.journals
    removed = 0
    for path in sorted(folder.glob(".*.unannounced")):
        found = _NAME.fullmatch(path.name)
        if found and found["place"] == place and (descriptor := take_abandoned(path)) is not None:
            with suppress(OSError):  # it is no file
                removed += _remove(storage, path, descriptor, found["run"])
    if removed:
        logger.info(
            "Removed %s that a killed run had not announced; their rows are read again",
            counted(removed, "BATCH file"),
        )


def _remove(storage: Storage, path: Path, descriptor: int, run: str) -> int:
    """Remove the files in a journal and, if that succeeds, the journal.

    Returns:
        The number of files that are gone.
    """
    try:
        # A name without its line end was not entered before the process ended, so its file was not created.
        lines = os.pread(descriptor, _MAX_BYTES, 0).decode(errors="replace").split("\n")[:-1]
        names = [name for name in lines if _is_of_run(name, run)]
        gone = [name for name in names if storage.remove_all(name)]
        if len(gone) == len(names):
            path.unlink()
        else:
            logger.warning(
                "BATCH files that a killed run had not announced cannot be removed. They hold personal data. Check "
                "that the tap may remove files in the storage; the next run tries again."
            )
        return len(gone)
    finally:
        os.close(descriptor)


def _is_of_run(name: str, run: str) -> bool:
    """Return True if a name is that of a file of a run, below the storage's root."""
    path = PurePosixPath(name)
    return f"-{run}-" in path.name and not path.is_absolute() and ".." not in path.parts
