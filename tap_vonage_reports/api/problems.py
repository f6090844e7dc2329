"""Errors of the API: an HTTP status and its problem body (RFC 7807), mapped to our error types.

The mapping searches the free text of a problem but never shows it, because it may repeat a value. It does not rely on
the `type`, which is missing or wrong in examples of the API's own documentation [confirmed].
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from tap_vonage_reports.api.clock import parse_retry_after
from tap_vonage_reports.api.responses import invalid_parameters, read_problem
from tap_vonage_reports.errors import (
    AccessDeniedError,
    CredentialsError,
    CredentialsRevokedError,
    ForeignAnswerError,
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

RETRIED = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.MISDIRECTED_REQUEST, HTTPStatus.TOO_EARLY, 499})
"""Statuses below 500 that ask for another try; 499 is how some gateways call a connection that was closed early."""
NOT_PROVISIONED = "provision"
"""Stands in a 401 about a product that the account does not have [confirmed]."""
NOT_AUTHORIZED = "not authorized to query"
"""Stands in a 403 about a product, or an account, that the key may not read [confirmed]."""
IN_THE_PAST = "in the past"
"""Stands in a 422 about a date that is at or after Vonage's clock [confirmed]."""


def to_error(
    response: requests.Response,
    body: bytearray,
    answered_at: datetime,
    *,
    credentials_accepted: bool,
    denied_before: bool,
) -> TapError:
    """Return the error that an answer without success means.

    Args:
        response: Status, reason and headers.
        body: The body, usually a problem in JSON, but anything if a gateway answers.
        answered_at: When the API answered, on Vonage's clock.
        credentials_accepted: Whether the API has accepted the same credentials before.
        denied_before: Whether the last answer to the same request was an HTTP 401 as well.
    """
    status = response.status_code
    problem = read_problem(body)
    title = safe_for_log(problem.get("title")) or safe_for_log(response.reason) or "without a title"
    wait = parse_retry_after(response.headers.get("Retry-After"), answered_at)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError(f"HTTP 429 {title}: the API key's rate limit is exhausted", retry_after=wait)
    if status in RETRIED or not HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return RetriableApiError(f"HTTP {status} {title}", retry_after=wait)
    if status >= HTTPStatus.BAD_REQUEST and not problem:
        return ForeignAnswerError(status, f"HTTP {status} {title}, without the API's problem body", retry_after=wait)
    parameters = invalid_parameters(problem)
    kind = _kind_of_rejection(status, parameters, " ".join(texts_of(problem)).lower())
    if kind is CredentialsRevokedError and not credentials_accepted:
        return CredentialsError(f"Authentication failed (HTTP {status} {title}). {CredentialsError.advice}")
    if kind is CredentialsRevokedError and not denied_before:
        reason = f"HTTP {status} {title}, for credentials that worked before"
        return RetriableApiError(reason, retry_after=wait, may_have_worked=False)
    return kind(status, title, parameters, answered_at)


def _kind_of_rejection(status: int, parameters: Collection[str], text: str) -> type[RequestRejectedError]:
    """Return the type of error that a problem of the API means, or a redirect."""
    if status < HTTPStatus.BAD_REQUEST:
        return UnexpectedRedirectError
    if status == HTTPStatus.UNPROCESSABLE_ENTITY and IN_THE_PAST in text:
        return WindowInFutureError
    if _speaks_of_product(status, parameters, text):
        return ProductUnavailableError
    if status == HTTPStatus.UNAUTHORIZED:
        return CredentialsRevokedError
    return AccessDeniedError if status in {HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN} else RequestRejectedError


def _speaks_of_product(status: int, parameters: Collection[str], text: str) -> bool:
    """Return True if a problem is about the product, and not about the key, the account or its balance."""
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        return "product" in parameters
    if status == HTTPStatus.FORBIDDEN and NOT_AUTHORIZED in text:
        return True
    return status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN} and NOT_PROVISIONED in text
