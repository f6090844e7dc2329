"""Lookups by ID (`status_refresh: ids`): batches of tracked rows, and whether a report costs less."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from tap_vonage_reports.intervals import hour_windows, to_intervals
from tap_vonage_reports.planning.estimates import MINUTES_PER_MILLION_ROWS
from tap_vonage_reports.state.pending_ids import account_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    from tap_vonage_reports.config.settings import Settings
    from tap_vonage_reports.intervals import TimeSet
    from tap_vonage_reports.planning.plans import PartitionScope
    from tap_vonage_reports.state.bookmark import Bookmark

IDS_PER_REQUEST = 20
"""Ids that one lookup takes [confirmed]."""


def id_batches(scope: PartitionScope, missing: TimeSet) -> list[tuple[str, ...]]:
    """Return the rows to look up: those that an earlier run tracked, and that no window and no report reads anyway.

    Args:
        scope: The partition.
        missing: The time that windows read.
    """
    if scope.lookback.tracked is None:
        return []
    pending = scope.bookmark.pending_ids
    read = missing | to_intervals(scope.report_windows)
    apart = {hour for hour in set(pending.values()) if hour_windows([hour]) not in read}
    return batch_ids(name for name, hour in pending.items() if hour in apart and name in scope.tracked_before)


def batch_ids(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return names of rows in batches of as many as one lookup takes, each of one account (see `account_of`)."""
    by_account: dict[str, list[str]] = {}
    for name in names:
        by_account.setdefault(account_of(name), []).append(name)
    return [
        tuple(some[at : at + IDS_PER_REQUEST])
        for some in by_account.values()
        for at in range(0, len(some), IDS_PER_REQUEST)
    ]


def lookups_pay(bookmark: Bookmark, refetched: timedelta, settings: Settings) -> bool:
    """Return True unless the lookups of a partition of many accounts take longer than a report of the same time.

    A lookup takes ids of one account, so thousands of accounts with a non-final row each take thousands of requests.

    Args:
        bookmark: What was read of the partition.
        refetched: How long the time is that a report would refetch.
        settings: The settings, for the rate limit.
    """
    millions = max(1, ceil(bookmark.volume.expected(refetched) / 1_000_000))
    report_seconds = millions * MINUTES_PER_MILLION_ROWS[1] * 60
    return len(batch_ids(bookmark.pending_ids)) / settings.max_requests_per_second <= report_seconds
