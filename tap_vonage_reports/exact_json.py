"""JSON as it comes over the wire: read exactly, or refused, and never deeper than it can be written again."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

MAX_DEPTH = 64
"""Objects and lists within each other. Answers have five levels; what writes and stores records stops at a few hundred,
earlier or later according to the version of Python and who calls."""
_NESTING = frozenset((dict, list))


def read_json(text: bytes | bytearray | str) -> Any:  # noqa: ANN401 - any JSON
    """Read JSON.

    Args:
        text: UTF-8, or text that has been decoded.

    Returns:
        What it says; numbers with a fraction or an exponent are `Decimal`, or text if they are beyond that. Of the
        members of an object that have the same name, the last one counts.

    Raises:
        ValueError: It is not JSON, holds text that is not Unicode (half a surrogate pair), an integer of more than
            4300 digits, or more than `MAX_DEPTH` levels.
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
    """The objects and lists among values. Rows of an answer have none, as a rule, and that is seen fast."""
    if _NESTING.isdisjoint(map(type, values)):
        return []
    return [value for value in values if type(value) in _NESTING]


def _number(text: str) -> Decimal | str:
    """The number, exactly; as text if its exponent is beyond any that a Decimal has."""
    with suppress(InvalidOperation):
        return Decimal(text)
    return text


def _too_deep() -> ValueError:
    return ValueError("nested too deeply")


_decoder = msgspec.json.Decoder(float_hook=_number)


def texts_of(value: object) -> Iterator[str]:
    """All texts in a JSON value, down to the deepest."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts_of(part)
