"""Where BATCH files go: a folder of this machine, or any storage that fsspec reaches.

A file appears under its name only when it is whole. Until then it is a draft on this machine that only the
user can read, because it holds personal data.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tap_vonage_reports.errors import SettingsError, TapError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

_LOCAL = "file://"


class StorageSettings(Protocol):
    """What is read of the SDK's `StorageTarget`, which has no public name of its own."""

    @property
    def root(self) -> str:
        """A folder, or an address such as ``s3://bucket/folder``."""

    @property
    def prefix(self) -> str | None:
        """What file names begin with."""

    @property
    def params(self) -> Mapping[str, Any]:
        """What fsspec needs to know of the storage."""


class Storage(Protocol):
    """A place for files."""

    def draft(self, name: str) -> Path:
        """Where a file is to be written before it is whole; its folder is there."""

    def publish(self, draft: Path, name: str) -> str:
        """Make a draft the file of that name, and give the file's address."""

    def remove(self, name: str) -> None:
        """Remove a file, as far as that is possible."""


class LocalStorage:
    """A folder of this machine. Drafts are hidden files in the folder that they will appear in."""

    def __init__(self, root: Path) -> None:
        self._root = root.expanduser().absolute()

    def draft(self, name: str) -> Path:
        """Where a file is to be written before it is whole."""
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.with_name(f".{path.name}.unfinished")

    def publish(self, draft: Path, name: str) -> str:
        """Give a draft its name.

        Blanks and the like stay as they are in the address: the SDK's targets, and fsspec, decode nothing.
        """
        path = draft.replace(self._root / name).as_posix()
        return _LOCAL + ("" if path.startswith("/") else "/") + path

    def remove(self, name: str) -> None:
        """Remove a file."""
        with suppress(OSError):
            (self._root / name).unlink()


class RemoteStorage:
    """Any other storage. Drafts are temporary files of this machine, so that what is cut short is never seen."""

    def __init__(self, root: str, params: Mapping[str, Any]) -> None:
        """Reach a storage; nothing is read or written yet.

        Args:
            root: Its address.
            params: What fsspec needs to know.

        Raises:
            SettingsError: fsspec does not know it, or lacks a package for it.
        """
        try:
            from fsspec.core import url_to_fs  # noqa: PLC0415 - only who writes elsewhere needs it

            self._files, self._root = url_to_fs(root, **params)
        except ImportError:
            problem = (
                "The setting batch_config.storage.root names a storage whose package is not installed. For S3: "
                "pip install 'tap-vonage-reports[s3]'. For another one, install the package that fsspec uses for it."
            )
            raise SettingsError([problem]) from None
        except Exception as error:  # noqa: BLE001 - each storage has its own
            problem = (
                f"The storage in the setting batch_config.storage cannot be used ({type(error).__name__}). Set root to "
                "a folder or to an address that fsspec knows, such as s3://bucket/folder, and params to what it needs."
            )
            raise SettingsError([problem]) from None

    def draft(self, name: str) -> Path:
        """Where a file is to be written before it is whole."""
        return Path(tempfile.gettempdir(), f"{Path(name).name}.unfinished")

    def publish(self, draft: Path, name: str) -> str:
        """Bring a draft to the storage."""
        address = self._address(name)
        try:
            self._files.put_file(str(draft), address)
        except Exception as error:  # noqa: BLE001 - each storage has its own
            raise _failed(type(error).__name__) from None
        draft.unlink()
        return str(self._files.unstrip_protocol(address))

    def remove(self, name: str) -> None:
        """Remove a file."""
        with suppress(Exception):
            self._files.rm_file(self._address(name))

    def _address(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"


def storage_of(settings: StorageSettings) -> Storage:
    """The storage that the settings name.

    Raises:
        SettingsError: It cannot be used.
    """
    root = settings.root
    if "://" in root and not root.startswith(_LOCAL):
        return RemoteStorage(root, settings.params or {})
    path = root.removeprefix(_LOCAL)
    return LocalStorage(Path(path.removeprefix("/") if os.name == "nt" else path))


@contextmanager
def writing() -> Generator[None, None, None]:
    """Tell of what goes wrong while a file is written, without the file's name.

    Raises:
        TapError: In place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise _failed(error.strerror or type(error).__name__) from None


def _failed(why: str) -> TapError:
    return TapError(
        f"A BATCH file cannot be written ({why}). See that the place in the setting batch_config.storage exists, has "
        "room and may be written to, and the folder for temporary files (TMPDIR), too; the next run goes on from the "
        "last state."
    )
