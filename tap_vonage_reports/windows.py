"""Windows of time, and the planner: what has to be read, cut into windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import portion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime, timedelta


@dataclass(frozen=True, order=True)
class Window:
    """The time from `start` (inclusive) to `end` (exclusive), both aware and in UTC.

    The API's own bounds are of the same kind: `date_start` inclusive, `date_end` exclusive [confirmed].
    """

    start: datetime
    end: datetime

    def __str__(self) -> str:
        """The window for a log line, to the minute."""
        return f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M}"

    def until(self, end: datetime) -> Window:
        """The part of this window before `end`; empty (start == end) when all of it is later."""
        return Window(self.start, max(self.start, min(self.end, end)))


def spans(windows: Iterable[Window]) -> portion.Interval:
    """A set of windows as one set of time, overlapping and adjoining ones merged."""
    return portion.Interval(*(portion.closedopen(window.start, window.end) for window in windows))


def windows_of(time: portion.Interval) -> Iterator[Window]:
    """The windows that make up a set of time, in order."""
    return (Window(part.lower, part.upper) for part in time if not part.empty)


def to_read(
    wanted: Window, covered: portion.Interval, lookback: timedelta, settled: datetime | None = None
) -> portion.Interval:
    """What of `wanted` has to be read: all that is not covered, and the lookback before each end of what is.

    Args:
        wanted: From the start date to the end of this run.
        covered: What was read completely by earlier runs.
        lookback: How long rows may still arrive or change after their time.
        settled: When the end of `covered` was read. Rows that were older than the lookback then are final
            and are not read (and paid for) again. None: it was read as it happened.

    Returns:
        A set of time within `wanted`.
    """
    again = portion.empty()
    parts = list(windows_of(covered))
    for part in parts:
        read_at = settled if settled and part is parts[-1] else part.end
        again |= portion.closedopen(read_at - lookback, part.end)
    whole = portion.closedopen(wanted.start, wanted.end)
    return (whole - covered) | (whole & covered & again)


def cut(time: portion.Interval, longest: timedelta) -> list[Window]:
    """A set of time as windows of at most `longest`, in order of time."""
    pieces = []
    for part in windows_of(time):
        start = part.start
        while start < part.end:
            end = min(start + longest, part.end)
            pieces.append(Window(start, end))
            start = end
    return pieces


def plan(need: portion.Interval, longest: timedelta, opened: Window | None = None) -> list[Window]:
    """The windows to read, in order of time.

    Args:
        need: What has to be read.
        longest: The longest window of one query.
        opened: A window of which an earlier run has read some pages. It keeps its bounds, because its
            cursor belongs to them, and what surrounds it is cut around it. One that is not needed any
            more as a whole is not resumed.

    Returns:
        Windows, `opened` among them if it can be resumed.
    """
    if opened is None or not resumable(opened, need):
        return cut(need, longest)
    return sorted([*cut(need - spans([opened]), longest), opened])


def resumable(opened: Window, need: portion.Interval) -> bool:
    """Whether a window that was begun is still needed, all of it."""
    return opened.start < opened.end and portion.closedopen(opened.start, opened.end) in need
