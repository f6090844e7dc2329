"""The accounts of the sandbox: one primary account with credentials, and its sub-accounts."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DEMO_KEY = "abcd1234"
DEMO_SECRET = "sandbox-Secret:1"  # noqa: S105 - the sandbox's own; it opens nothing but the sandbox


@dataclass(frozen=True)
class Account:
    """An account.

    Attributes:
        key: API key, the `account_id` of its rows.
        name: What people call it.
        currency: Currency of its prices.
        scale: Its traffic as a share of the default volume.
        suspended: True if it is suspended. A suspended account keeps its records.
        created_at: When it was opened, as the Subaccounts API writes it.
        balance: Its own balance; None if it has none, and a sub-account shares that of the primary account.
        credit_limit: The credit limit that goes with the balance.
    """

    key: str
    name: str = "Primary"
    currency: str = "EUR"
    scale: float = 1.0
    suspended: bool = False
    created_at: str = "2024-03-02T16:34:49Z"
    balance: float | None = None
    credit_limit: float | None = None


def primary(key: str) -> Account:
    """Return a primary account by its key."""
    return Account(key, balance=9999.0, credit_limit=0.0)


def subaccounts(*keys: str) -> tuple[Account, ...]:
    """Return sub-accounts by their keys, with currencies, volumes and balances that differ.

    Every second one has a balance of its own. Times have a fraction or none, as in the API (confirmed).
    """
    currencies = ("EUR", "USD", "GBP")
    return tuple(
        Account(
            key,
            f"Sub-account {number}",
            currencies[number % 3],
            scale=0.6 / number,
            suspended=number % 5 == 0,
            created_at=f"2024-03-{number % 28 + 1:02}T16:34:49{'.000' if number % 3 == 0 else ''}Z",
            balance=round(100.26 * number, 2) if number % 2 == 0 else None,
            credit_limit=round(-10.05 * number, 2) if number % 2 == 0 else None,
        )
        for number, key in enumerate(keys, start=1)
    )


@dataclass
class Accounts:
    """The primary account, its secret and its sub-accounts."""

    primary: Account = field(default_factory=lambda: primary(DEMO_KEY))
    secret: str = field(default=DEMO_SECRET, repr=False)
    subaccounts: tuple[Account, ...] = ()

    def __iter__(self) -> Iterator[Account]:
        """Yield the primary account first."""
        yield self.primary
        yield from self.subaccounts

    def add(self, account: Account) -> None:
        """Open a sub-account. Reports that were requested before do not include it."""
        self.subaccounts = (*self.subaccounts, account)

    def remove(self, key: str) -> Account:
        """Take a sub-account out of the list and of later reports, and return it."""
        removed = next(account for account in self.subaccounts if account.key == key)
        self.subaccounts = tuple(account for account in self.subaccounts if account != removed)
        return removed

    def find(self, key: str) -> Account | None:
        """Return the account of a key, if it is the primary one or one of its own."""
        return next((account for account in self if account.key == key), None)

    def opened_by(self, authorization: str | None) -> bool:
        """Return True if an Authorization header carries the primary account's credentials.

        HTTP Basic in standard Base64 (confirmed; the URL-safe unpadded alphabet of one Go client is
        refused), the text in UTF-8, the secret free to hold any character, colons too.
        """
        scheme, _, encoded = (authorization or "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(given, f"{self.primary.key}:{self.secret}".encode())
