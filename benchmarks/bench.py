"""What the tables need to be measured: reports, the tap with its settings, the peers, and a folder for all of it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from contextlib import ExitStack
from datetime import datetime, timezone
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from benchmarks.canned import DIRECTION, Canned, Report
from benchmarks.measure import BenchError, measure
from benchmarks.outputs import BATCH
from tap_vonage_reports.sandbox import DEMO_KEY, DEMO_SECRET, Sandbox, Within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from benchmarks.measure import Outcome, Subject

START, END = datetime(2026, 10, 20, tzinfo=timezone.utc), datetime(2026, 11, 19, tzinfo=timezone.utc)
NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
"""The traffic of the reports lies between START and END, which are less than the longest report apart."""
PEERS = Path(__file__).with_name("peers")
FLOORS = Path(__file__).with_name("floors.py")
TAP = (sys.executable, "-m", "tap_vonage_reports")
POLL_SECONDS = 0.2
PINNED = re.compile(r'"([\w.-]+)(?:\[[\w,-]*\])?==([\w.]+)"')
"""A dependency, as the head of a script names it."""


class Bench:
    """A folder, and what was made in it. Everything ends with the `with` block."""

    def __init__(
        self, folder: Path, *, quick: bool, repeat: int, only: Sequence[str] = (), say: Callable[[str], None]
    ) -> None:
        """Set up an empty bench.

        Args:
            folder: Where everything happens; removed by the caller.
            quick: Whether small sizes are to do.
            repeat: How often each subject runs.
            only: Words of which a subject's name has to have one, if there are any.
            say: Told of what happens.
        """
        self.folder, self.quick, self.repeat, self.say = folder, quick, repeat, say
        self.out = folder / "out"
        self.versions: dict[str, str] = {}
        self._only = tuple(only)
        self._stack = ExitStack()
        self._files = 0
        self.report = cache(self._make_report)
        self.canned = cache(self._make_canned)
        self._python_of = cache(self._make_environment)
        self._catalog = cache(self._make_catalog)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def size(self, full: int, quick: int) -> int:
        """A size, or the small one that stands in for it."""
        return quick if self.quick else full

    def takes(self, word: str) -> bool:
        """Whether subjects with this in their name are measured at all."""
        return not self._only or any(only in word or word in only for only in self._only)

    def measure(self, subjects: Iterable[Subject]) -> dict[str, Outcome]:
        """Run the subjects by turns, and say what came of them, by name.

        Raises:
            BenchError: A subject failed.
        """
        chosen = list(subjects)
        if self._only:
            shown = {subject.name for subject in chosen if any(word in subject.name for word in self._only)}
            shown |= {subject.baseline for subject in chosen if subject.name in shown}
            chosen = [subject for subject in chosen if subject.name in shown]
        return measure(chosen, repeat=self.repeat, folder=self.folder, say=self.say)

    def tap(
        self, settings: Mapping[str, Any], *arguments: str, streams: Sequence[str] | None = ("sms",)
    ) -> tuple[str, ...]:
        """The tap's command.

        Args:
            settings: The tap's settings; the credentials are added.
            arguments: What is added to the command.
            streams: The streams to select; None for those selected by default.
        """
        config = {"api_key": DEMO_KEY, "api_secret": DEMO_SECRET, **settings}
        selection = ("--catalog", str(self._catalog(tuple(streams)))) if streams is not None else ()
        return (*TAP, "--config", str(self.write(config)), *selection, *arguments)

    def reading(self, rows: int, **settings: Any) -> tuple[str, ...]:  # noqa: ANN401 - settings of any type
        """The tap's command that reads a report of so many rows."""
        window = {"start_date": START.isoformat(), "end_date": END.isoformat(), "report_window_days": 31}
        return self.tap({"api_url": self.canned(rows).url, "fetch_mode": "async", **window, **settings})

    def batch(self, file_format: str, compression: str) -> dict[str, Any]:
        """The setting for BATCH messages with files in the folder for output."""
        storage = {"root": (self.out / BATCH).as_uri(), "prefix": ""}
        return {"batch_config": {"encoding": {"format": file_format, "compression": compression}, "storage": storage}}

    def prepare_batch(self) -> None:
        """Make the folder for BATCH files, before a run."""
        (self.out / BATCH).mkdir()

    def floor(self, *arguments: str) -> tuple[str, ...]:
        """A floor's command."""
        return (sys.executable, str(FLOORS), *arguments)

    def peer(self, script: str) -> tuple[str, str]:
        """A peer's command: the Python of its own environment, which is made if need be, and the script.

        `uv run` in front of it would hide how much memory it takes.

        Raises:
            BenchError: There is no such script, or no environment for it.
        """
        path = PEERS / script
        if not path.is_file():
            message = f"there is no script {script} among the peers"
            raise BenchError(message)
        self.versions.update(PINNED.findall(path.read_text("utf-8")))
        return self._python_of(path), str(path)

    def write(self, content: object) -> Path:
        """Write a JSON file."""
        self._files += 1
        path = self.folder / f"file-{self._files}.json"
        path.write_text(json.dumps(content), "utf-8")
        return path

    def uv(self, *arguments: str) -> str:
        """Run uv, outside of the project: the constraints that it has there are not for others.

        Raises:
            BenchError: It failed.
        """
        return self._said(os.environ.get("UV", "uv"), *arguments)

    def enter(self, context: Any) -> Any:  # noqa: ANN401 - any context
        """Keep something open until the bench ends."""
        return self._stack.enter_context(context)

    def _said(self, *command: str) -> str:
        """What a command says on standard output."""
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)  # noqa: S603 - ours
        if done.returncode:
            message = f"{' '.join(command[:4])} ended with {done.returncode}: {done.stderr.strip()}"
            raise BenchError(message)
        return done.stdout.strip()

    def _make_environment(self, script: Path) -> str:
        self.say(f"Making the environment of {script.name} ...")
        self.uv("sync", "--quiet", "--script", str(script))
        return self.uv("python", "find", "--script", str(script))

    def _make_catalog(self, streams: tuple[str, ...]) -> Path:
        catalog = json.loads(self._said(*TAP, "--discover"))
        for entry in catalog["streams"]:
            for metadata in entry["metadata"]:
                if not metadata["breadcrumb"]:
                    metadata["metadata"]["selected"] = entry["stream"] in streams
        return self.write(catalog)

    def _make_canned(self, rows: int) -> Canned:
        """A server with a report of so many rows; nobody changes its time but who has made it for itself."""
        canned: Canned = self.enter(Canned(self.report(rows), NOW))
        return canned

    def _make_report(self, rows: int) -> Report:
        """A report as the sandbox makes it, through its API."""
        self.say(f"Making a report of {rows:,} rows ...")
        path = self.folder / f"report-{rows}.zip"
        traffic: dict[str, int | Within] = {"*": 0, f"sms/{DIRECTION}": Within(rows, START, END)}
        with Sandbox(rows=traffic, clock=NOW, faults=["no-rate-limit"]) as sandbox, requests.Session() as session:
            session.auth, session.trust_env = (sandbox.api_key, sandbox.api_secret), False
            query = {"product": "SMS", "account_id": sandbox.api_key, "direction": DIRECTION}
            window = {"date_start": START.isoformat(), "date_end": END.isoformat()}
            address = f"{sandbox.url}/v2/reports"
            state = session.post(address, json={**query, **window}).json()
            while state["request_status"] != "SUCCESS":
                time.sleep(POLL_SECONDS)
                state = session.get(f"{address}/{state['request_id']}").json()
            with (
                session.get(state["_links"]["download_report"]["href"], stream=True) as answer,
                path.open("wb") as file,
            ):
                file.writelines(answer.iter_content(1 << 20))
        found, total = _sum_of(path)
        if found != rows:
            message = f"the sandbox has made a report of {found:,} rows, not of {rows:,}"
            raise BenchError(message)
        return Report(path, rows, total)


def _sum_of(report: Path) -> tuple[int, str]:
    """How many rows a report has, and the sum of their prices."""
    with zipfile.ZipFile(report) as archive, archive.open(archive.namelist()[0]) as member:
        prices = [row["total_price"] for row in csv.DictReader(io.TextIOWrapper(member, "utf-8", newline=""))]
    return len(prices), f"{sum((Decimal(price) for price in prices if price), Decimal()):f}"
