"""A partition, and the query that selects its rows in every kind of request."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from tap_vonage_reports.config.schema import BOOLEAN_PARAMS, DIRECTION, INCLUDE_SUBACCOUNTS, TOGETHER
from tap_vonage_reports.config.settings import fingerprint
from tap_vonage_reports.products import FREE_PRODUCT
from tap_vonage_reports.timestamps import format_query_time

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping
    from datetime import datetime

    from tap_vonage_reports.config.settings import Settings
    from tap_vonage_reports.intervals import TimeWindow
    from tap_vonage_reports.products import Product
    from tap_vonage_reports.sources import Dimension

ACCOUNT = "account_id"
SUBACCOUNTS = "subaccounts"
"""The key of a context that marks a partition with the rows of all sub-accounts."""
PRIMARY = "primary"
"""The primary account in a table. It is not named, because its name is the API key."""
ALL = "all"
"""The primary account and all sub-accounts in a table."""
CALLBACK_FIELD = "callback_url"
"""The field of a request for a report that selects no rows [confirmed]."""
LOOKUP_PARAMS = ("product", ACCOUNT, DIRECTION, *BOOLEAN_PARAMS)
"""The parameters that a query by id takes beside the ids [confirmed]."""


@dataclass(frozen=True)
class Partition:
    """One account, and one direction where the product has them, of one product.

    Attributes:
        product: The product.
        account_id: The account's API key.
        direction: ``inbound`` or ``outbound``; None where the product has no directions.
        is_primary: True for the account of `api_key`.
        with_subaccounts: True if its rows are those of all sub-accounts as well. Only reports can read such a
            partition [confirmed].
        end: Where reading ends; None where the run's end is meant.
        is_of_product: True, unlike for a `WholeTable`.
    """

    is_of_product: ClassVar[bool] = True

    product: Product
    account_id: str
    direction: str | None
    is_primary: bool
    with_subaccounts: bool = False
    end: datetime | None = None

    @property
    def stream(self) -> str:
        """The product's stream."""
        return self.product.stream

    @property
    def date_field(self) -> str:
        """The field with a row's time."""
        return self.product.date_field

    @property
    def is_billed(self) -> bool:
        """True if the API bills its rows."""
        return self.product is not FREE_PRODUCT

    @property
    def account_label(self) -> str:
        """The account for a table."""
        if self.with_subaccounts:
            return ALL
        return PRIMARY if self.is_primary else self.account_id

    @property
    def context(self) -> dict[str, str]:
        """The partition as the SDK's context, and so its key in the state."""
        return {
            ACCOUNT: self.account_id,
            **({SUBACCOUNTS: TOGETHER} if self.with_subaccounts else {}),
            **({DIRECTION: self.direction} if self.direction else {}),
        }

    @property
    def account(self) -> str:
        """The account for a sentence."""
        if self.with_subaccounts:
            return "all accounts"
        return "primary account" if self.is_primary else f"account {self.account_id}"

    def __str__(self) -> str:
        """Return the partition for a log line."""
        return ", ".join(part for part in (self.product.stream, self.direction, self.account) if part)


@dataclass(frozen=True)
class WholeTable:
    """All of a dimension, which has no partitions, in the place of a `Partition` where results are counted.

    Attributes:
        dimension: The dimension.
        is_billed: False, because it has no rows of the Reports API, which bills by the row [confirmed].
    """

    is_of_product: ClassVar[bool] = False
    is_billed: ClassVar[bool] = False
    date_field: ClassVar[str] = ""
    direction: ClassVar[None] = None
    account_id: ClassVar[str] = ""
    account: ClassVar[str] = "all accounts"
    account_label: ClassVar[str] = "-"

    dimension: Dimension

    @property
    def stream(self) -> str:
        """The dimension's stream."""
        return self.dimension.stream

    @property
    def context(self) -> dict[str, str]:
        """The SDK's context: none, because nothing in the state belongs to it."""
        return {}

    def __str__(self) -> str:
        """Return the table for a log line."""
        return self.stream


@dataclass(frozen=True)
class Query:
    """The part of a request that selects a partition's rows: everything but dates, cursor and ids.

    Attributes:
        fixed: Parameters by name, as a query string carries them: booleans are ``true`` [confirmed].
        callback_url: What the API calls when a report is ready; empty for nothing. It selects no rows.
    """

    fixed: Mapping[str, str]
    callback_url: str = field(default="", repr=False, compare=False)

    @classmethod
    def of(cls, settings: Settings, partition: Partition) -> Query:
        """Return the query of a partition."""
        fixed = settings.query_of(partition.product, partition.direction)
        together = {INCLUDE_SUBACCOUNTS: "true"} if partition.with_subaccounts else {}
        return cls({**fixed, ACCOUNT: partition.account_id, **together}, settings.report_callback_url)

    def of_account(self, account: str) -> Query:
        """Return the query for the rows of one account."""
        alone = self.without({INCLUDE_SUBACCOUNTS})
        return replace(alone, fixed={**alone.fixed, ACCOUNT: account})

    def without(self, names: Container[str]) -> Query:
        """Return the query without some of its parameters."""
        return replace(self, fixed={name: value for name, value in self.fixed.items() if name not in names})

    @cached_property
    def fingerprint(self) -> str:
        """A short name for the query, so that the state need not hold its values."""
        return fingerprint(self.fixed)

    def params(self, window: TimeWindow, cursor: str | None = None, iv: str | None = None) -> dict[str, str]:
        """Return the parameters of a request for one page.

        Args:
            window: The window of the page.
            cursor: Where the page begins; None for the first page.
            iv: What belongs to the cursor, where the API gave any.
        """
        place = {"cursor": cursor, "iv": iv}
        return {**self.fixed, **_dates(window), **{name: value for name, value in place.items() if value}}

    def params_by_id(self, ids: Iterable[str], account: str = "") -> dict[str, str]:
        """Return the parameters of a lookup by ids, without those that the API refuses beside `id` [confirmed].

        Args:
            ids: The ids.
            account: The account of the rows; empty for that of the query.
        """
        allowed = {name: self.fixed[name] for name in LOOKUP_PARAMS if name in self.fixed}
        return {**allowed, **({ACCOUNT: account} if account else {}), "id": ",".join(ids)}

    def report_request(self, window: TimeWindow) -> dict[str, Any]:
        """Return the body of a request for a report."""
        callback = {CALLBACK_FIELD: self.callback_url} if self.callback_url else {}
        return {**self.report_body(window), **callback}

    def report_body(self, window: TimeWindow) -> dict[str, Any]:
        """Return the part of that body that selects rows. Booleans are booleans in JSON [confirmed]."""
        booleans = {name: True for name in (*BOOLEAN_PARAMS, INCLUDE_SUBACCOUNTS) if name in self.fixed}
        return {**self.fixed, **booleans, **_dates(window)}

    def report_fingerprint(self, window: TimeWindow) -> str:
        """Return a short name for a report's request, to recognize the report in a later run."""
        return fingerprint(self.report_body(window))


def _dates(window: TimeWindow) -> dict[str, str]:
    return {"date_start": format_query_time(window.start), "date_end": format_query_time(window.end)}
