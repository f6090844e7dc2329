"""The text that a cell of a CSV report would hold for a value of a JSON page.

A row comes as JSON on a page and as text in a report. Converting all values to text first makes the record the same on
both paths.
"""

from __future__ import annotations

from typing import Any

from tap_vonage_reports.exact_json import ExactNumber, encode_json
from tap_vonage_reports.odd_json import encode_odd_json, read_cell

_WORDS = {True: "true", False: "false"}
_BRACKETS = ("{", "[")


def cell_text(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    """Return a JSON value as text.

    Args:
        value: Text, or what `exact_json.read_json` returns for any other JSON value.

    Returns:
        A text as it is, a number with the digits that the API sent, ``true`` or ``false`` (the words of reports are
        [unknown]), compact JSON for an object or a list; None for null.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return _WORDS[value]
    if isinstance(value, (dict, list)):
        return encode_json(value).decode()
    return value.text if isinstance(value, ExactNumber) else str(value)


def extra_text(text: str) -> str:
    """Return the text of a cell as `_extra` holds it: as it is, or compact if it is JSON of an object or a list.

    The spacing of such JSON in reports is [unknown], and on a page it is lost.
    """
    if not holds_object(text):
        return text
    try:
        return encode_odd_json(read_cell(text))
    except ValueError:
        return text


def holds_object(text: str) -> bool:
    """Return True if a text looks like an object or a list, in JSON or in any other notation."""
    return text.lstrip().startswith(_BRACKETS)
