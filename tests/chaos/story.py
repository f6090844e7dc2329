"""Plays the story of a seed: runs of the tap's command against a sandbox, disturbed as planned."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import portion

from tap_vonage_reports.config.schema import TOGETHER
from tap_vonage_reports.products import PRODUCTS, Product
from tap_vonage_reports.sandbox import Fault, Sandbox
from tap_vonage_reports.state.listed_accounts import ListedAccounts, hashed
from tests.chaos.plans import SUBACCOUNT, Plan, RunPlan
from tests.chaos.process import MACHINE_TIME, REPORT_TIMEOUT_SECONDS, Ended, run_and_end
from tests.chaos.target import Row, Target
from tests.harness import catalog_of

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

END_MARGIN = timedelta(seconds=60)
BYTES_OF_A_ROW = 600


@dataclass(frozen=True, eq=False)
class Part:
    """One partition of a stream."""

    product: Product
    account: str
    direction: str | None

    @property
    def context(self) -> dict[str, str]:
        """Its context in the state."""
        return {"account_id": self.account, **({"direction": self.direction} if self.direction else {})}


@dataclass(frozen=True)
class Happened:
    """What one run has done.

    Attributes:
        number: Its number, from 0.
        plan: Its plan.
        ended: What its process left behind.
        came: The rows that it has written.
        before: What the state covered before it, by partition.
        begun: Windows that were open in the state before it, and the runs that had begun them.
        unfinished: Reports that were at work when it began.
    """

    number: int
    plan: RunPlan
    ended: Ended
    came: list[Row]
    before: dict[Part, portion.Interval]
    begun: dict[Part, dict[portion.Interval, int]]
    unfinished: int

    def __str__(self) -> str:
        """The run for a message."""
        return f"run {self.number} ({self.plan.ending})"


@dataclass
class Tally:
    """What has been seen.

    Attributes:
        runs: Runs, by how they ended.
        faults: How often each fault has hit.
        rows: Rows that were there to be read.
        pulled: Rows that the API has given out.
        written: Rows that the runs have written.
        requests: Requests that were answered.
    """

    runs: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    pulled: int = 0
    written: int = 0
    requests: int = 0

    def __iadd__(self, other: Tally) -> Self:
        """Add what was seen elsewhere."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self

    def __str__(self) -> str:
        """What has been seen, in lines."""
        runs = ", ".join(f"{ending} {count:,}" for ending, count in self.runs.most_common())
        faults = ", ".join(f"{name} {count:,}" for name, count in sorted(self.faults.items()))
        return (
            f"runs: {sum(self.runs.values()):,} ({runs})\n"
            f"faults that hit: {sum(self.faults.values()):,} ({faults})\n"
            f"rows: {self.rows:,} to be read, {self.pulled:,} pulled, {self.written:,} written\n"
            f"requests: {self.requests:,}"
        )


class Story:
    """A story while it is played.

    Attributes:
        plan: What happens in it.
        sandbox: The API.
        files: Where BATCH files go.
        temporary: Where temporary files go.
        target: What has been delivered.
        left: The names of files that killed runs have left, for a later one to remove.
        parts: All partitions.
        listed: What each partition held at each run, by id, as it was on the wire.
        tally: What has been seen.
    """

    def __init__(self, plan: Plan, sandbox: Sandbox, folder: Path) -> None:
        """Begin a story.

        Args:
            plan: What happens in it.
            sandbox: The API, running.
            folder: An empty folder.
        """
        self.plan, self.sandbox, self._folder = plan, sandbox, folder
        self.files, self.temporary = folder / "files", folder / "temporary"
        self.files.mkdir()
        self.temporary.mkdir()
        self.tally = Tally()
        self.target = Target()
        self.left: set[str] = set()
        self.parts = [
            Part(product, account, direction)
            for product in map(PRODUCTS.__getitem__, plan.streams)
            for account in (sandbox.api_key, SUBACCOUNT)
            for direction in (product.directions or (None,))
        ]
        self.listed: dict[Part, list[dict[str, Row]]] = {part: [] for part in self.parts}
        self._begun: dict[Part, dict[portion.Interval, int]] = {part: {} for part in self.parts}
        self._kept = self.target.state, self._begun
        self._is_lost = False

    @property
    def start(self) -> datetime:
        """From when on the tap reads."""
        return datetime.fromisoformat(self.plan.settings["start_date"])

    @property
    def end(self) -> datetime:
        """Until when it can read now."""
        return self.sandbox.clock.now() + self._skew - END_MARGIN

    @property
    def _skew(self) -> timedelta:
        """How far the API's clock is ahead."""
        return timedelta(seconds=float(self.plan.quirks.get(Fault.CLOCK_SKEW) or 0))

    def run(self, number: int, plan: RunPlan) -> Happened:
        """Play a run."""
        sandbox, faults = self.sandbox, self.sandbox.faults
        sandbox.clock.advance(seconds=plan.pause.total_seconds())
        for part in self.parts:
            self.listed[part].append(self._rows_of(part))
        sandbox.requests.reset()
        self._lose_or_keep(plan)
        unfinished = sum(sandbox.app.reports.unfinished(account.key) for account in sandbox.accounts)
        before = {part: self.covered(part) for part in self.parts}
        for each in plan.disturbances:
            faults.on(each.fault, each.value, **each.rule)
        ended = self._start(plan)
        came = self.target.load(ended.lines, whole=ended.code in {0, 1})
        begun, self._begun = self._begun, self._open_windows(number)

        by_itself = not ended.disturbed and plan.ending != "disk"
        self.tally.runs["itself" if by_itself else plan.ending] += 1
        for each in plan.disturbances:
            if hits := faults.hits(each.fault):
                self.tally.faults[each.fault.value] += hits
            faults.off(each.fault)
        self.tally.requests += sandbox.requests.total
        self.tally.pulled += sandbox.requests.rows
        self.tally.written += len(came)
        return Happened(number, plan, ended, came, before, begun, unfinished)

    def _lose_or_keep(self, plan: RunPlan) -> None:
        """Go back to the state that was kept before the last run, if nobody has kept what that one has said."""
        if self._is_lost:
            self.target.state, begun = self._kept
            self._begun = {part: {**self._begun[part], **begun[part]} for part in self.parts}
        self._kept, self._is_lost = (self.target.state, self._begun), plan.loses_state

    def covered(self, part: Part) -> portion.Interval:
        """What of a partition was read, as the state says."""
        own, shared = self._states_of(part)
        known = ListedAccounts.read(shared, part.product.stream, shared.get("query", ""))
        covered = portion.Interval(*_windows(own))
        name = hashed(part.account)
        if name in known.listed:
            since = known.listed[name]
            covered |= portion.Interval(*_windows(shared)) & portion.closedopen(since or -portion.inf, portion.inf)
        if name in known.unlisted:
            covered |= known.unlisted[name].coverage.times
        return covered

    def _states_of(self, part: Part) -> tuple[dict[str, Any], dict[str, Any]]:
        """The state of a partition, and of the one that has the rows of all accounts."""
        stream, context = part.product.stream, part.context
        together = {**context, "account_id": self.sandbox.api_key, "subaccounts": TOGETHER}
        return self.target.partition(stream, context), self.target.partition(stream, together)

    def _rows_of(self, part: Part) -> dict[str, Row]:
        settings, product = self.plan.settings, part.product
        rows = self.sandbox.expected(
            product.stream,
            part.account,
            part.direction,
            self.start,
            self.end,
            include_message=settings["include_message"] and product.include_message,
            show_concatenated=settings["show_concatenated"] and part.direction in product.concatenated_directions,
        )
        return {row["id"]: row for row in rows}

    def _start(self, plan: RunPlan) -> Ended:
        settings = {
            "api_url": self.sandbox.url,
            "api_key": self.sandbox.api_key,
            "api_secret": self.plan.secret,
            **self.plan.settings,
            **_accounts(plan, self.sandbox.api_key),
        }
        if plan.subaccounts == TOGETHER:
            settings |= {"fetch_mode": "async", "stream_options": {}}
        if "batch_config" in settings:
            settings["batch_config"] = {**settings["batch_config"], "storage": {"root": f"file://{self.files}"}}
        config, state, catalog = (self._folder / f"{name}.json" for name in ("config", "state", "catalog"))
        config.write_text(json.dumps(settings))
        catalog.write_text(json.dumps(catalog_of(self.plan.streams)))
        arguments = ["--config", str(config), "--catalog", str(catalog)]
        if self.target.state:
            state.write_text(json.dumps(self.target.state, default=float))
            arguments += ["--state", str(state)]
        rows = sum(len(listed[-1]) for listed in self.listed.values())
        return run_and_end(
            arguments,
            {
                "LOGLEVEL": "DEBUG" if plan.debug else "INFO",
                # Never behind the API's: the tap would read no further than that.
                MACHINE_TIME: (self.sandbox.clock.now() + max(self._skew, timedelta(0))).isoformat(),
                REPORT_TIMEOUT_SECONDS: "1.5" if plan.disturbances else "60",
            },
            self.temporary,
            plan.ending,
            int(plan.share * rows * BYTES_OF_A_ROW),
        )

    def _open_windows(self, number: int) -> dict[Part, dict[portion.Interval, int]]:
        """Windows that the state has open, and the run that has begun each."""
        found = {}
        for part in self.parts:
            windows = [
                *(report for state in self._states_of(part) for report in state.get("reports", [])),
                *(state["page"] for state in self._states_of(part) if state.get("page")),
                *self._requested(part),
            ]
            still = [portion.closedopen(moment(each["date_start"]), moment(each["date_end"])) for each in windows]
            found[part] = {window: self._begun[part].get(window, number) for window in still}
        return found

    def _requested(self, part: Part) -> list[dict[str, str]]:
        """The reports that the API lists of a partition: a later run may adopt each of them."""
        return [
            {name: str(report.plan.given[name]) for name in ("date_start", "date_end")}
            for report in self.sandbox.app.reports
            if report.plan.product == part.product
            and (report.plan.account == part.account or report.plan.given.get("include_subaccounts"))
            and report.plan.given.get("direction") == part.direction
        ]


def _windows(state: dict[str, Any]) -> list[portion.Interval]:
    """What a partition's state covers."""
    return [portion.closedopen(moment(start), moment(end)) for start, end in state.get("covered", [])]


def _accounts(plan: RunPlan, api_key: str) -> dict[str, Any]:
    """The settings by which a run reads both accounts."""
    return {"subaccounts": plan.subaccounts} if plan.subaccounts else {"account_ids": [api_key, SUBACCOUNT]}


def moment(text: str) -> datetime:
    """A time as states and rows have it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00").replace(" ", "T")).astimezone(timezone.utc)
