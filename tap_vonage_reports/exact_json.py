"""JSON from the API: decoded without loss, or rejected, and bounded in depth."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

MAX_DEPTH = 64
"""Levels of objects and lists. Responses have five; encoders fail at a few hundred, which depends on the version of
Python and the depth of the call."""
_NESTING = frozenset((dict, list))


def read_json(text: bytes | bytearray | str) -> Any:  # noqa: ANN401 - any JSON
    """Decode JSON.

    Args:
        text: JSON in UTF-8, or as text.

    Returns:
        The value. Numbers with a fraction or an exponent are `Decimal`, or text if the exponent is too large for one.
        If an object has a name twice, the last value counts.

    Raises:
        ValueError: The text is not JSON, has half a surrogate pair, an integer of more than 4300 digits, or more than
            `MAX_DEPTH` levels.
    """
    try:
        value = _decoder.decode(text)
    except RecursionError:
        raise _too_deep() from None
    level = _nested([value])
    for _ in range(MAX_DEPTH + 1):
        if not level:
            return value
        level = [part for whole in level for part in _nested(whole.values() if isinstance(whole, dict) else whole)]
    raise _too_deep()


def _nested(values: Collection[Any]) -> list[Any]:
    """Return the objects and lists among values. Rows usually have none, which the first test sees fast."""
    if _NESTING.isdisjoint(map(type, values)):
        return []
    return [value for value in values if type(value) in _NESTING]


def _number(text: str) -> Decimal | str:
    """Return a number exactly, or as text if its exponent is too large for a Decimal."""
    with suppress(InvalidOperation):
        return Decimal(text)
    return text


def _too_deep() -> ValueError:
    return ValueError("nested too deeply")


_decoder = msgspec.json.Decoder(float_hook=_number)


def texts_of(value: object) -> Iterator[str]:
    """Yield all texts in a JSON value, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts_of(part)
