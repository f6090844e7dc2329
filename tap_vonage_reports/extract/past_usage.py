"""Past usage: rows fetched and billed in the last days, from REPORTS-USAGE, which is free of charge [confirmed]."""

from __future__ import annotations

import logging
from collections import defaultdict
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import asdict

from tap_vonage_reports.errors import ApiError
from tap_vonage_reports.extract.pages.pagination import iter_pages
from tap_vonage_reports.intervals import TimeWindow, split, to_intervals
from tap_vonage_reports.planning.partition import ACCOUNT, Query
from tap_vonage_reports.planning.windows import MAX_SYNC_WINDOW
from tap_vonage_reports.products import FREE_PRODUCT, PRODUCTS
from tap_vonage_reports.records.parser import KEY_FIELD, RecordParser
from tap_vonage_reports.redaction import safe_for_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_vonage_reports.extract.session import SyncSession

logger = logging.getLogger(__name__)

PERIOD = timedelta(days=7)
"""Past usage is read this far back."""
MAX_ACCOUNTS = 10
"""Accounts whose past usage is read, by seven requests each."""
PRICE_DIGITS = 4
"""Decimals of an estimated price: those of a single row's [confirmed of 2020]."""
MAX_AMOUNT = 10**12
"""More rows, or units of money, than any fetch has."""


class PastUsage(msgspec.Struct, kw_only=True):
    """Rows of one product that any program fetched in the last seven days, according to REPORTS-USAGE.

    Attributes:
        product: The product.
        requests: Requests for pages and reports.
        rows: Rows that they returned.
        price: What they cost, by currency.
    """

    product: str
    requests: int = 0
    rows: int = 0
    price: defaultdict[str, Decimal] = msgspec.field(default_factory=lambda: defaultdict(Decimal))

    def price_of(self, rows: int) -> dict[str, Decimal]:
        """Return what so many rows cost at the average price of the past ones, by currency; empty where nothing is.

        Raises:
            ZeroDivisionError: There are no past rows.
        """
        prices = {currency: round(price / self.rows * rows, PRICE_DIGITS) for currency, price in self.price.items()}
        return {currency: price for currency, price in prices.items() if price}


def past_usage(session: SyncSession) -> list[PastUsage] | None:
    """Return what was fetched in the last days, by product; None where the API does not say.

    Raises:
        FatalApiError: The API cannot be used at all.
    """
    usages: dict[str, PastUsage] = {}
    names = {product.name for product in PRODUCTS.values()}
    try:
        for row in _usage_rows(session):
            product = row["requested_product"] if row["requested_product"] in names else "other"
            usage = usages.setdefault(product, PastUsage(product=product))
            usage.requests += 1
            usage.rows += int(_plausible(row["items_written"]))
            usage.price[safe_for_log(row["currency"])] += _plausible(row["total_price"])
    except ApiError as error:
        logger.warning("Past usage cannot be read (%s). %s", FREE_PRODUCT.name, error)
        return None
    return [usages[name] for name in sorted(usages)]


def _usage_rows(session: SyncSession) -> Iterator[dict[str, Any]]:
    """Yield the rows of the product that is free of charge [confirmed], each once."""
    end = session.dates.now()
    parser = RecordParser(FREE_PRODUCT.schema, FREE_PRODUCT.aliases)
    seen = set()
    for account in session.accounts.requested[:MAX_ACCOUNTS]:
        query = Query({"product": FREE_PRODUCT.name, ACCOUNT: account})
        for window in split(to_intervals([TimeWindow(end - PERIOD, end)]), MAX_SYNC_WINDOW):
            for page in iter_pages(session.client, query, window):
                for row in map(asdict, parser.parse_rows(page.records)):
                    if row[KEY_FIELD] not in seen:
                        seen.add(row[KEY_FIELD])
                        yield row


def _plausible(number: Decimal | int | None) -> Decimal:
    """Return a number of a row; 0 where there is none, or one that no row has."""
    return Decimal(number) if number is not None and 0 <= number < MAX_AMOUNT else Decimal(0)
