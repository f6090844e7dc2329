"""Whatever order accounts come, go and are read in, no time counts as read of an account that was not."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.intervals import EMPTY, TimeWindow, between, since, split, to_intervals
from tap_vonage_reports.planning.windows import lookback_intervals
from tap_vonage_reports.state.bookmark import Bookmark
from tap_vonage_reports.state.coverage import Coverage
from tap_vonage_reports.state.listed_accounts import ListedAccounts, hashed
from tap_vonage_reports.state.partition_index import PartitionIndex
from tap_vonage_reports.state.subaccounts import BookmarkReader, distribute, gather
from tap_vonage_reports.state.values import PendingReport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tap_vonage_reports.intervals import TimeSet

ORIGIN = datetime(2026, 10, 1, tzinfo=timezone.utc)
TOGETHER = {"account_id": "primary", "subaccounts": "together"}
ACCOUNTS = ("primary", "first", "second", "third", "fourth")
STREAM, KEY = "sms", "date_received"
RANGE = timedelta(days=7)
LOOKBACK = timedelta(hours=72)
GRID = timedelta(hours=10)
NEVER = datetime(2000, 1, 1, tzinfo=timezone.utc)


class Story:
    """Runs with accounts, modes and dates by chance. Reading is simulated: what it notes is what was read.

    Attributes:
        read: When each time of each account was last read, at every tenth hour.
        pauses: How many hours may lie between two runs.
        fingerprint: The filters.
    """

    def __init__(self, seed: int, pauses: Sequence[int] = (0, 1, 30, 24 * 9)) -> None:
        self.random = random.Random(seed)
        self.state: dict[str, Any] = {}
        self.index = PartitionIndex(lambda: self.state)
        self.read: dict[str, dict[datetime, datetime]] = {account: {} for account in ACCOUNTS}
        self.included: dict[str, Sequence[str]] = {}
        self.pauses = pauses
        self.now = ORIGIN + timedelta(days=20)
        self.start: datetime | None = None
        self.fingerprint = ""

    def run(self, mode: str, listed: Sequence[str], *, is_whole: bool = False) -> int:
        """Play a run.

        Returns:
            How many partitions it had to read for accounts that catch up.
        """
        self.now += timedelta(hours=self.random.choice(self.pauses))
        contexts = {account: {"account_id": account} for account in listed}
        late: dict[str, datetime] = {}
        if mode == "each":
            distribute(self.index, TOGETHER, contexts, self.reader)
        else:
            late = gather(self.index, TOGETHER, contexts, self.reader)
        self.check(listed)
        if mode == "each":
            for account in listed:
                self.read_pages(account, self.now, is_whole=is_whole)
        else:
            self.read_reports(listed, is_whole=is_whole)
            for account, end in late.items():
                self.read_pages(account, end, is_whole=is_whole)
        self.check(listed)
        return len(late)

    @property
    def reader(self) -> BookmarkReader:
        return BookmarkReader(
            STREAM,
            KEY,
            self.fingerprint,
            ORIGIN,
            self.start_of,
            LOOKBACK,
            self.now,
            self.now - timedelta(hours=72),
            self.bookmark,
        )

    def start_of(self, end: datetime) -> datetime:
        return self.start or min(self.now, end) - RANGE

    def bookmark(self, state: dict[str, Any]) -> Bookmark:
        since = self.start or ORIGIN
        return Bookmark(state, stream=STREAM, replication_key=KEY, row_filter=self.fingerprint, since=since)

    def coverage(self, context: Mapping[str, str]) -> TimeSet:
        """The time that counts as read of a partition."""
        return self.bookmark(self.index.find(context)).coverage.times

    def read_pages(self, account: str, end: datetime, *, is_whole: bool) -> None:
        bookmark = self.bookmark(self.index.find({"account_id": account}))
        for window in self.windows(bookmark, end, is_whole=is_whole):
            self.note(account, window, self.now)
            bookmark.commit_window(window, self.now)

    def read_reports(self, listed: Sequence[str], *, is_whole: bool) -> None:
        bookmark = self.bookmark(self.index.find(TOGETHER))
        pending = to_intervals(report.window for report in bookmark.reports)
        for window in self.windows(bookmark, self.now, is_whole=is_whole, without=pending):
            name = f"report-{len(self.included)}"
            self.included[name] = listed
            bookmark.add_report(PendingReport(name, window, "", self.now))
        read_at = self.now
        for report in sorted(bookmark.reports, key=lambda report: report.window):
            if is_whole or self.random.random() < 0.7:
                for account in self.included[report.request_id]:
                    self.note(account, report.window, report.requested_at)
                read_at = min(read_at, report.requested_at)
                bookmark.commit_window(report.window, read_at)
                bookmark.remove_report(report.request_id)

    def windows(
        self, bookmark: Bookmark, end: datetime, *, is_whole: bool, without: TimeSet = EMPTY
    ) -> list[TimeWindow]:
        """The windows that a run reads: all that is missing, or some of it; what comes before others is a gap."""
        coverage = bookmark.coverage
        bookmark.apply_lookback(lookback_intervals(coverage.times, LOOKBACK, end, coverage.read_at), None)
        first = min((part.start for part, _ in coverage.parts), default=end)
        start = self.start or max(ORIGIN, min(self.start_of(end), first))
        windows = split(between(start, end) - bookmark.coverage.times - without, timedelta(hours=50))
        if is_whole:
            return windows
        kept = [window for window in windows if self.random.random() < 0.7]
        for window in windows:
            if window not in kept and any(window < one for one in kept):
                bookmark.leave_gap(window)
        return kept

    def note(self, account: str, window: TimeWindow, at: datetime) -> None:
        """Note when an account's rows were read."""
        for time in on_grid(window):
            self.read[account][time] = max(at, self.read[account].get(time, NEVER))

    def check(self, listed: Sequence[str]) -> None:
        """Fail if the state says of an account that more was read of it than was, or later."""
        shared = self.index.get(TOGETHER)
        known = ListedAccounts.read(shared, STREAM, self.fingerprint) if shared else ListedAccounts()
        coverage = self.bookmark(shared).coverage if shared else Coverage()
        for account in ACCOUNTS:
            own = self.index.get({"account_id": account})
            claims = [self.bookmark(own).coverage] if own else []
            if hashed(account) in known.listed:
                mark = known.listed[hashed(account)]
                claims.append(coverage.restrict(coverage.times & since(mark)) if mark else coverage)
            if hashed(account) in known.unlisted:
                assert account not in listed
                claims.append(known.unlisted[hashed(account)].coverage)
            for part, at in (one for claim in claims for one in claim.parts):
                # A row that was older than the lookback at the time of reading was final.
                assert all(self.read[account].get(time, NEVER) >= min(at, time + LOOKBACK) for time in on_grid(part)), (
                    account,
                    part,
                    at,
                )


def hour(number: int) -> datetime:
    return ORIGIN + timedelta(hours=number)


def hours(start: int, end: int) -> TimeWindow:
    return TimeWindow(hour(start), hour(end))


def on_grid(window: TimeWindow) -> list[datetime]:
    """Every tenth hour of a window."""
    first = ORIGIN + -(-(window.start - ORIGIN) // GRID) * GRID
    return [first + number * GRID for number in range(max(0, -(-(window.end - first) // GRID)))]


@pytest.mark.promise("Nothing is lost. The bookmark only moves over time that was read completely.")
@pytest.mark.parametrize("seeds", [range(at, at + 15) for at in range(0, 60, 15)], ids=str)
def test_no_time_counts_as_read_of_an_account_that_was_not(seeds: range) -> None:
    for story in map(Story, seeds):
        chance = story.random
        for _ in range(9):
            story.start = chance.choice([None, *(ORIGIN + timedelta(days=day) for day in (0, 3, 12))])
            others = [account for account in ACCOUNTS[1:] if chance.random() < 0.7]
            story.run(chance.choice(["each", "together", "together"]), [ACCOUNTS[0], *others])
        # Nothing is left out for ever, and nothing is caught up with twice.
        story.start = ORIGIN
        for _ in range(2):
            story.run("together", ACCOUNTS, is_whole=True)
        assert story.run("together", ACCOUNTS, is_whole=True) == 0
        for read in story.read.values():
            assert read.keys() >= {*on_grid(TimeWindow(ORIGIN, story.now))}


def test_what_was_read_counts_in_either_way() -> None:
    story = Story(0, pauses=[0])
    story.start = ORIGIN
    story.run("each", ACCOUNTS, is_whole=True)
    story.run("together", ACCOUNTS, is_whole=True)
    seen = len(story.included)
    for mode in ("each", "together") * 2:
        assert story.run(mode, ACCOUNTS, is_whole=True) == 0
    # No more than the lookback was requested again.
    assert len(story.included) - seen <= 4


@pytest.mark.parametrize(("read", "kept"), [(90, 18), (99, 27), (100, 60), (101, 60)])
def test_an_account_that_catches_up_is_refetched_only_if_it_was_read_before_the_others(read: int, kept: int) -> None:
    """Of the account that was read earlier, rows may have changed since that are final for the others."""
    story = Story(0)
    story.start = ORIGIN
    own = {account: {"account_id": account} for account in ACCOUNTS[:2]}
    story.bookmark(story.index.find(own["primary"])).commit_window(hours(0, 100), hour(100))
    gather(story.index, TOGETHER, {"primary": own["primary"]}, story.reader)
    assert story.coverage(TOGETHER) == between(hour(0), hour(100))
    story.bookmark(story.index.find(own["first"])).commit_window(hours(0, 60), hour(read))
    assert gather(story.index, TOGETHER, own, story.reader) == {"first": hour(100)}
    assert story.coverage(own["first"]) == between(hour(0), hour(kept))
    assert story.coverage(TOGETHER) == between(hour(0), hour(100))


def test_a_partition_of_an_account_goes_unless_more_was_read_of_it_than_of_all() -> None:
    story = Story(0)
    story.start = ORIGIN
    own = {account: {"account_id": account} for account in ACCOUNTS[:3]}
    for account, end in zip(own, (100, 120, 100), strict=True):
        story.bookmark(story.index.find(own[account])).commit_window(hours(0, end), hour(120))
    assert gather(story.index, TOGETHER, own, story.reader) == {}
    assert story.coverage(TOGETHER) == between(hour(0), hour(100))
    assert [account for account in own if story.index.get(own[account])] == ["first"]


@pytest.mark.parametrize(("read", "is_late"), [(None, True), (0, True), (99, True), (100, False), (120, False)])
def test_an_account_that_is_new_catches_up_to_where_the_others_are(read: int | None, *, is_late: bool) -> None:
    story = Story(0)
    story.start = ORIGIN
    own = {account: {"account_id": account} for account in ACCOUNTS[:2]}
    story.bookmark(story.index.find(own["primary"])).commit_window(hours(0, 100), hour(100))
    gather(story.index, TOGETHER, {"primary": own["primary"]}, story.reader)
    if read is not None:
        story.bookmark(story.index.find(own["first"])).commit_window(hours(0, read), hour(200))
    assert gather(story.index, TOGETHER, own, story.reader) == ({"first": hour(100)} if is_late else {})
