"""The list of accounts in an answer of the Subaccounts API: checked, and read as keys or as rows."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeGuard

from tap_vonage_reports.api.responses import is_id
from tap_vonage_reports.errors import RetriableApiError
from tap_vonage_reports.timestamps import normalize_timestamp, parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = "api_key"
"""The field that identifies an account."""


def check_accounts(body: Mapping[str, Any]) -> None:
    """Reject an answer without a list of sub-accounts in the known place [confirmed].

    Raises:
        RetriableApiError: There is no list, or something in it has no key.
    """
    listed = _embedded(body).get("subaccounts")
    if not isinstance(listed, list):
        msg = "The Subaccounts API answered without a list of sub-accounts"
        raise RetriableApiError(msg)
    if not all(map(_is_account, listed)):
        msg = "The Subaccounts API listed a sub-account without a usable key"
        raise RetriableApiError(msg)


def subaccount_keys(body: Mapping[str, Any]) -> list[str]:
    """Return the API keys of the sub-accounts in a checked answer."""
    return [account[KEY] for account in _embedded(body)["subaccounts"]]


def active_subaccount_keys(body: Mapping[str, Any]) -> list[str]:
    """Return the API keys of the sub-accounts in a checked answer that are not suspended."""
    return [account[KEY] for account in _embedded(body)["subaccounts"] if account.get("suspended") is not True]


def newest_creation(body: Mapping[str, Any]) -> datetime | None:
    """Return when the newest sub-account in a checked answer was created; None if one of them has no such time."""
    times = []
    for account in _embedded(body)["subaccounts"]:
        text = account.get("created_at")
        time = normalize_timestamp(text) if isinstance(text, str) else None
        if time is None:
            return None
        times.append(parse_time(time))
    return max(times, default=datetime.min.replace(tzinfo=timezone.utc))


def account_rows(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return all accounts in a checked answer, the primary one first.

    Raises:
        RetriableApiError: The primary account is missing from its known place [confirmed], or has no key.
    """
    primary = _embedded(body).get("primary_account")
    if not _is_account(primary):
        msg = "The Subaccounts API answered without the primary account"
        raise RetriableApiError(msg)
    return [primary, *_embedded(body)["subaccounts"]]


def _embedded(body: Mapping[str, Any]) -> Mapping[str, Any]:
    found = body.get("_embedded")
    return found if isinstance(found, dict) else {}


def _is_account(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict) and is_id(value.get(KEY))
