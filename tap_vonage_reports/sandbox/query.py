"""Synchronous queries: parsed, and checked by the rules of the API.

The rules are those of the facts' sections 3 and 7. Where sources contradict each other, the strict reading
applies unless a fault switches to the other one: both dates are required, a window has at most 24 hours, and
both dates are in the past. Unknown parameters are refused.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import msgspec

from tap_vonage_reports.products import INBOUND, OUTBOUND, PRODUCTS, Product
from tap_vonage_reports.sandbox import problems
from tap_vonage_reports.sandbox.problems import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_IDS = 20
LONGEST_WINDOW = timedelta(hours=24)
DEFAULT_WINDOW = timedelta(days=7)

DIRECTION_REQUIRED = frozenset({"SMS", "MESSAGES"})
"""Products without whose direction there is no answer (confirmed)."""

_ALWAYS = frozenset({"product", "account_id"})
_PAGING = frozenset({"cursor", "iv"})
_DATES = ("date_start", "date_end")
_WITH_IDS = _ALWAYS | {"direction", "id", "include_message", "show_concatenated"}

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)")


class Position(msgspec.Struct, array_like=True):
    """The content of a cursor.

    Attributes:
        fingerprint: Digest of the query that the cursor goes with.
        start: Start of the window, in microseconds of the epoch.
        end: End of the window.
        page: Number of the page that the cursor leads to, from 2.
        after: Hour and step of the last row read, for each line of traffic; None where none was read.
    """

    fingerprint: bytes
    start: int
    end: int
    page: int
    after: list[tuple[int, int] | None]


@dataclass(frozen=True)
class Query:
    """A query that the API accepts.

    Attributes:
        product: The product.
        account: Key of the account.
        direction: The direction that was asked for, or "".
        directions: The directions whose rows are wanted ("" for products without directions).
        start: Start of the window, inclusive; None in a query by id.
        end: End of the window, exclusive; None in a query by id.
        ids: The identifiers of a query by id, in the order asked.
        filters: The other filters, by parameter.
        include_message: True if message bodies are wanted.
        show_concatenated: True if the column `concatenated` is wanted.
        cursor: Cursor and iv of the request, if it has them.
        given: The parameters as they came, without cursor and iv.
    """

    product: Product
    account: str
    direction: str
    directions: tuple[str, ...]
    start: datetime | None
    end: datetime | None
    ids: tuple[str, ...]
    filters: Mapping[str, str]
    include_message: bool
    show_concatenated: bool
    cursor: tuple[str, str] | None
    given: Mapping[str, str]

    @property
    def fingerprint(self) -> bytes:
        """A digest of all that decides over the rows, but the window."""
        switches = (self.direction, self.include_message, self.show_concatenated, sorted(self.filters.items()))
        content = msgspec.json.encode((self.product.name, self.account, switches))
        return hashlib.blake2b(content, digest_size=16).digest()


@dataclass(frozen=True)
class Rules:
    """The current form of the rules on which the sources disagree.

    Attributes:
        now: The API's time.
        window_limited: True if a window may have 24 hours at most.
        past_only: True if both dates have to be in the past.
        dates_required: True if both dates are required.
        direction_refused: True if a direction is refused for products without directions.
    """

    now: datetime
    window_limited: bool = True
    past_only: bool = True
    dates_required: bool = True
    direction_refused: bool = True


def parameters(text: str) -> dict[str, str]:
    """Return the parameters of a query string; a raw ``+`` is a blank, as everywhere.

    Raises:
        Refusal: If a parameter comes twice.
    """
    pairs = parse_qsl(text, keep_blank_values=True)
    given = dict(pairs)
    if len(given) != len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise problems.unprocessable(*(InvalidParameter(name, "Must be given once") for name in twice))
    return given


def moment(text: str) -> datetime | None:
    """Parse an ISO 8601 time with an offset (``Z``, ``+00:00`` or ``+0000``); None if it is not one."""
    if not _MOMENT.fullmatch(text):
        return None
    try:
        return msgspec.convert(text, datetime).astimezone(timezone.utc)
    except (msgspec.ValidationError, OverflowError):
        return None


def parsed(given: Mapping[str, str], rules: Rules, cursor_window: tuple[datetime, datetime] | None = None) -> Query:
    """Return the query of a request.

    Args:
        given: The parameters.
        rules: The rules that hold.
        cursor_window: The window of the request's cursor, for a query whose dates are defaulted.

    Raises:
        Refusal: If the API would refuse the query.
    """
    if absent := [name for name in ("product", "account_id") if not given.get(name)]:
        raise problems.missing(absent)
    product = next((product for product in PRODUCTS.values() if product.name == given["product"]), None)
    if product is None:
        raise problems.unknown_product()
    by_id = "id" in given
    if by_id and (unsuited := sorted(given.keys() - _WITH_IDS)):
        raise problems.invalid_filter(unsuited)
    direction, directions = wanted_directions(given, product, rules)
    _check_names(given, product, direction, by_id=by_id)
    start = end = None
    ids: tuple[str, ...] = ()
    if by_id:
        ids = _ids(given["id"])
    else:
        start, end = window(given, rules, cursor_window)
    return Query(
        product=product,
        account=given["account_id"],
        direction=direction,
        directions=directions,
        start=start,
        end=end,
        ids=ids,
        filters={name: given[name] for name in product.sync_filters if name in given},
        include_message=switch(given, "include_message"),
        show_concatenated=switch(given, "show_concatenated"),
        cursor=(given["cursor"], given["iv"]) if given.keys() >= _PAGING else None,
        given={name: value for name, value in given.items() if name not in _PAGING},
    )


def wanted_directions(given: Mapping[str, str], product: Product, rules: Rules) -> tuple[str, tuple[str, ...]]:
    """Return the direction that was asked for, and the ones that are wanted."""
    direction = given.get("direction")
    if not product.directions:
        if direction is not None and rules.direction_refused:
            reason = f"Direction is not supported for product {product.name}"
            raise problems.unprocessable(InvalidParameter("direction", reason))
        return "", ("",)
    if direction is None:
        if product.name in DIRECTION_REQUIRED:
            raise problems.missing(["direction"])
        return "", product.directions
    if direction not in {INBOUND, OUTBOUND}:
        raise problems.unprocessable(InvalidParameter("direction", "Must be one of inbound, outbound"))
    return direction, (direction,)


def _check_names(given: Mapping[str, str], product: Product, direction: str, *, by_id: bool) -> None:
    """Refuse parameters that the API does not take for the product."""
    known = _ALWAYS | {"direction"}
    known |= {"id"} if by_id else _PAGING | set(_DATES) | set(product.sync_filters)
    if product.include_message:
        known |= {"include_message"}
    if direction in product.concatenated_directions:
        known |= {"show_concatenated"}
    if unknown := sorted(given.keys() - known):
        reason = f"Not supported for product {product.name}" + (f" and direction {direction}" if direction else "")
        raise problems.unprocessable(*(InvalidParameter(name, reason) for name in unknown))
    if empty := sorted(name for name in product.sync_filters if given.get(name) == ""):
        raise problems.unprocessable(*(InvalidParameter(name, "Must not be empty") for name in empty))


def _ids(text: str) -> tuple[str, ...]:
    """Return the identifiers of a query by id, each once."""
    ids = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not ids:
        raise problems.missing(["id"])
    if len(ids) > MOST_IDS:
        raise problems.unprocessable(InvalidParameter("id", f"At most {MOST_IDS} identifiers are allowed"))
    return ids


def switch(given: Mapping[str, str], name: str) -> bool:
    """Return a boolean, which travels as ``true`` or ``false`` (confirmed)."""
    text = given.get(name, "false")
    if text not in {"true", "false"}:
        raise problems.unprocessable(InvalidParameter(name, "Must be true or false"))
    return text == "true"


def window(
    given: Mapping[str, str], rules: Rules, cursor_window: tuple[datetime, datetime] | None
) -> tuple[datetime, datetime]:
    """Return the window of a query by date."""
    if rules.dates_required and (absent := [name for name in _DATES if not given.get(name)]):
        raise problems.missing(absent)
    default_start, default_end = cursor_window or (rules.now - DEFAULT_WINDOW, rules.now)
    bounds: list[datetime] = []
    for name, default in zip(_DATES, (default_start, default_end), strict=True):
        bound = moment(given[name]) if given.get(name) else default
        if bound is None:
            reason = "Must be a date and time of ISO 8601 with an offset; encode + as %2B"
            raise problems.unprocessable(InvalidParameter(name, reason))
        if rules.past_only and given.get(name) and bound >= rules.now:
            raise problems.not_past(name)
        bounds.append(bound)
    start, end = bounds
    if start > end:
        raise problems.unprocessable(InvalidParameter("date_start", "Must not be after date_end"))
    if rules.window_limited and end - start > LONGEST_WINDOW and all(given.get(name) for name in _DATES):
        raise problems.unprocessable(InvalidParameter("date_end", "Must be at most 24 hours after date_start"))
    return start, end
