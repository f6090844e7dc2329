"""What came over the wire -> a typed record. The sync and the async path both go through here.

The wire is loose: nearly every value is text, a missing one is `null`, `""` or not there, and columns
come and go [confirmed]. The same row gives the same record whichever way it came.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tap_vonage_reports.errors import RecordError
from tap_vonage_reports.times import canonical_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KEY = "id"
EXTRA = "_extra"
MAX_EXPONENT = 40
"""Numbers beyond 10^40 or finer than 10^-40 are no prices; they stay as they came, in `_extra`."""

_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_BOOLEANS = {"true": True, "false": False}
_MISFIT: Final = object()
_json = msgspec.json.Decoder(float_hook=Decimal)


class RecordParser:
    """Makes typed records of one stream."""

    def __init__(
        self,
        schema: Mapping[str, Any],
        aliases: Mapping[str, str] | None = None,
        surprised: Callable[[str, str], None] = lambda _field, _why: None,
    ) -> None:
        """Prepare a parser.

        Args:
            schema: The JSON Schema of the stream's records.
            aliases: Other names under which a field may come, and its name in the schema.
            surprised: Told the first time that a field is unknown or a value does not fit: the field's
                name and the reason, never the value.
        """
        self._fields = [(name, _converter(spec)) for name, spec in schema["properties"].items() if name != EXTRA]
        self._known = {name for name, _ in self._fields}
        self._aliases = dict(aliases or {})
        self._surprised = surprised
        self._reported: set[str] = set()

    def parse(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Make a record of a row.

        Args:
            raw: The row, values by field name, as JSON or CSV gave them.

        Returns:
            All fields of the schema in its order. What is unknown or does not fit is in `_extra`, which is
            null when there is nothing of the kind.

        Raises:
            RecordError: The row has no id.
        """
        extra: dict[str, Any] = {}
        row = self._known_names(raw, extra)
        record: dict[str, Any] = {}
        for name, convert in self._fields:
            value = row.get(name)
            if value is None or value == "":
                record[name] = None
                continue
            converted = convert(value)
            if converted is _MISFIT:
                extra[name] = value
                self._report(name, "has a value that does not fit its type")
                converted = None
            record[name] = converted
        if record[KEY] is None:
            msg = (
                "A record came without its id, so it cannot be written without risk of loss. The window stays open; "
                "if this lasts, ask Vonage support, or deselect the stream."
            )
            raise RecordError(msg)
        # Sorted, so that the order in which columns come does not show.
        record[EXTRA] = dict(sorted(extra.items())) if extra else None
        return record

    def _known_names(self, raw: Mapping[str, Any], extra: dict[str, Any]) -> Mapping[str, Any]:
        unknown = raw.keys() - self._known
        if not unknown:
            return raw
        row = dict(raw)
        for name in unknown:
            value = row.pop(name)
            if value is None or value == "":
                continue
            known_as = self._aliases.get(name)
            if known_as and row.get(known_as) in (None, ""):
                row[known_as] = value
                continue
            extra[name] = value
            self._report(name, "is unknown")
        return row

    def _report(self, name: str, why: str) -> None:
        if name not in self._reported:
            self._reported.add(name)
            self._surprised(name, why)


def _converter(spec: Mapping[str, Any]) -> Callable[[Any], Any]:
    kinds = {spec["type"]} if isinstance(spec["type"], str) else set(spec["type"]) - {"null"}
    return _CONVERTERS[kinds.pop(), spec.get("format")]


def _to_string(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, Decimal)) else _MISFIT


def _to_time(value: Any) -> Any:  # noqa: ANN401
    return (isinstance(value, str) and canonical_time(value)) or _MISFIT


def _to_integer(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    number = _to_number(value)
    return int(number) if isinstance(number, Decimal) and number == number.to_integral_value() else _MISFIT


def _to_number(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, bool):
        return _MISFIT
    text = value if isinstance(value, str) else str(value)
    if not _DECIMAL.fullmatch(text):
        return _MISFIT
    number = value if isinstance(value, Decimal) else Decimal(text)
    return number if abs(number.adjusted()) <= MAX_EXPONENT else _MISFIT


def _to_boolean(value: Any) -> Any:  # noqa: ANN401
    return value if isinstance(value, bool) else _BOOLEANS.get(str(value).lower(), _MISFIT)


def _to_object(value: Any) -> Any:  # noqa: ANN401
    """An object as it is, or out of the JSON text that a CSV cell probably holds [unknown]; its keys sorted."""
    if isinstance(value, str):
        try:
            value = _json.decode(value)
        except msgspec.DecodeError:
            return _MISFIT
    return dict(sorted(value.items())) if isinstance(value, dict) else _MISFIT


_CONVERTERS: Final[Mapping[tuple[str, str | None], Callable[[Any], Any]]] = {
    ("string", None): _to_string,
    ("string", "date-time"): _to_time,
    ("integer", None): _to_integer,
    ("number", None): _to_number,
    ("boolean", None): _to_boolean,
    ("object", None): _to_object,
}
