"""Whatever order accounts come, go and are read in, no time counts as read of an account that was not."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.intervals import EMPTY, TimeWindow, between, since, split, to_intervals
from tap_vonage_reports.state.bookmark import Bookmark
from tap_vonage_reports.state.listed_accounts import ListedAccounts, hashed
from tap_vonage_reports.state.partition_index import PartitionIndex
from tap_vonage_reports.state.subaccounts import BookmarkReader, distribute, gather
from tap_vonage_reports.state.values import PendingReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tap_vonage_reports.intervals import TimeSet

ORIGIN = datetime(2026, 10, 1, tzinfo=timezone.utc)
TOGETHER = {"account_id": "primary", "subaccounts": "together"}
ACCOUNTS = ("primary", "first", "second", "third", "fourth")
STREAM, KEY = "sms", "date_received"
RANGE = timedelta(days=7)


class Story:
    """Runs with accounts, modes and dates by chance. Reading is simulated: what it notes is what was read.

    Attributes:
        read: What was read of each account.
        pauses: How many hours may lie between two runs.
    """

    def __init__(self, seed: int, pauses: Sequence[int] = (0, 1, 30, 24 * 9)) -> None:
        self.random = random.Random(seed)
        self.state: dict[str, Any] = {}
        self.index = PartitionIndex(lambda: self.state)
        self.read = dict.fromkeys(ACCOUNTS, EMPTY)
        self.included: dict[str, Sequence[str]] = {}
        self.pauses = pauses
        self.now = ORIGIN + timedelta(days=20)
        self.start: datetime | None = None

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
        return BookmarkReader(STREAM, KEY, "", ORIGIN, self.start_of, self.bookmark)

    def start_of(self, end: datetime) -> datetime:
        return self.start or min(self.now, end) - RANGE

    def bookmark(self, state: dict[str, Any]) -> Bookmark:
        return Bookmark(state, stream=STREAM, replication_key=KEY, row_filter="", since=self.start or ORIGIN)

    def read_pages(self, account: str, end: datetime, *, is_whole: bool) -> None:
        bookmark = self.bookmark(self.index.find({"account_id": account}))
        for window in self.windows(bookmark, end, is_whole=is_whole):
            self.read[account] |= to_intervals([window])
            bookmark.commit_window(window, self.now)

    def read_reports(self, listed: Sequence[str], *, is_whole: bool) -> None:
        bookmark = self.bookmark(self.index.find(TOGETHER))
        pending = to_intervals(report.window for report in bookmark.reports)
        for window in self.windows(bookmark, self.now, is_whole=is_whole, without=pending):
            name = f"report-{len(self.included)}"
            self.included[name] = listed
            bookmark.add_report(PendingReport(name, window, "", self.now))
        for report in list(bookmark.reports):
            if is_whole or self.random.random() < 0.7:
                for account in self.included[report.request_id]:
                    self.read[account] |= to_intervals([report.window])
                bookmark.commit_window(report.window, self.now)
                bookmark.remove_report(report.request_id)

    def windows(
        self, bookmark: Bookmark, end: datetime, *, is_whole: bool, without: TimeSet = EMPTY
    ) -> list[TimeWindow]:
        """The windows that a run reads: all that is missing, or some of it; what comes before others is a gap."""
        first = min((part.start for part, _ in bookmark.coverage.parts), default=end)
        start = self.start or max(ORIGIN, min(self.start_of(end), first))
        windows = split(between(start, end) - bookmark.coverage.times - without, timedelta(hours=50))
        if is_whole:
            return windows
        kept = [window for window in windows if self.random.random() < 0.7]
        for window in windows:
            if window not in kept and any(window < one for one in kept):
                bookmark.leave_gap(window)
        return kept

    def check(self, listed: Sequence[str]) -> None:
        """Fail if the state says of an account that more was read of it than was."""
        shared = self.index.get(TOGETHER)
        known = ListedAccounts.read(shared, STREAM) if shared else ListedAccounts()
        coverage = self.bookmark(shared).coverage.times if shared else EMPTY
        for account in ACCOUNTS:
            own = self.index.get({"account_id": account})
            claims = self.bookmark(own).coverage.times if own else EMPTY
            if hashed(account) in known.listed:
                mark = known.listed[hashed(account)]
                claims |= coverage & since(mark) if mark else coverage
            if hashed(account) in known.unlisted:
                assert account not in listed
                claims |= known.unlisted[hashed(account)].times
            assert (claims - self.read[account]).empty


@pytest.mark.promise("Nothing is lost. The bookmark only moves over time that was read completely.")
@pytest.mark.parametrize("seeds", [range(at, at + 25) for at in range(0, 100, 25)], ids=str)
def test_no_time_counts_as_read_of_an_account_that_was_not(seeds: range) -> None:
    for story in map(Story, seeds):
        chance = story.random
        for _ in range(9):
            story.start = chance.choice([None, *(ORIGIN + timedelta(days=day) for day in (0, 3, 12))])
            others = [account for account in ACCOUNTS[1:] if chance.random() < 0.7]
            story.run(chance.choice(["each", "together", "together"]), [ACCOUNTS[0], *others])
        # Nothing is left out for ever, and nothing is caught up with twice.
        story.start = ORIGIN
        story.run("together", ACCOUNTS, is_whole=True)
        assert story.run("together", ACCOUNTS, is_whole=True) == 0
        assert all(between(ORIGIN, story.now) in read for read in story.read.values())


def test_what_was_read_counts_in_either_way() -> None:
    story = Story(0, pauses=[0])
    story.start = ORIGIN
    story.run("each", ACCOUNTS, is_whole=True)
    seen = dict(story.read)
    for mode in ("together", "each") * 2:
        assert story.run(mode, ACCOUNTS, is_whole=True) == 0
    assert story.read == seen
    assert story.included == {}
