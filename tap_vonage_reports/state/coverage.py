"""Coverage: the time of a partition that was read completely, with the time of reading. Immutable values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tap_vonage_reports.intervals import EMPTY, TimeWindow, before, to_intervals, to_windows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from tap_vonage_reports.intervals import TimeSet


@dataclass(frozen=True)
class Coverage:
    """The time that was read completely.

    Attributes:
        times: The time.
        read_at: When each part of `times` was read, by the part's end. A part without an entry was read as it happened.
        tracked: The part of `times` whose non-final rows are all tracked by id.
    """

    times: TimeSet = EMPTY
    read_at: Mapping[datetime, datetime] = field(default_factory=dict)
    tracked: TimeSet = EMPTY

    @classmethod
    def of(
        cls, windows: Sequence[TimeWindow], read_at: Sequence[datetime | None], tracked: Sequence[TimeWindow]
    ) -> Coverage:
        """Return coverage from what the state holds.

        Args:
            windows: What was read.
            read_at: When each window was read; None where that is unknown.
            tracked: What is tracked by id.
        """
        times = to_intervals(windows)
        known = {window.end: time for window, time in zip(windows, read_at, strict=False) if time}
        return cls(times, known, to_intervals(tracked) & times)

    @property
    def ends(self) -> list[datetime]:
        """The end of each part, in order."""
        return [part.end for part in to_windows(self.times)]

    @property
    def parts(self) -> list[tuple[TimeWindow, datetime]]:
        """The parts in order, each with when it was read."""
        return [(part, self.read_at.get(part.end, part.end)) for part in to_windows(self.times)]

    def add(self, window: TimeWindow, read_at: datetime, *, is_tracked: bool = False) -> Coverage:
        """Return this coverage with a window that was read.

        Args:
            window: What was read completely.
            read_at: When it was read: rows older than the lookback at that time are final.
            is_tracked: True if all its non-final rows are tracked by id.
        """
        added = to_intervals([window])
        grown = Coverage(self.times | added, tracked=self.tracked | added if is_tracked else self.tracked - added)
        ends = grown.ends
        known = {end: time for end, time in {**self.read_at, window.end: read_at}.items() if end in ends}
        end = next((end for end in ends if end >= window.end), None)
        if end and not added.empty and read_at < known.get(end, end):  # it fills a gap, read before what lies behind it
            known[end] = read_at
        return replace(grown, read_at=known)

    def refresh(self, times: TimeSet, read_at: datetime, until: datetime) -> Coverage:
        """Return this coverage with a later `read_at`, because what was not final was read again.

        Args:
            times: What was read again; the parts to which it belongs count as read then.
            read_at: When that was.
            until: Where reading ended. What a part has beyond was not read again, so such a part stays as it is.
        """
        fresh = {
            part.end: read_at
            for part in to_windows(self.times)
            if part.end <= until
            and not (to_intervals([part]) & times).empty
            and self.read_at.get(part.end, part.end) < read_at
        }
        return replace(self, read_at={**self.read_at, **fresh})

    def reopen(self, times: TimeSet) -> Coverage:
        """Return this coverage without `times`, which will be read again."""
        return self.restrict(self.times - times)

    def unsettled(self, lookback: timedelta) -> TimeSet:
        """Return the part of this time that may have changed since it was read.

        Args:
            lookback: How long a row may change.
        """
        return to_intervals(
            TimeWindow(max(part.start, at - lookback), part.end) for part, at in self.parts if at - lookback < part.end
        )

    def truncate(self, end: datetime) -> Coverage:
        """Return this coverage without what lies at or after `end`, where nothing can have been read."""
        kept = self.restrict(self.times & before(end))
        return replace(kept, read_at={part: min(time, end) for part, time in kept.read_at.items()})

    def meet(self, other: Coverage) -> Coverage:
        """Return what both cover, each part read when the earlier of the two was."""
        both = self.times & other.times
        mine, theirs = self.restrict(both), other.restrict(both)
        pieces = [(part, min(at, then)) for (part, at), (_, then) in zip(mine.parts, theirs.parts, strict=True)]
        return _of(pieces, mine.tracked & theirs.tracked)

    def join(self, other: Coverage) -> Coverage:
        """Return what either covers. What both cover counts as read when the later of the two was."""
        both = self.times & other.times
        shared = zip(self.restrict(both).parts, other.restrict(both).parts, strict=True)
        pieces = [
            *self.reopen(other.times).parts,
            *other.reopen(self.times).parts,
            *((part, max(at, then)) for (part, at), (_, then) in shared),
        ]
        return _of(pieces, (self.tracked - other.times) | other.tracked)

    def track(self, times: TimeSet) -> Coverage:
        """Return this coverage with no more than `times` tracked by id."""
        return replace(self, tracked=self.tracked & times)

    def restrict(self, times: TimeSet) -> Coverage:
        """Return the coverage of a part of this time. What is left of a part was read when the part was."""
        read_at = {
            part.end: self.read_at.get(whole.end, whole.end)
            for part in to_windows(times)
            for whole in to_windows(self.times)
            if whole.start <= part.start < whole.end
        }
        return Coverage(times, read_at, self.tracked & times)


def _of(pieces: Sequence[tuple[TimeWindow, datetime]], tracked: TimeSet) -> Coverage:
    """Return the coverage that pieces make. A part was read when the piece of it was that was read first."""
    times = to_intervals(part for part, _ in pieces)
    read_at: dict[datetime, datetime] = {}
    for whole in to_windows(times):
        first = min(at for part, at in pieces if whole.start <= part.start < whole.end)
        if first != whole.end:
            read_at[whole.end] = first
    return Coverage(times, read_at, tracked)
