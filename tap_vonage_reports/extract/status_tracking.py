"""Status refresh by id: rows that are not final yet are looked up again, instead of all that is in the look-back.

A row is kept by its id from the moment it is out until it is seen final, or is seen when it is older than the
look-back. What cannot be kept in this way is read again by windows, as without it: nothing depends on ids being right.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.config.schema import BOOLEAN_PARAMS, DIRECTION
from tap_vonage_reports.errors import CredentialsRevokedError, ProductUnavailableError, RequestRejectedError
from tap_vonage_reports.state.format import LOOKED_UP
from tap_vonage_reports.timestamps import format_timestamp, normalize_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tap_vonage_reports.api.client import ReportsClient
    from tap_vonage_reports.api.request_context import RequestContext
    from tap_vonage_reports.intervals import TimeWindow
    from tap_vonage_reports.products import FinalityRule

logger = logging.getLogger(__name__)

IDS_PER_REQUEST = 20
"""How many ids a query takes [confirmed]."""
MAX_PENDING_IDS = 20_000
"""Ids that one partition keeps, at most: a megabyte of state."""
HOUR = timedelta(hours=1)
MAY_GO_WITH_IDS = ("product", "account_id", DIRECTION, *BOOLEAN_PARAMS)
"""What a query by id takes beside the ids [confirmed]."""
_CAN_BE_LOOKED_UP = re.compile(LOOKED_UP)


@dataclass(frozen=True)
class LookupResult:
    """What a query by id gave.

    Attributes:
        ids: The ids that were asked for.
        records: The rows as they came.
    """

    ids: tuple[str, ...]
    records: list[dict[str, Any]]

    @property
    def missing(self) -> set[str]:
        """The ids without a row, whatever the answer says of them (`ids_not_found` is one text [confirmed])."""
        return set(self.ids) - {str(row.get("id")) for row in self.records}


@dataclass(frozen=True)
class PendingChange:
    """What rows that have come mean for the next look-up.

    Attributes:
        open: Ids that have to be looked up again, each with the hour of its row.
        settled: Ids that have not.
        complete: Whether `open` has all; a row whose id cannot be asked for is not there.
    """

    open: dict[str, datetime]
    settled: list[str]
    complete: bool


@dataclass(frozen=True)
class StatusTracker:
    """Tells which rows of one partition have to be looked up again.

    Attributes:
        final: How a row shows that it is final.
        date_field: The field with a row's time.
        lookback: How old a row is when it does not change any more.
    """

    final: FinalityRule
    date_field: str
    lookback: timedelta

    def assess(self, records: Iterable[Mapping[str, Any]], window: TimeWindow, read_at: datetime) -> PendingChange:
        """Sort the rows of a window into those that may still change and the others.

        Args:
            records: The rows as they came.
            window: Where their times lie.
            read_at: When they were read.
        """
        hours: dict[str, datetime | None] = {}  # None: settled. Of a row that comes twice, the last counts.
        complete = True
        for row in records:
            name = str(row.get("id"))
            if self.final.fits(row) or self._is_old(hour := self._hour(row, window), read_at):
                hours[name] = None
            elif _CAN_BE_LOOKED_UP.match(name):
                hours[name] = hour
            else:
                complete = False
        return PendingChange(
            {name: hour for name, hour in hours.items() if hour},
            [name for name, hour in hours.items() if not hour],
            complete,
        )

    def settled(
        self, records: Iterable[Mapping[str, Any]], hours: Mapping[str, datetime], read_at: datetime
    ) -> list[str]:
        """The ids of the rows that were looked up and need not be any more.

        Args:
            records: The rows as they came.
            hours: The hours of the rows that are kept, by id.
            read_at: When they were read.
        """
        names = ((row, str(row.get("id"))) for row in records)
        return [
            name
            for row, name in names
            if name in hours and (self.final.fits(row) or self._is_old(hours[name], read_at))
        ]

    def _is_old(self, hour: datetime, read_at: datetime) -> bool:
        return hour + HOUR <= read_at - self.lookback

    def _hour(self, row: Mapping[str, Any], window: TimeWindow) -> datetime:
        """The hour of a row; the last one of its window where the row does not say a time inside it."""
        text = row.get(self.date_field)
        time = normalize_timestamp(text) if isinstance(text, str) else None
        if time is None or not format_timestamp(window.start) <= time < format_timestamp(window.end):
            return (window.end - timedelta(microseconds=1)).replace(minute=0, second=0, microsecond=0)
        return datetime.fromisoformat(time[:13] + ":00:00+00:00")


def batch_ids(ids: Iterable[str]) -> list[tuple[str, ...]]:
    """Ids as queries take them."""
    names = list(ids)
    return [tuple(names[at : at + IDS_PER_REQUEST]) for at in range(0, len(names), IDS_PER_REQUEST)]


def fetch_by_ids(
    client: ReportsClient,
    query: Mapping[str, str],
    ids: tuple[str, ...],
    context: RequestContext,
) -> Iterator[LookupResult]:
    """Look rows up by their ids; they may be of any time, and come on one page [confirmed].

    Args:
        client: The API.
        query: Product, account, direction and switches.
        ids: At most 20.
        context: How urgent it is, the means to end its waits, and what it is counted in.

    Yields:
        What there is of them, once.

    Raises:
        ApiError: See `ReportsClient.records`. A query that the API does not take in this form finds nothing.
    """
    parameters = {name: query[name] for name in MAY_GO_WITH_IDS if name in query}
    try:
        answer = client.records({**parameters, "id": ",".join(ids)}, context)
    except (CredentialsRevokedError, ProductUnavailableError):
        raise
    except RequestRejectedError as refusal:
        logger.warning("Rows cannot be looked up by their ids: %s", refusal)
        yield LookupResult(ids, [])
    else:
        if context.metrics:
            context.metrics.count_looked_up(len(answer.body["records"]))
        yield LookupResult(ids, answer.body["records"])
