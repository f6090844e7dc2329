"""Download of a report's file from the media service or a store behind it, resumed if the connection breaks."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urljoin, urlsplit

from tap_vonage_reports.api.connections import PrivateAddressError, leads_to_private_network
from tap_vonage_reports.api.transport import HTTP_ERRORS, ApiRequest, is_success
from tap_vonage_reports.errors import ReportError, RetriableApiError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import requests

    from tap_vonage_reports.api.rate_limit import PriorityRateLimiter
    from tap_vonage_reports.api.request_context import RequestContext
    from tap_vonage_reports.api.transport import Transport

MAX_FILE_BYTES = 1 << 32
"""Bytes of a report's file: four times the 1 GB at which the API cuts reports [likely], in case that limit rises."""
ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
"""The first bytes of an archive: of its first member, or of its directory if it has none."""
SIGNATURE_BYTES = 4
NOT_HTTPS = "an address that does not use https"
PRIVATE_NETWORK = "a host in a private network"
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
UNCOMPRESSED = {"Accept-Encoding": "identity"}
"""Without this, the bytes on disk would not be those of the file, and a download could not resume behind them."""


class FileDownload:
    """The download of one file; each attempt resumes where the last one broke."""

    def __init__(
        self,
        transport: Transport,
        limiter: PriorityRateLimiter | None,
        link: str,
        file: BinaryIO,
        on_part: Callable[[], None],
    ) -> None:
        """Prepare a download; nothing is sent yet.

        Args:
            transport: Sends the requests.
            limiter: The rate limit of the media service.
            link: The address from the report's status. Only its path is used.
            file: Where to write to; empty at first.
            on_part: Called after each part of the file.

        Raises:
            ReportError: The link has no usable path.
        """
        self._transport = transport
        self._limiter = limiter
        self._path = media_path(link)
        self._file = file
        self._on_part = on_part

    def attempt(self, context: RequestContext) -> None:
        """Download the rest of the file, in one try.

        Raises:
            RetriableApiError: The download broke, or has to start over.
            ReportError: The file is too large, or a redirect is not safe to follow.
            TapError: See `Transport.send`.
        """
        offset = self._file.tell()
        headers = {"Accept": "application/octet-stream", **UNCOMPRESSED}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        request = ApiRequest("GET", self._path, self._limiter, headers=headers)
        with self._transport.open(request, context) as response:
            answered_at = self._transport.clock.learn(response.headers.get("Date"))
            if not response.is_redirect:
                self._receive(request, response, offset, answered_at)
                return
            location = response.headers["Location"]
        # Possibly a store behind the media service [unknown].
        self._download_from_store(self._store_url(location))

    def _receive(self, request: ApiRequest, response: requests.Response, offset: int, answered_at: datetime) -> None:
        """Write the body of an answer: the whole file, or the part that is missing."""
        if response.status_code == HTTPStatus.PARTIAL_CONTENT:
            if not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
                self._clear()
                msg = "The download resumed at a different position than requested"
                raise RetriableApiError(msg)
            self._save(response, offset)
        elif response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            self._clear()
            msg = "The download could not be resumed"
            raise RetriableApiError(msg)
        elif is_success(response.status_code):
            self._save(response, 0)
        else:
            raise self._transport.error_for(request, response, self._transport.read_body(response), answered_at)

    def _store_url(self, location: str) -> str:
        """Return where a redirect leads: to https, or to this machine if `api_url` itself is there."""
        try:
            url = urljoin(self._transport.api_url + self._path, location)
            parts = urlsplit(url)
            on_this_machine = self._transport.plain_http and parts.hostname in LOOPBACK_HOSTS
            safe = bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and on_this_machine))
        except ValueError:
            safe = False
        if not safe:
            raise _unsafe_redirect(NOT_HTTPS)
        if not self._transport.in_private_network and leads_to_private_network(parts.hostname or ""):
            raise _unsafe_redirect(PRIVATE_NETWORK)
        return url

    def _download_from_store(self, url: str) -> None:
        try:
            with self._transport.open_elsewhere(url, UNCOMPRESSED) as response:
                if not is_success(response.status_code) or response.status_code == HTTPStatus.PARTIAL_CONTENT:
                    msg = f"The store behind the media service answered HTTP {response.status_code}"
                    raise RetriableApiError(msg)
                self._save(response, 0)
        except PrivateAddressError:
            raise _unsafe_redirect(PRIVATE_NETWORK) from None
        except HTTP_ERRORS as error:
            msg = f"The connection to the store behind the media service failed ({type(error).__name__})"
            raise RetriableApiError(msg) from None

    def _save(self, response: requests.Response, offset: int) -> None:
        """Write a body to the file, from an offset on.

        Raises:
            RetriableApiError: It is not a zip archive, or an answer without content.
            ReportError: It is too large.
        """
        self._file.seek(offset)
        self._file.truncate()
        for part in self._transport.iter_body(response):
            before, offset = offset, offset + len(part)
            if offset > MAX_FILE_BYTES:
                msg = (
                    f"The report's file has more than {MAX_FILE_BYTES >> 30} GiB, the most that this tap downloads. "
                    "Lower report_window_days. If this persists, contact Vonage support."
                )
                raise ReportError(msg)
            self._file.write(part)
            self._on_part()
            if before < SIGNATURE_BYTES <= offset:
                self._check_signature()
        if offset < SIGNATURE_BYTES:
            self._check_signature()
        if not offset and response.status_code != HTTPStatus.OK:
            msg = f"The media service answered HTTP {response.status_code} without a body"
            raise RetriableApiError(msg)

    def _check_signature(self) -> None:
        """Reject a file that does not begin like an archive, such as the page of a gateway. A blank one passes."""
        end = self._file.tell()
        self._file.seek(0)
        start = self._file.read(SIGNATURE_BYTES)
        self._file.seek(end)
        if start.strip() and not start.startswith(ZIP_SIGNATURES):
            self._clear()
            msg = "The media service sent a body that is not a zip archive"
            raise RetriableApiError(msg)

    def _clear(self) -> None:
        """Drop what was downloaded, so that the next attempt starts over."""
        self._file.seek(0)
        self._file.truncate()


def _unsafe_redirect(target: str) -> ReportError:
    return ReportError(
        f"The media service redirects to {target}, so the file was not downloaded. The next run resumes the same "
        "report. If this persists, contact Vonage support."
    )


def media_path(link: str) -> str:
    """Return the path of a link to a file, encoded.

    Raises:
        ReportError: It has none, or one that leads out of itself.
    """
    try:
        path = urlsplit(link).path
    except ValueError:
        path = ""
    # Appended to api_url, a path without a slash would become part of the host.
    if not path.startswith("/") or {".", ".."}.intersection(unquote(path).split("/")):
        msg = "The API gave a malformed link to the report's file. The next run resumes the same report."
        raise ReportError(msg)
    return path
