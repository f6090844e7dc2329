"""Files that an interrupted run of the loader left: loaded and removed by the next run.

A loader holds its runs as long as it lives, so another one that runs at the same time never takes them for interrupted.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.errors import LoadError
from tap_vonage_reports.load.early import mark_of, take_marks, unmark

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from tap_vonage_reports.load.destination import Destination
    from tap_vonage_reports.load.files import BatchFile, FileStore
    from tap_vonage_reports.load.ledger import Ledger

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tools:
    """What a loader works with.

    Attributes:
        destination: The database.
        ledger: Its ledger.
        store: Access to the files.
        engine: The connection to DuckDB that reads them.
        identity: What identifies the database: 16 hexadecimal digits.
    """

    destination: Destination
    ledger: Ledger
    store: FileStore
    engine: Any
    identity: str


class Leftovers:
    """The files of runs that never ended.

    Attributes:
        runs: These runs.
        files: Those of their files that are still there and were not loaded.
    """

    def __init__(self, tools: Tools, *, search: bool) -> None:
        """Open the ledger, and find the files. Those that were loaded before the process was killed are removed.

        Args:
            tools: What to work with.
            search: False to leave the files where they are, and their runs in the ledger.
        """
        self._tools, self._search = tools, search
        self.runs: set[str] = set()
        self.files: list[BatchFile] = []
        with tools.destination.transaction():
            entered = tools.ledger.open()
        if search:
            self._add([(run, folder) for run, folder in entered if tools.destination.hold(run)])

    def begin(self, runs: Mapping[str, str]) -> None:
        """Enter new runs, and those that an earlier loader marked in the same folders but did not live to enter.

        Args:
            runs: The new runs, with the addresses of their folders.
        """
        tools = self._tools
        folders = {address: Path(place.path) for address in set(runs.values()) if (place := self._local(address))}
        marks = {
            run: (address, path)
            for address, folder in folders.items()
            for run, path in (take_marks(folder, tools.identity) if self._search else {}).items()
        }
        earlier = [(run, address) for run, (address, _) in marks.items() if tools.destination.hold(run)]
        with tools.destination.transaction():
            for run, address in [*runs.items(), *earlier]:
                tools.destination.hold(run)
                tools.ledger.begin(run, address)
        self._add(earlier)
        for run, address in runs.items():
            if address in folders:
                unmark(mark_of(folders[address], run, tools.identity))
        for _, path in marks.values():
            unmark(path)

    def _local(self, address: str) -> BatchFile | None:
        place = self._tools.store.at(address)
        return place if self._tools.store.is_local(place) else None

    def _add(self, runs: Sequence[tuple[str, str]]) -> None:
        tools = self._tools
        found = {file.key: file for run, folder in runs for file in self._find(run, folder)}
        with tools.destination.transaction():
            loaded = tools.ledger.loaded(found)
        remove(tools.store, [found[key] for key in loaded])
        self.runs |= {run for run, _ in runs}
        self.files += [file for key, file in found.items() if key not in loaded]

    def forget(self, keys: Collection[str]) -> None:
        """Leave files to the run that announces them, which replaces rows by theirs."""
        self.files = [file for file in self.files if file.key not in keys]

    def load(self, stream: str, put: Callable[[BatchFile], object]) -> None:
        """Load the files of a stream, each in a transaction, and remove them.

        Args:
            stream: The stream.
            put: Puts the rows of a file into the stream's table. No row of them may replace another one.
        """
        for file in [file for file in self.files if file.belongs_to(stream)]:
            self.files.remove(file)
            try:
                # Not entered as loaded, because no row was replaced: a run that announces the file again has to fail.
                with self._tools.destination.transaction():
                    put(file)
            except LoadError as error:
                logger.warning(
                    "%s: a file that an interrupted run left is kept, and not loaded: %s The tap reads its rows again. "
                    "Remove the file.",
                    stream,
                    error,
                )
            else:
                remove(self._tools.store, [file])

    def _find(self, run: str, folder: str) -> list[BatchFile]:
        try:
            return self._tools.store.find(folder, run)
        except LoadError as error:
            logger.warning("The files of a run that was interrupted cannot be found: %s", error)
            return []


def remove(store: FileStore, files: Sequence[BatchFile]) -> None:
    """Remove files that were loaded. If that fails, the run goes on, with a warning."""
    failed: LoadError | None = None
    for file in files:
        try:
            if store.exists(file):
                store.remove(file)
        except LoadError as error:
            failed = error
    if failed:
        logger.warning("Loaded files are still there, and they hold personal data: %s", failed)
