"""Table 2: a week of news by pages, within the API's limit, beside other tools."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import requests

from benchmarks.measure import BenchError, Figure, Subject
from benchmarks.outputs import record_ids, row_ids
from benchmarks.report import Column, number, ratio, seconds_columns, section, share, times, whole
from tap_vonage_reports.sandbox import DEMO_KEY, DEMO_SECRET, Sandbox

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.measure import Outcome, Sample
    from benchmarks.report import Section

TRAFFIC = "sms/outbound"
LIMIT, ROWS_OF_A_PAGE = 10, 1000
LATENCY = 0.2
OK, TOO_MANY = 200, 429
ASKED = ("records", "sms")
"""The endpoint and the product of the requests that count."""
PEERS = (
    ("Airbyte CDK, 10 workers", "airbyte.py", ()),
    ("Airbyte CDK, 10 workers, its call budget", "airbyte.py", ("--budget",)),
    ("dlt", "dlt_rest.py", ()),
    ("tap-rest-api-msdk", "msdk.py", ()),
)
ABOUT = """\
{days} days of {rows:,} outgoing SMS each, by pages of up to {page:,}, from the sandbox as a process of its own. Every
answer takes {latency} s longer than it would, and what goes beyond {limit} requests in any second is refused, as
Vonage does. The traffic is more than a week old, so that it does not change meanwhile.

The other tools are set up as their documents say for such an API, with windows of a day; the scripts are in
`benchmarks/peers`. A page is a request of records that was answered with 200, as the sandbox counted it. *First to
last page* leaves out what a tool does before its first page and after its last. Rows are compared with the
sandbox's own list."""


@dataclass
class Api:
    """The sandbox and the range to read from it.

    Attributes:
        url: Where the sandbox listens.
        start: Start of the range.
        end: Its end, exclusive.
        ids: The ids of all rows in it.
    """

    url: str
    start: str
    end: str
    ids: frozenset[str]

    def forget(self) -> None:
        """Forget all requests, before a run."""
        requests.delete(self._journal, timeout=60).raise_for_status()

    def check(self, ids: Iterable[str], *, exact: bool) -> dict[str, float]:
        """What is known of a run: its requests, and how its rows compare with the sandbox's.

        Args:
            ids: The ids of the rows that it has written.
            exact: Whether it has to have written every row once.

        Raises:
            BenchError: It has not, or has read next to nothing.
        """
        total, found = 0, set()
        for identifier in ids:
            total += 1
            found.add(identifier)
        journal = requests.get(self._journal, timeout=60).json()
        asked = [
            entry
            for entry in journal["requests"]
            if entry["endpoint"] == "records" and entry["product"].upper() == "SMS"
        ]
        pages = sorted(datetime.fromisoformat(entry["at"]) for entry in asked if entry["status"] == OK)
        if len(pages) < 2:  # noqa: PLR2004 - between which there is a time
            message = "it has read less than two pages"
            raise BenchError(message)
        rows = {"missing": len(self.ids - found), "twice": total - len(found), "foreign": len(found - self.ids)}
        if exact and any(rows.values()):
            message = f"it has not written every row once: {rows}"
            raise BenchError(message)
        return {
            "requests": len(asked),
            "pages": len(pages),
            "refused": sum(entry["status"] == TOO_MANY for entry in asked),
            "page_seconds": (pages[-1] - pages[0]).total_seconds(),
            "peak_per_second": journal["peak_per_second"],
            **rows,
        }

    @property
    def _journal(self) -> str:
        return f"{self.url}/__sandbox/requests"


def table(bench: Bench) -> Section:
    """Measure table 2."""
    days, rows = bench.size(7, 2), bench.size(60_000, 2_500)
    with serve(bench, days, rows) as api:
        outcomes = bench.measure(subjects(bench, api))
    reference = next(iter(outcomes.values()))
    main = Column("Records/s", lambda outcome: outcome.rate, whole)
    columns = [
        main,
        Column("Records/s, against the first line", ratio(lambda outcome: outcome.rate, reference), times),
        Column("Pages", lambda outcome: outcome.fact("pages"), whole),
        Column("Pages/s", pages_per_second, number),
        Column(f"Share of {LIMIT}/s", lambda outcome: scaled(pages_per_second(outcome), 1 / LIMIT), share),
        Column("Pages/s, first to last page", first_to_last, number),
        Column("Refused (429)", lambda outcome: outcome.figure(refused), share),
        Column("Most requests in a second", lambda outcome: outcome.fact("peak_per_second"), whole),
        Column("Rows missing", lambda outcome: outcome.fact("missing"), whole),
        Column("Rows twice", lambda outcome: outcome.fact("twice"), whole),
        Column("Rows not asked for", lambda outcome: outcome.fact("foreign"), whole),
        *seconds_columns(),
    ]
    return section(
        2,
        "News by pages",
        about=ABOUT.format(days=days, rows=rows, latency=LATENCY, limit=LIMIT, page=ROWS_OF_A_PAGE),
        outcomes=outcomes.values(),
        columns=columns,
        main=main,
        limit=LIMIT * ROWS_OF_A_PAGE,
    )


def subjects(bench: Bench, api: Api) -> Iterator[Subject]:
    """The tap and the other tools, on the same range."""
    settings = {
        "api_url": api.url,
        "start_date": api.start,
        "end_date": api.end,
        "fetch_mode": "sync",
        "lookback_hours": 0,
        "stream_options": {"sms": {"filters": {"direction": "outbound"}}},
    }

    def ours(out: Path) -> dict[str, float]:
        return api.check(record_ids(out / "stdout"), exact=True)

    def theirs(out: Path) -> dict[str, float]:
        # On a few rows, nobody has a reason to lose any; on many, the table shows who does.
        return api.check(row_ids(out / "rows.jsonl"), exact=bench.quick)

    rows = len(api.ids)
    yield Subject("tap", [bench.tap(settings)], rows=rows, check=ours, prepare=api.forget)
    where = ("--url", api.url, "--key", DEMO_KEY, "--secret", DEMO_SECRET, "--start", api.start, "--end", api.end)
    for name, script, options in PEERS:
        command = (*bench.peer(script), *where, "--output", str(bench.out / "rows.jsonl"), *options)
        yield Subject(name, [command], "peer", rows, check=theirs, prepare=api.forget)


@contextmanager
def serve(bench: Bench, days: int, rows: int) -> Generator[Api, None, None]:
    """Run the sandbox as a process of its own.

    Args:
        bench: Told of it.
        days: Days of the range.
        rows: Rows of each.

    Yields:
        The sandbox and the range.
    """
    # Its clock runs, because the log of requests has no other time; so the range ends some time ago.
    midnight = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    start = midnight - timedelta(days=days + 7)
    bench.say(f"Listing the {days * rows:,} rows of the sandbox ...")
    truth = Sandbox(rows={"*": 0, TRAFFIC: rows})
    ids: set[str] = set()
    for number_of_day in range(days):  # a day's rows at a time, for they take a gigabyte together
        day = start + timedelta(days=number_of_day)
        ids.update(row["id"] for row in truth.expected("sms", None, "outbound", day, day + timedelta(days=1)))
    options = ["--port", "0", "--rows", "*=0", "--rows", f"{TRAFFIC}={rows}", "--latency", str(LATENCY)]
    command = [sys.executable, "-m", "tap_vonage_reports.sandbox", "serve", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=bench.folder) as process:  # noqa: S603 - ours
        try:
            url = process.stdout.readline().split()[-1] if process.stdout else ""
            end = start + timedelta(days=days)
            yield Api(url, f"{start:%Y-%m-%dT%H:%M:%SZ}", f"{end:%Y-%m-%dT%H:%M:%SZ}", frozenset(ids))
        finally:
            process.terminate()


def pages_per_second(outcome: Outcome) -> Figure:
    """Pages a second of the whole process."""
    return outcome.figure(lambda sample: sample.facts["pages"] / sample.wall)


def first_to_last(outcome: Outcome) -> Figure:
    """Pages a second between the first and the last page."""
    return outcome.figure(lambda sample: (sample.facts["pages"] - 1) / max(sample.facts["page_seconds"], 1e-3))


def scaled(figure: Figure, factor: float) -> Figure:
    """A figure in another unit."""
    return Figure(*(value * factor for value in figure))


def refused(sample: Sample) -> float:
    """The share of refused requests."""
    return sample.facts["refused"] / sample.facts["requests"]
