"""Running the tap as its users do, and reading what it wrote."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any
from unittest import mock

from tap_vonage_reports.__main__ import run as main
from tap_vonage_reports.errors import TapError
from tap_vonage_reports.messages import MessageWriter
from tap_vonage_reports.run import Run
from tap_vonage_reports.tap import TapVonageReports

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tap_vonage_reports.sandbox import Sandbox

COMMAND = [sys.executable, "-m", "tap_vonage_reports"]


@dataclass
class Output:
    """What one run wrote and how it ended."""

    lines: list[bytes]
    code: int = 0
    error: Exception | None = None
    log: str = ""

    @cached_property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(line, parse_float=Decimal) for line in self.lines]

    @cached_property
    def records(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for message in self.messages:
            if message["type"] == "RECORD":
                found[message["stream"]].append(message["record"])
        return found

    @property
    def states(self) -> list[dict[str, Any]]:
        return [message["value"] for message in self.messages if message["type"] == "STATE"]

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


class Collector(MessageWriter):
    """Keeps the lines that would go to standard output."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[bytes] = []

    def send(self, lines: bytes | bytearray) -> None:
        self.lines += bytes(lines).splitlines(keepends=True)

    def take_signals(self) -> None:
        """Leave the signals to the test runner."""


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
    level, formatters = root.level, [(other, other.formatter) for other in root.handlers]
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        tap = TapVonageReports(
            config=dict(settings),
            state=dict(state) if state else None,
            catalog=catalog or (catalog_of(streams) if streams is not None else None),
            message_writer=writer,
        )
        tap.run.pace = 0
        tap.run_to_end(tap.sync)
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
            mock.patch.object(Run, "pace", 0),
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
        [*COMMAND, *map(str, arguments)], env=_environment(environment), capture_output=True, check=False, timeout=60
    )
    return Output(done.stdout.splitlines(), done.returncode, log=done.stderr.decode())


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
