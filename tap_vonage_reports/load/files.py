"""The tap's BATCH files, in a local folder or in any storage that fsspec supports."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from tap_vonage_reports.errors import LoadError
from tap_vonage_reports.load.names import LOCAL, folder_of, is_of_stream, run_of

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from datetime import datetime


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
        """What the names of all files of its run of the tap share; None if another program has named it."""
        return run_of(self.name)

    @property
    def key(self) -> str:
        """What identifies the file for ever: the name that the tap gave it, or else where it is."""
        return self.name if self.run else str(self.storage.unstrip_protocol(self.path))

    def belongs_to(self, stream: str) -> bool:
        """Return True if its name is that of a file of this stream."""
        return is_of_stream(self.name, stream)

    def folder(self, stream: str) -> str:
        """Return the address of the folder below which its run has its files.

        Args:
            stream: The stream that the file belongs to.
        """
        return str(self.storage.unstrip_protocol(folder_of(self.path, stream)))


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
        if address.startswith(LOCAL) or "://" not in address:
            path = address.removeprefix(LOCAL)
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

    def is_local(self, file: BatchFile) -> bool:
        """Return True if a file or folder is on the local disk."""
        return file.storage is self._local

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
        if self.is_local(file):
            return file.path
        path = self._copy(file)
        with _storage_errors("read"):
            file.storage.get_file(file.path, str(path))
        return str(path)

    def release(self, file: BatchFile) -> None:
        """Remove the local copy of a file, if there is one."""
        if not self.is_local(file):
            self._copy(file).unlink(missing_ok=True)

    def _copy(self, file: BatchFile) -> Path:
        """Return the path of a file's copy. Files of two folders may have one name."""
        return self._folder / f"{hashlib.sha256(file.key.encode()).hexdigest()[:16]}.parquet"

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
            "reach its storage, and may read and remove files there. The next run tries it again."
        )
        raise LoadError(msg) from None
