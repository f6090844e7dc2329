"""Objects encoded as text: JSON, or a map as Java prints it.

A real answer of REPORTS-USAGE had the parameters of a report as text that is not JSON [confirmed for 2021]::

    {product: 'SMS', account_id: 'abcd1234', direction: 'outbound'date_start'Thu Oct 07 00:00:00 UTC 2021',}

The specification says that they are an object. Both forms give the same object.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from tap_vonage_reports.odd_json import read_cell
from tap_vonage_reports.odd_text import mend_value
from tap_vonage_reports.records.cell_text import cell_text
from tap_vonage_reports.timestamps import normalize_timestamp

MAX_MAP_CHARACTERS = 1 << 14
"""Characters of a text that is not JSON: fifty times as many as the real one. Reading it can take quadratic time."""

_EVENT_PARAMETERS = (
    *("account_id", "date_end", "date_start", "direction", "id", "include_message", "include_subaccounts"),
    *("product", "show_concatenated"),
)
"""Names that may follow a value without a comma, and precede one without a colon. Others occur inside values."""
_NAME = "[A-Za-z_][A-Za-z0-9_.-]{0,63}"
_START_OF_PAIR = re.compile(rf"""[\s,]*(['"]?)({_NAME})\1\s*([:=]?)\s*""")
_END_OF_MAP = re.compile(r"[\s,]*\}")
_ENDS_OF_QUOTED = {
    quote: re.compile(
        rf"""{quote}(?=(?:\s*,)?\s*(?:\}}\Z|(?:{"|".join(_EVENT_PARAMETERS)})\s*(?:[:=]\s*)?['"])"""
        rf"""|\s*,\s*['"]?{_NAME}['"]?\s*[:=])"""
    )
    for quote in ("'", '"')
}
_ENDS_OF_PLAIN = {separator: re.compile(rf""",\s*['"]?{_NAME}['"]?\s*{separator}""") for separator in (":", "=")}
_JAVA_DATE = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d{2}) (\d{2}:\d{2}:\d{2}) (?:UTC|GMT|Z) (\d{4})", re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class MendedObject(dict[str, str]):
    """An object whose JSON had something odd in it (see `odd_text`)."""


def read_object(text: str) -> dict[str, str] | None:
    """Read an object whose values are texts.

    Args:
        text: JSON, or the text of a map as above. Names and separators may lack quotes, a colon or a comma, and
            ``{name=value}`` is read as well.

    Returns:
        The values by name, sorted by name. A value that is not text becomes the text of a CSV cell, null is left out,
        and a date as Java prints it gets the form of other dates. A `MendedObject` if something in it was odd. None if
        the text is not such an object.
    """
    sent: Any = None
    with suppress(ValueError):
        sent = read_cell(text)
    if sent is None:
        sent = _read_map(text.strip())
    if not isinstance(sent, dict):
        return None
    value = mend_value(sent)
    texts = {name: cell_text(value[name]) for name in sorted(value)}
    found = {
        name: _date(part) if name.startswith("date_") else part for name, part in texts.items() if part is not None
    }
    return found if value is sent else MendedObject(found)


def _read_map(text: str) -> dict[str, str | None] | None:
    """Read the text of a map, or return None if it is not one or a name occurs twice: then a value looks like pairs."""
    if len(text) > MAX_MAP_CHARACTERS or not (text.startswith("{") and text.endswith("}")):
        return None
    pairs: dict[str, str | None] = {}
    at, last = 1, len(text) - 1
    while start := _START_OF_PAIR.match(text, at, last):
        _, name, separator = start.groups()
        found = _read_quoted(text, start.end())
        if found is None and separator:
            found = _read_plain(text, start.end(), separator)
        if found is None or name in pairs or not (separator or name in _EVENT_PARAMETERS):
            return None
        pairs[name], at = found
    return pairs if _END_OF_MAP.fullmatch(text, at) else None


def _read_quoted(text: str, at: int) -> tuple[str | None, int] | None:
    """Return the value in quotes at an offset, and where it ends; None if there is none."""
    ends = _ENDS_OF_QUOTED.get(text[at])
    end = ends.search(text, at + 1) if ends else None
    return (text[at + 1 : end.start()], end.end()) if end else None


def _read_plain(text: str, at: int, separator: str) -> tuple[str | None, int] | None:
    """Return the value without quotes at an offset, and where it ends; None if its brackets do not close."""
    last = len(text) - 1
    for end in (*(match.start() for match in _ENDS_OF_PLAIN[separator].finditer(text, at, last)), last):
        value = text[at:end].strip()
        if not value.startswith(("{", "[")) or _is_closed(value):
            return (None if value == "null" else value), end
    return None


def _is_closed(value: str) -> bool:
    return value.count("{") == value.count("}") and value.count("[") == value.count("]")


def _date(text: str) -> str:
    """Return a date that Java printed in UTC (``Thu Oct 07 00:00:00 UTC 2021``) in the form of records."""
    found = _JAVA_DATE.fullmatch(text)
    if not found or found[1] not in _MONTHS:
        return text
    month = _MONTHS.index(found[1]) + 1
    return normalize_timestamp(f"{found[4]}-{month:02}-{found[2]}T{found[3]}+00:00") or text
