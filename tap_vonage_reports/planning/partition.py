"""A partition, and the query that selects its rows in every kind of request."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.config.schema import BOOLEAN_PARAMS, DIRECTION
from tap_vonage_reports.config.settings import fingerprint
from tap_vonage_reports.timestamps import format_query_time

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from tap_vonage_reports.config.settings import Settings
    from tap_vonage_reports.intervals import TimeWindow
    from tap_vonage_reports.products import Product

ACCOUNT = "account_id"
PRIMARY = "primary"
"""The primary account in a table. It is not named, because its name is the API key."""
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
    """

    product: Product
    account_id: str
    direction: str | None
    is_primary: bool

    @property
    def account_label(self) -> str:
        """The account for a table."""
        return PRIMARY if self.is_primary else self.account_id

    @property
    def context(self) -> dict[str, str]:
        """The partition as the SDK's context, and so its key in the state."""
        return {ACCOUNT: self.account_id, **({DIRECTION: self.direction} if self.direction else {})}

    @property
    def account(self) -> str:
        """The account for a sentence."""
        return "primary account" if self.is_primary else f"account {self.account_id}"

    def __str__(self) -> str:
        """Return the partition for a log line."""
        return ", ".join(part for part in (self.product.stream, self.direction, self.account) if part)


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
        return cls({**fixed, ACCOUNT: partition.account_id}, settings.report_callback_url)

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

    def params_by_id(self, ids: Iterable[str]) -> dict[str, str]:
        """Return the parameters of a lookup by ids, without those that the API refuses beside `id` [confirmed]."""
        allowed = {name: self.fixed[name] for name in LOOKUP_PARAMS if name in self.fixed}
        return {**allowed, "id": ",".join(ids)}

    def report_request(self, window: TimeWindow) -> dict[str, Any]:
        """Return the body of a request for a report."""
        callback = {CALLBACK_FIELD: self.callback_url} if self.callback_url else {}
        return {**self.report_body(window), **callback}

    def report_body(self, window: TimeWindow) -> dict[str, Any]:
        """Return the part of that body that selects rows. Booleans are booleans in JSON [confirmed]."""
        booleans = {name: True for name in BOOLEAN_PARAMS if name in self.fixed}
        return {**self.fixed, **booleans, **_dates(window)}

    def report_fingerprint(self, window: TimeWindow) -> str:
        """Return a short name for a report's request, to recognize the report in a later run."""
        return fingerprint(self.report_body(window))


def _dates(window: TimeWindow) -> dict[str, str]:
    return {"date_start": format_query_time(window.start), "date_end": format_query_time(window.end)}
