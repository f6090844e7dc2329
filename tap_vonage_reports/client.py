"""ReportsClient: the only module that speaks HTTP. One method per endpoint.

Authentication is HTTP Basic, nothing else [confirmed]. Limits of 10 requests a second for synchronous
queries and 5 for the rest [confirmed; their scope is unknown] are kept on this side, over all threads.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

import backoff
import msgspec
import requests
import urllib3
from requests.auth import HTTPBasicAuth

from tap_vonage_reports.errors import (
    ApiError,
    BrokenAnswerError,
    ConnectionFailedError,
    CredentialsError,
    NoRoomError,
    NotAvailable,
    NotInThePast,
    RateLimitedError,
    Refusal,
    TapError,
    Unauthorized,
    UnreachableError,
)
from tap_vonage_reports.turns import RateLimit, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping
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
"""A body may take this many read timeouts in all, so that one that only drips cannot hold a run for ever."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


class VonageClock:
    """Vonage's clock, as far as the `Date` headers of its answers have told it."""

    def __init__(self) -> None:
        self._ahead = timedelta(0)
        self.known = False

    def now(self) -> datetime:
        """The time on Vonage's clock, in UTC; on ours before the first answer."""
        return datetime.now(timezone.utc) + self._ahead

    def learn(self, date: str | None) -> datetime:
        """Take the time from a `Date` header; return the time of that answer."""
        answered_at = _http_date(date)
        if answered_at is None:
            return self.now()
        self._ahead = answered_at - datetime.now(timezone.utc)
        self.known = True
        return answered_at


class Answer(msgspec.Struct, frozen=True):
    """What the API said: the body of a 200, and when it was said on Vonage's clock."""

    body: dict[str, Any]
    at: datetime


class Refused(NamedTuple):
    """What is kept of a 4xx: see `Refusal`."""

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
        pace: float = 1,
    ) -> None:
        """Set up a client; nothing is sent yet.

        Args:
            api_url: Base address without a path. Credentials go to it and nowhere else.
            api_key: The primary account's key; any characters.
            api_secret: Its secret; any characters.
            timeout_seconds: How long to wait for a connection, and for each part of an answer.
            user_agent: What the API sees as the client's name.
            sync_rate: Synchronous queries a second, at most.
            pace: Scale of the waits between tries; at 0, as tests run, no rate limit is kept either.
        """
        self.clock = VonageClock()
        self._api_url = api_url.rstrip("/")
        self._api_key = api_key
        # Encoded here because requests would use Latin-1, in which not every secret can be written.
        self._auth = HTTPBasicAuth(api_key.encode(), api_secret.encode())
        self._timeout = timeout_seconds
        self._user_agent = user_agent
        self._pace = pace
        self._sync_limit = RateLimit(sync_rate)
        self._accepted = False
        self._threads = threading.local()

    def records(self, query: Mapping[str, str], turn: Turn | None = None) -> Answer:
        """One page of records: ``GET /v2/reports/records``.

        Args:
            query: The query's parameters by name.
            turn: How urgent it is, and the means to end its waits.

        Returns:
            The answer's body: `records`, `request_status`, `cursor`, `iv`, `_links`, ... [confirmed; no
            key is marked required]. Numbers with a fraction are `Decimal`.

        Raises:
            CredentialsError: The key or the secret is wrong.
            Refusal: The API will not serve this query.
            BrokenAnswerError: No usable answer, also after retries.
            UnreachableError: No answer at all, also after retries.
            Cancelled: The turn was cancelled.
        """
        return self._get("/v2/reports/records", query, self._sync_limit, _check_records, turn)

    def create_report(self, body: Mapping[str, Any]) -> Answer:
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
        return self._persistently(self._create, Turn(), body)

    def report(self, request_id: str) -> Answer:
        """The state of a report: ``GET /v2/reports/{request_id}``. Gone after 4 days [confirmed].

        Raises:
            ApiError: As for `records`; a `Refusal` with status 404 when the report is gone.
        """
        return self._get(_report_path(request_id), {}, self._async_limit, _check_report)

    def cancel_report(self, request_id: str) -> Answer:
        """Abort a report: ``DELETE /v2/reports/{request_id}``. 409 when it has finished [confirmed].

        Raises:
            ApiError: As for `records`.
        """
        return self._persistently(self._attempt, Turn(), "DELETE", _report_path(request_id), self._async_limit, None)

    def download(self, link: str, file: BinaryIO) -> None:
        """Download a report's file: ``GET /v3/media/{file_id}``. Gone after 72 hours [confirmed].

        Of the link only the path counts. A download that breaks goes on where it broke, if the API can do that.

        Args:
            link: The address that the report's state gives.
            file: Where to write to; empty at first.

        Raises:
            ApiError: As for `records`; a `Refusal` with status 404 when the file is gone.
        """
        self._persistently(self._download, Turn(), urlsplit(link).path, file)

    def subaccounts(self) -> list[str]:
        """The API keys of the primary account's sub-accounts: ``GET /accounts/{api_key}/subaccounts``.

        Raises:
            ApiError: As for `records`; also when the answer lists no sub-accounts in the known place.
        """
        answer = self._get(f"/accounts/{quote(self._api_key, safe='')}/subaccounts", {}, self._async_limit)
        try:
            return [str(subaccount["api_key"]) for subaccount in answer.body["_embedded"]["subaccounts"]]
        except (KeyError, TypeError):
            msg = (
                "The Subaccounts API answered without a list of sub-accounts. "
                "Name the accounts in account_ids instead of include_subaccounts."
            )
            raise ApiError(msg) from None

    def _create(self, turn: Turn, body: Mapping[str, Any]) -> Answer:
        try:
            return self._attempt(turn, "POST", "/v2/reports", self._async_limit, _check_report, json=dict(body))
        except RateLimitedError as full:
            raise NoRoomError(full.retry_after) from full

    def _download(self, turn: Turn, path: str, file: BinaryIO) -> None:
        have = file.tell()
        headers = {"Accept": "application/octet-stream", **({"Range": f"bytes={have}-"} if have else {})}
        with self._exchange(turn, "GET", path, None, headers=headers) as response:
            at = self.clock.learn(response.headers.get("Date"))
            if response.is_redirect:
                # Perhaps a store behind the media service [unknown]; it gets no credentials.
                self._download_elsewhere(response.headers["Location"], file)
                return
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                file.seek(0)
                file.truncate()
                msg = "The download could not be continued"
                raise BrokenAnswerError(msg)
            if response.status_code not in (requests.codes.ok, requests.codes.partial_content):
                raise self._error(response, self._body(response), at)
            _save(response, file, have)

    def _download_elsewhere(self, url: str, file: BinaryIO) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in LOOPBACK:
            msg = "The media service redirects to an address that is not https, which is not followed"
            raise BrokenAnswerError(msg)
        file.seek(0)
        file.truncate()
        with requests.get(url, timeout=self._timeout, allow_redirects=False, stream=True, auth=_no_auth) as response:
            if response.status_code != requests.codes.ok:
                msg = f"The store behind the media service answered HTTP {response.status_code}"
                raise BrokenAnswerError(msg)
            _save(response, file, 0)

    @cached_property
    def _async_limit(self) -> RateLimit:
        return RateLimit(ASYNC_RATE)

    @property
    def _session(self) -> requests.Session:
        if not hasattr(self._threads, "session"):
            session = requests.Session()
            session.auth = self._auth
            session.headers["User-Agent"] = self._user_agent
            session.headers["Accept"] = "application/json"
            # A proxy from the environment would get the credentials of a plain-http address in clear.
            session.trust_env = urlsplit(self._api_url).hostname not in LOOPBACK
            self._threads.session = session
        session_of_thread: requests.Session = self._threads.session
        return session_of_thread

    def _get(
        self,
        path: str,
        query: Mapping[str, str],
        limit: RateLimit,
        check: Check | None = None,
        turn: Turn | None = None,
    ) -> Answer:
        return self._persistently(self._attempt, turn or Turn(), "GET", path, limit, check, params=query)

    def _persistently(self, attempt: Callable[..., T], turn: Turn, *args: Any, **kwargs: Any) -> T:  # noqa: ANN401 - handed on
        """Try until there is an answer that is not broken, or the tries are used up."""
        retried = backoff.on_exception(
            _waits,
            BrokenAnswerError,
            max_tries=MAX_TRIES,
            max_time=RETRY_BUDGET_SECONDS,
            giveup=lambda error: getattr(error, "retry_after", 0) > RETRY_BUDGET_SECONDS,
            jitter=None,
            logger=None,
            turn=turn,
            pace=self._pace,
        )(attempt)
        try:
            return retried(turn, *args, **kwargs)
        except ConnectionFailedError as error:
            msg = f"{error.what}: the API cannot be reached. Check api_url and the network."
            raise UnreachableError(msg) from error

    def _attempt(
        self,
        turn: Turn,
        method: str,
        path: str,
        limit: RateLimit,
        check: Check | None,
        **content: Any,  # noqa: ANN401 - what requests takes
    ) -> Answer:
        with self._exchange(turn, method, path, limit, **content) as response:
            at = self.clock.learn(response.headers.get("Date"))
            body = self._body(response)
        if response.status_code != requests.codes.ok:
            raise self._error(response, body, at)
        answer = Answer(_decode(body), at)
        if check:
            check(answer.body)
        self._accepted = True
        return answer

    @contextmanager
    def _exchange(
        self,
        turn: Turn,
        method: str,
        path: str,
        limit: RateLimit | None,
        **content: Any,  # noqa: ANN401 - what requests takes
    ) -> Generator[requests.Response, None, None]:
        """One request and its answer, whose body is still to be read; what breaks them, as our own errors.

        Redirects are not followed: the credentials are for api_url only.
        """
        if limit and self._pace:
            limit.wait(turn)
        try:
            with self._session.request(
                method, self._api_url + path, timeout=self._timeout, allow_redirects=False, stream=True, **content
            ) as response:
                yield response
        # No error is chained below: its text repeats the address with all parameters.
        except (requests.exceptions.InvalidURL, requests.exceptions.SSLError) as error:
            msg = f"api_url cannot be asked ({type(error).__name__}). Check the address and its certificate."
            raise UnreachableError(msg) from None
        except requests.RequestException as error:
            connected = not (error.args and isinstance(error.args[0], urllib3.exceptions.MaxRetryError))
            msg = f"The connection {'broke' if connected else 'failed'} ({type(error).__name__})"
            raise (BrokenAnswerError if connected else ConnectionFailedError)(msg) from None

    def _body(self, response: requests.Response) -> bytes:
        deadline = time.monotonic() + BODY_TIMEOUTS * self._timeout
        chunks = []
        for chunk in response.iter_content(1 << 16):
            chunks.append(chunk)
            if time.monotonic() > deadline:
                raise requests.exceptions.ReadTimeout
        return b"".join(chunks)

    def _error(self, response: requests.Response, body: bytes, at: datetime) -> TapError:
        status = response.status_code
        problem = _problem(body)
        title = _words(problem.get("title")) or response.reason or "without a title"
        retry_after = _retry_after(response.headers.get("Retry-After"), at)
        if status == requests.codes.too_many_requests:
            return RateLimitedError(f"HTTP 429 {title}: the key's rate limit is used up", retry_after=retry_after)
        if status >= requests.codes.internal_server_error:
            return BrokenAnswerError(f"HTTP {status} {title}", retry_after=retry_after)
        return self._refusal(Refused(status, title, _parameters(problem), at), " ".join(_texts(problem)).lower())

    def _refusal(self, refused: Refused, said: str) -> TapError:
        """What a 4xx means: its kind is told by its status, the parameters it blames, and a phrase."""
        kind: type[Refusal] = Refusal
        if refused.status == requests.codes.unauthorized and "provision" not in said:
            if not self._accepted:
                return CredentialsError(
                    "The API does not accept api_key and api_secret (HTTP 401). "
                    "Check both in the Vonage dashboard; the key is the primary account's."
                )
            kind = Unauthorized
        elif refused.status in (requests.codes.unauthorized, requests.codes.forbidden):
            kind = NotAvailable
        elif refused.status == requests.codes.unprocessable_entity:
            if "in the past" in said:
                kind = NotInThePast
            elif "product" in refused.parameters:
                kind = NotAvailable
        self._accepted = True
        return kind(*refused)


def _report_path(request_id: str) -> str:
    return f"/v2/reports/{quote(request_id, safe='')}"


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """No credentials, not even those that a .netrc has for the host."""
    return request


def _save(response: requests.Response, file: BinaryIO, have: int) -> None:
    """Write a body to a file; from the start, unless the answer is the part that was missing."""
    if response.status_code == requests.codes.partial_content and not response.headers.get(
        "Content-Range", ""
    ).startswith(f"bytes {have}-"):
        msg = "The download went on at another place than asked for"
        raise BrokenAnswerError(msg)
    if response.status_code == requests.codes.ok:
        have = 0
    file.seek(have)
    file.truncate()
    file.writelines(response.iter_content(1 << 18))


def _check_report(body: Mapping[str, Any]) -> None:
    if not isinstance(body.get("request_id"), str) or not body["request_id"]:
        msg = "The API answered 200 without the id of a report"
        raise BrokenAnswerError(msg)


def _waits(turn: Turn, pace: float) -> Generator[float, Any, None]:
    """Wait before each further try: 1, 2, 4, ... 60 seconds, or what the API asks for when that is longer.

    The waits are made here, because those of the library cannot be ended: it gets nothing to wait for.
    """
    error = yield 0
    for number, seconds in enumerate(filter(None, backoff.expo(max_value=MAX_WAIT_SECONDS)), start=2):
        wait = backoff.random_jitter(max(seconds, error.retry_after)) * pace
        logger.warning("%s. Try %d of %d in %.1f s", error.what, number, MAX_TRIES, wait)
        turn.pause(wait)
        error = yield 0


def _check_records(body: Mapping[str, Any]) -> None:
    """Refuse a page that cannot be whole. `items_count` counts the rows of this page [confirmed]."""
    records = body.get("records")
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        msg = "The API answered 200 without a list of records"
        raise BrokenAnswerError(msg)
    count = body.get("items_count")
    if isinstance(count, int) and count != len(records):
        msg = f"The API announced {count} records on a page and sent {len(records)}"
        raise BrokenAnswerError(msg)


def _decode(body: bytes) -> dict[str, Any]:
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        msg = "The API answered 200 with a body that is not a JSON object"
        raise BrokenAnswerError(msg) from None


def _problem(body: bytes) -> dict[str, Any]:
    """The body of an error as a problem (RFC 7807); empty when it is something else, such as a gateway's page."""
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _parameters(problem: Mapping[str, Any]) -> list[str]:
    invalid = problem.get("invalid_parameters")
    if not isinstance(invalid, list):
        return []
    names = (_words(item.get("name")) for item in invalid if isinstance(item, dict))
    return [name for name in names if name]


def _texts(value: object) -> Iterable[str]:
    """All texts in a problem, to look for a phrase in; the API's `type` is not to be relied on [confirmed]."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _words(text: object, longest: int = 80) -> str:
    """A title or a name that is safe to show: short, printable, and without digits that may be a number."""
    if not isinstance(text, str) or sum(character.isdigit() for character in text) > 4:  # noqa: PLR2004 - a phone number has more
        return ""
    return "".join(character for character in text if character.isprintable())[:longest]


def _http_date(text: str | None) -> datetime | None:
    try:
        time = parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
    return time.astimezone(timezone.utc) if time else None


def _retry_after(text: str | None, now: datetime) -> float:
    """Seconds from a `Retry-After` header, which may be a number (documented) or an HTTP date; 0 if neither."""
    if not text:
        return 0
    try:
        return max(0.0, float(text))
    except ValueError:
        until = _http_date(text)
        return max(0.0, (until - now).total_seconds()) if until else 0
