"""Checks of the settings that are URLs, and the parts of them that no log line may show."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

MIN_TOKEN_CHARACTERS = 16
"""The length from which a part of a path, or a value of a query, may be a token."""


def api_url_problems(url: str) -> Iterator[str]:
    """Word what is wrong with the address of the API: a scheme, a host, perhaps a port and a path."""
    example = "https://api.nexmo.com"
    if url != url.strip():
        yield "The setting api_url begins or ends with a space. Remove it."
    elif (host := _host(url)) is None:
        yield f"The setting api_url is not a URL, or its port is not a number up to 65535. Write it like {example}."
    elif set("@?#\\") & set(url):
        yield (
            "The setting api_url contains more than scheme, host, port and path. Remove credentials and parameters: "
            "the tap adds its own."
        )
    elif _is_exposed(url, host):
        yield "The setting api_url uses plain http, which would send the secret unencrypted. Use https."


def callback_url_problems(url: str) -> Iterator[str]:
    """Word what is wrong with the address that Vonage calls. It may have a path and a query, and a token in either."""
    if (host := _host(url)) is None:
        yield "The setting report_callback_url is not a URL. Write it like https://example.com/vonage/TOKEN."
    elif "@" in urlsplit(url).netloc or set("#\\ ") & set(url):
        yield (
            "The setting report_callback_url contains credentials, a fragment, a space or a backslash. Remove them, "
            "and put a token into the path or the query."
        )
    elif _is_exposed(url, host):
        yield (
            "The setting report_callback_url uses plain http, which would send account and report IDs unencrypted. "
            "Use https."
        )


def url_secrets(url: str) -> list[str]:
    """Return the texts that give a URL away: the URL with and without its scheme, and each part that may be a token."""
    try:
        parts = urlsplit(url)
        values = [value for _, value in parse_qsl(parts.query)]
    except ValueError:
        return [url]
    tokens = [*parts.path.split("/"), *map(unquote, parts.path.split("/")), *values]
    return [url, url.partition("://")[2], *(token for token in tokens if len(token) >= MIN_TOKEN_CHARACTERS)]


def _host(url: str) -> str | None:
    """Return the host of an http or https URL; None if there is none."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    return host if parts.scheme in ("http", "https") and host else None


def _is_exposed(url: str, host: str) -> bool:
    """Return True if what is sent to a URL could be read on the way."""
    return urlsplit(url).scheme == "http" and not _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
