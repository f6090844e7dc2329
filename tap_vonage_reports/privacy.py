"""Secrets stay out of everything that is logged."""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable

REDACTED = "[redacted]"


class RedactingFormatter(logging.Formatter):
    """A formatter that takes secrets out of what another formatter has made, tracebacks included."""

    def __init__(self, inner: logging.Formatter, secrets: Iterable[str]) -> None:
        super().__init__()
        self.inner = inner
        self.needles = frozenset(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """Format a record, without secrets."""
        text = self.inner.format(record)
        for needle in self.needles:
            text = text.replace(needle, REDACTED)
        return text


def spellings(secrets: Iterable[str]) -> set[str]:
    """The forms in which a secret may turn up in a log line: as it is, in a URL, inside JSON, in a repr."""
    found = set()
    for secret in filter(None, secrets):
        found |= {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    return found


def basic_token(key: str, secret: str) -> str:
    """What HTTP Basic makes of a key and a secret, so that a logged header can be redacted."""
    return b64encode(f"{key}:{secret}".encode()).decode()


def redact_logs(secrets: Iterable[str]) -> None:
    """Redact secrets by value in every handler that the root logger has now.

    The HTTP library's own lines, which repeat addresses with all their parameters, do not appear at any level.

    Args:
        secrets: The values to take out. Empty ones are ignored.
    """
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    needles = spellings(secrets)
    for handler in logging.getLogger().handlers:
        inner = handler.formatter or logging.Formatter()
        if isinstance(inner, RedactingFormatter):
            needles |= inner.needles
            inner = inner.inner
        handler.setFormatter(RedactingFormatter(inner, needles))
