"""Polls of report jobs: one request each, its result, and the time of the next poll. Also cancels stale reports."""

from __future__ import annotations

import logging
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from tap_vonage_reports.errors import ApiError, RequestRejectedError, RetriableApiError
from tap_vonage_reports.extract.reports.creation import retry_seconds
from tap_vonage_reports.extract.reports.job import MAX_LOOKS, Action, Transition

if TYPE_CHECKING:
    from datetime import timedelta

    from tap_vonage_reports.api.client import ReportsClient
    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.extract.reports.job import ReportJob
    from tap_vonage_reports.state.values import PendingReport

logger = logging.getLogger(__name__)


def poll(client: ReportsClient, job: ReportJob, timeout: timedelta) -> Transition | None:
    """Request the status of a report.

    Args:
        client: The API.
        job: The job.
        timeout: How long a report may take to start, and again to finish.

    Returns:
        What the answer means for the job; None where the poll failed, and another one is scheduled.

    Raises:
        UnreachableError: There is no connection to the API.
    """
    try:
        body = client.report_status(job.request_id).body
    except RetriableApiError as error:
        return _retry(client, job, error)
    except ApiError as error:
        if isinstance(error, RequestRejectedError) and error.status == HTTPStatus.NOT_FOUND:
            job.missed_status.add(time.monotonic())
            return job.on_missing_status(job.age(client.clock.now()))
        return Transition(Action.FAIL, error=error)
    job.failed_polls.reset()
    job.missed_status.reset()
    return job.on_status(body, time.monotonic(), timeout)


def look_again(client: ReportsClient, job: ReportJob, reason: str) -> None:
    """Schedule another poll of a report that should be there.

    Args:
        client: The API.
        job: The job.
        reason: What was not found, as the end of a sentence.
    """
    missed = max(job.missed_status.count, job.missed_file.count)
    seconds = client.retry_policy.delay_seconds(missed, RetriableApiError(reason))
    logger.warning("%s: %s, check %d of %d in %.1f s", job, reason, missed, MAX_LOOKS, seconds)
    job.next_poll = time.monotonic() + seconds


def cancel_stale(client: ReportsClient, sync: PartitionSync, report: PendingReport) -> None:
    """Cancel a report that nobody needs any more; it may have finished, or be gone."""
    try:
        client.cancel_report(report.request_id)
    except ApiError as error:
        logger.debug("A stale report could not be canceled: %s", error)
    sync.bookmark.remove_report(report.request_id)


def _retry(client: ReportsClient, job: ReportJob, error: RetriableApiError) -> Transition | None:
    """Schedule another poll after one that failed.

    Returns:
        A transition that fails the job, once polls have failed for too long; None before.

    Raises:
        UnreachableError: There is no connection to the API.
    """
    now = time.monotonic()
    job.failed_polls.add(now)
    seconds = retry_seconds(client.retry_policy, job, job.failed_polls, error)
    if seconds is None:
        return Transition(Action.FAIL, error=error)
    job.next_poll = now + seconds
    return None
