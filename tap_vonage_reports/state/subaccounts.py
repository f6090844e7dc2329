"""Moves of what was read between a partition for each account and one for all accounts (setting `subaccounts`).

The reports of the partition of all accounts include an account from the time when it is first listed. What the
partition covers before that time was read without it: the account catches up in a partition of its own. Whatever was
read of an account stays in the state until the partition of all accounts covers it as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.intervals import EMPTY, before, between, hour_windows, since, to_intervals
from tap_vonage_reports.state.coverage import Coverage
from tap_vonage_reports.state.format import write_adopt_after, write_coverage
from tap_vonage_reports.state.listed_accounts import ListedAccounts, UnlistedAccount, hashed
from tap_vonage_reports.state.pending_ids import account_of

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping
    from datetime import datetime, timedelta

    from tap_vonage_reports.intervals import TimeSet
    from tap_vonage_reports.state.bookmark import Bookmark
    from tap_vonage_reports.state.partition_index import PartitionIndex


@dataclass(frozen=True)
class BookmarkReader:
    """Reads the bookmarks of a stream's partitions.

    Attributes:
        stream: The stream's name.
        replication_key: Its replication key.
        row_filter: Fingerprint of its filters.
        earliest: The oldest time of which Vonage still has records.
        start: Returns where to start reading of which the end is given.
        lookback: How long a row may change.
        now: The time. A report that was requested earlier may lack an account that was not listed then.
        adopted_since: When the oldest report was requested that may still be adopted.
        read: Reads a partition's state as a bookmark.
    """

    stream: str
    replication_key: str
    row_filter: str
    earliest: datetime
    start: Callable[[datetime], datetime]
    lookback: timedelta
    now: datetime
    adopted_since: datetime
    read: Callable[[dict[str, Any]], Bookmark]

    def write(self, state: dict[str, Any], coverage: Coverage, gaps: TimeSet) -> None:
        """Write the coverage and the gaps of a partition, if there are any."""
        if not (coverage.times | gaps).empty:
            write_coverage(state, self.replication_key, coverage, gaps - coverage.times, self.row_filter)


def gather(
    index: PartitionIndex, together: Mapping[str, str], each: Mapping[str, Mapping[str, str]], reader: BookmarkReader
) -> dict[str, datetime]:
    """Prepare the state of a partition of all accounts: what earlier runs read of each account counts.

    Where the partition has included none of the listed accounts, it starts with what was read of all accounts that
    were read at all. What else was read of them stays until a report of all accounts was read: the API may refuse it.

    Args:
        index: The stream's partitions.
        together: The context of the partition of all accounts.
        each: The context of each listed account's own partition.
        reader: Reads their bookmarks.

    Returns:
        The accounts that have to catch up, each with where that ends.

    Raises:
        StateError: The state is malformed.
    """
    state = index.find(together)
    shared, accounts = reader.read(state), ListedAccounts.read(state, reader.stream, reader.row_filter)
    listed, known = {hashed(account) for account in each}, frozenset(accounts.listed)
    _unlist(accounts, shared, listed, reader)
    returned = _relist(accounts, index, each, reader)
    if returned or (known and listed - known):
        shared.adopt_later(reader.now)
    found = {account: index.get(context) for account, context in each.items()}
    own = {account: None if one is None else reader.read(one) for account, one in found.items()}
    coverage = shared.coverage if accounts.listed else _begin(shared, accounts, own, returned)
    pending = to_intervals(report.window for report in shared.reports)
    marked = frozenset(accounts.listed)
    coverage, late = _catch_up(coverage, pending, accounts, own, reader.earliest)
    read_at = max(
        [*(at for _, at in coverage.parts), *(report.requested_at for report in shared.reports)], default=None
    )
    for account in late:
        if read_at and (one := own[account]) and hashed(account) not in marked:
            _reopen_older(one, found[account] or {}, read_at, reader)
    for account, one in own.items():
        if one and account not in late:
            shared.gaps |= _owed(one, reader)
    accounts.write(state, reader.row_filter)
    reader.write(state, coverage, shared.gaps)
    index.remove(
        each[account]
        for account, bookmark in own.items()
        if bookmark and account not in late and not _has_more(bookmark.coverage.times, coverage.times)
    )
    return {account: end for account, end in late.items() if _is_due(own[account], end, reader)}


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
    shared, accounts = reader.read(state), ListedAccounts.read(state, reader.stream, reader.row_filter)
    _drop_reports(shared)
    if accounts.unlisted.keys() & set(map(hashed, each)):
        shared.adopt_later(reader.now)
    _unlist(accounts, shared, set(), reader)
    _relist(accounts, index, each, reader)
    index.remove([together])
    if accounts.unlisted:
        accounts.write(index.find(together), reader.row_filter)
    if shared.adopt_after and shared.adopt_after > reader.adopted_since:
        write_adopt_after(index.find(together), shared.adopt_after)


def _drop_reports(shared: Bookmark) -> None:
    """Drop the requested reports: an account that they lack may be listed when a later run would adopt them."""
    for report in shared.reports:
        shared.remove_report(report.request_id)


def _unlist(accounts: ListedAccounts, shared: Bookmark, listed: set[str], reader: BookmarkReader) -> None:
    """Note what was read of the accounts that are not listed any more, unless Vonage has deleted it since."""
    gone = accounts.listed.keys() - listed
    tracked = _tracked_hours(shared) if gone else {}
    for name in gone:
        start = accounts.listed.pop(name)
        coverage, again = _since(shared.coverage, start), hour_windows(tracked.get(name, ()))
        gaps = (shared.gaps & since(start) if start else shared.gaps) | (coverage.times & again)
        accounts.unlisted[name] = UnlistedAccount(coverage.reopen(again).track(EMPTY), gaps)
    kept = since(reader.earliest)
    accounts.unlisted = {
        name: account
        for name, account in accounts.unlisted.items()
        if not ((account.coverage.times | account.gaps) & kept).empty
    }


def _tracked_hours(shared: Bookmark) -> dict[str, set[datetime]]:
    """Return the hours of the rows that are looked up by ID, by the hash of their account."""
    hours: dict[str, set[datetime]] = {}
    for row, hour in shared.pending_ids.items():
        hours.setdefault(hashed(account_of(row)), set()).add(hour)
    return hours


def _begin(
    shared: Bookmark, accounts: ListedAccounts, own: Mapping[str, Bookmark | None], returned: Container[str]
) -> Coverage:
    """Start a partition of all accounts with what the accounts have in common that were read at all.

    Accounts that were not listed for some time do not hold back the others: they catch up.
    """
    _drop_reports(shared)
    shared.reset()
    covered = {account: _without_tracked(one) for account, one in own.items() if one is not None}
    read = {account: coverage for account, coverage in covered.items() if not coverage.times.empty}
    read = {account: coverage for account, coverage in read.items() if account not in returned} or read
    accounts.listed = {hashed(account): None for account in read}
    return reduce(Coverage.meet, read.values()).track(EMPTY) if read else Coverage()


def _catch_up(
    coverage: Coverage,
    pending: TimeSet,
    accounts: ListedAccounts,
    own: Mapping[str, Bookmark | None],
    earliest: datetime,
) -> tuple[Coverage, dict[str, datetime]]:
    """Include the accounts that lack nothing of what the partition of all accounts covers, and mark the others.

    A pending report that was requested without an account holds it back even where the account's own partition covers
    the window: the report will make the shared reading of that time look fresher than the account's.

    Args:
        coverage: What the partition covers.
        pending: What its requested reports cover: the accounts that are new now were not listed then.
        accounts: Its accounts, which are changed in place.
        own: The bookmark of each listed account's own partition; None where there is none.
        earliest: The oldest time of which Vonage still has records.

    Returns:
        What the partition covers, and the accounts that have to catch up, each with where that ends.
    """
    claimed = (coverage.times | pending) & since(earliest)
    late: dict[str, datetime] = {}
    for account, one in own.items():
        name = hashed(account)
        is_marked = name in accounts.listed
        mark = accounts.listed.setdefault(name, None)
        if is_marked and mark is None:
            continue
        without = before(mark) if mark else claimed
        included = _since(coverage, mark) if mark else Coverage()
        read = included.join(_without_tracked(one)) if one else included
        if (claimed & without - read.times).empty and (pending & without).empty:
            coverage = coverage if claimed.empty else coverage.meet(read)
            accounts.listed[name] = None
        else:
            late[account] = accounts.listed[name] = mark or claimed.upper
    return coverage, late


def _reopen_older(own: Bookmark, state: dict[str, Any], read_at: datetime, reader: BookmarkReader) -> None:
    """Mark for refetching what may have changed since an account's own partition was read, if that was before a time.

    The partition of all accounts refetches only what may have changed since it was read itself.
    """
    older = to_intervals(part for part, at in own.coverage.parts if at < read_at)
    reopened = own.coverage.restrict(older).unsettled(reader.lookback)
    own.reopen(reopened)
    own.gaps |= reopened
    reader.write(state, own.coverage, own.gaps)


def _owed(own: Bookmark, reader: BookmarkReader) -> TimeSet:
    """Return the time of an account's own partition that still has to be read, or read again, up to where it ends.

    Without a `start_date`, only its state says that.
    """
    coverage = _without_tracked(own)
    return _filled(own.coverage.times | own.gaps) - (coverage.times - coverage.unsettled(reader.lookback))


def _filled(times: TimeSet) -> TimeSet:
    """Return some time, and all between it."""
    return EMPTY if times.empty else between(times.lower, times.upper)


def _has_more(own: TimeSet, covered: TimeSet) -> bool:
    """Return True if an account's own partition covers all that the one of all accounts does, and more."""
    return covered in own and own not in covered


def _is_due(own: Bookmark | None, end: datetime, reader: BookmarkReader) -> bool:
    """Return True if something is left to do in the partition of an account that catches up."""
    missing = between(reader.start(end), end)
    if own is None:
        return not missing.empty
    is_open = own.page or own.reports or own.pending_ids or not own.gaps.empty
    return bool(is_open) or not (missing - own.coverage.times).empty


def _relist(
    accounts: ListedAccounts, index: PartitionIndex, each: Mapping[str, Mapping[str, str]], reader: BookmarkReader
) -> set[str]:
    """Give accounts that are listed again what was read of them before they left the list, and return them."""
    returned = set()
    for account, context in each.items():
        if left := accounts.unlisted.pop(hashed(account), None):
            returned.add(account)
            state = index.find(context)
            own = reader.read(state)
            coverage = own.coverage.join(left.coverage)
            reader.write(state, coverage, _filled(coverage.times | own.gaps | left.gaps))
    return returned


def _without_tracked(own: Bookmark) -> Coverage:
    """Return what a partition covers, without the hours of rows that are still looked up by ID."""
    return own.coverage.reopen(hour_windows(own.pending_ids.values()))


def _since(coverage: Coverage, start: datetime | None) -> Coverage:
    """Return coverage from a time on; all of it where there is none."""
    return coverage.restrict(coverage.times & since(start)) if start else coverage
