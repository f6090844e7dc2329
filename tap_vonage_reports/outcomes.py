"""What became of each partition of a run, and the table that says so in the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from tap_vonage_reports.metrics import FetchMetrics
from tap_vonage_reports.tables import aligned

if TYPE_CHECKING:
    from tap_vonage_reports.extract.session import Partition


class SyncStatus(Enum):
    """What became of a partition."""

    READ = "read"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass
class PartitionResult:
    """One partition's line in the summary.

    Attributes:
        partition: The partition.
        cost: What it has cost.
        rows: Rows that were delivered.
        windows: Windows that were read to their end, by pages or by report.
        seconds: How long that took.
        result: How it ended.
        why: What went wrong.
    """

    partition: Partition
    cost: FetchMetrics = field(init=False)
    rows: int = 0
    windows: int = 0
    seconds: float = 0
    result: SyncStatus = SyncStatus.FAILED
    why: str = "not finished"

    def __post_init__(self) -> None:
        """Begin to count."""
        self.cost = FetchMetrics(self.partition.product.date_field)


def summary(outcomes: list[PartitionResult]) -> list[str]:
    """The table at the end of a run, a line each."""
    counts = ("rows", "pulled", "again", "requests", "reports", "windows", "seconds")
    costs = [outcome.cost for outcome in outcomes]
    priced = any(cost.prices for cost in costs)
    head = ("stream", "direction", "account", *counts, *(["price"] if priced else []), "result")
    lines = aligned([head, *(_cells(outcome, priced=priced) for outcome in outcomes)], right={*counts, "price"})
    total = FetchMetrics.total(costs)
    bill = (
        f"{total.rows:,} pulled, {total.again:,} of them again; {total.requests:,} requests, {total.reports:,} reports"
    )
    prices = f"; price: {total.price}" if priced else ""
    return [*lines, f"{sum(outcome.rows for outcome in outcomes):,} rows in all ({bill}{prices})"]


def _cells(outcome: PartitionResult, *, priced: bool) -> tuple[str, ...]:
    partition, cost = outcome.partition, outcome.cost
    counts = (outcome.rows, cost.rows, cost.again, cost.requests, cost.reports, outcome.windows)
    return (
        partition.product.stream,
        partition.direction or "-",
        partition.account,
        *(f"{count:,}" for count in counts),
        f"{outcome.seconds:.1f}",
        *([cost.price or "-"] if priced else []),
        outcome.result.value,
    )
