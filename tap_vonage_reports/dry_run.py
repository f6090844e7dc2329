"""What a run would read and ask for, before it does: `--plan`. No record is read for it that is billed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from tap_vonage_reports.extract.past_usage import EARLIER, PastUsage, past_usage
from tap_vonage_reports.extract.reports.scheduler import can_be_taken_up
from tap_vonage_reports.intervals import bounds, length
from tap_vonage_reports.tables import aligned, money
from tap_vonage_reports.timestamps import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    import portion

    from tap_vonage_reports.extract.reading import PartitionSync
    from tap_vonage_reports.extract.session import SyncSession
    from tap_vonage_reports.planning.planner import PagePlanner


class PartitionEstimate(msgspec.Struct, kw_only=True):
    """What a run would read of one partition.

    Attributes:
        stream: The stream.
        account: The account; ``primary`` for the primary one, whose name is the API key.
        direction: The direction, where the product has them.
        path: How it is read: ``page``, ``report``, ``both`` or ``-`` (nothing to read).
        ranges: Start (inclusive) and end (exclusive) of what is read, ISO 8601 in UTC.
        days: How long that is in all.
        again: The share of it that was read before and is read again (look-back), from 0 to 1.
        windows: Windows, by pages and by reports.
        requests: Queries for records: one for each window by pages, as long as it has no more than 1000 rows, and one
            for 20 rows that are looked up.
        reports: Reports to ask for.
        reports_taken_up: Reports that an earlier run has asked for.
        lookups: Rows that are looked up by their ids.
        resumed: Whether it goes on inside a window.
    """

    stream: str
    account: str
    direction: str | None
    path: str
    ranges: list[list[str]]
    days: float
    again: float
    windows: int
    requests: int
    reports: int
    reports_taken_up: int
    lookups: int
    resumed: bool


class DryRun(msgspec.Struct, kw_only=True):
    """What a run would read now.

    Attributes:
        until: Until when it would read: `end_date`, or now on Vonage's clock, held back.
        requests_per_second: The limit of requests.
        partitions: What it would read of each partition.
        past_usage: What earlier runs have cost; None where that cannot be read.
    """

    until: str
    requests_per_second: int
    partitions: list[PartitionEstimate]
    past_usage: list[PastUsage] | None

    def as_json(self) -> str:
        """The plan as JSON, indented; amounts of money are numbers with all digits."""
        return msgspec.json.format(_encode(self), indent=2).decode()

    def as_table(self) -> list[str]:
        """The plan as lines for the terminal."""
        return [*_what_is_read(self), "", *_what_it_has_cost(self.past_usage)]


def plan_run(run: SyncSession, readings: Sequence[PartitionSync]) -> DryRun:
    """Plan a run.

    Args:
        run: What its partitions share.
        readings: The partitions, in the order in which they are read.

    Raises:
        FatalApiError: The API cannot be used at all.
    """
    reports = [_plan_reports(reading, run.client.clock.now()) for reading in readings]
    planner = run.planner()
    planner.expect(readings)
    partitions = [
        _plan_partition(reading, planner, taken_up, last=reading is readings[-1])
        for reading, taken_up in zip(readings, reports, strict=True)
    ]
    return DryRun(
        until=format_timestamp(run.end()),
        requests_per_second=run.settings.max_requests_per_second,
        partitions=partitions,
        past_usage=past_usage(run),
    )


def _plan_reports(reading: PartitionSync, now: datetime) -> int:
    """Plan the reports of a partition; how many of them were asked for by an earlier run."""
    _, kept = reading.plan_reports()
    return sum(can_be_taken_up(report, now) for report in kept)


def _plan_partition(reading: PartitionSync, planner: PagePlanner, taken_up: int, *, last: bool) -> PartitionEstimate:
    plan = planner.plan(reading, last=last)
    need, known = reading.need(), reading.outcome.cost.known
    paths = [
        name for name, windows in (("page", plan.windows or plan.lookups), ("report", reading.by_report)) if windows
    ]
    return PartitionEstimate(
        stream=reading.partition.product.stream,
        account=reading.partition.account,
        direction=reading.partition.direction,
        path="both" if len(paths) > 1 else next(iter(paths), "-"),
        ranges=bounds(need),
        days=round(length(need) / timedelta(days=1), 3),
        again=_share(need & known, need),
        windows=len(plan.windows) + len(reading.by_report),
        requests=len(plan.windows) + len(plan.lookups),
        reports=len(reading.by_report) - taken_up,
        reports_taken_up=taken_up,
        lookups=sum(map(len, plan.lookups)),
        resumed=plan.resume is not None,
    )


def _share(part: portion.Interval, whole: portion.Interval) -> float:
    return round(length(part) / length(whole), 3) if length(whole) else 0.0


_encode = msgspec.json.Encoder(decimal_format="number").encode
_RIGHT = ("days", "requests", "reports", "again", "rows", "price")


def _what_is_read(plan: DryRun) -> Iterable[str]:
    named = any(partition.account != "primary" for partition in plan.partitions)
    rows = [["stream", *(["account"] if named else []), "from", "days", "path", "requests", "reports", "again"]]
    for part in plan.partitions:
        stream = " ".join(filter(None, (part.stream, part.direction)))
        start = part.ranges[0][0][:16].replace("T", " ") if part.ranges else "-"
        share = f"{part.again:.0%}"
        counts = [f"{part.days:.1f}", part.path, f"{part.requests:,}", f"{part.reports:,}", share]
        rows.append([stream, *([part.account] if named else []), start, *counts])
    yield f"A run would read up to {plan.until[:16].replace('T', ' ')} UTC:"
    yield ""
    yield from aligned(rows, right=_RIGHT)
    yield ""
    yield from _totals(plan)


def _totals(plan: DryRun) -> Iterator[str]:
    parts = plan.partitions
    requests, reports = sum(part.requests for part in parts), sum(part.reports for part in parts)
    taken_up, lookups = sum(part.reports_taken_up for part in parts), sum(part.lookups for part in parts)
    yield f"{len(parts)} partitions, {sum(part.windows for part in parts):,} windows; {reports:,} reports to ask for."
    yield f"{requests:,} requests, if no window by pages has more than 1,000 rows, and one more for each further 1,000."
    if taken_up:
        yield f"{taken_up:,} reports were asked for by an earlier run and are taken up."
    if lookups:
        yield f"{lookups:,} rows are looked up by their ids."
    seconds = requests / plan.requests_per_second
    yield f"At {plan.requests_per_second} requests a second these take {seconds:,.0f} s at least."


def _what_it_has_cost(pulls: Sequence[PastUsage] | None) -> Iterator[str]:
    if pulls is None:
        yield "What earlier runs have cost cannot be read: the API does not serve REPORTS-USAGE."
        return
    if not pulls:
        yield f"REPORTS-USAGE lists no pulls of the last {EARLIER.days} days."
        return
    yield f"Pulled in the last {EARLIER.days} days, by this and other programs (REPORTS-USAGE, free of charge):"
    yield ""
    rows = [(pull.product, f"{pull.requests:,}", f"{pull.rows:,}", money(pull.price) or "0") for pull in pulls]
    yield from aligned([("product", "requests", "rows", "price"), *rows], right=_RIGHT)
