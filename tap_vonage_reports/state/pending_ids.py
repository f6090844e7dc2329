"""PendingIds: the IDs of a partition's rows to look up again. The state groups them by hour."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def account_of(name: str) -> str:
    """Return the account in the name of a row, ``account,id``; empty where the partition has one account."""
    return name.rpartition(",")[0]


def id_of(name: str) -> str:
    """Return the ID in the name of a row."""
    return name.rpartition(",")[2]


def row_name(account: str, row_id: str) -> str:
    """Return the name of a row in a partition of several accounts."""
    return f"{account},{row_id}"


class PendingIds(dict[str, datetime]):
    """Ids of rows to look up again, each with the hour of its row."""

    def track(self, ids: Mapping[str, datetime]) -> dict[datetime, list[str]]:
        """Add ids.

        Args:
            ids: Ids, each with the hour of its row.

        Returns:
            All ids of each hour that this changes.
        """
        fresh = {name: hour for name, hour in ids.items() if self.get(name) != hour}
        hours = {self[name] for name in fresh if name in self}
        self.update(fresh)
        return self._of_hours(hours.union(fresh.values()))

    def untrack(self, ids: Iterable[str]) -> dict[datetime, list[str]]:
        """Remove those of some ids that are there.

        Returns:
            All ids of each hour that this changes; an hour may have none left.
        """
        return self._of_hours({self.pop(name) for name in ids if name in self})

    def _of_hours(self, hours: Iterable[datetime]) -> dict[datetime, list[str]]:
        names: dict[datetime, list[str]] = {hour: [] for hour in hours}
        for name, hour in self.items() if names else ():
            if hour in names:
                names[hour].append(name)
        return names
