"""The private folder of a loader, for copies of remote files and for rows that do not fit into memory."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tap_vonage_reports.file_lock import lock, take_abandoned
from tap_vonage_reports.load.settings import NAME

if TYPE_CHECKING:
    from collections.abc import Generator

_PREFIX = f"{NAME}-"


@contextmanager
def workspace() -> Generator[Path, None, None]:
    """Create a folder for a `with` block, and remove it and those of killed loaders, which hold personal data."""
    _remove_abandoned()
    folder, descriptor = _create()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def _create() -> tuple[Path, int | None]:
    """Create a folder, and lock it for as long as this process lives."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        if sys.platform == "win32":
            return folder, None
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY)
            if lock(descriptor, folder):
                return folder, descriptor
            os.close(descriptor)


def _remove_abandoned() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if folder.is_dir() and (descriptor := take_abandoned(folder)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)
