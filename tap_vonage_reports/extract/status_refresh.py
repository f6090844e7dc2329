"""Status refresh (`status_refresh: ids`): look up non-final rows by ID instead of refetching the whole lookback.

A row is tracked by its ID from the moment it is written until it is fetched as a final row, or after it has become
older than the lookback. Rows that cannot be tracked this way are refetched by windows, so no row depends on its ID.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.planning.partition import ACCOUNT
from tap_vonage_reports.products import STATUS
from tap_vonage_reports.records.parser import KEY_FIELD
from tap_vonage_reports.state.format import LOOKUP_ID
from tap_vonage_reports.state.pending_ids import row_name
from tap_vonage_reports.timestamps import format_timestamp, normalize_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tap_vonage_reports.intervals import TimeWindow
    from tap_vonage_reports.planning.partition import Partition
    from tap_vonage_reports.products import FinalityRule

MAX_PENDING_IDS = 20_000
"""Ids that one partition tracks: a megabyte of state."""
HOUR = timedelta(hours=1)
UNUSABLE = "non-final rows with IDs that cannot be looked up"
logger = logging.getLogger(__name__)
_LOOKUP_ID = re.compile(LOOKUP_ID)


@dataclass(frozen=True)
class PendingChange:
    """The rows to look up again, and those that need no further lookup.

    Attributes:
        pending: Ids to look up again, each with the hour of its row.
        final: Ids that need no further lookup.
        is_complete: False if a row that may still change has an id that cannot be looked up.
    """

    pending: dict[str, datetime]
    final: list[str]
    is_complete: bool

    def fits(self, tracked: Mapping[str, datetime]) -> bool:
        """Return True if all of its rows can be tracked beside those that are."""
        return self.is_complete and len(tracked) + len(self.pending.keys() - tracked.keys()) <= MAX_PENDING_IDS

    def log(self, partition: Partition, window: TimeWindow) -> None:
        """Log that a window is not tracked, and why."""
        reason = "too many non-final rows to track" if self.is_complete else UNUSABLE
        logger.warning("%s: %s has %s; the next run refetches it", partition, window, reason)


@dataclass(frozen=True)
class StatusTracker:
    """Tells which rows of one partition have to be looked up again.

    Attributes:
        rule: How a row shows that it is final.
        date_field: The field with a row's time.
        lookback: The age at which a row does not change any more.
        by_account: True if the partition has several accounts, so that the name of a row is ``account,id``.
    """

    rule: FinalityRule
    date_field: str
    lookback: timedelta
    by_account: bool = False

    def assess(self, records: Iterable[Mapping[str, Any]], window: TimeWindow, read_at: datetime) -> PendingChange:
        """Sort the rows of a window into those that may still change and the final ones.

        Args:
            records: The rows as they came.
            window: Where their times lie.
            read_at: When they were read.
        """
        hours: dict[str, datetime | None] = {}  # None: final. Of a row that comes twice, the last counts.
        is_complete = True
        for row in records:
            name = self._name(row)
            if self.rule.fits(row) or self._is_old(hour := self._hour(row, window), read_at):
                hours[name] = None
            elif all(map(_LOOKUP_ID.match, name.split(",", self.by_account))):
                hours[name] = hour
            else:
                is_complete = False
        return PendingChange(
            {name: hour for name, hour in hours.items() if hour},
            [name for name, hour in hours.items() if not hour],
            is_complete,
        )

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of a row that `assess` looks at."""
        return (KEY_FIELD, ACCOUNT, STATUS, self.date_field, *self.rule.filled)

    def final_ids(
        self, rows: Iterable[tuple[str, Mapping[str, Any]]], pending: Mapping[str, datetime], read_at: datetime
    ) -> list[str]:
        """Return the names of rows that were looked up and need no further lookup.

        Args:
            rows: The rows as they came, each with its name.
            pending: The tracked names, each with the hour of its row.
            read_at: When the rows were read.
        """
        return [
            name
            for name, row in rows
            if name in pending and (self.rule.fits(row) or self._is_old(pending[name], read_at))
        ]

    def _name(self, row: Mapping[str, Any]) -> str:
        name = str(row.get(KEY_FIELD) or "")
        return row_name(str(row.get(ACCOUNT) or ""), name) if self.by_account else name

    def _is_old(self, hour: datetime, read_at: datetime) -> bool:
        return hour + HOUR <= read_at - self.lookback

    def _hour(self, row: Mapping[str, Any], window: TimeWindow) -> datetime:
        """Return the hour of a row; the last hour of its window where the row has no time inside it."""
        text = row.get(self.date_field)
        time = normalize_timestamp(text) if isinstance(text, str) else None
        if time is None or not format_timestamp(window.start) <= time < format_timestamp(window.end):
            return (window.end - timedelta(microseconds=1)).replace(minute=0, second=0, microsecond=0)
        return datetime.fromisoformat(time[:13] + ":00:00+00:00")
