"""Responses of the API: parsed, and rejected if they cannot be correct."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from tap_vonage_reports.errors import ApiError, RetriableApiError, UndecodableBodyError
from tap_vonage_reports.exact_json import TooManyValuesError, read_json
from tap_vonage_reports.odd_json import CutJsonError, read_odd_json
from tap_vonage_reports.odd_text import mend_value
from tap_vonage_reports.records.odd_rows import mend_row
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
_ONLY_OBJECTS = frozenset((dict,))
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
    """Read the body of a successful answer (HTTP 2xx): strictly, or leniently if that fails (see `odd_json`).

    Returns:
        The object. Rows (`records`) are objects, whatever came; those in `_embedded` are mended if anything is odd.

    Raises:
        UndecodableBodyError: The body has the form of an object, and cannot be decoded leniently either.
        RetriableApiError: The body is not a JSON object (cut, empty, or a gateway's page), or has too many values.
    """
    msg = f"The API answered HTTP {status} with a body that is not a JSON object"
    try:
        answer, is_odd = _decode(body)
    except TooManyValuesError as error:
        msg = f"The API sent a body of {error}"
        raise RetriableApiError(msg) from None
    except CutJsonError:
        raise RetriableApiError(msg) from None
    except ValueError:
        is_whole = body.lstrip().startswith(b"{") and body.rstrip().endswith(b"}")
        raise (UndecodableBodyError if is_whole else RetriableApiError)(msg) from None
    if not isinstance(answer, dict):
        raise RetriableApiError(msg)
    rows, embedded = answer.get("records"), answer.get("_embedded")
    if is_odd:
        answer = {
            mend_value(name): part if part is rows or part is embedded else mend_value(part)
            for name, part in answer.items()
        }
    if isinstance(rows, list) and (is_odd or not _ONLY_OBJECTS.issuperset(map(type, rows))):
        answer["records"] = [*map(mend_row, rows)]
    if is_odd and embedded is not None:
        answer["_embedded"] = _mend_embedded(embedded)
    return answer


def _mend_embedded(embedded: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Return named rows and lists of rows without anything odd (see `odd_rows`); nothing if it has another form."""
    parts = embedded.items() if isinstance(embedded, dict) else ()
    return {
        mend_value(name): [*map(mend_row, part)] if isinstance(part, list) else mend_row(part) for name, part in parts
    }


def read_problem(body: bytearray) -> dict[str, Any]:
    """Read the body of an error as a problem of the API (RFC 7807) [likely].

    Returns:
        The problem; empty for anything else, such as the page or the JSON of a gateway.
    """
    with suppress(ValueError):
        problem = mend_value(_decode(body)[0])
        if isinstance(problem, dict) and any(isinstance(problem.get(name), str) for name in PROBLEM_FIELDS):
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
    if not isinstance(records, list):
        msg = "The API answered without a list of records"
        raise RetriableApiError(msg)
    if len(records) > MAX_PAGE_ROWS:
        msg = f"The API sent more than {MAX_PAGE_ROWS:,} records on a page"
        raise RetriableApiError(msg)
    count = rows_announced(body)
    if count is not None and count != len(records):
        msg = f"The API sent {len(records):,} records on a page, but announced a different number"
        raise RetriableApiError(msg)


def check_report(body: dict[str, Any]) -> None:
    """Reject a report status without an id by which to poll the report.

    Raises:
        RetriableApiError: `request_id` is missing, or is not an id.
    """
    if not is_id(body.get("request_id")):
        msg = "The API answered without a report ID"
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


def _decode(body: bytearray) -> tuple[Any, bool]:
    """Return the value of a body, and True if something in it may have to be mended.

    Raises:
        TooManyValuesError: As `exact_json.read_json`.
        CutJsonError: As `odd_json.read_odd_json`.
        ValueError: The same.
    """
    try:
        # Looking from the end takes half the time of looking from the start.
        return read_json(body), b"\\" in body and body.rfind(b"\\u0000") >= 0
    except TooManyValuesError:
        raise
    except ValueError:
        return read_odd_json(body), True
