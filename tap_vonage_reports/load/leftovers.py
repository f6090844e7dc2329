"""Files that an interrupted run of the loader left: loaded and removed by the next run.

A loader holds its runs as long as it lives, so another one that runs at the same time never takes them for interrupted.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.errors import LoadError
from tap_vonage_reports.load.early import elsewhere, mark_of, take_marks, unmark

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import TypeAlias

    from tap_vonage_reports.load.destination import Destination
    from tap_vonage_reports.load.files import BatchFile, FileStore
    from tap_vonage_reports.load.ledger import Ledger

    Put: TypeAlias = Callable[[str, BatchFile], object]

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
    """The runs of this loader, and what other runs that never ended have left."""

    def __init__(self, tools: Tools, *, search: bool) -> None:
        """Open the ledger.

        Args:
            tools: What to work with.
            search: False to leave the files of other runs where they are, and these runs in the ledger.
        """
        self._tools, self._search = tools, search
        self._runs: dict[str, str] = {}
        self._tried: set[str] = set()
        self._unremoved: set[str] = set()
        self._repeated: set[str] = set()
        with tools.destination.transaction():
            tools.ledger.open()

    def begin(self, runs: Mapping[str, str]) -> None:
        """Enter new runs, and those that an earlier loader marked but did not live to enter.

        Args:
            runs: The runs that this loader loads, with the addresses of their folders.
        """
        new = {run: address for run, address in runs.items() if run not in self._runs}
        if not new:
            return
        tools, folders = self._tools, {self._local(address) for address in new.values()}
        marks = [mark for folder in folders for mark in take_marks(folder, tools.identity)]
        with tools.destination.transaction():
            self._repeated |= new.keys() & {run for run, _ in tools.ledger.unended()}
            for run, address in new.items():
                tools.destination.hold(run)
                tools.ledger.begin(run, address)
            for mark in marks:
                if mark.address:
                    place = tools.store.at(mark.address)
                    tools.ledger.begin(mark.run, str(place.storage.unstrip_protocol(place.path)))
        for run, address in new.items():
            unmark(mark_of(self._local(address), run, tools.identity))
        for mark in marks:
            unmark(mark.path)
        self._runs |= new

    def is_overtaken(self, file: BatchFile, stream: str) -> bool:
        """Return True if a file is of an interrupted run, and a later one has loaded rows of its stream since."""
        return file.run in self._repeated and self._tools.ledger.has_later(file.name, file.folder(stream))

    def clear(self, streams: Collection[str], put: Put) -> None:
        """Load the files of other runs that the last call did not know or had no stream for, and remove them.

        These are runs with the same folder whose loader has ended; another pipeline has a folder of its own. The tap
        reads their rows again. Call it before a STATE is passed on: without a STATE, the next run of the tap announces
        files in the same folder, so that the next loader does what this one does not live to do.

        Args:
            streams: The streams whose rows this run may load.
            put: Puts the rows of a file into the stream's table. No row of them may replace another one.
        """
        tried = {*streams, *self._runs}
        if not self._search or tried == self._tried:
            return
        self._tried, tools = tried, self._tools
        with tools.destination.transaction():
            unended = tools.ledger.unended()
        cleared = [
            run
            for run, folder in unended
            if run not in self._runs
            and folder in self._runs.values()
            and tools.destination.hold(run)
            and self._clear(run, folder, streams, put)
        ]
        self._end(cleared)

    def remove(self, files: Sequence[BatchFile]) -> None:
        """Remove files that this run has loaded. The next run tries to remove those that cannot be removed now."""
        self._unremoved |= {file.run for file in _remove(self._tools.store, files) if file.run}

    def finish(self, streams: Collection[str], put: Put) -> None:
        """Try once more what could not be cleared, and note that this run has ended. The arguments are as above."""
        self._tried = set()
        self.clear(streams, put)
        self._end(self._runs.keys() - self._unremoved)

    def _end(self, runs: Collection[str]) -> None:
        with self._tools.destination.transaction():
            for run in sorted(runs):
                self._tools.ledger.end(run)

    def _clear(self, run: str, folder: str, streams: Collection[str], put: Put) -> bool:
        """Load and remove what a run has left, and return False if some of it has to wait for another run."""
        tools = self._tools
        try:
            files = {file.key: file for file in tools.store.find(folder, run)}
        except LoadError as error:
            logger.warning("The files of a run that was interrupted cannot be found: %s", error)
            return False
        with tools.destination.transaction():
            loaded = tools.ledger.loaded(files)
        _remove(tools.store, [files.pop(key) for key in loaded])
        # Files of a stream that this run does not have wait for one that has.
        known = [(stream, file) for file in files.values() for stream in streams if file.belongs_to(stream)]
        for stream, file in known:
            self._load(stream, file, put)
        return len(known) == len(files)

    def _load(self, stream: str, file: BatchFile, put: Put) -> None:
        tools = self._tools
        try:
            # Not entered as loaded, because no row was replaced: a run that announces the file again has to fail.
            with tools.destination.transaction():
                put(stream, file)
        except LoadError as error:
            if not tools.store.exists(file):  # the tap that wrote it has removed it, because no message named it
                return
            logger.warning(
                "%s: a file that an interrupted run left is kept, and not loaded: %s The tap reads its rows again. "
                "Remove the file, whose name ends with %s.",
                stream,
                error,
                file.name.rpartition("Z-")[2],
            )
        else:
            _remove(tools.store, [file])

    def _local(self, address: str) -> Path:
        """Return where the marks of runs with files at an address are."""
        place = self._tools.store.at(address)
        return Path(place.path) if self._tools.store.is_local(place) else elsewhere()


def _remove(store: FileStore, files: Sequence[BatchFile]) -> list[BatchFile]:
    """Remove files that were loaded. If that fails, the run goes on, with a warning.

    Returns:
        The files that could not be removed.
    """
    failed: LoadError | None = None
    left = []
    for file in files:
        try:
            if store.exists(file):
                store.remove(file)
        except LoadError as error:
            failed = error
            left.append(file)
    if failed:
        logger.warning("Loaded files are still there, and they hold personal data: %s", failed)
    return left
