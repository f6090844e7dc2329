"""Keys for rows without an ``id``, made from their content, so that the same row always has the same key."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.exact_json import encode_json

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Mapping

PREFIX = "sha256:"


def content_text(value: Any) -> str:  # noqa: ANN401 - any value of a record
    """Return the text of a value: itself, or JSON."""
    return value if isinstance(value, str) else encode_json(value).decode()


def content_key(content: Mapping[str, str], digest: hashlib._Hash | None = None) -> str:
    """Return the key of a row.

    Args:
        content: The texts of its fields that are not empty, by name.
        digest: The hash to continue, for a salt.
    """
    digest = digest or sha256()
    digest.update(encode_json(dict(sorted(content.items()))))
    return PREFIX + digest.hexdigest()
