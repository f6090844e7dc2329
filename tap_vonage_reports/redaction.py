"""Personal data in records is hashed or left out, and secrets stay out of everything that is logged."""

from __future__ import annotations

import html
import json
import logging
import re
import traceback
from base64 import b64encode
from decimal import Decimal
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeAlias

    Conceal: TypeAlias = Callable[[Any], Any]

REDACTED = "[redacted]"
KEEP, HASH, DROP = "keep", "hash", "drop"
MAX_DIGITS_IN_LOG = 4
"""Digits that a logged name may have. A phone number has more."""
POSSIBLE = "possible"
"""The kind of personal data in a field that holds what the customer has put there."""

_NUMBER = re.compile(r"[+\d][\d ()./-]*", re.ASCII)
_INTERNATIONAL = re.compile(r"\+\d{7,15}", re.ASCII)
_LEFT_OUT: Final = object()


class PersonalData:
    """What becomes of personal data in the records of one stream.

    The fields that hold any have the keyword `personal` in the schema, which names its kind: ``phone``,
    ``phone_or_email``, ``ip``, ``name``, ``content``, or ``possible`` for what the customer has put there.

    Hashed, a value is the SHA-256 of the salt and the value, both as UTF-8, in hexadecimal digits. Before that,
    e-mail addresses are lower-cased, and of telephone numbers the digits are taken, so that the same address or
    number has the same hash wherever it stands.

    Objects stay, because what does not fit its type is in one (`_extra`). In them, what stands under the name of a
    field that holds no personal data stays as it is, and all else is hashed or left out.

    Attributes:
        mode: ``keep``, ``hash`` or ``drop``.
        columns: The fields that have no column at all.
        conceal: For each of the others that need it, what makes of a value (not null) the one that is written.
    """

    def __init__(
        self, mode: str, salt: str, schema: Mapping[str, Any], kinds: Mapping[str, str | None] | None = None
    ) -> None:
        """Prepare for a stream.

        Args:
            mode: ``keep``, ``hash`` or ``drop``.
            salt: What is hashed with each value.
            schema: The JSON Schema of the stream's records.
            kinds: What is known of names that the schema does not have, but other streams do: the kind of personal
                data that stands under a name, or None. Names that nobody knows may hold anything.
        """
        self.mode = mode
        self._salted = sha256(salt.encode())
        specs = schema["properties"]
        self._kinds = {**(kinds or {}), **{name: spec.get("personal") for name, spec in specs.items()}}
        marked = {} if mode == KEEP else {name: spec for name, spec in specs.items() if "personal" in spec}
        objects = {name for name, spec in marked.items() if "object" in spec["type"]}
        self.columns = frozenset(marked.keys() - objects) if mode == DROP else frozenset()
        self.transform: dict[str, Conceal] = {
            name: self._in_object if name in objects else partial(self.hashed, kind=spec["personal"])
            for name, spec in marked.items()
            if name not in self.columns
        }

    def drops(self, name: str) -> bool:
        """Whether what stands under a name, of a field or inside an object, is not written in any form."""
        return self.mode == DROP and self._kinds.get(name, POSSIBLE) is not None

    def hashed(self, value: str, kind: str = POSSIBLE) -> str:
        """The hash of a text, by its kind."""
        digest = self._salted.copy()
        digest.update(normalized(value, kind).encode(errors="surrogatepass"))
        return digest.hexdigest()

    def _in_object(self, value: Mapping[str, Any]) -> dict[str, Any] | None:
        """An object without personal data; None when nothing is left."""
        found = self._concealed(value, POSSIBLE)
        return found or None

    def _concealed(self, value: Any, kind: str | None) -> Any:  # noqa: ANN401 - whatever JSON holds
        if isinstance(value, dict):
            parts = {name: self._concealed(part, self._kinds.get(name, POSSIBLE)) for name, part in value.items()}
            return {name: part for name, part in parts.items() if part is not _LEFT_OUT}
        if kind is None or value is None or isinstance(value, bool):
            return value
        if self.mode == DROP:
            return _LEFT_OUT
        if isinstance(value, list):
            return [self._concealed(part, kind) for part in value]
        return self.hashed(f"{value:f}" if isinstance(value, Decimal) else str(value), kind)


def normalized(value: str, kind: str) -> str:
    """The form of a value that is hashed.

    Args:
        value: The value.
        kind: The kind of personal data. What the customer has put there is changed no more than is safe: two
            references that differ do not become the same.
    """
    if kind in ("content", "name", "ip"):
        return value
    if "@" in value:
        return value.strip().lower()
    if kind == POSSIBLE:
        return value[1:] if _INTERNATIONAL.fullmatch(value) else value
    return re.sub(r"\D", "", value, flags=re.ASCII) if _NUMBER.fullmatch(value.strip()) else value


class RedactingFormatter(logging.Formatter):
    """A formatter that takes secrets out of what another formatter has made, tracebacks included."""

    def __init__(self, inner: logging.Formatter, secrets: Iterable[str]) -> None:
        super().__init__()
        self.inner = inner
        # The longest first: one may be a part of another.
        self.needles = sorted(secrets, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """Format a record, without secrets."""
        text = self.inner.format(record)
        for needle in self.needles:
            text = text.replace(needle, REDACTED)
        return text


def encodings(secrets: Iterable[str]) -> set[str]:
    """The forms in which a secret may turn up in a log line.

    As it is, in a URL, in JSON, in HTML, in a `repr`, as text or as bytes; and as a program's log in JSON would have
    each of these.
    """
    found = set(filter(None, secrets))
    for forms in (_IN_TEXT, _IN_LOGS):
        found |= {form(secret) for secret in found for form in forms}
    return found


def _lower_percents(text: str) -> str:
    return re.sub("%..", lambda escape: escape[0].lower(), quote(text, safe=""))


_IN_TEXT: tuple[Callable[[str], str], ...] = (
    quote,
    partial(quote, safe=""),
    quote_plus,
    _lower_percents,
    html.escape,
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: repr(text)[1:-1],
    lambda text: ascii(text)[1:-1],
    lambda text: repr(text.encode(errors="surrogatepass"))[2:-1],
)
_IN_LOGS: tuple[Callable[[str], str], ...] = (
    lambda text: json.dumps(text)[1:-1],
    lambda text: repr(text)[1:-1],
)


def traceback_without_text(error: BaseException) -> str:
    """Where an error comes from, in one line: its type and the calls that led to it, without a word of its text.

    The text of an error that nobody has foreseen may repeat any value.
    """
    calls = [
        f"{frame.f_globals.get('__name__', '?')}:{line} {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return " > ".join([*([f"({traceback_without_text(cause)})"] if cause else []), *calls, type(error).__name__])


def safe_for_log(text: object, max_characters: int = 80) -> str:
    """Return a title or a name from outside in a form that is safe to log.

    Args:
        text: A value from an answer or a record.
        max_characters: Where to cut it.

    Returns:
        The printable characters of the text. Empty if it is no text, or holds as many digits as a phone number.
    """
    if not isinstance(text, str) or sum(character.isdigit() for character in text) > MAX_DIGITS_IN_LOG:
        return ""
    return "".join(character for character in text if character.isprintable())[:max_characters]


def basic_token(key: str, secret: str) -> str:
    """What HTTP Basic makes of a key and a secret, so that a logged header can be redacted."""
    return b64encode(f"{key}:{secret}".encode()).decode()


def all_handlers() -> set[logging.Handler]:
    """The handlers that any logger has now."""
    loggers = [logging.getLogger(), *logging.getLogger().manager.loggerDict.values()]
    return {handler for logger in loggers if isinstance(logger, logging.Logger) for handler in logger.handlers}


def redact_logs(secrets: Iterable[str]) -> None:
    """Redact secrets by value in every handler that any logger has now.

    The HTTP library's own lines, which repeat addresses with all their parameters, do not appear at any level.

    Args:
        secrets: The values to take out. Empty ones are ignored.
    """
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    needles = encodings(secrets)
    for handler in all_handlers():
        inner, all_needles = handler.formatter or logging.Formatter(), needles
        if isinstance(inner, RedactingFormatter):
            all_needles = needles.union(inner.needles)
            inner = inner.inner
        handler.setFormatter(RedactingFormatter(inner, all_needles))
