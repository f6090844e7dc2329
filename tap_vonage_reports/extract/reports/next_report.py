"""The choice of the next report to request, while others are pending. Pure: sends nothing, changes no state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_vonage_reports.extract.gaps import MAX_GAPS_IN_A_ROW
from tap_vonage_reports.extract.reports.job import ReportJob, ReportStatus

if TYPE_CHECKING:
    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.extract.reports.job_queue import JobQueue

MAX_UNREAD = 50
"""Reports that may be requested and not yet read. Those behind them wait, so that no file expires unread (after 72
hours [confirmed]). Those before them do not: a run that adopts many reports may need another one first."""


def may_be_left(job: ReportJob, in_flight: int, budget: int) -> bool:
    """Return True if a later run can read a report that is not ready: the API generates it, or others before it.

    False for one that was not polled yet, that the API does not find, or that could not be requested: such trouble ends
    by itself or with an error, and nothing would wake the next run.

    Args:
        job: The job that is needed next.
        in_flight: How many reports the API generates now.
        budget: How many there may be.
    """
    if job.status is ReportStatus.PLANNED:
        return in_flight >= budget
    was_polled = job.poll_interval > 0
    has_trouble = any(failures.count for failures in (job.failed_polls, job.missed_status, job.missed_file))
    return job.is_running and was_polled and not has_trouble


def next_planned(jobs: JobQueue, budget: int) -> ReportJob | None:
    """Return the first planned job that this run reads, judging by what failed before it.

    Args:
        jobs: All jobs.
        budget: How many reports may be in flight.

    Returns:
        The job; None where there is none, or no room for it.
    """
    if len(jobs.running()) >= budget:
        return None
    unread = 0
    in_a_row: dict[PartitionSync, int] = {}
    for job in jobs:
        in_a_row.setdefault(job.sync, job.sync.result.gaps_in_a_row)
        unread += job.status is not ReportStatus.PLANNED and not job.error
        if unread >= MAX_UNREAD:
            return None
        if job.error:
            in_a_row[job.sync] += 1 if job.error.leaves_gap else MAX_GAPS_IN_A_ROW
        elif in_a_row[job.sync] >= MAX_GAPS_IN_A_ROW:
            continue  # this run does not read what follows
        elif job.status is ReportStatus.PLANNED:
            return job
        else:
            in_a_row[job.sync] = 0
    return None
