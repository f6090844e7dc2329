"""The async path: waits for reports, downloads and verifies them, and yields each as one chunk."""

from __future__ import annotations

import logging
import tempfile
import time
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO, cast

from tap_vonage_reports.errors import (
    ApiError,
    ArchiveError,
    ReportError,
    RequestRejectedError,
    RetriableApiError,
)
from tap_vonage_reports.extract.gaps import ReadFailure, leave_gap
from tap_vonage_reports.extract.reader import Chunk
from tap_vonage_reports.extract.reports.job import RESUME_HINT, ReportStatus
from tap_vonage_reports.extract.reports.subaccounts import explained, survey_report
from tap_vonage_reports.intervals import TimeWindow, to_windows
from tap_vonage_reports.planning.date_range import END_MARGIN
from tap_vonage_reports.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from tap_vonage_reports.api.client import ReportsClient
    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.extract.reports.job import ReportJob
    from tap_vonage_reports.extract.reports.scheduler import ReportScheduler
    from tap_vonage_reports.extract.reports.subaccounts import ReportSurvey
    from tap_vonage_reports.intervals import TimeSet
    from tap_vonage_reports.planning.planner import Planner

logger = logging.getLogger(__name__)

MAX_DOWNLOADS = 3
MAX_SLEEP_SECONDS = 1.0
"""While a report is waited for, progress is shown this often if it is due."""
NOT_THERE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN})
"""Statuses of a file that may not be there yet, or not any more. Stores answer 403 for what they do not have."""


class ReportReplaced(Exception):  # noqa: N818 - not an error: others stand in its place
    """A report was truncated or refused, and shorter ones or pages stand in its place."""


class ReportNotReady(Exception):  # noqa: N818 - not an error: a later run reads it
    """A report is not ready, and the run does not wait."""


class ReportFetcher:
    """Fetches the reports of all partitions of a run. Only the main thread uses it."""

    def __init__(  # noqa: PLR0913 - the API, what it plans with, and how it waits
        self,
        client: ReportsClient,
        planner: Planner,
        scheduler: ReportScheduler,
        poll_all: Callable[[], None],
        show_progress: Callable[[], None],
        *,
        subaccounts: Callable[[], Sequence[str]],
        waits: bool = True,
    ) -> None:
        """Set up a fetcher.

        Args:
            client: The API.
            planner: Plans what each partition reads by reports.
            scheduler: Requests and polls the reports.
            poll_all: Polls all fetchers; called while a report is waited for.
            show_progress: Shows the progress of the run if that is due; called while a file is downloaded.
            subaccounts: Returns the sub-accounts that are not suspended.
            waits: False to leave reports that are not ready to a later run.
        """
        self._client = client
        self._planner = planner
        self._scheduler = scheduler
        self._poll_all = poll_all
        self._show_progress = show_progress
        self._subaccounts = subaccounts
        self._waits = waits

    def prepare(self, syncs: Sequence[PartitionSync]) -> None:
        """Plan the reports of all partitions and request the first ones, so that they are generated meanwhile."""
        for sync, plan in zip(syncs, self._scheduler.plan(syncs, self._planner), strict=True):
            sync.report_windows = plan.windows
            sync.resumed_reports = frozenset(report.request_id for report in plan.resumed)
            self._scheduler.add(sync, plan)
        self.poll()

    def poll(self) -> None:
        """Poll the reports that are due, and request others where there is room."""
        self._scheduler.poll()

    def read(self, sync: PartitionSync) -> Iterator[Chunk]:
        """Yield the reports of a partition, one chunk each.

        Raises:
            ApiError: A report failed, or the file of one cannot be read and pages cannot replace it.
        """
        if sync.report_windows:
            sync.read_at = self._planner.now()
            yield from self._read_reports(sync, sync.report_windows)
        for window in to_windows(self._planner.unreadable(sync)):
            raise _irreplaceable(window)

    def read_more(self, sync: PartitionSync, times: TimeSet) -> Iterator[Chunk]:
        """Request reports of time that no plan has, before those of other partitions, and yield them, one chunk each.

        Raises: as `read`.
        """
        plan = self._planner.reports_of(times, sync.bookmark)
        self._scheduler.add(sync, plan, is_next=True)
        yield from self._read_reports(sync, plan.windows)

    def _read_reports(self, sync: PartitionSync, windows: Sequence[TimeWindow]) -> Iterator[Chunk]:
        """Yield the reports of a partition that the scheduler has, for some windows in order of time."""
        whole = TimeWindow(windows[0].start, windows[-1].end)
        logger.info("%s: syncing %s in %s", sync.partition, whole, counted(self._scheduler.remaining(sync), "report"))
        while job := self._scheduler.next_job(sync):
            try:
                with suppress(ReportReplaced), self._opened(job) as file:
                    sync.result.gaps_in_a_row = 0
                    commit = partial(self._commit, job, survey_report(job, file, self._show_progress))
                    yield Chunk(commit, checkpoint_due=True, report_file=file, row_count=job.row_count or 0)
            except ReportNotReady:
                sync.result.pending_reports, sync.result.requested_reports = left = self._scheduler.leave(sync)
                logger.info("%s: leaving reports to the next run (pending: %d, requested: %d)", sync.partition, *left)
            except ApiError as error:
                if not error.leaves_gap:
                    raise explained(self._client, sync, self._subaccounts, error) from error.__cause__
                self._scheduler.skip(job)
                leave_gap(sync, ReadFailure(str(error), job.window))

    def release(self, sync: PartitionSync) -> None:
        """Request no more reports for a partition."""
        self._scheduler.release(sync)

    def close(self) -> None:
        """Nothing runs beside the main thread."""

    @contextmanager
    def _opened(self, job: ReportJob) -> Generator[BinaryIO | None, None, None]:
        """Wait for a report, download and verify it.

        Yields:
            Its file, whole and verified; None for a report without rows.

        Raises:
            ReportReplaced: It was truncated, or its file cannot be read.
            ReportNotReady: It is left to a later run.
            ReportError: It does not lead to its rows.
            ApiError: The API refuses it.
        """
        while True:
            self._wait(job)
            if job.row_count == 0 and not job.link:
                yield None
                return
            with _temporary_file(job) as file:
                if self._download(job, file):
                    job.sync.result.fetched.count_file(job.row_count or 0, job.window)
                    yield file
                    return

    def _wait(self, job: ReportJob) -> None:
        """Wait until a report can be downloaded.

        Raises:
            ApiError: It will never be.
            ReportReplaced: It was truncated, or its file cannot be read.
            ReportNotReady: It is left to a later run.
        """
        while True:
            self._poll_all()
            if job.error:
                raise job.error
            if job not in self._scheduler:
                raise ReportReplaced
            if job.status is ReportStatus.SUCCESS:
                return
            if not self._waits and self._scheduler.may_be_left(job):
                raise ReportNotReady
            time.sleep(min(self._scheduler.idle_seconds(), MAX_SLEEP_SECONDS))

    def _download(self, job: ReportJob, file: BinaryIO) -> bool:
        """Download and verify a report. Return False when it has to be waited for again.

        Raises:
            ReportReplaced: Its file cannot be read, and pages read the window instead.
            ReportError: It could not be downloaded, stored or replaced.
            ApiError: The API refuses it.
        """
        job.download_started = time.monotonic()
        refusals: list[str] = []
        while len(refusals) < MAX_DOWNLOADS:
            file.seek(0)
            file.truncate()
            try:
                self._client.download(job.link, file, self._show_progress)
                job.row_count = job.sync.accept_archive(file, job.row_count)
            except RequestRejectedError as error:
                if error.status not in NOT_THERE:
                    raise
                self._scheduler.on_missing_file(job, error)
                return False
            except RetriableApiError as error:
                what = f"could not be downloaded ({error.reason})"
                raise job.problem(what, RESUME_HINT) from None
            except ArchiveError as error:
                refusals.append(str(error))
                logger.warning("%s: %s (download %d of %d)", job, error, len(refusals), MAX_DOWNLOADS)
                if len(set(refusals)) < len(refusals):
                    break  # another download would be the same
            except OSError as error:
                raise _not_stored(job, error) from None
            else:
                return True
        self._scheduler.transitions.refuse(job, f"its file cannot be read: {refusals[-1]}")
        raise job.error or ReportReplaced

    def _commit(self, job: ReportJob, survey: ReportSurvey | None) -> None:
        """Move the bookmark over a report whose rows are written."""
        sync = job.sync
        sync.result.count_window(job.window)
        window, read_at, resumed = job.window, sync.read_at, []
        if job.requested_at:
            read_at = min(read_at, job.requested_at)
            # Rows later than the request are missing, whatever bound was requested.
            window = window.until((job.requested_at - END_MARGIN).replace(microsecond=0))
            if job.request_id in sync.resumed_reports:
                resumed = [(window, job.requested_at - END_MARGIN)]
        sync.resumed_reads += resumed
        if not resumed or not self._planner.stale(sync, resumed, sync.opened_at).empty:
            sync.read_at = read_at
        self._scheduler.complete(job)
        rows = job.row_count or 0
        sync.bookmark.commit_window(window, read_at, is_tracked=survey is not None and survey.commit())
        sync.bookmark.volume.count(window, rows)
        seconds = max(time.monotonic() - (job.download_started or job.status_since), 1e-3)
        logger.info(
            "%s: read (%s in %.1f s, %s rows/s; reports left: %d)",
            job,
            counted(rows, "row"),
            seconds,
            f"{rows / seconds:,.0f}",
            self._scheduler.remaining(sync),
        )


@contextmanager
def _temporary_file(job: ReportJob) -> Generator[BinaryIO, None, None]:
    """Open a temporary file that nobody else can read, and that is gone when it is closed or the process ends."""
    try:
        file = cast("BinaryIO", tempfile.TemporaryFile(prefix="vonage-report-"))  # noqa: SIM115 - closed below
    except OSError as error:
        raise _not_stored(job, error) from None
    try:
        yield file
    finally:
        with suppress(OSError):  # its content is of no use any more
            file.close()


def _irreplaceable(window: TimeWindow) -> ReportError:
    msg = (
        f"The report for {window} has an unreadable file, and pages cannot replace it, because a filter of this stream "
        "works only for reports. Remove the filters that only reports accept, or contact Vonage support."
    )
    return ReportError(msg)


def _not_stored(job: ReportJob, error: OSError) -> ReportError:
    advice = (
        "Check that the folder for temporary files (TMPDIR) exists, has space and is writable; the next run resumes "
        "the same report"
    )
    problem = job.problem(f"cannot be stored ({error.strerror})", advice)
    problem.leaves_gap = False  # the next report could not be stored either
    return problem
