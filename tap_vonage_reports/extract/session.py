"""One run of the tap: builds the client, the planner and the fetchers, opens partitions, and logs the summary."""

from __future__ import annotations

import logging
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from functools import cached_property, partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.api.retry import RetryPolicy
from tap_vonage_reports.errors import SettingsError
from tap_vonage_reports.extract.account_partitions import Accounts, read_bookmark, warn_of_filters
from tap_vonage_reports.extract.accounts import AccountList, verify_credentials_and_clock
from tap_vonage_reports.extract.outcome import recorded
from tap_vonage_reports.extract.pages.fetcher import PageFetcher
from tap_vonage_reports.extract.reader import PartitionReader, PartitionSync
from tap_vonage_reports.extract.refetch import Refetcher
from tap_vonage_reports.extract.reports.adoption import ReportFinder
from tap_vonage_reports.extract.reports.fetcher import ReportFetcher
from tap_vonage_reports.extract.reports.scheduler import ReportScheduler
from tap_vonage_reports.extract.status_refresh import StatusTracker
from tap_vonage_reports.intervals import duration
from tap_vonage_reports.metrics import PartitionResult, RunResults, SyncStatus
from tap_vonage_reports.planning.date_range import DateRange
from tap_vonage_reports.planning.partition import Query
from tap_vonage_reports.planning.planner import Planner
from tap_vonage_reports.planning.report_length import max_report_length
from tap_vonage_reports.planning.window_limit import WindowLimit
from tap_vonage_reports.progress.tracker import Progress
from tap_vonage_reports.state.checkpoint import Checkpointer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from tap_vonage_reports.config.settings import Settings
    from tap_vonage_reports.errors import ApiError
    from tap_vonage_reports.extract.reader import Chunk
    from tap_vonage_reports.planning.partition import Partition

logger = logging.getLogger(__name__)

PACKAGE = "tap-vonage-reports"


class SyncSession:
    """One run of the tap, from the first request on."""

    delay_factor: float = 1
    """Scale of the pauses between tries and requests, for tests."""
    max_tries: int = RetryPolicy.max_tries
    """Tries of a request. Set it before the first one."""
    first_refusal: ApiError | None = None
    """Why the API did not serve the first request. A run tries its partitions nevertheless."""

    def __init__(
        self,
        settings: Settings,
        write_state: Callable[[], int],
        defer_signals: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Set up a run; no request is sent yet.

        Args:
            settings: The settings.
            write_state: Writes the state as it is, and returns its length in bytes.
            defer_signals: Defers signals for the length of a `with` block.
        """
        self.settings = settings
        self.checkpointer = Checkpointer(write_state)
        self.results = RunResults()
        self.progress = Progress()
        self._defer_signals = defer_signals

    @cached_property
    def client(self) -> ReportsClient:
        """The API, with Vonage's clock known and the credentials verified.

        Raises:
            CredentialsError: The key or the secret is wrong.
            UnreachableError: The API does not answer.
            SettingsError: A date is in the future on Vonage's clock.
        """
        client = _new_client(self.settings, self.delay_factor, self.max_tries)
        self.first_refusal = verify_credentials_and_clock(client, self.settings.api_key)
        _check_dates(self.settings, client.clock.now())
        return client

    @cached_property
    def dates(self) -> DateRange:
        """The dates that this run may read."""
        clock = self.client.clock
        return DateRange(self.settings, clock.now, earliest=clock.earliest, is_known=lambda: clock.known)

    @cached_property
    def planner(self) -> Planner:
        """The planner of this run."""
        return Planner(self.settings, self.dates)

    @cached_property
    def finder(self) -> ReportFinder:
        """The finder of reports that earlier runs lost."""
        return ReportFinder(
            self.client,
            enabled=self.settings.adopt_reports,
            needs_list=self.checkpointer.is_large,
            accounts_since=self.account_list.all_since,
        )

    @cached_property
    def scheduler(self) -> ReportScheduler:
        """The scheduler of this run's reports."""
        return ReportScheduler(
            self.client,
            budget=self.settings.max_concurrent_reports,
            timeout=self.settings.report_timeout,
            checkpoint=partial(self.checkpointer.write_for_report, can_wait=False),
            checkpoint_later=partial(self.checkpointer.write_for_report, can_wait=True),
            defer_signals=self._defer_signals,
            finder=self.finder,
            show_progress=self.progress.tick,
        )

    @cached_property
    def reader(self) -> PartitionReader:
        """The reader of this run's partitions: by reports, then by pages, then again what may have changed."""
        pages = PageFetcher(
            self.client,
            self.planner,
            workers=self.settings.max_concurrent_requests,
            is_ready=lambda sync: not self.scheduler.remaining(sync),
            poll_all=self.poll,
        )
        waits = self.settings.wait_for_reports
        reports = ReportFetcher(
            self.client,
            self.planner,
            self.scheduler,
            self.poll,
            self.progress.tick,
            subaccounts=self.account_list.active_subaccounts,
            waits=waits,
        )
        refetcher = Refetcher(self.planner, by_pages=pages.read_more, by_reports=reports.read_more)
        return PartitionReader(reports, pages, refetcher)

    @cached_property
    def account_list(self) -> AccountList:
        """The primary account and its sub-accounts."""
        return AccountList(self.client)

    @cached_property
    def accounts(self) -> Accounts:
        """The accounts of this run, and the partitions that they make."""
        return Accounts(self.settings, self.account_list, self.dates)

    def open(self, partition: Partition, state: dict[str, Any], *, is_full_table: bool = False) -> PartitionSync:
        """Open a partition: read its bookmark, and mark for refetching what may have changed.

        Args:
            partition: The partition.
            state: Its state, which is changed in place from here on.
            is_full_table: True to read everything again.

        Raises:
            StateError: The state is malformed.
        """
        settings, dates = self.settings, self.dates
        bookmark = read_bookmark(settings, dates, partition.product, state)
        if bookmark.filters_changed:
            warn_of_filters(partition)
        if is_full_table:
            bookmark.reset()
        now, until = dates.now(), self.planner.end(partition)
        if bookmark.truncate(max(now, until)):
            logger.warning("%s: the state covers time after %s; refetching it", partition, now)
        lookback = self.planner.lookback(partition, bookmark, until)
        bookmark.apply_lookback(lookback.refetch, lookback.tracked)
        result = PartitionResult(partition)
        result.fetched.refetch = lookback.refetch
        return PartitionSync(
            partition,
            Query.of(settings, partition),
            bookmark,
            lookback,
            None if lookback.tracked is None else _new_tracker(settings, partition),
            result,
            until,
            dates.read_at(),
            window_limit=WindowLimit(bookmark.max_page_window, settings.sync_window),
            max_report_window=max_report_length(settings, bookmark),
        )

    def prepare(self, syncs: Sequence[PartitionSync]) -> None:
        """Start to read the partitions of the run, in this order, and to show its progress."""
        for sync in syncs:
            sync.result.left = duration(self.planner.missing(sync))
        self.progress.start([sync.result for sync in syncs], self.scheduler.counts)
        self.reader.prepare(syncs)

    def poll(self) -> None:
        """Do what is due while records are written."""
        self.reader.poll()
        self.progress.tick()

    @contextmanager
    def reading(self, sync: PartitionSync) -> Generator[None, None, None]:
        """Read a partition in a `with` block, and record how that ends.

        A failure that concerns this partition alone is logged, kept for the summary, and lets the others go on.

        Raises:
            FatalApiError: The API cannot be used at all.
        """
        bookmark, partition = sync.bookmark, sync.partition
        was_read = partial(self._was_read, sync)
        with self.checkpointer.active(bookmark), recorded(self.results, sync.result, was_read):
            try:
                yield
                is_first = partition.with_subaccounts and sync.lookback.covered_since is None
                self.accounts.compare(sync.result, is_first=is_first)
            finally:
                sync.result.left = timedelta(0)
                self.reader.release(sync)
        if sync.result.status is not SyncStatus.READ:
            self.checkpointer.write_if_due(0)

    def _was_read(self, sync: PartitionSync) -> bool:
        """Return True if the API has ever served a partition, or the rows of its account in a report of all."""
        return sync.bookmark.started or self.accounts.has_rows(sync.partition)

    def commit(self, chunks: Iterable[Chunk], *, due: bool) -> None:
        """Move the bookmark over chunks whose rows are written, and write STATE if it is due."""
        chunks = list(chunks)
        for chunk in chunks:
            chunk.commit()
        self.checkpointer.write_if_due(sum(map(len, chunks)), due=due)

    def close(self) -> None:
        """Stop what runs beside the main thread, and show no more progress."""
        self.progress.close()
        if "reader" in self.__dict__:
            self.reader.close()


def _new_client(settings: Settings, delay_factor: float, max_tries: int) -> ReportsClient:
    client = ReportsClient(
        settings.api_url,
        settings.api_key,
        settings.api_secret,
        timeout_seconds=settings.request_timeout_seconds,
        user_agent=f"{PACKAGE}/{version(PACKAGE)}",
        sync_rate=settings.max_requests_per_second,
        async_rate=settings.max_report_requests_per_second,
        delay_factor=delay_factor,
    )
    client.retry_policy = replace(client.retry_policy, max_tries=min(max_tries, client.retry_policy.max_tries))
    return client


def _new_tracker(settings: Settings, partition: Partition) -> StatusTracker:
    product = partition.product
    rule = product.final[partition.direction or ""]
    return StatusTracker(rule, product.date_field, settings.lookback_of(product), by_account=partition.with_subaccounts)


def _check_dates(settings: Settings, now: datetime) -> None:
    """Check the dates in the settings.

    Raises:
        SettingsError: A date is in the future on Vonage's clock.
    """
    for name, date in (("start_date", settings.start_date), ("end_date", settings.end_date)):
        if date and date > now:
            raise SettingsError([f"The setting {name} is in the future. Set it to a time in the past."])
