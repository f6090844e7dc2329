"""Errors of the API: an HTTP status and its problem body (RFC 7807), mapped to our error types.

Free text of a problem is searched, but never shown, because it may repeat a value. Its `type` is not relied on: it is
missing or wrong in examples of the API's own documentation [confirmed].
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from tap_vonage_reports.api.clock import parse_retry_after
from tap_vonage_reports.api.responses import invalid_parameters, read_problem
from tap_vonage_reports.errors import (
    CredentialsError,
    CredentialsRevokedError,
    ProductUnavailableError,
    RateLimitedError,
    RequestRejectedError,
    RetriableApiError,
    UnexpectedRedirectError,
    WindowInFutureError,
)
from tap_vonage_reports.exact_json import texts_of
from tap_vonage_reports.redaction import safe_for_log

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    import requests

    from tap_vonage_reports.errors import TapError

NOT_PROVISIONED = "provision"
"""Stands in a 401 about a product that the account does not have [confirmed]."""
IN_THE_PAST = "in the past"
"""Stands in a 422 about a date that is at or after Vonage's clock [confirmed]."""


def to_error(
    response: requests.Response, body: bytearray, answered_at: datetime, *, credentials_accepted: bool
) -> TapError:
    """Return the error that an answer other than HTTP 200 means.

    Args:
        response: Status, reason and headers.
        body: The body, usually a problem in JSON, but anything if a gateway answers.
        answered_at: When the API answered, on Vonage's clock.
        credentials_accepted: Whether the API has accepted the same credentials before.
    """
    status = response.status_code
    problem = read_problem(body)
    title = safe_for_log(problem.get("title")) or safe_for_log(response.reason) or "without a title"
    wait = parse_retry_after(response.headers.get("Retry-After"), answered_at)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError(f"HTTP 429 {title}: the API key's rate limit is exhausted", retry_after=wait)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return RetriableApiError(f"HTTP {status} {title}", retry_after=wait)
    parameters = invalid_parameters(problem)
    kind = _kind_of_rejection(status, parameters, " ".join(texts_of(problem)).lower())
    if kind is CredentialsRevokedError and not credentials_accepted:
        return CredentialsError(
            "Authentication failed (HTTP 401). Check api_key and api_secret in the Vonage dashboard; use the primary "
            "account's key."
        )
    return kind(status, title, parameters, answered_at)


def _kind_of_rejection(status: int, parameters: Collection[str], text: str) -> type[RequestRejectedError]:
    """Return the type of error that a status other than 200, 429 and 5xx means."""
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return UnexpectedRedirectError
    if status == HTTPStatus.UNAUTHORIZED:
        return ProductUnavailableError if NOT_PROVISIONED in text else CredentialsRevokedError
    if status == HTTPStatus.FORBIDDEN:
        return ProductUnavailableError
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        if IN_THE_PAST in text:
            return WindowInFutureError
        if "product" in parameters:
            return ProductUnavailableError
    return RequestRejectedError
