"""The Reports API as methods, one per endpoint.

The client enforces two rate limits across all threads: by default 10 requests per second for synchronous queries, and 5
for reports [confirmed]. Polls and downloads count toward the latter here; for the API, that is [unknown].
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import quote

from tap_vonage_reports.api.accounts import check_accounts
from tap_vonage_reports.api.downloads import FileDownload
from tap_vonage_reports.api.rate_limit import BURST_SPACING, PriorityRateLimiter
from tap_vonage_reports.api.request_context import RequestContext
from tap_vonage_reports.api.responses import check_records, check_report, check_report_list, is_id
from tap_vonage_reports.api.retry import ONE_TRY, RetryPolicy, final_error
from tap_vonage_reports.api.transport import ApiRequest, Transport
from tap_vonage_reports.errors import (
    ApiError,
    ConnectionFailedError,
    RateLimitedError,
    ReportLimitError,
    RetriableApiError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tap_vonage_reports.api.clock import ServerClock
    from tap_vonage_reports.api.responses import ApiResponse

T = TypeVar("T")

SYNC_RATE = 10
"""Synchronous queries per second [confirmed]."""
ASYNC_RATE = 5
"""Requests per second to all other endpoints [confirmed for creating reports]."""
LIST_TRIES = 3
"""A list of reports saves money, but a run does not need it, and so does not wait long for it."""


class ReportsClient:
    """The Reports API, with authentication, rate limits, retries and deadlines. Safe to use from several threads.

    Every method raises, beside what it names itself:

    * `CredentialsError`, if the API key or secret is wrong;
    * `RequestRejectedError`, if the API rejects the request for good (HTTP 4xx);
    * `RetriableApiError`, if there was no usable answer, also after retries;
    * `UnreachableError`, if there was no connection, also after retries.

    Attributes:
        clock: Vonage's clock, as the answers tell it.
        retry_policy: When requests are retried. Those that create, poll or cancel a report are one try each.
    """

    retry_policy: RetryPolicy = RetryPolicy()

    def __init__(  # noqa: PLR0913 - an address, its credentials, and how to behave
        self,
        api_url: str,
        api_key: str,
        api_secret: str,
        *,
        timeout_seconds: float,
        user_agent: str,
        sync_rate: float = SYNC_RATE,
        async_rate: float = ASYNC_RATE,
        delay_factor: float = 1,
    ) -> None:
        """Set up a client; nothing is sent yet.

        Args:
            api_url: Base address without a path. The credentials go there and nowhere else.
            api_key: The primary account's key; any characters.
            api_secret: Its secret; any characters.
            timeout_seconds: Timeout of connecting, and of each read.
            user_agent: Name of this client in the API's logs.
            sync_rate: Synchronous queries per second.
            async_rate: Requests per second to all other endpoints.
            delay_factor: Scale of the waits between tries, for tests. With 0 no rate limit is kept either.
        """
        self._api_key = api_key
        self._transport = Transport(
            api_url, api_key, api_secret, timeout_seconds=timeout_seconds, user_agent=user_agent
        )
        self.clock: ServerClock = self._transport.clock
        self._sync_limiter = PriorityRateLimiter(sync_rate) if delay_factor else None
        self._async_limiter = PriorityRateLimiter(async_rate, spacing=BURST_SPACING) if delay_factor else None
        self.retry_policy = replace(self.retry_policy, delay_factor=delay_factor)

    @property
    def credentials_accepted(self) -> bool:
        """True once the API has answered a request in a way that only valid credentials get."""
        return self._transport.credentials_accepted

    def report_request_delay(self) -> float:
        """Return how many seconds a request about reports would wait for the rate limit."""
        return self._async_limiter.seconds_left() if self._async_limiter else 0

    def records(self, query: Mapping[str, str], context: RequestContext | None = None) -> ApiResponse:
        """Fetch a page of records: ``GET /v2/reports/records``.

        Args:
            query: The parameters of the query by name.
            context: Priority, cancellation and metrics; None for a request that is urgent and not counted.

        Returns:
            A body with up to 1,000 objects in `records`, and `request_status`, `cursor`, `iv`, `_links`, ...
            [confirmed; none of them is marked as required].

        Raises:
            ApiError: See `ReportsClient`.
            RequestCancelled: The context was cancelled.
        """
        context = context or RequestContext()
        limiter, path = self._sync_limiter, "/v2/reports/records"
        request = ApiRequest("GET", path, limiter, params=query, check=check_records, time_field="received_at")
        return self._retry(partial(_send_counted, self._transport, request, context), context)

    def create_report(self, body: Mapping[str, Any]) -> ApiResponse:
        """Request a report: ``POST /v2/reports``.

        One try, because the caller has other work until the next one: see `RetryPolicy.gives_up` and `final_error`.
        HTTP 429 may mean the limit of concurrent reports, and only the caller can lower those.

        Args:
            body: Product, account, dates and filters. Switches are JSON booleans [confirmed].

        Returns:
            The status of the new report; only `request_id` is sure to be present [confirmed].

        Raises:
            ReportLimitError: The API accepts no more reports at the moment.
            RetriableApiError: The request failed; `ConnectionFailedError` if there was no connection.
            ApiError: See `ReportsClient`.
        """
        request = ApiRequest(
            "POST", "/v2/reports", self._async_limiter, json=dict(body), check=check_report, time_field="receive_time"
        )
        try:
            return self._send(request)
        except RateLimitedError as error:
            raise ReportLimitError(error.retry_after) from error

    def report_status(self, request_id: str) -> ApiResponse:
        """Poll a report, in one try: ``GET /v2/reports/{request_id}``.

        A failed poll is repeated later by the caller, who has other work until then: see `RetryPolicy.gives_up` and
        `final_error`.

        Args:
            request_id: The report's id.

        Returns:
            The report's status, kept for 4 days [confirmed].

        Raises:
            RequestRejectedError: With status 404, the report is gone.
            RetriableApiError: The poll failed; `ConnectionFailedError` if there was no connection.
            ApiError: See `ReportsClient`.
        """
        return self._send(ApiRequest("GET", _report_path(request_id), self._async_limiter, check=check_report))

    def list_reports(self, account_id: str, statuses: Iterable[str]) -> list[dict[str, Any]]:
        """List an account's reports of the last seven days: ``GET /v2/reports`` [likely; not in the newest document].

        Args:
            account_id: The account's key.
            statuses: The statuses of the reports to list.

        Returns:
            The reports as their statuses have them, each with the fields of its request [likely].

        Raises:
            ApiError: See `ReportsClient`; also if the answer has no list of reports in the known place [likely].
        """
        params = {"account_id": account_id, "status": ",".join(statuses)}
        request = ApiRequest("GET", "/v2/reports", self._async_limiter, params=params, check=check_report_list)
        answer = self._send(request, replace(self.retry_policy, max_tries=LIST_TRIES))
        return list(answer.body["reports"])

    def cancel_report(self, request_id: str) -> ApiResponse:
        """Abort a report, in one try: ``DELETE /v2/reports/{request_id}``. It only frees room at the API.

        Args:
            request_id: The report's id.

        Returns:
            The report's status.

        Raises:
            RequestRejectedError: With status 409, the report has already finished [confirmed].
            ApiError: See `ReportsClient`.
        """
        return self._send(ApiRequest("DELETE", _report_path(request_id), self._async_limiter))

    def download(self, link: str, file: BinaryIO, on_part: Callable[[], None] = lambda: None) -> None:
        """Download a report's file: ``GET /v3/media/{file_id}``.

        A download that breaks resumes where it broke, if the API supports that.

        Args:
            link: The address from the report's status, of which only the path is used. The file is kept for 72 hours
                [confirmed].
            file: Where to write to; empty at first.
            on_part: Called after each part of the file.

        Raises:
            RequestRejectedError: With status 404, the file is gone.
            ReportError: The link is malformed, the file is too large, or a redirect is not safe to follow.
            ApiError: See `ReportsClient`.
        """
        context = RequestContext()
        download = FileDownload(self._transport, self._async_limiter, link, file, on_part)
        self._retry(partial(download.attempt, context), context)

    def accounts(self, context: RequestContext) -> ApiResponse:
        """List the primary account and its sub-accounts: ``GET /accounts/{api_key}/subaccounts``.

        Returns:
            A body with the accounts in `_embedded` [confirmed], which `api.accounts` reads.

        Raises:
            ApiError: See `ReportsClient`.
        """
        path = f"/accounts/{quote(self._api_key, safe='')}/subaccounts"
        request = ApiRequest("GET", path, self._async_limiter, check=check_accounts)
        return self._retry(partial(_send_counted, self._transport, request, context), context)

    def _send(self, request: ApiRequest, policy: RetryPolicy = ONE_TRY) -> ApiResponse:
        context = RequestContext()
        return policy.call(partial(self._transport.send, request, context), context.cancel_token)

    def _retry(self, attempt: Callable[[], T], context: RequestContext) -> T:
        try:
            return self.retry_policy.call(attempt, context.cancel_token)
        except ConnectionFailedError as error:
            raise final_error(error) from error


def _send_counted(transport: Transport, request: ApiRequest, context: RequestContext) -> ApiResponse:
    """Send a request for records or accounts, and count it and its price."""
    context.metrics.count_request()
    try:
        response = transport.send(request, context)
    except RetriableApiError:
        context.metrics.count_failed_request()
        raise
    context.metrics.count_price(response.body)
    return response


def _report_path(request_id: str) -> str:
    if not is_id(request_id):
        msg = "The state has a malformed report ID. Pass the last state that this tap wrote, or none to start over."
        raise ApiError(msg)
    return f"/v2/reports/{quote(request_id, safe='')}"
