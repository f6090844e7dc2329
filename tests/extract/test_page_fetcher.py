"""Pages of a partition: what its state keeps before the first one arrives, and what follows the last one."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.errors import RetriableApiError
from tap_vonage_reports.extract.pages.fetcher import PageFetcher
from tap_vonage_reports.extract.pages.prefetch import Prefetcher
from tap_vonage_reports.extract.refetch import Refetcher
from tap_vonage_reports.intervals import between
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.state.values import PageCursor
from tests.planning.test_windows import ACCOUNT, at, dated, hours, open_sync

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tap_vonage_reports.api.request_context import RequestContext
    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.metrics import FetchMetrics

SMS = PRODUCTS["sms"]
NOW = 100
PATIENCE = 10
BROKEN = RetriableApiError("HTTP 500 Oops")


@pytest.mark.parametrize("is_ours", [True, False], ids=["resumed", "of another query"])
def test_a_page_stays_in_the_state_while_its_window_resumes_and_goes_if_it_does_not(
    monkeypatch: pytest.MonkeyPatch, *, is_ours: bool
) -> None:
    queued: list[int] = []

    def add(_prefetcher: Any, _sync: Any, tasks: Sequence[Any], _metrics: Any) -> None:
        queued.append(len(tasks))

    monkeypatch.setattr(Prefetcher, "add", add)
    opened = open_sync({"context": {"account_id": ACCOUNT}}, now=24, start_date="2026-10-01T00:00:00Z")
    sync = opened.sync
    fingerprint = sync.query.fingerprint if is_ours else "other"
    page = PageCursor(hours(0, 24), "next", "iv", fingerprint, sync.read_at)
    sync.bookmark.commit_page(page)
    fetcher = PageFetcher(
        opened.session.client, opened.session.planner, workers=1, is_ready=lambda _sync: True, poll_all=lambda: None
    )
    fetcher.prepare([sync])
    fetcher.close()
    assert queued
    assert sync.bookmark.page == (page if is_ours else None)


class Sent:
    """A run that reads a partition of SMS by pages, each with one row that may still change, after an earlier run.

    Attributes:
        lookups: The ids of each lookup.
        windows: The start of each window.
    """

    def __init__(
        self, *, together: bool = False, finds: bool = False, fails_before: str = "", workers: int = 1
    ) -> None:
        self.finds, self.fails_before = finds, fails_before
        self.lookups: list[str] = []
        self.windows: list[str] = []
        self.metrics: list[FetchMetrics] = []
        self.polls, self.is_ready = 0, True
        settings = {"subaccounts": "together"} if together else {"fetch_mode": "sync"}
        opened = open_sync(
            {"context": {}},
            NOW,
            **dated(start_date=0),
            **settings,
            status_refresh="ids",
            lookback_hours=72,
            late_rows_hours=0,
            max_concurrent_requests=workers,
        )
        session = opened.session
        partition = session.accounts.partition(SMS, ACCOUNT, "outbound", with_subaccounts=together)
        state: dict[str, Any] = {"context": partition.context}
        earlier = session.open(partition, state)
        earlier.bookmark.commit_window(hours(0, 90), at(90), is_tracked=True)
        self.name = "sub,lost" if together else "lost"
        earlier.bookmark.track({self.name: at(80)})
        self.sync: PartitionSync = session.open(partition, state)
        if together:  # reports have read the rest
            self.sync.bookmark.commit_window(hours(90, NOW), at(NOW), is_tracked=True)
        self.opened = opened
        client: Any = self
        self.fetcher = PageFetcher(
            client, session.planner, workers=workers, is_ready=lambda _sync: self.is_ready, poll_all=self.poll
        )

    def poll(self) -> None:
        self.polls += 1
        self.fetcher.poll()

    def records(self, params: Mapping[str, str], context: RequestContext) -> Any:
        self.metrics.append(context.metrics)
        if "id" in params:
            self.lookups.append(params["id"])
            found = [{"id": "lost", "status": "submitted"}] if self.finds else []
        else:
            self.windows.append(params["date_start"])
            if params["date_start"] < self.fails_before:
                raise BROKEN
            found = [{"id": params["date_start"], "status": "submitted", "date_received": params["date_start"]}]
        return SimpleNamespace(body={"records": found, "request_status": "SUCCESS"}, at=at(NOW + 1))

    def read(self) -> list[str]:
        """Read all; return the ids of the rows."""
        self.fetcher.prepare([self.sync])
        rows = []
        for chunk in self.fetcher.read(self.sync):
            rows += [row["id"] for row in chunk.rows or ()]
            assert chunk.checkpoint_due
            chunk.commit()
        self.fetcher.close()
        return rows

    @property
    def pending(self) -> list[str]:
        return [*self.sync.bookmark.pending_ids]


REFETCHED = between(at(80 - 24), at(90))
"""A day before the row that was not found, because its hour may be the last one of its window."""


def test_a_row_that_is_found_by_id_needs_no_window() -> None:
    run = Sent(finds=True)
    assert run.read() == ["2026-10-04T18:00:00Z", "lost"]
    assert (run.lookups, run.sync.ids_reliable, run.polls > 1) == (["lost"], True, True)
    assert {*run.metrics} == {run.sync.result.fetched}
    assert run.pending == ["lost", "2026-10-04T18:00:00Z"]


def test_once_an_id_is_not_found_rows_are_refetched_by_windows_and_not_tracked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        run = Sent()
        refetched = run.read()[1:]
    assert refetched == ["2026-10-03T08:00:00Z", "2026-10-04T08:00:00Z"]
    assert "the API does not find 1 row by ID although it listed them" in caplog.text
    assert run.sync.ids_reliable is False
    assert run.sync.result.fetched.refetch & REFETCHED == REFETCHED
    # The next run refetches by windows what this one has refetched: nothing of it is tracked by its ID.
    assert run.pending == ["2026-10-04T18:00:00Z"]
    coverage = run.sync.bookmark.coverage
    assert (coverage.tracked & REFETCHED).empty
    assert coverage.times == between(at(0), at(NOW))


def test_a_row_that_is_not_found_stays_tracked_until_all_its_time_is_refetched() -> None:
    run = Sent(fails_before="2026-10-04T18")
    run.read()
    assert len(run.sync.result.gaps) == 2
    assert "lost" in run.pending
    assert (run.sync.bookmark.coverage.times & REFETCHED).empty


def test_a_window_that_cannot_be_read_is_left_out_and_rows_are_looked_up_all_the_same() -> None:
    run = Sent(finds=True, fails_before="2026-10-05")
    assert run.read() == ["lost"]
    assert len(run.sync.result.gaps) == 1
    assert run.sync.bookmark.coverage.times == between(at(0), at(90))


def test_reports_refetch_later_what_lookups_of_all_accounts_do_not_find() -> None:
    run = Sent(together=True)
    assert (run.read(), run.windows, run.lookups) == ([], [], ["lost"])
    assert run.sync.refetch_later == REFETCHED
    assert run.pending == []
    # A run that is killed now, or does not wait for reports, leaves that time to the next one.
    assert (run.sync.bookmark.coverage.times & REFETCHED).empty
    assert REFETCHED in run.sync.bookmark.gaps


def test_what_an_earlier_run_had_begun_to_read_is_refetched_after_all_else() -> None:
    run = Sent(finds=True)
    run.sync.resumed_reads = [(hours(40, 50), at(60)), (hours(50, 60), at(60))]
    run.read()
    assert (run.sync.result.fetched.refetch & between(at(40), at(60))).empty
    read_more = run.fetcher.read_more
    for chunk in Refetcher(run.opened.session.planner, by_pages=read_more, by_reports=read_more).read(run.sync):
        chunk.commit()
    assert (run.sync.result.fetched.refetch & between(at(40), at(60))) == between(at(40), at(60))
    assert run.windows[1:] == ["2026-10-02T16:00:00Z"]
    assert timedelta(0) == run.sync.result.left


def test_pages_of_a_partition_that_is_released_are_fetched_no_more() -> None:
    run = Sent(finds=True)
    run.is_ready = False
    run.fetcher.prepare([run.sync])
    run.fetcher.release(run.sync)
    run.is_ready = True
    run.fetcher.poll()
    run.fetcher.close()
    assert run.windows == []


def test_a_partition_that_waited_for_its_reports_is_read_once() -> None:
    run = Sent(finds=True)
    run.is_ready = False
    run.fetcher.prepare([run.sync])
    rows = []
    for chunk in run.fetcher.read(run.sync):
        rows += [row["id"] for row in chunk.rows or ()]
        chunk.commit()
        run.is_ready = True
    run.fetcher.close()
    assert rows == ["2026-10-04T18:00:00Z", "lost"]


def test_partitions_are_fetched_in_the_order_in_which_they_are_read() -> None:
    run = Sent(finds=True)
    session = run.opened.session
    second = session.open(session.accounts.partition(SMS, ACCOUNT, "inbound"), {"context": {}})
    run.fetcher.prepare([run.sync, second])
    for sync in (run.sync, second):
        for chunk in run.fetcher.read(sync):
            chunk.commit()
    run.fetcher.close()
    first = [metrics is run.sync.result.fetched for metrics in run.metrics]
    assert first == sorted(first, reverse=True)
    assert len(first) > 2


def test_what_is_left_to_read_is_shared_among_the_workers() -> None:
    run = Sent(finds=True, workers=2)
    run.read()
    assert len(run.windows) > 2


def test_workers_end_with_the_run() -> None:
    before = set(threading.enumerate())
    run = Sent(finds=True)
    run.read()
    workers = set(threading.enumerate()) - before
    for worker in workers:
        worker.join(PATIENCE)
    assert not any(worker.is_alive() for worker in workers)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"finds": True},
            ["syncing 2026-10-04 18:00 to 2026-10-05 04:00 in 1 window", "looking up 1 non-final row by ID"],
        ),
        (
            {},
            [
                "syncing 2026-10-04 18:00 to 2026-10-05 04:00 in 1 window",
                "looking up 1 non-final row by ID",
                "syncing 2026-10-03 08:00 to 2026-10-04 18:00 in 2 windows",
            ],
        ),
        ({"together": True, "finds": True}, ["looking up 1 non-final row by ID"]),
    ],
)
def test_the_log_tells_what_is_read_by_pages(
    caplog: pytest.LogCaptureFixture, settings: dict[str, Any], said: list[str]
) -> None:
    with caplog.at_level(logging.INFO):
        run = Sent(**settings)
        run.read()
    told = [message.partition(": ")[2] for message in caplog.messages if message.startswith(f"{run.sync.partition}: ")]
    assert [text for text in told if text.startswith(("syncing", "looking", "nothing"))] == said


def test_the_log_tells_that_there_is_nothing_to_read(caplog: pytest.LogCaptureFixture) -> None:
    run = Sent()
    run.sync.bookmark.commit_window(hours(90, NOW), at(NOW), is_tracked=True)
    run.sync.bookmark.untrack([run.name])
    with caplog.at_level(logging.INFO):
        assert run.read() == []
    assert caplog.messages == ["sms, outbound, primary account: nothing to read, covered until 2026-10-05 04:00"]
