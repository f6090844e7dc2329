"""The maximum length of a partition's page windows, so that cursors last until the last page."""

from __future__ import annotations

from datetime import timedelta

from tap_vonage_reports.intervals import TimeWindow, split, to_intervals
from tap_vonage_reports.planning.windows import MAX_SYNC_WINDOW

MIN_PAGE_WINDOW = timedelta(minutes=1)
"""Windows are not halved below this."""
WINDOWS_PER_GROWTH = 12
"""Windows in a row without trouble after which the limit doubles: a useless attempt then costs a few percent."""


class WindowLimit:
    """The length limit of a partition's page windows: halved when cursors do not last, doubled when they do.

    Workers and the main thread share it. An update that is lost between two threads only costs another halving.

    Attributes:
        length: The longest window; None while no window has outlived its cursors.
    """

    def __init__(self, length: timedelta | None = None, max_length: timedelta = MAX_SYNC_WINDOW) -> None:
        """Set up a limit.

        Args:
            length: What an earlier run has found; None for nothing.
            max_length: The longest window that the settings allow.
        """
        self.length = length
        self._max_length = max_length
        self._in_a_row = 0

    def split(self, window: TimeWindow) -> list[TimeWindow]:
        """Return a window in pieces that keep to the limit."""
        return split(to_intervals([window]), min(self.length or self._max_length, self._max_length))

    def halve(self, window: TimeWindow) -> bool:
        """Lower the limit to half of a window. Return False if that would be too short."""
        half = timedelta(seconds=-(-window.duration // timedelta(seconds=2)))
        if half < MIN_PAGE_WINDOW:
            return False
        self.length = min(self.length or half, half)
        self._in_a_row = 0
        return True

    def count_read(self, window: TimeWindow) -> None:
        """Count a window that was read to its end. After some of about the limit's length, double the limit."""
        if self.length is None or 2 * window.duration < self.length:
            return
        self._in_a_row += 1
        if self._in_a_row >= WINDOWS_PER_GROWTH:
            self._in_a_row = 0
            self.length = 2 * self.length if 2 * self.length < MAX_SYNC_WINDOW else None
