"""Storage of BATCH files: a local folder, or any storage that fsspec supports.

A file gets its name when it is complete. Until then, it is a draft on the local disk that only the user can read,
because it contains personal data.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tap_vonage_reports.errors import BatchFileError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

_LOCAL = "file://"


class StorageSettings(Protocol):
    """The part of the SDK's `StorageTarget` that is used. That class has no public name."""

    @property
    def root(self) -> str:
        """A folder, or a URL such as ``s3://bucket/folder``."""

    @property
    def prefix(self) -> str | None:
        """The start of file names."""

    @property
    def params(self) -> Mapping[str, Any]:
        """The options that fsspec passes to the storage."""


class Storage(Protocol):
    """A place for files."""

    @property
    def journals(self) -> tuple[Path, str]:
        """The folder for the journals of its files, and what their names say of the place."""

    def draft(self, name: str) -> Path:
        """Return the path for the draft of a file, whose folder exists."""

    def publish(self, draft: Path, name: str) -> str:
        """Give a draft its name, and return the address of the file."""

    def remove(self, name: str) -> bool:
        """Remove a file if possible, and return True if it is gone."""

    def remove_all(self, name: str) -> bool:
        """Remove a file and its draft if possible, and return True if both are gone."""


class LocalStorage:
    """A local folder. Drafts are hidden files in the same folder."""

    def __init__(self, root: Path) -> None:
        self._root = root.expanduser().absolute()

    @property
    def journals(self) -> tuple[Path, str]:
        """The folder itself."""
        return self._root, ""

    def draft(self, name: str) -> Path:
        """Return the path for the draft of a file. Its folder is created if necessary."""
        path = self._draft(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def publish(self, draft: Path, name: str) -> str:
        """Rename a draft, and return the file's address.

        The address is not percent-encoded: neither the SDK's targets nor fsspec decode it.
        """
        path = draft.replace(self._root / name).as_posix()
        return _LOCAL + ("" if path.startswith("/") else "/") + path

    def remove(self, name: str) -> bool:
        """Remove a file if possible."""
        return _unlink(self._root / name)

    def remove_all(self, name: str) -> bool:
        """Remove a file and its draft if possible."""
        return all([_unlink(self._draft(name)), self.remove(name)])

    def _draft(self, name: str) -> Path:
        path = self._root / name
        return path.with_name(f".{path.name}.unfinished")


class RemoteStorage:
    """A storage that fsspec supports. Drafts are local temporary files, so that no incomplete file is ever visible."""

    def __init__(self, root: str, params: Mapping[str, Any]) -> None:
        """Set up the storage. Nothing is read or written yet.

        Args:
            root: Its URL.
            params: The options that fsspec passes to it.

        Raises:
            SettingsError: fsspec does not support it, or needs another package.
        """
        try:
            from fsspec.core import url_to_fs  # noqa: PLC0415 - only remote storage needs it

            self._files, self._root = url_to_fs(root, **params)
        except ImportError:
            problem = (
                "The storage in the setting batch_config.storage.root needs a package that is not installed. For S3, "
                "run pip install 'tap-vonage-reports[s3]'. For others, install the package that fsspec uses for it."
            )
            raise SettingsError([problem]) from None
        except Exception as error:  # noqa: BLE001 - each storage has its own
            problem = (
                f"The storage in the setting batch_config.storage cannot be used ({type(error).__name__}). Set root to "
                "a folder or to a URL that fsspec supports, such as s3://bucket/folder, and params to its options."
            )
            raise SettingsError([problem]) from None

    @property
    def journals(self) -> tuple[Path, str]:
        """The folder for temporary files, which other storages share."""
        place = hashlib.sha256(str(self._files.unstrip_protocol(self._root)).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()), f"-{place}"

    def draft(self, name: str) -> Path:
        """Return the path for the draft of a file."""
        return Path(tempfile.gettempdir(), f"{Path(name).name}.unfinished")

    def publish(self, draft: Path, name: str) -> str:
        """Upload a draft, remove it, and return the file's address."""
        address = self._address(name)
        try:
            self._files.put_file(str(draft), address)
        except Exception as error:  # noqa: BLE001 - each storage has its own
            raise _write_error(type(error).__name__) from None
        draft.unlink()
        return str(self._files.unstrip_protocol(address))

    def remove(self, name: str) -> bool:
        """Remove a file if possible."""
        try:
            self._files.rm_file(self._address(name))
        except FileNotFoundError:
            """It was never there."""
        except Exception:  # noqa: BLE001 - each storage has its own
            return False
        return True

    def remove_all(self, name: str) -> bool:
        """Remove a file and its draft if possible."""
        return all([_unlink(self.draft(name)), self.remove(name)])

    def _address(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"


def _unlink(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except NotADirectoryError:
        """It was never there."""
    except OSError:
        return False
    return True


def open_storage(settings: StorageSettings) -> Storage:
    """Return the storage that the settings name.

    Raises:
        SettingsError: It cannot be used.
    """
    root = settings.root
    if "://" in root and not root.startswith(_LOCAL):
        return RemoteStorage(root, settings.params or {})
    path = root.removeprefix(_LOCAL)
    return LocalStorage(Path(path.removeprefix("/") if os.name == "nt" else path))


@contextmanager
def storage_errors() -> Generator[None, None, None]:
    """Raise an OSError as a `BatchFileError`, without the file's name.

    Raises:
        BatchFileError: A file could not be written.
    """
    try:
        yield
    except OSError as error:
        raise _write_error(error.strerror or type(error).__name__) from None


def _write_error(why: str) -> BatchFileError:
    return BatchFileError(
        f"A BATCH file cannot be written ({why}). Check that the location in the setting batch_config.storage and the "
        "folder for temporary files (TMPDIR) exist, have free space and are writable. The next run resumes from the "
        "last state."
    )
