"""Moves of what was read between a partition for each account and one for all accounts (setting `subaccounts`).

The partition of all accounts keeps the accounts that its reports included, each as a hash. An account that is new to
the list was in none of the earlier reports: it has to catch up, in a partition of its own, until its time.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.intervals import EMPTY, between, hour_windows, since, to_windows
from tap_vonage_reports.state.coverage import Coverage
from tap_vonage_reports.state.format import (
    ACCOUNTS,
    clear_coverage,
    malformed,
    parse_optional_time,
    write_coverage,
)
from tap_vonage_reports.timestamps import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from tap_vonage_reports.intervals import TimeSet
    from tap_vonage_reports.state.bookmark import Bookmark
    from tap_vonage_reports.state.partition_index import PartitionIndex

HASH_BYTES = 5
"""Bytes of an account's hash. Among 10,000 accounts, one in 100 million new ones looks like a known one."""


@dataclass(frozen=True)
class BookmarkReader:
    """Reads the bookmarks of a stream's partitions.

    Attributes:
        stream: The stream's name.
        replication_key: Its replication key.
        row_filter: Fingerprint of its filters.
        read: Reads a partition's state as a bookmark.
    """

    stream: str
    replication_key: str
    row_filter: str
    read: Callable[[dict[str, Any]], Bookmark]

    def write(self, state: dict[str, Any], coverage: Coverage) -> None:
        """Write the coverage of a partition, which is not empty."""
        write_coverage(state, self.replication_key, coverage, EMPTY, self.row_filter)


def gather(
    index: PartitionIndex,
    together: Mapping[str, str],
    each: Mapping[str, Mapping[str, str]],
    reader: BookmarkReader,
    start: datetime,
) -> dict[str, datetime]:
    """Prepare the state of a partition of all accounts: what earlier runs read of each account counts.

    Where no listed account is known yet, the partition covers what was read of all accounts that were read at all.

    Args:
        index: The stream's partitions.
        together: The context of the partition of all accounts.
        each: The context of each listed account's own partition.
        reader: Reads their bookmarks.
        start: Where reading starts.

    Returns:
        The accounts that have to catch up, each with where that ends.

    Raises:
        StateError: The state is malformed.
    """
    state = index.find(together)
    stored = read_accounts(state.get(ACCOUNTS), reader.stream)
    known = {account: stored[name] for account in each if (name := hashed(account)) in stored}
    own = {account: found for account, context in each.items() if (found := index.get(context)) is not None}
    if not known:
        known = _merge(state, own, reader)
        index.remove([each[account] for account in known])
        known = known or dict.fromkeys(each)
    bookmark = reader.read(state)
    caught_up = []
    for account, end in known.items():
        if end and _has_caught_up(own.get(account), between(start, end), reader):
            known[account] = None
            caught_up.append(each[account])
    index.remove(caught_up)
    # What a pending report covers was requested without the accounts that are new now.
    ends = [*bookmark.coverage.ends, *(report.window.end for report in bookmark.reports)]
    new_until = max(ends, default=None)
    for account in each:
        known.setdefault(account, new_until)
    _write_accounts(state, known if ends else dict.fromkeys(each))
    return {account: end for account, end in known.items() if end and ends}


def distribute(
    index: PartitionIndex, together: Mapping[str, str], each: Mapping[str, Mapping[str, str]], reader: BookmarkReader
) -> None:
    """Give accounts that have partitions of their own what a partition of all accounts has read of them.

    Args:
        index: The stream's partitions.
        together: The context of the partition of all accounts.
        each: The context of each account's own partition.
        reader: Reads their bookmarks.

    Raises:
        StateError: The state is malformed.
    """
    state = index.get(together)
    if state is None:
        return
    known = read_accounts(state.get(ACCOUNTS), reader.stream)
    shared = reader.read(state).coverage
    for account, context in each.items():
        name = hashed(account)
        if name not in known:
            continue
        end = known.pop(name)
        inherited = shared.reopen(shared.times - since(end)) if end else shared
        if not inherited.times.empty:
            own = index.find(context)
            reader.write(own, _join(reader.read(own).coverage, inherited))
    if known:
        state[ACCOUNTS] = _groups(known)
    else:
        index.remove([together])


def hashed(account: str) -> str:
    """Return the hash by which the state knows an account."""
    return sha256(account.encode()).digest()[:HASH_BYTES].hex()


def read_accounts(groups: Mapping[str, str] | None, stream: str) -> dict[str, datetime | None]:
    """Return the hashes of the accounts that a partition's reports have included, each with where it caught up.

    Raises:
        StateError: They are malformed.
    """
    known: dict[str, datetime | None] = {}
    for text, packed in (groups or {}).items():
        end = parse_optional_time(text, ACCOUNTS, stream)
        try:
            digests = base64.b64decode(packed, validate=True)
        except (binascii.Error, ValueError):
            raise malformed(stream, ACCOUNTS) from None
        if len(digests) % HASH_BYTES:
            raise malformed(stream, ACCOUNTS)
        for at in range(0, len(digests), HASH_BYTES):
            known[digests[at : at + HASH_BYTES].hex()] = end
    return known


def _merge(state: dict[str, Any], own: Mapping[str, dict[str, Any]], reader: BookmarkReader) -> dict[str, Any]:
    """Cover what was read of every account that was read at all, and return these accounts."""
    bookmarks = {account: reader.read(one) for account, one in own.items()}
    read = {account: bookmark for account, bookmark in bookmarks.items() if not bookmark.coverage.times.empty}
    if not read:
        return {}
    common: Coverage | None = None
    for bookmark in read.values():
        coverage = bookmark.coverage.reopen(hour_windows(bookmark.pending_ids.values()))
        common = _meet(common, coverage) if common else coverage
    clear_coverage(state)
    if common and not common.times.empty:
        reader.write(state, common.track(EMPTY))
    return dict.fromkeys(read)


def _meet(first: Coverage, second: Coverage) -> Coverage:
    """Return what both cover, read when the earlier of the two was read."""
    kept = [one.reopen(one.times - other.times) for one, other in ((first, second), (second, first))]
    read_at = {end: min(one.read_at.get(end, end) for one in kept) for end in kept[0].ends}
    return Coverage(kept[0].times, {end: time for end, time in read_at.items() if time != end})


def _join(own: Coverage, inherited: Coverage) -> Coverage:
    """Return what either covers."""
    for window in to_windows(inherited.times - own.times):
        end = next(end for end in inherited.ends if end >= window.end)
        own = own.add(window, inherited.read_at.get(end, end))
    return own


def _has_caught_up(state: dict[str, Any] | None, needed: TimeSet, reader: BookmarkReader) -> bool:
    return needed.empty or (state is not None and needed in reader.read(state).coverage.times)


def _write_accounts(state: dict[str, Any], known: Mapping[str, datetime | None]) -> None:
    state[ACCOUNTS] = _groups({hashed(account): end for account, end in known.items()})


def _groups(known: Mapping[str, datetime | None]) -> dict[str, str]:
    groups: dict[str, list[str]] = {}
    for name, end in sorted(known.items()):
        groups.setdefault(format_timestamp(end) if end else "", []).append(name)
    return {text: base64.b64encode(bytes.fromhex("".join(names))).decode() for text, names in groups.items()}
