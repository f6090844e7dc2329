"""What earlier runs have cost, as the API itself tells: REPORTS-USAGE, which is free of charge [confirmed]."""

from __future__ import annotations

import logging
from collections import defaultdict
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from tap_vonage_reports.errors import ApiError
from tap_vonage_reports.extract.pages.pagination import iter_pages
from tap_vonage_reports.intervals import MAX_SYNC_WINDOW, TimeWindow, cut, spans
from tap_vonage_reports.products import FREE_PRODUCT, PRODUCTS
from tap_vonage_reports.records.parser import KEY_FIELD, RecordParser
from tap_vonage_reports.redaction import safe_for_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_vonage_reports.extract.session import SyncSession

logger = logging.getLogger(__name__)

EARLIER = timedelta(days=7)
"""How far back to look for what earlier runs have cost."""
MAX_ACCOUNTS = 10
"""Accounts that are asked for what they have cost: seven requests for each."""
MAX_AMOUNT = 10**12
"""Rows, or units of money, that no pull has."""


class PastUsage(msgspec.Struct, kw_only=True):
    """What was pulled of one product in the last seven days, as REPORTS-USAGE has it, by whatever program.

    Attributes:
        product: The product.
        requests: Queries and reports.
        rows: Rows that they gave.
        price: What they cost, by currency.
    """

    product: str
    requests: int = 0
    rows: int = 0
    price: defaultdict[str, Decimal] = msgspec.field(default_factory=lambda: defaultdict(Decimal))


def past_usage(run: SyncSession) -> list[PastUsage] | None:
    """What was pulled in the last days, by product; None where the API does not say.

    Raises:
        FatalApiError: The API cannot be used at all.
    """
    pulls: dict[str, PastUsage] = {}
    names = {product.name for product in PRODUCTS.values()}
    try:
        for row in _usage(run):
            product = row["requested_product"] if row["requested_product"] in names else "other"
            pull = pulls.setdefault(product, PastUsage(product=product))
            pull.requests += 1
            pull.rows += int(_likely(row["items_written"]))
            pull.price[safe_for_log(row["currency"])] += _likely(row["total_price"])
    except ApiError as error:
        logger.warning("What earlier runs have cost cannot be read (%s): %s", FREE_PRODUCT.name, error)
        return None
    return [pulls[name] for name in sorted(pulls)]


def _usage(run: SyncSession) -> Iterator[dict[str, Any]]:
    """The rows of the product that is free of charge [confirmed], each once."""
    end = run.now()
    parser = RecordParser(FREE_PRODUCT.schema, FREE_PRODUCT.aliases)
    seen = set()
    for account in run.accounts[:MAX_ACCOUNTS]:
        query = {"product": FREE_PRODUCT.name, "account_id": account}
        for window in cut(spans([TimeWindow(end - EARLIER, end)]), MAX_SYNC_WINDOW):
            for page in iter_pages(run.client, query, window):
                for row in parser.parse_rows(page.records):
                    if row[KEY_FIELD] not in seen:
                        seen.add(row[KEY_FIELD])
                        yield row


def _likely(number: Decimal | int | None) -> Decimal:
    """A number of a row; 0 where there is none, or one that no row has."""
    return Decimal(number) if number is not None and 0 <= number < MAX_AMOUNT else Decimal(0)
