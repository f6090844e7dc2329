"""Typed records from rows of JSON and cells of CSV, the same for both.

Nearly every value in an answer is text, a missing one is ``null``, ``""`` or absent, and columns appear and disappear
[confirmed]. A row gives the same record whether it comes from a page or a report.
"""

from __future__ import annotations

import re
from collections import defaultdict
from contextlib import suppress
from decimal import Context, Decimal, Inexact, InvalidOperation
from itertools import starmap
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from msgspec.structs import asdict

from tap_vonage_reports.products import Product
from tap_vonage_reports.records.cell_text import cell_text, extra_text
from tap_vonage_reports.records.content_key import content_key, content_text
from tap_vonage_reports.records.odd_rows import ORIGINALS
from tap_vonage_reports.records.parameters import MendedObject, read_object
from tap_vonage_reports.records.record import Record
from tap_vonage_reports.timestamps import normalize_timestamp, normalize_timestamps

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

KEY_FIELD = Product.key_field
EXTRA_FIELD = "_extra"
DECIMAL_PRECISION = 38
DECIMAL_SCALE = 18
"""A number fits its type if decimal128(38, 18), the type of BATCH files, holds it exactly: up to 20 digits before the
point and 18 behind it, apart from trailing zeros. Any other number goes into `_extra`."""
MAX_INTEGER = (1 << 63) - 1
"""An integer fits its type if int64 holds it."""
MAX_CACHED_VALUES = 4096
"""Converted texts of a field that are cached."""
MAX_CACHED_CHARACTERS = 64
"""Characters of a cached text."""
MAX_COLUMNS = 1000
"""Different field names up to which rows are converted by column. Beyond it, rows that share no name would fill a table
whose size is the square of their number."""
MAX_REPORTED_FIELDS = 100
"""Fields that `on_mismatch` is called for. An answer can invent any number of names."""
IS_ODD = "has characters that are not valid and become U+FFFD"
IS_MISSING = "is missing"
"""Reasons that `on_mismatch` is called with, the latter for the key only."""

_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
# Two digits of exponent at most, so that no number is long when it is written out.
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)
_BOOLEANS = {"true": True, "false": False}
_LAST_PLACE = Decimal(1).scaleb(-DECIMAL_SCALE)
_exact = Context(prec=DECIMAL_PRECISION, traps=[Inexact, InvalidOperation])
_MISFIT: Final = object()
_TEXT_TYPES = frozenset((str, type(None)))
_EMPTY_VALUES: Final = {None: None, "": None}


class RecordParser:
    """A parser for the rows of one stream.

    It converts many rows at a time, column by column, because most columns hold only text that needs no conversion or
    was converted before. The result for a row never depends on the other rows.

    Attributes:
        transform: By field, the function that hides personal data in a value (see `personal_data`).
        odd_rows: How many rows had text that is not valid (see `odd_text`).
        rows_without_id: How many rows got a key made from their content.
        key_field: The field that identifies a record.
    """

    def __init__(  # noqa: PLR0913 - what a record is made of
        self,
        schema: Mapping[str, Any],
        aliases: Mapping[str, str] | None = None,
        on_mismatch: Callable[[str, str], None] = lambda _field, _why: None,
        fields: Collection[str] | None = None,
        transform: Mapping[str, Callable[[Any], Any]] | None = None,
        *,
        key_field: str = KEY_FIELD,
        make_key: Callable[[Mapping[str, str]], str] = content_key,
    ) -> None:
        """Prepare a parser.

        Args:
            schema: The JSON Schema of the stream's records.
            aliases: Other names of fields that the API has used, and for each the name in the schema.
            on_mismatch: Called with a field's name and the reason the first time that the field is unknown or one of
                its values does not fit its type. Never gets the value.
            fields: The fields of the records; None for all. The key is always among them.
            transform: By field, `_extra` included, a function from a value (not null) to the value in the record.
            key_field: The field that identifies a record.
            make_key: Makes the key of a row without one from the texts of its other fields by name.
        """
        self.transform = dict(transform or {})
        self.odd_rows = self.rows_without_id = 0
        self.key_field, self._make_key = key_field, make_key
        specs = {name: spec for name, spec in schema["properties"].items() if name != EXTRA_FIELD}
        chosen = specs.keys() if fields is None else {self.key_field, *fields}
        self._converters = {name: ColumnConverter(spec) for name, spec in specs.items()}
        self._fields = {name: converter for name, converter in self._converters.items() if name in chosen}
        self._with_extra = fields is None or EXTRA_FIELD in fields
        names = [*self._fields, EXTRA_FIELD] if self._with_extra else list(self._fields)
        record = msgspec.defstruct("Record", [(name, Any) for name in names], bases=(Record,), gc=False)
        self._record = cast("type[Record]", record)
        self._known = frozenset(specs)
        self._aliases = dict(aliases or {})
        self._on_mismatch = on_mismatch
        self._reported: set[str] = set()

    def parse(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Parse one row. `parse_rows` is several times faster for many.

        Args:
            raw: The row, as in `parse_rows`.

        Returns:
            The record as a dictionary, otherwise as in `parse_rows`.
        """
        return asdict(self.parse_rows((raw,))[0])

    def parse_rows(self, raws: Sequence[Mapping[str, Any]]) -> list[Record]:
        """Parse rows of JSON.

        Args:
            raws: The rows: values of any JSON type by field name.

        Returns:
            One record for each row, with all fields in the order of the schema. Unknown fields and values that do not
            fit their type are in `_extra`, as the text that a CSV cell would hold. It is None if there are none. A row
            without an ``id`` has a key that is made of its content.
        """
        absent: dict[str, Any] = dict.fromkeys(set().union(*raws))
        if len(absent) > MAX_COLUMNS and len(raws) > 1:
            return [self.parse_rows((raw,))[0] for raw in raws]
        columns = zip(*[{**absent, **raw}.values() for raw in raws], strict=True)
        return self._records(dict(zip(absent, columns, strict=True)), len(raws), only_texts=False)

    def parse_cells(self, header: Sequence[str], columns: Sequence[Sequence[str]]) -> list[Record]:
        """Parse cells of CSV.

        Args:
            header: The names of the columns.
            columns: The cells of each column, the same number in all. Empty ones are missing values.

        Returns:
            One record for each row, as in `parse_rows`.
        """
        return self._records(dict(zip(header, columns, strict=True)), len(columns[0]), only_texts=True)

    def _records(self, raw: dict[str, Sequence[Any]], count: int, *, only_texts: bool) -> list[Record]:
        """Build records from columns by field name, known and unknown ones, in any order."""
        extras: defaultdict[int, dict[str, str]] = defaultdict(dict)
        originals = {row: of_row for row, of_row in enumerate(raw.pop(ORIGINALS, ())) if of_row}
        for name in sorted(raw.keys() - self._known):
            self._apply_alias(raw, name, extras)
        nothing = [None] * count
        columns: dict[str, Sequence[Any]] = {
            name: self._convert_column(name, field, raw[name], extras, originals, only_texts=only_texts)
            if name in raw
            else nothing
            for name, field in self._fields.items()
        }
        self._keep_originals(originals, columns, extras)
        keys = columns[self.key_field]
        if not all(keys) or any(map(str.isspace, keys)):
            columns[self.key_field] = [
                key
                if key and not key.isspace()
                else self._key_of_content(
                    {name: values[row] for name, values in raw.items()}, originals.get(row, {}), extras.get(row, {})
                )
                for row, key in enumerate(keys)
            ]
        if self._with_extra:
            # Sorted, so that records do not depend on the order of columns.
            columns[EXTRA_FIELD] = [
                dict(sorted(extras[row].items())) if row in extras else None for row in range(count)
            ]
        for name in self.transform.keys() & columns.keys():
            transform = self.transform[name]
            columns[name] = [None if value is None else transform(value) for value in columns[name]]
        return list(starmap(self._record, zip(*columns.values(), strict=True)))

    def _apply_alias(self, raw: dict[str, Sequence[Any]], name: str, extras: Mapping[int, dict[str, str]]) -> None:
        """Move the values of an unknown column to the field that has this alias, or to `_extra`."""
        values = raw.pop(name)
        known_as = self._aliases.get(name)
        if known_as:
            # A row may have the field under both names. Then the value of the alias goes to `_extra`.
            pairs = list(zip(raw.get(known_as, [None] * len(values)), values, strict=True))
            raw[known_as] = [alias_value if _is_empty(value) else value for value, alias_value in pairs]
            values = [None if _is_empty(value) else alias_value for value, alias_value in pairs]
        for row, value in enumerate(values):
            if text := cell_text(value):
                extras[row][name] = extra_text(text)
                self._report(name, "is unknown")

    def _keep_originals(
        self,
        originals: Mapping[int, Mapping[str, str]],
        columns: dict[str, Sequence[Any]],
        extras: Mapping[int, dict[str, str]],
    ) -> None:
        """Put into `_extra` what odd values were before they were mended. A key stays what it was, written out."""
        self.odd_rows += len(originals)
        for row, of_row in originals.items():
            for name, original in of_row.items():
                if name == self.key_field:
                    columns[name] = [*columns[name][:row], original, *columns[name][row + 1 :]]
                elif self._aliases.get(name, name) not in self._known - self._fields.keys():
                    extras[row][name] = original
                self._report(name, IS_ODD)

    def _key_of_content(self, row: Mapping[str, Any], originals: Mapping[str, str], extra: Mapping[str, str]) -> str:
        """Return the key of a row without an ``id``, whatever fields are selected."""
        self.rows_without_id += 1
        self._report(self.key_field, IS_MISSING)
        content = {name: text for name, text in extra.items() if name not in self._known}
        for name, value in row.items():
            if text := cell_text(value):
                converted = self._converters[name].convert(text)
                is_as_sent = converted is _MISFIT or type(converted) is MendedObject
                content[name] = extra_text(text) if is_as_sent else content_text(converted)
        content.update({self._aliases.get(name, name): original for name, original in originals.items()})
        return self._make_key(content)

    def _convert_column(  # noqa: PLR0913 - a column, and where what does not fit goes
        self,
        name: str,
        field: ColumnConverter,
        raw: Sequence[Any],
        extras: Mapping[int, dict[str, str]],
        originals: dict[int, dict[str, str]],
        *,
        only_texts: bool,
    ) -> Sequence[Any]:
        """Return the values of a known column. Those that do not fit its type go to `_extra`."""
        if only_texts or _are_texts(raw):
            with suppress(ValueError):  # some do not fit: find them one by one
                return field.convert_texts(raw)
        texts = [cell_text(value) for value in raw]
        values = [field.convert(text) if text else None for text in texts]
        for row, value in enumerate(values):
            if value is _MISFIT or (name == self.key_field and isinstance(raw[row], (dict, list))):
                values[row] = None
                extras[row][name] = extra_text(texts[row] or "")
                self._report(name, "has a value that does not fit its type")
            elif type(value) is MendedObject:
                values[row] = dict(value)
                originals.setdefault(row, {}).setdefault(name, extra_text(texts[row] or ""))
        return values

    def _report(self, name: str, why: str) -> None:
        if name not in self._reported and len(self._reported) < MAX_REPORTED_FIELDS:
            self._reported.add(name)
            self._on_mismatch(name, why)


def kind_of(spec: Mapping[str, Any]) -> str:
    """Return the kind of values of a field: its format in the JSON Schema, or its type other than null."""
    kinds = {spec["type"]} if isinstance(spec["type"], str) else set(spec["type"]) - {"null"}
    return str(spec.get("format") or kinds.pop())


class ColumnConverter:
    """A converter for the values of one field.

    Attributes:
        convert: Converts one text that is not empty. Returns `_MISFIT` if it does not fit the type.
        convert_texts: Converts many texts, faster. None and empty texts become None. Raises ValueError if one does not
            fit the type, or if there is no faster way.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.convert = _CONVERTERS[kind_of(spec)]
        self.convert_texts = _BULK_CONVERTERS.get(self.convert) or ConversionCache(self.convert).convert_texts


class ConversionCache(dict["str | None", Any]):
    """The converted values of texts. Few different counts, prices and flags make up most of a column."""

    def __init__(self, convert: Callable[[Any], Any]) -> None:
        super().__init__(_EMPTY_VALUES)
        self._convert = convert

    def convert_texts(self, texts: Iterable[str | None]) -> list[Any]:
        """Return the values of texts, converting those that are not cached."""
        return [self[text] for text in texts]

    def __missing__(self, text: str) -> Any:  # noqa: ANN401 - any value of a record
        value = self._convert(text)
        if value is _MISFIT:
            raise ValueError
        if len(self) >= MAX_CACHED_VALUES:
            self.clear()
            self.update(_EMPTY_VALUES)
        if text and len(text) <= MAX_CACHED_CHARACTERS:
            self[text] = value
        return value


def _is_empty(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    return value is None or value == ""


def _are_texts(values: Sequence[Any]) -> bool:
    """Return True if all values are texts or None. Joining them is the fastest test for texts alone."""
    with suppress(TypeError):
        "".join(values)
        return True
    return _TEXT_TYPES.issuperset(map(type, values))


def _strings(texts: Sequence[str | None]) -> Sequence[str | None]:
    return texts if all(texts) else [text or None for text in texts]


def _objects(_texts: Sequence[str | None]) -> Sequence[Any]:
    """Decline, because a cache would let two records share an object that a consumer may change."""
    raise ValueError


def _to_string(text: str) -> Any:  # noqa: ANN401 - any value of a record, or _MISFIT
    return text


def _to_time(text: str) -> Any:  # noqa: ANN401
    return normalize_timestamp(text) or _MISFIT


def _to_integer(text: str) -> Any:  # noqa: ANN401
    if _INTEGER.fullmatch(text):
        return int(text)
    number = _to_number(text)
    if number is _MISFIT:
        return _MISFIT
    whole = int(number)
    return whole if whole == number and abs(whole) <= MAX_INTEGER else _MISFIT


def _to_number(text: str) -> Any:  # noqa: ANN401
    if not _DECIMAL.fullmatch(text):
        return _MISFIT
    number = Decimal(text)
    try:
        number.quantize(_LAST_PLACE, context=_exact)
    except (Inexact, InvalidOperation):
        return _MISFIT
    return number


def _to_boolean(text: str) -> Any:  # noqa: ANN401
    return _BOOLEANS.get(text.lower(), _MISFIT)


def _to_object(text: str) -> Any:  # noqa: ANN401
    found = read_object(text)
    return _MISFIT if found is None else found


_CONVERTERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "string": _to_string,
    "date-time": _to_time,
    "integer": _to_integer,
    "number": _to_number,
    "boolean": _to_boolean,
    "object": _to_object,
}
_BULK_CONVERTERS: Final[Mapping[Callable[[str], Any], Callable[[Sequence[str | None]], Sequence[Any]]]] = {
    _to_string: _strings,
    _to_time: normalize_timestamps,
    _to_object: _objects,
}
