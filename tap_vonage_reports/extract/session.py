"""One run of the tap: builds the client, the planner and the fetchers, opens partitions, and sums up at the end."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from functools import cached_property
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.errors import (
    ApiError,
    CredentialsError,
    ForeignAnswerError,
    ProductUnavailableError,
    RequestRejectedError,
    RetriableApiError,
    SettingsError,
)
from tap_vonage_reports.extract.pages.fetcher import PageFetcher
from tap_vonage_reports.extract.reader import PartitionReader, PartitionSync
from tap_vonage_reports.extract.reports.adoption import ReportFinder
from tap_vonage_reports.extract.reports.fetcher import ReportFetcher
from tap_vonage_reports.extract.reports.scheduler import ReportScheduler
from tap_vonage_reports.extract.status_tracking import StatusTracker
from tap_vonage_reports.intervals import TimeWindow
from tap_vonage_reports.metrics import PartitionResult, RunResults, SyncStatus, left_out
from tap_vonage_reports.planning.date_range import DateRange
from tap_vonage_reports.planning.partition import ACCOUNT, Partition, Query
from tap_vonage_reports.planning.planner import Planner
from tap_vonage_reports.planning.window_limit import WindowLimit
from tap_vonage_reports.products import FREE_PRODUCT
from tap_vonage_reports.state.bookmark import Bookmark
from tap_vonage_reports.state.checkpoint import Checkpointer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from contextlib import AbstractContextManager

    from tap_vonage_reports.config.settings import Settings
    from tap_vonage_reports.extract.reader import Chunk
    from tap_vonage_reports.products import Product

logger = logging.getLogger(__name__)

PACKAGE = "tap-vonage-reports"


class SyncSession:
    """One run of the tap, from the first request on."""

    delay_factor: float = 1
    """Scale of the pauses between tries and requests, for tests."""

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
        self._defer_signals = defer_signals

    @cached_property
    def client(self) -> ReportsClient:
        """The API, with Vonage's clock known and the credentials verified.

        Raises:
            CredentialsError: The key or the secret is wrong.
            UnreachableError: The API does not answer.
            SettingsError: A date is in the future on Vonage's clock.
        """
        settings = self.settings
        client = ReportsClient(
            settings.api_url,
            settings.api_key,
            settings.api_secret,
            timeout_seconds=settings.request_timeout_seconds,
            user_agent=f"{PACKAGE}/{version(PACKAGE)}",
            sync_rate=settings.max_requests_per_second,
            delay_factor=self.delay_factor,
        )
        _verify_credentials_and_clock(client, settings.api_key)
        for name, date in (("start_date", settings.start_date), ("end_date", settings.end_date)):
            if date and date > client.clock.now():
                raise SettingsError([f"The setting {name} is in the future. Set it to a time that has passed."])
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
        return ReportFinder(self.client, enabled=self.settings.adopt_reports)

    @cached_property
    def reader(self) -> PartitionReader:
        """The reader of this run's partitions: by reports, then by pages."""
        settings = self.settings
        scheduler = ReportScheduler(
            self.client,
            budget=settings.max_concurrent_reports,
            timeout=settings.report_timeout,
            checkpoint=self.checkpointer.write,
            defer_signals=self._defer_signals,
            finder=self.finder,
        )
        pages = PageFetcher(
            self.client,
            self.planner,
            workers=settings.max_concurrent_requests,
            is_ready=lambda sync: not scheduler.remaining(sync),
            poll_all=self.poll,
        )
        return PartitionReader(ReportFetcher(self.client, self.planner, scheduler, self.poll), pages)

    @cached_property
    def accounts(self) -> tuple[str, ...]:
        """The accounts to report on, each once, in order."""
        accounts = list(self.settings.account_ids)
        if self.settings.include_subaccounts:
            try:
                accounts += self.client.subaccounts()
            except RequestRejectedError as error:
                msg = f"The sub-accounts could not be listed: {error} Or name them in account_ids."
                raise ApiError(msg) from error
        return tuple(dict.fromkeys(accounts))

    def check_accounts(self) -> None:
        """Find out, before anything is billed, whether the key may read the accounts in `account_ids`.

        Raises:
            SettingsError: The API refuses some of them; the error names them.
        """
        others = [account for account in self._named_accounts if account != self.settings.api_key]
        refused = {account: error for account in others if (error := _refusal(self.client, account))}
        if refused:
            raise SettingsError(
                [
                    f"The setting account_ids names account {account}, which the API refuses ({error}). Check its "
                    "name, and that the key may read it."
                    for account, error in refused.items()
                ]
            )

    def find_refused_accounts(self) -> None:
        """Find the accounts in `account_ids` that the API has refused for everything, so that none is just skipped.

        An account that was skipped for each selected product is asked for the free product as well, to tell an account
        without these products from one that is mistyped.

        Raises:
            FatalApiError: The API cannot be used at all.
        """
        self.results.refused_accounts = [
            account
            for account in self._named_accounts
            if self.results.all_skipped(account) and _refusal(self.client, account)
        ]

    @property
    def _named_accounts(self) -> list[str]:
        return list(dict.fromkeys(self.settings.account_ids))

    def partitions(self, product: Product) -> list[Partition]:
        """Return the partitions of a product's stream."""
        return [
            self.partition(product, account, direction)
            for account in self.accounts
            for direction in self.settings.directions_of(product) or (None,)
        ]

    def partition(self, product: Product, account_id: str, direction: str | None) -> Partition:
        """Return one partition of a product's stream."""
        return Partition(product, account_id, direction, is_primary=account_id == self.settings.api_key)

    def open(self, partition: Partition, state: dict[str, Any], *, is_full_table: bool = False) -> PartitionSync:
        """Open a partition: read its bookmark, and mark for refetching what may have changed.

        Args:
            partition: The partition.
            state: Its state, which is changed in place from here on.
            is_full_table: True to read everything again.

        Raises:
            StateError: The state is malformed.
        """
        settings, dates, product = self.settings, self.dates, partition.product
        bookmark = Bookmark(
            state,
            stream=product.stream,
            replication_key=product.date_field,
            row_filter=settings.rows_of(product),
            since=dates.start(product) if settings.start_date else dates.earliest(product),
        )
        if bookmark.filters_changed:
            logger.warning(
                "%s: the filters have changed since the last run, so its bookmark does not count; reading from "
                "start_date",
                partition,
            )
        if is_full_table:
            bookmark.reset()
        now, until = dates.now(), dates.end()
        if bookmark.truncate(max(now, until)):
            logger.warning("%s: the state covers time after %s; it is read again", partition, now)
        lookback = self.planner.lookback(partition, bookmark, until)
        bookmark.apply_lookback(lookback.refetch, lookback.tracked)
        result = PartitionResult(partition)
        result.fetched.refetch = lookback.refetch
        tracker = None
        if lookback.tracked is not None:
            rule = product.final[partition.direction or ""]
            tracker = StatusTracker(rule, product.date_field, settings.lookback_of(product))
        query = Query.of(settings, partition)
        return PartitionSync(
            partition,
            query,
            bookmark,
            lookback,
            tracker,
            result,
            until,
            dates.read_at(),
            window_limit=WindowLimit(bookmark.max_page_window, settings.sync_window),
            max_report_window=settings.report_window,
        )

    def poll(self) -> None:
        """Do what is due while records are written."""
        self.reader.poll()

    @contextmanager
    def reading(self, sync: PartitionSync) -> Generator[None, None, None]:
        """Read a partition in a `with` block, and record how that ends.

        A failure that concerns this partition alone is logged, kept for the summary, and lets the others go on.

        Raises:
            FatalApiError: The API cannot be used at all.
        """
        result = sync.result
        self.results.append(result)
        started = time.monotonic()
        with self.checkpointer.active(sync.bookmark):
            try:
                yield
                result.end()
            except GeneratorExit:  # --test has seen what it wants
                result.end()
                raise
            except ApiError as error:
                _record_failure(sync, error)
            finally:
                result.seconds = time.monotonic() - started
                self.reader.release(sync)
        if result.status is not SyncStatus.READ:
            self.checkpointer.write_if_due(0)

    def commit(self, sync: PartitionSync, chunks: Iterable[Chunk], *, due: bool) -> None:
        """Move the bookmark over chunks whose rows are written, and write STATE if it is due."""
        rows = 0
        for chunk in chunks:
            chunk.commit()
            rows += len(chunk)
        sync.result.rows += rows
        self.checkpointer.write_if_due(rows, due=due)

    def close(self) -> None:
        """Stop what runs beside the main thread."""
        if "reader" in self.__dict__:
            self.reader.close()


def _record_failure(sync: PartitionSync, error: ApiError) -> None:
    """Record why a partition ended. A product that was never available is skipped; one that was read before fails."""
    result = sync.result
    # The first gap says more than that there were several.
    result.reason = f"{left_out(len(result.gaps))}. {result.gaps[0]}" if result.gaps else str(error)
    if isinstance(error, ProductUnavailableError) and not (sync.bookmark.started or result.gaps):
        result.status = SyncStatus.SKIPPED
        logger.warning("%s: skipped. %s", sync.partition, error)
    else:
        logger.error("%s: %s", sync.partition, error)


def _verify_credentials_and_clock(client: ReportsClient, api_key: str) -> None:
    """Send the first request: it verifies the credentials, and its answer's `Date` header tells Vonage's time.

    Raises:
        CredentialsError: The key or the secret is wrong.
        UnreachableError: The API does not answer.
    """
    if error := _refusal(client, api_key):
        logger.debug("The first request was not served: %s", error)
        if isinstance(error, ForeignAnswerError) and error.status == HTTPStatus.UNAUTHORIZED:
            msg = f"Authentication failed ({error.reason}). {error.advice}"
            raise CredentialsError(msg) from error
        if getattr(error, "status", None) == HTTPStatus.NOT_FOUND:
            msg = (
                "The setting api_url leads to a server without the Reports API (HTTP 404). Set it to "
                "https://api.nexmo.com, or to the address of your proxy, without a path that is not the proxy's."
            )
            raise SettingsError([msg]) from error
    if not client.clock.known:
        logger.warning(
            "The API sends no Date header, and no time in its answers: make sure that this machine's clock is right"
        )


def _refusal(client: ReportsClient, account: str) -> ApiError | None:
    """Ask for one minute of the product that is free of charge [confirmed]. Its rows are ignored.

    Returns:
        Why the API did not serve the account; None if it did.
    """
    end = client.clock.now().replace(microsecond=0) - timedelta(days=1)
    query = Query({"product": FREE_PRODUCT.name, ACCOUNT: account})
    try:
        client.records(query.params(TimeWindow(end - timedelta(minutes=1), end)))
    except (RequestRejectedError, RetriableApiError) as error:
        return error
    return None
