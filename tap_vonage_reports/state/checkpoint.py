"""Checkpoints: STATE is written after the records that it covers, and less often if it is large.

A STATE contains all partitions. One after each window of each of N partitions would be N squared bytes. So a state of
more than `SMALL_STATE_BYTES` is written only when enough happened since the last one to be worth its length: each row
is worth `BYTES_PER_ROW`, each window `BYTES_PER_WINDOW`, and each requested report `BYTES_PER_REPORT`. The length of
all STATE messages together therefore grows with rows, windows and reports, not with their product with partitions.

Rows are billed, so a kill may cost no more of them than with one account: between two STATEs there are at most
`ROWS_PER_CHECKPOINT` rows of pages, whatever the length of the state. From about 17,000 partitions on (5 MB), that
limit comes first, and the share of STATE in the output grows. Empty windows are free. A kill costs at most one
request for each `BYTES_PER_WINDOW` of the state: with 300 bytes per partition, 3 requests for 10 partitions.

A report is billed when it is requested. Its ID may wait for a later STATE only while the API is known to list the
reports of this run, because the next run then finds it there (`adoption`).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tap_vonage_reports.products import ROWS_PER_PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tap_vonage_reports.state.bookmark import Bookmark

SMALL_STATE_BYTES = 1 << 14
"""Some 50 partitions: all streams of one account. A state of this length is written whenever it is due."""
BYTES_PER_ROW = 500
"""Somewhat more than half of a RECORD message."""
BYTES_PER_WINDOW = 1 << 10
BYTES_PER_REPORT = 1 << 16
"""With up to 220 partitions, each requested report gets a STATE of its own."""
ROWS_PER_CHECKPOINT = 10_000
"""As many rows as ten pages have: the rows that a kill can cost."""


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
        self._rows = self._worth = 0

    @property
    def is_active(self) -> bool:
        """True while records of a bookmark are being written, so that STATE is written here alone."""
        return self._bookmark is not None

    def is_large(self) -> bool:
        """Return True if several reports may share a STATE."""
        return self._state_bytes > BYTES_PER_REPORT

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
        self._rows = self._worth = 0
        if self._bookmark:
            self._bookmark.start_progress()

    def write_if_due(self, rows: int = 0, *, due: bool = True) -> None:
        """Write STATE if it is worth it, after a window, or after a page of one.

        Args:
            rows: Rows written since the last call.
            due: True at the end of a window or of some pages. Other pages get a STATE only if the next page could
                exceed the limit of rows.
        """
        self._rows += rows
        self._worth += rows * BYTES_PER_ROW + due * BYTES_PER_WINDOW
        if self._rows > ROWS_PER_CHECKPOINT - ROWS_PER_PAGE or (due and self._is_worth_it()):
            self.write()

    def write_for_report(self, *, can_wait: bool) -> None:
        """Write STATE after a report was requested, before anything waits for the report.

        Args:
            can_wait: True if the report will be found at the API should the run be killed before a STATE names it.
        """
        self._worth += BYTES_PER_REPORT
        if not can_wait or self._is_worth_it():
            self.write()

    def _is_worth_it(self) -> bool:
        return self._state_bytes <= max(self._worth, SMALL_STATE_BYTES)
