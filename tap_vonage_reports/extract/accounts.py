"""The accounts of a run, and checks that the API serves them."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.api.accounts import account_rows, active_subaccount_keys, newest_creation, subaccount_keys
from tap_vonage_reports.api.request_context import RequestContext
from tap_vonage_reports.errors import (
    AccountsUnavailableError,
    ApiError,
    CredentialsError,
    ForeignAnswerError,
    RequestRejectedError,
    RetriableApiError,
    SettingsError,
)
from tap_vonage_reports.intervals import TimeWindow
from tap_vonage_reports.metrics import FetchMetrics
from tap_vonage_reports.planning.partition import ACCOUNT, Query
from tap_vonage_reports.products import FREE_PRODUCT

if TYPE_CHECKING:
    from datetime import datetime

    from tap_vonage_reports.api.client import ReportsClient
    from tap_vonage_reports.config.settings import Settings
    from tap_vonage_reports.metrics import RunResults

logger = logging.getLogger(__name__)


LOW_BALANCE = "balance"
"""Stands in the title of a 403 about credit [likely]. Any other 403 means that the API is not enabled [confirmed]."""


class AccountList:
    """The primary account and its sub-accounts. A run requests them once, when it needs them first.

    Attributes:
        fetched: What the request took.
    """

    def __init__(self, client: ReportsClient) -> None:
        """Prepare the list; nothing is requested yet."""
        self._client = client
        self.fetched = FetchMetrics()

    def subaccounts(self) -> list[str]:
        """Return the API keys of the sub-accounts.

        Raises:
            ApiError: They cannot be listed.
        """
        try:
            return subaccount_keys(self._body)
        except (RequestRejectedError, RetriableApiError) as error:
            is_refused = getattr(error, "status", None) == HTTPStatus.FORBIDDEN
            advice = "Ask Vonage to enable the Subaccounts API" if is_refused else "Try again later"
            msg = (
                f"The sub-accounts could not be listed: {in_short(error)}. {advice}, or set subaccounts to none and "
                "list them in account_ids."
            )
            raise ApiError(msg) from error

    def active_subaccounts(self) -> list[str]:
        """Return the API keys of those that are not suspended."""
        return active_subaccount_keys(self._body)

    def all_since(self) -> datetime | None:
        """Return since when there have been all the accounts; None if the API does not say so of each."""
        return newest_creation(self._body)

    def rows(self) -> list[dict[str, Any]]:
        """Return all accounts as the API gives them, the primary one first.

        Raises:
            AccountsUnavailableError: The Subaccounts API is not enabled.
            ApiError: They cannot be listed.
        """
        try:
            return account_rows(self._body)
        except RequestRejectedError as error:
            if error.status != HTTPStatus.FORBIDDEN or LOW_BALANCE in error.title.lower():
                raise
            raise AccountsUnavailableError(error.status, error.title) from error

    @cached_property
    def _body(self) -> dict[str, Any]:
        return self._client.accounts(RequestContext(metrics=self.fetched)).body


def check_accounts(settings: Settings, client: ReportsClient) -> None:
    """Find out, before anything is billed, whether the key may read the accounts in `account_ids`.

    Raises:
        SettingsError: The API refuses some of them; the error names them.
    """
    others = [account for account in _named(settings) if account != settings.api_key]
    refused = {account: error for account in others if (error := _refusal(client, account))}
    if refused:
        raise SettingsError(
            [
                f"The setting account_ids names account {account}, which the API refuses ({in_short(error)}). Check "
                "the ID, and that the key may read this account."
                for account, error in refused.items()
            ]
        )


def refused_accounts(settings: Settings, client: ReportsClient, results: RunResults) -> list[str]:
    """Return the accounts in `account_ids` that the API has refused for everything, so that none is just skipped.

    An account that was skipped for each selected product is asked for the free product as well, to tell an account
    without these products from one that is mistyped.

    Raises:
        FatalApiError: The API cannot be used at all.
    """
    skipped = results.skipped_accounts()
    return [account for account in _named(settings) if account in skipped and _refusal(client, account)]


def verify_credentials_and_clock(client: ReportsClient, api_key: str) -> ApiError | None:
    """Send the first request: it verifies the credentials, and its answer's `Date` header tells Vonage's time.

    Returns:
        Why the request was not served, which alone ends no run; None if it was.

    Raises:
        CredentialsError: The key or the secret is wrong.
        UnreachableError: The API does not answer.
        SettingsError: Another server answers.
    """
    error = _refusal(client, api_key)
    if error:
        logger.debug("The first request was not served: %s", error)
        if isinstance(error, ForeignAnswerError) and error.status == HTTPStatus.UNAUTHORIZED:
            msg = f"Authentication failed ({error.reason}). {error.advice}"
            raise CredentialsError(msg) from error
        if getattr(error, "status", None) == HTTPStatus.NOT_FOUND:
            msg = (
                "The setting api_url leads to a server without the Reports API (HTTP 404). Set it to "
                "https://api.nexmo.com, or to the address of your proxy, without a path."
            )
            raise SettingsError([msg]) from error
    if not client.clock.known:
        logger.warning(
            "The API sends neither a Date header nor a time in its answers. Make sure that this machine's clock is "
            "correct"
        )
    return error


def in_short(error: ApiError) -> str:
    """Return what went wrong, without the advice."""
    if isinstance(error, RequestRejectedError):
        invalid = f" (invalid parameters: {', '.join(error.parameters)})" if error.parameters else ""
        return f"HTTP {error.status} {error.title}{invalid}"
    return error.reason if isinstance(error, RetriableApiError) else str(error).rstrip(".")


def _named(settings: Settings) -> list[str]:
    """Return the accounts in `account_ids`, each once."""
    return list(dict.fromkeys(settings.account_ids))


def _refusal(client: ReportsClient, account: str) -> ApiError | None:
    """Ask for one minute of the product that is free of charge [confirmed]. Its rows are ignored.

    Returns:
        Why the API did not serve the account; None if it did.
    """
    end = client.clock.earliest().replace(microsecond=0) - timedelta(days=1)
    query = Query({"product": FREE_PRODUCT.name, ACCOUNT: account})
    try:
        client.records(query.params(TimeWindow(end - timedelta(minutes=1), end)))
    except (RequestRejectedError, RetriableApiError) as error:
        return error
    return None
