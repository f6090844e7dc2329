"""What an answer of the API says: read, and refused where it cannot be right."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeGuard

from tap_vonage_reports.errors import RetriableApiError
from tap_vonage_reports.exact_json import read_json
from tap_vonage_reports.redaction import safe_for_log
from tap_vonage_reports.timestamps import PLAUSIBLE_YEARS

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PAGE_ROWS = 10_000
"""Rows of a page: ten times as many as there are [confirmed]."""
MAX_ANNOUNCED_ROWS = 10**18

# What can stand in a path, and in a log line, as it is. "." and ".." would lead to another path.
_ID = re.compile(r"(?!\.{1,2}\Z)[!-~]{1,200}")
_DIGITS = re.compile(r"[0-9]+")


def is_id(value: object) -> TypeGuard[str]:
    """Whether a value from an answer can be the name of a report or an account."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def check_report(body: Mapping[str, Any]) -> None:
    """Refuse the state of a report that cannot be asked for again.

    Raises:
        RetriableApiError: It has no id.
    """
    if not is_id(body.get("request_id")):
        msg = "The API answered 200 without the id of a report"
        raise RetriableApiError(msg)


def rows_announced(body: Mapping[str, Any]) -> int | None:
    """How many rows an answer says that there are (`items_count`): of this page, or of the whole report [confirmed].

    Returns:
        The number, which some clients have seen as text; None where there is none. One that no answer can have is cut
        to one that is as wrong, and short.
    """
    count = body.get("items_count")
    if isinstance(count, str) and _DIGITS.fullmatch(count):
        return min(int(count[:20]), MAX_ANNOUNCED_ROWS)
    if isinstance(count, int) and not isinstance(count, bool):
        return min(max(count, -1), MAX_ANNOUNCED_ROWS)
    return None


def check_records(body: Mapping[str, Any]) -> None:
    """Refuse a page that cannot be whole.

    Raises:
        RetriableApiError: It has no rows, more than there can be, or another number than it announces.
    """
    records = body.get("records")
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        msg = "The API answered 200 without a list of records"
        raise RetriableApiError(msg)
    if len(records) > MAX_PAGE_ROWS:
        msg = f"The API answered with more than {MAX_PAGE_ROWS} records on a page"
        raise RetriableApiError(msg)
    count = rows_announced(body)
    if count is not None and count != len(records):
        msg = f"The API sent {len(records)} records on a page, and announced another number of them"
        raise RetriableApiError(msg)


def read_answer(body: bytearray) -> dict[str, Any]:
    """The body of a 200.

    Raises:
        RetriableApiError: It is no JSON object, or none that `wire.read_json` reads.
    """
    answer = _object(body)
    if answer is None:
        msg = "The API answered 200 with a body that is not a JSON object"
        raise RetriableApiError(msg)
    return answer


def read_problem(body: bytearray) -> dict[str, Any]:
    """The body of an error as a problem (RFC 7807); empty when it is something else, such as a gateway's page."""
    return _object(body) or {}


def _object(body: bytearray) -> dict[str, Any] | None:
    try:
        value = read_json(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def parameters_of(problem: Mapping[str, Any]) -> list[str]:
    """The names of the parameters that a problem blames, as far as they can be shown."""
    invalid = problem.get("invalid_parameters")
    if not isinstance(invalid, list):
        return []
    names = (safe_for_log(item.get("name")) for item in invalid if isinstance(item, dict))
    return [name for name in names if name]


def http_date(text: str | None) -> datetime | None:
    """The time in a header such as `Date`, in UTC; None where there is none that can be right."""
    try:
        time = parsedate_to_datetime(text) if text else None
    except (ValueError, OverflowError):
        return None
    if time is None or time.year not in PLAUSIBLE_YEARS:
        return None
    # "-0000" is UTC, too, and comes without an offset.
    return time.astimezone(timezone.utc) if time.tzinfo else time.replace(tzinfo=timezone.utc)


def retry_after(text: str | None, now: datetime) -> float:
    """Seconds from a `Retry-After` header, which may be a number (documented) or an HTTP date; 0 if neither."""
    if not text:
        return 0
    try:
        return max(0.0, float(text))
    except ValueError:
        until = http_date(text)
        return max(0.0, (until - now).total_seconds()) if until else 0
