"""The scenarios of `compare`: runs of a tap against a sandbox, with all that the tap wrote and requested."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import LOG_LINES_SHOWN, BenchError, environment
from tap_vonage_reports.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
    from types import TracebackType
    from typing import TypeAlias

    from starlette.types import ASGIApp, Receive, Scope, Send
    from typing_extensions import Self

    Until: TypeAlias = Callable[[Mapping[str, Any]], bool]
    """Told of each message; returns True for the one after which the run is ended."""

FROZEN = Path(__file__).with_name("frozen.py")
NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
"""The sandbox's time in the first run of each scenario."""
AHEAD = timedelta(minutes=5)
"""How far the tap's local clock is ahead of the sandbox's, so that using the wrong one shows."""
LONGEST_RUN_SECONDS = 120
PAUSE_SECONDS = 0.1
"""Pause between a message and the signal that follows it, so that the tap is waiting for the API by then."""
LATENCY = 0.5
"""Seconds that each answer takes where a run is to be ended while the tap waits for one."""
SETTLE_SECONDS = 0.3
"""How long requests of a killed tap may take to reach the sandbox."""
SUBACCOUNT = "sub00001"
PAGE_SIZE = 10
ROWS = {"*": 24, "sms/outbound": 130, "messages/outbound": 60}
"""Rows a day: three pages of most streams, and enough pages of SMS for a STATE inside a window."""
REPORTS_IN_FLIGHT = 5
"""Reports that the sandbox generates at the same time, and the tap's default limit."""
GENERATION_SECONDS = 3600
"""More than a run takes: no report is ready until this is switched off."""
ROWS_PER_FILE = 25
"""Rows of a BATCH file, so that most streams have several."""


@dataclass
class Request:
    """A request as it reached the sandbox, without the host."""

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes = b""


class Recorder:
    """Record every request before the sandbox answers it."""

    def __init__(self, app: ASGIApp, requests: list[Request]) -> None:
        """Wrap an application.

        Args:
            app: The application.
            requests: Receives the requests in the order of arrival.
        """
        self._app, self._requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Record a request and pass it on."""
        headers = sorted((name.decode(), value.decode()) for name, value in scope["headers"] if name != b"host")
        request = Request(scope["method"], scope["path"], scope["query_string"].decode(), headers)
        self._requests.append(request)

        async def received() -> MutableMapping[str, Any]:
            message = await receive()
            request.body += message.get("body", b"")
            return message

        await self._app(scope, received, send)


class Tap:
    """The tap of a source tree.

    Attributes:
        name: The name of the tree in messages.
        tree: The folder that holds the package.
    """

    def __init__(self, name: str, tree: Path, folder: Path) -> None:
        """Prepare a tap; nothing runs yet.

        Args:
            name: The name of the tree in messages.
            tree: The folder that holds the package.
            folder: An existing folder for temporary files.
        """
        self.name, self.tree, self._folder = name, tree, folder
        self._lock = threading.Lock()
        self._stopped = False
        self._processes: set[subprocess.Popen[bytes]] = set()

    def start(self, arguments: Sequence[str | Path], local: datetime, log: Path) -> subprocess.Popen[bytes]:
        """Start the tap's command.

        Args:
            arguments: The command's arguments.
            local: The local time that the tap sees.
            log: The file for standard error.

        Raises:
            BenchError: `stop` has been called.
        """
        if self._stopped:
            message = f"the tap {self.name} has been stopped"
            raise BenchError(message)
        words = [sys.executable, str(FROZEN), str(self.tree), local.isoformat(), *map(str, arguments)]
        with log.open("wb") as errors:
            process = subprocess.Popen(  # noqa: S603 - our own program
                words, stdout=subprocess.PIPE, stderr=errors, cwd=self._folder, env=environment(self._folder)
            )
        self._processes.add(process)
        return process

    def stop(self) -> None:
        """Kill all processes that still run, and start no more."""
        self._stopped = True
        for process in list(self._processes):
            process.kill()

    def discovered(self) -> bytes:
        """Return the output of `--discover`.

        Raises:
            BenchError: The command failed, or another tree's tap was imported.
        """
        with self._lock:
            return self._discovered

    @cached_property
    def _discovered(self) -> bytes:
        log = self._folder / "discover.log"
        process = self.start(["--discover"], NOW, log)
        catalog, _ = process.communicate()
        if process.returncode:
            message = f"the tap {self.name} cannot discover its streams:\n{tail(log)}"
            raise BenchError(message)
        return catalog

    def catalog(self, streams: Sequence[str] | None) -> dict[str, Any]:
        """Return a catalog that selects some streams; None selects every stream."""
        catalog: dict[str, Any] = json.loads(self.discovered())
        for entry in catalog["streams"]:
            for metadata in entry["metadata"]:
                if not metadata["breadcrumb"]:
                    metadata["metadata"]["selected"] = streams is None or entry["stream"] in streams
        return catalog


@dataclass
class Run:
    """One run of the tap.

    Attributes:
        lines: The lines of standard output.
        code: The exit code; the negative signal number if a signal ended the process.
        requests: The requests that the sandbox received; None if they depend on when the run was ended.
    """

    lines: list[bytes]
    code: int
    requests: list[Request] | None = None
    messages: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        """Parse the messages. Other lines, such as those of a catalog, become empty messages."""
        self.messages = [parsed(line) for line in self.lines]

    def of_type(self, kind: str) -> list[bytes]:
        """Return the lines of one type of message."""
        pairs = zip(self.lines, self.messages, strict=True)
        return [line for line, message in pairs if message.get("type") == kind]

    @property
    def states(self) -> list[dict[str, Any]]:
        """The values of all STATE messages."""
        return [message["value"] for message in self.messages if message.get("type") == "STATE"]

    @property
    def state(self) -> dict[str, Any]:
        """The value of the last STATE message.

        Raises:
            BenchError: There is none.
        """
        if not self.states:
            message = "the tap has written no STATE"
            raise BenchError(message)
        return self.states[-1]


class Stage:
    """A tap, a fresh sandbox and the runs so far, for the length of a `with` block.

    Attributes:
        sandbox: The sandbox. Its clock stands still at `NOW` until it is moved.
        runs: The runs so far.
        folder: The folder for everything that runs need or write.
        files: The folder for BATCH files.
    """

    def __init__(self, tap: Tap, folder: Path, options: Mapping[str, Any]) -> None:
        """Prepare a sandbox.

        Args:
            tap: The tap.
            folder: An existing, empty folder.
            options: Options of the sandbox beside the common ones; `faults` are added to the common ones.
        """
        all_options: dict[str, Any] = {
            "rows": ROWS,
            "page_size": PAGE_SIZE,
            "subaccount_keys": [SUBACCOUNT],
            "polls": 1,
            **options,
            "faults": ["no-rate-limit", *options.get("faults", ())],
        }
        self.sandbox = Sandbox(seed="compare", clock=NOW, **all_options)
        self.runs: list[Run] = []
        self.folder, self.files = folder, folder / "batch"
        self._tap = tap
        self._requests: list[Request] = []
        self.sandbox.app.app.add_middleware(Recorder, requests=self._requests)

    def __enter__(self) -> Self:
        self.sandbox.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sandbox.stop()

    def discover(self) -> None:
        """Add the catalog to the runs."""
        self.runs.append(Run(self._tap.discovered().splitlines(keepends=True), 0, []))

    def run(
        self,
        *,
        streams: Sequence[str] | None = None,
        state: Mapping[str, Any] | None = None,
        until: Until | None = None,
        ending: signal.Signals = signal.SIGKILL,
        code: int = 0,
        **settings: Any,  # noqa: ANN401 - settings of any type
    ) -> Run:
        """Run the tap.

        Args:
            streams: The streams to select; None selects all.
            state: The state to start from.
            until: If given, it is told of each message, and the run is ended after the one for which it returns True.
                What it still writes counts, unless the ending is SIGKILL.
            ending: The signal that ends it.
            code: The expected exit code, unless `until` is given.
            settings: The tap's settings beside the common ones.

        Returns:
            The run, which is also added to `runs`.

        Raises:
            BenchError: The run takes too long, ends before `until` is true, or fails unexpectedly.
        """
        place = self.folder / f"run-{len(self.runs) + 1}"
        place.mkdir()
        start = (NOW - timedelta(days=3)).isoformat()
        common = {"start_date": start, "max_requests_per_second": 1000, "max_concurrent_requests": 5}
        credentials = {
            "api_url": self.sandbox.url,
            "api_key": self.sandbox.api_key,
            "api_secret": self.sandbox.api_secret,
        }
        contents = {
            "config": {**common, **settings, **credentials},
            "catalog": self._tap.catalog(streams),
            **({"state": state} if state is not None else {}),
        }
        arguments = []
        for name, content in contents.items():
            path = place / f"{name}.json"
            path.write_text(json.dumps(content), "utf-8")
            arguments += [f"--{name}", str(path)]
        before = len(self._requests)
        log = place / "log"
        process = self._tap.start(arguments, self.sandbox.clock.now() + AHEAD, log)
        watchdog = threading.Timer(LONGEST_RUN_SECONDS, process.kill)
        watchdog.start()
        try:
            lines, reached = _read(process, until, ending)
        finally:
            alive = watchdog.is_alive()
            watchdog.cancel()
        if not alive or not reached or (until is None and process.returncode != code):
            expected = "too early" if until else f"instead of {code}"
            what = f"ended with {process.returncode} {expected}" if alive else "took too long"
            message = f"run {len(self.runs) + 1} {what}:\n{tail(log)}"
            raise BenchError(message)
        if until is not None:
            time.sleep(SETTLE_SECONDS)
        run = Run(lines, process.returncode, None if until else self._requests[before:])
        self.runs.append(run)
        return run

    def batch(self, file_format: str, compression: str) -> dict[str, Any]:
        """Return the setting for BATCH files in `files`."""
        self.files.mkdir(exist_ok=True)
        encoding = {"format": file_format, "compression": compression}
        storage = {"root": str(self.files)}
        return {"batch_config": {"encoding": encoding, "storage": storage, "batch_size": ROWS_PER_FILE}}

    def names(self) -> dict[str, str]:
        """Map the ID of each report, and of its file, to what the report was requested for. Both IDs are random."""
        names: dict[str, str] = {}
        created: dict[str, int] = {}
        for entry in self.sandbox.requests.log:
            if entry.endpoint == "report-create" and entry.report:
                key = f"{entry.product}/{entry.account}/{entry.direction}/{entry.date_start}/{entry.date_end}"
                created[key] = created.get(key, 0) + 1
                names[entry.report] = f"<report {created[key]} of {key}>"
            elif entry.endpoint == "media":
                names[entry.path.rpartition("/")[2]] = f"<file of {names.get(entry.report, 'nothing')}>"
        return names


def _read(process: subprocess.Popen[bytes], until: Until | None, ending: signal.Signals) -> tuple[list[bytes], bool]:
    """Read the output of a run, and end the run if it has come far enough; also return whether it has."""
    lines: list[bytes] = []
    reached = until is None
    assert process.stdout is not None  # noqa: S101 - narrows the type
    with process.stdout as output:
        for line in output:
            lines.append(line)
            if until and not reached and until(parsed(line)):
                reached = True
                if ending == signal.SIGKILL:
                    process.kill()
                    break
                time.sleep(PAUSE_SECONDS)
                process.send_signal(ending)
    process.wait()
    return lines, reached


def parsed(line: bytes) -> dict[str, Any]:
    """Return a line's message; an empty one if the line is no message."""
    with suppress(ValueError):
        message = json.loads(line)
        if isinstance(message, dict):
            return message
    return {}


def tail(log: Path) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-LOG_LINES_SHOWN:])


def partitions(state: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Return the partitions of a state."""
    for bookmark in state["bookmarks"].values():
        yield from bookmark.get("partitions", ())


def pages_open(count: int) -> Until:
    """End a run at the n-th STATE message with an open page."""
    left = count

    def until(message: Mapping[str, Any]) -> bool:
        nonlocal left
        if message.get("type") == "STATE":
            left -= any("page" in partition for partition in partitions(message["value"]))
        return not left

    return until


def records_written(count: int) -> Until:
    """End a run at the n-th RECORD message."""
    left = count

    def until(message: Mapping[str, Any]) -> bool:
        nonlocal left
        left -= message.get("type") == "RECORD"
        return not left

    return until


def reports_wait(count: int) -> Until:
    """End a run at the first SCHEMA message after some reports were requested: the stream waits for its report."""
    requested = 0

    def until(message: Mapping[str, Any]) -> bool:
        nonlocal requested
        if message.get("type") == "STATE":
            requested = sum(len(partition.get("reports", ())) for partition in partitions(message["value"]))
        return requested >= count and message.get("type") == "SCHEMA"

    return until


def one_report_read(message: Mapping[str, Any]) -> bool:
    """End a run at the STATE message after the first report was read, while another one is requested."""
    found = list(partitions(message["value"])) if message.get("type") == "STATE" else []
    return all(any(key in partition for partition in found) for key in ("covered", "reports"))


# Scenarios

MESSAGING = ("sms", "messages")
MIXED = ("sms", "messages", "voice_call", "amd")
SYNC = {"fetch_mode": "sync"}
ASYNC = {"fetch_mode": "async"}
IN_ORDER = {"max_concurrent_requests": 1}
LONG = {"start_date": (NOW - timedelta(days=6)).isoformat(), "backfill_days": 2, "report_window_days": 4}
"""Five days by reports, in two windows, and the last day by pages."""
FEW_REPORTS = {
    "fetch_mode": "sync",
    "stream_options": {"sms": {"fetch_mode": "async"}, "video_api": {"fetch_mode": "async"}},
}
"""All streams by pages, except two."""
BY_IDS = {"status_refresh": "ids"}


def days(stage: Stage, *, count: int = 2, **settings: Any) -> None:  # noqa: ANN401 - settings of any type
    """Run on several days, each run from the last one's state."""
    run = stage.run(**settings)
    for _ in range(count - 1):
        stage.sandbox.clock.advance(days=1)
        run = stage.run(state=run.state, **settings)


def killed_between_pages(stage: Stage, **settings: Any) -> None:  # noqa: ANN401
    """Kill a run at the second STATE with an open page, resume it, and run again on the next day."""
    killed = stage.run(until=pages_open(2), **settings)
    resumed = stage.run(state=killed.state, **settings)
    stage.sandbox.clock.advance(days=1)
    stage.run(state=resumed.state, **settings)


def terminated_between_pages(stage: Stage, **settings: Any) -> None:  # noqa: ANN401
    """Terminate a run that waits for the third page of a window, and resume it."""
    stage.sandbox.options.latency = LATENCY
    terminated = stage.run(until=records_written(2 * PAGE_SIZE), ending=signal.SIGTERM, **settings)
    stage.sandbox.options.latency = 0.0
    stage.run(state=terminated.state, **settings)


def killed_with_reports(stage: Stage, *, ending: signal.Signals, keep: bool = True, **settings: Any) -> None:  # noqa: ANN401
    """End a run that waits for reports. Resume from its state, or without one if the state is not kept."""
    stage.sandbox.options.polls = None
    stage.sandbox.options.generation_seconds = GENERATION_SECONDS
    killed = stage.run(until=reports_wait(REPORTS_IN_FLIGHT), ending=ending, **settings)
    stage.sandbox.options.generation_seconds = None
    stage.run(state=killed.state if keep else None, **settings)


def killed_among_reports(stage: Stage, **settings: Any) -> None:  # noqa: ANN401
    """Kill a run that has read some reports and waits for another, and resume it."""
    killed = stage.run(until=one_report_read, max_concurrent_reports=1, **settings)
    stage.run(state=killed.state, **settings)


def into_files(stage: Stage, *, file_format: str, compressions: Sequence[str], **settings: Any) -> None:  # noqa: ANN401
    """Write BATCH files on two days, with another compression on the second."""
    first = stage.run(**settings, **stage.batch(file_format, compressions[0]))
    stage.sandbox.clock.advance(days=1)
    stage.run(state=first.state, **settings, **stage.batch(file_format, compressions[1]))


def through_trouble(stage: Stage, *, code: int, **settings: Any) -> None:  # noqa: ANN401
    """Run while the API has faults, and again without them."""
    first = stage.run(code=code, **settings)
    stage.sandbox.faults.clear()
    stage.sandbox.faults.on("no-rate-limit")
    stage.run(state=first.state, **settings)


def one_by_one(stage: Stage, *, variants: Sequence[Mapping[str, Any]], **settings: Any) -> None:  # noqa: ANN401
    """Run from the beginning with each of several settings."""
    for variant in variants:
        stage.run(**settings, **variant)


PRIVACY = (
    {"personal_data": "hash", "personal_data_salt": "a salt of more than 16 characters"},
    {"personal_data": "drop"},
    {
        "stream_maps": {
            "sms": {"to": None, "country_lower": "country.lower() if country else None"},
            "voice_call": {"__alias__": "calls", "__filter__": "direction == 'outbound'"},
        },
        "flattening_enabled": True,
        "flattening_max_depth": 1,
    },
)
OTHER_SETTINGS = {
    "account_ids": [SUBACCOUNT],
    "start_date": "2026-11-18",
    "end_date": "2026-11-20T06:00:00Z",
    "lookback_hours": 2,
    "sync_window_hours": 6,
    "stream_options": {
        "sms": {"filters": {"direction": "outbound", "status": "delivered"}},
        "messages": {"fetch_mode": "async"},
        "amd": {"lookback_hours": 30},
    },
}
ROW_FAULTS = ("extra-columns", "unfit-values", "missing-columns", "rows-repeated", "next-link-without-dates")
PAGE_FAULTS = ("unprovisioned,product=amd", "forbidden,product=asr", "cursor-missing,product=voice_call")
REPORT_FAULTS = (
    "report-truncated=200,product=sms",
    "report-failed,first=1,product=amd",
    "bad-crc,first=1,product=messages",
    "unprovisioned,product=asr",
    "unknown-report-status,product=voice_call",
)


@dataclass(frozen=True)
class Scenario:
    """Runs of the tap that are compared.

    Attributes:
        name: The scenario's name.
        play: Runs the tap on a stage.
        options: Options of the sandbox beside the common ones.
        ordered: What has to be in the same order in each run of the same tap: ``messages``, ``requests``. The rest
            of the order depends on timing, and is compared as far as it happens to be stable.
        changes: True if rows must change between runs for the scenario to be of use.
    """

    name: str
    play: Callable[[Stage], None]
    options: Mapping[str, Any] = field(default_factory=dict)
    ordered: frozenset[str] = frozenset()
    changes: bool = False


def playing(play: Callable[..., None], **options: Any) -> Callable[[Stage], None]:  # noqa: ANN401 - of any type
    """Return a function that plays a scenario with these options."""
    return partial(play, **options)


BOTH = frozenset({"messages", "requests"})
MESSAGES = frozenset({"messages"})

SCENARIOS = (
    Scenario("async, all streams, 5 reports", playing(days, **ASYNC), changes=True),
    Scenario(
        "auto, backfill, sub-accounts, switches",
        playing(
            days,
            streams=MESSAGING,
            include_subaccounts=True,
            include_message=True,
            show_concatenated=True,
            **{**LONG, "report_window_days": 31},
        ),
        changes=True,
    ),
    Scenario(
        "reports, 1 at a time, 1 worker",
        playing(days, streams=("sms",), max_concurrent_reports=1, **LONG, **IN_ORDER),
        {"polls": 2},
        changes=True,
    ),
    Scenario(
        "reports, killed and resumed", playing(killed_with_reports, ending=signal.SIGKILL, streams=MIXED, **ASYNC)
    ),
    Scenario(
        "reports, terminated and resumed",
        playing(killed_with_reports, ending=signal.SIGTERM, streams=MESSAGING, **LONG),
    ),
    Scenario(
        "reports, killed, state lost",
        playing(killed_with_reports, ending=signal.SIGKILL, keep=False, streams=("sms", "asr", "amd"), **ASYNC),
    ),
    Scenario("reports, killed between two", playing(killed_among_reports, streams=("sms", "amd"), **ASYNC)),
    Scenario(
        "reports, trouble",
        playing(through_trouble, code=1, streams=(*MIXED, "asr"), **ASYNC),
        {"faults": REPORT_FAULTS},
    ),
    Scenario(
        "BATCH parquet", playing(into_files, file_format="parquet", compressions=("snappy", "zstd"), **FEW_REPORTS)
    ),
    Scenario("BATCH jsonl", playing(into_files, file_format="jsonl", compressions=("gzip", "none"), **FEW_REPORTS)),
    Scenario("sync, all streams, 1 worker", playing(days, **SYNC, **IN_ORDER), ordered=BOTH, changes=True),
    Scenario("sync, all streams, 5 workers", playing(days, **SYNC), ordered=MESSAGES, changes=True),
    Scenario(
        "ids, 1 worker",
        playing(days, count=3, streams=MESSAGING, **SYNC, **BY_IDS, **IN_ORDER),
        ordered=BOTH,
        changes=True,
    ),
    Scenario(
        "ids, 5 workers, some not found",
        playing(days, streams=MESSAGING, **BY_IDS),
        {"faults": ["ids-not-found,product=sms"]},
        ordered=MESSAGES,
        changes=True,
    ),
    Scenario(
        "pages, killed and resumed",
        playing(killed_between_pages, streams=MIXED, **SYNC, **IN_ORDER),
        ordered=BOTH,
        changes=True,
    ),
    Scenario(
        "pages, ids, killed and resumed, 5 workers",
        playing(killed_between_pages, streams=MIXED, **SYNC, **BY_IDS),
        ordered=MESSAGES,
        changes=True,
    ),
    Scenario(
        "pages, terminated and resumed, 5 workers",
        playing(terminated_between_pages, streams=("sms",), **SYNC),
        ordered=MESSAGES,
    ),
    Scenario(
        "pages, trouble",
        playing(through_trouble, code=1, streams=(*MIXED, "asr"), **SYNC, **IN_ORDER),
        {"faults": PAGE_FAULTS},
        ordered=BOTH,
    ),
    Scenario("odd rows by pages", playing(days, count=1, **SYNC), {"faults": ROW_FAULTS}, ordered=MESSAGES),
    Scenario("odd rows by reports", playing(days, count=1, streams=MIXED, **ASYNC), {"faults": ROW_FAULTS}),
    Scenario(
        "personal data, stream maps",
        playing(one_by_one, variants=PRIVACY, streams=(*MIXED, "verify_v2"), **SYNC),
        ordered=MESSAGES,
    ),
    Scenario("filters and other settings", playing(days, streams=MIXED, **OTHER_SETTINGS)),
    Scenario("catalog", Stage.discover, ordered=BOTH),
)
