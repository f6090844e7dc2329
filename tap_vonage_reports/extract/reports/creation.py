"""Creates report jobs at the API: one try each, within a budget, and without losing a report to a signal."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from tap_vonage_reports.api.retry import final_error
from tap_vonage_reports.errors import ReportLimitError, RetriableApiError
from tap_vonage_reports.extract.reports.job import Failures, ReportJob, ReportStatus
from tap_vonage_reports.state.values import PendingReport

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from datetime import datetime, timedelta

    from tap_vonage_reports.api.client import ReportsClient
    from tap_vonage_reports.api.retry import RetryPolicy
    from tap_vonage_reports.extract.reports.adoption import ReportFinder

logger = logging.getLogger(__name__)


class ReportCreator:
    """Requests reports.

    Attributes:
        budget: How many reports may be in flight.
        ready_at: When the next one may be requested, on this machine's monotonic clock, in seconds.
    """

    def __init__(  # noqa: PLR0913 - the API, limits, and what it needs from the run
        self,
        client: ReportsClient,
        finder: ReportFinder,
        *,
        budget: int,
        timeout: timedelta,
        checkpoint: Callable[[], None],
        checkpoint_later: Callable[[], None] | None = None,
        defer_signals: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Set up a creator; the arguments are those of `ReportScheduler`."""
        self.budget = budget
        self.ready_at = 0.0
        self._client = client
        self._finder = finder
        self._timeout = timeout
        self._checkpoint = checkpoint
        self._checkpoint_later = checkpoint_later or checkpoint
        self._defer_signals = defer_signals
        self._full_since: float | None = None
        self._failures = Failures()

    @property
    def is_ready(self) -> bool:
        """True if a report may be requested now."""
        return time.monotonic() >= self.ready_at

    def create(self, job: ReportJob, in_flight: int) -> bool:
        """Request the report of a job.

        Args:
            job: A planned job.
            in_flight: How many reports are in flight.

        Returns:
            True if it makes sense to request another one now.

        Raises:
            ApiError: The API refuses the report, or all tries failed.
            UnreachableError: There is no connection to the API.
        """
        if found := self._finder.find_lost(job):
            self._on_created(job, found.request_id, found.requested_at, "found at the API")
            return True
        started = time.monotonic()
        try:
            # A signal between the request and the STATE that names it would lose the report, and its price.
            with self._defer_signals():
                response = self._client.create_report(job.sync.query.report_request(job.window))
                job.sync.result.fetched.count_report()
                self._on_created(job, str(response.body["request_id"]), response.at, "requested")
        except ReportLimitError as error:
            self._lower_limit(job, error, in_flight)
            return False
        except RetriableApiError as error:
            if error.may_have_worked:
                job.sync.result.fetched.count_unconfirmed_report()
                self._finder.note_lost(job, time.monotonic() - started)
            self._retry_later(job, error)
            return False
        self._finder.verify_list(job)
        return True

    def _on_created(self, job: ReportJob, request_id: str, requested_at: datetime, verb: str) -> None:
        self._full_since = None
        self._failures.reset()
        self._finder.note(request_id)
        job.requests += 1
        for failures in (job.failed_polls, job.missed_status, job.missed_file):
            failures.reset()
        job.request_id, job.requested_at = request_id, requested_at
        job.set_status(ReportStatus.PENDING, time.monotonic())
        job.schedule_poll(self._client.retry_policy.delay_factor, is_first=True)
        fingerprint = job.sync.query.report_fingerprint(job.window)
        job.sync.bookmark.add_report(PendingReport(request_id, job.window, fingerprint, requested_at))
        if self._finder.will_find(job):
            self._checkpoint_later()
        else:
            self._checkpoint()
        logger.info("%s: %s", job, verb)

    def _lower_limit(self, job: ReportJob, error: ReportLimitError, in_flight: int) -> None:
        """Lower the concurrency limit to the reports in flight; fail if none could be created for `report_timeout`."""
        now = time.monotonic()
        pause = min(max(1.0, error.retry_after), self._timeout.total_seconds())
        self.ready_at = now + pause * self._client.retry_policy.delay_factor
        if self._full_since is None:
            self._full_since = now
            logger.info("The API accepts no more reports now; continuing with %d at a time", max(1, in_flight))
        elif not in_flight and now - self._full_since > self._timeout.total_seconds():
            job.error = error
        self.budget = max(1, in_flight)

    def _retry_later(self, job: ReportJob, error: RetriableApiError) -> None:
        """Schedule another request after one that failed.

        Raises:
            RetriableApiError: It was the last try.
            UnreachableError: There is no connection to the API.
        """
        now = time.monotonic()
        self._failures.add(now)
        seconds = retry_seconds(self._client.retry_policy, job, self._failures, error)
        if seconds is None:
            self._failures.reset()
            raise error
        self.ready_at = now + seconds


def retry_seconds(policy: RetryPolicy, job: ReportJob, failures: Failures, error: RetriableApiError) -> float | None:
    """Return how long to wait before a request about a job is sent again; None if that was the last try.

    Args:
        policy: How often to try, and how long to wait.
        job: The job.
        failures: The failed tries, this one included.
        error: Why the last one failed.

    Raises:
        UnreachableError: That was the last try, and there is no connection to the API.
    """
    if policy.gives_up(failures.count, error, time.monotonic() - failures.since):
        final = final_error(error)
        if final is not error:
            raise final from error
        return None
    seconds = policy.delay_seconds(failures.count, error)
    what = "request" if job.status is ReportStatus.PLANNED else "poll"
    tries = failures.count + 1, policy.max_tries
    logger.warning("%s: %s failed (%s), try %d of %d in %.1f s", job, what, error.reason, *tries, seconds)
    return seconds
