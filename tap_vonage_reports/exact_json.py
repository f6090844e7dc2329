"""JSON from the API: decoded without loss or rejected, with limits on depth and on the number of values."""

from __future__ import annotations

import re
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from typing_extensions import Self

MAX_DEPTH = 64
"""Levels of objects and lists. Responses have five; encoders fail at a few hundred, which depends on the version of
Python and the depth of the call."""
MAX_VALUES = 1_000_000
"""Values in a text: 1,000 rows of as many columns as a table may have. A real page has less than 60,000. An empty list,
three bytes that compress a thousandfold, takes 64 bytes of memory once it is decoded."""
_NESTING = frozenset((dict, list))
_VALUE_STARTS = (b",", b"[", b"{")
"""Every value but the first follows one of these. Inside texts they count only where `_TOKEN` is not used."""
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|([,\[{])', re.DOTALL)


class TooManyValuesError(ValueError):
    """A text has more than `MAX_VALUES` values."""


class TooDeepError(ValueError):
    """A value has more than `MAX_DEPTH` levels."""


class ExactNumber(Decimal):
    """A number that `Decimal` writes differently, such as 4.0E-4.

    Attributes:
        text: The number as the API sent it.
    """

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        """Make a number from its text."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __reduce__(self) -> tuple[type[ExactNumber], tuple[str]]:
        """Keep the text in a pickle."""
        return ExactNumber, (self.text,)


def read_json(text: bytes | bytearray | str) -> Any:  # noqa: ANN401 - any JSON
    """Decode JSON.

    Args:
        text: JSON in UTF-8, or as text.

    Returns:
        The value. Numbers with a fraction or an exponent are `Decimal`, and `ExactNumber` if that writes them
        differently, or text if the exponent is too large. If an object has a name twice, the last value counts.

    Raises:
        TooManyValuesError: The text has more than `MAX_VALUES` values. It is not decoded.
        ValueError: The text is not JSON, has half a surrogate pair, an integer of more than 4300 digits, or more than
            `MAX_DEPTH` levels.
    """
    check_size(text)
    try:
        value = _decoder.decode(text)
    except RecursionError:
        raise TooDeepError from None
    return check_depth(value)


def check_depth(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return a value as it is.

    Raises:
        TooDeepError: It has more than `MAX_DEPTH` levels.
    """
    level = _nested([value])
    for _ in range(MAX_DEPTH + 1):
        if not level:
            return value
        level = [part for whole in level for part in _nested(whole.values() if isinstance(whole, dict) else whole)]
    raise TooDeepError


def encode_json(value: object) -> bytes:
    """Encode what `read_json` returned, in compact form and with every digit."""
    return _encoder.encode(value)


def check_size(text: bytes | bytearray | str) -> None:
    """Reject a JSON text without decoding it.

    Raises:
        TooManyValuesError: It has more than `MAX_VALUES` values.
    """
    if has_too_many_values(text):
        msg = f"more than {MAX_VALUES:,} values"
        raise TooManyValuesError(msg)


def has_too_many_values(text: bytes | bytearray | str) -> bool:
    """Return True if a JSON text has more than `MAX_VALUES` values, without decoding it."""
    if len(text) <= MAX_VALUES:
        return False
    content = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    if sum(map(content.count, _VALUE_STARTS)) < MAX_VALUES:
        return False
    # Long texts may be full of commas, so count again without them, up to the limit.
    starts = (token for token in _TOKEN.finditer(content) if token[1])
    return next(islice(starts, MAX_VALUES - 1, None), None) is not None


def _nested(values: Collection[Any]) -> list[Any]:
    """Return the objects and lists among values. Rows usually have none, which the first test sees fast."""
    if _NESTING.isdisjoint(map(type, values)):
        return []
    return [value for value in values if type(value) in _NESTING]


def exact_number(text: str) -> Decimal | str:
    """Return a number exactly, or as text if its exponent is too large for a Decimal."""
    with suppress(InvalidOperation):
        number = Decimal(text)
        return number if str(number) == text else ExactNumber(text)
    return text


def _raw(value: object) -> msgspec.Raw:
    """Return a number as it was sent, for the encoder, which knows only `Decimal` itself."""
    if isinstance(value, ExactNumber):
        return msgspec.Raw(value.text.encode())
    raise TypeError


_decoder = msgspec.json.Decoder(float_hook=exact_number)
_encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=_raw)


def texts_of(value: object) -> Iterator[str]:
    """Yield all texts in a JSON value, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts_of(part)
