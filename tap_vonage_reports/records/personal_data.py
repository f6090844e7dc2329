"""Personal data in records: kept, hashed with a salt, or dropped, by the schema's `personal` keyword."""

from __future__ import annotations

import re
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.config.schema import DROP, HASH, KEEP
from tap_vonage_reports.records.cell_text import holds_object
from tap_vonage_reports.records.content_key import content_key
from tap_vonage_reports.redaction import is_plain_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    Transform: TypeAlias = Callable[[Any], Any]

POSSIBLE = "possible"
"""The kind of personal data in a field that holds free text of the customer's."""

_PHONE_NUMBER = re.compile(r"[+\d][\d ()./-]*", re.ASCII)
_INTERNATIONAL_NUMBER = re.compile(r"\+\d{7,15}", re.ASCII)
_DIGEST_DIGITS = 16
_AS_SENT = "content"
"""The kind whose values are hashed without normalization, so that two names never become one."""


class PersonalData:
    """The treatment of personal data in the records of one stream.

    A field that holds personal data has the keyword `personal` in the schema. Its value is the kind: ``phone``,
    ``phone_or_email``, ``ip``, ``name``, ``content``, or ``possible`` for free text of the customer's.

    A hash is the SHA-256 of the salt followed by the value, both in UTF-8, as hexadecimal digits. Values are normalized
    first (see `normalize`), so that a phone number or email address has the same hash in every field.

    Columns of objects are never dropped, because `_extra` is one and holds values that do not fit their type. Inside an
    object, a value is kept only if its name is that of a field without personal data, and it holds no object or list
    itself. All others are hashed as a whole or dropped. With ``hash``, a name that no field has and that is not a plain
    word (see `redaction.is_plain_name`) is hashed, too.

    Attributes:
        mode: ``keep``, ``hash`` or ``drop``.
        treatment: The mode and, unless it is ``keep``, a digest of the salt: equal for runs that write equal values.
        dropped_columns: The fields that records do not have.
        transform: By field, the function from a value (not null) to the value that is written. It has only the fields
            whose values change.
    """

    def __init__(
        self, mode: str, salt: str, schema: Mapping[str, Any], kinds: Mapping[str, str | None] | None = None
    ) -> None:
        """Prepare the treatment for a stream.

        Args:
            mode: ``keep``, ``hash`` or ``drop``.
            salt: The salt of the hashes.
            schema: The JSON Schema of the stream's records.
            kinds: By field of the other streams, the kind of personal data or None. A name in neither this mapping
                nor the schema counts as ``possible``.
        """
        self.mode = mode
        self._salted = sha256(salt.encode())
        self._has_salt = bool(salt.strip())
        self.treatment = mode if mode == KEEP else f"{mode} {self.hash_text(mode)[:_DIGEST_DIGITS]}"
        specs = schema["properties"]
        self._kinds = {**(kinds or {}), **{name: spec.get("personal") for name, spec in specs.items()}}
        personal = {} if mode == KEEP else {name: spec for name, spec in specs.items() if "personal" in spec}
        objects = {name for name, spec in personal.items() if "object" in spec["type"]}
        self.dropped_columns = frozenset(personal.keys() - objects) if mode == DROP else frozenset()
        self.transform: dict[str, Transform] = {
            name: self._transform_object if name in objects else partial(self.hash_text, kind=spec["personal"])
            for name, spec in personal.items()
            if name not in self.dropped_columns
        }

    def drops(self, name: str) -> bool:
        """Return True if values under this name, of a field or inside an object, are not written in any form."""
        return self.mode == DROP and self._kinds.get(name, POSSIBLE) is not None

    def hash_text(self, value: str, kind: str = POSSIBLE) -> str:
        """Return the hash of a value of the given kind: 64 hexadecimal digits."""
        digest = self._salted.copy()
        digest.update(normalize(value, kind).encode(errors="surrogatepass"))
        return digest.hexdigest()

    def content_key(self, content: Mapping[str, str]) -> str:
        """Return the key of a row without an ``id`` (see `content_key`), by which no personal datum can be guessed.

        It is salted like a hash. Where personal data are dropped and there is no salt, they are left out of it.
        """
        if self.mode == KEEP:
            return content_key(content)
        if not self._has_salt:
            content = {name: text for name, text in content.items() if not self.drops(name)}
        return content_key(content, self._salted.copy())

    def _transform_object(self, value: Mapping[str, str]) -> dict[str, str] | None:
        """Return an object of texts without personal data, or None if nothing is left."""
        shown = {}
        for name, text in value.items():
            kind = self._kinds.get(name, POSSIBLE)
            if kind is None and not holds_object(text):
                shown[name] = text
            elif self.mode == HASH:
                shown[self._transform_name(name)] = self.hash_text(text, kind or POSSIBLE)
        return dict(sorted(shown.items())) or None

    def _transform_name(self, name: str) -> str:
        """Return a name as it is, or its hash if it may be personal data itself, such as a phone number."""
        return name if name in self._kinds or is_plain_name(name) else self.hash_text(name, _AS_SENT)


def normalize(value: str, kind: str) -> str:
    """Return the form of a value that is hashed.

    Email addresses become lower case, phone numbers their digits. Free text (``possible``) is only changed where it is
    an address or an international number: two different references must not get the same hash.

    Args:
        value: The value.
        kind: The kind of personal data.
    """
    if kind in ("content", "name", "ip"):
        return value
    if "@" in value:
        return value.strip().lower()
    if kind == POSSIBLE:
        return value[1:] if _INTERNATIONAL_NUMBER.fullmatch(value) else value
    return re.sub(r"\D", "", value, flags=re.ASCII) if _PHONE_NUMBER.fullmatch(value.strip()) else value
