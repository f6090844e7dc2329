"""On a terminal a live bar shows the progress, and lines of the log stand above it, whole."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, TextIO

import pytest

if sys.platform == "win32":
    pytest.skip("Windows has no pseudo-terminals", allow_module_level=True)

import fcntl
import pty
import termios

from tap_vonage_reports.progress.bar import TerminalBar
from tap_vonage_reports.progress.figures import Figures
from tap_vonage_reports.progress.renderers import SET_BY_MELTANO, has_terminal
from tests.harness import Output, catalog_of, run_forked, settings_for, signalled, when_called

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from tap_vonage_reports.sandbox import Sandbox

DAY = timedelta(days=1)
BAR = "%|"
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d [\d:,]{12} \| (INFO|WARNING|ERROR) +\| .*")


class Screen(io.StringIO):
    """What is written to a terminal."""

    encoding = "utf-8"


def screen(written: str) -> list[str]:
    """The lines that a terminal shows, without what was overwritten, and without blanks at their ends."""
    lines: list[str] = []
    for line in written.replace("\r\n", "\n").split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    """A terminal that the root logger writes to, wide enough for every line."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("LINES", "40")
    found = Screen()
    handler = logging.StreamHandler(found)
    logging.getLogger().addHandler(handler)
    yield found
    logging.getLogger().removeHandler(handler)


@contextmanager
def pseudo_terminal(columns: int = 100) -> Generator[tuple[io.FileIO, io.FileIO], None, None]:
    """A terminal: what is on its other side, and itself."""
    master, slave = (io.FileIO(descriptor, "r+") for descriptor in pty.openpty())
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    with master, slave:
        yield master, slave


def run_on_terminal(tmp_path: Path, sandbox: Sandbox, *prepare: Callable[[], object], variable: str = "") -> Output:
    """Run the command with its log on a terminal; `log` is all that was written there."""
    (tmp_path / "config").write_text(json.dumps(settings_for(sandbox, start_date="2026-11-01", fetch_mode="async")))
    (tmp_path / "catalog").write_text(json.dumps(catalog_of(["amd", "asr"])))
    arguments: list[str | Path] = ["--config", tmp_path / "config", "--catalog", tmp_path / "catalog"]
    with pseudo_terminal() as (master, slave), ThreadPoolExecutor() as readers:
        reading = readers.submit(_read_all, master)
        output = run_forked(
            *arguments,
            prepare=[partial(_set_variables, TERM="xterm", **({variable: "set"} if variable else {})), *prepare],
            onto={1: str(tmp_path / "out"), 2: os.ttyname(slave.fileno())},
        )
        slave.close()
        output.log = reading.result()
    return output


def _read_all(master: io.FileIO) -> str:
    found = b""
    with suppress(OSError):  # how Linux says that the other end is closed
        while part := master.read(1 << 16):
            found += part
    return found.decode()


def _set_variables(**variables: str) -> None:
    os.environ.pop(SET_BY_MELTANO, None)
    os.environ.update(variables)


@pytest.mark.parametrize(
    ("stdout", "stderr", "environment", "expected"),
    [
        ("pipe", "terminal", {"TERM": "xterm"}, True),
        ("closed", "terminal", {}, True),
        ("terminal", "terminal", {}, False),
        ("pipe", "pipe", {}, False),
        ("pipe", "closed", {}, False),
        ("pipe", "terminal without a size", {}, False),
        ("pipe", "terminal", {"TERM": "dumb"}, False),
        ("pipe", "terminal", {SET_BY_MELTANO: "tap-vonage-reports"}, False),
    ],
)
def test_a_bar_needs_a_terminal_of_its_own(
    stdout: str, stderr: str, environment: dict[str, str], *, expected: bool
) -> None:
    with ExitStack() as stack:
        streams: dict[str, TextIO | None] = {"closed": None, "pipe": io.StringIO()}
        for name, columns in (("terminal", 80), ("terminal without a size", 0)):
            _, terminal = stack.enter_context(pseudo_terminal(columns))
            streams[name] = io.TextIOWrapper(terminal)
        assert has_terminal(streams[stdout], streams[stderr], environment) is expected


def test_a_run_without_a_terminal_does_not_wait_for_the_bar_to_be_imported() -> None:
    code = "import sys, tap_vonage_reports.cli; sys.exit('tqdm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603 - our own code


def test_the_bar_shows_the_figures_and_goes_without_a_trace(terminal: Screen) -> None:
    bar = TerminalBar(terminal)
    bar.show(Figures(10 * DAY, 5.8 * DAY, 1234, 60, 5, 68))
    (line,) = screen(terminal.getvalue())
    assert line.startswith(" 42%|████")
    assert line.endswith("| about 2 min left, 1,234 rows, 21 rows/s; 5 reports in flight, 68 waiting")
    bar.close()
    bar.close()
    assert screen(terminal.getvalue()) == [""]


def test_lines_of_the_log_stand_above_the_bar(terminal: Screen, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bar = TerminalBar(terminal)
    for number in range(3):
        bar.show(Figures(10 * DAY, (9 - number) * DAY, 10**number, 60))
        logging.getLogger("test").info("Line %d", number)
    *lines, last = screen(terminal.getvalue())
    assert lines == ["Line 0", "Line 1", "Line 2"]
    assert last.startswith(" 30%|")
    bar.close()
    logging.getLogger("test").info("The end")
    assert screen(terminal.getvalue()) == ["Line 0", "Line 1", "Line 2", "The end", ""]


def test_a_run_on_a_terminal_has_a_bar_while_it_runs(make_sandbox: Callable[..., Sandbox], tmp_path: Path) -> None:
    output = run_on_terminal(tmp_path, make_sandbox(rows={"amd": 10, "asr": 10}))
    assert output.code == 0
    assert "  0%|" in output.log
    *lines, last = screen(output.log)
    assert last == ""
    assert [line for line in lines if not LOG_LINE.fullmatch(line)] == []
    assert lines[-1].endswith("requests, 3 reports)")


def test_ctrl_c_leaves_the_terminal_clean(make_sandbox: Callable[..., Sandbox], tmp_path: Path) -> None:
    step = "tap_vonage_reports.state.checkpoint.Checkpointer.write_if_due"
    interrupt = partial(when_called, step, partial(signalled, signal.SIGINT))
    output = run_on_terminal(tmp_path, make_sandbox(rows={"amd": 10, "asr": 10}), interrupt)
    assert output.code == 130
    assert "  0%|" in output.log
    *lines, last = screen(output.log)
    assert last == ""
    assert [line for line in lines if not LOG_LINE.fullmatch(line)] == []
    assert "Interrupted. The state was handed to the target" in lines[-1]


def test_under_meltano_there_are_only_lines(make_sandbox: Callable[..., Sandbox], tmp_path: Path) -> None:
    output = run_on_terminal(tmp_path, make_sandbox(rows={"amd": 10}), variable=SET_BY_MELTANO)
    assert output.code == 0
    assert BAR not in output.log
