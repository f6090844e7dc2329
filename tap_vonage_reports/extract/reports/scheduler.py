"""Requests and polls the report jobs of a run, within one budget of reports in flight.

The scheduler writes a STATE with a report's ID before anything waits for the report, so that a killed run never
requests (and pays for) it twice. If that STATE is lost, `adoption` finds the report at the API. A large STATE names
several reports together, but only once this run has seen that the API lists its reports. Reports of later
partitions are requested as soon as the budget allows, in the order in which they are needed. Requests and polls are
one try each: a failed one is rescheduled, so that it does not delay records that are ready to be written.
"""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from tap_vonage_reports.errors import ApiError
from tap_vonage_reports.extract.reports.adoption import ReportFinder
from tap_vonage_reports.extract.reports.creation import ReportCreator
from tap_vonage_reports.extract.reports.job import Action, ReportJob, ReportStatus, Transition
from tap_vonage_reports.extract.reports.job_queue import JobQueue
from tap_vonage_reports.extract.reports.lengths import lengthen, shorten
from tap_vonage_reports.extract.reports.next_report import next_planned
from tap_vonage_reports.extract.reports.polls import look_again, poll
from tap_vonage_reports.intervals import to_intervals, to_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from tap_vonage_reports.api.client import ReportsClient
    from tap_vonage_reports.errors import RequestRejectedError
    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.planning.planner import Planner
    from tap_vonage_reports.planning.plans import ReportPlan
    from tap_vonage_reports.state.values import PendingReport

logger = logging.getLogger(__name__)

MAX_WAIT_SECONDS = 60.0


class ReportScheduler:
    """All report jobs of a run, in the order in which they are needed. Only the main thread uses it."""

    def __init__(  # noqa: PLR0913 - the API, limits, and what it needs from the run
        self,
        client: ReportsClient,
        *,
        budget: int,
        timeout: timedelta,
        checkpoint: Callable[[], None],
        checkpoint_later: Callable[[], None] | None = None,
        defer_signals: Callable[[], AbstractContextManager[None]] = nullcontext,
        finder: ReportFinder | None = None,
        show_progress: Callable[[], None] = lambda: None,
    ) -> None:
        """Set up a scheduler without jobs.

        Args:
            client: The API.
            budget: How many reports may be in flight.
            timeout: How long a report may take to start, and again to finish.
            checkpoint: Writes STATE.
            checkpoint_later: Writes STATE once it is worth its length; None to write it immediately.
            defer_signals: Defers signals for the length of a `with` block.
            finder: Finds reports whose ids were lost; None to find none.
            show_progress: Shows the progress of the run if that is due; called between two requests.
        """
        self._client = client
        self._finder = finder or ReportFinder(client, enabled=False)
        self._timeout = timeout
        self._checkpoint = checkpoint
        self._show_progress = show_progress
        self._checkpoint_later = checkpoint_later or checkpoint
        self._creator = ReportCreator(
            client,
            self._finder,
            budget=budget,
            timeout=timeout,
            checkpoint=checkpoint,
            checkpoint_later=checkpoint_later,
            defer_signals=defer_signals,
        )
        self._jobs = JobQueue()

    def plan(self, syncs: Sequence[PartitionSync], planner: Planner) -> list[ReportPlan]:
        """Plan the reports of partitions, and adopt lost ones; their ids are in the state before anything waits."""
        plans, has_adopted = self._finder.plan(syncs, planner, self._show_progress)
        if has_adopted:
            self._checkpoint()
        return plans

    def add(self, sync: PartitionSync, plan: ReportPlan) -> None:
        """Add the reports of a partition: resume those of earlier runs, and cancel those that are stale."""
        for report in plan.stale:
            self._cancel_stale(sync, report)
        resumed = {report.window: report for report in plan.resumed}
        expired = {report.window: report for report in plan.expired}
        for window in plan.windows:
            job = ReportJob(sync, window)
            if window in resumed:
                job.resume(resumed[window], time.monotonic())
                self._jobs.start(job)
                logger.info("%s: resuming report from an earlier run", job)
            elif window in expired:
                sync.bookmark.remove_report(expired[window].request_id)
            self._jobs.append(job)

    def remaining(self, sync: PartitionSync | None = None) -> int:
        """Return how many reports are still to be read, of one partition or of all."""
        return len(self._jobs if sync is None else self._jobs.of(sync))

    def in_flight(self) -> int:
        """Return how many reports the API generates now. Jobs with an error do not count: nobody polls them."""
        return len(self._jobs.running())

    def counts(self) -> tuple[int, int]:
        """Return how many reports the API generates now, and how many others are still to be read."""
        in_flight = self.in_flight()
        return in_flight, self.remaining() - in_flight

    def next_job(self, sync: PartitionSync) -> ReportJob | None:
        """Return the next job of a partition; None when all are read."""
        return next(iter(self._jobs.of(sync)), None)

    def __contains__(self, job: ReportJob) -> bool:
        """Return True unless a job was read, released or split."""
        return job in self._jobs

    def poll(self) -> None:
        """Poll the reports that are due, and request others where there is room."""
        now = time.monotonic()
        for job in self._jobs.running():
            if job.is_running and job.next_poll <= now:
                self._poll(job)
                self._show_progress()
        while self._creator.is_ready and (planned := next_planned(self._jobs, self._creator.budget)):
            if not self._request(planned):
                break

    def idle_seconds(self) -> float:
        """Return how long there is nothing to poll or request."""
        now = time.monotonic()
        due = [job.next_poll for job in self._jobs.running()]
        if not self._creator.is_ready:
            due.append(self._creator.ready_at)
        return min(max(0.01, min(due, default=now) - now), MAX_WAIT_SECONDS)

    def complete(self, job: ReportJob) -> None:
        """Remove a job whose rows are written. After some small ones, plan longer reports again."""
        self._jobs.remove(job)
        job.sync.bookmark.remove_report(job.request_id)
        self._jobs.replace(job.sync, lengthen(self._jobs.of(job.sync), job))

    def skip(self, job: ReportJob) -> None:
        """Remove a job that cannot be read now. Its report stays in the state for the next run, if there is one."""
        self._jobs.remove(job)

    def release(self, sync: PartitionSync) -> None:
        """Request no more reports for a partition. Those in flight stay in the state for the next run."""
        self._jobs.replace(sync, [])

    def on_missing_file(self, job: ReportJob, refusal: RequestRejectedError) -> None:
        """Look for the file of a report again later, or request another report.

        Args:
            job: The job.
            refusal: The answer, with status 404 or 403.
        """
        job.missed_file.add(time.monotonic())
        self._apply(job, job.on_missing_file(job.age(self._client.clock.now()), refusal))
        self._jobs.start(job)

    def refuse(self, job: ReportJob, reason: str) -> None:
        """Leave the window of a report to pages, in this run and later ones, because its file cannot be read.

        Args:
            job: The job.
            reason: Why, as the end of a sentence.
        """
        logger.warning("%s: %s, reading the window by pages instead", job, reason)
        sync = job.sync
        sync.report_windows = [*to_windows(to_intervals(sync.report_windows) - to_intervals([job.window]))]
        self._jobs.remove(job)
        sync.bookmark.refuse_report(job.window, job.request_id, self._client.clock.now())
        self._checkpoint_later()

    def _request(self, job: ReportJob) -> bool:
        """Request a report. Return True if it makes sense to request another one now."""
        try:
            goes_on = self._creator.create(job, self.in_flight())
        except ApiError as error:
            for other in self._jobs.of(job.sync) if not error.leaves_gap else [job]:
                if other.status is ReportStatus.PLANNED:
                    other.error = error
            return True
        self._jobs.start(job)
        return goes_on

    def _cancel_stale(self, sync: PartitionSync, report: PendingReport) -> None:
        """Cancel a report that nobody needs any more; it may have finished, or be gone."""
        try:
            self._client.cancel_report(report.request_id)
        except ApiError as error:
            logger.debug("A stale report could not be canceled: %s", error)
        sync.bookmark.remove_report(report.request_id)

    def _poll(self, job: ReportJob) -> None:
        """Request the status of a report, and act on it."""
        if transition := poll(self._client, job, self._timeout):
            self._apply(job, transition)

    def _apply(self, job: ReportJob, transition: Transition) -> None:
        """Act on what an answer means."""
        if transition.status:
            if transition.status is not job.status:
                logger.debug("%s: %s", job, transition.status.value)
            job.set_status(transition.status, time.monotonic())
        job.error = transition.error
        if transition.action is Action.POLL:
            job.schedule_poll(self._client.retry_policy.delay_factor)
        elif transition.action is Action.LOOK_AGAIN:
            look_again(self._client, job, transition.reason)
        elif transition.action is Action.DOWNLOAD:
            job.link, job.row_count = transition.link, transition.row_count
        elif transition.action is Action.SPLIT:
            self._split(job, transition.row_count)
        elif transition.action is Action.REFUSE:
            self.refuse(job, transition.reason)
        elif transition.action is Action.REQUEST_AGAIN:
            logger.warning("%s: %s, requesting it again", job, transition.reason)
            job.sync.bookmark.remove_report(job.request_id)
            job.plan_again(time.monotonic())
        elif transition.reason:
            job.sync.bookmark.remove_report(job.request_id)

    def _split(self, job: ReportJob, row_count: int | None) -> None:
        """Replace a truncated report, and all planned ones of its partition that are longer, by shorter ones."""
        logger.info("%s: truncated by the API, requesting shorter reports", job)
        self._jobs.replace(job.sync, shorten(self._jobs.of(job.sync), job, row_count))
        self._checkpoint_later()
