"""What no JSON encoder writes and some APIs send: stand-ins in rows, and the bytes that go over the wire instead.

What the real API does with such text is unknown. Half a surrogate pair is an escape in JSON, as programs write it that
count in UTF-16, and what the same programs write as UTF-8 in CSV.
"""

from __future__ import annotations

from typing import NamedTuple


class OddBytes(NamedTuple):
    """A stand-in, and its bytes in JSON and in CSV."""

    stand_in: str
    json: bytes
    csv: bytes


ODD_TEXT = {
    "half-pair": OddBytes("\ue000", rb"\ud83d", b"\xed\xa0\xbd"),
    "byte": OddBytes("\ue001", b"\xe9", b"\xe9"),
}
"""What a text may hold, by the value of the fault."""
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
