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
from tap_vonage_reports.extract.reports.job import ReportJob, ReportStatus
from tap_vonage_reports.extract.reports.job_queue import JobQueue
from tap_vonage_reports.extract.reports.lengths import lengthen
from tap_vonage_reports.extract.reports.next_report import may_be_left, next_planned
from tap_vonage_reports.extract.reports.polls import cancel_stale, poll
from tap_vonage_reports.extract.reports.transitions import TransitionHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from tap_vonage_reports.api.client import ReportsClient
    from tap_vonage_reports.errors import RequestRejectedError
    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.planning.planner import Planner
    from tap_vonage_reports.planning.plans import ReportPlan

logger = logging.getLogger(__name__)

MAX_WAIT_SECONDS = 60.0
MAX_DELAY_SECONDS = 0.1
"""A poll or a request that the rate limit would delay longer than this is postponed, because it would hold up rows that
are ready."""


class ReportScheduler:
    """All report jobs of a run, in the order in which they are needed. Only the main thread uses it.

    Attributes:
        transitions: Acts on what answers mean for jobs.
    """

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
        self.transitions = TransitionHandler(client, self._jobs, checkpoint_later or checkpoint)
        self._left = 0

    def plan(self, syncs: Sequence[PartitionSync], planner: Planner) -> list[ReportPlan]:
        """Plan the reports of partitions, and adopt lost ones; their ids are in the state before anything waits."""
        plans, has_adopted = self._finder.plan(syncs, planner, self._show_progress)
        if has_adopted:
            self._checkpoint()
        return plans

    def add(self, sync: PartitionSync, plan: ReportPlan, *, is_next: bool = False) -> None:
        """Add the reports of a partition: resume those of earlier runs, and cancel those that are stale.

        Args:
            sync: The partition.
            plan: Its reports.
            is_next: True to request them before those of other partitions.
        """
        for report in plan.stale:
            cancel_stale(self._client, sync, report)
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
        if is_next and plan.windows:
            self._jobs.prioritize(sync)

    def remaining(self, sync: PartitionSync | None = None) -> int:
        """Return how many reports are still to be read, of one partition or of all."""
        return len(self._jobs if sync is None else self._jobs.of(sync))

    def in_flight(self) -> int:
        """Return how many reports the API generates now. Jobs with an error do not count: nobody polls them."""
        return len(self._jobs.running()) + self._left

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
            if job.is_running and job.next_poll <= now and self._is_free:
                if transition := poll(self._client, job, self._timeout):
                    self.transitions.apply(job, transition)
                self._show_progress()
        while self._creator.is_ready and self._is_free:
            planned = next_planned(self._jobs, self._creator.budget - self._left)
            if not (planned and self._request(planned)):
                break

    @property
    def _is_free(self) -> bool:
        """True unless the rate limit would hold up the main thread."""
        return self._client.report_request_delay() <= MAX_DELAY_SECONDS

    def idle_seconds(self) -> float:
        """Return how long there is nothing to poll or request."""
        now = time.monotonic()
        due = [job.next_poll for job in self._jobs.running()]
        if not self._creator.is_ready:
            due.append(self._creator.ready_at)
        delay = self._client.report_request_delay() - MAX_DELAY_SECONDS
        return min(max(0.01, delay, min(due, default=now) - now), MAX_WAIT_SECONDS)

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

    def may_be_left(self, job: ReportJob) -> bool:
        """Return True if a later run can read a report that is not ready."""
        return may_be_left(job, self.in_flight(), self._creator.budget)

    def leave(self, sync: PartitionSync) -> tuple[int, int]:
        """Leave the reports of a partition to a later run. Those in flight still count toward the budget.

        Returns:
            How many these are, and how many of them are requested.
        """
        jobs = list(self._jobs.of(sync))
        self._left += sum(job.is_running for job in jobs)
        self.release(sync)
        return len(jobs), sum(job.status is not ReportStatus.PLANNED for job in jobs)

    def on_missing_file(self, job: ReportJob, refusal: RequestRejectedError) -> None:
        """Look for the file of a report again later, or request another report.

        Args:
            job: The job.
            refusal: The answer, with status 404 or 403.
        """
        job.missed_file.add(time.monotonic())
        self.transitions.apply(job, job.on_missing_file(job.age(self._client.clock.now()), refusal))
        self._jobs.start(job)

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
