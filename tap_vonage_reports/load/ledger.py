"""The ledger: which files were loaded, and which runs have not ended, in the database into which the rows go.

A file is entered in the transaction that loads it, so that it can be shown at any later time whether it was loaded:

* A file that is announced again and is gone was loaded, if it is in the ledger. If it is not, rows are missing.
* A file that is in the ledger and still there was loaded just before the process was killed, and only has to go.
* A run is entered when its first file is announced, and removed when it ends. Files of a run that never ended are found
  in its folder by their names. The tap reads their rows again, because no STATE has passed them; so the next run
  with the same folder loads them without replacing any row, and removes them.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from tap_vonage_reports.errors import LoadError
from tap_vonage_reports.load.destination import Table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tap_vonage_reports.load.destination import Destination

from tap_vonage_reports.load.columns import Kind, StreamSchema
from tap_vonage_reports.load.names import is_later

LEDGER = "_vonage_files"
"""The name of its table."""
KEPT_FOR = timedelta(days=90)
"""How long a loaded file stays in the ledger: the time in which its messages can be loaded again."""
_SCHEMA = StreamSchema(LEDGER, ("name",), {"name": Kind.TEXT, "folder": Kind.TEXT, "loaded_at": Kind.TIME})


class Ledger:
    """The ledger of a database. Every method is called inside a transaction.

    A row has the name of a loaded file, or of a run that has not ended, and the run's folder.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._name = destination.name(LEDGER)

    def open(self) -> None:
        """Create the ledger if it does not exist, and forget what is old."""
        if not self._destination.columns(LEDGER):
            self._destination.create(Table(_SCHEMA))
        self._destination.execute(f"delete from {self._name} where loaded_at < ?", [_now() - KEPT_FOR])

    def unended(self) -> list[tuple[str, str]]:
        """Return the runs that have not ended, with their folders."""
        return [
            (str(run), str(folder))
            for run, folder in self._destination.execute(
                f"select name, folder from {self._name} where loaded_at is null order by name"
            )
        ]

    def begin(self, run: str, folder: str) -> None:
        """Enter a run."""
        self.end(run)
        self._destination.execute(f"insert into {self._name} (name, folder) values (?, ?)", [run, folder])

    def end(self, run: str) -> None:
        """Remove a run."""
        self._destination.execute(f"delete from {self._name} where name = ?", [run])

    def loaded(self, names: Collection[str]) -> set[str]:
        """Return those of some files that were loaded."""
        if not names:
            return set()
        marks = ", ".join("?" for _ in names)
        rows = self._destination.execute(
            f"select name from {self._name} where name in ({marks}) and loaded_at is not null",
            list(names),
        )
        return {str(name) for (name,) in rows}

    def has_later(self, name: str, folder: str) -> bool:
        """Return True if a file of the same stream was loaded that a later run wrote below the same folder."""
        rows = self._destination.execute(
            f"select name from {self._name} where folder = ? and loaded_at is not null", [folder]
        )
        return any(is_later(str(other), name) for (other,) in rows)

    def add(self, folders: Mapping[str, str]) -> None:
        """Enter files that this transaction loads.

        Args:
            folders: By file, the address of its run's folder.

        Raises:
            LoadError: The table has not kept them.
        """
        now = _now()
        for name, folder in folders.items():
            self._destination.execute(
                f"insert into {self._name} (name, folder, loaded_at) values (?, ?, ?)", [name, folder, now]
            )
        if self.loaded(folders) != folders.keys():
            msg = (
                f"The table {LEDGER} did not keep what was entered. A trigger or rule of the database may discard it: "
                "remove that from this table. Nothing of this transaction remains, and its files are still there."
            )
            raise LoadError(msg)


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(tzinfo=None)
