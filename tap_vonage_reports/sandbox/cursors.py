"""Cursors: a query's next position, encoded as text that only the sandbox can read.

Like the real ones (likely: encrypted, long, URL-safe Base64, with an initialization vector of about 22
characters) a cursor is bound to its `iv` and to its query. It contains everything that the next
page needs, so the sandbox stores nothing and a cursor survives a restart.

The vector is a keyed digest of the content (a synthetic initialization vector), so decoding proves
that neither was changed. The encoding makes the text opaque; it does not protect it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)

_LEAST = 144
"""Real cursors are long texts: shorter contents are padded to this many bytes."""


class CursorRefusedError(ValueError):
    """A cursor or an iv is foreign, was changed, or does not belong to the other one."""


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise CursorRefusedError from error


class CursorCodec(Generic[T]):
    """Turns a position into (cursor, iv) and back."""

    def __init__(self, kind: type[T], seed: str) -> None:
        """Set up the codec.

        Args:
            kind: The struct that a cursor holds.
            seed: What the key is made of; the same seed reads the same cursors.
        """
        self._key = hashlib.sha256(f"cursor/{seed}".encode()).digest()
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(kind)

    def encode(self, content: T) -> tuple[str, str]:
        """Return the cursor and the iv of a position."""
        plain = self._encoder.encode(content)
        plain = len(plain).to_bytes(2, "big") + plain.ljust(_LEAST, b"\0")
        vector = self._vector(plain)
        return _text(self._masked(plain, vector)), _text(vector)

    def decode(self, cursor: str, iv: str) -> T:
        """Return the position of a cursor.

        Raises:
            CursorRefusedError: If the two are not what `encode` gave out together.
        """
        vector = _bytes(iv)
        plain = self._masked(_bytes(cursor), vector)
        if not hmac.compare_digest(self._vector(plain), vector):
            raise CursorRefusedError
        length = int.from_bytes(plain[:2], "big")
        return self._decoder.decode(plain[2 : 2 + length])

    def _vector(self, plain: bytes) -> bytes:
        return hmac.digest(self._key, plain, "sha256")[:16]

    def _masked(self, data: bytes, vector: bytes) -> bytes:
        mask = hashlib.shake_256(self._key + vector).digest(len(data))
        return bytes(a ^ b for a, b in zip(data, mask, strict=True))
