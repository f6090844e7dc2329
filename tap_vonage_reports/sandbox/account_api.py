"""The endpoints of the Subaccounts API: all accounts of a primary one, and a single sub-account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from tap_vonage_reports.sandbox import problems
from tap_vonage_reports.sandbox.faults import Fault

if TYPE_CHECKING:
    from tap_vonage_reports.sandbox.accounts import Account, Accounts
    from tap_vonage_reports.sandbox.exchange import Exchange

ACCOUNTS_PATH = "/accounts/{api_key}/subaccounts"


class AccountApi:
    """The endpoints, on top of the accounts."""

    def __init__(self, accounts: Accounts) -> None:
        """Set up the endpoints.

        Args:
            accounts: All accounts.
        """
        self._accounts = accounts

    async def listing(self, exchange: Exchange) -> Response:
        """Return the primary account and its sub-accounts (confirmed)."""
        self._check(exchange)
        accounts = self._accounts
        unlisted = exchange.strike(Fault.SUBACCOUNTS_UNLISTED)
        listed = accounts.subaccounts[: -int(unlisted.value)] if unlisted else accounts.subaccounts
        exchange.rows = 1 + len(listed)
        own = [account.balance or 0 for account in accounts]
        limits = [account.credit_limit or 0 for account in accounts]
        body = {
            "_links": {"self": {"href": f"/accounts/{accounts.primary.key}/subaccounts"}},
            "total_balance": sum(own),
            "total_credit_limit": sum(limits),
            "_embedded": {
                "primary_account": _fields(accounts.primary),
                "subaccounts": [
                    {**account_fields(account, accounts.primary.key), **self._undocumented(exchange)}
                    for account in listed
                ],
            },
        }
        return _answer(body)

    async def single(self, exchange: Exchange) -> Response:
        """Return one sub-account (confirmed). The answer to a key of no sub-account is unknown."""
        self._check(exchange)
        key = exchange.request.path_params["subaccount_key"]
        found = next((account for account in self._accounts.subaccounts if account.key == key), None)
        if found is None:
            raise problems.not_found()
        exchange.rows = 1
        return _answer(account_fields(found, self._accounts.primary.key))

    @staticmethod
    def _undocumented(exchange: Exchange) -> dict[str, str]:
        """Return the undocumented fields of an account, if the fault hits it."""
        return {"region": "EU"} if exchange.strike(Fault.EXTRA_COLUMNS) else {}

    def _check(self, exchange: Exchange) -> None:
        """Refuse any account but the primary one, and everything if the service is not enabled (confirmed)."""
        if exchange.account != self._accounts.primary.key or exchange.strike(Fault.FORBIDDEN):
            raise problems.forbidden()


def account_fields(account: Account, primary_key: str) -> dict[str, Any]:
    """Return a sub-account as the API writes it."""
    return {
        **_fields(account),
        "primary_account_api_key": primary_key,
        "use_primary_account_balance": account.balance is None,
    }


def _fields(account: Account) -> dict[str, Any]:
    """Return the fields that the primary account and its sub-accounts share."""
    return {
        "api_key": account.key,
        "name": account.name,
        "balance": account.balance,
        "credit_limit": account.credit_limit,
        "suspended": account.suspended,
        "created_at": account.created_at,
    }


def _answer(body: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(body), 200, media_type="application/json")
