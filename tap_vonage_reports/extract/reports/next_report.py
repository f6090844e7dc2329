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
