"""`--plan`: what a run would read and request, before it does. Fetches no record that is billed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from tap_vonage_reports.extract.past_usage import PERIOD, PastUsage, past_usage
from tap_vonage_reports.intervals import bounds, duration
from tap_vonage_reports.metrics import aligned, counted, money
from tap_vonage_reports.planning.planner import total_unclaimed
from tap_vonage_reports.timestamps import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.extract.session import SyncSession
    from tap_vonage_reports.intervals import TimeSet
    from tap_vonage_reports.planning.plans import PagePlan, ReportPlan


class PartitionEstimate(msgspec.Struct, kw_only=True):
    """One partition's part of a dry run.

    Attributes:
        stream: The stream.
        account: The account; ``primary`` for the primary one, whose name is the API key.
        direction: The direction, where the product has them.
        bookmark: Until when the state says that it was read, ISO 8601 in UTC; None without a state.
        path: How it is read: ``page``, ``report``, ``both`` or ``-`` (nothing to read).
        ranges: Start (inclusive) and end (exclusive) of what is read, ISO 8601 in UTC.
        days: How long that is in all.
        again: The share of it that was read before and is refetched (lookback), from 0 to 1.
        windows: Windows, by pages and by reports.
        requests: Requests for records: one for each window by pages, as long as it has no more than 1000 rows, and one
            for each 20 ids to look up.
        reports: Reports to request.
        reports_taken_up: Reports that an earlier run requested.
        lookups: Ids to look up.
        resumed: True if it resumes inside a window.
    """

    stream: str
    account: str
    direction: str | None
    bookmark: str | None
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
    """The outcome of `--plan`.

    Attributes:
        until: Until when it would read: `end_date`, or now on Vonage's clock, held back.
        requests_per_second: The limit of requests.
        selected_by: What selects the streams: ``catalog``, or ``default`` without one.
        partitions: What it would read of each partition.
        earlier_pulls: What earlier runs fetched and paid; None where that cannot be read.
    """

    until: str
    requests_per_second: int
    selected_by: str
    partitions: list[PartitionEstimate]
    earlier_pulls: list[PastUsage] | None

    def as_json(self) -> str:
        """Return the plan as indented JSON; amounts of money are numbers with all digits."""
        return msgspec.json.format(_encode(self), indent=2).decode()

    def as_table(self) -> list[str]:
        """Return the plan as lines for the terminal."""
        return [*_what_is_read(self), "", *_what_it_has_cost(self.earlier_pulls)]


def plan_run(session: SyncSession, syncs: Sequence[PartitionSync], *, has_catalog: bool) -> DryRun:
    """Plan a run.

    Args:
        session: The run.
        syncs: Its partitions, in the order in which they would be read.
        has_catalog: True if a catalog selects the streams.

    Raises:
        FatalApiError: The API cannot be used at all.
    """
    planner = session.planner
    report_plans, _ = session.finder.plan(syncs, planner)
    for sync, plan in zip(syncs, report_plans, strict=True):
        sync.report_windows = plan.windows
    sizer = planner.window_sizer()
    sizer.share(total_unclaimed(planner, syncs))
    partitions = []
    for sync, report_plan in zip(syncs, report_plans, strict=True):
        page_plan = planner.pages(sync, sizer.max_length)
        sync.until = page_plan.until
        partitions.append(_estimate(sync, planner.missing(sync), report_plan, page_plan))
    return DryRun(
        until=format_timestamp(session.dates.end()),
        requests_per_second=session.settings.max_requests_per_second,
        selected_by="catalog" if has_catalog else "default",
        partitions=partitions,
        earlier_pulls=past_usage(session),
    )


def _estimate(sync: PartitionSync, missing: TimeSet, report_plan: ReportPlan, page_plan: PagePlan) -> PartitionEstimate:
    lookups, partition = page_plan.id_batches, sync.partition
    paths = [
        name for name, windows in (("page", page_plan.windows or lookups), ("report", report_plan.windows)) if windows
    ]
    return PartitionEstimate(
        stream=partition.product.stream,
        account=partition.account_label,
        direction=partition.direction,
        bookmark=next((end for _, end in reversed(bounds(sync.lookback.kept | sync.lookback.refetch))), None),
        path="both" if len(paths) > 1 else next(iter(paths), "-"),
        ranges=bounds(missing),
        days=round(duration(missing) / timedelta(days=1), 3),
        again=_share(missing & sync.lookback.refetch, missing),
        windows=len(page_plan.windows) + len(report_plan.windows),
        requests=len(page_plan.windows) + len(lookups),
        reports=len(report_plan.windows) - len(report_plan.resumed),
        reports_taken_up=len(report_plan.resumed),
        lookups=sum(map(len, lookups)),
        resumed=page_plan.resume_from is not None,
    )


def _share(part: TimeSet, whole: TimeSet) -> float:
    return round(duration(part) / duration(whole), 3) if duration(whole) else 0.0


_encode = msgspec.json.Encoder(decimal_format="number").encode
_RIGHT = ("days", "requests", "reports", "again", "rows", "price")


def _what_is_read(plan: DryRun) -> Iterable[str]:
    named = any(partition.account != "primary" for partition in plan.partitions)
    rows = [["stream", *(["account"] if named else []), "from", "days", "path", "requests", "reports", "again"]]
    for part in plan.partitions:
        stream = " ".join(filter(None, (part.stream, part.direction)))
        start = _minute(part.ranges[0][0]) if part.ranges else "-"
        share = f"{part.again:.0%}"
        counts = [f"{part.days:.1f}", part.path, f"{part.requests:,}", f"{part.reports:,}", share]
        rows.append([stream, *([part.account] if named else []), start, *counts])
    yield f"A run would read up to {_minute(plan.until)} UTC:"
    yield ""
    yield from aligned(rows, right=_RIGHT)
    yield ""
    yield _selection(plan)
    yield _state(plan)
    yield from _totals(plan)


def _selection(plan: DryRun) -> str:
    streams = list(dict.fromkeys(part.stream for part in plan.partitions))
    count = counted(len(streams), "stream")
    if plan.selected_by == "default":
        return f"Selection: no catalog was given, so {count} selected by default. Pass --catalog to plan a selection."
    return f"Selection: {count}, as the catalog says."


def _state(plan: DryRun) -> str:
    bookmarks = [part.bookmark for part in plan.partitions if part.bookmark]
    if not bookmarks:
        return "State: none, or none of these partitions is in it. Pass --state to plan the next run of a pipeline."
    first, last = _minute(min(bookmarks)), _minute(max(bookmarks))
    read = f"{len(bookmarks):,} of {counted(len(plan.partitions), 'partition')} read before"
    return f"State: {read}, up to {last} UTC" + (f" (the one furthest behind: {first})." if first != last else ".")


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")


def _totals(plan: DryRun) -> Iterator[str]:
    parts = plan.partitions
    requests, reports = sum(part.requests for part in parts), sum(part.reports for part in parts)
    taken_up, lookups = sum(part.reports_taken_up for part in parts), sum(part.lookups for part in parts)
    windows = counted(sum(part.windows for part in parts), "window")
    yield f"{counted(len(parts), 'partition')}, {windows}; {counted(reports, 'report')} to request."
    yield f"{counted(requests, 'request')}, if no window has more than 1,000 rows; one more for each further 1,000."
    if taken_up:
        yield f"{counted(taken_up, 'report')} of an earlier run to resume."
    if lookups:
        yield f"{counted(lookups, 'row')} to look up by ID."
    seconds = requests / plan.requests_per_second
    yield f"At {plan.requests_per_second} requests/s this takes at least {seconds:,.0f} s."


def _what_it_has_cost(pulls: Sequence[PastUsage] | None) -> Iterator[str]:
    if pulls is None:
        yield "Past usage cannot be read: the API does not serve REPORTS-USAGE."
        return
    if not pulls:
        yield f"REPORTS-USAGE lists no usage in the last {PERIOD.days} days."
        return
    yield f"Usage in the last {PERIOD.days} days, by this and other programs (REPORTS-USAGE, free of charge):"
    yield ""
    rows = [(pull.product, f"{pull.requests:,}", f"{pull.rows:,}", money(pull.price) or "0") for pull in pulls]
    yield from aligned([("product", "requests", "rows", "price"), *rows], right=_RIGHT)
