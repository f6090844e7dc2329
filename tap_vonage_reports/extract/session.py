"""What the streams of one run share: the API, the accounts, the dates, and what became of each partition."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING

from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.errors import ApiError, RequestRejectedError, RetriableApiError, SettingsError, SyncFailedError
from tap_vonage_reports.extract.pages.fetcher import PageFetcher
from tap_vonage_reports.extract.pages.pagination import END_MARGIN
from tap_vonage_reports.extract.reports.scheduler import ReportScheduler
from tap_vonage_reports.outcomes import PartitionResult, SyncStatus, summary
from tap_vonage_reports.planning.planner import PagePlanner
from tap_vonage_reports.products import FREE_PRODUCT
from tap_vonage_reports.timestamps import format_query_time, months_before

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_vonage_reports.config.settings import Settings
    from tap_vonage_reports.products import Product, Retention
    from tap_vonage_reports.state.bookmark import Bookmark

logger = logging.getLogger(__name__)

LARGE_STATE = 1 << 16
"""Bytes: some 250 partitions."""
ROWS_PER_STATE = 10_000
"""A large STATE is worth it after so many rows, which is what ten pages have, too: what a kill can cost ..."""
WINDOWS_PER_STATE = 100
"""... or after so many windows."""
DEFAULT_RANGE = timedelta(days=7)
PACKAGE = "tap-vonage-reports"


@dataclass(frozen=True)
class Partition:
    """One account, and one direction where the product has them, of one product."""

    product: Product
    account_id: str
    direction: str | None
    primary: bool

    @property
    def account(self) -> str:
        """The account for a table. The primary one is not named: its name is the API key."""
        return "primary" if self.primary else self.account_id

    def __str__(self) -> str:
        """The partition for a log line."""
        account = "primary account" if self.primary else f"account {self.account_id}"
        return ", ".join(part for part in (self.product.stream, self.direction, account) if part)


class SyncSession:
    """One run of the tap, from the first request on."""

    delay_factor: float = 1
    """Scale of the pauses between tries and requests."""

    def __init__(self, settings: Settings, write_state: Callable[[], int]) -> None:
        """Set up a run; nothing is asked of the API yet.

        Args:
            settings: The settings.
            write_state: Writes the state as it is, and gives its length.
        """
        self.settings = settings
        self.bookmark: Bookmark | None = None
        """The bookmark of the partition whose records are being written."""
        self._write_state = write_state
        self._state_bytes = 0
        self._rows_unsaved = self._windows_unsaved = 0
        self.outcomes: list[PartitionResult] = []
        self._clamped: set[Retention] = set()

    @cached_property
    def client(self) -> ReportsClient:
        """The API, with Vonage's clock known and the credentials tried.

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
        self.verify_credentials_and_clock(client)
        if not client.clock.known:
            logger.warning("The API does not tell the time (no Date header): this machine's clock has to be right")
        for name, date in (("start_date", settings.start_date), ("end_date", settings.end_date)):
            if date and date > client.clock.now():
                raise SettingsError([f"The setting {name} is in the future. Nothing has happened then yet."])
        return client

    @cached_property
    def reports(self) -> ReportScheduler:
        """The reports that this run needs."""
        settings = self.settings
        return ReportScheduler(
            self.client,
            budget=settings.max_concurrent_reports,
            timeout=settings.report_timeout,
            save=self.save,
            delay_factor=self.delay_factor,
        )

    @cached_property
    def pages(self) -> PageFetcher:
        """The pages that this run needs."""
        return PageFetcher(self.client, self.reports, self.planner(), workers=self.settings.max_concurrent_requests)

    def planner(self) -> PagePlanner:
        """What cuts into windows what is read by pages."""
        settings = self.settings
        return PagePlanner(
            workers=settings.max_concurrent_requests,
            requests_per_second=settings.max_requests_per_second,
            longest=settings.sync_window,
        )

    @cached_property
    def accounts(self) -> tuple[str, ...]:
        """The accounts to report on, each once, in order."""
        accounts = list(self.settings.account_ids)
        if self.settings.include_subaccounts:
            try:
                accounts += self.client.subaccounts()
            except RequestRejectedError as refusal:
                msg = f"The sub-accounts could not be listed: {refusal} Or name them in account_ids."
                raise ApiError(msg) from refusal
        return tuple(dict.fromkeys(accounts))

    def partitions(self, product: Product) -> list[Partition]:
        """The partitions of a product's stream."""
        return [
            self.partition(product, account, direction)
            for account in self.accounts
            for direction in self._directions(product)
        ]

    def partition(self, product: Product, account_id: str, direction: str | None) -> Partition:
        """One partition of a product's stream."""
        return Partition(product, account_id, direction, primary=account_id == self.settings.api_key)

    def now(self) -> datetime:
        """Up to when a query may reach, to the second: now on Vonage's clock, held back."""
        return (self.client.clock.now() - END_MARGIN).replace(microsecond=0)

    def end(self) -> datetime:
        """Until when to read: end_date, or now."""
        return self.settings.end_date or self.now()

    def earliest(self, product: Product) -> datetime:
        """The oldest time of which Vonage still has records of a product."""
        now = self.client.clock.now().replace(microsecond=0)
        return months_before(now, product.retention.months) - timedelta(days=product.retention.days)

    def start(self, product: Product) -> datetime:
        """From when to read on a first run: start_date, or 7 days ago; not earlier than there are records."""
        earliest = self.earliest(product)
        start = self.settings.start_date or self.end() - DEFAULT_RANGE
        if start >= earliest:
            return start
        if product.retention not in self._clamped:
            self._clamped.add(product.retention)
            logger.warning(
                "start_date is earlier than Vonage keeps records of %s (%s): reading from %s",
                product.stream,
                product.retention,
                earliest.date(),
            )
        return earliest

    def look_after(self) -> None:
        """Do what is due while records are written: look at reports, ask for others, give the workers work."""
        self.reports.pump()
        self.pages.feed()

    def close(self) -> None:
        """Stop what runs beside the main thread."""
        if "pages" in self.__dict__:
            self.pages.close()

    def save(self) -> None:
        """Write STATE: every record that it speaks of is out."""
        if self.bookmark:
            self.bookmark.tidy()
        self._state_bytes = self._write_state()
        self._rows_unsaved = self._windows_unsaved = 0
        if self.bookmark:
            self.bookmark.begin()

    def save_when_due(self, rows: int, *, due: bool = True) -> None:
        """Write STATE after a window, or after some pages of one.

        It names all partitions. Where these are many, a STATE after each window would be most of what is written, and
        more so the more there are: then it waits until it is worth it.

        Args:
            rows: Rows that are out since this was called last.
            due: Whether it is the time for it.
        """
        self._rows_unsaved += rows
        self._windows_unsaved += due
        large = self._state_bytes >= LARGE_STATE
        waits = large and self._rows_unsaved < ROWS_PER_STATE and self._windows_unsaved < WINDOWS_PER_STATE
        if due and not waits:
            self.save()

    def conclude(self) -> None:
        """Log the summary of the run.

        Raises:
            SyncFailedError: A partition failed, or the API refused every selected stream.
        """
        if not self.outcomes:
            return
        for line in summary(self.outcomes):
            logger.info("%s", line)
        failed = [outcome for outcome in self.outcomes if outcome.result is SyncStatus.FAILED]
        if failed:
            names = "; ".join(f"{outcome.partition}: {outcome.why}" for outcome in failed)
            msg = f"{len(failed)} of {len(self.outcomes)} partitions could not be read. {names}"
            raise SyncFailedError(msg)
        if all(outcome.result is SyncStatus.SKIPPED for outcome in self.outcomes):
            msg = (
                "The API refused every selected stream, so nothing was read. Check that the account has these "
                "products, and that the key may read the accounts in account_ids."
            )
            raise SyncFailedError(msg)

    def _directions(self, product: Product) -> tuple[str | None, ...]:
        return self.settings.directions_of(product) or (None,)

    def verify_credentials_and_clock(self, client: ReportsClient) -> None:
        """Send the first request: it tries the credentials, and its answer's `Date` header tells Vonage's time.

        One minute of the product that is free of charge [confirmed]. Whether the API serves it is of no account.
        """
        end = client.clock.now().replace(microsecond=0) - timedelta(days=1)
        query = {
            "product": FREE_PRODUCT.name,
            "account_id": self.settings.api_key,
            "date_start": format_query_time(end - timedelta(minutes=1)),
            "date_end": format_query_time(end),
        }
        try:
            client.records(query)
        except (RequestRejectedError, RetriableApiError) as error:
            logger.debug("The first request was not served: %s", error)
