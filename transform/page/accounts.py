"""The accounts by names that tell them apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transform.page.words import MISSING, clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transform.page.marts import Marts

UNASSIGNED = "unassigned"
"""Rows of accounts that are none of yours, as the marts call them."""
UNASSIGNED_IS = "Rows of accounts that are none of yours are unassigned."
KEY_LENGTH = 8


@dataclass
class Accounts:
    """The accounts.

    Attributes:
        labels: The name of each account, by its ID.
        own: The IDs of accounts that are yours.
    """

    labels: Mapping[str, str]
    own: frozenset[str]

    def label(self, account_id: str | None) -> str:
        """Return the name of an account."""
        return MISSING if account_id is None else self.labels.get(account_id, account_id)

    def payer(self, account_id: str | None) -> str:
        """Return the name of the account that a price belongs to, `unassigned` if it is none of yours."""
        return self.label(account_id) if account_id in self.own else UNASSIGNED


def accounts_of(marts: Marts) -> Accounts:
    """Return the accounts. Names that look the same have the beginning of the account's ID behind them."""
    rows = marts.rows("select account_id, account_name, is_own from dim_vonage__account order by account_id")
    names = {row["account_id"]: clean(row["account_name"] or "") or row["account_id"] for row in rows}
    seen = Counter([name.casefold() for name in names.values()] + [UNASSIGNED])
    keys = Counter((name.casefold(), account_id[:KEY_LENGTH]) for account_id, name in names.items())
    labels = {}
    for account_id, name in names.items():
        key = account_id[:KEY_LENGTH]
        key = key if keys[name.casefold(), key] == 1 else account_id
        labels[account_id] = name if seen[name.casefold()] == 1 else f"{name} ({key})"
    return Accounts(labels, frozenset(row["account_id"] for row in rows if row["is_own"]))
