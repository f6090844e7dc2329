"""A report's file is downloaded until it is whole; what became of it, and of its rows, is counted and told."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest

from tap_vonage_reports.errors import (
    ApiError,
    ConsecutiveGapsError,
    ReportError,
    RequestRejectedError,
    RetriableApiError,
)
from tap_vonage_reports.extract.reports.fetcher import ReportFetcher
from tap_vonage_reports.intervals import to_windows
from tests.extract.test_report_jobs import Api, scheduler_of
from tests.planning.test_windows import at, dated, hours, open_sync
from tests.records.test_report_archive import GOOD, archive, one

if TYPE_CHECKING:
    from collections.abc import Callable

WHOLE, CUT = one(GOOD).getvalue(), one(GOOD).getvalue()[:-30]
LONG = b"no zip, and longer than one" * 1000
OTHER = archive({"readme.txt": "no"}).getvalue()
FULL_DISK = OSError(28, "No space left on device")


class Files(Api):
    """An API whose reports are ready, and whose files are given in the order of the downloads."""

    def __init__(self, *files: bytes | Exception, rows: int | None = 2, link: bool = True) -> None:
        super().__init__(delay_factor=0)
        self.files, self.rows, self.link = list(files), rows, link
        self.left_behind: list[int] = []

    def report_status(self, request_id: str) -> Any:
        link = {"_links": {"download_report": {"href": f"https://example.com/{request_id}"}}} if self.link else {}
        self.statuses[request_id] = {"request_status": "SUCCESS", "items_count": self.rows, **link}
        return super().report_status(request_id)

    def download(self, link: str, file: BinaryIO, on_progress: Callable[[], None]) -> None:
        assert link.startswith("https://example.com/")
        on_progress()
        self.left_behind.append(len(file.read()))
        content = self.files.pop(0)
        if isinstance(content, Exception):
            raise content
        file.write(content)


class Run:
    """A run that reads four days by two reports, or as many as given."""

    def __init__(self, api: Any, days: int = 4, *, waits: bool = True) -> None:
        opened = open_sync({"context": {}}, days * 24, **dated(start_date=0), fetch_mode="async", lookback_hours=0)
        self.sync, self.scheduler = opened.sync, scheduler_of(api)
        self.ticks = 0
        self.fetcher = ReportFetcher(
            api,
            opened.session.planner,
            self.scheduler,
            self.scheduler.poll,
            show_progress=self.tick,
            subaccounts=list,
            waits=waits,
        )
        self.sizes: list[int] = []
        self.rows: list[int] = []

    def tick(self) -> None:
        self.ticks += 1

    def read(self) -> Run:
        self.fetcher.prepare([self.sync])
        for chunk in self.fetcher.read(self.sync):
            assert chunk.checkpoint_due
            assert chunk.from_report
            self.rows.append(len(chunk))
            if chunk.report_file:
                chunk.report_file.seek(0)
                self.sizes.append(len(chunk.report_file.read()))
            chunk.commit()
        return self

    @property
    def covered(self) -> list[object]:
        return [*to_windows(self.sync.bookmark.coverage.times)]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Rows, reports and windows."""
        return self.sync.result.fetched.rows, self.sync.result.fetched.reports, self.sync.result.windows


def test_each_report_is_read_and_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run = Run(Files(WHOLE, WHOLE)).read()
    assert (run.covered, run.counts, run.ticks > 1) == ([hours(0, 96)], (4, 2, 2), True)
    assert (run.sizes, run.rows) == ([len(WHOLE)] * 2, [2, 2])
    assert run.sync.bookmark.reports == []
    assert run.sync.bookmark.volume.volume is not None
    assert run.sync.bookmark.volume.volume.rows == 4
    assert "syncing 2026-10-01 00:00 to 2026-10-05 00:00 in 2 reports" in caplog.text
    read = [message for message in caplog.messages if ": read (" in message]
    assert ["(2 rows in" in message for message in read] == [True, True]
    assert [message.rpartition("reports left: ")[2] for message in read] == ["1)", "0)"]


@pytest.mark.parametrize(("rows", "link", "downloads"), [(0, False, 0), (0, True, 1), (None, True, 1)])
def test_a_report_without_rows_moves_the_bookmark_and_is_downloaded_only_if_it_has_a_file(
    rows: int | None, downloads: int, *, link: bool
) -> None:
    api = Files(one('"id"\n').getvalue(), rows=rows, link=link)
    run = Run(api, days=2).read()
    assert (run.covered, run.counts) == ([hours(0, 48)], (0, 1, 1))
    assert len(api.left_behind) == downloads
    assert run.sync.bookmark.volume.volume is not None
    assert run.sync.bookmark.volume.volume.rows == 0


def test_a_file_that_is_corrupt_in_other_ways_each_time_is_downloaded_three_times() -> None:
    api = Files(OTHER, LONG, WHOLE)
    run = Run(api, days=2).read()
    assert (run.covered, run.sizes, api.left_behind) == ([hours(0, 48)], [len(WHOLE)], [0, 0, 0])
    assert run.counts == (2, 1, 1)
    refused = Run(Files(CUT, OTHER, one("").getvalue(), WHOLE), days=2).read()
    assert (refused.covered, refused.counts) == ([], (0, 1, 0))
    assert [report.window for report in refused.sync.bookmark.refused_reports] == [hours(0, 48)]


def test_a_file_that_is_corrupt_in_the_same_way_twice_is_not_downloaded_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    api = Files(CUT, CUT, WHOLE)
    run = Run(api, days=2).read()
    assert (run.covered, len(api.files)) == ([], 1)
    assert [text for text in ("1 of 3", "2 of 3", "3 of 3") if text in caplog.text] == ["1 of 3", "2 of 3"]
    assert run.sync.report_windows == []  # pages read the window


def test_of_all_accounts_another_report_replaces_an_unreadable_one_which_no_later_run_resumes() -> None:
    run = Run(Files(CUT, CUT, WHOLE), days=2)
    run.sync.partition = replace(run.sync.partition, with_subaccounts=True)
    run.read()
    assert (run.covered, run.counts, run.sync.bookmark.reports) == ([hours(0, 48)], (2, 2, 1), [])
    refused = Run(Files(CUT, CUT, OTHER, OTHER), days=2)
    refused.sync.partition = run.sync.partition
    refused.read()
    assert (refused.covered, len(refused.sync.result.gaps), refused.sync.bookmark.reports) == ([], 1, [])


@pytest.mark.parametrize("status", [404, 403])
def test_a_file_that_is_not_there_yet_is_waited_for(status: int) -> None:
    run = Run(Files(RequestRejectedError(status, "x"), WHOLE), days=2).read()
    assert (run.covered, run.sizes, run.counts) == ([hours(0, 48)], [len(WHOLE)], (2, 1, 1))


@pytest.mark.parametrize("error", [RetriableApiError("HTTP 500 Oops"), RequestRejectedError(410, "Gone")])
def test_a_report_that_cannot_be_downloaded_is_left_out_and_the_next_one_is_read(error: ApiError) -> None:
    run = Run(Files(error, WHOLE)).read()
    assert (run.covered, len(run.sync.result.gaps)) == ([hours(48, 96)], 1)
    assert [report.window for report in run.sync.bookmark.reports] == [hours(0, 48)]  # for the next run
    with pytest.raises(ConsecutiveGapsError):
        Run(Files(*[error] * 4), days=8).read()


def test_gaps_count_in_a_row() -> None:
    error = RetriableApiError("HTTP 500 Oops")
    run = Run(Files(error, error, WHOLE, error, WHOLE), days=10).read()
    assert (len(run.sync.result.gaps), run.sync.result.gaps_in_a_row) == (3, 0)


def test_a_full_disk_ends_the_partition() -> None:
    api = Files(FULL_DISK, WHOLE)
    with pytest.raises(ReportError, match="cannot be stored"):
        Run(api).read()
    assert len(api.files) == 1


def test_a_partition_that_has_ended_requests_no_more_reports() -> None:
    """They would be billed, and take the room of other partitions' reports."""
    api = Files()
    run = Run(api, days=16)
    run.fetcher.prepare([run.sync])
    assert (len(api.bodies), run.scheduler.remaining()) == (5, 8)
    run.fetcher.release(run.sync)
    run.fetcher.poll()  # those in flight are ready now
    assert (len(api.bodies), run.scheduler.remaining()) == (5, 0)


def test_what_is_read_of_an_earlier_runs_report_counts_as_read_back_then() -> None:
    run = Run(Files(WHOLE), days=2)
    run.fetcher.prepare([run.sync])
    [pending] = run.sync.bookmark.reports
    run.sync.resumed_reports = frozenset([pending.request_id])
    for chunk in run.fetcher.read(run.sync):
        chunk.commit()
    minute = timedelta(minutes=1)
    assert run.sync.resumed_reads == [(hours(0, 48), pending.requested_at - minute)]
    assert run.sync.read_at == min(pending.requested_at, at(48))


def test_rows_later_than_the_request_of_a_report_are_not_covered_by_it() -> None:
    """The API has received the request an hour before the end of the window, by its own clock."""
    run = Run(Files(WHOLE, WHOLE, WHOLE), days=5)  # the last report ends at 120, and is requested at 99
    run.read()
    assert run.covered == [hours(0, 99 - 1 / 60)]


def test_a_run_that_does_not_wait_leaves_its_reports_to_the_next() -> None:
    api = Api(delay_factor=0)
    run = Run(api, waits=False)
    run.fetcher.prepare([run.sync])
    job = run.scheduler.next_job(run.sync)
    assert job
    job.poll_interval = 1  # it was polled, and is still pending
    assert list(run.fetcher.read(run.sync)) == []
    assert (run.sync.result.pending_reports, run.sync.result.requested_reports) == (2, 2)
    assert len(run.sync.bookmark.reports) == 2
    assert (run.scheduler.in_flight(), run.scheduler.remaining()) == (2, 0)  # they take room of this run's others
