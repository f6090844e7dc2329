"""Report requests: parsed, and checked by the rules of the API.

The rules are those of the facts' section 4.1. A body may contain the product's own filters, which are not
always those of a synchronous query. Both dates are optional, and a window may have any length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from tap_vonage_reports.products import PRODUCTS, Product
from tap_vonage_reports.sandbox import problems
from tap_vonage_reports.sandbox.problems import InvalidParameter
from tap_vonage_reports.sandbox.query import Rules, switch, wanted_directions, window

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_COMMON = frozenset({"product", "account_id", "date_start", "date_end", "include_subaccounts", "callback_url"})
_SWITCHES = ("include_subaccounts", "include_message", "show_concatenated")


@dataclass(frozen=True)
class ReportQuery:
    """A report request that the API accepts.

    Attributes:
        product: The product.
        account: Key of the account.
        direction: The direction that was asked for, or "".
        directions: The directions whose rows are wanted ("" for products without directions).
        start: Start of the window, inclusive.
        end: End of the window, exclusive.
        filters: What the columns have to hold, by parameter.
        include_subaccounts: Whether the rows of the sub-accounts are wanted too.
        include_message: Whether bodies are wanted.
        show_concatenated: Whether the column `concatenated` is wanted.
        given: The fields of the request as the answer repeats them.
    """

    product: Product
    account: str
    direction: str
    directions: tuple[str, ...]
    start: datetime
    end: datetime
    filters: Mapping[str, str]
    include_subaccounts: bool
    include_message: bool
    show_concatenated: bool
    given: Mapping[str, Any]


def fields(body: bytes) -> dict[str, Any]:
    """Return the fields of a body; booleans as the text that they are in a query.

    Raises:
        Refusal: If it is no JSON object.
    """
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise problems.malformed() from None
    if not isinstance(content, dict):
        raise problems.not_an_object()
    # Booleans come as such, or as text (likely: a real client sends text and gets its files).
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in content.items()}


def report_query(content: Mapping[str, Any], rules: Rules) -> ReportQuery:
    """Return the report that a body asks for.

    Args:
        content: The body's fields.
        rules: The rules that hold.

    Raises:
        Refusal: If the API would refuse it.
    """
    given = {name: value for name, value in content.items() if value is not None}
    if unfit := sorted(name for name, value in given.items() if not isinstance(value, str)):
        raise problems.unprocessable(*(InvalidParameter(name, "Must be a text or a boolean") for name in unfit))
    if absent := [name for name in ("product", "account_id") if not given.get(name)]:
        raise problems.missing(absent)
    product = next((product for product in PRODUCTS.values() if product.name == given["product"]), None)
    if product is None:
        raise problems.unknown_product()
    direction, directions = wanted_directions(given, product, rules)
    _check_names(given, product, direction)
    switches = {name: switch(given, name) for name in _SWITCHES}
    start, end = window(given, replace(rules, window_limited=False, dates_required=False), None)
    dates = {"date_start": start.isoformat(), "date_end": end.isoformat()}
    shown = {name: value for name, value in switches.items() if name in given or name == "include_subaccounts"}
    return ReportQuery(
        product=product,
        account=given["account_id"],
        direction=direction,
        directions=directions,
        start=start,
        end=end,
        filters={name: given[name] for name in product.async_filters if name in given},
        given={**given, **dates, **shown},
        **switches,
    )


def _check_names(given: Mapping[str, str], product: Product, direction: str) -> None:
    """Refuse what the API does not know for the product, and filters without a value."""
    known = _COMMON | {"direction"} | set(product.async_filters)
    if product.include_message:
        known |= {"include_message"}
    if direction in product.concatenated_directions:
        known |= {"show_concatenated"}
    if unknown := sorted(given.keys() - known):
        reason = f"Not supported for product {product.name}" + (f" and direction {direction}" if direction else "")
        raise problems.unprocessable(*(InvalidParameter(name, reason) for name in unknown))
    if empty := sorted(name for name in product.async_filters if given.get(name) == ""):
        raise problems.unprocessable(*(InvalidParameter(name, "Must not be empty") for name in empty))
