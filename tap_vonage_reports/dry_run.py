"""`--plan`: the windows and reports that a run would request, with estimates of its rows, price and time.

Fetches no billed record. `plan_table` formats the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from tap_vonage_reports.extract.past_usage import PastUsage, past_usage
from tap_vonage_reports.intervals import bounds, duration
from tap_vonage_reports.metrics import total_price
from tap_vonage_reports.planning.estimates import Limits, estimate_fetch, estimate_seconds
from tap_vonage_reports.planning.planner import total_unclaimed
from tap_vonage_reports.products import FREE_PRODUCT
from tap_vonage_reports.timestamps import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.extract.session import SyncSession
    from tap_vonage_reports.intervals import TimeSet
    from tap_vonage_reports.planning.estimates import FetchEstimate
    from tap_vonage_reports.planning.plans import PagePlan, ReportPlan
    from tap_vonage_reports.products import Product


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
        requests: The fewest requests for records: one for each window by pages, as long as it has no more than 1000
            rows, and one for each 20 ids to look up.
        reports: Reports to request.
        reports_taken_up: Reports that an earlier run requested.
        lookups: Ids to look up.
        resumed: True if it resumes inside a window.
        rows_per_day: How many rows a day had, by the windows that were read last; None where the state does not say.
        estimated_rows: Rows that it fetches at this rate; None where that is unknown.
        estimated_requests: Requests for so many rows; None where that is unknown.
        estimated_price: What the API bills for these rows, by currency, at the average price of past usage; empty
            where it bills nothing, None where that is unknown.
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
    rows_per_day: float | None = None
    estimated_rows: int | None = None
    estimated_requests: int | None = None
    estimated_price: dict[str, Decimal] | None = None


class RunEstimate(msgspec.Struct, kw_only=True):
    """What is known of the whole run. Estimated rows, requests and price are those of the partitions that have any.

    Attributes:
        partitions: How many partitions have estimated rows.
        rows: Their rows.
        requests: Their requests, and the fewest requests of the others.
        priced: How many partitions have an estimated price.
        price: The price of these, by currency.
        min_seconds: How long the API takes at least.
        max_seconds: How long it takes at its limits if nothing fails; None where the rows of a partition are unknown.
    """

    partitions: int
    rows: int
    requests: int
    priced: int
    price: dict[str, Decimal]
    min_seconds: float
    max_seconds: float | None


class DryRun(msgspec.Struct, kw_only=True):
    """The outcome of `--plan`.

    Attributes:
        until: Until when it would read: `end_date`, or now on Vonage's clock, held back.
        requests_per_second: The limit of requests for pages and lookups.
        report_requests_per_second: The limit of requests for reports.
        concurrent_reports: How many reports are generated at the same time.
        selected_by: What selects the streams: ``catalog``, or ``default`` without one.
        has_state: True if a state was given.
        is_state_empty: True if an empty one was given.
        partitions: What it would read of each partition.
        whole_tables: The streams without partitions, which it would read whole, in one request each.
        estimate: About how much all of that is.
        earlier_pulls: What earlier runs fetched and paid; None where that cannot be read.
    """

    until: str
    requests_per_second: float
    report_requests_per_second: float
    concurrent_reports: int
    selected_by: str
    has_state: bool
    is_state_empty: bool
    partitions: list[PartitionEstimate]
    whole_tables: list[str]
    estimate: RunEstimate
    earlier_pulls: list[PastUsage] | None

    def as_json(self) -> str:
        """Return the plan as indented JSON; amounts of money are numbers with all digits."""
        return msgspec.json.format(_encode(self), indent=2).decode()


@dataclass(frozen=True)
class PlanInputs:
    """What a dry run goes by.

    Attributes:
        has_catalog: True if a catalog selects the streams.
        has_state: True if a state says what was read.
        is_state_empty: True if the given state is empty.
    """

    has_catalog: bool
    has_state: bool
    is_state_empty: bool


def plan_run(
    session: SyncSession,
    syncs: Sequence[PartitionSync],
    whole_tables: Sequence[str],
    inputs: PlanInputs,
) -> DryRun:
    """Plan a run.

    Args:
        session: The run.
        syncs: Its partitions, in the order in which they would be read.
        whole_tables: Its streams without partitions.
        inputs: What it goes by.

    Raises:
        FatalApiError: The API cannot be used at all.
    """
    planner = session.planner
    report_plans, _ = session.finder.plan(syncs, planner, is_dry=True)
    for sync, plan in zip(syncs, report_plans, strict=True):
        sync.report_windows = plan.windows
    sizer = planner.window_sizer()
    sizer.share(total_unclaimed(planner, syncs))
    usages = past_usage(session)
    by_product = {usage.product: usage for usage in usages or ()}
    partitions, estimates = [], []
    for sync, report_plan in zip(syncs, report_plans, strict=True):
        page_plan = planner.pages(sync, sizer.max_length)
        sync.until = page_plan.until
        part = _planned(sync, planner.missing(sync), report_plan, page_plan)
        volume, product = sync.bookmark.volume.volume, sync.partition.product
        rows_per_day = volume.rows_per_day if volume else None
        if rows_per_day is not None:
            part.rows_per_day = round(rows_per_day, 1)
        if estimate := estimate_fetch(rows_per_day, page_plan, report_plan):
            part.estimated_rows, part.estimated_requests = estimate.rows, estimate.requests
            part.estimated_price = _price(estimate.billed_rows, product, by_product.get(product.name))
            estimates.append(estimate)
        partitions.append(part)
    settings = session.settings
    return DryRun(
        until=format_timestamp(session.dates.end()),
        requests_per_second=settings.max_requests_per_second,
        report_requests_per_second=settings.max_report_requests_per_second,
        concurrent_reports=settings.max_concurrent_reports,
        selected_by="catalog" if inputs.has_catalog else "default",
        has_state=inputs.has_state,
        is_state_empty=inputs.is_state_empty,
        partitions=partitions,
        whole_tables=list(whole_tables),
        estimate=_total(partitions, estimates, _limits(session)),
        earlier_pulls=usages,
    )


def _limits(session: SyncSession) -> Limits:
    settings = session.settings
    return Limits(
        settings.max_requests_per_second,
        settings.max_report_requests_per_second,
        concurrent_reports=settings.max_concurrent_reports,
    )


def _price(rows: int, product: Product, usage: PastUsage | None) -> dict[str, Decimal] | None:
    if not rows or product is FREE_PRODUCT:
        return {}
    return usage.price_of(rows) if usage and usage.rows else None


def _total(partitions: Sequence[PartitionEstimate], known: Sequence[FetchEstimate], limits: Limits) -> RunEstimate:
    prices = [part.estimated_price for part in partitions if part.estimated_price is not None]
    requests = sum(part.requests if part.estimated_requests is None else part.estimated_requests for part in partitions)
    seconds = estimate_seconds(
        requests,
        sum(part.reports + part.reports_taken_up for part in partitions),
        [rows for estimate in known for rows in estimate.report_rows],
        limits,
    )
    shortest, longest = (round(time, 1) for time in seconds)
    return RunEstimate(
        partitions=len(known),
        rows=sum(estimate.rows for estimate in known),
        requests=requests,
        priced=len(prices),
        price=total_price(prices),
        min_seconds=shortest,
        max_seconds=longest if len(known) == len(partitions) else None,
    )


def _planned(sync: PartitionSync, missing: TimeSet, report_plan: ReportPlan, page_plan: PagePlan) -> PartitionEstimate:
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
