"""Requests and polls the report jobs of a run, within one budget of reports in flight.

A report's id is in a written STATE before anything waits for it, so that a killed run never requests (and pays for) it
twice. Reports of partitions that come later are requested as soon as there is room, in the order in which they are
needed. Requests and polls are one try each: what fails is rescheduled, so that nothing here holds up records that are
ready to be written.
"""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from tap_vonage_reports.api.retry import final_error
from tap_vonage_reports.errors import ApiError, ReportLimitError, RequestRejectedError, RetriableApiError
from tap_vonage_reports.extract.reports.job import Action, Failures, ReportJob, ReportStatus, Transition
from tap_vonage_reports.intervals import split, to_intervals
from tap_vonage_reports.state.format import PendingReport

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from tap_vonage_reports.api.client import ReportsClient
    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.planning.planner import ReportPlan

logger = logging.getLogger(__name__)

POLL_SECONDS = (1.0, 30.0)
"""The interval between two polls of a report: at first, and at most."""
POLL_GROWTH = 1.5
MAX_UNREAD = 50
"""Reports that may be requested and not yet read. The others wait, so that no file expires unread (after 72 hours
[confirmed])."""
MAX_WAIT_SECONDS = 60.0
NOT_FOUND = 404


class ReportScheduler:
    """All report jobs of a run, in the order in which they are needed. Only the main thread uses it."""

    def __init__(
        self,
        client: ReportsClient,
        *,
        budget: int,
        timeout: timedelta,
        checkpoint: Callable[[], None],
        defer_signals: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Set up a scheduler without jobs.

        Args:
            client: The API.
            budget: How many reports may be in flight.
            timeout: How long a report may take to start, and again to finish.
            checkpoint: Writes STATE.
            defer_signals: Defers signals for the length of a `with` block.
        """
        self._client = client
        self._budget = budget
        self._timeout = timeout
        self._checkpoint = checkpoint
        self._defer_signals = defer_signals
        self._jobs: list[ReportJob] = []
        self._no_requests_before = 0.0
        self._full_since: float | None = None
        self._failed_requests = Failures()

    def add(self, sync: PartitionSync, plan: ReportPlan) -> None:
        """Add the reports of a partition: resume those of earlier runs, and cancel those that are stale."""
        for report in plan.stale:
            self._cancel_stale(sync, report)
        resumed = {report.window: report for report in plan.resumed}
        expired = {report.window: report for report in plan.expired}
        for window in plan.windows:
            job = ReportJob(sync, window)
            if window in resumed:
                self._resume(job, resumed[window])
            elif window in expired:
                sync.bookmark.remove_report(expired[window].request_id)
            self._jobs.append(job)

    def remaining(self, sync: PartitionSync | None = None) -> int:
        """Return how many reports are still to be read, of one partition or of all."""
        return sum(sync is None or job.sync is sync for job in self._jobs)

    def in_flight(self) -> int:
        """Return how many reports the API generates now. Jobs with an error do not count: nobody polls them."""
        return sum(job.is_running for job in self._jobs)

    def next_job(self, sync: PartitionSync) -> ReportJob | None:
        """Return the next job of a partition; None when all are read."""
        return next((job for job in self._jobs if job.sync is sync), None)

    def __contains__(self, job: ReportJob) -> bool:
        """Return True unless a job was read, released or split."""
        return job in self._jobs

    def poll(self) -> None:
        """Poll the reports that are due, and request others where there is room."""
        now = time.monotonic()
        for job in list(self._jobs):
            if job.is_running and job.next_poll <= now:
                self._poll_status(job)
        while time.monotonic() >= self._no_requests_before and (planned := self._next_planned()):
            if not self._request(planned):
                break

    def idle_seconds(self) -> float:
        """Return how long there is nothing to poll or request."""
        now = time.monotonic()
        due = [job.next_poll for job in self._jobs if job.is_running]
        if self._no_requests_before > now:
            due.append(self._no_requests_before)
        return min(max(0.01, min(due, default=now) - now), MAX_WAIT_SECONDS)

    def complete(self, job: ReportJob) -> None:
        """Remove a job whose rows are written."""
        self._jobs.remove(job)
        job.sync.bookmark.remove_report(job.request_id)

    def release(self, sync: PartitionSync) -> None:
        """Request no more reports for a partition. Those in flight stay in the state for the next run."""
        self._jobs = [job for job in self._jobs if job.sync is not sync]

    def request_again(self, job: ReportJob, reason: str) -> None:
        """Request a report once more because it did not lead to its rows, unless that was done often enough.

        Args:
            job: The job.
            reason: What happened to its report, as the end of a sentence.
        """
        self._apply(job, job.request_again(reason))

    def _next_planned(self) -> ReportJob | None:
        unread = sum(job.status is not ReportStatus.PLANNED and not job.error for job in self._jobs)
        if self.in_flight() >= self._budget or unread >= MAX_UNREAD:
            return None
        failed: set[PartitionSync] = set()
        for job in self._jobs:
            if job.error:
                failed.add(job.sync)  # this run does not read what follows
            elif job.status is ReportStatus.PLANNED and job.sync not in failed:
                return job
        return None

    def _request(self, job: ReportJob) -> bool:
        """Request a report. Return True if it makes sense to request another one now."""
        try:
            # A signal between the request and the STATE that names it would lose the report, and its price.
            with self._defer_signals():
                response = self._client.create_report(job.sync.query.report_body(job.window))
                self._on_created(job, str(response.body["request_id"]), response.at)
        except ReportLimitError as error:
            self._lower_limit(job, error)
            return False
        except RetriableApiError as error:
            return self._retry_request(job, error)
        except ApiError as error:
            self._fail_planned(job.sync, error)
        return True

    def _on_created(self, job: ReportJob, request_id: str, requested_at: datetime) -> None:
        self._full_since = None
        self._failed_requests.reset()
        job.sync.result.fetched.count_report()
        job.requests += 1
        job.request_id, job.requested_at = request_id, requested_at
        job.set_status(ReportStatus.PENDING, time.monotonic())
        self._schedule_poll(job, is_first=True)
        fingerprint = job.sync.query.report_fingerprint(job.window)
        job.sync.bookmark.add_report(PendingReport(request_id, job.window, fingerprint, requested_at))
        self._checkpoint()
        logger.info("%s: requested", job)

    def _lower_limit(self, job: ReportJob, error: ReportLimitError) -> None:
        """Lower the concurrency limit to the reports in flight; fail if none could be created for `report_timeout`."""
        now = time.monotonic()
        in_flight = self.in_flight()
        pause = min(max(1.0, error.retry_after), self._timeout.total_seconds())
        self._no_requests_before = now + pause * self._client.retry_policy.delay_factor
        if self._full_since is None:
            self._full_since = now
            logger.info("The API accepts no more reports now; continuing with %d at a time", max(1, in_flight))
        elif not in_flight and now - self._full_since > self._timeout.total_seconds():
            job.error = error
        self._budget = max(1, in_flight)

    def _retry_request(self, job: ReportJob, error: RetriableApiError) -> bool:
        """Schedule another request after one that failed. Return True if the partition was given up instead.

        Raises:
            UnreachableError: There is no connection to the API.
        """
        now = time.monotonic()
        self._failed_requests.add(now)
        seconds = self._retry_seconds(job, self._failed_requests, error, "request")
        if seconds is None:
            self._failed_requests.reset()
            self._fail_planned(job.sync, error)
            return True
        self._no_requests_before = now + seconds
        return False

    def _fail_planned(self, sync: PartitionSync, error: ApiError) -> None:
        for job in self._jobs:
            if job.sync is sync and job.status is ReportStatus.PLANNED:
                job.error = error

    def _resume(self, job: ReportJob, report: PendingReport) -> None:
        """Resume a report that an earlier run requested."""
        job.request_id, job.requested_at = report.request_id, report.requested_at
        job.requests = 1
        job.set_status(ReportStatus.PENDING, time.monotonic())
        logger.info("%s: resuming report from an earlier run", job)

    def _cancel_stale(self, sync: PartitionSync, report: PendingReport) -> None:
        """Cancel a report that nobody needs any more; it may have finished, or be gone."""
        try:
            self._client.cancel_report(report.request_id)
        except ApiError as error:
            logger.debug("A stale report could not be cancelled: %s", error)
        sync.bookmark.remove_report(report.request_id)

    def _poll_status(self, job: ReportJob) -> None:
        """Request the status of a report, and act on it."""
        try:
            body = self._client.report_status(job.request_id).body
        except RequestRejectedError as error:
            if error.status == NOT_FOUND:
                self.request_again(job, "report vanished")
            else:
                job.error = error
        except RetriableApiError as error:
            self._retry_poll(job, error)
        except ApiError as error:
            job.error = error
        else:
            job.failed_polls.reset()
            self._apply(job, job.on_status(body, time.monotonic(), self._timeout))

    def _apply(self, job: ReportJob, transition: Transition) -> None:
        """Act on what an answer means."""
        if transition.status:
            job.set_status(transition.status, time.monotonic())
        job.error = transition.error
        if transition.action is Action.POLL:
            self._schedule_poll(job)
        elif transition.action is Action.DOWNLOAD:
            job.link, job.row_count = transition.link, transition.row_count
        elif transition.action is Action.SPLIT:
            self._split(job)
        elif transition.action is Action.REQUEST_AGAIN:
            logger.warning("%s: %s, requesting it again", job, transition.reason)
            job.sync.bookmark.remove_report(job.request_id)
            job.request_id, job.link, job.row_count = "", "", None
            job.set_status(ReportStatus.PLANNED, time.monotonic())
        elif transition.reason:
            job.sync.bookmark.remove_report(job.request_id)

    def _split(self, job: ReportJob) -> None:
        """Replace a truncated report, and all planned ones of its partition that are longer, by shorter ones."""
        logger.info("%s: truncated by the API, requesting shorter ones", job)
        max_length, bookmark = job.half(), job.sync.bookmark
        bookmark.remove_report(job.request_id)
        bookmark.cap_report_window(max_length)
        jobs: list[ReportJob] = []
        for other in self._jobs:
            if other is job or (other.sync is job.sync and other.status is ReportStatus.PLANNED):
                jobs += [ReportJob(other.sync, piece) for piece in split(to_intervals([other.window]), max_length)]
            else:
                jobs.append(other)
        self._jobs = jobs
        self._checkpoint()

    def _retry_poll(self, job: ReportJob, error: RetriableApiError) -> None:
        """Schedule another poll after one that failed.

        Raises:
            UnreachableError: There is no connection to the API.
        """
        now = time.monotonic()
        job.failed_polls.add(now)
        seconds = self._retry_seconds(job, job.failed_polls, error, "poll")
        if seconds is None:
            job.error = error
        else:
            job.next_poll = now + seconds

    def _retry_seconds(self, job: ReportJob, failures: Failures, error: RetriableApiError, what: str) -> float | None:
        """Return how long to wait before the next try; None where there is none.

        Raises:
            UnreachableError: There is no connection to the API.
        """
        policy = self._client.retry_policy
        if policy.gives_up(failures.count, error, time.monotonic() - failures.since):
            final = final_error(error)
            if final is not error:
                raise final from error
            return None
        seconds = policy.delay_seconds(failures.count, error)
        logger.warning(
            "%s: %s failed (%s), try %d of %d in %.1f s",
            job,
            what,
            error.reason,
            failures.count + 1,
            policy.max_tries,
            seconds,
        )
        return seconds

    def _schedule_poll(self, job: ReportJob, *, is_first: bool = False) -> None:
        job.poll_interval = POLL_SECONDS[0] if is_first else min(job.poll_interval * POLL_GROWTH, POLL_SECONDS[1])
        job.next_poll = time.monotonic() + job.poll_interval * self._client.retry_policy.delay_factor
