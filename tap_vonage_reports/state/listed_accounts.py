"""The accounts of a partition of all accounts, in its state: those that its reports include, and those that left.

The state names an account by a hash, so that thousands of them take little room.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.intervals import EMPTY, bounds, to_intervals
from tap_vonage_reports.state.coverage import Coverage
from tap_vonage_reports.state.format import (
    ACCOUNTS,
    COVERED,
    GAPS,
    QUERY,
    READ_AT,
    UNLISTED,
    UNLISTED_HASHES,
    coverage_keys,
    malformed,
    parse_optional_time,
    parse_read_at,
    parse_window,
    put,
)
from tap_vonage_reports.timestamps import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from tap_vonage_reports.intervals import TimeSet

HASH_BYTES = 5
"""Bytes of an account's hash. Among 10,000 accounts, one in 100 million new ones looks like a known one."""


@cache
def hashed(account: str) -> str:
    """Return the hash by which the state knows an account."""
    return sha256(account.encode()).digest()[:HASH_BYTES].hex()


@dataclass(frozen=True)
class UnlistedAccount:
    """What was read of an account until it left the list.

    Attributes:
        coverage: The time that was read completely.
        gaps: The time that was left out, or has to be read again: it still has to be read.
    """

    coverage: Coverage
    gaps: TimeSet = EMPTY


@dataclass
class ListedAccounts:
    """Accounts of a partition of all accounts, by their hashes.

    Attributes:
        listed: The accounts that its reports include, each with where that begins: before it, the account's own
            partition counts. None where all that the partition covers includes the account.
        unlisted: The accounts that are not listed any more, each with what was read of it until then.
    """

    listed: dict[str, datetime | None] = field(default_factory=dict)
    unlisted: dict[str, UnlistedAccount] = field(default_factory=dict)

    @classmethod
    def read(cls, state: Mapping[str, Any], stream: str, row_filter: str) -> ListedAccounts:
        """Read the accounts in the state of a partition.

        Args:
            state: The state.
            stream: The stream's name, for the message.
            row_filter: Fingerprint of the filters. What was read under others counts for nothing.

        Raises:
            StateError: They are malformed.
        """
        listed = {
            name: since
            for text, packed in state.get(ACCOUNTS, {}).items()
            for since in [parse_optional_time(text, ACCOUNTS, stream)]
            for name in _unpack(packed, ACCOUNTS, stream)
        }
        unlisted = {
            name: account
            for group in state.get(UNLISTED, [])
            if group.get(QUERY, "") == row_filter
            for account in [_unlisted(group, stream)]
            for name in _unpack(group[UNLISTED_HASHES], UNLISTED, stream)
        }
        return cls(listed, unlisted)

    def write(self, state: dict[str, Any], row_filter: str) -> None:
        """Write the accounts to the state of a partition, with the fingerprint of the filters."""
        listed: dict[str, list[str]] = {}
        for name, since in self.listed.items():
            listed.setdefault(format_timestamp(since) if since else "", []).append(name)
        left: dict[str, tuple[dict[str, Any], list[str]]] = {}
        for name, account in self.unlisted.items():
            gaps = {} if account.gaps.empty else {GAPS: bounds(account.gaps)}
            keys = {**coverage_keys(account.coverage), **gaps, **({QUERY: row_filter} if row_filter else {})}
            left.setdefault(repr(keys), (keys, []))[1].append(name)
        put(state, ACCOUNTS, {text: _pack(names) for text, names in sorted(listed.items())} or None)
        put(state, UNLISTED, [{**keys, UNLISTED_HASHES: _pack(names)} for keys, names in left.values()] or None)


def _unlisted(group: Mapping[str, Any], stream: str) -> UnlistedAccount:
    """Return what was read of accounts that are not listed any more."""
    windows, gaps = (
        [parse_window(start, end, UNLISTED, stream) for start, end in group.get(key, ())] for key in (COVERED, GAPS)
    )
    coverage = Coverage.of(windows, parse_read_at(group.get(READ_AT), len(windows), stream), [])
    return UnlistedAccount(coverage, to_intervals(gaps))


def _pack(names: Iterable[str]) -> str:
    return base64.b64encode(bytes.fromhex("".join(sorted(names)))).decode()


def _unpack(packed: str, key: str, stream: str) -> Iterator[str]:
    """Yield the hashes in a text.

    Raises:
        StateError: The text is malformed.
    """
    try:
        digests = base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError):
        raise malformed(stream, key) from None
    # Python 3.10 takes some texts that no encoder makes.
    if len(digests) % HASH_BYTES or base64.b64encode(digests).decode() != packed:
        raise malformed(stream, key)
    for at in range(0, len(digests), HASH_BYTES):
        yield digests[at : at + HASH_BYTES].hex()
