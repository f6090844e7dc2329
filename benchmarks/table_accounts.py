"""Table 7: how time and STATE grow with the number of accounts."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from benchmarks.bench import NOW
from benchmarks.canned import Canned
from benchmarks.measure import BenchError, Subject, exponent
from benchmarks.report import Column, number, seconds_columns, section, whole
from benchmarks.table_startup import UNLIMITED, state_of_a_run
from tap_vonage_reports.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.measure import Outcome
    from benchmarks.report import Section

SIZES, QUICK_SIZES = (100, 1_000, 10_000), (5, 10, 20)
ROWS = 20
"""Rows of each partition that has news."""
ID = '"id": "'
"""Where the id of a row begins."""
KINDS = ("no news", f"{ROWS} rows each")
ABOUT = """\
Daily runs of one process for `sms`, with two partitions per account (`include_subaccounts`) and the state of a run a
day before, against a server that answers every request immediately. There are no rate limits. *No news*: all pages are
empty. *{rows} rows each*: each partition has a page of {rows} rows. There is no report, because the tap's limit of 5
requests about reports a second cannot be raised. *STATE MB* is the length of all STATE messages together, *RECORD MB*
that of all records."""


class ManyAccounts(Canned):
    """A server with many accounts, each with a page of so many rows in both directions.

    Attributes:
        rows: How many rows a page has.
        accounts: How many accounts there are, the primary one included.
    """

    rows = 0
    accounts = 1

    def subaccounts(self) -> list[str]:
        """The keys of the primary account's sub-accounts."""
        return [f"sub{number:05}" for number in range(1, self.accounts)]

    def id_of(self, body: Mapping[str, Any]) -> str:
        """The id of a report: its account and direction."""
        return f"{body['account_id']}-{body['direction']}"

    def page_of(self, query: Mapping[str, str]) -> bytes:
        """A page of a partition: the first one has all its rows."""
        partition = f"{query['account_id']}-{query.get('direction')}"
        if partition in self.served or "direction" not in query or not self.rows:
            return super().page_of(query)
        self.served.add(partition)
        rows = ", ".join(self._template.replace(ID, f"{ID}{partition}-{row}-", 1) for row in range(self.rows))
        return f'{{"request_status": "SUCCESS", "items_count": {self.rows}, "records": [{rows}]}}'.encode()

    def __init__(self, bench: Bench, now: datetime) -> None:
        """Set up the server; it listens from here on, and answers in the `with` block."""
        super().__init__(bench.report(0), now)
        self.served: set[str] = set()
        day = timedelta(days=1)
        with Sandbox(rows={"*": 0, "sms/outbound": 1}, clock=NOW + day) as sandbox:
            row = sandbox.expected("sms", None, "outbound", NOW - day, NOW)[0]
        self._template = json.dumps(row, default=float)


def table(bench: Bench) -> Section:
    """Measure table 7."""
    with ManyAccounts(bench, NOW) as server:
        outcomes = bench.measure(subjects(bench, server, QUICK_SIZES if bench.quick else SIZES))
    main = Column("STATE MB", megabytes("state"), number)
    return section(
        7,
        "Growth with accounts",
        about=ABOUT.format(rows=ROWS),
        outcomes=outcomes.values(),
        columns=[
            *seconds_columns(),
            main,
            Column("STATEs", lambda outcome: outcome.fact("states"), whole),
            Column("RECORD MB", megabytes("record"), number),
        ],
        main=main,
        notes=[note(kind, outcomes) for kind in KINDS if any(kind in name for name in outcomes)],
    )


def megabytes(kind: str) -> Callable[[Outcome], Any]:
    """A figure: the length of all messages of a kind."""
    return lambda outcome: outcome.figure(lambda sample: sample.facts[kind] / 1e6)


def subjects(bench: Bench, server: ManyAccounts, sizes: tuple[int, ...]) -> Iterator[Subject]:
    """Runs without news and with some, with several numbers of accounts."""
    for accounts in sizes:
        server.accounts, server.rows, server.now = accounts, 0, NOW
        settings = {
            "api_url": server.url,
            "include_subaccounts": True,
            "lookback_hours": 0,
            "adopt_reports": False,
            "max_requests_per_second": UNLIMITED,
        }
        start = {"start_date": (NOW - timedelta(days=1)).isoformat()}
        before = bench.write(state_of_a_run(bench, bench.tap({**settings, **start})))
        for kind, rows in zip(KINDS, (0, ROWS), strict=True):
            yield Subject(
                f"{kind}, {accounts:,} accounts",
                [bench.tap({**settings, **start}, "--state", str(before))],
                rows=2 * accounts * rows,
                check=messages(accounts, 2 * accounts * rows),
                prepare=serving(server, accounts, rows),
            )


def serving(server: ManyAccounts, accounts: int, rows: int) -> Callable[[], None]:
    """What lets the server have so many accounts, and rows on each page, a day after the run before."""

    def prepare() -> None:
        server.accounts, server.rows, server.now = accounts, rows, NOW + timedelta(days=1)
        server.served.clear()

    return prepare


def messages(accounts: int, rows: int | None) -> Callable[[Path], dict[str, float]]:
    """A check that a run has written all rows, which says how long its messages are, and how many STATEs it wrote.

    Args:
        accounts: How many accounts it has read.
        rows: How many rows it should have written; None if that does not matter.
    """

    def check(out: Path) -> dict[str, float]:
        lengths, last = {"state": 0, "record": 0}, {"state": 0, "record": 0}
        counts = {"state": 0, "record": 0}
        with (out / "stdout").open("rb") as file:
            for line in file:
                kind = json.loads(line[: line.index(b",")] + b"}")["type"].lower()
                if kind in lengths:
                    lengths[kind] += len(line)
                    last[kind] = len(line)
                    counts[kind] += 1
        if rows is not None and counts["record"] != rows:
            message = f"it wrote {counts['record']:,} rows, and should have written {rows:,}"
            raise BenchError(message)
        return {**lengths, "accounts": accounts, "states": counts["state"], "last": last["state"]}

    return check


def note(kind: str, outcomes: Mapping[str, Outcome]) -> str:
    """How time and STATE grow."""
    grown = [(outcome.fact("accounts").median, outcome) for name, outcome in outcomes.items() if name.startswith(kind)]
    seconds = exponent((accounts, outcome.wall.median) for accounts, outcome in grown)
    state = exponent((accounts, outcome.fact("state").median) for accounts, outcome in grown)
    return (
        f"{kind}: with the number of accounts, the seconds grow with the power {number(seconds)}, and the length of "
        f"all STATE messages with the power {number(state)} (least squares through the logarithms of the medians)."
    )
