"""What came over the wire -> a typed record. The sync and the async path both go through here.

The wire is loose: nearly every value is text, a missing one is `null`, `""` or not there, and columns
come and go [confirmed]. The same row gives the same record whichever way it came.
"""

from __future__ import annotations

import re
from collections import defaultdict
from contextlib import suppress
from decimal import Context, Decimal, Inexact, InvalidOperation
from itertools import starmap
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import asdict

from tap_vonage_reports.errors import RecordError
from tap_vonage_reports.exact_json import read_json
from tap_vonage_reports.timestamps import normalize_timestamp, normalize_timestamps

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

KEY_FIELD = "id"
EXTRA_FIELD = "_extra"
PLACES = 18
DIGITS = 38
"""Numbers are those that decimal128(38, 18), the type that BATCH files have for them, holds exactly: up to 20 digits
before the point and 18 behind it, less zeros at the end. Others stay as they came, in `_extra`."""
MAX_INTEGER = (1 << 63) - 1
"""And integers are those of int64."""
MAX_CACHED_VALUES = 4096
MAX_CACHED_CHARACTERS = 64
"""Texts of a field whose value is kept at hand, and the characters that one may have."""
MAX_COLUMNS = 1000
"""Different names that rows may have to be gone through by column: a table of rows that share none is their square."""
MAX_REPORTED_FIELDS = 100
"""Fields that are told of: whoever makes up names could do so without end."""

_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
# No more than two digits of exponent, so that nobody who writes a number out, zero or not, writes for long.
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)
_BOOLEANS = {"true": True, "false": False}
_LAST_PLACE = Decimal(1).scaleb(-PLACES)
_exact = Context(prec=DIGITS, traps=[Inexact, InvalidOperation])
_MISFIT: Final = object()
_TEXTS = frozenset((str, type(None)))
_NOTHING: Final = {None: None, "": None}


class RecordParser:
    """Makes typed records of one stream, many at once.

    It goes by column: most columns hold nothing but text that needs no conversion, or that has been converted before.
    What becomes of a value does not depend on the values around it.
    """

    def __init__(
        self,
        schema: Mapping[str, Any],
        aliases: Mapping[str, str] | None = None,
        on_mismatch: Callable[[str, str], None] = lambda _field, _why: None,
        fields: Collection[str] | None = None,
        transform: Mapping[str, Callable[[Any], Any]] | None = None,
    ) -> None:
        """Prepare a parser.

        Args:
            schema: The JSON Schema of the stream's records.
            aliases: Other names under which a field may come, and its name in the schema.
            on_mismatch: Told the first time that a field is unknown or a value does not fit: the field's
                name and the reason, never the value.
            fields: The fields that records have, by default all. The key is always one of them.
            transform: By field, `_extra` included, what makes of its values (not null) those that records have.
        """
        self.transform = dict(transform or {})
        specs = {name: spec for name, spec in schema["properties"].items() if name != EXTRA_FIELD}
        chosen = specs.keys() if fields is None else {KEY_FIELD, *fields}
        self._fields = {name: ColumnConverter(spec) for name, spec in specs.items() if name in chosen}
        self._with_extra = fields is None or EXTRA_FIELD in fields
        names = [*self._fields, EXTRA_FIELD] if self._with_extra else list(self._fields)
        # Of a struct, a dict is made in less time than `dict` takes.
        self._row = msgspec.defstruct("Row", [(name, Any) for name in names], gc=False)
        self._known = frozenset(specs)
        self._aliases = dict(aliases or {})
        self._on_mismatch = on_mismatch
        self._reported: set[str] = set()

    def parse(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Make a record of a row; many at once are made several times faster.

        Args:
            raw: As one of `parse_rows`.

        Returns:
            As one of `parse_rows`.

        Raises:
            RecordError: The row has no id.
        """
        return self.parse_rows((raw,))[0]

    def parse_rows(self, raws: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Make records of rows.

        Args:
            raws: The rows, values by field name, as JSON gave them.

        Returns:
            For each row all fields in the order of the schema. What is unknown or does not fit is in `_extra`, which
            is null when there is nothing of the kind.

        Raises:
            RecordError: A row has no id.
        """
        absent: dict[str, Any] = dict.fromkeys(set().union(*raws))
        if len(absent) > MAX_COLUMNS and len(raws) > 1:
            return [self.parse(raw) for raw in raws]
        columns = zip(*[{**absent, **raw}.values() for raw in raws], strict=True)
        return self._records(dict(zip(absent, columns, strict=True)), len(raws), only_texts=False)

    def parse_cells(self, header: Sequence[str], columns: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        """Make records of the rows of a table.

        Args:
            header: The names of the columns.
            columns: The cells of each, all equally many.

        Returns:
            As `parse_rows` of the rows.

        Raises:
            RecordError: A row has no id.
        """
        return self._records(dict(zip(header, columns, strict=True)), len(columns[0]), only_texts=True)

    def _records(self, raw: dict[str, Sequence[Any]], count: int, *, only_texts: bool) -> list[dict[str, Any]]:
        """Records of columns, known and unknown ones, in any order."""
        extras: defaultdict[int, dict[str, Any]] = defaultdict(dict)
        for name in sorted(raw.keys() - self._known):
            self._apply_alias(raw, name, extras)
        nothing = [None] * count
        columns: dict[str, Sequence[Any]] = {
            name: self._convert_column(name, field, raw[name], extras, only_texts=only_texts)
            if name in raw
            else nothing
            for name, field in self._fields.items()
        }
        if not all(columns[KEY_FIELD]):
            msg = (
                "A record came without its id, so it cannot be written without risk of loss. The window stays open; "
                "if this lasts, ask Vonage support, or deselect the stream."
            )
            raise RecordError(msg)
        if self._with_extra:
            # Sorted, so that the order in which columns come does not show.
            columns[EXTRA_FIELD] = [
                dict(sorted(extras[row].items())) if row in extras else None for row in range(count)
            ]
        for name in self.transform.keys() & columns.keys():
            hide = self.transform[name]
            columns[name] = [None if value is None else hide(value) for value in columns[name]]
        return list(map(asdict, starmap(self._row, zip(*columns.values(), strict=True))))

    def _apply_alias(self, raw: dict[str, Sequence[Any]], name: str, extras: Mapping[int, dict[str, Any]]) -> None:
        """Move the values of an unknown column into the field that has come under this name, or else aside."""
        values = raw.pop(name)
        known_as = self._aliases.get(name)
        if known_as:
            own = raw.get(known_as, [None] * len(values))
            pairs = list(zip(own, values, strict=True))
            raw[known_as] = [other if _is_empty(value) else value for value, other in pairs]
            values = [None if _is_empty(value) else other for value, other in pairs]
        for row, value in enumerate(values):
            if not _is_empty(value):
                extras[row][name] = value
                self._report(name, "is unknown")

    def _convert_column(
        self,
        name: str,
        field: ColumnConverter,
        raw: Sequence[Any],
        extras: Mapping[int, dict[str, Any]],
        *,
        only_texts: bool,
    ) -> Sequence[Any]:
        """The values of a known column; those that do not fit are put aside."""
        if only_texts or _are_texts(raw):
            with suppress(ValueError):  # then one by one, to see which do not fit
                return field.convert_texts(raw)
        values = [None if _is_empty(value) else field.convert(value) for value in raw]
        for row, value in enumerate(values):
            if value is _MISFIT:
                values[row] = None
                extras[row][name] = raw[row]
                self._report(name, "has a value that does not fit its type")
        return values

    def _report(self, name: str, why: str) -> None:
        if name not in self._reported and len(self._reported) < MAX_REPORTED_FIELDS:
            self._reported.add(name)
            self._on_mismatch(name, why)


def kind_of(spec: Mapping[str, Any]) -> str:
    """The one kind of values that a field of a schema has, null apart: its format where it has one, else its type."""
    kinds = {spec["type"]} if isinstance(spec["type"], str) else set(spec["type"]) - {"null"}
    return str(spec.get("format") or kinds.pop())


class ColumnConverter:
    """How the values of one field are converted.

    Attributes:
        convert: Converts a value that is not empty; gives `_MISFIT` for one that does not fit.
        convert_texts: Does the same to many texts, None and empty ones among them, and faster; raises a ValueError
            when one does not fit, or when it knows no faster way.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.convert = _CONVERTERS[kind_of(spec)]
        self.convert_texts = _FASTER.get(self.convert) or ConversionCache(self.convert).convert_texts


class ConversionCache(dict["str | None", Any]):
    """What became of texts: counts, prices and flags are few, and come again and again."""

    def __init__(self, convert: Callable[[Any], Any]) -> None:
        super().__init__(_NOTHING)
        self._convert = convert

    def convert_texts(self, texts: Iterable[str | None]) -> list[Any]:
        """Return the values of texts, converting those that are not cached."""
        return [self[text] for text in texts]

    def __missing__(self, text: str) -> Any:  # noqa: ANN401 - whatever a record holds
        value = self._convert(text)
        if value is _MISFIT:
            raise ValueError
        if len(self) >= MAX_CACHED_VALUES:
            self.clear()
            self.update(_NOTHING)
        if text and len(text) <= MAX_CACHED_CHARACTERS:
            self[text] = value
        return value


def _is_empty(value: Any) -> bool:  # noqa: ANN401 - whatever JSON holds
    return value is None or value == ""


def _are_texts(values: Sequence[Any]) -> bool:
    """Whether all values are texts or None. That they can be joined is the fastest proof."""
    with suppress(TypeError):
        "".join(values)
        return True
    return _TEXTS.issuperset(map(type, values))


def _strings(texts: Sequence[str | None]) -> Sequence[str | None]:
    return texts if all(texts) else [text or None for text in texts]


def _objects(_texts: Sequence[str | None]) -> Sequence[Any]:
    """No two records share an object, for whoever gets them may change it."""
    raise ValueError


def _to_string(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, Decimal)) else _MISFIT


def _to_time(value: Any) -> Any:  # noqa: ANN401
    return (isinstance(value, str) and normalize_timestamp(value)) or _MISFIT


def _to_integer(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    number = _to_number(value)
    if number is _MISFIT:
        return _MISFIT
    whole = int(number)
    return whole if whole == number and abs(whole) <= MAX_INTEGER else _MISFIT


def _to_number(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, bool):
        return _MISFIT
    text = value if isinstance(value, str) else str(value)
    if not _DECIMAL.fullmatch(text):
        return _MISFIT
    number = value if isinstance(value, Decimal) else Decimal(text)
    try:
        number.quantize(_LAST_PLACE, context=_exact)
    except (Inexact, InvalidOperation):
        return _MISFIT
    return number


def _to_boolean(value: Any) -> Any:  # noqa: ANN401
    return value if isinstance(value, bool) else _BOOLEANS.get(str(value).lower(), _MISFIT)


def _to_object(value: Any) -> Any:  # noqa: ANN401
    """An object as it is, or out of the JSON text that a CSV cell probably holds [unknown]; its keys sorted."""
    if isinstance(value, str):
        try:
            value = read_json(value)
        except ValueError:
            return _MISFIT
    return dict(sorted(value.items())) if isinstance(value, dict) else _MISFIT


_CONVERTERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "string": _to_string,
    "date-time": _to_time,
    "integer": _to_integer,
    "number": _to_number,
    "boolean": _to_boolean,
    "object": _to_object,
}
_FASTER: Final[Mapping[Callable[[Any], Any], Callable[[Sequence[str | None]], Sequence[Any]]]] = {
    _to_string: _strings,
    _to_time: normalize_timestamps,
    _to_object: _objects,
}
