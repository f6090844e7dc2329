"""Time windows and sets of time: the arithmetic that coverage and planning share.

The only module that uses `portion`; everyone else works with `TimeSet` and the functions here. A `TimeSet` supports
`|`, `&`, `-`, `in` and `.empty`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

import portion

from tap_vonage_reports.timestamps import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TimeSet: TypeAlias = portion.Interval
"""A set of times, made of half-open intervals in UTC."""
EMPTY: TimeSet = portion.empty()
MIN_WINDOW = timedelta(seconds=1)
"""The shortest piece that `split` makes: the API's own times have whole seconds [confirmed]."""


@dataclass(frozen=True, order=True)
class TimeWindow:
    """The time from `start` (inclusive) to `end` (exclusive), both aware and in UTC.

    The API's own bounds are of the same kind: `date_start` inclusive, `date_end` exclusive [confirmed].
    """

    start: datetime
    end: datetime

    def __str__(self) -> str:
        """Return the window for a log line, to the minute, or to the second if it is shorter than one."""
        form = "%Y-%m-%d %H:%M" if self.duration >= timedelta(minutes=1) else "%Y-%m-%d %H:%M:%S"
        return f"{self.start:{form}} to {self.end:{form}}"

    @property
    def duration(self) -> timedelta:
        """The time from start to end."""
        return self.end - self.start

    def until(self, end: datetime) -> TimeWindow:
        """Return the part of this window before `end`; empty (start == end) when all of it is later."""
        return TimeWindow(self.start, max(self.start, min(self.end, end)))


def between(start: datetime, end: datetime) -> TimeSet:
    """Return the time from `start` (inclusive) to `end` (exclusive); empty when `end` is not later."""
    return portion.closedopen(start, max(start, end))


def before(end: datetime) -> TimeSet:
    """Return all time before `end`."""
    return portion.closedopen(-portion.inf, end)


def since(start: datetime) -> TimeSet:
    """Return all time from `start` on."""
    return portion.closedopen(start, portion.inf)


def to_intervals(windows: Iterable[TimeWindow]) -> TimeSet:
    """Return windows as one set of time, overlapping and adjoining ones merged."""
    return portion.Interval(*(portion.closedopen(window.start, window.end) for window in windows))


def to_windows(times: TimeSet) -> Iterator[TimeWindow]:
    """Return the windows that make up a set of time, in order."""
    return (TimeWindow(part.lower, part.upper) for part in times if not part.empty)


def hour_windows(starts: Iterable[datetime]) -> TimeSet:
    """Return the hours that begin at `starts` as one set of time."""
    return to_intervals(TimeWindow(start, start + timedelta(hours=1)) for start in set(starts))


def bounds(times: TimeSet) -> list[list[str]]:
    """Return [start, end] of each window that makes up a set of time, in order, as ISO 8601 text in UTC."""
    return [[format_timestamp(part.start), format_timestamp(part.end)] for part in to_windows(times)]


def split(times: TimeSet, max_length: timedelta) -> list[TimeWindow]:
    """Return a set of time as windows of at most `max_length`, in order."""
    max_length = max(max_length, MIN_WINDOW)
    pieces = []
    for part in to_windows(times):
        start = part.start
        while start < part.end:
            end = min(start + max_length, part.end)
            pieces.append(TimeWindow(start, end))
            start = end
    return pieces


def duration(times: TimeSet) -> timedelta:
    """Return the total length of a set of time."""
    return sum((part.duration for part in to_windows(times)), timedelta(0))
