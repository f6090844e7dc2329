"""Metrics and results per partition. The API bills by the row [confirmed]."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

from singer_sdk import metrics as sdk_metrics

from tap_vonage_reports.errors import SyncFailedError
from tap_vonage_reports.intervals import EMPTY, bounds, duration, to_intervals
from tap_vonage_reports.plurals import counted
from tap_vonage_reports.redaction import safe_for_log
from tap_vonage_reports.timestamps import normalize_timestamp

if TYPE_CHECKING:
    import logging
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from tap_vonage_reports.intervals import TimeSet, TimeWindow
    from tap_vonage_reports.planning.partition import Partition, WholeTable

MIN_PRICE, MAX_PRICE = Decimal("1e-9"), Decimal("1e9")
"""A price outside these bounds is wrong, and might be too long to write."""


class FetchMetrics:
    """Counts of what one partition has fetched so far. Safe to use from several threads.

    Attributes:
        refetch: The time that was read before, whose rows are fetched again.
        requests: Requests for records that were sent, retries included.
        failed_requests: How many of these brought no usable answer. The API may have billed for each [unknown].
        reports: Reports that were requested.
        unconfirmed_reports: Requests for a report that failed without an answer that rules out a report. Each may have
            made one, and be charged.
        rows: Rows that the API returned, including those that were not written. Whether it bills for an answer that
            got lost is unknown: its rows are not counted.
        refetched: How many of these had been fetched before.
        prices: What the answers say that they cost, by currency [likely: 0 in all samples].
    """

    def __init__(self, date_field: str = "") -> None:
        """Start counting at zero.

        Args:
            date_field: The field with a row's time.
        """
        self.refetch: TimeSet = EMPTY
        self.requests = 0
        self.failed_requests = 0
        self.reports = 0
        self.unconfirmed_reports = 0
        self.rows = 0
        self.refetched = 0
        self.prices: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._date_field = date_field
        self._lock = threading.Lock()

    @classmethod
    def total(cls, parts: Iterable[FetchMetrics]) -> FetchMetrics:
        """Return the sum of several partitions' metrics."""
        total, parts = cls(), list(parts)
        total.prices |= total_price(part.prices for part in parts)
        for part in parts:
            total.requests += part.requests
            total.failed_requests += part.failed_requests
            total.reports += part.reports
            total.unconfirmed_reports += part.unconfirmed_reports
            total.rows += part.rows
            total.refetched += part.refetched
        return total

    @property
    def price(self) -> str:
        """The prices, as a table shows them."""
        return money(self.prices)

    def count_request(self) -> None:
        """Count a request for records that is about to be sent."""
        with self._lock:
            self.requests += 1

    def count_failed_request(self) -> None:
        """Count a request for records that brought no usable answer."""
        with self._lock:
            self.failed_requests += 1

    def count_report(self) -> None:
        """Count a report that was requested."""
        with self._lock:
            self.reports += 1

    def count_unconfirmed_report(self) -> None:
        """Count a request for a report that failed, but may have made one."""
        with self._lock:
            self.unconfirmed_reports += 1

    def confirm_reports(self, count: int) -> None:
        """Count reports that such requests turn out to have made."""
        with self._lock:
            self.reports += count
            self.unconfirmed_reports = max(0, self.unconfirmed_reports - count)

    def count_price(self, body: Mapping[str, Any]) -> None:
        """Count the price of an answer, where it names one."""
        price = body.get("price")
        if isinstance(price, (int, Decimal)) and price is not True and MIN_PRICE <= price <= MAX_PRICE:
            with self._lock:
                self.prices[safe_for_log(body.get("currency"))] += Decimal(price)

    def count_page(
        self, records: Sequence[Mapping[str, Any]], window: TimeWindow, *, repeated: int = 0, known: int = 0
    ) -> int:
        """Count the rows of a page.

        Args:
            records: Its rows, without those repeated from the pages before.
            window: The window of the page.
            repeated: How many rows were repeated.
            known: How many of the rows had come before the window was restarted; none if negative.

        Returns:
            How many rows came.
        """
        refetched = max(self._count_refetched(records, window), min(known, len(records))) + repeated
        self._add(len(records) + repeated, refetched)
        return len(records) + repeated

    def count_lookup(self, rows: int) -> None:
        """Count rows that were looked up by id."""
        self._add(rows, rows)

    def count_file(self, rows: int, window: TimeWindow) -> None:
        """Count the rows of a report's file. The share that is refetched is estimated by time."""
        whole = to_intervals([window])
        seconds = duration(whole).total_seconds()
        share = duration(whole & self.refetch).total_seconds() / seconds if seconds else 0
        self._add(rows, round(rows * share))

    def count_table(self, rows: int) -> None:
        """Count the rows of a whole table."""
        self._add(rows, 0)

    def _add(self, rows: int, refetched: int) -> None:
        with self._lock:
            self.rows += rows
            self.refetched += refetched

    def _count_refetched(self, records: Sequence[Mapping[str, Any]], window: TimeWindow) -> int:
        """Return how many rows of a window lie in time that was read before."""
        whole = to_intervals([window])
        refetch = whole & self.refetch
        if refetch.empty or refetch == whole:
            return 0 if refetch.empty else len(records)
        parts = bounds(refetch)
        times = (normalize_timestamp(str(row.get(self._date_field))) for row in records)
        return sum(any(start <= time < end for start, end in parts) for time in times if time)


class FetchMetric(str, Enum):
    """Metrics of the SDK's kind, one for each count of `FetchMetrics`. The SDK has a name for the first alone."""

    REQUESTS = sdk_metrics.Metric.HTTP_REQUEST_COUNT.value
    REPORTS = "report_count"
    UNCONFIRMED_REPORTS = "unconfirmed_report_count"
    ROWS = "rows_pulled_count"
    REFETCHED = "rows_pulled_again_count"


def log_metrics(logger: logging.Logger, stream: str, partition: Partition | WholeTable, fetched: FetchMetrics) -> None:
    """Log what a partition has fetched as metrics of the SDK."""
    tags: dict[str, Any] = {sdk_metrics.Tag.STREAM: stream, sdk_metrics.Tag.CONTEXT: partition.context}
    counts = {
        FetchMetric.REQUESTS: fetched.requests,
        FetchMetric.REPORTS: fetched.reports,
        FetchMetric.UNCONFIRMED_REPORTS: fetched.unconfirmed_reports,
        FetchMetric.ROWS: fetched.rows,
        FetchMetric.REFETCHED: fetched.refetched,
    }
    for metric, count in counts.items():
        sdk_metrics.log(logger, sdk_metrics.Point("counter", cast("sdk_metrics.Metric", metric), count, tags))


MAX_REASONS = 3
"""Different reasons that the last error names; the log has them all."""


class SyncStatus(Enum):
    """The outcome of a partition's sync."""

    READ = "read"
    PENDING = "pending"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass
class PartitionResult:
    """The result of one partition, for the summary.

    Attributes:
        partition: The partition, or the whole table of a dimension.
        fetched: What it fetched.
        rows: Rows that were written.
        odd_rows: Rows with characters that are not valid (see `odd_text`).
        rows_without_id: Rows whose key is made of their content.
        rows_by_account: Rows of each account, where a report has those of several.
        foreign_rows: How many of these are of accounts that are not listed.
        windows: Windows that were read to their end, by pages or by report.
        seconds: How long that took.
        left: How much of the time that it reads is neither read nor left out yet.
        status: How it ended.
        reason: What went wrong.
        pending_reports: Reports that were left to a later run because they were not ready, and those behind them.
        requested_reports: How many of these are requested.
        gaps: Windows that were left out, and lookups that failed, each with what went wrong.
        gaps_in_a_row: How many of them the last ones were.
    """

    partition: Partition | WholeTable
    fetched: FetchMetrics = field(init=False)
    rows: int = 0
    odd_rows: int = 0
    rows_without_id: int = 0
    rows_by_account: Counter[str] = field(default_factory=Counter)
    foreign_rows: int = 0
    windows: int = 0
    seconds: float = 0
    left: timedelta = timedelta(0)
    status: SyncStatus = SyncStatus.FAILED
    reason: str = "not finished"
    pending_reports: int = 0
    requested_reports: int = 0
    gaps: list[str] = field(default_factory=list)
    gaps_in_a_row: int = 0

    def __post_init__(self) -> None:
        """Start counting."""
        self.fetched = FetchMetrics(self.partition.date_field)

    def count_window(self, window: TimeWindow) -> None:
        """Count a window that was read to its end."""
        self.windows += 1
        self.pass_over(window)

    def pass_over(self, window: TimeWindow) -> None:
        """Record that a window is not left to read, because it was read or left out."""
        self.left = max(self.left - window.duration, timedelta(0))

    def end(self) -> None:
        """Record that everything was read but the gaps, and the reports that were left to a later run."""
        self.status, self.reason = SyncStatus.PENDING if self.pending_reports else SyncStatus.READ, ""
        if self.gaps:
            self.status, self.reason = SyncStatus.FAILED, f"{left_out(len(self.gaps))}. {self.gaps[0]}"


class RunResults(list[PartitionResult]):
    """The results of a run's partitions, in the order in which they were read.

    Attributes:
        refused_accounts: Accounts in `account_ids` that the API refused for every selected product.
    """

    def __init__(self) -> None:
        super().__init__()
        self.refused_accounts: list[str] = []

    def all_skipped(self) -> bool:
        """Return True if each product was asked for and refused, of all accounts; False if none was.

        Dimensions do not count: the API may serve them to a key that it refuses every product, and the reverse.
        """
        return {result.status for result in self if result.partition.is_of_product} == {SyncStatus.SKIPPED}

    def skipped_accounts(self) -> set[str]:
        """Return the accounts of which each product was asked for and refused."""
        asked = [result for result in self if result.partition.is_of_product]
        others = {result.partition.account_id for result in asked if result.status is not SyncStatus.SKIPPED}
        return {result.partition.account_id for result in asked} - others

    def raise_on_failure(self) -> None:
        """Raise an error if the run failed.

        Raises:
            SyncFailedError: A partition failed, or the API refused every selected stream, or an account that is named
                in the settings.
        """
        problems = []
        failed = [result for result in self if result.status is SyncStatus.FAILED]
        if failed:
            problems.append(f"{len(failed)} of {len(self)} partitions could not be read. {_reasons(failed)}")
        named = {result.partition.account_id: result.partition.account for result in self}
        refused = ", ".join(named[account] for account in self.refused_accounts)
        if self.all_skipped():
            problems.append(
                f"The API refused every selected stream, so nothing was read{refused and f' ({refused})'}. Check that "
                "the account has these products, that the key may read the accounts in account_ids, and api_url."
            )
        elif refused:
            problems.append(
                f"The API refused every selected stream for {refused}. Check the IDs in account_ids, and that the "
                "key may read these accounts."
            )
        if problems:
            raise SyncFailedError(" ".join(problems))


def _reasons(failed: Sequence[PartitionResult]) -> str:
    """Return why partitions failed, the same reason once. A run may have thousands of them."""
    by_reason: dict[str, list[PartitionResult]] = {}
    for result in failed:
        by_reason.setdefault(result.reason, []).append(result)
    told = list(by_reason.items())[:MAX_REASONS]
    texts = [
        f"{first.partition}{f' and {len(others):,} more' if others else ''}: {reason}"
        for reason, (first, *others) in told
    ]
    left = len(failed) - sum(len(results) for _, results in told)
    return "; ".join([*texts, *([f"and {left:,} more, see the log"] if left else [])])


def left_out(gaps: int) -> str:
    """Return the number of gaps in words."""
    if gaps == 1:
        return "1 window left out, the next run tries it first"
    return f"{gaps:,} windows left out, the next run tries them first"


def left_pending(reports: int, requested: int) -> str:
    """Return in words how many reports a later run reads, and how many of them are requested."""
    them = "it" if reports == 1 else "them"
    return f"{counted(reports, 'report')} pending ({requested:,} requested), the next run continues with {them}"


def aligned(rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> list[str]:
    """Return a table as lines with aligned columns.

    Args:
        rows: The cells of each line; the first line is the head.
        right: The columns aligned to the right, by their heads.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(rows[0], row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def total_price(prices: Iterable[Mapping[str, Decimal]]) -> dict[str, Decimal]:
    """Return the sum of prices, by currency."""
    total: defaultdict[str, Decimal] = defaultdict(Decimal)
    for price in prices:
        for currency, amount in price.items():
            total[currency] += amount
    return dict(total)


def money(prices: Mapping[str, Decimal]) -> str:
    """Return amounts by currency, to the last digit; empty where nothing costs anything."""
    return ", ".join(f"{price:f} {currency}".strip() for currency, price in sorted(prices.items()) if price)
