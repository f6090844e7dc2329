"""The summary at the end of a run: a line per stream, a line per failed partition, and the totals."""

from __future__ import annotations

import logging
import textwrap
from typing import TYPE_CHECKING

from tap_vonage_reports.metrics import FetchMetrics, SyncStatus, aligned, left_out, left_pending, money
from tap_vonage_reports.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tap_vonage_reports.metrics import PartitionResult

logger = logging.getLogger(__name__)

WIDTH = 100
"""Maximum columns of a line, not counting the prefix that the log adds."""
RIGHT = frozenset({"rows", "fetched", "refetched", "requests", "reports", "windows", "seconds", "price"})
DROPPED = ("seconds", "windows", "price", "requests", "reports")
"""Columns that a table leaves out, in this order, until it fits. The totals are always in the last lines."""
NO_PRICE = "-"
WORST_FIRST = (SyncStatus.FAILED, SyncStatus.PENDING, SyncStatus.READ, SyncStatus.SKIPPED)
"""The order that decides the status of a stream whose partitions differ. Each skipped partition has its own warning."""


def log_summary(results: Sequence[PartitionResult]) -> None:
    """Log the summary of a run; at the level DEBUG with all partitions."""
    for line in summary(results, with_partitions=logger.isEnabledFor(logging.DEBUG)):
        logger.info("%s", line)


def summary(results: Sequence[PartitionResult], *, with_partitions: bool = False) -> list[str]:
    """Return the summary of a run as lines of at most `WIDTH` columns.

    Args:
        results: The results of all partitions, those of a stream together.
        with_partitions: True to list all partitions, not only those that failed.

    Returns:
        The lines; none if no partition was read.
    """
    if not results:
        return []
    by_stream: dict[str, list[PartitionResult]] = {}
    for result in results:
        by_stream.setdefault(result.partition.stream, []).append(result)
    listed = [result for result in results if with_partitions or result.status is SyncStatus.FAILED]
    return [
        *_table([_stream_row(stream, parts) for stream, parts in by_stream.items()]),
        *_table([_partition_row(result) for result in listed]),
        *(line for text in _totals(results) for line in textwrap.wrap(text, WIDTH, subsequent_indent="  ")),
    ]


def _stream_row(stream: str, parts: Sequence[PartitionResult]) -> dict[str, str]:
    statuses = {part.status for part in parts}
    status = next(status for status in WORST_FIRST if status in statuses)
    return {"stream": stream, **_counts(parts), "result": status.value}


def _partition_row(result: PartitionResult) -> dict[str, str]:
    partition = result.partition
    counts = _counts([result])
    seconds = counts.pop("seconds")
    return {
        "stream": partition.stream,
        "direction": partition.direction or "-",
        "account": partition.account_label,
        **counts,
        "windows": f"{result.windows:,}",
        "seconds": seconds,
        "result": result.status.value,
    }


def _counts(parts: Sequence[PartitionResult]) -> dict[str, str]:
    fetched = FetchMetrics.total(part.fetched for part in parts)
    return {
        "rows": f"{sum(part.rows for part in parts):,}",
        "fetched": f"{fetched.rows:,}",
        "refetched": f"{fetched.refetched:,}",
        "requests": f"{fetched.requests:,}",
        "reports": f"{fetched.reports:,}",
        "seconds": f"{sum(part.seconds for part in parts):,.1f}",
        "price": money(fetched.prices) or NO_PRICE,
    }


def _table(rows: Sequence[dict[str, str]]) -> list[str]:
    """Return rows as a table of at most `WIDTH` columns, if possible."""
    if not rows:
        return []
    has_prices = any(row["price"] != NO_PRICE for row in rows)
    names = [name for name in rows[0] if name != "price" or has_prices]
    lines: list[str] = []
    for dropped in ("", *DROPPED):
        names = [name for name in names if name != dropped]
        lines = aligned([names, *([row[name] for name in names] for row in rows)], right=RIGHT)
        if all(len(line) <= WIDTH for line in lines):
            break
    return lines


def _totals(results: Sequence[PartitionResult]) -> list[str]:
    """Return sentences with the totals of the run, its cost, and its malformed rows."""
    total = FetchMetrics.total(result.fetched for result in results)
    requested = f"{counted(total.requests, 'request')}, {counted(total.reports, 'report')}"
    odd = {
        "with invalid characters": sum(result.odd_rows for result in results),
        "without an id": sum(result.rows_without_id for result in results),
        "of accounts that the Subaccounts API does not list": sum(result.foreign_rows for result in results),
    }
    oddities = ", ".join(f"{counted(count, 'row')} {what}" for what, count in odd.items() if count)
    gaps = sum(len(result.gaps) for result in results)
    pending = sum(result.pending_reports for result in results)
    unconfirmed = total.unconfirmed_reports
    charged = "report may have been charged: it" if unconfirmed == 1 else "reports may have been charged: each"
    rows = counted(sum(result.rows for result in results), "row")
    texts = (
        (gaps, left_out(gaps)),
        (pending, left_pending(pending, sum(result.requested_reports for result in results))),
        (True, f"{rows} in total ({total.rows:,} fetched, {total.refetched:,} refetched; {requested})"),
        (total.price, f"price: {total.price}"),
        (oddities, oddities),
        (unconfirmed, f"{unconfirmed:,} more {charged} was requested, but no usable answer came"),
    )
    return [text for is_said, text in texts if is_said]
