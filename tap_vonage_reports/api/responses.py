"""Answers of the API: read, and rejected if they cannot be right."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from tap_vonage_reports.errors import ApiError, RetriableApiError
from tap_vonage_reports.exact_json import TooManyValuesError, read_json
from tap_vonage_reports.redaction import is_plain_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

SUCCESS = "SUCCESS"
"""The status of a page after which no other follows, and of a report that is whole [confirmed]."""
MAX_PAGE_ROWS = 10_000
"""Rows on a page: ten times as many as the API sends [confirmed]."""
MAX_LISTED_REPORTS = 10_000
"""Reports in a list: as many as five in flight could be in seven days, at five minutes each [confirmed]."""
MAX_ANNOUNCED_ROWS = 10**18
"""A larger `items_count` is cut to this, so that no one has to calculate with a number of thousands of digits."""

PROBLEM_FIELDS = ("type", "title", "detail")
"""A problem of the API has at least one of them, as text [likely]."""

# What can stand in a path and in a log line unchanged. "." and ".." would lead to another path.
_ID = re.compile(r"(?!\.{1,2}\Z)[!-~]{1,200}")
_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class ApiResponse:
    """A usable answer of the API: HTTP 2xx with a JSON object.

    Attributes:
        body: The object. Numbers with a fraction are `Decimal`.
        at: When the API answered, in UTC: the earliest of its `Date` header, the time in its body, and this machine's
            clock.
    """

    body: dict[str, Any]
    at: datetime


def read_answer(body: bytearray, status: int) -> dict[str, Any]:
    """Read the body of a successful answer (HTTP 2xx).

    Raises:
        RetriableApiError: The body is not a JSON object, or breaks the limits of `exact_json.read_json`.
    """
    try:
        answer = _read_object(body)
    except TooManyValuesError as error:
        msg = f"The API sent a body of {error}"
        raise RetriableApiError(msg) from None
    if answer is None:
        msg = f"The API answered HTTP {status} with a body that is not a JSON object"
        raise RetriableApiError(msg)
    return answer


def read_problem(body: bytearray) -> dict[str, Any]:
    """Read the body of an error as a problem of the API (RFC 7807) [likely].

    Returns:
        The problem; empty for anything else, such as the page or the JSON of a gateway.
    """
    with suppress(TooManyValuesError):
        problem = _read_object(body) or {}
        if any(isinstance(problem.get(name), str) for name in PROBLEM_FIELDS):
            return problem
    return {}


def invalid_parameters(problem: Mapping[str, Any]) -> list[str]:
    """Return the names of the parameters that a problem calls invalid, without those that are not safe to log."""
    listed = problem.get("invalid_parameters")
    if not isinstance(listed, list):
        return []
    names = (item.get("name") for item in listed if isinstance(item, dict))
    return [name for name in names if isinstance(name, str) and is_plain_name(name)]


def check_records(body: dict[str, Any]) -> None:
    """Reject a page that cannot be complete. A page that announces no rows may lack the list; it gets an empty one.

    Raises:
        RetriableApiError: The page has no list of rows, too many, or fewer or more than it announces.
    """
    if body.get("records") is None and rows_announced(body) == 0 and body.get("request_status") == SUCCESS:
        body["records"] = []
    records = body.get("records")
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        msg = "The API answered without a list of records"
        raise RetriableApiError(msg)
    if len(records) > MAX_PAGE_ROWS:
        msg = f"The API sent more than {MAX_PAGE_ROWS:,} records on a page"
        raise RetriableApiError(msg)
    count = rows_announced(body)
    if count is not None and count != len(records):
        msg = f"The API sent {len(records):,} records on a page, but announced another number"
        raise RetriableApiError(msg)


def check_report(body: dict[str, Any]) -> None:
    """Reject a report status without an id by which to poll the report.

    Raises:
        RetriableApiError: `request_id` is missing, or is not an id.
    """
    if not is_id(body.get("request_id")):
        msg = "The API answered without the ID of a report"
        raise RetriableApiError(msg)


def check_report_list(body: Mapping[str, Any]) -> None:
    """Reject a list of reports that has another shape, or too many of them.

    Raises:
        ApiError: There are not up to `MAX_LISTED_REPORTS` objects in `reports`.
    """
    reports = body.get("reports")
    if not isinstance(reports, list) or not all(isinstance(report, dict) for report in reports):
        msg = "The API answered without a list of reports"
        raise ApiError(msg)
    if len(reports) > MAX_LISTED_REPORTS:
        msg = f"The API listed more than {MAX_LISTED_REPORTS:,} reports"
        raise ApiError(msg)


def rows_announced(body: Mapping[str, Any]) -> int | None:
    """Return the number of rows that an answer announces (`items_count`): of a page, or of a report [confirmed].

    Returns:
        The number, also where it came as text, as some clients have seen it; None without one. A number that no answer
        can have is cut to -1 or `MAX_ANNOUNCED_ROWS`, which are just as wrong.
    """
    count = body.get("items_count")
    if isinstance(count, str) and _DIGITS.fullmatch(count):
        return min(int(count[:20]), MAX_ANNOUNCED_ROWS)
    if isinstance(count, int) and not isinstance(count, bool):
        return min(max(count, -1), MAX_ANNOUNCED_ROWS)
    return None


def is_id(value: object) -> TypeGuard[str]:
    """Return True if a value from outside can be the id of a report or the key of an account."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _read_object(body: bytearray) -> dict[str, Any] | None:
    try:
        value = read_json(body)
    except TooManyValuesError:
        raise
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
