"""Length of a partition's planned reports: shorter after a truncated report, longer again after small ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_vonage_reports.extract.reports.job import ReportJob, ReportStatus
from tap_vonage_reports.intervals import split, to_intervals
from tap_vonage_reports.state.report_limits import DEFAULT_ROW_LIMIT, ReportLimit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta


def shorten(jobs: Sequence[ReportJob], truncated: ReportJob, row_count: int | None) -> list[ReportJob]:
    """Return jobs with a truncated one, and all planned ones that are longer, cut to half its length.

    Args:
        jobs: The jobs of a partition, in order of time.
        truncated: The truncated one.
        row_count: The rows of its file; None where the API does not say.
    """
    sync, length = truncated.sync, truncated.half()
    sync.bookmark.remove_report(truncated.request_id)
    sync.bookmark.limit_reports(ReportLimit(length, max(0, row_count or 0) or DEFAULT_ROW_LIMIT))
    cut: list[ReportJob] = []
    for job in jobs:
        if job is truncated or (job.status is ReportStatus.PLANNED and job.window.duration > length):
            cut += [ReportJob(sync, piece) for piece in split(to_intervals([job.window]), length)]
        else:
            cut.append(job)
    return cut


def lengthen(jobs: Sequence[ReportJob], read: ReportJob) -> list[ReportJob]:
    """Return jobs with the planned ones joined to longer ones, once enough reports of the partition were small.

    Args:
        jobs: The jobs of a partition, in order of time.
        read: The report that was read.
    """
    sync, limit = read.sync, read.sync.bookmark.report_limit
    if limit is None or read.row_count is None:
        return [*jobs]
    after = limit.after(read.window.duration, read.row_count)
    if after != limit:
        sync.bookmark.limit_reports(after if after.window < sync.max_report_window else None)
    if after.window == limit.window:
        return [*jobs]
    return _join(jobs, read, min(after.window, sync.max_report_window))


def _join(jobs: Sequence[ReportJob], read: ReportJob, max_length: timedelta) -> list[ReportJob]:
    """Return the jobs of a partition with those that were never requested joined where they meet."""
    planned = [job.window for job in jobs if job.is_unrequested]
    joined = [ReportJob(read.sync, window) for window in split(to_intervals(planned), max_length)]
    begun = [job for job in jobs if not job.is_unrequested]
    return sorted([*begun, *joined], key=lambda job: job.window)
