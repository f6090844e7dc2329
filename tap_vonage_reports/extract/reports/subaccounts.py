"""Reports with sub-accounts: the rows of each account, those that may still change, and the meaning of a refusal."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO

from tap_vonage_reports.api.request_context import RequestContext
from tap_vonage_reports.errors import (
    ApiError,
    ProductUnavailableError,
    ReportError,
    RequestRejectedError,
    SubaccountsRefusedError,
)
from tap_vonage_reports.extract.status_refresh import MAX_PENDING_IDS, PendingChange
from tap_vonage_reports.intervals import TimeWindow
from tap_vonage_reports.planning.partition import ACCOUNT
from tap_vonage_reports.records.report_archive import read_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from tap_vonage_reports.api.client import ReportsClient
    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.extract.reports.job import ReportJob
    from tap_vonage_reports.records.csv_rows import Columns

MAX_ACCOUNTS_ASKED = 10
"""Sub-accounts that are asked for a product before it counts as one that no account has."""
SAMPLE = timedelta(minutes=1)
"""The window of the page that tells whether the account has a product: its rows are billed and ignored."""


@dataclass
class ReportSurvey:
    """The accounts of a report's rows, and its rows that may still change.

    Attributes:
        sync: The partition.
        window: The window of the report.
        read_at: When its rows were read.
        rows_by_account: The rows of each account.
        change: Its non-final rows, and those tracked before that are final now.
    """

    sync: PartitionSync
    window: TimeWindow
    read_at: datetime
    rows_by_account: Counter[str] = field(default_factory=Counter)
    change: PendingChange = field(default_factory=lambda: PendingChange({}, [], is_complete=True))

    def read(self, file: BinaryIO, count: int | None, show_progress: Callable[[], None]) -> None:
        """Read a verified report.

        Args:
            file: The report.
            count: Its number of rows; None if the API announced none.
            show_progress: Shows the progress of the run if that is due.
        """
        for header, columns in read_chunks(file, count):
            show_progress()
            if ACCOUNT in header:
                self.rows_by_account.update(filter(None, columns[header.index(ACCOUNT)]))
            self._assess(header, columns)

    def commit(self) -> bool:
        """Count the accounts, and track the non-final rows. Return True if all of them are tracked."""
        sync, change = self.sync, self.change
        sync.result.rows_by_account.update(self.rows_by_account)
        if sync.tracker is None or not sync.ids_reliable:
            return False
        if not change.fits(sync.bookmark.pending_ids):
            change.log(sync.partition, self.window)
            return False
        sync.bookmark.track(change.pending)
        sync.bookmark.untrack(change.final)
        return True

    def _assess(self, header: Sequence[str], columns: Columns) -> None:
        """Add the rows of a chunk to the change. Of a row that comes twice, the last counts."""
        tracker, pending = self.sync.tracker, self.change.pending
        if tracker is None or len(pending) > MAX_PENDING_IDS:
            return
        found = [(name, columns[header.index(name)]) for name in dict.fromkeys(tracker.fields) if name in header]
        names = [name for name, _ in found]
        rows = (dict(zip(names, cells, strict=True)) for cells in zip(*(cells for _, cells in found), strict=True))
        change = tracker.assess(rows, self.window, self.read_at)
        for name in change.final:
            pending.pop(name, None)
        pending.update(change.pending)
        known = self.sync.bookmark.pending_ids
        final = [*self.change.final, *(name for name in change.final if name in known)]
        self.change = PendingChange(pending, final, is_complete=self.change.is_complete and change.is_complete)


def survey_report(job: ReportJob, file: BinaryIO | None, show_progress: Callable[[], None]) -> ReportSurvey | None:
    """Read the accounts of a verified report; None where a report has those of one account.

    Args:
        job: The report.
        file: Its file; None where it has no rows.
        show_progress: Shows the progress of the run if that is due.
    """
    sync = job.sync
    if not sync.partition.with_subaccounts:
        return None
    survey = ReportSurvey(sync, job.window, min(sync.read_at, job.requested_at or sync.read_at))
    if file:
        survey.read(file, job.row_count, show_progress)
    return survey


def unreadable(job: ReportJob, reason: str) -> ReportError:
    """Return the error for a report with sub-accounts whose file cannot be read, and which no page can replace."""
    return ReportError(
        f"Report {job.request_id} ({job.window}): {reason}, and pages, which cannot include sub-accounts, cannot "
        "replace it. The next run requests another report. If this persists, set subaccounts to each, or contact "
        "Vonage support with the report ID."
    )


def explained(
    client: ReportsClient, sync: PartitionSync, subaccounts: Callable[[], Sequence[str]], error: ApiError
) -> ApiError:
    """Return the error that the refusal of a report means: of the product, or of its sub-accounts [reported once].

    Both are HTTP 403, so pages tell them apart: they do not include sub-accounts. The product counts as unavailable
    only if neither the primary account nor one of the first sub-accounts has it.
    """
    if not (
        sync.partition.with_subaccounts
        and isinstance(error, RequestRejectedError)
        and error.status == HTTPStatus.FORBIDDEN
    ):
        return error
    if isinstance(error, ProductUnavailableError) and all(
        _is_unavailable(client, sync, account)
        for account in [sync.partition.account_id, *subaccounts()[:MAX_ACCOUNTS_ASKED]]
    ):
        return error
    return SubaccountsRefusedError(error.status, error.title, error.parameters, error.answered_at)


def _is_unavailable(client: ReportsClient, sync: PartitionSync, account: str) -> bool:
    """Return True if the API refuses a page of an account's rows, too."""
    query = sync.query.of_account(account)
    window = TimeWindow(sync.until - SAMPLE, sync.until)
    try:
        client.records(query.params(window), RequestContext(metrics=sync.result.fetched))
    except ApiError as error:
        return isinstance(error, ProductUnavailableError)
    return False
