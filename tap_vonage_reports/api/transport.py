"""One exchange with the API: a request, sent when the rate limit allows it, and its response or one of our errors.

Authentication is HTTP Basic [confirmed]. The credentials go to `api_url` only: no redirect is followed, no cookie is
kept, and no error repeats an address.
"""

from __future__ import annotations

import re
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.auth import HTTPBasicAuth

from tap_vonage_reports.api.clock import ServerClock
from tap_vonage_reports.api.connections import (
    BoundedAdapter,
    PublicAdapter,
    current_deadline,
    deadline,
    leads_to_private_network,
)
from tap_vonage_reports.api.problems import to_error
from tap_vonage_reports.api.responses import ApiResponse, read_answer
from tap_vonage_reports.errors import (
    ConnectionFailedError,
    ConnectionRefusedByHostError,
    RequestRejectedError,
    RetriableApiError,
    UnexpectedRedirectError,
    UnreachableError,
)
from tap_vonage_reports.redaction import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from datetime import datetime
    from typing import TypeAlias

    from tap_vonage_reports.api.rate_limit import PriorityRateLimiter
    from tap_vonage_reports.api.request_context import RequestContext
    from tap_vonage_reports.errors import TapError

    Check: TypeAlias = Callable[[dict[str, Any]], None]

READ_BYTES = 1 << 18
"""Bytes of one read at most. Fewer are returned as they arrive, which shows how slow a body is."""
MAX_BODY_BYTES = 1 << 25
"""Bytes of a JSON body, inflated: 32 KiB for each of the 1,000 rows of a page [confirmed], where real rows take one or
two."""
MAX_HOST_CHARACTERS = 100
REASONS: Mapping[type[BaseException], str] = {
    urllib3.exceptions.ProxyError: "ProxyError: the proxy that the environment names does not answer",
    ConnectionRefusedError: "refused",
    urllib3.exceptions.NameResolutionError: "the host name does not resolve",
    urllib3.exceptions.NewConnectionError: "the network has no route to it",
    urllib3.exceptions.ConnectTimeoutError: "no answer in time",
}
"""Why there is no connection, by the type of a cause."""
HOPELESS: Mapping[tuple[type[BaseException], ...], str] = {
    (requests.exceptions.InvalidProxyURL, requests.exceptions.InvalidSchema): (
        "Check the proxy in the variables HTTPS_PROXY and ALL_PROXY; socks5:// needs the package PySocks."
    ),
    (requests.exceptions.InvalidURL, urllib3.exceptions.LocationValueError): (
        "Check api_url, and the proxy in the variables HTTPS_PROXY and ALL_PROXY."
    ),
    (ssl.SSLCertVerificationError,): (
        "The server's certificate is not trusted, or belongs to another host. Check api_url. If a private CA signed "
        "it, set the variable REQUESTS_CA_BUNDLE to the file with that CA."
    ),
}
"""What to do where no retry helps, by the types of a cause."""
NO_CERTIFICATES = (
    "The file with CA certificates cannot be read, or contains none. Correct or unset the variables REQUESTS_CA_BUNDLE "
    "and CURL_CA_BUNDLE."
)
_TUNNEL_FAILED = re.compile(r"Tunnel connection failed: (\d{3})\b")
TOO_SLOW = "The answer arrived too slowly"
HTTP_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError)


@dataclass(frozen=True)
class ApiRequest:
    """A request to the API.

    Attributes:
        method: The HTTP method.
        path: The path below `api_url`, encoded.
        limiter: The rate limit that the request waits for; None to send it immediately.
        params: Query parameters by name.
        json: The body, if there is one.
        headers: Headers beside those of every request.
        check: Rejects a body that cannot be right, with a `RetriableApiError`.
        time_field: The field of the body with the time at which the API received the request; empty for none.
    """

    method: str
    path: str
    limiter: PriorityRateLimiter | None
    params: Mapping[str, str] | None = None
    json: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None
    check: Check | None = None
    time_field: str = ""

    @property
    def key(self) -> str:
        """The same text for the same request, sent again."""
        return f"{self.method} {self.path} {self.params} {self.json}"


def is_success(status: int) -> bool:
    """Return True for HTTP 2xx."""
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


class Session(requests.Session):
    """Connections that follow no redirect and keep no cookie."""

    def __init__(self, user_agent: str, adapter: BoundedAdapter, *, trust_env: bool) -> None:
        super().__init__()
        for scheme in ("https://", "http://"):
            self.mount(scheme, adapter)
        self.headers["User-Agent"] = user_agent
        self.trust_env = trust_env
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Report no redirect. For a redirect, requests would read the whole body, even if it must not follow."""


class Transport:
    """Sends single requests to the API. Safe to use from several threads, each of which has its own connections.

    Attributes:
        clock: Vonage's clock, set by each answer.
        credentials_accepted: True once the API has answered a request in a way that only valid credentials get.
        plain_http: True if `api_url` is not encrypted, as it is for a sandbox on this machine.
    """

    def __init__(self, api_url: str, api_key: str, api_secret: str, *, timeout_seconds: float, user_agent: str) -> None:
        """Set up a transport; nothing is sent yet.

        Args:
            api_url: Base address without a path.
            api_key: The user name for HTTP Basic; any characters.
            api_secret: The password for HTTP Basic; any characters.
            timeout_seconds: Timeout of connecting, and of each read.
            user_agent: Name of this client in the API's logs.
        """
        self.clock = ServerClock()
        self.api_url = api_url.rstrip("/")
        self.plain_http = urlsplit(api_url).scheme == "http"
        # UTF-8, because requests would use Latin-1, which does not have every character.
        self._auth = HTTPBasicAuth(api_key.encode(), api_secret.encode())
        self._timeout = timeout_seconds
        self._user_agent = user_agent
        self.credentials_accepted = False
        self._denied: set[str] = set()
        self._threads = threading.local()

    def send(self, request: ApiRequest, context: RequestContext) -> ApiResponse:
        """Send a request once, and read its answer.

        Raises:
            CredentialsError: HTTP 401 before any request has succeeded.
            RequestRejectedError: Any other status that is not retried.
            RetriableApiError: HTTP 408, 429 or 5xx, a broken connection, or an unusable body.
            ConnectionFailedError: No connection.
            UnreachableError: `api_url` is malformed, or its certificate is not trusted.
            RequestCancelled: The context was cancelled before the request was sent.
        """
        with self.open(request, context) as response:
            arrived_at, answered_at = self.clock.local(), self.clock.learn(response.headers.get("Date"))
            body = self.read_body(response)
        # Of a success, the status says little: the specification names 200 alone, also for a new report [confirmed].
        if not is_success(response.status_code):
            raise self.error_for(request, response, body, answered_at)
        content = read_answer(body, response.status_code)
        if request.check:
            request.check(content)
        if request.method == "GET" and response.status_code == HTTPStatus.PARTIAL_CONTENT:
            msg = "The API answered HTTP 206 with only part of what was requested"
            raise RetriableApiError(msg)
        time_in_body = content.get(request.time_field)
        answer = ApiResponse(content, self.clock.learn_from_body(time_in_body, answered_at, arrived_at))
        self.credentials_accepted = True
        return answer

    @contextmanager
    def open(self, request: ApiRequest, context: RequestContext) -> Generator[requests.Response, None, None]:
        """Send a request once; the body of its answer can be read inside the `with` block.

        Raises:
            RetriableApiError: The connection broke, also inside the block.
            ConnectionFailedError: No connection.
            UnreachableError: `api_url` is malformed, or its certificate is not trusted.
            RequestCancelled: The context was cancelled before the request was sent.
        """
        context.cancel_token.pause(0)
        if request.limiter:
            request.limiter.wait(context)
        try:
            with (
                deadline(self._timeout),
                self._exchange(request) as response,
            ):
                if response.status_code != HTTPStatus.UNAUTHORIZED:
                    self._denied.discard(request.key)
                yield response
        except HTTP_ERRORS as error:
            # Its own text repeats the address with all parameters.
            raise _connection_error(error, self._host, has_worked=self.credentials_accepted) from None

    def _exchange(self, request: ApiRequest) -> requests.Response:
        try:
            return self._session.request(
                request.method,
                self.api_url + request.path,
                params=request.params,
                json=request.json,
                headers=request.headers,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            )
        except HTTP_ERRORS:
            raise
        except OSError:
            # requests looks for the file before it connects.
            raise UnreachableError(NO_CERTIFICATES) from None

    @property
    def _host(self) -> str:
        """The host of `api_url`, for a log line. The settings were checked: it contains no credentials."""
        return printable(urlsplit(self.api_url).netloc)[:MAX_HOST_CHARACTERS]

    def error_for(
        self, request: ApiRequest, response: requests.Response, body: bytearray, answered_at: datetime
    ) -> TapError:
        """Return the error that an answer without success means. A first HTTP 401 in a run that works is retried."""
        error = to_error(
            response,
            body,
            answered_at,
            credentials_accepted=self.credentials_accepted,
            denied_before=request.key in self._denied,
        )
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            self._denied.add(request.key)
        if isinstance(error, RequestRejectedError):
            error.answered_at = self.clock.earliest(answered_at)
            if not isinstance(error, UnexpectedRedirectError):
                self.credentials_accepted = True
        return error

    def read_body(self, response: requests.Response) -> bytearray:
        """Read a JSON body to its end.

        Raises:
            RetriableApiError: It is too large or too slow.
        """
        body = bytearray()
        for part in self.iter_body(response):
            body += part
            if len(body) > MAX_BODY_BYTES:
                msg = f"The API sent a body of more than {MAX_BODY_BYTES >> 20} MiB"
                raise RetriableApiError(msg)
        return body

    def iter_body(self, response: requests.Response) -> Iterator[bytes]:
        """Read a body in parts as they arrive, inflated.

        Raises:
            RetriableApiError: It is too slow: see `connections.MAX_EXCHANGE_TIMEOUTS`.
        """
        end = current_deadline()
        while part := response.raw.read1(READ_BYTES, decode_content=True):
            yield part
            end.extend(len(part))
            if end.seconds_left <= 0:
                raise RetriableApiError(TOO_SLOW)

    @contextmanager
    def open_elsewhere(self, url: str, headers: Mapping[str, str]) -> Generator[requests.Response, None, None]:
        """Send a GET request to another host, without credentials of any kind.

        Raises:
            requests.RequestException: The connection failed or broke, and other `HTTP_ERRORS`.
            PrivateAddressError: The host is in a private network, and `api_url` is not.
        """
        with (
            deadline(self._timeout),
            self._new_session(BoundedAdapter() if self.in_private_network else PublicAdapter()) as session,
            session.get(
                url, timeout=self._timeout, allow_redirects=False, stream=True, auth=_no_auth, headers=headers
            ) as response,
        ):
            yield response

    @cached_property
    def in_private_network(self) -> bool:
        """True if `api_url` is on this machine or in a private network."""
        return self.plain_http or leads_to_private_network(urlsplit(self.api_url).hostname or "")

    @property
    def _session(self) -> requests.Session:
        """The connections of the current thread."""
        if not hasattr(self._threads, "session"):
            session = self._new_session(BoundedAdapter())
            session.auth = self._auth
            session.headers["Accept"] = "application/json"
            self._threads.session = session
        session_of_thread: requests.Session = self._threads.session
        return session_of_thread

    def _new_session(self, adapter: BoundedAdapter) -> Session:
        # A proxy from the environment would receive the credentials for a plain-http address unencrypted.
        return Session(self._user_agent, adapter, trust_env=not self.plain_http)


def _connection_error(error: Exception, host: str, *, has_worked: bool) -> TapError:
    """Return our error for one of `HTTP_ERRORS`.

    Args:
        error: The error. Of its text, nothing is repeated.
        host: Where the connection was to lead.
        has_worked: True if the API has answered before.
    """
    name, causes = type(error).__name__, list(_causes(error))
    if any(isinstance(cause, ssl.SSLError) and cause.library == "X509" for cause in causes):
        return UnreachableError(NO_CERTIFICATES)
    for kinds, advice in HOPELESS.items():
        if any(isinstance(cause, kinds) for cause in causes):
            return UnreachableError(f"No connection to {host} ({name}). {advice}")
    if error.args and isinstance(error.args[0], urllib3.exceptions.MaxRetryError):
        found = (text for kind, text in REASONS.items() if any(isinstance(cause, kind) for cause in causes))
        status = next(filter(None, map(_status_of_proxy, causes)), "")
        reason = f"the proxy refuses it with HTTP {status}" if status else next(found, name)
        text = f"No connection to {host} ({reason})"
        is_refused = status.startswith("4") or any(isinstance(cause, ConnectionRefusedError) for cause in causes)
        return ConnectionRefusedByHostError(text) if is_refused and not has_worked else ConnectionFailedError(text)
    if isinstance(error, (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError)):
        return RetriableApiError(f"{TOO_SLOW} ({name})")
    return RetriableApiError(f"The connection broke ({name})")


def _status_of_proxy(cause: BaseException) -> str:
    """Return the HTTP status with which a proxy refuses to connect; empty if the cause is another."""
    refusal = _TUNNEL_FAILED.match(str(cause)) if type(cause) is OSError else None
    return refusal[1] if refusal else ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it wraps. requests and urllib3 keep them as arguments, too."""
    yield error
    for inner in (*error.args, getattr(error, "reason", None), error.__cause__):
        if isinstance(inner, BaseException):
            yield from _causes(inner)


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Add no credentials, not even those that a .netrc has for the host."""
    return request
