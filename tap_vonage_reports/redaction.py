"""Logs without secrets or personal data: redacted handlers, and tracebacks without values."""

from __future__ import annotations

import html
import json
import logging
import re
import traceback
from base64 import b64encode
from copy import copy
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

REDACTED = "[redacted]"
MAX_DIGITS_IN_LOG = 4
"""Digits that a logged name may have. A phone number has more."""
_PLAIN_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]{0,63}")
HIDDEN_NAME = "(a name that is not shown)"
MIN_SECRET_LENGTH = 8
"""The length from which a name may be a secret that was entered in the wrong place. An API key has 8 characters."""

_TALKATIVE = ("urllib3", "singer_sdk.mapper")
"""The loggers that repeat URLs with all their parameters, and the expressions in `stream_maps`."""

_WORD = re.compile(r"v\d+|[A-Z]?[a-z]+|[A-Z]+|\d+")
_LOOKS_SECRET = re.compile(
    r"[^\w\-.:*?\[\] ]"  # a symbol that no name of a setting, stream or column has
    r"|[bcdfghjklmnpqrstvwxz]{5}"  # more consonants than a word has
    r"|^(?=.*\d)[0-9a-f]+$",  # hexadecimal digits
)
_MEAN_WORD_LENGTHS = {True: 3, False: 4}
"""By whether a name has separators, how long its words are at least. Random letters and digits have shorter runs."""


class RedactingFormatter(logging.Formatter):
    """A formatter that replaces secrets in the output of another formatter, tracebacks included.

    It also escapes what is not printable in a message: line breaks and escape sequences would forge lines of the log.

    Attributes:
        inner: The other formatter.
        needles: The texts to replace, the longest first: one secret may be part of another.
    """

    def __init__(self, inner: logging.Formatter, secrets: Iterable[str]) -> None:
        super().__init__()
        self.inner = inner
        self.needles = sorted(secrets, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """Format a record, with secrets replaced, and with its message in one line."""
        message = record.getMessage()
        # A secret is found before its characters are escaped.
        shown = printable(self.redact(message))
        if shown != message:
            record = copy(record)
            record.msg, record.args = shown, None
        return self.redact(self.inner.format(record))

    def redact(self, text: str) -> str:
        """Return a text with secrets replaced."""
        for needle in self.needles:
            text = text.replace(needle, REDACTED)
        return text


def encodings(secrets: Iterable[str]) -> set[str]:
    """Return the forms in which secrets can appear in a log line.

    Plain, in a URL, in JSON, in HTML, in the `repr` of text or bytes, and each of these again inside a JSON log line.
    """
    found = set(filter(None, secrets))
    for encoders in (_TEXT_ENCODERS, _LOG_ENCODERS):
        found |= {encode(secret) for secret in found for encode in encoders}
    return found


def _quote_in_lower_case(text: str) -> str:
    return re.sub("%..", lambda escape: escape[0].lower(), quote(text, safe=""))


_TEXT_ENCODERS: tuple[Callable[[str], str], ...] = (
    quote,
    partial(quote, safe=""),
    quote_plus,
    _quote_in_lower_case,
    html.escape,
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: repr(text)[1:-1],
    lambda text: ascii(text)[1:-1],
    lambda text: repr(text.encode(errors="surrogatepass"))[2:-1],
)
_LOG_ENCODERS: tuple[Callable[[str], str], ...] = (
    lambda text: json.dumps(text)[1:-1],
    lambda text: repr(text)[1:-1],
)


def traceback_without_text(error: BaseException) -> str:
    """Return the origin of an error in one line: the calls that led to it and its type, without its text.

    The text of an unforeseen error may repeat any value.
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


def is_plain_name(name: str) -> bool:
    """Return True if a name looks like that of a column: letters, digits and underscores, with at most four digits.

    Phone numbers, email addresses and sentences do not.
    """
    return _PLAIN_NAME.fullmatch(name) is not None and sum(map(str.isdigit, name)) <= MAX_DIGITS_IN_LOG


def printable(text: str) -> str:
    r"""Return a text with all characters that are not printable as escapes, such as ``\n`` and ``\u202e``."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def name_for_log(name: object, secrets: Iterable[str] = ()) -> str:
    """Return a name from outside for a log line or an error, or a placeholder if it may hold something secret.

    Users enter secrets and phone numbers in the wrong place, for example a password as the name of a setting.

    Args:
        name: The name of a setting, a filter, a stream or a column, as the configuration, the catalog, the state or the
            API has it.
        secrets: The secrets of the configuration, which no name may contain.
    """
    shown = safe_for_log(name)
    if not shown or _looks_secret(str(name)) or any(secret and secret in str(name) for secret in secrets):
        return HIDDEN_NAME
    return shown


def _looks_secret(name: str) -> bool:
    if len(name) < MIN_SECRET_LENGTH:
        return False
    words = _WORD.findall(name)
    needed = _MEAN_WORD_LENGTHS["_" in name or "-" in name] * len(words)
    return sum(map(len, words)) < needed or bool(_LOOKS_SECRET.search(name))


def basic_token(key: str, secret: str) -> str:
    """Return the HTTP Basic token of a key and a secret, so that a logged header can be redacted."""
    return b64encode(f"{key}:{secret}".encode()).decode()


def all_handlers() -> set[logging.Handler]:
    """Return the handlers of all existing loggers."""
    loggers = [logging.getLogger(), *logging.getLogger().manager.loggerDict.values()]
    return {handler for logger in loggers if isinstance(logger, logging.Logger) for handler in logger.handlers}


def redact_logs(secrets: Iterable[str]) -> None:
    """Redact secrets by value in the handlers of all existing loggers.

    Also silences loggers below WARNING whose lines repeat values, see `_TALKATIVE`.

    Args:
        secrets: The values to redact. Empty ones are ignored.
    """
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    needles = encodings(secrets)
    for handler in all_handlers():
        inner, all_needles = handler.formatter or logging.Formatter(), needles
        if isinstance(inner, RedactingFormatter):
            all_needles = needles.union(inner.needles)
            inner = inner.inner
        handler.setFormatter(RedactingFormatter(inner, all_needles))
