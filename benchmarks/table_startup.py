"""Table 5: what a run costs that has nothing to read."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from benchmarks.bench import NOW
from benchmarks.canned import Canned
from benchmarks.measure import Subject, run
from benchmarks.outputs import complete, records
from benchmarks.report import Column, number, seconds_columns, section, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from benchmarks.bench import Bench
    from benchmarks.report import Section

UNLIMITED = 1000
"""Requests a second that nothing here reaches."""
ABOUT = """\
What every run costs, and a run without news: all streams that are selected by default, with the state of a run a
day before, against a server that answers every request at once with an empty page. The tap asks for the new day and
the look-back of each partition, and keeps to 10 requests a second; the run without that limit shows what is left.
The plain SDK tap has one stream, and reads a report without rows."""


def table(bench: Bench) -> Section:
    """Measure table 5."""
    with Canned(bench.report(0), NOW) as canned:
        outcomes = bench.measure(subjects(bench, canned))
    main = Column("Seconds", lambda outcome: outcome.wall, number)
    requests = Column("Requests", lambda outcome: outcome.fact("requests"), whole)
    return section(
        5, "Start-up", about=ABOUT, outcomes=outcomes.values(), columns=[*seconds_columns(), requests], main=main
    )


def subjects(bench: Bench, canned: Canned) -> Iterator[Subject]:
    """The tap's commands, and those of a plain SDK tap."""
    start = (NOW - timedelta(days=7)).isoformat()

    def tap(*arguments: str, **settings: Any) -> tuple[str, ...]:  # noqa: ANN401 - settings of any type
        return bench.tap({"api_url": canned.url, "start_date": start, **settings}, *arguments, streams=None)

    state = str(bench.write(state_of_a_run(bench, tap(max_requests_per_second=UNLIMITED))))
    canned.now = NOW + timedelta(days=1)
    plain = (*bench.peer("plain_sdk.py"), "--config", str(bench.write({"file": str(bench.report(0).path)})))
    for name, command in {
        "tap, --version": tap("--version"),
        "plain SDK tap, --version": (*plain, "--version"),
        "tap, --discover": tap("--discover"),
        "plain SDK tap, --discover": (*plain, "--discover"),
        "tap, no news": tap("--state", state),
        "tap, no news, without its limit": tap("--state", state, max_requests_per_second=UNLIMITED),
        "plain SDK tap, no rows": plain,
    }.items():
        kind = "tap" if name.startswith("tap") else "peer"
        yield Subject(name, [command], kind, check=counted(canned), prepare=forget(canned))


def state_of_a_run(bench: Bench, command: tuple[str, ...]) -> Any:  # noqa: ANN401 - a state is the tap's own matter
    """The last state that a run writes."""
    found: list[Any] = []

    def keep(out: Path) -> dict[str, float]:
        lines = (out / "stdout").read_text("utf-8").splitlines()
        found.extend(message["value"] for message in map(json.loads, lines) if message["type"] == "STATE")
        return {}

    run(Subject("the run before", [command], check=keep), bench.folder)
    return found[-1]


def counted(canned: Canned) -> Callable[[Path], dict[str, float]]:
    """A check that a run has written no record, which says how many requests it has sent."""
    empty = complete(records, 0)

    def check(out: Path) -> dict[str, float]:
        return {**empty(out), "requests": canned.requests}

    return check


def forget(canned: Canned) -> Callable[[], None]:
    """What forgets the requests so far."""

    def prepare() -> None:
        canned.requests = 0

    return prepare
