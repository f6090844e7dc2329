"""The table of `--plan`: a line per partition, totals for the whole run, and the cost of past usage."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from tap_vonage_reports.extract.past_usage import PERIOD
from tap_vonage_reports.metrics import aligned, money, total_price
from tap_vonage_reports.planning.estimates import MINUTES_PER_MILLION_ROWS
from tap_vonage_reports.planning.partition import PRIMARY
from tap_vonage_reports.plurals import counted
from tap_vonage_reports.products import FREE_PRODUCT, ROWS_PER_PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from decimal import Decimal

    from tap_vonage_reports.dry_run import DryRun, PartitionEstimate
    from tap_vonage_reports.extract.past_usage import PastUsage

UNKNOWN = "unknown"
ABOUT = "~"
SIGNIFICANT_DIGITS = 3
"""Digits of an estimate. More would suggest a precision that it does not have."""
MONEY_DECIMALS = 2
_RIGHT = ("days", "refetched", "requests", "reports", "rows", "price")
_UNITS = ((5400, 3600, "h"), (90, 60, "min"))
"""Units of time: the seconds from which each is used, its length in seconds, and its name."""


def plan_table(plan: DryRun) -> list[str]:
    """Return a plan as lines for the terminal."""
    return [
        f"A run would read up to {_minute(plan.until)} UTC:",
        "",
        *_partitions(plan),
        *_whole_tables(plan),
        "",
        _selection(plan),
        _state(plan),
        *_totals(plan),
        "",
        *_past_usage(plan.earlier_pulls),
    ]


def _partitions(plan: DryRun) -> list[str]:
    """Return a line per partition. Leave out columns that are unknown in every line."""
    parts, estimate = plan.partitions, plan.estimate
    if not parts:
        return []
    shown = {
        "account": any(part.account != PRIMARY for part in parts),
        "rows": any(part.rows_per_day is not None for part in parts),
        "price": bool(estimate.price),
    }
    head = ("stream", "account", "from", "days", "refetched", "requests", "reports", "rows", "price")
    rows = [head, *(_cells(part) for part in parts)]
    columns = [shown.get(name, True) for name in head]
    return aligned([[cell for cell, is_shown in zip(row, columns, strict=True) if is_shown] for row in rows], _RIGHT)


def _whole_tables(plan: DryRun) -> Iterator[str]:
    yield from (f"{stream}: the whole table, in 1 request" for stream in plan.whole_tables)


def _cells(part: PartitionEstimate) -> tuple[str, ...]:
    is_estimated = part.estimated_requests not in {None, part.requests}
    return (
        " ".join(filter(None, (part.stream, part.direction))),
        part.account,
        _minute(part.ranges[0][0]) if part.ranges else "-",
        f"{part.days:.1f}",
        f"{part.again:.0%}",
        _about(part.estimated_requests) if is_estimated else f"{part.requests:,}",
        f"{part.reports:,}",
        _about(part.estimated_rows),
        UNKNOWN if part.estimated_price is None else _money(part.estimated_price, ABOUT),
    )


def _selection(plan: DryRun) -> str:
    streams = counted(len({part.stream for part in plan.partitions} | {*plan.whole_tables}), "stream")
    if plan.selected_by == "default":
        return f"Selection: the default ({streams}). Pass --catalog to plan your own selection."
    return f"Selection: {streams}, from the catalog."


def _state(plan: DryRun) -> str:
    bookmarks = [part.bookmark for part in plan.partitions if part.bookmark]
    if not bookmarks:
        if plan.is_state_empty:
            return "State: the given one is empty, so this is the plan of a first run. Check the state ID or the file."
        if plan.has_state:
            return "State: it covers none of these partitions, so the run reads them from the start."
        return "State: none was given, so this is the plan of a first run. Pass --state to plan the next one."
    first, last = _minute(min(bookmarks)), _minute(max(bookmarks))
    read = f"{len(bookmarks):,} of {counted(len(plan.partitions), 'partition')} read before"
    return f"State: {read}, up to {last} UTC" + (f" (the earliest: {first})." if first != last else ".")


def _totals(plan: DryRun) -> Iterator[str]:
    parts = plan.partitions
    reports, taken_up = sum(part.reports for part in parts), sum(part.reports_taken_up for part in parts)
    windows = counted(sum(part.windows for part in parts), "window")
    yield f"{counted(len(parts), 'partition')}, {windows}; {counted(reports, 'report')} to request."
    if taken_up:
        yield f"{counted(taken_up, 'report')} from an earlier run to resume."
    if lookups := sum(part.lookups for part in parts):
        yield f"{counted(lookups, 'row')} to look up by ID."
    elif not any(part.windows for part in parts):
        yield "There is nothing else to fetch." if plan.whole_tables else "There is nothing to fetch."
        return
    yield _rows(plan)
    yield _requests(plan)
    yield _price(plan)
    yield from _time(plan, has_reports=bool(reports + taken_up))


def _rows(plan: DryRun) -> str:
    known, total = plan.estimate.partitions, len(plan.partitions)
    if not known:
        return "Rows: unknown. Once a run has counted rows, its state lets --plan estimate the next one."
    basis = "at the rows per day in the state"
    if known == total:
        return f"Rows: about {_rounded(plan.estimate.rows)}, {basis}."
    rows = f"about {_rounded(plan.estimate.rows)} in {known:,} of {total:,} partitions"
    return f"Rows: {rows}, {basis}; the rest is unknown."


def _requests(plan: DryRun) -> str:
    requests, page = plan.estimate.requests, f"{ROWS_PER_PAGE:,} rows"
    if plan.estimate.partitions == len(plan.partitions):
        return f"Requests: about {_rounded(requests)}, one per {page} of a window."
    return f"Requests: at least {requests:,}, plus one for every further {page} of a window."


def _price(plan: DryRun) -> str:
    priced, total = plan.estimate.priced, len(plan.partitions)
    basis = f"at the last {PERIOD.days} days' price per row"
    if priced == total:
        return f"Price: about {_money(plan.estimate.price)}, {basis}." if plan.estimate.price else "Price: 0."
    if not plan.estimate.price:
        return f"Price: unknown{_price_of_thousand(plan.earlier_pulls or ())}."
    price = f"about {_money(plan.estimate.price)} for {priced:,} of {total:,} partitions"
    return f"Price: {price}, {basis}; the rest is unknown."


def _price_of_thousand(usages: Sequence[PastUsage]) -> str:
    """Return the average price of 1,000 rows, for a plan whose number of rows is unknown."""
    billed = [usage for usage in usages if any(usage.price.values()) and usage.rows]
    if not billed:
        return ""
    rows = sum(usage.rows for usage in billed)
    shares = ({currency: price * 1000 / rows for currency, price in usage.price.items()} for usage in billed)
    return f"; 1,000 rows cost {_money(total_price(shares))} on average in the last {PERIOD.days} days"


def _time(plan: DryRun, *, has_reports: bool) -> Iterator[str]:
    estimate, rate = plan.estimate, f"at {plan.requests_per_second:g} requests/s"
    shortest = _duration(estimate.min_seconds)
    if estimate.max_seconds is None:
        generation = ", plus the time to generate reports of unknown size" if has_reports else ""
        yield f"Time: at least {shortest} {rate}{generation}."
    else:
        longest = _duration(estimate.max_seconds)
        text = f"about {shortest}" if shortest == longest else f"about {shortest} to {longest}"
        yield f"Time: {text} {rate}, not including the target."
    if has_reports:
        fast, slow = MINUTES_PER_MILLION_ROWS
        concurrent = plan.concurrent_reports
        yield f"Vonage generates up to {concurrent:,} reports at a time, in {fast} to {slow} min per million rows."


def _past_usage(usages: Sequence[PastUsage] | None) -> Iterator[str]:
    if usages is None:
        yield f"Past usage cannot be read: the API does not serve {FREE_PRODUCT.name}."
        return
    if not usages:
        yield f"{FREE_PRODUCT.name} lists no usage in the last {PERIOD.days} days."
        return
    yield f"Usage in the last {PERIOD.days} days, by this and other programs ({FREE_PRODUCT.name}, free of charge):"
    yield ""
    rows = [(usage.product, f"{usage.requests:,}", f"{usage.rows:,}", money(usage.price) or "0") for usage in usages]
    yield from aligned([("product", "requests", "rows", "price"), *rows], right=_RIGHT)


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")


def _about(number: int | None) -> str:
    """Return an estimated number for a cell."""
    if number is None:
        return UNKNOWN
    return f"{ABOUT}{_rounded(number)}" if number else "0"


def _rounded(number: int) -> str:
    return f"{round(number, min(0, SIGNIFICANT_DIGITS - len(str(number)))):,}"


def _money(price: Mapping[str, Decimal], mark: str = "") -> str:
    """Return an estimated price; 0 if nothing is billed."""
    amounts = [f"{mark}{_amount(amount)} {currency}".rstrip() for currency, amount in sorted(price.items())]
    return ", ".join(amounts) or "0"


def _amount(amount: Decimal) -> str:
    """Return an amount of money: large ones without decimals, small ones with more of them."""
    magnitude = amount.adjusted()
    if magnitude >= SIGNIFICANT_DIGITS - 1:
        return _rounded(int(amount))
    return f"{round(amount, max(MONEY_DECIMALS, -magnitude)):,f}"


def _duration(seconds: float) -> str:
    for limit, length, unit in _UNITS:
        if seconds >= limit:
            return f"{seconds / length:.1f} {unit}"
    return f"{max(1, ceil(seconds))} s"
