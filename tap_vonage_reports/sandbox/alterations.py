"""Alterations of rows: faults that make the rows themselves differ from the documented ones.

Each alteration takes a row and returns another one. None of them touches the date field, and only one touches the key,
so that a test can still expect every row.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Raw

from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox.faults import Fault
from tap_vonage_reports.sandbox.odd_bytes import LONG_NUMBER, ODD_TEXT
from tap_vonage_reports.sandbox.reference_data import REDACTED_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tap_vonage_reports.sandbox.rows import Row

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
KEPT = 2
"""The number of columns that stay, out of each three, when columns are missing."""


class Alteration(NamedTuple):
    """An alteration that is switched on: its fault, its interval in rows, and its value."""

    fault: Fault
    every: int
    value: str | float


@cache
def _protected(stream: str) -> frozenset[str]:
    """Return the columns that no alteration touches."""
    return frozenset({"id", PRODUCTS[stream].date_field})


@cache
def _unfit(stream: str) -> dict[str, str]:
    """Return, for each typed column, a text that does not fit it."""
    words = {"number": "n/a", "integer": "abc", "boolean": "maybe", "object": "[not an object"}
    columns: dict[str, str] = {}
    for name, schema in PRODUCTS[stream].schema["properties"].items():
        kind = schema["type"][0] if isinstance(schema["type"], list) else schema["type"]
        if name in _protected(stream) or name == "_extra":
            continue
        if schema.get("format") == "date-time":
            columns[name] = "the day before yesterday"
        elif kind in words:
            columns[name] = words[kind]
    return columns


def _extra_columns(row: Row, _stream: str, _direction: str, _value: str | float, /) -> Row:
    return {"carrier_fee": "0.00120000", **row, "rcs_agent": None, "surcharges": [{"kind": "tax", "rate": 19}]}


def _odd_columns(row: Row, _stream: str, _direction: str, value: str | float, /) -> Row:
    odd: Row = {
        "attempt_count": 7,
        "is_premium": True,
        "fee_parts": Raw(b'[1, 2.50, {"tax": 1E-8}]'),
        "fee_rate": Raw(b"1.0E+2"),
        "no_list": [],
    }
    return {**row, **odd, str(value): "1"}


def _params_as_text(row: Row, _stream: str, _direction: str, _value: str | float, /) -> Row:
    params = row.get("request_params")
    if not isinstance(params, dict):
        return row
    pairs = [f"{name}: '{text}'" for name, text in params.items() if not name.startswith("date_")]
    dates = [f"{name}'{_java_date(text)}'," for name, text in params.items() if name.startswith("date_")]
    text = f"{{{', '.join(pairs)}{''.join(dates)}}}"
    charged = {"is_charged": str(row["is_charged"]).lower()} if "is_charged" in row else {}
    return row | {"request_params": text} | charged


def _java_date(text: str) -> str:
    """Return a timestamp as Java writes a date: ``Thu Oct 07 00:00:00 UTC 2021``."""
    at = datetime.fromisoformat(text)
    return f"{_DAYS[at.weekday()]} {_MONTHS[at.month - 1]} {at:%d %H:%M:%S} UTC {at.year}"


def _moved_columns(row: Row, _stream: str, _direction: str, _value: str | float, /) -> Row:
    return dict(sorted(row.items(), reverse=True))


def _missing_columns(row: Row, stream: str, _direction: str, _value: str | float, /) -> Row:
    kept = _protected(stream)
    return {name: cell for number, (name, cell) in enumerate(row.items()) if name in kept or number % 3 < KEPT}


def _unfit_values(row: Row, stream: str, _direction: str, _value: str | float, /) -> Row:
    unfit = _unfit(stream)
    return {name: unfit.get(name, cell) for name, cell in row.items()}


def _redacted(row: Row, stream: str, direction: str, value: str | float, /) -> Row:
    fields = REDACTED_FIELDS.get(f"{stream}/{direction}", ())
    return row | {name: value for name in fields if name in row}


@cache
def _column(stream: str, kind: str) -> str:
    """Return a column of a kind that alterations may touch: one for free text of the customer's, if there is one."""
    columns = {
        name: spec
        for name, spec in PRODUCTS[stream].schema["properties"].items()
        if name not in _protected(stream) and "format" not in spec and kind in spec["type"]
    }
    return max(columns, key=lambda name: columns[name].get("personal") == "possible", default="")


def _with(row: Row, stream: str, kind: str, change: Callable[[str], str]) -> Row:
    """Return a row with a change in its first column of a kind, if it has one."""
    name = _column(stream, kind)
    return {**row, name: change(str(row[name] or ""))} if name in row else row


def _odd_text(row: Row, stream: str, _direction: str, value: str | float, /) -> Row:
    return _with(row, stream, "string", lambda text: text + ODD_TEXT[str(value)].stand_in)


def _nul_in_text(row: Row, stream: str, _direction: str, _value: str | float, /) -> Row:
    return _with(row, stream, "string", lambda text: f"{text[:2]}\0{text[2:]}")


def _long_number(row: Row, stream: str, _direction: str, _value: str | float, /) -> Row:
    return _with(row, stream, "number", lambda _: LONG_NUMBER.stand_in)


def _long_cell(row: Row, stream: str, _direction: str, value: str | float, /) -> Row:
    return _with(row, stream, "string", lambda text: text.ljust(int(value), "x"))


def _without_id(row: Row, _stream: str, _direction: str, value: str | float, /) -> Row:
    rest = {name: cell for name, cell in row.items() if name != "id"}
    return rest if value == "absent" else {**rest, "id": None if value == "null" else ""}


ALTERATIONS: Mapping[Fault, Callable[[Row, str, str, Any], Row]] = {
    Fault.REDACTED: _redacted,
    Fault.UNFIT_VALUES: _unfit_values,
    Fault.LONG_CELL: _long_cell,
    Fault.ODD_TEXT: _odd_text,
    Fault.NUL_IN_TEXT: _nul_in_text,
    Fault.LONG_NUMBER: _long_number,
    Fault.ROWS_WITHOUT_ID: _without_id,
    Fault.MISSING_COLUMNS: _missing_columns,
    Fault.PARAMS_AS_TEXT: _params_as_text,
    Fault.EXTRA_COLUMNS: _extra_columns,
    Fault.ODD_COLUMNS: _odd_columns,
    Fault.MOVED_COLUMNS: _moved_columns,
}
"""The alteration of each fault, in the order in which they apply."""


def altered(row: Row, stream: str, direction: str, number: int, alterations: tuple[Alteration, ...]) -> Row:
    """Return the row after all alterations that hit it.

    Args:
        row: The row as documented.
        stream: Name of its stream.
        direction: Its direction, or "".
        number: Its number within its hour, which decides whether an alteration hits it.
        alterations: The alterations that are switched on.
    """
    for alteration in alterations:
        if number % alteration.every == 0:
            row = ALTERATIONS[alteration.fault](row, stream, direction, alteration.value)
    return row
