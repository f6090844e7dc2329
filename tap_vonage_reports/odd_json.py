"""Lenient reader for JSON that the strict reader rejects: keeps as much as can be parsed."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

from tap_vonage_reports.exact_json import (
    MAX_DEPTH,
    TooDeepError,
    check_depth,
    check_size,
    encode_json,
    exact_number,
    read_json,
)
from tap_vonage_reports.odd_text import decode_text, escape_surrogates

MAX_DIGITS = 4300
"""Digits of an integer. Python rejects longer ones, because converting them takes time that grows with their square."""
ROW_LEVELS = 3
"""Levels of a page down to its rows: an object, the list of records, a row."""
_TEXT_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


class CutJsonError(ValueError):
    """The text ends before the value does."""


def read_odd_json(body: bytes | bytearray) -> Any:  # noqa: ANN401 - any JSON
    """Decode a body that `exact_json.read_json` rejects, as far as it can be understood.

    Returns:
        The value. Numbers are as exact as there. Half a surrogate pair, and a byte that is not UTF-8, are for
        `odd_text` to mend. An integer of more than `MAX_DIGITS`, ``NaN``, ``Infinity``, and a value of a row that is
        nested too deeply are text, as they came.

    Raises:
        TooManyValuesError: The body has more than `exact_json.MAX_VALUES` values. It is not decoded.
        CutJsonError: The body is the beginning of JSON.
        ValueError: The body is not JSON even so.
    """
    text = decode_text(body)
    check_size(text)
    try:
        with suppress(TooDeepError):
            return _decode(text)
        return _decode(_flatten(text))
    except json.JSONDecodeError as error:
        if error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated"):
            raise CutJsonError from None
        raise


def read_cell(text: str) -> Any:  # noqa: ANN401 - any JSON
    """Decode the JSON in a value of a row: strictly, or leniently if that fails.

    Returns:
        The value, as from `read_odd_json`.

    Raises:
        ValueError: The text is not JSON even so, or breaks a limit of `exact_json`.
    """
    with suppress(ValueError):
        return read_json(text)
    check_size(text)
    return _decode(text)


def encode_odd_json(value: Any) -> str:  # noqa: ANN401 - any JSON
    r"""Encode JSON as `exact_json.encode_json` does, with an escape (``\ud83d``) for half a surrogate pair."""
    with suppress(UnicodeEncodeError):
        return encode_json(value).decode()
    if isinstance(value, dict):
        return "{" + ",".join(f"{encode_odd_json(name)}:{encode_odd_json(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(encode_odd_json, value)) + "]"
    return escape_surrogates(json.dumps(value, ensure_ascii=False))


def _decode(text: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return check_depth(_decoder.decode(text))
    except RecursionError:
        raise TooDeepError from None


def _integer(text: str) -> int | str:
    return text if len(text.lstrip("-")) > MAX_DIGITS else int(text)


def _flatten(text: str) -> str:
    """Return a page whose rows have text where a value is nested too deeply."""
    parts, done, depth, start, deepest = [], 0, 0, 0, 0
    for found in _TEXT_OR_BRACKET.finditer(text):
        if found[0] in "[{":
            depth += 1
            if depth == ROW_LEVELS + 1:
                start, deepest = found.start(), 0
            deepest = max(deepest, depth)
        elif found[0] in "]}":
            if depth == ROW_LEVELS + 1 and deepest > MAX_DEPTH:
                parts += [text[done:start], json.dumps(text[start : found.end()], ensure_ascii=False)]
                done = found.end()
            depth -= 1
    return "".join([*parts, text[done:]])


_decoder = json.JSONDecoder(parse_float=exact_number, parse_int=_integer, parse_constant=str, strict=False)
