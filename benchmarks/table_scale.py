"""Table 6: many accounts, by one process and by several at once."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.responses import Response

from benchmarks.bench import NOW, START
from benchmarks.measure import BenchError, Figure, Subject
from benchmarks.outputs import record_ids
from benchmarks.report import Column, number, ratio, section, times, whole
from tap_vonage_reports.sandbox import Sandbox
from tap_vonage_reports.sandbox.journal import SlidingSecond
from tap_vonage_reports.sandbox.server import Connections, Server

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from datetime import datetime

    from starlette.types import ASGIApp, Receive, Scope, Send

    from benchmarks.bench import Bench
    from benchmarks.measure import Outcome
    from benchmarks.report import Section

WORKERS = Path(__file__).with_name("workers.py")
TRAFFIC = "sms/outbound"
LIMIT = 10
LATENCY = 0.2
TOO_MANY = 429
ABOUT = """\
{accounts} accounts (a primary one and its sub-accounts), {days} days of {rows:,} outgoing SMS each, by pages, read by
one process of the tap, or concurrently by several with equal shares of the accounts. Every response takes {latency} s
longer than usual.

*Limit per key*: the sandbox accepts {limit} requests in any second, for all accounts together. The workers divide that
in whole numbers (`max_requests_per_second`): four have 2, 3, 2 and 3. *Not shared out*: each worker sends {limit}
requests a second. *Limit per account*: the sandbox accepts {limit} requests in any second for each account, and each
worker sends {limit} requests a second. Which of the two applies at Vonage is not known."""


@dataclass
class Api:
    """The sandbox, and where its limit is.

    Attributes:
        url: Where it listens.
        sandbox: What was asked of it.
        end: Until when there are rows, from START.
        limiter: The limit per account, if there is one.
        ids: The ids of all rows of all accounts.
    """

    url: str
    sandbox: Sandbox
    end: datetime
    limiter: PerAccount | None = None
    ids: set[str] = field(init=False)

    def __post_init__(self) -> None:
        """List the rows."""
        lists = (
            self.sandbox.expected("sms", account.key, "outbound", START, self.end) for account in self.sandbox.accounts
        )
        self.ids = {row["id"] for rows in lists for row in rows}

    def forget(self) -> None:
        """Forget what was asked."""
        self.sandbox.requests.reset()
        if self.limiter:
            self.limiter.refused = 0

    def asked(self) -> dict[str, float]:
        """How many requests there were, and how many of them were refused."""
        refused = sum(entry.status == TOO_MANY for entry in self.sandbox.requests.log)
        before = self.limiter.refused if self.limiter else 0
        return {"requests": self.sandbox.requests.total + before, "refused": refused + before}


class PerAccount:
    """A limit of requests in any second for each account, before an application."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        """Set the limit.

        Args:
            app: The application.
            limit: How many requests of an account it gets in any second.
        """
        self._app, self._limit = app, limit
        self._recent: dict[str, SlidingSecond] = {}
        self.refused = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or refuse it."""
        account = parse_qs(scope["query_string"].decode()).get("account_id", [""])[0]
        recent = self._recent.setdefault(account, SlidingSecond())
        if recent.count() < self._limit:
            recent.add()
            await self._app(scope, receive, send)
        else:
            self.refused += 1
            await Response(status_code=TOO_MANY, headers={"Retry-After": "1"})(scope, receive, send)


def table(bench: Bench) -> Section:
    """Measure table 6."""
    accounts, days, rows = bench.size(50, 4), bench.size(7, 1), bench.size(300, 50)
    sandbox = partial(serve, accounts, START + timedelta(days=days), rows)
    with sandbox(per_account=False) as by_key, sandbox(per_account=True) as by_account:
        outcomes = bench.measure(subjects(bench, by_key, by_account))
    reference = next(iter(outcomes.values()))
    main = Column("Seconds", lambda outcome: outcome.wall, number)
    return section(
        6,
        "Many accounts",
        about=ABOUT.format(accounts=accounts, days=days, rows=rows, latency=LATENCY, limit=LIMIT),
        outcomes=outcomes.values(),
        columns=[
            main,
            Column("Against the first line", ratio(lambda outcome: outcome.wall, reference), times),
            Column("Requests", lambda outcome: outcome.fact("requests"), whole),
            Column("Requests/s", per_second, number),
            Column("Refused (429)", lambda outcome: outcome.fact("refused"), whole),
            Column("Rows", lambda outcome: outcome.fact("rows"), whole),
            Column("CPU seconds", lambda outcome: outcome.cpu, number),
            Column("Peak MB, each", lambda outcome: outcome.megabytes, whole),
        ],
        main=main,
    )


def subjects(bench: Bench, by_key: Api, by_account: Api) -> Iterator[Subject]:
    """The numbers of workers, under each limit."""
    for workers in (1, 2, 4):
        yield subject(bench, f"limit per key, {named(workers)}", by_key, shares(workers))
    yield subject(bench, "limit per key, 4 workers, not shared out", by_key, [LIMIT] * 4)
    for workers in (1, 2, 4):
        yield subject(bench, f"limit per account, {named(workers)}", by_account, [LIMIT] * workers)


def named(workers: int) -> str:
    """A number of workers in words."""
    return f"{workers} worker{'s' if workers > 1 else ''}"


def shares(workers: int) -> list[int]:
    """The limit in whole parts that add up to it."""
    return [LIMIT * (worker + 1) // workers - LIMIT * worker // workers for worker in range(workers)]


def subject(bench: Bench, name: str, api: Api, rates: list[int]) -> Subject:
    """Workers that read all accounts.

    Args:
        bench: Where they are measured.
        name: What they are called.
        api: What they read.
        rates: Of each worker, how many requests it may send in a second.
    """
    accounts = [account.key for account in api.sandbox.accounts]
    settings = {
        "api_url": api.url,
        "start_date": START.isoformat(),
        "end_date": api.end.isoformat(),
        "fetch_mode": "sync",
        "stream_options": {"sms": {"filters": {"direction": "outbound"}}},
    }
    commands = [
        bench.tap({**settings, "account_ids": accounts[worker :: len(rates)], "max_requests_per_second": rate})
        for worker, rate in enumerate(rates)
    ]

    def check(out: Path) -> dict[str, float]:
        found = [identifier for file in out.glob("worker-*") for identifier in record_ids(file)]
        if len(found) != len(api.ids) or set(found) != api.ids:
            message = (
                f"it wrote {len(found):,} rows, {len(api.ids & set(found)):,} of the {len(api.ids):,} that there are"
            )
            raise BenchError(message)
        return {"rows": len(found), **api.asked()}

    command = (sys.executable, str(WORKERS), str(bench.out), str(bench.write(commands)))
    return Subject(name, [command], rows=len(api.ids), check=check, prepare=api.forget)


@contextmanager
def serve(accounts: int, end: datetime, rows: int, *, per_account: bool) -> Generator[Api, None, None]:
    """Run a sandbox.

    Args:
        accounts: How many accounts it has.
        end: Until when they are read.
        rows: Rows of each account on each day.
        per_account: Whether its limit is one for each account, and not one for the key.

    Yields:
        The sandbox.
    """
    sandbox = Sandbox(
        subaccount_keys=[f"sub{index:05}" for index in range(1, accounts)],
        rows={"*": 0, TRAFFIC: rows},
        clock=NOW,
        latency=LATENCY,
        faults=["no-rate-limit"] if per_account else (),
    )
    if not per_account:
        with sandbox:
            yield Api(sandbox.url, sandbox, end)
        return
    limiter = PerAccount(sandbox.app, LIMIT)
    server = Server(limiter, Connections())
    server.start()
    try:
        yield Api(server.url, sandbox, end, limiter)
    finally:
        server.stop()


def per_second(outcome: Outcome) -> Figure:
    """Requests a second of the whole process, those that were refused not counted."""
    return outcome.figure(lambda sample: (sample.facts["requests"] - sample.facts["refused"]) / sample.wall)
