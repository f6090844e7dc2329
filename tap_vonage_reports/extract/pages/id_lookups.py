"""Lookups by ID: fetch tracked rows (`status_refresh: ids`), and stop tracking those that have become final."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.errors import (
    AccessDeniedError,
    ApiError,
    CredentialsRevokedError,
    ProductUnavailableError,
    RequestRejectedError,
)
from tap_vonage_reports.extract.gaps import ReadFailure
from tap_vonage_reports.extract.reader import Chunk
from tap_vonage_reports.records.parser import KEY_FIELD
from tap_vonage_reports.state.pending_ids import account_of, id_of, row_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_vonage_reports.api.client import ReportsClient
    from tap_vonage_reports.api.request_context import RequestContext
    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.planning.partition import Query

logger = logging.getLogger(__name__)

LOOKUPS_PER_CHECKPOINT = 50
"""STATE is due after this many lookups, which together have as many rows as a page."""


@dataclass(frozen=True)
class LookupResult:
    """The answer to a lookup by ids.

    Attributes:
        names: The names of the rows that were looked up: ids, or ``account,id`` where there are several accounts.
        records: The rows as they came.
    """

    names: tuple[str, ...]
    records: list[dict[str, Any]]

    @property
    def rows(self) -> list[tuple[str, dict[str, Any]]]:
        """The rows, each with its name."""
        account = account_of(self.names[0])
        ids = [str(row.get(KEY_FIELD)) for row in self.records]
        names = [row_name(account, one) for one in ids] if account else ids
        return list(zip(names, self.records, strict=True))

    @property
    def missing(self) -> set[str]:
        """The names without a row, whatever the answer says of them (`ids_not_found` is one text [confirmed])."""
        return set(self.names) - {name for name, _ in self.rows}


def fetch_by_ids(
    client: ReportsClient, query: Query, names: tuple[str, ...], context: RequestContext
) -> Iterator[LookupResult | ReadFailure]:
    """Fetch rows by their ids. They may be of any time, and come on one page [confirmed].

    Args:
        client: The API.
        query: The query of the partition.
        names: The names of at most 20 rows of one account.
        context: How urgent the request is, and where it is counted.

    Yields:
        The rows that exist, once. A lookup that the API rejects finds nothing, also if it refuses one of several
        accounts; a lookup without a usable answer is a failure, and its ids stay in the state.

    Raises:
        ApiError: The whole partition cannot be read.
    """
    account = account_of(names[0])
    try:
        response = client.records(query.params_by_id(map(id_of, names), account), context)
    except ApiError as error:
        is_refused = isinstance(error, (AccessDeniedError, ProductUnavailableError))
        concerns_one_account = is_refused and not isinstance(error, CredentialsRevokedError) and account
        if not error.leaves_gap and not concerns_one_account:
            raise
        if isinstance(error, RequestRejectedError):
            logger.warning("The API rejects lookups by ID. %s", error)
            yield LookupResult(names, [])
        else:
            yield ReadFailure(str(error), id_count=len(names))
        return
    records = response.body["records"]
    context.metrics.count_lookup(len(records))
    yield LookupResult(names, records)


class LookupCommitter:
    """Turns the lookups of one partition into chunks, and remembers which ids were not found.

    Attributes:
        missing: Ids that were not found.
    """

    def __init__(self, sync: PartitionSync, count: int) -> None:
        """Set up a committer.

        Args:
            sync: The partition.
            count: How many lookups there will be.
        """
        self.missing: set[str] = set()
        self._sync = sync
        self._count = count
        self._done = 0

    def chunk(self, result: LookupResult) -> Chunk:
        """Return the rows of a lookup as a chunk."""
        self.missing |= result.missing
        self._sync.result.gaps_in_a_row = 0
        self._done += 1
        due = self._done % LOOKUPS_PER_CHECKPOINT == 0 or self._done == self._count
        return Chunk(partial(self._commit, result), due, result.records)

    def _commit(self, result: LookupResult) -> None:
        """Stop tracking the rows that are final now."""
        sync = self._sync
        if sync.tracker:
            bookmark = sync.bookmark
            bookmark.untrack(sync.tracker.final_ids(result.rows, bookmark.pending_ids, sync.read_at))
