"""Windows of time, and the planner: what has to be read, cut into windows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import portion

from tap_vonage_reports.timestamps import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

RECENT = timedelta(hours=24)
"""In `auto`, the time before the end that is always read by pages."""
MIN_SHARED_WINDOW = timedelta(hours=1)
"""Windows are not cut shorter than this to keep workers busy."""
MIN_WINDOW = timedelta(seconds=1)
"""Windows are not cut shorter than this at all."""


MAX_SYNC_WINDOW = timedelta(hours=24)
"""What one synchronous query may span, at most [confirmed of 2021; contradicted since, so it is kept]."""


@dataclass(frozen=True, order=True)
class TimeWindow:
    """The time from `start` (inclusive) to `end` (exclusive), both aware and in UTC.

    The API's own bounds are of the same kind: `date_start` inclusive, `date_end` exclusive [confirmed].
    """

    start: datetime
    end: datetime

    def __str__(self) -> str:
        """The window for a log line, to the minute."""
        return f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M}"

    def until(self, end: datetime) -> TimeWindow:
        """The part of this window before `end`; empty (start == end) when all of it is later."""
        return TimeWindow(self.start, max(self.start, min(self.end, end)))


def spans(windows: Iterable[TimeWindow]) -> portion.Interval:
    """A set of windows as one set of time, overlapping and adjoining ones merged."""
    return portion.Interval(*(portion.closedopen(window.start, window.end) for window in windows))


def windows_of(time: portion.Interval) -> Iterator[TimeWindow]:
    """The windows that make up a set of time, in order."""
    return (TimeWindow(part.lower, part.upper) for part in time if not part.empty)


def hours(starts: Iterable[datetime]) -> portion.Interval:
    """The hours that begin at some times, as one set of time."""
    return spans(TimeWindow(start, start + timedelta(hours=1)) for start in set(starts))


def bounds(time: portion.Interval) -> list[list[str]]:
    """The starts and ends of what makes up a set of time, in order, as the tap writes times."""
    return [[format_timestamp(part.start), format_timestamp(part.end)] for part in windows_of(time)]


def unsettled(
    covered: portion.Interval, lookback: timedelta, end: datetime, read_at: Mapping[datetime, datetime]
) -> portion.Interval:
    """What of the covered time has to be read again: the lookback before the end of each part of it.

    Args:
        covered: What was read completely by earlier runs.
        lookback: How long rows may still arrive or change after their time.
        end: Until when this run reads.
        read_at: When parts of `covered` were read, by their ends. Rows that were older than the lookback then are
            final and are not read (and paid for) again. A part that is not named was read as it happened.

    Returns:
        A set of time before `end`.
    """
    again = portion.empty()
    for part in windows_of(covered):
        again |= portion.closedopen(_earlier(read_at.get(part.end, part.end), lookback), part.end)
    return covered & again & portion.closedopen(-portion.inf, end)


def _earlier(time: datetime, by: timedelta) -> datetime:
    try:
        return time - by
    except OverflowError:
        return datetime.min.replace(tzinfo=timezone.utc)


def cut(time: portion.Interval, longest: timedelta) -> list[TimeWindow]:
    """A set of time as windows of at most `longest`, in order of time."""
    longest = max(longest, MIN_WINDOW)
    pieces = []
    for part in windows_of(time):
        start = part.start
        while start < part.end:
            end = min(start + longest, part.end)
            pieces.append(TimeWindow(start, end))
            start = end
    return pieces


def length(time: portion.Interval) -> timedelta:
    """How long a set of time is in all."""
    return sum((part.end - part.start for part in windows_of(time)), timedelta(0))


def longest_of(total: timedelta, pieces: int, longest: timedelta) -> timedelta:
    """How long windows may be, for there to be enough of them to read several at once.

    Args:
        total: How much there is to read.
        pieces: How many windows are enough.
        longest: How long they may be in any case.

    Returns:
        A whole number of hours, unless `longest` is less.
    """
    hours = -(-total // (max(1, pieces) * MIN_SHARED_WINDOW))
    return min(longest, max(MIN_SHARED_WINDOW, hours * MIN_SHARED_WINDOW))


def halve_last(windows: list[TimeWindow], count: int) -> list[TimeWindow]:
    """The same windows, the last of them in halves of full minutes, so that no worker is left alone with a long one."""
    early, late = windows[:-count], windows[-count:]
    halves = []
    for window in late:
        half = (window.end - window.start) / 2
        middle = (window.start + half).replace(second=0, microsecond=0)
        whole = half < MIN_SHARED_WINDOW
        halves += [window] if whole else [TimeWindow(window.start, middle), TimeWindow(middle, window.end)]
    return early + halves


def by_report(need: portion.Interval, mode: str, backfill: timedelta, now: datetime) -> portion.Interval:
    """What of the time to read goes by asynchronous reports; the rest goes by synchronous pages.

    Args:
        need: What has to be read.
        mode: ``sync``, ``async``, or ``auto``: by reports where there is much to read, up to a day before now.
        backfill: In ``auto``, how much is much.
        now: The end of what can be read.
    """
    if mode == "sync":
        return portion.empty()
    if mode == "async":
        return need
    return need & portion.closedopen(-portion.inf, now - RECENT) if length(need) > backfill else portion.empty()


def plan(need: portion.Interval, longest: timedelta, kept: Iterable[TimeWindow] = ()) -> list[TimeWindow]:
    """The windows to read, in order of time.

    Args:
        need: What has to be read.
        longest: The longest window of one query.
        kept: Windows that an earlier run has begun, all of them needed. They keep their bounds, because a
            cursor or a report belongs to these, and what surrounds them is cut around them.

    Returns:
        Windows, `kept` among them.
    """
    kept = list(kept)
    return sorted([*cut(need - spans(kept), longest), *kept])


def resumable(opened: TimeWindow, need: portion.Interval) -> bool:
    """Whether a window that was begun is still needed, all of it."""
    return opened.start < opened.end and portion.closedopen(opened.start, opened.end) in need
