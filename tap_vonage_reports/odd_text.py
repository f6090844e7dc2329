r"""Text that no target accepts (half a surrogate pair, a byte that is not UTF-8, U+0000): found, replaced, escaped.

Each becomes U+FFFD in the value. The original is escaped in ASCII: ``\ud83d`` for half a surrogate pair, ``\xe9``
for a byte, ``\u0000``; in text, a backslash is doubled, so that nothing is lost.
"""

from __future__ import annotations

import codecs
import re
from typing import Any

REPLACEMENT = "\ufffd"
MARK = "\U0010ffff"
"""Stands before what cannot be decoded: ``0`` for U+0000, else the byte as a character. It is a noncharacter, and
looking for it in text that has no such characters takes no time."""

_ODD = re.compile(f"{MARK}\xed{MARK}[\xa0-\xbf]{MARK}[\x80-\xbf]|{MARK}[0\x80-\xff]|[\ud800-\udfff\0]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def _mark_bytes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(MARK + chr(byte) for byte in error.object[error.start : error.end]), error.end


ERRORS = "tap_vonage_reports.mark_bytes"
"""The error handler for decoding UTF-8 so that `mend_text` finds the bytes that are none."""
codecs.register_error(ERRORS, _mark_bytes)


def decode_text(content: bytes | bytearray) -> str:
    """Decode UTF-8, or UTF-16 with a byte order mark, whatever the bytes are."""
    if content.startswith(_UTF16_MARKS):
        return bytes(content).decode("utf-16", "surrogatepass")
    return content.decode("utf-8-sig", ERRORS)


def mark_nulls(text: str) -> str:
    """Return a text with marks for U+0000."""
    return text.replace("\0", MARK + "0") if "\0" in text else text


def mend_text(text: str) -> str:
    """Return a text with U+FFFD for everything odd."""
    return _ODD.sub(REPLACEMENT, text)


def write_out(text: str) -> str:
    """Return a text with everything odd written out. It is the text itself if nothing is."""
    return _ODD.sub(_write_out, text.replace("\\", "\\\\")) if _ODD.search(text) else text


def write_out_json(text: str) -> str:
    """Return the text of JSON with everything odd written out. Backslashes in it are doubled already."""
    return _ODD.sub(_write_out, text)


def escape_surrogates(text: str) -> str:
    """Return a text with escapes of JSON for halves of surrogate pairs."""
    return _SURROGATE.sub(_write_out, text)


def mend_value(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value of JSON with U+FFFD for everything odd. It is the value itself if nothing is."""
    if isinstance(value, str):
        return mend_text(value) if _ODD.search(value) else value
    if isinstance(value, list):
        parts = [mend_value(part) for part in value]
        return value if all(map(_is, parts, value)) else parts
    if isinstance(value, dict):
        names, parts = [*map(mend_value, value)], [*map(mend_value, value.values())]
        is_same = all(map(_is, names, value)) and all(map(_is, parts, value.values()))
        return value if is_same else dict(zip(names, parts, strict=True))
    return value


def _is(one: object, other: object) -> bool:
    return one is other


def _write_out(odd: re.Match[str]) -> str:
    text = odd[0].replace(MARK, "")
    if len(text) > 1:  # UTF-8 has no form of half a surrogate pair, but some programs write it like this
        return f"\\u{0xD000 | (ord(text[1]) & 0x3F) << 6 | (ord(text[2]) & 0x3F):04x}"
    if odd[0][0] != MARK:
        return f"\\u{ord(text):04x}"
    return "\\u0000" if text == "0" else f"\\x{ord(text):02x}"
