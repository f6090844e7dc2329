"""ReportsClient: the only module that speaks HTTP. One method per endpoint.

Authentication is HTTP Basic, nothing else [confirmed]. Limits of 10 requests a second for synchronous
queries and 5 for the rest [confirmed] are kept on this side, over all threads. Whether polling and downloads count
among the rest is unknown: they do here.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from functools import cached_property
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeVar
from urllib.parse import quote, unquote, urljoin, urlsplit

import backoff
import msgspec
import requests
import urllib3
from requests.auth import HTTPBasicAuth

from tap_vonage_reports.api.rate_limit import PriorityRateLimiter
from tap_vonage_reports.api.request_context import CancelToken, RequestContext
from tap_vonage_reports.api.responses import (
    check_records,
    check_report,
    http_date,
    is_id,
    parameters_of,
    read_answer,
    read_problem,
    retry_after,
)
from tap_vonage_reports.errors import (
    ApiError,
    ConnectionFailedError,
    CredentialsError,
    CredentialsRevokedError,
    ProductUnavailableError,
    RateLimitedError,
    ReportError,
    ReportLimitError,
    RequestRejectedError,
    RetriableApiError,
    TapError,
    UnexpectedRedirectError,
    UnreachableError,
    WindowInFutureError,
)
from tap_vonage_reports.exact_json import texts_of
from tap_vonage_reports.redaction import safe_for_log

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from typing import TypeAlias

    Check: TypeAlias = Callable[[Mapping[str, Any]], None]

T = TypeVar("T")
logger = logging.getLogger(__name__)

SYNC_RATE = 10
ASYNC_RATE = 5
MAX_TRIES = 8
MAX_WAIT_SECONDS = 60.0
RETRY_BUDGET_SECONDS = 900.0
"""How long one request is retried in all, waits that the API asks for included."""
BODY_TIMEOUTS = 5
MIN_BYTES_PER_SECOND = 1 << 16
"""A body may take this many read timeouts in all, and a second for so many bytes of it: one that only drips cannot hold
a run for ever, and a large file is given the time that it needs."""
BYTES_AT_ONCE = 1 << 18
MAX_BODY_BYTES = 1 << 25
"""Bytes of a JSON body, inflated: 32 KiB for each of the 1000 rows that a page has at most [confirmed], where real ones
take one or two."""
MAX_FILE_BYTES = 1 << 32
"""Bytes of a report's file. The API cuts reports at 1 GB [likely]; four times as much is room for the day when it takes
more."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
HTTP_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError)


class ServerClock:
    """Vonage's clock, as far as the `Date` headers of its answers have told it."""

    def __init__(self) -> None:
        self._ahead = timedelta(0)
        self.known = False

    def now(self) -> datetime:
        """The time on Vonage's clock, in UTC; on ours before the first answer."""
        return datetime.now(timezone.utc) + self._ahead

    def learn(self, date: str | None) -> datetime:
        """Take the time from a `Date` header; return the time of that answer."""
        answered_at = http_date(date)
        if answered_at is None:
            return self.now()
        self._ahead = answered_at - datetime.now(timezone.utc)
        self.known = True
        return answered_at


class ApiResponse(msgspec.Struct, frozen=True):
    """What the API said: the body of a 200, and when it was said on Vonage's clock."""

    body: dict[str, Any]
    at: datetime


class Refused(NamedTuple):
    """What is kept of a 4xx: see `RequestRejectedError`."""

    status: int
    title: str
    parameters: list[str]
    at: datetime


class ReportsClient:
    """The Reports API as methods, with authentication, limits, retries and deadlines.

    Safe to use from several threads; each has its own connections.
    """

    def __init__(  # noqa: PLR0913 - an address, its credentials, and how to behave
        self,
        api_url: str,
        api_key: str,
        api_secret: str,
        *,
        timeout_seconds: float,
        user_agent: str,
        sync_rate: int = SYNC_RATE,
        delay_factor: float = 1,
    ) -> None:
        """Set up a client; nothing is sent yet.

        Args:
            api_url: Base address without a path. Credentials go to it and nowhere else.
            api_key: The primary account's key; any characters.
            api_secret: Its secret; any characters.
            timeout_seconds: How long to wait for a connection, and for each part of an answer.
            user_agent: What the API sees as the client's name.
            sync_rate: Synchronous queries a second, at most.
            delay_factor: Scale of the waits between tries; at 0, as tests run, no rate limit is kept either.
        """
        self.clock = ServerClock()
        self._api_url = api_url.rstrip("/")
        # A proxy from the environment would get the credentials of a plain-http address in clear.
        self._here = urlsplit(api_url).scheme == "http"
        self._api_key = api_key
        # Encoded here because requests would use Latin-1, in which not every secret can be written.
        self._auth = HTTPBasicAuth(api_key.encode(), api_secret.encode())
        self._timeout = timeout_seconds
        self._user_agent = user_agent
        self._pace = delay_factor
        self._sync_limit = PriorityRateLimiter(sync_rate)
        self._accepted = False
        self._threads = threading.local()

    def records(self, query: Mapping[str, str], context: RequestContext | None = None) -> ApiResponse:
        """One page of records: ``GET /v2/reports/records``.

        Args:
            query: The query's parameters by name.
            context: Priority, cancellation and metrics; None for a request of the main thread that is not counted.

        Returns:
            The answer's body: `records`, `request_status`, `cursor`, `iv`, `_links`, ... [confirmed; no
            key is marked required]. Numbers with a fraction are `Decimal`.

        Raises:
            CredentialsError: The key or the secret is wrong.
            Refusal: The API will not serve this query.
            RetriableApiError: No usable answer, also after retries.
            UnreachableError: No answer at all, also after retries.
            RequestCancelled: The context was cancelled.
        """
        context = context or RequestContext()
        metrics = context.metrics

        def attempt(*args: Any, **kwargs: Any) -> ApiResponse:  # noqa: ANN401 - handed on
            if metrics:
                metrics.count_request()
            answer = self._attempt(*args, **kwargs)
            if metrics:
                metrics.count_price(answer.body)
            return answer

        arguments = ("GET", "/v2/reports/records", self._sync_limit, check_records)
        return self._persistently(attempt, context, *arguments, params=query)

    def create_report(self, body: Mapping[str, Any]) -> ApiResponse:
        """Ask for a report: ``POST /v2/reports``.

        A 429 is not retried: it may be the limit of concurrent reports, which only the caller knows to keep.

        Args:
            body: Product, account, window, and whatever narrows the query. Booleans are booleans [confirmed].

        Returns:
            The state of the new report; only `request_id` is sure to be there [confirmed].

        Raises:
            RateLimitedError: There is no room for one more.
            ApiError: As for `records`.
        """
        return self._persistently(self._create, RequestContext(), body)

    def report(self, request_id: str) -> ApiResponse:
        """The state of a report: ``GET /v2/reports/{request_id}``. Gone after 4 days [confirmed].

        Raises:
            ApiError: As for `records`; a `RequestRejectedError` with status 404 when the report is gone.
        """
        return self._get(_report_path(request_id), self._async_limit, check_report)

    def cancel_report(self, request_id: str) -> ApiResponse:
        """Abort a report: ``DELETE /v2/reports/{request_id}``. 409 when it has finished [confirmed].

        Raises:
            ApiError: As for `records`.
        """
        return self._persistently(
            self._attempt, RequestContext(), "DELETE", _report_path(request_id), self._async_limit, None
        )

    def download(self, link: str, file: BinaryIO) -> None:
        """Download a report's file: ``GET /v3/media/{file_id}``. Gone after 72 hours [confirmed].

        Of the link only the path counts. A download that breaks goes on where it broke, if the API can do that.

        Args:
            link: The address that the report's state gives.
            file: Where to write to; empty at first.

        Raises:
            ApiError: As for `records`; a `RequestRejectedError` with status 404 when the file is gone.
            ReportError: The link leads nowhere or to where it is not safe, or the file is larger than `MAX_FILE_BYTES`.
        """
        self._persistently(self._download, RequestContext(), _media_path(link), file)

    def subaccounts(self) -> list[str]:
        """The API keys of the primary account's sub-accounts: ``GET /accounts/{api_key}/subaccounts``.

        Raises:
            ApiError: As for `records`; also when the answer lists no sub-accounts in the known place.
        """
        answer = self._get(f"/accounts/{quote(self._api_key, safe='')}/subaccounts", self._async_limit)
        try:
            listed = answer.body["_embedded"]["subaccounts"]
            keys = [subaccount["api_key"] for subaccount in listed]
        except (KeyError, TypeError):
            listed, keys = None, []
        if not isinstance(listed, list) or not all(map(is_id, keys)):
            msg = (
                "The Subaccounts API answered without a list of sub-accounts. "
                "Name the accounts in account_ids instead of include_subaccounts."
            )
            raise ApiError(msg)
        return keys

    def _create(self, context: RequestContext, body: Mapping[str, Any]) -> ApiResponse:
        try:
            return self._attempt(context, "POST", "/v2/reports", self._async_limit, check_report, json=dict(body))
        except RateLimitedError as full:
            raise ReportLimitError(full.retry_after) from full

    def _download(self, context: RequestContext, path: str, file: BinaryIO) -> None:
        have = file.tell()
        # Unpacked on the way, a file could not go on where it broke.
        headers = {"Accept": "application/octet-stream", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        with self._exchange(context, "GET", path, self._async_limit, headers=headers) as response:
            at = self.clock.learn(response.headers.get("Date"))
            if not response.is_redirect:
                self._take_file(response, file, have, at)
                return
            location = response.headers["Location"]
        # Perhaps a store behind the media service [unknown]; it gets no credentials.
        self._download_elsewhere(self._elsewhere(path, location), file)

    def _take_file(self, response: requests.Response, file: BinaryIO, have: int, at: datetime) -> None:
        """Write a file, or the part of it that was missing."""
        if response.status_code == requests.codes.ok:
            self._save(response, file, 0)
        elif response.status_code == requests.codes.partial_content:
            if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                _empty(file)
                msg = "The download went on at another place than asked for"
                raise RetriableApiError(msg)
            self._save(response, file, have)
        elif response.status_code == requests.codes.requested_range_not_satisfiable:
            _empty(file)
            msg = "The download could not be continued"
            raise RetriableApiError(msg)
        else:
            raise self._error(response, self._body(response), at)

    def _elsewhere(self, path: str, location: str) -> str:
        """Where a redirect leads to: to https, or on this machine where api_url itself is there."""
        try:
            url = urljoin(self._api_url + path, location)
            parts = urlsplit(url)
            safe = bool(parts.hostname) and (
                parts.scheme == "https" or (parts.scheme == "http" and self._here and parts.hostname in LOOPBACK)
            )
        except ValueError:
            safe = False
        if not safe:
            msg = (
                "The media service redirects to an address that is not https, which is not followed. The next run "
                "takes the same report up; if this lasts, ask Vonage support."
            )
            raise ReportError(msg)
        return url

    def _download_elsewhere(self, url: str, file: BinaryIO) -> None:
        try:
            with (
                _Session(self._user_agent, trusts_environment=not self._here) as session,
                session.get(
                    url,
                    timeout=self._timeout,
                    allow_redirects=False,
                    stream=True,
                    auth=_no_auth,
                    headers={"Accept-Encoding": "identity"},
                ) as response,
            ):
                if response.status_code != requests.codes.ok:
                    msg = f"The store behind the media service answered HTTP {response.status_code}"
                    raise RetriableApiError(msg)
                self._save(response, file, 0)
        except HTTP_ERRORS as error:
            msg = f"The store behind the media service cannot be read ({type(error).__name__})"
            raise RetriableApiError(msg) from None

    def _save(self, response: requests.Response, file: BinaryIO, have: int) -> None:
        """Write a body to a file, behind what there is of it."""
        file.seek(have)
        file.truncate()
        for part in self._parts(response):
            have += len(part)
            if have > MAX_FILE_BYTES:
                msg = (
                    f"The file of a report has more than {MAX_FILE_BYTES >> 30} GiB, which no report has. "
                    "Set a smaller report_window_days; if this lasts, ask Vonage support."
                )
                raise ReportError(msg)
            file.write(part)

    @cached_property
    def _async_limit(self) -> PriorityRateLimiter:
        return PriorityRateLimiter(ASYNC_RATE)

    @property
    def _session(self) -> requests.Session:
        if not hasattr(self._threads, "session"):
            session = _Session(self._user_agent, trusts_environment=not self._here)
            session.auth = self._auth
            session.headers["Accept"] = "application/json"
            self._threads.session = session
        session_of_thread: requests.Session = self._threads.session
        return session_of_thread

    def _get(self, path: str, limit: PriorityRateLimiter, check: Check | None = None) -> ApiResponse:
        return self._persistently(self._attempt, RequestContext(), "GET", path, limit, check)

    def _persistently(self, attempt: Callable[..., T], context: RequestContext, *args: Any, **kwargs: Any) -> T:  # noqa: ANN401 - handed on
        """Try until there is an answer that is not broken, or the tries are used up."""
        retried = backoff.on_exception(
            _waits,
            RetriableApiError,
            max_tries=MAX_TRIES,
            max_time=RETRY_BUDGET_SECONDS,
            giveup=lambda error: getattr(error, "retry_after", 0) > RETRY_BUDGET_SECONDS,
            jitter=None,
            logger=None,
            cancel_token=context.cancel_token,
            delay_factor=self._pace,
        )(attempt)
        try:
            return retried(context, *args, **kwargs)
        except ConnectionFailedError as error:
            msg = f"{error.reason}: the API cannot be reached. Check api_url and the network."
            raise UnreachableError(msg) from error

    def _attempt(
        self,
        context: RequestContext,
        method: str,
        path: str,
        limit: PriorityRateLimiter,
        check: Check | None,
        **content: Any,  # noqa: ANN401 - what requests takes
    ) -> ApiResponse:
        with self._exchange(context, method, path, limit, **content) as response:
            at = self.clock.learn(response.headers.get("Date"))
            body = self._body(response)
        if response.status_code != requests.codes.ok:
            raise self._error(response, body, at)
        answer = ApiResponse(read_answer(body), at)
        if check:
            check(answer.body)
        self._accepted = True
        return answer

    @contextmanager
    def _exchange(
        self,
        context: RequestContext,
        method: str,
        path: str,
        limit: PriorityRateLimiter,
        **content: Any,  # noqa: ANN401 - what requests takes
    ) -> Generator[requests.Response, None, None]:
        """One request and its answer, whose body is still to be read; what breaks them, as our own errors.

        Redirects are not followed: the credentials are for api_url only.
        """
        context.cancel_token.pause(0)
        if self._pace:
            limit.wait(context)
        try:
            with self._session.request(
                method, self._api_url + path, timeout=self._timeout, allow_redirects=False, stream=True, **content
            ) as response:
                yield response
        # No error is chained below: its text repeats the address with all parameters.
        except (
            requests.exceptions.InvalidURL,
            requests.exceptions.SSLError,
            urllib3.exceptions.LocationValueError,
        ) as error:
            msg = f"api_url cannot be asked ({type(error).__name__}). Check the address and its certificate."
            raise UnreachableError(msg) from None
        except HTTP_ERRORS as error:
            connected = not (error.args and isinstance(error.args[0], urllib3.exceptions.MaxRetryError))
            msg = f"The connection {'broke' if connected else 'failed'} ({type(error).__name__})"
            raise (RetriableApiError if connected else ConnectionFailedError)(msg) from None

    def _body(self, response: requests.Response) -> bytearray:
        body = bytearray()
        for part in self._parts(response):
            body += part
            if len(body) > MAX_BODY_BYTES:
                msg = f"The API answered with more than {MAX_BODY_BYTES >> 20} MiB, which is more than any answer has"
                raise RetriableApiError(msg)
        return body

    def _parts(self, response: requests.Response) -> Iterator[bytes]:
        """A body as it comes, inflated; in parts that are there at once, so that a slow one is seen to be slow."""
        began, size = time.monotonic(), 0
        while part := response.raw.read1(BYTES_AT_ONCE, decode_content=True):
            yield part
            size += len(part)
            if time.monotonic() - began > BODY_TIMEOUTS * self._timeout + size / MIN_BYTES_PER_SECOND:
                msg = "The answer comes too slowly"
                raise RetriableApiError(msg)

    def _error(self, response: requests.Response, body: bytearray, at: datetime) -> TapError:
        status = response.status_code
        problem = read_problem(body)
        title = safe_for_log(problem.get("title")) or safe_for_log(response.reason) or "without a title"
        wait = retry_after(response.headers.get("Retry-After"), at)
        if status == requests.codes.too_many_requests:
            return RateLimitedError(f"HTTP 429 {title}: the key's rate limit is used up", retry_after=wait)
        if status >= requests.codes.internal_server_error:
            return RetriableApiError(f"HTTP {status} {title}", retry_after=wait)
        # A phrase is looked for in all of it: the API's `type` is not to be relied on [confirmed].
        return self._refusal(Refused(status, title, parameters_of(problem), at), " ".join(texts_of(problem)).lower())

    def _refusal(self, refused: Refused, said: str) -> TapError:
        """What any other status means: the kind is told by it, by the parameters that are blamed, and by a phrase."""
        kind: type[RequestRejectedError] = RequestRejectedError
        if requests.codes.multiple_choices <= refused.status < requests.codes.bad_request:
            return UnexpectedRedirectError(*refused)
        if refused.status == requests.codes.unauthorized and "provision" not in said:
            if not self._accepted:
                return CredentialsError(
                    "Authentication failed (HTTP 401). Check api_key and api_secret in the Vonage dashboard; use the "
                    "primary account's key."
                )
            kind = CredentialsRevokedError
        elif refused.status in (requests.codes.unauthorized, requests.codes.forbidden):
            kind = ProductUnavailableError
        elif refused.status == requests.codes.unprocessable_entity:
            if "in the past" in said:
                kind = WindowInFutureError
            elif "product" in refused.parameters:
                kind = ProductUnavailableError
        self._accepted = True
        return kind(*refused)


class _Session(requests.Session):
    """Connections that follow no redirect and keep no cookie."""

    def __init__(self, user_agent: str, *, trusts_environment: bool) -> None:
        super().__init__()
        self.headers["User-Agent"] = user_agent
        self.trust_env = trusts_environment
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Say that no answer is a redirect: else requests reads its body, however long, even if it is not to follow."""


def _report_path(request_id: str) -> str:
    if not is_id(request_id):
        msg = "The state holds an id that no report has. Pass the state of this tap, or none to start over."
        raise ApiError(msg)
    return f"/v2/reports/{quote(request_id, safe='')}"


def _media_path(link: str) -> str:
    """The path of a link to a file. Without the slash, what follows would become part of the host."""
    try:
        path = urlsplit(link).path
    except ValueError:
        path = ""
    if not path.startswith("/") or {".", ".."}.intersection(unquote(path).split("/")):
        msg = "The API gave a link to the file of a report that leads nowhere. The next run takes the same report up."
        raise ReportError(msg)
    return path


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """No credentials, not even those that a .netrc has for the host."""
    return request


def _empty(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()


def _waits(cancel_token: CancelToken, delay_factor: float) -> Generator[float, Any, None]:
    """Wait before each further try: 1, 2, 4, ... 60 seconds, or what the API asks for when that is longer.

    The waits are made here, because those of the library cannot be ended: it gets nothing to wait for.
    """
    error = yield 0
    for number, seconds in enumerate(filter(None, backoff.expo(max_value=MAX_WAIT_SECONDS)), start=2):
        wait = backoff.random_jitter(max(seconds, error.retry_after)) * delay_factor
        logger.warning("%s. Try %d of %d in %.1f s", error.reason, number, MAX_TRIES, wait)
        cancel_token.pause(wait)
        error = yield 0
