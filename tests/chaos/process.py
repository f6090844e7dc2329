"""The tap's command in a process of its own that is ended in the middle."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

PACE = 0.004
"""Scale of the tap's waits between tries and looks; rate limits are kept as they are."""
REPORT_TIMEOUT_SECONDS = "REPORT_TIMEOUT_SECONDS"
"""Variable that says how long a run waits for a report."""
MACHINE_TIME = "MACHINE_TIME"
"""Variable with the time that the machine's clock shows during a run."""
ROOM_ON_DISK = 40_000
"""Bytes that a file may have where there is no more room on the disk."""
PATIENCE_SECONDS = 600
SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT}


@dataclass(frozen=True)
class Sent:
    """A request: whether it was a synchronous query, and when the rate limit let it go, in seconds."""

    synchronous: bool
    at: float


@dataclass(frozen=True)
class Ended:
    """What a run left behind.

    Attributes:
        lines: Standard output, whole lines.
        log: Standard error.
        code: The exit code; that of a signal is negative.
        sent: The requests.
        seconds_to_end: From the signal to the end of the process.
        disturbed: Whether the process was still there when it was to be ended.
    """

    lines: list[bytes]
    log: str
    code: int
    sent: list[Sent]
    seconds_to_end: float
    disturbed: bool

    @property
    def end_of_log(self) -> str:
        """As much of the log as one wants to see."""
        return self.log[-3000:]


def run_and_end(
    arguments: list[str], environment: dict[str, str], folder: Path, ending: str, after_bytes: int
) -> Ended:
    """Run the command, and end it when it has written some bytes.

    Args:
        arguments: What stands behind the command's name.
        environment: Variables beside those of this process.
        folder: For temporary files.
        ending: One of `plans.ENDINGS`.
        after_bytes: How much of its output is read before that.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.harness"])
    # Connections, for these are handed over with the process itself: a process that is killed at once leaves none open.
    pipes = [context.Pipe(duplex=False) for _ in range(3)]
    process = context.Process(
        target=_run,
        args=(arguments, environment, str(folder), ending == "disk", [sender for _, sender in pipes]),
    )
    process.start()
    for _, sender in pipes:
        sender.close()
    watchdog = threading.Timer(PATIENCE_SECONDS, process.kill)
    watchdog.start()
    output, log, sent = (os.fdopen(os.dup(receiver.fileno()), "rb") for receiver, _ in pipes)
    for receiver, _ in pipes:
        receiver.close()
    side = [_Drain(log), _Drain(sent)]
    seen = b""
    while len(seen) < after_bytes and (more := output.read1(after_bytes - len(seen))):
        seen += more
    disturbed = process.is_alive() and ending not in ("itself", "disk")
    started = time.monotonic()
    if disturbed and ending in SIGNALS:
        assert process.pid is not None
        try:
            os.kill(process.pid, SIGNALS[ending])
        except ProcessLookupError:  # it has just ended by itself
            disturbed = False
    if ending == "pipe":
        output.close()
    else:
        seen += output.read()
    process.join()
    seconds = time.monotonic() - started if watchdog.is_alive() else float("inf")
    watchdog.cancel()
    output.close()
    lines = [line for line in seen.splitlines(keepends=True) if line.endswith(b"\n")]
    code = process.exitcode
    assert code is not None
    kept_log, kept_sent = (drain.content() for drain in side)
    requests = [Sent(word[:1] == b"s", float(word[1:])) for word in kept_sent.split()]
    return Ended(lines, kept_log.decode(errors="replace"), code, requests, seconds, disturbed)


class _Drain:
    """Reads a pipe to its end, so that whoever writes to it never waits."""

    def __init__(self, pipe: Any) -> None:
        self._content = b""
        self._pipe = pipe
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._pipe as pipe:
            self._content = pipe.read()

    def content(self) -> bytes:
        self._thread.join()
        return self._content


def _run(arguments: list[str], environment: dict[str, str], folder: str, full: bool, outputs: list[Any]) -> None:  # noqa: FBT001 - positional, for it is a process's target
    output, log, sent = (os.dup(each.fileno()) for each in outputs)
    for each in outputs:
        each.close()
    os.dup2(output, 1)
    os.dup2(log, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    os.close(output)
    os.close(log)
    os.environ.update(environment)
    tempfile.tempdir = folder
    if full:
        resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_ON_DISK, ROOM_ON_DISK))
    _adapt(sent)
    from tap_vonage_reports.cli import run  # noqa: PLC0415 - after standard output is what it should be

    sys.exit(run(arguments))


def _adapt(sent: int) -> None:
    """Make waits short, and note when the rate limit lets each request go.

    When the thread then gets to send it is a matter of the machine. A request that no limit holds counts as it leaves.
    """
    from pyrate_limiter import InMemoryBucket, RateItem  # noqa: PLC0415
    from requests.adapters import HTTPAdapter  # noqa: PLC0415

    from tap_vonage_reports.api.clock import ServerClock  # noqa: PLC0415
    from tap_vonage_reports.config.settings import Settings  # noqa: PLC0415
    from tap_vonage_reports.extract.session import SyncSession  # noqa: PLC0415

    SyncSession.delay_factor = PACE
    send, from_config, put = HTTPAdapter.send, Settings.from_config, InMemoryBucket.put
    timeout = timedelta(seconds=float(os.environ[REPORT_TIMEOUT_SECONDS]))
    machine_time = datetime.fromisoformat(os.environ[MACHINE_TIME])
    allowed = threading.local()

    def let_go(bucket: InMemoryBucket, item: RateItem) -> bool:
        taken = put(bucket, item)
        if taken:
            allowed.at = item.timestamp / 1000
        return taken

    def noted(adapter: HTTPAdapter, request: Any, *args: Any, **kwargs: Any) -> Any:
        kind = "s" if "/v2/reports/records" in request.url else "a"
        os.write(sent, f"{kind}{vars(allowed).pop('at', time.monotonic()):.4f} ".encode())
        return send(adapter, request, *args, **kwargs)

    def hurried(*args: Any) -> Settings:
        return replace(from_config(*args), report_timeout=timeout)

    setattr(ServerClock, "local", lambda _clock: machine_time)  # noqa: B010
    setattr(InMemoryBucket, "put", let_go)  # noqa: B010 - what mypy would not let be assigned
    setattr(HTTPAdapter, "send", noted)  # noqa: B010
    setattr(Settings, "from_config", hurried)  # noqa: B010
