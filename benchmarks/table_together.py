"""Table 8: sub-accounts one by one, and together in one report."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.bench import NOW
from benchmarks.measure import Subject
from benchmarks.report import Column, number, seconds_columns, section, whole
from benchmarks.table_accounts import megabytes, messages
from benchmarks.table_startup import UNLIMITED, state_of_a_run
from tap_vonage_reports.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.report import Section

SIZES, QUICK_SIZES = (10, 100, 1_000), (2, 4)
ROWS_A_DAY, QUICK_ROWS_A_DAY = 2_000, 8
DAYS = 7
DAY = timedelta(days=1)
HISTORY_DAYS, QUICK_HISTORY_DAYS = 395, 40
"""The API keeps 13 months."""
ABOUT = """\
Runs of one process for `sms`, with {rows:,} rows a day and direction over all accounts, whatever their number. *First
run*: {days} days. *Daily run*: a day later, with the default lookback of 72 hours and the state of the first run. *13
months*: {history} days ({all_rows:,} rows, counted), by reports, with `report_window_days` 396; most of the time, the
tap waits for the sandbox to generate them. There are no rate limits: at Vonage's, 10 requests for records take a
second, and a report takes 3 requests of 5 a second, and minutes to be generated. *STATE MB* is the length of all STATE
messages together."""


def table(bench: Bench) -> Section:
    """Measure table 8."""
    rows = bench.size(ROWS_A_DAY, QUICK_ROWS_A_DAY)
    with ExitStack() as stack:
        served = {
            accounts: stack.enter_context(serve(accounts, rows)) for accounts in (QUICK_SIZES if bench.quick else SIZES)
        }
        outcomes = bench.measure(
            subject
            for accounts, sandbox in served.items()
            for subject in (*subjects(bench, accounts, sandbox), *histories(bench, accounts, sandbox))
        )
    main = Column("Requests for records", lambda outcome: outcome.fact("requests"), whole)
    return section(
        8,
        "Sub-accounts",
        about=ABOUT.format(rows=ROWS_A_DAY, days=DAYS, history=HISTORY_DAYS, all_rows=2 * HISTORY_DAYS * ROWS_A_DAY),
        outcomes=outcomes.values(),
        columns=[
            main,
            Column("Reports", lambda outcome: outcome.fact("reports"), whole),
            *seconds_columns(),
            Column("STATE MB", megabytes("state"), number),
            Column("Last STATE KB", lambda outcome: outcome.figure(lambda sample: sample.facts["last"] / 1e3), whole),
        ],
        main=main,
    )


def serve(accounts: int, rows: int) -> Sandbox:
    """Return a sandbox with so many accounts, and so many rows a day and direction over all of them."""
    return Sandbox(
        subaccount_keys=[f"sub{index:05}" for index in range(1, accounts)],
        rows={"*": 0, "sms": rows // accounts},
        clock=NOW,
        faults=["no-rate-limit", "no-changes"],
    )


def subjects(bench: Bench, accounts: int, sandbox: Sandbox) -> Iterator[Subject]:
    """A first run and a daily run, each in both ways."""
    for mode in ("each", "together"):
        command = bench.tap(settings_for(sandbox, mode, DAYS))
        sandbox.clock.set(NOW)
        before = bench.write(state_of_a_run(bench, command))
        for kind, now, arguments in (("first run", NOW, ()), ("daily run", NOW + DAY, ("--state", str(before)))):
            yield Subject(
                f"{kind}, {accounts:,} accounts, {mode}",
                [(*command, *arguments)],
                check=partial(check, sandbox, messages(accounts, None)),
                prepare=partial(prepare, sandbox, now),
            )


def histories(bench: Bench, accounts: int, sandbox: Sandbox) -> Iterator[Subject]:
    """All that the API keeps, with the largest number of accounts, in both ways."""
    if accounts != max(QUICK_SIZES if bench.quick else SIZES):
        return
    days = bench.size(HISTORY_DAYS, QUICK_HISTORY_DAYS)
    rows = 2 * days * accounts * (bench.size(ROWS_A_DAY, QUICK_ROWS_A_DAY) // accounts)
    for mode in ("each", "together"):
        settings = settings_for(sandbox, mode, days + 1)
        # Rows of the last hours may be delayed, so both ways end a day before.
        end = (NOW - DAY).isoformat()
        settings |= {"report_window_days": 396, "fetch_mode": "async", "end_date": end, "adopt_reports": True}
        yield Subject(
            f"13 months, {accounts:,} accounts, {mode}",
            [bench.tap(settings)],
            check=partial(check, sandbox, messages(accounts, rows)),
            prepare=partial(prepare, sandbox, NOW),
        )


def settings_for(sandbox: Sandbox, mode: str, days: int) -> dict[str, Any]:
    """The tap's settings for so many days."""
    return {
        "api_url": sandbox.url,
        "subaccounts": mode,
        "adopt_reports": False,
        "start_date": (NOW - days * DAY).isoformat(),
        "max_requests_per_second": UNLIMITED,
        "max_report_requests_per_second": UNLIMITED,
    }


def prepare(sandbox: Sandbox, now: datetime) -> None:
    """Set the clock, and forget all requests."""
    sandbox.clock.set(now)
    sandbox.requests.reset()


def check(sandbox: Sandbox, count: Callable[[Path], dict[str, float]], out: Path) -> dict[str, float]:
    """Count the messages and requests of a run."""
    entries = sandbox.requests.log
    return {
        **count(out),
        "requests": sum(entry.endpoint == "records" for entry in entries),
        "reports": sum(entry.endpoint == "report-create" for entry in entries),
    }
