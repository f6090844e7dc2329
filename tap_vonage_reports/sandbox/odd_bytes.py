"""Bytes that no JSON encoder writes but some APIs send: placeholders in rows, replaced by the bytes on the wire.

It is unknown what the real API does with such text. Half a surrogate pair is an escape in JSON, as programs that use
UTF-16 write it, and in CSV what the same programs write as UTF-8.
"""

from __future__ import annotations

from typing import NamedTuple


class OddBytes(NamedTuple):
    """A placeholder, and its bytes in JSON and in CSV."""

    stand_in: str
    json: bytes
    csv: bytes


ODD_TEXT = {
    "half-pair": OddBytes("\ue000", rb"\ud83d", b"\xed\xa0\xbd"),
    "byte": OddBytes("\ue001", b"\xe9", b"\xe9"),
}
"""The placeholders by the value of the fault."""
LONG_NUMBER = OddBytes("\ue002", b"9" * 4400, b"9" * 4400)

_ALL = (*ODD_TEXT.values(), LONG_NUMBER)


def as_json(content: bytes) -> bytes:
    """JSON with the odd bytes in place of their stand-ins."""
    content = content.replace(b'"%b"' % LONG_NUMBER.stand_in.encode(), LONG_NUMBER.json)
    for odd in _ALL:
        content = content.replace(odd.stand_in.encode(), odd.json)
    return content


def as_csv(content: bytes) -> bytes:
    """CSV with the odd bytes in place of their stand-ins."""
    for odd in _ALL:
        content = content.replace(odd.stand_in.encode(), odd.csv)
    return content
