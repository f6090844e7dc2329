"""Values of records as text, for loaders that would change numbers or cannot store objects."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

from tap_vonage_reports.records.parser import DECIMAL_PRECISION, DECIMAL_SCALE, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal
    from typing import TypeAlias

    Transform: TypeAlias = Callable[[Any], Any]

DECIMAL_FORMAT = "x-singer.decimal"
"""The format of text that is a number, as the Singer SDK names it."""
_DIGITS: Final[Mapping[str, int]] = {"precision": DECIMAL_PRECISION, "scale": DECIMAL_SCALE}


def decimal_text(number: Decimal) -> str:
    """Return a number with all its digits, never with an exponent."""
    return format(number, "f")


def text_transforms(schema: Mapping[str, Any]) -> dict[str, Transform]:
    """Return the functions that make text of decimals, by field.

    Args:
        schema: The JSON Schema of a stream's records.
    """
    return {name: decimal_text for name, spec in schema["properties"].items() if kind_of(spec) == "number"}


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
