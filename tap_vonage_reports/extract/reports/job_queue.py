"""JobQueue: the report jobs of a run, in the order in which they are needed. No step goes through all of them."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.extract.reports.job import ReportJob


class JobQueue:
    """Report jobs by partition: the partitions in the order in which they are read, the jobs of each in order of time.

    A run may have tens of thousands of jobs, and looks at them after each page.
    """

    def __init__(self) -> None:
        """Set up an empty queue."""
        self._by_sync: OrderedDict[PartitionSync, list[ReportJob]] = OrderedDict()
        self._count = 0
        self._started: dict[ReportJob, None] = {}

    def __len__(self) -> int:
        """Return how many jobs there are."""
        return self._count

    def __iter__(self) -> Iterator[ReportJob]:
        """Iterate over all jobs in order."""
        return (job for jobs in self._by_sync.values() for job in jobs)

    def __contains__(self, job: ReportJob) -> bool:
        """Return True unless a job was removed or replaced."""
        return job in self.of(job.sync)

    def of(self, sync: PartitionSync) -> Sequence[ReportJob]:
        """Return the jobs of a partition."""
        return self._by_sync.get(sync, ())

    def append(self, job: ReportJob) -> None:
        """Add a job behind all others of its partition."""
        self._by_sync.setdefault(job.sync, []).append(job)
        self._count += 1

    def prioritize(self, sync: PartitionSync) -> None:
        """Put the jobs of a partition before those of all others."""
        self._by_sync.move_to_end(sync, last=False)

    def replace(self, sync: PartitionSync, jobs: Sequence[ReportJob]) -> None:
        """Replace the jobs of a partition, whose place in the order stays the same."""
        self._count += len(jobs) - len(self.of(sync))
        if jobs:
            self._by_sync[sync] = list(jobs)
        else:
            self._by_sync.pop(sync, None)

    def remove(self, job: ReportJob) -> None:
        """Remove a job."""
        self.replace(job.sync, [other for other in self.of(job.sync) if other is not job])

    def start(self, job: ReportJob) -> None:
        """Note that a job has a report, so that `running` finds it."""
        self._started[job] = None

    def running(self) -> list[ReportJob]:
        """Return the jobs whose report the API generates now. Jobs with an error do not count: nobody polls them."""
        self._started = {job: None for job in self._started if job.is_running and job in self}
        return list(self._started)
