"""Running the tap as its users do, and reading what it wrote."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import json
import logging
import multiprocessing
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections import defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cache, cached_property, partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any, ClassVar
from unittest import mock

import msgspec

from tap_vonage_reports.api import transport
from tap_vonage_reports.api.clock import ServerClock
from tap_vonage_reports.cli import run as main
from tap_vonage_reports.errors import TapError
from tap_vonage_reports.extract.session import SyncSession
from tap_vonage_reports.output import signals
from tap_vonage_reports.output.messages import MessageWriter
from tap_vonage_reports.redaction import all_handlers
from tap_vonage_reports.tap import TapVonageReports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime
    from multiprocessing.connection import Connection
    from pathlib import Path

    from tap_vonage_reports.sandbox import Sandbox


class StandingClock(ServerClock):
    """The clocks of a run on a machine whose own clock is that of the sandbox, or off by so much.

    Attributes:
        sandbox: Tells the sandbox's time; None for the real one.
        shift: How far this machine's clock is ahead of that.
    """

    sandbox: ClassVar[Callable[[], datetime] | None] = None
    shift: ClassVar[timedelta] = timedelta(0)

    def local(self) -> datetime:
        now = StandingClock.sandbox
        return (now() if now else super().local()) + StandingClock.shift


COMMAND = [sys.executable, "-m", "tap_vonage_reports"]
_STATE = b'{"type":"STATE",'


class _Line(msgspec.Struct):
    """A message whose record is left as it is written."""

    stream: str = ""
    record: msgspec.Raw = msgspec.Raw()


class _Id(msgspec.Struct):
    id: str


_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_LINE_DECODER = msgspec.json.Decoder(_Line)
_ID_DECODER = msgspec.json.Decoder(_Id)


@dataclass
class Output:
    """What one run wrote and how it ended."""

    lines: list[bytes]
    code: int = 0
    error: Exception | None = None
    log: str = ""

    @cached_property
    def messages(self) -> list[dict[str, Any]]:
        return [_DECODER.decode(line) for line in self.lines]

    @cached_property
    def records(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for message in self.messages:
            if message["type"] == "RECORD":
                found[message["stream"]].append(message["record"])
        return found

    def records_as_written(self, stream: str) -> dict[str, bytes]:
        """The records of a stream by their ids, digit for digit. Of one that came twice, the last counts."""
        found = [line.record for line in map(_LINE_DECODER.decode, self.lines) if line.stream == stream and line.record]
        return {_ID_DECODER.decode(record).id: bytes(record) for record in found}

    @cached_property
    def states(self) -> list[dict[str, Any]]:
        return [_DECODER.decode(line)["value"] for line in self.lines if line.startswith(_STATE)]

    @property
    def state(self) -> dict[str, Any] | None:
        return self.states[-1] if self.states else None

    def ids(self, stream: str) -> list[str]:
        return [record["id"] for record in self.records[stream]]

    def bookmark(self, stream: str, **context: str) -> dict[str, Any]:
        """The last state of one partition, given some of its context."""
        assert self.state is not None
        found = [
            partition
            for partition in self.state["bookmarks"][stream]["partitions"]
            if context.items() <= partition["context"].items()
        ]
        assert len(found) == 1, found
        bookmark: dict[str, Any] = found[0]
        return bookmark


def partition_lines(log: str) -> list[dict[str, str]]:
    """The summary's lines of partitions, by the heads of their columns: all of them at the level DEBUG."""
    lines = [line.rpartition(" | ")[2].split() for line in log.splitlines()]
    heads = [at for at, line in enumerate(lines) if line[:3] == ["stream", "direction", "account"]]
    if not heads:
        return []
    head, *rows = lines[heads[-1] :]
    return [dict(zip(head, row, strict=True)) for row in takewhile(lambda row: len(row) == len(head), rows)]


class Collector(MessageWriter):
    """Keeps the lines that would go to standard output."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[bytes] = []

    def send(self, lines: bytes | bytearray | memoryview) -> None:
        self.lines += bytes(lines).splitlines(keepends=True)

    def handle_signals(self) -> contextlib.AbstractContextManager[None]:
        """Leave the signals to the test runner."""
        return contextlib.nullcontext()


def settings_for(sandbox: Sandbox, **settings: Any) -> dict[str, Any]:
    """Settings with which the tap reads from a sandbox."""
    return {
        "api_url": sandbox.url,
        "api_key": sandbox.api_key,
        "api_secret": sandbox.api_secret,
        **settings,
    }


@cache
def _discovered() -> str:
    return TapVonageReports(config={}, validate_config=False).catalog_json_text


def catalog_of(streams: Iterable[str]) -> dict[str, Any]:
    """A catalog in which only these streams are selected."""
    catalog: dict[str, Any] = json.loads(_discovered())
    wanted = set(streams)
    for entry in catalog["streams"]:
        for metadata in entry["metadata"]:
            if not metadata["breadcrumb"]:
                metadata["metadata"]["selected"] = entry["stream"] in wanted
    return catalog


def run_tap(
    settings: Mapping[str, Any],
    streams: Iterable[str] | None = None,
    state: Mapping[str, Any] | None = None,
    catalog: dict[str, Any] | None = None,
) -> Output:
    """Run the tap inside this process, without its pauses between tries.

    Args:
        settings: The tap's settings.
        streams: The streams to select; None: those selected by default.
        state: The state to start from.
        catalog: A catalog instead of `streams`.

    Returns:
        What it wrote. A failure is in `error`, with `code` 1.
    """
    writer = Collector()
    output = Output(writer.lines)
    records: list[str] = []
    handler = _ListHandler(records)
    root = logging.getLogger()
    level, formatters = root.level, [(other, other.formatter) for other in all_handlers()]
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        tap = TapVonageReports(
            config=dict(settings),
            state=dict(state) if state else None,
            catalog=catalog or (catalog_of(streams) if streams is not None else None),
            message_writer=writer,
        )
        tap.session.delay_factor = 0
        with mock.patch.object(transport, "ServerClock", StandingClock):
            tap.run_sync(tap.sync)
    except TapError as error:
        output.error, output.code = error, 1
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        for other, formatter in formatters:
            other.setFormatter(formatter)
    output.log = "\n".join(records)
    return output


def run_main(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> Output:
    """Run the tap's command as its entry point does, but inside this process."""
    stdout, stderr = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    handlers, hook = list(logging.getLogger().handlers), sys.excepthook
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with (
            mock.patch.object(SyncSession, "delay_factor", 0),
            mock.patch.object(transport, "ServerClock", StandingClock),
            mock.patch.dict(os.environ, _environment(environment), clear=True),
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
        ):
            code = main(list(map(str, arguments)))
    finally:
        logging.getLogger().handlers[:] = handlers
        logging.captureWarnings(capture=False)
        sys.excepthook = hook
        for number, handler in signals.items():
            signal.signal(number, handler)
    stdout.flush()
    assert isinstance(stdout.buffer, io.BytesIO)
    return Output(stdout.buffer.getvalue().splitlines(), code, log=stderr.getvalue())


def run_command(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> Output:
    """Run the tap's command as a process of its own."""
    done = subprocess.run(  # noqa: S603 - our own command
        [*COMMAND, *map(str, arguments)], env=_environment(environment), capture_output=True, check=False, timeout=600
    )
    return Output(done.stdout.splitlines(), done.returncode, log=done.stderr.decode())


def run_forked(
    *arguments: str | Path, prepare: Iterable[Callable[[], object]] = (), onto: Mapping[int, str] | None = None
) -> Output:
    """Run the tap's command as a process of its own that has all modules loaded, without its pauses between tries.

    After a signal it has to end by itself: it is not made to, however slow the machine is.

    Args:
        arguments: The command's arguments.
        prepare: Called in that process before anything else.
        onto: Paths of files to write standard output (1) or standard error (2) to.

    Returns:
        What it wrote to where nothing else is said; `code` is negative where a signal has ended it.
    """
    # Connections, for these are handed over with the process itself.
    pipes = {number: forks().Pipe(duplex=False) for number in (1, 2)}
    senders = {number: sender for number, (_, sender) in pipes.items()}
    process = forks().Process(target=_forked, args=([*map(str, arguments)], tuple(prepare), senders, onto or {}))
    process.start()
    for sender in senders.values():
        sender.close()
    with ThreadPoolExecutor() as readers:
        stdout, stderr = readers.map(_read, [receiver for receiver, _ in pipes.values()])
    process.join()
    assert process.exitcode is not None
    return Output(stdout.splitlines(keepends=True), process.exitcode, log=stderr.decode())


def forks() -> multiprocessing.context.ForkServerContext:
    """Makes processes that have all modules loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.harness"])
    return context


def _forked(
    arguments: list[str],
    prepare: Iterable[Callable[[], object]],
    given: Mapping[int, Connection],
    onto: Mapping[int, str],
) -> None:
    for number, sender in given.items():
        os.dup2(os.open(onto[number], os.O_WRONLY | os.O_CREAT) if number in onto else sender.fileno(), number)
        sender.close()
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    for name in [name for name in os.environ if name.startswith("TAP_VONAGE_REPORTS_")]:
        del os.environ[name]
    SyncSession.delay_factor = 0
    signals.EXIT_WITHIN_SECONDS = 600.0
    for step in prepare:
        step()
    os._exit(main(arguments))  # without what multiprocessing does to the standard streams at the end


def _read(receiver: Connection) -> bytes:
    with receiver, os.fdopen(os.dup(receiver.fileno()), "rb") as pipe:
        return pipe.read()


def when_called(target: str, do: Callable[[], object]) -> None:
    """From now on do something each time before a function or method is called.

    Args:
        target: Its full name, such as ``tap_vonage_reports.tap.TapVonageReports.load_state``.
        do: What to do.
    """
    path, _, method = target.rpartition(".")
    owner = pkgutil.resolve_name(path)
    real = getattr(owner, method)

    def called(*arguments: Any, **keywords: Any) -> Any:
        do()
        return real(*arguments, **keywords)

    setattr(owner, method, called)


def signalled(*numbers: int) -> None:
    """Get signals."""
    for number in numbers:
        os.kill(os.getpid(), number)


def signalled_and_stuck(number: int) -> None:
    """Get a signal while in what Python cannot interrupt; all of this is one step of its interpreter."""
    get = partial(ctypes.CDLL(None).kill, os.getpid(), number)
    stay = partial(hashlib.pbkdf2_hmac, "sha256", b"", b"", 1 << 26)
    deque(map(partial.__call__, (get, stay)), maxlen=0)


def in_time_zone(name: str) -> None:
    """Have another local time."""
    os.environ["TZ"] = name
    time.tzset()


def without_log() -> None:
    """Have no standard error at all."""
    os.close(2)
    setattr(sys, "stderr", None)  # noqa: B010 - as Python does it, whatever types say


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    """The environment without settings of the tap that may stand in it, and with others."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TAP_VONAGE_REPORTS_")}
    return {**clean, **(more or {})}


class _ListHandler(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.INFO)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
