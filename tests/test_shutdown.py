"""However a run is ended - by a signal, a reader that is gone, a full disk, a lost network - nothing is lost by it."""

from __future__ import annotations

import errno
import gc
import gzip
import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import warnings
from collections import Counter
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from unittest import mock

import pyarrow.parquet
import pytest
from pyrate_limiter.abstracts.bucket import Leaker

from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.api.request_context import CancelToken
from tap_vonage_reports.api.retry import RetryPolicy
from tap_vonage_reports.errors import PrefetchStorageError, RequestRejectedError, SyncFailedError, UnreachableError
from tap_vonage_reports.extract.pages.spool import DiskQueue
from tap_vonage_reports.extract.session import SyncSession
from tap_vonage_reports.output.signals import EXIT_WITHIN_SECONDS, Interrupted
from tap_vonage_reports.sandbox import Fault, Sandbox, Within
from tests import harness
from tests.harness import (
    COMMAND,
    Collector,
    Output,
    catalog_of,
    run_forked,
    run_tap,
    settings_for,
    signalled,
    signalled_and_stuck,
    when_called,
    without_log,
)
from tests.interruptions import PACKAGE, Finalized, SignalInWait, ended_in_time, fail_when_closed, signal_after_post

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither these signals nor /dev/full")

START = datetime(2026, 11, 1, tzinfo=timezone.utc)
END = START + timedelta(days=4)
ROWS = 200
DATES = {"start_date": START.isoformat(), "end_date": END.isoformat()}
MODES: dict[str, dict[str, Any]] = {
    "pages": {"fetch_mode": "sync"},
    "reports": {"fetch_mode": "async", "report_window_days": 1},
}
OF_SANDBOX = str(PACKAGE / "sandbox")


@pytest.fixture
def sandbox(make_sandbox: Callable[..., Sandbox]) -> Sandbox:
    return make_sandbox(rows={"amd": Within(ROWS, START, END)}, page_size=20)


def every_id(sandbox: Sandbox) -> set[str]:
    return {row["id"] for row in sandbox.expected("amd", None, None, START, END)}


def one_line_of(log: str, said: str) -> str:
    """The one line that says what went wrong."""
    assert "Traceback" not in log
    [line] = [line for line in log.splitlines() if said in line]
    return line


# Signals


Place: TypeAlias = tuple[str, str, int]
"""A line, by its file, its function and its number."""
OF_FILES = frozenset({"_batches", "_begin", "_publish", "finish"})
"""The functions that begin batch files, and that give them out."""


class Interrupting(Collector):
    """Gets a signal when a line of the tap's own code is about to be run for the n-th time."""

    def __init__(self, place: Place = ("", "", 0), times: int = 0) -> None:
        super().__init__()
        self.place, self.times = place, times
        self.seen: Counter[Place] = Counter()

    @contextmanager
    def handle_signals(self) -> Generator[None, None, None]:
        before = sys.gettrace()  # what measures the coverage
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(before)

    def _enter(self, frame: FrameType, _event: str, _argument: object) -> Any:
        name = frame.f_code.co_filename
        return self._step if name.startswith(str(PACKAGE)) and not name.startswith(OF_SANDBOX) else None

    def _step(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line":
            place = (frame.f_code.co_filename, frame.f_code.co_name, frame.f_lineno)
            self.seen[place] += 1
            if place == self.place and self.seen[place] == self.times:
                self.interrupt(signal.SIGTERM, None)
        return self._step


def run_interrupted(writer: Interrupting, settings: dict[str, Any]) -> Output:
    with (
        mock.patch.object(harness, "Collector", return_value=writer),
        mock.patch.object(Leaker, "start"),  # its thread fails when it finds that its owner is gone
        warnings.catch_warnings(),
    ):
        # A signal may fall between the lines with which a library opens a socket and keeps it.
        warnings.simplefilter("ignore", ResourceWarning)
        with suppress(Interrupted):
            run_tap(settings, ["amd"])
        gc.collect()
    return Output(writer.lines)


def places_to_interrupt(
    settings: dict[str, Any], count: int, functions: frozenset[str] = frozenset()
) -> list[tuple[Place, int]]:
    """Lines that such a run goes through, in some functions or in any, and at which time to interrupt it there."""
    writer = Interrupting()
    run_interrupted(writer, settings)
    chance = random.Random(20261122)
    places = [place for place in sorted(writer.seen) if not functions or place[1] in functions]
    return [(place, chance.randint(1, writer.seen[place])) for place in chance.sample(places, min(count, len(places)))]


@pytest.mark.parametrize(("mode", "count"), [("pages", 20), ("reports", 10)])
def test_a_signal_at_any_line_loses_nothing(sandbox: Sandbox, mode: str, count: int) -> None:
    settings = settings_for(sandbox, **DATES, **MODES[mode], max_concurrent_requests=2)
    for place, times in places_to_interrupt(settings, count):
        first = run_interrupted(Interrupting(place, times), settings)
        second = run_tap(settings, ["amd"], first.state)
        assert second.code == 0, place
        assert set(first.ids("amd")) | set(second.ids("amd")) == every_id(sandbox), place


def ids_in(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        ids: list[str] = pyarrow.parquet.read_table(path, columns=["id"])["id"].to_pylist()
        return ids
    with gzip.open(path, "rt") as file:
        return [json.loads(line)["id"] for line in file]


def files_in(folder: Path) -> set[Path]:
    """All files, hidden ones included."""
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("mode", "kind", "count"), [("pages", "jsonl", 40), ("reports", "parquet", 10)])
def test_a_signal_at_any_line_leaves_no_file_behind_that_no_message_names(
    sandbox: Sandbox, tmp_path: Path, mode: str, kind: str, count: int
) -> None:
    batches = {"encoding": {"format": kind}, "storage": {"root": str(tmp_path)}, "batch_size": 30}
    settings = settings_for(sandbox, **DATES, **MODES[mode], max_concurrent_requests=2, batch_config=batches)
    for place, times in places_to_interrupt(settings, count, OF_FILES):
        for path in files_in(tmp_path):
            path.unlink()
        first = run_interrupted(Interrupting(place, times), settings)
        second = run_tap(settings, ["amd"], first.state)
        messages = [*first.messages, *second.messages]
        named = {Path(address.removeprefix("file://")) for said in messages for address in said.get("manifest", ())}
        # The process of the first run lives on, so the second one leaves its journal alone.
        assert {path for path in files_in(tmp_path) if path.suffix != ".unannounced"} == named, place
        assert {key for path in named for key in ids_in(path)} == every_id(sandbox), place


def arguments_for(settings: dict[str, Any], folder: Path) -> list[str]:
    """The command's arguments to read AMD with these settings."""
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "catalog.json").write_text(json.dumps(catalog_of(["amd"])))
    return ["--config", str(folder / "config.json"), "--catalog", str(folder / "catalog.json")]


def signal_at(target: str, *numbers: int) -> list[Callable[[], object]]:
    """Signals when a method of the tap is called."""
    return [partial(when_called, f"tap_vonage_reports.{target}", partial(signalled, *numbers))]


@pytest.mark.parametrize("mode", ["--discover", "--test", "a run"])
def test_a_signal_while_the_tap_is_set_up_is_no_success(sandbox: Sandbox, tmp_path: Path, mode: str) -> None:
    arguments = arguments_for(settings_for(sandbox, **DATES), tmp_path)
    arguments = {"--discover": ["--discover"], "--test": [*arguments[:2], "--test"]}.get(mode, arguments)
    # The SDK has set handlers of its own by then, which write an empty state and end with exit code 0.
    ended = run_forked(*arguments, prepare=signal_at("tap.TapVonageReports.load_state", signal.SIGTERM))
    assert ended.code == -signal.SIGTERM
    assert ended.lines == []
    assert "Traceback" not in ended.log


def test_ctrl_c_before_the_command_is_read_has_no_traceback(sandbox: Sandbox, tmp_path: Path) -> None:
    arguments = arguments_for(settings_for(sandbox, **DATES), tmp_path)
    prepare = partial(when_called, "click.core.Option.__init__", partial(signalled, signal.SIGINT))
    ended = run_forked(*arguments, prepare=[prepare])
    assert (ended.code, ended.lines) == (130, [])
    assert "Traceback" not in ended.log


@pytest.mark.parametrize(
    ("target", "code", "states"),
    [("api.client.ReportsClient.records", 143, 0), ("sync_run.log_summary", -signal.SIGTERM, 21)],
    ids=["before the first answer", "after the last"],
)
def test_a_signal_at_either_end_of_the_run_is_no_success(
    sandbox: Sandbox, tmp_path: Path, target: str, code: int, states: int
) -> None:
    arguments = arguments_for(settings_for(sandbox, **DATES), tmp_path)
    ended = run_forked(*arguments, prepare=signal_at(target, signal.SIGTERM))
    assert ended.code == code
    assert len(ended.states) == states
    assert "Traceback" not in ended.log


def test_further_signals_do_not_disturb_the_way_out(sandbox: Sandbox, tmp_path: Path) -> None:
    arguments = arguments_for(settings_for(sandbox, **DATES), tmp_path)
    # The first comes before the state of a window is written, the others when what nobody will read is dropped.
    prepare = [
        *signal_at("state.checkpoint.Checkpointer.write", signal.SIGINT),
        *signal_at("extract.reports.scheduler.ReportScheduler.release", signal.SIGTERM, signal.SIGTERM, signal.SIGINT),
    ]
    ended = run_forked(*arguments, prepare=prepare)
    assert ended.code == 130
    assert "Traceback" not in ended.log
    assert "The state was handed to the target" in ended.log
    assert len(ended.bookmark("amd")["covered"]) == 1


def test_a_signal_ends_even_a_run_that_is_stuck_in_a_look_up_of_a_name(sandbox: Sandbox, tmp_path: Path) -> None:
    arguments = arguments_for(settings_for(sandbox, **DATES), tmp_path)
    stuck = partial(when_called, "socket.getaddrinfo", partial(signalled_and_stuck, signal.SIGTERM))
    ended = run_forked(*arguments, prepare=[ended_in_time, stuck])
    assert EXIT_WITHIN_SECONDS < 2
    assert ended.code == 143
    assert "Interrupted" not in ended.log  # it was still in the look-up


@pytest.mark.parametrize(
    ("instant", "number"),
    [
        ("entered", signal.SIGTERM),
        ("released", signal.SIGTERM),
        ("released", signal.SIGINT),
        ("asleep", signal.SIGINT),
        ("woken", signal.SIGTERM),
    ],
)
@pytest.mark.parametrize(
    "place",
    [
        ("pages", "pause", 0),
        ("pages", "prefetch", 2),
        ("files", "prefetch", 1),
        ("reports", "rate limit", 5),
        ("reports", "pause", 5),
    ],
    ids=lambda place: "-".join(map(str, place)),
)
def test_a_signal_inside_a_wait_ends_the_run_with_its_state_written(
    sandbox: Sandbox, tmp_path: Path, place: tuple[str, str, int], instant: str, number: int
) -> None:
    mode, wait, checkpoints = place
    batches = {"encoding": {"format": "jsonl"}, "storage": {"root": str(tmp_path / "files")}, "batch_size": 30}
    more = {"fetch_mode": "sync", "batch_config": batches} if mode == "files" else MODES[mode]
    settings = settings_for(sandbox, **DATES, **more)
    ended = run_forked(*arguments_for(settings, tmp_path), prepare=[SignalInWait(wait, instant, number, checkpoints)])
    assert ended.code == 128 + number, ended.log
    assert "Unexpected" not in ended.log
    assert "Traceback" not in ended.log
    assert "Interrupted. The state was handed to the target" in ended.log
    assert len(ended.states) >= checkpoints
    if checkpoints:
        assert ended.messages[-1]["type"] == "STATE"
    second = run_tap(settings, ["amd"], ended.state)
    assert second.code == 0
    messages = [*ended.messages, *second.messages]
    files = [Path(address.removeprefix("file://")) for said in messages for address in said.get("manifest", ())]
    ids = {*ended.ids("amd"), *second.ids("amd"), *(key for path in files for key in ids_in(path))}
    assert ids == every_id(sandbox)
    assert max(sandbox.requests.reports.values(), default=1) == 1


def test_a_signal_that_makes_the_cleanup_fail_is_still_the_signal(sandbox: Sandbox, tmp_path: Path) -> None:
    ended = run_forked(*arguments_for(settings_for(sandbox, **DATES), tmp_path), prepare=[fail_when_closed])
    assert ended.code == 143
    assert "Unexpected" not in ended.log
    assert "The state was handed to the target" in ended.log
    assert run_tap(settings_for(sandbox, **DATES), ["amd"], ended.state).ids("amd") == []


@pytest.mark.parametrize("instant", ["entered", "released", "asleep", "woken"])
@pytest.mark.parametrize(("how", "wait"), [("--test", "rate limit"), ("--test=records", "prefetch")])
def test_ctrl_c_inside_a_wait_ends_a_connection_test(
    sandbox: Sandbox, tmp_path: Path, how: str, wait: str, instant: str
) -> None:
    arguments = arguments_for(settings_for(sandbox, **DATES), tmp_path)
    ended = run_forked(*arguments[:2], how, prepare=[SignalInWait(wait, instant, signal.SIGINT, 0)])
    assert ended.code == 130
    assert ("The state was handed to the target" in ended.log) == (how == "--test=records")
    assert "Unexpected" not in ended.log
    assert "Traceback" not in ended.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_a_post_is_answered_keeps_the_report(sandbox: Sandbox, tmp_path: Path, number: int) -> None:
    settings = settings_for(sandbox, **DATES, **MODES["reports"])
    first = run_forked(*arguments_for(settings, tmp_path), prepare=[partial(signal_after_post, number)])
    assert first.code == 128 + number
    assert "Traceback" not in first.log
    assert first.ids("amd") == []
    assert len(first.bookmark("amd")["reports"]) == 1
    second = run_tap(settings, ["amd"], first.state)
    assert set(second.ids("amd")) == every_id(sandbox)
    assert sum(sandbox.requests.reports.values()) == 4  # one for each day


def test_a_signal_during_a_post_that_fails_is_not_put_off_until_the_next_try(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.faults.on(Fault.CUT, endpoints=["report-create"])
    settings = settings_for(sandbox, **DATES, **MODES["reports"])
    prepare = signal_at("api.client.ReportsClient.create_report", signal.SIGTERM)
    ended = run_forked(*arguments_for(settings, tmp_path), prepare=prepare)
    assert ended.code == 143
    assert "The state was handed to the target" in ended.log
    assert "try 2" not in ended.log


def test_a_signal_that_python_discards_ends_the_run_at_its_next_message(sandbox: Sandbox, tmp_path: Path) -> None:
    arguments = arguments_for(settings_for(sandbox, **DATES), tmp_path)
    prepare = partial(when_called, "tap_vonage_reports.state.checkpoint.Checkpointer.write", Finalized)
    ended = run_forked(*arguments, prepare=[prepare])
    assert ended.code == 143
    assert "Traceback" not in ended.log
    assert "The state was handed to the target" in ended.log


def test_a_signal_and_a_closed_pipe_never_claim_a_written_state(sandbox: Sandbox, tmp_path: Path) -> None:
    arguments = arguments_for(settings_for(sandbox, **DATES), tmp_path)
    prepare = partial(when_called, "tap_vonage_reports.output.messages._discard_output", partial(signalled, 2))
    ended = run_forked(*arguments, prepare=[prepare], onto={1: "/dev/full"})
    assert ended.code == 130
    assert "The state could not be handed to the target" in ended.log
    assert "The state was handed to the target" not in ended.log


# Signals before the tap is loaded, and after it has ended

AT_IMPORT = """
import os, sys
class Finder:
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Finder)
"""
AT_EXIT = "import atexit, os; atexit.register(os.kill, os.getpid(), {number})"
IN_FINALIZER = """
import os, sys
class Finalized:
    def __del__(self, kill=os.kill, pid=os.getpid()):
        kill(pid, {number})
sys.finalized = Finalized()
"""
IN_WAIT = """
import os, threading
real = threading.Condition.wait
def wait(self, timeout=None):
    release = self._release_save
    def released():
        saved = release()
        os.kill(os.getpid(), {number})
        return saved
    if threading.current_thread() is threading.main_thread():
        self._release_save = released
    return real(self, timeout)
threading.Condition.wait = wait
"""
ENTRY_POINTS = [COMMAND, [str(Path(sysconfig.get_path("scripts"), "tap-vonage-reports"))]]


def run_customized(command: list[str], folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command, or `--version`, in a process that runs some code when Python starts."""
    (folder / "sitecustomize.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(  # noqa: S603 - our own command
        [*command, *(arguments or ["--version"])],
        env=environment,
        text=True,
        check=False,
        timeout=600,
        capture_output=True,
    )


@pytest.mark.parametrize("command", ENTRY_POINTS, ids=["python -m", "script"])
@pytest.mark.parametrize("module", ["tap_vonage_reports.cli", "singer_sdk", "requests"])
def test_ctrl_c_while_the_tap_is_loaded_has_no_traceback(command: list[str], tmp_path: Path, module: str) -> None:
    ended = run_customized(command, tmp_path, AT_IMPORT.format(module=module, number=signal.SIGINT.value))
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


@pytest.mark.parametrize("mode", ["--plan", "--discover"])
def test_ctrl_c_inside_a_wait_outside_a_run_has_no_traceback(sandbox: Sandbox, tmp_path: Path, mode: str) -> None:
    arguments = [*arguments_for(settings_for(sandbox, **DATES), tmp_path), mode]
    ended = run_customized(COMMAND, tmp_path, IN_WAIT.format(number=signal.SIGINT.value), *arguments)
    assert ended.returncode == 130
    assert ended.stdout == ""
    assert "Unexpected" not in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("code", "number", "entry"),
    [
        (AT_EXIT, signal.SIGTERM, 0),
        (AT_EXIT, signal.SIGINT, 1),
        (IN_FINALIZER, signal.SIGTERM, 1),
        (IN_FINALIZER, signal.SIGINT, 0),
    ],
    ids=["at exit-SIGTERM", "at exit-SIGINT", "in a finalizer-SIGTERM", "in a finalizer-SIGINT"],
)
def test_a_signal_while_python_shuts_down_has_no_traceback(
    tmp_path: Path, code: str, number: signal.Signals, entry: int
) -> None:
    ended = run_customized(ENTRY_POINTS[entry], tmp_path, code.format(number=number.value))
    assert ended.returncode == -number
    assert ended.stdout.startswith("tap-vonage-reports v")
    assert ended.stderr == ""


# Standard output and standard error


@pytest.mark.parametrize("mode", ["--version", "--about", "--discover", "--test", "a run"])
def test_output_that_cannot_be_written_is_one_clear_line(sandbox: Sandbox, tmp_path: Path, mode: str) -> None:
    arguments = arguments_for(settings_for(sandbox, **DATES), tmp_path)
    arguments = {"--test": [*arguments[:2], "--test"], "a run": arguments}.get(mode, [mode])
    ended = run_forked(*arguments, onto={1: "/dev/full"})
    assert ended.code == 1
    assert "No space left on device" in one_line_of(ended.log, "Standard output cannot be written")


@pytest.mark.parametrize(
    ("shell", "said"),
    [
        ('"$@" >&-', "Standard output cannot be written (it is closed)"),
        ('"$@" --version > /dev/full', "Standard output cannot be written (No space left on device)"),
        ('"$@" | head -1', "The target has closed the pipe"),
        ('"$@" | true', "The target has closed the pipe"),
    ],
)
def test_in_a_shell_it_is_one_clear_line_too(sandbox: Sandbox, tmp_path: Path, shell: str, said: str) -> None:
    sandbox.options.page_size = 1000  # fewer pages, which take their time: a tenth of a second each
    arguments = arguments_for(settings_for(sandbox, **DATES), tmp_path)
    line = f"unset PYTHONUNBUFFERED; {shell}; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(  # noqa: S603 - our own command
        ["bash", "-c", line, "bash", *COMMAND, *arguments],  # noqa: S607 - whichever bash there is
        text=True,
        check=False,
        timeout=600,
        capture_output=True,
    )
    assert ended.returncode == 1
    assert one_line_of(ended.stderr, said)


def test_a_disk_that_fills_up_loses_nothing_and_no_state_runs_ahead(sandbox: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(sandbox, **DATES, max_concurrent_requests=1)
    path = tmp_path / "out"
    ended = run_forked(*arguments_for(settings, tmp_path), prepare=[at_most(40_000)], onto={1: str(path)})
    assert ended.code == 1
    assert "File too large" in one_line_of(ended.log, "Standard output cannot be written")
    assert path.stat().st_size == 40_000
    first = Output([line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")])
    assert 0 < len(first.ids("amd")) < ROWS
    assert first.state is not None
    second = run_tap(settings, ["amd"], first.state)
    assert set(first.ids("amd")) | set(second.ids("amd")) == every_id(sandbox)


@pytest.mark.parametrize("lost", ["closed", "full"])
def test_a_log_that_cannot_be_written_costs_no_record(sandbox: Sandbox, tmp_path: Path, lost: str) -> None:
    arguments = arguments_for(settings_for(sandbox, **DATES), tmp_path)
    if lost == "full":
        ended = run_forked(*arguments, onto={2: "/dev/full"})
    else:
        ended = run_forked(*arguments, prepare=[without_log])
    assert ended.code == 0
    assert set(ended.ids("amd")) == every_id(sandbox)


# Temporary files


def at_most(size: int) -> Callable[[], object]:
    """A limit on the size of files, which stands for a full disk; pipes have none."""
    import resource  # noqa: PLC0415 - not there on Windows

    return partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize(
    ("size", "why"), [(0, "No usable temporary directory"), (500, "File too large")], ids=["unusable", "full"]
)
def test_a_report_that_cannot_be_stored_is_read_by_the_next_run(
    sandbox: Sandbox, tmp_path: Path, size: int, why: str
) -> None:
    settings = settings_for(sandbox, **DATES, fetch_mode="async")
    first = run_forked(*arguments_for(settings, tmp_path), prepare=[at_most(size)])
    assert first.code == 1
    line = one_line_of(first.log, "partitions could not be read")
    assert why in line
    assert "(TMPDIR)" in line
    second = run_tap(settings, ["amd"], first.state)
    assert set(second.ids("amd")) == every_id(sandbox)
    assert sum(sandbox.requests.reports.values()) == 1


class FullDisk(tempfile.SpooledTemporaryFile[bytes]):
    """A file of which what is written reaches the buffer, and never the disk."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        super().close()
        self.flush()


def test_pages_that_cannot_be_stored_fail_the_run_and_are_read_by_the_next(sandbox: Sandbox) -> None:
    settings = settings_for(sandbox, **DATES, max_concurrent_requests=4)
    with mock.patch.object(tempfile, "SpooledTemporaryFile", FullDisk):
        first = run_tap(settings, ["amd"])
    assert isinstance(first.error, SyncFailedError)
    assert "No space left on device" in str(first.error)
    assert "TMPDIR" in str(first.error)
    second = run_tap(settings, ["amd"], first.state)
    assert set(first.ids("amd")) | set(second.ids("amd")) == every_id(sandbox)


def test_a_storage_error_is_raised_when_an_item_is_added() -> None:
    spool: DiskQueue[str] = DiskQueue()
    with (
        mock.patch.object(tempfile, "SpooledTemporaryFile", FullDisk),
        pytest.raises(PrefetchStorageError, match="No space"),
    ):
        spool.append("page")
    spool.close()
    assert len(spool) == 0


def test_a_full_disk_leaves_no_half_of_a_batch_file(sandbox: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    batches = {"encoding": {"format": "jsonl", "compression": "none"}, "storage": {"root": str(folder)}}
    settings = settings_for(sandbox, **DATES, batch_config=batches)
    ended = run_forked(*arguments_for(settings, tmp_path), prepare=[at_most(8000)])
    assert ended.code == 1
    assert "File too large" in one_line_of(ended.log, "A BATCH file cannot be written")
    assert files_in(folder) == set()
    assert "covered" not in ended.bookmark("amd")


# The network


class OnTry(logging.Handler):
    """Does something when the client tries for the n-th time."""

    def __init__(self, number: int, do: Callable[[], object]) -> None:
        super().__init__()
        self._said, self._do = f"Try {number} of", do

    def emit(self, record: logging.LogRecord) -> None:
        if self._said in record.getMessage():
            self._do()


@contextmanager
def on_try(number: int, do: Callable[[], object]) -> Generator[None, None, None]:
    handler, logger = OnTry(number, do), logging.getLogger(RetryPolicy.__module__)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class Unplugging(Collector):
    """Cuts the network when so many records are out."""

    def __init__(self, sandbox: Sandbox, records: int) -> None:
        super().__init__()
        self._sandbox, self._left = sandbox, records
        self.done = threading.Event()

    def send(self, lines: bytes | bytearray | memoryview) -> None:
        super().send(lines)
        if self._left > 0:
            self._left -= bytes(lines).count(b'"RECORD"')
            if self._left <= 0:
                self._sandbox.stop()
                self.done.set()

    def plug_in_again(self) -> None:
        assert self.done.wait(60)
        self._sandbox.start()


def run_unplugged(writer: Unplugging, settings: dict[str, Any]) -> Output:
    with mock.patch.object(harness, "Collector", return_value=writer):
        return run_tap(settings, ["amd"])


@pytest.fixture
def replugged(make_sandbox: Callable[..., Sandbox]) -> Sandbox:
    """A sandbox that comes back on the port that it had."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return make_sandbox(rows={"amd": Within(ROWS, START, END)}, page_size=20, port=port)


def test_a_lost_network_ends_the_run_with_its_state_written(replugged: Sandbox) -> None:
    # One worker: what the others have fetched is no matter of the network any more.
    settings = settings_for(replugged, **DATES, max_concurrent_requests=1)
    first = run_unplugged(Unplugging(replugged, ROWS // 3), settings)
    assert isinstance(first.error, UnreachableError)
    assert "cannot be reached. Check api_url and the network" in str(first.error)
    replugged.start()
    second = run_tap(settings, ["amd"], first.state)
    assert 0 < len(first.ids("amd")) < ROWS
    # The pages that were out are behind the state, and not one is read again.
    assert sorted(first.ids("amd") + second.ids("amd")) == sorted(every_id(replugged))


def test_a_network_that_comes_back_in_time_costs_nothing(replugged: Sandbox) -> None:
    settings = settings_for(replugged, **DATES, max_concurrent_requests=1)
    writer = Unplugging(replugged, ROWS // 3)
    with on_try(5, writer.plug_in_again):
        output = run_unplugged(writer, settings)
    assert output.code == 0, output.log
    assert sorted(output.ids("amd")) == sorted(every_id(replugged))
    assert "Try 5 of 8" in output.log


def test_a_lost_network_is_waited_for_some_minutes_and_no_longer(sandbox: Sandbox) -> None:
    waited: list[float] = []
    client = ReportsClient(sandbox.url, sandbox.api_key, sandbox.api_secret, timeout_seconds=1, user_agent="test")
    with pytest.raises(RequestRejectedError):
        client.records({})  # the API has answered, so the address is right
    sandbox.stop()
    with (
        mock.patch.object(CancelToken, "pause", lambda _token, seconds: waited.append(seconds)),
        pytest.raises(UnreachableError),
    ):
        client.records({})
    sandbox.start()
    assert 60 < sum(waited) < RetryPolicy().budget_seconds


def test_a_network_that_is_lost_while_a_report_is_waited_for_keeps_the_report(sandbox: Sandbox) -> None:
    settings = settings_for(sandbox, **DATES, fetch_mode="async")
    sandbox.faults.on(Fault.CUT, endpoints=["report-status"])
    first = run_tap(settings, ["amd"])
    assert isinstance(first.error, SyncFailedError)
    assert "connection broke" in str(first.error)
    sandbox.faults.off(Fault.CUT)
    second = run_tap(settings, ["amd"], first.state)
    assert set(second.ids("amd")) == every_id(sandbox)
    assert sum(sandbox.requests.reports.values()) == 1


def test_a_name_that_cannot_be_looked_up_is_an_error_that_says_so() -> None:
    unknown = socket.gaierror(-3, "Temporary failure in name resolution")
    with mock.patch("socket.getaddrinfo", side_effect=unknown):
        output = run_tap({"api_url": "https://api.nexmo.invalid", "api_key": "key", "api_secret": "hush-hush"})
    assert isinstance(output.error, UnreachableError)
    assert "Check api_url and the network" in str(output.error)


def test_a_proxy_that_does_not_answer_is_named_and_its_password_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:pa55word@127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    output = run_tap({"api_url": "https://api.nexmo.invalid", "api_key": "key", "api_secret": "hush-hush"})
    assert isinstance(output.error, UnreachableError)
    assert "ProxyError" in str(output.error)
    assert "pa55word" not in str(output.error) + output.log


def test_a_sandbox_on_this_machine_is_reached_past_any_proxy(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    output = run_tap(settings_for(sandbox, **DATES), ["amd"])
    assert set(output.ids("amd")) == every_id(sandbox)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_whatever_is_raised_after_a_signal_is_the_signal(sandbox: Sandbox, mode: str) -> None:
    writer, real_poll = Collector(), SyncSession.poll

    def poll(session: SyncSession) -> None:
        """Get a signal inside a lock of the standard library, which then raises an error of its own."""
        if any(b'"type":"RECORD"' in line for line in writer.lines):
            with suppress(Interrupted):
                writer.interrupt(signal.SIGTERM, None)
            msg = "release unlocked lock"
            raise RuntimeError(msg)
        real_poll(session)

    with (
        mock.patch.object(harness, "Collector", return_value=writer),
        mock.patch.object(SyncSession, "poll", poll),
        pytest.raises(Interrupted) as caught,
    ):
        run_tap(settings_for(sandbox, fetch_mode=mode, **DATES), ["amd"])
    assert caught.value.exit_code == 143
    first = Output(writer.lines)
    assert first.state is not None
    second = run_tap(settings_for(sandbox, fetch_mode=mode, **DATES), ["amd"], first.state)
    whole = run_tap(settings_for(sandbox, fetch_mode=mode, **DATES), ["amd"])
    assert set(first.ids("amd")) | set(second.ids("amd")) == set(whole.ids("amd"))
