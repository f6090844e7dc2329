"""Rules that turn missing time into windows: lookback, sync or async, window length, resumption."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from tap_vonage_reports.config.schema import ASYNC, SYNC
from tap_vonage_reports.intervals import (
    EMPTY,
    TimeWindow,
    before,
    between,
    duration,
    split,
    to_intervals,
    to_windows,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tap_vonage_reports.intervals import TimeSet
    from tap_vonage_reports.state.values import PendingReport

ALWAYS_SYNC = timedelta(hours=24)
"""In `auto`, the time before the end that is always read by pages."""
MIN_SHARED_WINDOW = timedelta(hours=1)
"""Windows are not made shorter than this to keep workers busy."""
REPORT_FILE_RETENTION = timedelta(hours=72)
"""Vonage keeps the file of a report this long [confirmed]."""
MAX_SYNC_WINDOW = timedelta(hours=24)
"""The longest window of one synchronous query [confirmed of 2021; contradicted since, so it is kept]."""


def lookback_intervals(
    covered: TimeSet, lookback: timedelta, end: datetime, read_at: Mapping[datetime, datetime]
) -> TimeSet:
    """Return the covered time to refetch: the lookback before the end of each part.

    Args:
        covered: Time that earlier runs read completely.
        lookback: How long rows may still arrive or change after their time.
        end: Where this run ends.
        read_at: When each part of `covered` was read, by the part's end. Rows older than the lookback at that time
            were final, and are not refetched (and paid for) again. A part without an entry was read as it happened.

    Returns:
        A set of time before `end`.
    """
    refetch = EMPTY
    for part in to_windows(covered):
        refetch |= between(_subtract(read_at.get(part.end, part.end), lookback), part.end)
    return covered & refetch & before(end)


def _subtract(time: datetime, delta: timedelta) -> datetime:
    try:
        return time - delta
    except OverflowError:
        return datetime.min.replace(tzinfo=timezone.utc)


def async_intervals(missing: TimeSet, mode: str, backfill: timedelta, end: datetime) -> TimeSet:
    """Return the part of the missing time to read by asynchronous reports; pages read the rest.

    Args:
        missing: Time to read.
        mode: ``sync``, ``async``, or ``auto``: reports for long ranges, up to a day before the end.
        backfill: In ``auto``, a range longer than this is long.
        end: The end of what can be read.
    """
    if mode == SYNC:
        return EMPTY
    if mode == ASYNC:
        return missing
    return missing & before(end - ALWAYS_SYNC) if duration(missing) > backfill else EMPTY


def plan_windows(missing: TimeSet, max_length: timedelta, resumed: Iterable[TimeWindow] = ()) -> list[TimeWindow]:
    """Return the windows to read, in order of time.

    Args:
        missing: Time to read.
        max_length: The longest window of one query.
        resumed: Windows that an earlier run began, all of them missing. A cursor or a report belongs to their bounds,
            so they stay as they are, and the rest is split around them.

    Returns:
        Windows, `resumed` among them.
    """
    resumed = list(resumed)
    return sorted([*split(missing - to_intervals(resumed), max_length), *resumed])


def is_resumable(window: TimeWindow, missing: TimeSet) -> bool:
    """Return True if a window that was begun is still missing as a whole."""
    return window.start < window.end and between(window.start, window.end) in missing


def adoptable_reports(
    found: Iterable[PendingReport], missing: TimeSet, wanted: TimeSet, now: datetime
) -> list[PendingReport]:
    """Return the reports to adopt, the newest first, and none for time that another one reads.

    Args:
        found: Reports of the same query, none of which was read.
        missing: Time to read. A report is read as a whole, so all of its window has to be missing.
        wanted: The part of it for which reports would be requested. A report that reads none of it saves nothing.
        now: The time on Vonage's clock.
    """
    adopted = []
    for report in sorted(found, key=lambda report: report.requested_at, reverse=True):
        window, age = report.window, now - report.requested_at
        is_usable = timedelta(0) <= age < REPORT_FILE_RETENTION and window.end <= report.requested_at
        if is_usable and is_resumable(window, missing) and not (to_intervals([window]) & wanted).empty:
            missing -= to_intervals([window])
            adopted.append(report)
    return adopted


def shared_window_length(total: timedelta, count: int, max_length: timedelta) -> timedelta:
    """Return how long windows may be for there to be enough of them for all workers.

    Args:
        total: How much time there is to read.
        count: How many windows are enough, at least 1.
        max_length: How long a window may be in any case.

    Returns:
        A whole number of hours, unless `max_length` is less.
    """
    hours = -(-total // (count * MIN_SHARED_WINDOW))
    return min(max_length, max(MIN_SHARED_WINDOW, hours * MIN_SHARED_WINDOW))
