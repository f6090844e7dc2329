"""Locks on files and folders that end with the process that holds them, however it ends.

So the next run can tell what a killed process has left from what a living one is still using. On Windows, nothing is
locked and everything counts as in use.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from pathlib import Path

_CREATE = os.O_CREAT | os.O_RDWR | os.O_APPEND
# A pipe, which another user may have put there, would block.
_OPEN = getattr(os, "O_NONBLOCK", 0)


def create_locked(path: Path) -> int:
    """Create a file for this user alone, and hold its lock until the descriptor is closed.

    Args:
        path: The file. If it exists, it is opened for appending.

    Returns:
        Its descriptor.

    Raises:
        OSError: The file cannot be created.
    """
    while True:
        descriptor = os.open(path, _CREATE, 0o600)
        if lock(descriptor, path):
            return descriptor
        os.close(descriptor)


def lock(descriptor: int, path: Path) -> bool:
    """Lock a new file or folder. Where the file system has no locks, it stays unlocked.

    Args:
        descriptor: Its descriptor.
        path: Its path.

    Returns:
        False if another process has meanwhile taken it for abandoned and removed it.
    """
    if sys.platform == "win32":
        return True
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return _is_at(path, descriptor)


def take_abandoned(path: Path) -> int | None:
    """Lock a file or folder of this user whose process has ended.

    Args:
        path: The file or folder.

    Returns:
        Its descriptor, readable; None if it is in use, gone, or of another user.
    """
    if sys.platform == "win32":
        return None
    try:
        descriptor = os.open(path, _OPEN | (os.O_RDONLY if path.is_dir() else os.O_RDWR))
    except OSError:
        return None
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_uid == os.geteuid() and _is_at(path, descriptor):
            return descriptor
    os.close(descriptor)
    return None


def _is_at(path: Path, descriptor: int) -> bool:
    """Return True if a descriptor's file is still the one at a path, and was not opened through a link."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False
