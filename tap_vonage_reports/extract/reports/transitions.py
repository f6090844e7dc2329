"""Acts on the transitions of report jobs: polls again, splits, requests again, or leaves the window to pages."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from tap_vonage_reports.extract.reports.job import Action, ReportJob, ReportStatus, Transition
from tap_vonage_reports.extract.reports.lengths import shorten
from tap_vonage_reports.extract.reports.polls import look_again
from tap_vonage_reports.extract.reports.subaccounts import unreadable
from tap_vonage_reports.intervals import to_intervals, to_windows

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_vonage_reports.api.client import ReportsClient
    from tap_vonage_reports.extract.reports.job_queue import JobQueue

logger = logging.getLogger(__name__)

MAX_UNREADABLE = 2
"""Reports of one window that are requested if their files cannot be read, and pages cannot replace them."""


class TransitionHandler:
    """Changes the jobs of a run by what answers mean. Only the main thread uses it."""

    def __init__(self, client: ReportsClient, jobs: JobQueue, checkpoint: Callable[[], None]) -> None:
        """Set up a handler.

        Args:
            client: The API.
            jobs: The jobs, which are changed in place.
            checkpoint: Writes STATE once it is worth its length.
        """
        self._client = client
        self._jobs = jobs
        self._checkpoint = checkpoint

    def apply(self, job: ReportJob, transition: Transition) -> None:
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
            _request_again(job, transition.reason)
        elif transition.reason:
            job.sync.bookmark.remove_report(job.request_id)

    def refuse(self, job: ReportJob, reason: str) -> None:
        """Leave the window of a report to pages, in this run and later ones, because its file cannot be read.

        Pages cannot include sub-accounts. In such a partition, another report takes the place of the first one, and
        if that one cannot be read either, the job fails.

        Args:
            job: The job.
            reason: Why, as the end of a sentence.
        """
        if (sync := job.sync).partition.with_subaccounts:
            if job.requests < MAX_UNREADABLE and job.status is not ReportStatus.TRUNCATED:
                _request_again(job, reason)
            else:
                sync.bookmark.remove_report(job.request_id)
                job.error = unreadable(job, reason)
        else:
            logger.warning("%s: %s, reading the window by pages instead", job, reason)
            sync.report_windows = [*to_windows(to_intervals(sync.report_windows) - to_intervals([job.window]))]
            self._jobs.remove(job)
            sync.bookmark.refuse_report(job.window, job.request_id, self._client.clock.now())
        self._checkpoint()

    def _split(self, job: ReportJob, row_count: int | None) -> None:
        """Replace a truncated report, and all planned ones of its partition that are longer, by shorter ones."""
        logger.info("%s: truncated by the API, requesting shorter reports", job)
        self._jobs.replace(job.sync, shorten(self._jobs.of(job.sync), job, row_count))
        self._checkpoint()


def _request_again(job: ReportJob, reason: str) -> None:
    """Forget the report of a job, and request another one."""
    logger.warning("%s: %s, requesting it again", job, reason)
    job.sync.bookmark.remove_report(job.request_id)
    job.plan_again(time.monotonic())
