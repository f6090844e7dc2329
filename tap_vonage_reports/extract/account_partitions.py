"""The accounts of a run, and the partitions that they make of a stream (setting `subaccounts`)."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.config.schema import DIRECTION
from tap_vonage_reports.planning.partition import ACCOUNT, SUBACCOUNTS, Partition
from tap_vonage_reports.planning.windows import REPORT_FILE_RETENTION
from tap_vonage_reports.state.bookmark import Bookmark
from tap_vonage_reports.state.format import CONTEXT
from tap_vonage_reports.state.subaccounts import BookmarkReader, distribute, gather
from tap_vonage_reports.state.validation import adopt_stream_bookmark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tap_vonage_reports.config.settings import Settings
    from tap_vonage_reports.extract.accounts import AccountList
    from tap_vonage_reports.metrics import PartitionResult
    from tap_vonage_reports.planning.date_range import DateRange
    from tap_vonage_reports.products import Product
    from tap_vonage_reports.state.partition_index import PartitionIndex

logger = logging.getLogger(__name__)

_LEFT_OUT = (
    "although the account has sub-accounts. If they had traffic, the API leaves them out: compare with a run without a "
    "state that sets subaccounts to each and start_date and end_date to one day"
)


class Accounts:
    """The accounts of a run."""

    def __init__(self, settings: Settings, accounts: AccountList, dates: DateRange) -> None:
        """Set up the accounts; nothing is sent yet.

        Args:
            settings: The settings.
            accounts: The primary account and its sub-accounts.
            dates: The dates that the run may read.
        """
        self._settings = settings
        self._accounts = accounts
        self._dates = dates
        self._has_rows = self._has_first_without_rows = False
        self._with_rows: set[tuple[str, str]] = set()

    @cached_property
    def listed(self) -> tuple[str, ...]:
        """All accounts whose rows are read, each once, in order.

        Raises:
            ApiError: The sub-accounts cannot be listed.
        """
        listed = self._accounts.subaccounts() if self._settings.lists_subaccounts else ()
        return tuple(dict.fromkeys([*self._settings.account_ids, *listed]))

    @property
    def requested(self) -> tuple[str, ...]:
        """The accounts that requests name, in order."""
        return self._settings.account_ids if self._settings.reads_together else self.listed

    def partition(
        self, product: Product, account_id: str, direction: str | None, *, with_subaccounts: bool = False
    ) -> Partition:
        """Return one partition of a product's stream."""
        is_primary = account_id == self._settings.api_key
        return Partition(product, account_id, direction, is_primary, with_subaccounts)

    def partition_of(self, product: Product, context: Mapping[str, str]) -> Partition:
        """Return the partition that a context names."""
        return self.partition(
            product, context[ACCOUNT], context.get(DIRECTION), with_subaccounts=SUBACCOUNTS in context
        )

    def partitions(self, product: Product, stream_state: dict[str, Any], index: PartitionIndex) -> list[Partition]:
        """Return the partitions of a product's stream.

        Args:
            product: The product.
            stream_state: The stream's state. What earlier runs read counts, however they divided the accounts.
            index: The partitions in it.

        Raises:
            ApiError: The sub-accounts cannot be listed.
            StateError: The state is malformed.
        """
        directions = self._settings.directions_of(product) or (None,)
        expected = [
            self.partition(product, account, direction, with_subaccounts=self._settings.reads_together)
            for account in self.requested
            for direction in directions
        ]
        if adopt_stream_bookmark(stream_state, [partition.context for partition in expected]):
            logger.warning(
                "%s: the state has a single bookmark and does not say which partition it belongs to; starting over "
                "from start_date. If it applies to all partitions, set start_date to its value",
                product.stream,
            )
        behind = [late for direction in directions for late in self._move_state(product, direction, index)]
        return [*expected, *behind]

    def compare(self, result: PartitionResult, *, is_first: bool) -> None:
        """Compare the accounts whose rows came in reports with the listed ones.

        Args:
            result: The result of a partition.
            is_first: True if it has the rows of all accounts, and no earlier run read any of it.
        """
        counts = result.rows_by_account
        if not counts:
            self._has_first_without_rows |= is_first
            return
        self._has_rows = True
        self._with_rows |= {(result.partition.stream, account) for account in counts}
        listed = set(self.listed)
        result.foreign_rows = sum(count for account, count in counts.items() if account not in listed)
        if set(counts) == {self._settings.api_key} and self._accounts.active_subaccounts():
            logger.warning("%s: all rows are the primary account's, %s", result.partition, _LEFT_OUT)

    def has_rows(self, partition: Partition) -> bool:
        """Return True if reports of all accounts brought rows of a partition's account and product to this run.

        Then the API cannot say of an account that catches up that it does not have the product.
        """
        return (partition.stream, partition.account_id) in self._with_rows

    def compare_all(self) -> None:
        """Warn if the first reports of all accounts had no row of any. A quiet day is no reason."""
        if self._has_first_without_rows and not self._has_rows and self._accounts.active_subaccounts():
            logger.warning("The reports of all accounts have no rows, %s", _LEFT_OUT)

    def _read(self, product: Product, state: dict[str, Any]) -> Bookmark:
        bookmark = read_bookmark(self._settings, self._dates, product, state)
        if bookmark.filters_changed:
            warn_of_filters(self.partition_of(product, state[CONTEXT]))
        return bookmark

    def _move_state(self, product: Product, direction: str | None, index: PartitionIndex) -> list[Partition]:
        """Move what was read to where this run looks for it, and return the partitions that have to catch up."""
        shared = self.partition(product, self._settings.api_key, direction, with_subaccounts=True).context
        if not self._settings.reads_together and index.get(shared) is None:
            return []
        each = {account: self.partition(product, account, direction) for account in self.listed}
        contexts = {account: partition.context for account, partition in each.items()}
        now = self._dates.clock()
        reader = BookmarkReader(
            product.stream,
            product.date_field,
            self._settings.rows_of(product),
            self._dates.earliest(product),
            partial(self._dates.start, product),
            self._settings.lookback_of(product),
            now,
            now - REPORT_FILE_RETENTION,
            partial(self._read, product),
        )
        if not self._settings.reads_together:
            distribute(index, shared, contexts, reader)
            return []
        late = gather(index, shared, contexts, reader)
        return [replace(each[account], end=end) for account, end in late.items()]


def warn_of_filters(partition: Partition) -> None:
    """Warn that a partition starts over, because what was read of it belongs to other filters."""
    logger.warning(
        "%s: the filters have changed since the last run; ignoring the bookmark, restarting from start_date", partition
    )


def read_bookmark(settings: Settings, dates: DateRange, product: Product, state: dict[str, Any]) -> Bookmark:
    """Return the bookmark in a partition's state, which is changed in place from here on.

    Raises:
        StateError: The state is malformed.
    """
    return Bookmark(
        state,
        stream=product.stream,
        replication_key=product.date_field,
        row_filter=settings.rows_of(product),
        since=dates.start(product) if settings.start_date else dates.earliest(product),
    )
