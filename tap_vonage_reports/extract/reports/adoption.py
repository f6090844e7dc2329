"""Finds reports at the API that this or an earlier run requested, but whose IDs were lost.

A target may not keep the state, and the response to a successful request can get lost. A report is billed when it is
requested, so either case would cost the report again. The API lists an account's reports together with their requests
[likely], so the tap recognizes a lost report by its request. Nothing depends on the list: without it, the tap requests
reports as if there were none.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.api.responses import is_id
from tap_vonage_reports.config.schema import BOOLEAN_PARAMS, INCLUDE_SUBACCOUNTS
from tap_vonage_reports.errors import ApiError, FatalApiError
from tap_vonage_reports.extract.reports.job import ReportStatus
from tap_vonage_reports.intervals import TimeWindow
from tap_vonage_reports.planning.partition import CALLBACK_FIELD
from tap_vonage_reports.plurals import counted
from tap_vonage_reports.state.values import PendingReport
from tap_vonage_reports.timestamps import normalize_timestamp, parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from tap_vonage_reports.api.client import ReportsClient
    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.extract.reports.job import ReportJob
    from tap_vonage_reports.planning.partition import Query
    from tap_vonage_reports.planning.planner import Planner
    from tap_vonage_reports.planning.plans import ReportPlan

logger = logging.getLogger(__name__)

ADOPTED = tuple(status.value for status in (ReportStatus.PENDING, ReportStatus.PROCESSING, ReportStatus.SUCCESS))
"""The statuses that lead to all rows of a report."""
MAX_FAILURES = 2
"""A run asks for no more lists after this many that could not be had, so that they hold up no run for long."""
MAX_LIST_CHECKS = 3
"""How often a run looks for a report of its own in a list: it may be listed only a moment later."""
CLOCK_TOLERANCE = timedelta(seconds=60)
"""How much earlier than its request a report may appear: times have whole seconds [confirmed], and clocks differ."""
ANSWER_FIELDS = frozenset(
    {"request_id", "request_status", "receive_time", "received_at", "start_time", "items_count", "_links", "self_link"}
    | {"price", "currency", "limit"}
)
"""Fields of a report's status that do not repeat its request [confirmed; the last three seen beside records]."""
DATES = ("date_start", "date_end")
NOT_SELECTING = ANSWER_FIELDS | {*DATES, CALLBACK_FIELD}
"""Fields of a report's status that do not select its rows within its dates. The callback may change between two
runs."""
SWITCHES = frozenset({*BOOLEAN_PARAMS, INCLUDE_SUBACCOUNTS})
OFF = frozenset({"", "false"})


class ReportFinder:
    """Looks for lost reports of a run's partitions. Only the main thread uses it."""

    def __init__(
        self,
        client: ReportsClient,
        *,
        enabled: bool,
        needs_list: Callable[[], bool] = lambda: False,
        accounts_since: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        """Set up a finder; nothing is sent yet.

        Args:
            client: The API.
            enabled: False to find nothing.
            needs_list: Returns True if it is worth a request to know that the API lists the reports of this run.
            accounts_since: Returns since when there have been all the accounts; None if that is unknown. A report with
                sub-accounts that was requested earlier may lack one.
        """
        self._accounts_since = accounts_since
        self._needs_list = needs_list
        self._tries_left = MAX_LIST_CHECKS
        self._is_verified = False
        self._client = client
        self._failures = 0 if enabled else MAX_FAILURES
        self._known: set[str] = set()
        self._lost_since: dict[ReportJob, datetime] = {}

    def plan(
        self,
        syncs: Sequence[PartitionSync],
        planner: Planner,
        show_progress: Callable[[], None] = lambda: None,
        *,
        is_dry: bool = False,
    ) -> tuple[list[ReportPlan], bool]:
        """Plan the reports of partitions, with those that earlier runs lost added to the bookmarks that need them.

        Args:
            syncs: The partitions.
            planner: Says which reports a partition needs.
            show_progress: Shows the progress of the run if that is due; called for each partition.
            is_dry: True for `--plan`, which adopts nothing, and does not say that it does.

        Returns:
            The plan of each partition, and True if any report was added.
        """
        lists: dict[str, list[dict[str, Any]]] = {}
        plans = []
        added_any = False
        for sync in syncs:
            show_progress()
            self._known |= {report.request_id for report in sync.bookmark.reports}
            plan = planner.reports(sync)
            account = sync.partition.account_id
            if not plan.to_request.empty:
                if account not in lists:
                    lists[account] = self._list(account)
                if self._adopt(sync, planner, plan, lists[account], is_dry=is_dry):
                    plan, added_any = planner.reports(sync), True
            plans.append(plan)
        return plans, added_any

    def verify_list(self, job: ReportJob) -> None:
        """Find out whether the API lists a report that was just requested, if that is worth a request."""
        if self._is_verified or not self._tries_left or self._failures >= MAX_FAILURES or not self._needs_list():
            return
        self._tries_left -= 1
        listed = self._list(job.sync.partition.account_id)
        found = (report_of(echo, job.sync.query) for echo in listed)
        self._is_verified = any(report and report.request_id == job.request_id for report in found)

    def will_find(self, job: ReportJob) -> bool:
        """Return True if the next run will find the report of a job although no STATE names it.

        That needs a list that is known to work, a bookmark that does not take the report for one that was read, and no
        account that may be newer than the report.
        """
        bookmark = job.sync.bookmark
        is_unread = bookmark.adopt_after is not None or bookmark.last_read_at is None
        return self._is_verified and is_unread and self._has_all_accounts(job.sync, job.requested_at)

    def note(self, request_id: str) -> None:
        """Note that a report is known, so that it is not found again."""
        self._known.add(request_id)

    def note_lost(self, job: ReportJob, seconds: float) -> None:
        """Note that a request for a report may have made one, although no usable answer came.

        Args:
            job: The job.
            seconds: How long ago the request was sent.
        """
        since = self._client.clock.now() - timedelta(seconds=seconds) - CLOCK_TOLERANCE
        self._lost_since.setdefault(job, since)

    def find_lost(self, job: ReportJob) -> PendingReport | None:
        """Return the report that a failed request for a job has made; None if none is found."""
        since = self._lost_since.get(job)
        if since is None:
            return None
        query, listed = job.sync.query, self._list(job.sync.partition.account_id)
        found = [
            report
            for report in self._unknown(listed, query)
            if report.window == job.window and report.requested_at >= since
        ]
        if not found:
            return None
        self._known |= {report.request_id for report in found}
        del self._lost_since[job]
        job.sync.result.fetched.confirm_reports(len(found))
        return max(found, key=lambda report: report.requested_at)

    def _adopt(
        self, sync: PartitionSync, planner: Planner, plan: ReportPlan, listed: list[dict[str, Any]], *, is_dry: bool
    ) -> bool:
        unknown = self._unknown(listed, sync.query)
        found = [report for report in unknown if self._has_all_accounts(sync, report.requested_at)]
        adopted = planner.adoptable(sync, plan, found)
        for report in adopted:
            self._known.add(report.request_id)
            sync.bookmark.add_report(report)
        if adopted and not is_dry:
            count = counted(len(adopted), "report")
            logger.info("%s: adopting %s from an earlier run, found at the API", sync.partition, count)
        return bool(adopted)

    def _has_all_accounts(self, sync: PartitionSync, requested_at: datetime | None) -> bool:
        """Return True if a report of a partition includes all of its accounts."""
        if not sync.partition.with_subaccounts:
            return True
        since = self._accounts_since()
        return since is not None and requested_at is not None and requested_at > since

    def _unknown(self, listed: list[dict[str, Any]], query: Query) -> Iterator[PendingReport]:
        """Yield the listed reports that a query has requested, without those that are known."""
        for echo in listed:
            report = report_of(echo, query)
            if report and report.request_id not in self._known:
                yield report

    def _list(self, account_id: str) -> list[dict[str, Any]]:
        """Return the reports of an account; none if the API does not list them."""
        if self._failures >= MAX_FAILURES:
            return []
        try:
            return self._client.list_reports(account_id, ADOPTED)
        except (ApiError, FatalApiError) as error:
            self._failures += 1
            logger.debug("The API does not list reports, so none can be adopted: %s", error)
            return []


def report_of(echo: Mapping[str, Any], query: Query) -> PendingReport | None:
    """Return a listed report, if it is one that a query requests.

    Product, account, direction, switches and filters have to be those of the query: a field that the query has not set
    may be a filter, and one that it has set may not be missing. Only the form may differ: of times, and of booleans.

    Args:
        echo: The report's status, with the fields of its request.
        query: The query of a partition.

    Returns:
        The report with the time when the API received it; None if it is another one.
    """
    request_id, window, requested_at = echo.get("request_id"), _window(echo), _time(echo.get("receive_time"))
    if not is_id(request_id) or echo.get("request_status") not in ADOPTED or window is None or requested_at is None:
        return None
    if _selection(echo) != _selection(query.report_body(window)):
        return None
    return PendingReport(request_id, window, query.report_fingerprint(window), requested_at)


def _selection(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return what selects the rows of a report, without its dates, and without what is switched off or not set."""
    texts = {name: _text(name, value) for name, value in fields.items() if name not in NOT_SELECTING}
    return {name: text for name, text in texts.items() if text not in (OFF if name in SWITCHES else {""})}


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    text = str(value)
    return text.lower() if name in SWITCHES or isinstance(value, bool) else text


def _window(echo: Mapping[str, Any]) -> TimeWindow | None:
    start, end = (_time(echo.get(name)) for name in DATES)
    return TimeWindow(start, end) if start and end and start < end else None


def _time(value: object) -> datetime | None:
    """Return a time in one of the API's forms; None for anything else."""
    text = normalize_timestamp(value) if isinstance(value, str) else None
    try:
        return parse_time(text) if text else None
    except ValueError:
        return None
