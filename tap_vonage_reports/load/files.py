"""The tap's BATCH files, in a local folder or in any storage that fsspec supports."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from tap_vonage_reports.errors import LoadError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from datetime import datetime

_LOCAL = "file://"
_NAME = re.compile(r"(?P<stream>.+)-\d{8}T\d+Z-(?P<run>[0-9a-f]{8})-\d{5,}\.parquet")
"""The name of a file of the tap: prefix and stream, time, run, number."""
_PARTITION = re.compile(r"\w+=[^/]*")
"""A folder such as ``read_date=2026-11-28``."""


@dataclass(frozen=True)
class BatchFile:
    """A BATCH file.

    Attributes:
        storage: The fsspec storage.
        path: Its path there.
    """

    storage: Any
    path: str

    @property
    def name(self) -> str:
        """The file's name, without its folder."""
        return self.path.rpartition("/")[2]

    @property
    def run(self) -> str | None:
        """The part of its name that all files of one run of the tap share; None if another program has named it."""
        return found["run"] if (found := _NAME.fullmatch(self.name)) else None

    @property
    def key(self) -> str:
        """What identifies the file for ever: the name that the tap gave it, or else where it is."""
        return self.name if self.run else str(self.storage.unstrip_protocol(self.path))

    def belongs_to(self, stream: str) -> bool:
        """Return True if its name is that of a file of this stream."""
        found = _NAME.fullmatch(self.name)
        return found is not None and found["stream"].endswith(stream)

    def folder(self, stream: str) -> str:
        """Return the address of the folder below which a run has its files, whatever the layout is.

        Args:
            stream: The stream that the file belongs to.
        """
        *folders, _ = self.path.split("/")
        while folders and _PARTITION.fullmatch(folders[-1]):
            folders.pop()
        if folders and folders[-1].endswith(stream):
            folders.pop()
        return str(self.storage.unstrip_protocol("/".join(folders) or "/"))


class FileStore:
    """Access to BATCH files.

    Args:
        parameters: Options for fsspec, for files that are not local.
        folder: A private temporary folder, for copies of files that are not local.
    """

    def __init__(self, parameters: Mapping[str, Any], folder: Path) -> None:
        self._parameters = parameters
        self._folder = folder
        self._local = LocalFileSystem()

    def at(self, address: str) -> BatchFile:
        """Return the file, or the folder, at an address of a BATCH message. It is not looked at yet."""
        # As the tap writes it: never percent-encoded.
        if address.startswith(_LOCAL) or "://" not in address:
            path = address.removeprefix(_LOCAL)
            return BatchFile(self._local, Path(path.removeprefix("/") if os.name == "nt" else path).as_posix())
        try:
            return BatchFile(*fsspec.url_to_fs(address, **self._parameters))
        except ImportError:
            msg = (
                "The BATCH files are in a storage that needs a package that is not installed. For S3, run "
                "pip install 'tap-vonage-reports[load,s3]'. For others, install the package that fsspec uses for it."
            )
            raise LoadError(msg) from None
        except Exception as error:  # noqa: BLE001 - each storage has its own
            msg = (
                f"The storage of the BATCH files cannot be used ({type(error).__name__}). Check the setting "
                "storage_params and the credentials in the environment."
            )
            raise LoadError(msg) from None

    def exists(self, file: BatchFile) -> bool:
        """Return True if a file is there."""
        with _storage_errors("found"):
            return bool(file.storage.exists(file.path))

    def modified(self, file: BatchFile) -> datetime:
        """Return the time at which a file was completed."""
        with _storage_errors("read"):
            time: datetime = file.storage.modified(file.path)
            return time

    def local(self, file: BatchFile) -> str:
        """Return the path of a file on the local disk, to which it is copied if it is elsewhere."""
        if file.storage is self._local:
            return file.path
        path = self._folder / file.name
        with _storage_errors("read"):
            file.storage.get_file(file.path, str(path))
        return str(path)

    def release(self, file: BatchFile) -> None:
        """Remove the local copy of a file, if there is one."""
        if file.storage is not self._local:
            (self._folder / file.name).unlink(missing_ok=True)

    def remove(self, file: BatchFile) -> None:
        """Remove a file."""
        with _storage_errors("removed"):
            file.storage.rm_file(file.path)

    def find(self, folder: str, run: str) -> list[BatchFile]:
        """Return the files of a run that are in a folder or below it, the oldest first."""
        place = self.at(folder)
        with _storage_errors("found"):
            paths = place.storage.find(place.path) if place.storage.exists(place.path) else []
        files = [BatchFile(place.storage, path) for path in paths]
        return sorted((file for file in files if file.run == run), key=lambda file: file.name)


@contextmanager
def _storage_errors(what: str) -> Generator[None, None, None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - each storage has its own
        why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        msg = (
            f"A BATCH file cannot be {what} ({why}). Check that the loader runs where the tap does, or that both can "
            "reach its storage, and may read and remove files there. The next run repeats what is missing."
        )
        raise LoadError(msg) from None
