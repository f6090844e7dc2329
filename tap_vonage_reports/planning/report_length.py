"""The length of a partition's reports, so that the API truncates none of them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tap_vonage_reports.state.report_limits import DEFAULT_ROW_LIMIT

if TYPE_CHECKING:
    from tap_vonage_reports.config.settings import Settings
    from tap_vonage_reports.state.bookmark import Bookmark

SAFE_SHARE = 0.7
"""A report is planned for this share of the rows at which the API truncates one, because days differ."""
MAX_HOURS = 100_000
"""More than any retention: a longer length is no limit."""


def report_length(settings: Settings, bookmark: Bookmark) -> timedelta:
    """Return how long the reports of a partition may be now."""
    limit, longest = bookmark.report_limit, max_report_length(settings, bookmark)
    return min(longest, limit.window) if limit else longest


def max_report_length(settings: Settings, bookmark: Bookmark) -> timedelta:
    """Return how long they may become: by the settings, and by the rows per day that the partition had so far.

    A whole number of hours, at least one, unless the settings say otherwise.
    """
    volume, limit = bookmark.volume.volume, bookmark.report_limit
    rows_per_day = volume.rows_per_day if volume else None
    if not rows_per_day:
        return settings.report_window
    hours = SAFE_SHARE * (limit.rows if limit else DEFAULT_ROW_LIMIT) / rows_per_day * 24
    return min(settings.report_window, timedelta(hours=min(MAX_HOURS, max(1, int(hours)))))
