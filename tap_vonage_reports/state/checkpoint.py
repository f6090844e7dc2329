"""Checkpoints: STATE is written after the records that it covers, and less often if it is large."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tap_vonage_reports.state.bookmark import Bookmark

LARGE_STATE_BYTES = 1 << 16
"""Some 220 partitions."""
ROWS_PER_CHECKPOINT = 10_000
"""A large STATE is due after this many rows, as many as ten pages have: the rows that a kill can cost ..."""
WINDOWS_PER_CHECKPOINT = 100
"""... or after this many windows."""


class Checkpointer:
    """Writes STATE. Only the main thread uses it."""

    def __init__(self, write_state: Callable[[], int]) -> None:
        """Set up a checkpointer.

        Args:
            write_state: Writes the state as it is, and returns its length in bytes.
        """
        self._write_state = write_state
        self._bookmark: Bookmark | None = None
        self._state_bytes = 0
        self._rows = self._windows = 0

    @contextmanager
    def active(self, bookmark: Bookmark) -> Generator[None, None, None]:
        """Mark a bookmark as the one whose records are being written, for the length of a `with` block.

        The SDK needs a marker in its state meanwhile, which no STATE may contain.
        """
        self._bookmark = bookmark
        bookmark.start_progress()
        try:
            yield
        finally:
            self._bookmark = None
            bookmark.clear_progress()

    def write(self) -> None:
        """Write STATE. Every record that it speaks of must be written already."""
        if self._bookmark:
            self._bookmark.clear_progress()
        self._state_bytes = self._write_state()
        self._rows = self._windows = 0
        if self._bookmark:
            self._bookmark.start_progress()

    def write_if_due(self, rows: int, *, due: bool = True) -> None:
        """Write STATE after a window, or after some pages of one.

        STATE names all partitions. Where there are many, a STATE after each window would be most of the output, so it
        waits until it is worth writing.

        Args:
            rows: Rows written since the last call.
            due: True at the end of a window or of some pages.
        """
        self._rows += rows
        self._windows += due
        is_large = self._state_bytes >= LARGE_STATE_BYTES
        waits = is_large and self._rows < ROWS_PER_CHECKPOINT and self._windows < WINDOWS_PER_CHECKPOINT
        if due and not waits:
            self.write()
