"""It resumes: killed at any instant, the next run goes on where the last one stopped, and nothing is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
from singer_sdk.singerlib import StateMessage

from tap_vonage_reports.extract.pages import prefetch
from tap_vonage_reports.output import signals
from tap_vonage_reports.output.messages import MessageWriter
from tap_vonage_reports.output.signals import Interrupted
from tap_vonage_reports.sandbox import Fault, Sandbox, Within
from tap_vonage_reports.timestamps import parse_time
from tests.harness import COMMAND, Output, catalog_of, forks, run_tap, settings_for
from tests.interruptions import sync_into

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from singer_sdk.singerlib.encoding.simple import Message

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to kill with")

START = datetime(2026, 11, 1, tzinfo=timezone.utc)
PAGE_SIZE = 20
ITEMS_PER_WORKER = 2
"""In these tests; more would hold all that there is to read."""


def ahead(workers: int) -> int:
    """Rows that may be fetched and not yet be out: in the spools, one page with each worker, one with the consumer."""
    return PAGE_SIZE * (ITEMS_PER_WORKER * (workers - 1) + prefetch.ITEMS_OF_FIRST_TASK + workers + 1)


def killed_after(size: int, settings: dict[str, Any]) -> Output:
    """What a run wrote that was killed when it had written some bytes."""
    # A connection, for it is handed over with the process itself: one that is killed at once leaves none open.
    receiver, sender = forks().Pipe(duplex=False)
    process = forks().Process(target=sync_into, args=(settings, catalog_of(["amd"]), ITEMS_PER_WORKER, sender))
    process.start()
    sender.close()
    with receiver, os.fdopen(os.dup(receiver.fileno()), "rb") as pipe:
        seen = pipe.read(size)
        process.kill()
        seen += pipe.read()
    process.join()
    return Output([line for line in seen.splitlines(keepends=True) if line.endswith(b"\n")])


def rows_of_runs(sandbox: Sandbox) -> list[int]:
    """How many rows each run has pulled; a run begins with the request that learns the time."""
    counts: list[int] = []
    for entry in sandbox.requests.log:
        if entry.product == "REPORTS-USAGE":
            counts.append(0)
        else:
            counts[-1] += entry.rows
    return counts


def records_before_the_last_state(output: Output) -> int:
    last = max((number for number, message in enumerate(output.messages) if message["type"] == "STATE"), default=0)
    return sum(message["type"] == "RECORD" for message in output.messages[:last])


@pytest.mark.promise("Nothing is lost. The bookmark only moves over time that was read completely.")
@pytest.mark.promise(
    "It resumes. Killed at any instant, the next run goes on at the page, or the report, where the last one stopped."
)
@pytest.mark.parametrize(
    ("days", "pages", "kills", "workers"),
    [(5, 5, 12, 1), (1, 40, 12, 1), (5, 8, 20, 5)],
    ids=["5 windows x 5 pages", "1 x 40", "five at once"],
)
def test_killed_at_random_instants_it_loses_nothing_and_reads_no_page_behind_the_state_again(
    make_sandbox: Callable[..., Sandbox], days: int, pages: int, kills: int, workers: int
) -> None:
    rows, end = days * pages * PAGE_SIZE, START + timedelta(days=days)
    sandbox = make_sandbox(rows={"amd": Within(rows, START, end)}, page_size=PAGE_SIZE)
    settings = settings_for(
        sandbox, start_date=START.isoformat(), end_date=end.isoformat(), max_concurrent_requests=workers
    )
    whole = run_tap(settings, ["amd"])
    size = sum(map(len, whole.lines))
    every_id = set(whole.ids("amd"))
    assert len(every_id) == rows
    assert rows_of_runs(sandbox) == [rows]
    chance = random.Random(20261101)
    interrupted = 0
    for _ in range(kills):
        sandbox.requests.reset()
        first = killed_after(chance.randrange(size), settings)
        second = run_tap(settings, ["amd"], first.state)
        interrupted += len(first.ids("amd")) < rows
        behind = records_before_the_last_state(first)
        assert set(first.ids("amd")) | set(second.ids("amd")) == every_id
        *pulled, again = rows_of_runs(sandbox)  # none before, when it was killed before its first request
        assert again == rows - behind
        assert sum(pulled) <= len(first.ids("amd")) + ahead(workers)
    assert interrupted > kills // 2, "hardly any run was killed before its end"


@pytest.mark.promise(
    "It resumes. Killed at any instant, the next run goes on at the page, or the report, where the last one stopped."
)
def test_killed_while_reports_are_requested_awaited_and_read_it_loses_nothing_and_asks_for_none_twice(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    end = START + timedelta(days=10)

    def opened() -> tuple[Sandbox, dict[str, Any]]:
        """A sandbox without reports of the attempts before."""
        sandbox = make_sandbox(rows={"amd": Within(600, START, end)}, polls=2)
        return sandbox, settings_for(
            sandbox, start_date=START.isoformat(), end_date=end.isoformat(), fetch_mode="async", report_window_days=1
        )

    _, settings = opened()
    whole = run_tap(settings, ["amd"])
    size, every_id = sum(map(len, whole.lines)), set(whole.ids("amd"))
    beginning = sum(map(len, whole.lines[:8]))  # the states that are written as the first reports are requested
    chance = random.Random(20261103)
    assert len(every_id) == 600
    for kill in range(12):
        sandbox, settings = opened()
        first = killed_after(chance.randrange(size if kill % 2 else beginning), settings)
        # Every other time nobody has kept the state: what was read is read again, and nothing else is requested.
        state = first.state if kill % 4 < 2 else None
        second = run_tap(settings, ["amd"], state)
        assert set(first.ids("amd")) | set(second.ids("amd")) == every_id
        if state is None:
            assert set(second.ids("amd")) == every_id
        requested = Counter(
            entry.date_start
            for entry in sandbox.requests.log
            if entry.endpoint == "report-create" and entry.status == 200
        )
        assert set(requested.values()) == {1}


def broken_off(make_sandbox: Callable[..., Sandbox], line: str, rows: int) -> tuple[Sandbox, dict[str, Any], Output]:
    """A window of pages of 20 rows, and a run that was refused the 26th of them."""
    stream, end = line.partition("/")[0], START + timedelta(days=1)
    sandbox = make_sandbox(rows={stream: 0, line: Within(rows, START, end)}, page_size=20)
    settings = settings_for(sandbox, start_date=START.isoformat(), end_date=end.isoformat(), max_concurrent_requests=1)
    sandbox.faults.on(Fault.FORBIDDEN, after=25, products=[stream])
    return sandbox, settings, run_tap(settings, [stream])


def test_a_page_of_a_window_is_resumed_by_its_cursor(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox, settings, first = broken_off(make_sandbox, "amd", 800)
    assert first.code == 1
    assert "skipped" not in first.log  # it was read, so it may not be taken for a product that the account lacks
    assert first.bookmark("amd")["page"]["cursor"]
    assert "covered" not in first.bookmark("amd")
    sandbox.faults.off(Fault.FORBIDDEN)
    sandbox.requests.reset()
    second = run_tap(settings, ["amd"], first.state)
    assert all(entry.cursor for entry in sandbox.requests.log if entry.product == "AMD")
    assert len(set(first.ids("amd") + second.ids("amd"))) == 800
    assert len(first.ids("amd")) + len(second.ids("amd")) == 800
    assert "page" not in second.bookmark("amd")


def test_an_open_page_of_another_query_is_not_resumed(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox, settings, first = broken_off(make_sandbox, "sms/outbound", 600)
    sandbox.faults.off(Fault.FORBIDDEN)
    second = run_tap({**settings, "include_message": True}, ["sms"], first.state)
    assert len(second.ids("sms")) == 600
    assert any(record["message_body"] for record in second.records["sms"])


@pytest.mark.promise("They are kept up to date while their status still changes.")
def test_rows_that_were_read_before_a_long_pause_are_looked_at_again(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"sms/outbound": 800}, page_size=20)
    settings = settings_for(sandbox, start_date="2026-11-19T12:00:00Z", max_concurrent_requests=1)
    sandbox.faults.on(Fault.FORBIDDEN, after=25, products=["SMS"])
    runs = [run_tap(settings, ["sms"])]
    sandbox.faults.off(Fault.FORBIDDEN)
    for _ in range(2):
        sandbox.clock.advance(days=4)
        runs.append(run_tap(settings, ["sms"], runs[-1].state))
    latest = {record["id"]: record["status"] for run in runs for record in run.records["sms"]}
    bounds = parse_time("2026-11-19T12:00:00Z"), parse_time("2026-11-20T11:59:00Z")
    truth = {row["id"]: row["status"] for row in sandbox.expected("sms", None, "outbound", *bounds)}
    assert "resuming one" in runs[1].log
    assert {key: latest.get(key) for key in truth} == truth


def broken_off_page(sandbox: Sandbox, settings: dict[str, Any]) -> Output:
    """A run that was refused a page in the middle of its third window."""
    sandbox.faults.on(Fault.FORBIDDEN, after=18, products=["SMS"])
    first = run_tap(settings, ["sms"])
    assert first.bookmark("sms", direction="outbound")["page"]["cursor"]
    return first


def broken_off_report(sandbox: Sandbox, settings: dict[str, Any]) -> Output:
    """A run that has requested its reports and could not look after them."""
    sandbox.faults.on(Fault.REVOKED, endpoints=["report-status"])
    first = run_tap({**settings, "fetch_mode": "async", "report_window_days": 3}, ["sms"])
    assert first.bookmark("sms", direction="outbound")["reports"]
    return first


BREAKS = {"page": (broken_off_page, "sync"), "report": (broken_off_report, "async")}


@pytest.mark.promise("They are kept up to date while their status still changes.")
@pytest.mark.parametrize("pause", [1 / 60, 48, 90], ids=["a minute", "48 h", "90 h"])
@pytest.mark.parametrize("how", ["window", "ids", "batch"])
@pytest.mark.parametrize("broken", BREAKS)
def test_a_run_that_resumes_refetches_what_may_have_changed_since(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, broken: str, how: str, pause: float
) -> None:
    sandbox = make_sandbox(rows={"sms/outbound": 160}, page_size=20, faults=["late-rows"])
    settings = settings_for(sandbox, start_date="2026-11-16T12:00:00Z", max_concurrent_requests=1, lookback_hours=80)
    if how == "ids":
        settings |= {"status_refresh": "ids", "late_rows_hours": 8}
    if how == "batch":
        encoding = {"format": "jsonl", "compression": "none"}
        settings["batch_config"] = {"encoding": encoding, "storage": {"root": str(tmp_path)}}
    break_off, mode = BREAKS[broken]
    runs = [break_off(sandbox, settings)]
    sandbox.faults.off(Fault.FORBIDDEN)
    sandbox.faults.off(Fault.REVOKED)
    sandbox.clock.advance(hours=pause)
    settings["fetch_mode"] = mode
    runs.append(run_tap(settings, ["sms"], runs[0].state))
    assert runs[1].code == 0, runs[1].error
    assert "resuming" in runs[1].log
    end = parse_time(runs[1].bookmark("sms", direction="outbound")["replication_key_value"])
    assert end == (sandbox.clock.now() - timedelta(minutes=1)).replace(microsecond=0)
    records = [record for run in runs for record in sms_of(run)]
    latest = {record["id"]: record["status"] for record in records if record["direction"] == "outbound"}
    truth = sandbox.expected("sms", None, "outbound", parse_time("2026-11-16T12:00:00Z"), end)
    assert latest == {row["id"]: row["status"] for row in truth}
    # The state knows it: nothing is left for the next run but its own lookback.
    sandbox.requests.reset()
    run_tap({**settings, "status_refresh": "window", "fetch_mode": "sync"}, ["sms"], runs[1].state)
    starts = [entry.date_start for entry in sandbox.requests.log if entry.direction == "outbound"]
    assert how == "ids" or parse_time(min(starts)) >= end - timedelta(hours=80, minutes=1)


def sms_of(output: Output) -> list[dict[str, Any]]:
    """The records of a run, also those of its BATCH files."""
    files = [name for message in output.messages if message["type"] == "BATCH" for name in message["manifest"]]
    lines = [line for name in files for line in Path(name.removeprefix("file://")).read_text().splitlines()]
    return [*output.records["sms"], *map(json.loads, lines)]


def test_a_window_that_starts_over_is_fresh_and_is_not_refetched(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"sms/outbound": 800}, page_size=20)
    settings = settings_for(sandbox, start_date="2026-11-19T12:00:00Z", max_concurrent_requests=1)
    sandbox.faults.on(Fault.FORBIDDEN, after=25, products=["SMS"])
    first = run_tap(settings, ["sms"])
    sandbox.faults.off(Fault.FORBIDDEN)
    sandbox.faults.on(Fault.CURSOR_REFUSED, first=1)
    sandbox.clock.advance(hours=48)
    second = run_tap(settings, ["sms"], first.state)
    assert "restarting" in second.log
    assert "refetching rows" not in second.log


def test_an_old_cursor_that_is_refused_starts_its_window_over(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox, settings, first = broken_off(make_sandbox, "amd", 800)
    sandbox.faults.off(Fault.FORBIDDEN)
    sandbox.faults.on(Fault.CURSOR_REFUSED, first=1)
    second = run_tap(settings, ["amd"], first.state)
    assert second.code == 0
    assert len(set(second.ids("amd"))) == 800
    assert "restarting" in second.log


PATIENCE = 60
PATIENT = f"import {signals.__name__} as signals; signals.EXIT_WITHIN_SECONDS = 600"
PATIENT_COMMAND = [sys.executable, "-c", f"{PATIENT}; from tap_vonage_reports.__main__ import main; main()"]
"""The command, which has to end by itself after a signal: it is not made to, however slow the machine is."""


def start(
    settings: dict[str, Any], folder: Path, *more: str, command: Sequence[str] = PATIENT_COMMAND
) -> subprocess.Popen[bytes]:
    (folder / "config.json").write_text(json.dumps(settings))
    return subprocess.Popen(  # noqa: S603 - our own command
        # Unbuffered, so that what is read line by line is not lost to communicate().
        [*command, "--config", str(folder / "config.json"), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )


def end_of(process: subprocess.Popen[bytes], number: int) -> tuple[bytes, str]:
    """Send a signal, and return what came out after it, and the log."""
    process.send_signal(number)
    output, log = process.communicate(timeout=PATIENCE)
    return output, log.decode()


def lines_until(pipe: IO[bytes], count: int) -> list[bytes]:
    return [pipe.readline() for _ in range(count)]


@pytest.mark.promise(
    "SIGTERM and Ctrl-C: waits are interrupted, state is written, the process ends within two seconds, non-zero."
)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_with_its_state_written(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, number: int, code: int
) -> None:
    end = START + timedelta(days=15)
    sandbox = make_sandbox(rows={"amd": Within(2000, START, end)}, page_size=20)
    settings = settings_for(sandbox, start_date=START.isoformat(), end_date=end.isoformat(), fetch_mode="sync")
    process = start(settings, tmp_path)
    assert process.stdout is not None
    before = lines_until(process.stdout, 500)
    rest, log = end_of(process, number)
    first = Output([*before, *rest.splitlines(keepends=True)])
    assert process.returncode == code, log
    assert "Interrupted" in log
    assert "Traceback" not in log
    assert first.messages[-1]["type"] == "STATE"
    assert first.state is not None
    second = run_tap(settings, ["amd"], first.state)
    assert len(set(first.ids("amd") + second.ids("amd"))) == 2000


@pytest.mark.promise("Requested reports stay in state for the next run.")
def test_a_signal_ends_a_wait_for_a_report_which_the_next_run_takes_up(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    end = START + timedelta(days=10)
    sandbox = make_sandbox(rows={"amd": Within(100, START, end)}, generation_seconds=3600)
    settings = settings_for(sandbox, start_date=START.isoformat(), end_date=end.isoformat(), fetch_mode="async")
    (tmp_path / "catalog.json").write_text(json.dumps(catalog_of(["amd"])))
    process = start(settings, tmp_path, "--catalog", str(tmp_path / "catalog.json"))
    assert process.stderr is not None
    while b"in 1 report" not in process.stderr.readline():
        assert process.poll() is None
    output, _ = end_of(process, signal.SIGTERM)
    assert process.returncode == 143
    first = Output(output.splitlines(keepends=True))
    assert first.bookmark("amd")["reports"]
    sandbox.options.generation_seconds = 0
    second = run_tap(settings, ["amd"], first.state)
    assert len(second.ids("amd")) == 100
    assert sum(sandbox.requests.reports.values()) == 1


def test_a_signal_never_cuts_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    class Signalled(MessageWriter):
        """Gets a signal in the middle of a line."""

        def format_message(self, message: Message) -> bytearray:
            self.interrupt(signal.SIGTERM, None)
            return super().format_message(message)

    with pytest.raises(Interrupted):
        Signalled().write_message(StateMessage(value={}))
    assert json.loads(capfd.readouterr().out) == {"type": "STATE", "value": {}}


@pytest.mark.promise(
    "SIGTERM and Ctrl-C: waits are interrupted, state is written, the process ends within two seconds, non-zero."
)
def test_a_signal_ends_a_wait_for_the_api(make_sandbox: Callable[..., Sandbox], tmp_path: Path) -> None:
    sandbox = make_sandbox(rows={"amd": 100})
    sandbox.faults.on(Fault.TOO_MANY_REQUESTS, 300, products=["AMD"])
    process = start(settings_for(sandbox, start_date="2026-11-19"), tmp_path)
    assert process.stderr is not None
    while b"Try 2 of" not in process.stderr.readline():
        assert process.poll() is None
    end_of(process, signal.SIGTERM)
    assert process.returncode == 143


@pytest.mark.parametrize("maps", [{}, {"stream_maps": {"amd": {"note": "'x'"}}}], ids=["as they are", "mapped"])
def test_rows_are_written_while_the_next_page_is_awaited(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, maps: dict[str, Any]
) -> None:
    sandbox = make_sandbox(rows={"amd": Within(40, START, START + timedelta(hours=1))}, page_size=15)
    sandbox.faults.on(Fault.TOO_MANY_REQUESTS, 300, after=2, products=["AMD"])
    hour = {"start_date": START.isoformat(), "end_date": (START + timedelta(hours=1)).isoformat()}
    (tmp_path / "catalog.json").write_text(json.dumps(catalog_of(["amd"])))
    process = start(settings_for(sandbox, **hour, **maps), tmp_path, "--catalog", str(tmp_path / "catalog.json"))
    assert process.stdout is not None
    records = 0
    while records < 30:
        records += json.loads(process.stdout.readline())["type"] == "RECORD"
    process.kill()
    process.communicate()


def test_a_signal_ends_the_run_even_when_nobody_reads_its_output(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    sandbox = make_sandbox(rows={"amd": 20000})
    process = start(settings_for(sandbox, start_date="2026-11-15"), tmp_path, command=COMMAND)
    assert process.stdout is not None
    lines_until(process.stdout, 10)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=PATIENCE) == 143
    process.communicate()


def test_a_target_that_dies_ends_the_run_with_one_clear_line(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    sandbox = make_sandbox(rows={"amd": 20000})
    process = start(settings_for(sandbox, start_date="2026-11-15"), tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    lines_until(process.stdout, 10)
    process.stdout.close()
    log = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(timeout=PATIENCE) == 1
    assert "The target has closed the pipe" in log
    assert "Traceback" not in log
