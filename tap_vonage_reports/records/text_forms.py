"""Values of records as text, for loaders that would change numbers or cannot store objects."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tap_vonage_reports.records.parser import DECIMAL_PRECISION, DECIMAL_SCALE, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from decimal import Decimal
    from typing import TypeAlias

    Transform: TypeAlias = Callable[[Any], Any]

DECIMAL_FORMAT = "x-singer.decimal"
"""The format of text that is a number, as the Singer SDK names it."""
JSON_MEDIA_TYPE = "application/json"
"""The keyword `contentMediaType` of text that is an object."""
_DIGITS: Final[Mapping[str, int]] = {"precision": DECIMAL_PRECISION, "scale": DECIMAL_SCALE}


def decimal_text(number: Decimal) -> str:
    """Return a number with all its digits, never with an exponent."""
    return format(number, "f")


def object_text(value: Mapping[str, Any]) -> str:
    """Return an object as the JSON text that a RECORD message has for it, with every digit of its numbers."""
    return _encoder.encode(value).decode()


def text_transforms(
    schema: Mapping[str, Any], transforms: Mapping[str, Transform], kinds: Collection[str]
) -> dict[str, Transform]:
    """Return the functions from a value to the value in a record, by field, if some kinds of values become text.

    Args:
        schema: The JSON Schema of a stream's records.
        transforms: The functions to apply before, by field. A value may become None.
        kinds: The kinds of fields that become text: ``number``, ``object``.
    """
    found = dict(transforms)
    for name, spec in schema["properties"].items():
        kind = kind_of(spec)
        if kind in kinds:
            before = transforms.get(name)
            found[name] = partial(_in_turn, before, _AS_TEXT[kind]) if before else _AS_TEXT[kind]
    return found


def with_digits(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema in which decimals as text have a precision and a scale. Loaders without these cut digits off.

    Args:
        schema: A JSON Schema. The SDK's own class drops keywords that it does not know, so these are added last.
    """
    names = [name for name, spec in schema.get("properties", {}).items() if spec.get("format") == DECIMAL_FORMAT]
    if not names:
        return schema
    schema = deepcopy(schema)
    for name in names:
        schema["properties"][name].update(_DIGITS)
    return schema


def _in_turn(first: Transform, then: Transform, value: object) -> Any:  # noqa: ANN401 - any value of a record
    changed = first(value)
    return None if changed is None else then(changed)


_encoder = msgspec.json.Encoder(decimal_format="number")
_AS_TEXT: Final[Mapping[str, Transform]] = {"number": decimal_text, "object": object_text}
