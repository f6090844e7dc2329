"""A long run says every minute how far it is, how fast it reads, and how long the rest will take."""

from __future__ import annotations

import logging
import re
import time
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.api.downloads import FileDownload
from tap_vonage_reports.extract.reports import fetcher
from tap_vonage_reports.extract.reports.scheduler import ReportScheduler
from tap_vonage_reports.intervals import TimeWindow
from tap_vonage_reports.metrics import PartitionResult
from tap_vonage_reports.planning.partition import Partition
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.progress.figures import Figures
from tap_vonage_reports.progress.renderers import LogLines
from tap_vonage_reports.progress.tracker import Progress
from tap_vonage_reports.records import report_archive
from tap_vonage_reports.sandbox import Fault
from tests.harness import run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_vonage_reports.sandbox import Sandbox

LINE = re.compile(
    r"progress: read (\d+)% of (\S+) days(?:, about ([^(]+) left)? \(([\d,]+) rows?, ([\d,]+) rows/s(.*)\)"
)
DAY = timedelta(days=1)


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def result(days: float) -> PartitionResult:
    """A partition with some days to read."""
    found = PartitionResult(Partition(PRODUCTS["amd"], "abcd1234", None, is_primary=True))
    found.left = timedelta(days=days)
    return found


def window(days: float) -> TimeWindow:
    start = datetime(2026, 11, 1, tzinfo=timezone.utc)
    return TimeWindow(start, start + timedelta(days=days))


def figures(
    left: float = 5, planned: float = 10, *, seconds: float = 60, rows: int = 100, in_flight: int = 0
) -> Figures:
    return Figures(planned * DAY, left * DAY, rows, seconds, in_flight)


def progress_lines(log: str) -> list[re.Match[str]]:
    lines = [line for line in log.splitlines() if line.startswith("progress: ")]
    found = [LINE.fullmatch(line) for line in lines]
    assert None not in found, lines
    return [line for line in found if line]


@pytest.fixture
def all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is due whenever it could be shown."""
    monkeypatch.setattr(LogLines, "interval_seconds", 0.0)


def test_a_run_says_its_progress_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock, results = Clock(), [result(30), result(10)]
    progress = Progress(LogLines, clock)
    with caplog.at_level(logging.INFO):
        progress.start(results, lambda: (5, 68))
        for second in range(150):
            if second == 61:
                results[0].count_window(window(10))
                results[0].rows = 60_000
            progress.tick()
            clock.now += 1
        progress.close()
        clock.now += 1000
        progress.tick()
    assert caplog.messages == [
        "progress: read 0% of 40 days (0 rows, 0 rows/s; 5 reports in flight, 68 waiting)",
        "progress: read 25% of 40 days, about 6 min left (60,000 rows, 500 rows/s; 5 reports in flight, 68 waiting)",
    ]


@pytest.mark.parametrize(
    ("seconds", "left", "said"),
    [
        (60, 5, "about 1 min left"),
        (61, 5, "about 2 min left"),
        (3600, 5, "about 1 h 0 min left"),
        (60, 9.9, "about 1 h 39 min left"),
        (3600 * 30, 5, "about 1 d 6 h left"),
        (60, 10, ""),
        (60, 0, ""),
    ],
)
def test_the_time_left_is_that_of_the_rest_at_the_speed_so_far(seconds: float, left: float, said: str) -> None:
    assert figures(left, seconds=seconds).time_left == said


def test_only_the_end_is_a_hundred_percent() -> None:
    assert [figures(left).percent for left in (10, 0.001, 0)] == [0, 99, 100]
    assert figures(0, planned=0).percent == 100  # rows are looked up by their ids, and no time is read


def test_counts_and_days_are_readable() -> None:
    assert figures(rows=1, in_flight=1).details == "1 row, 0 rows/s; 1 report in flight, 0 waiting"
    assert figures(rows=1_234_567, seconds=10).details == "1,234,567 rows, 123,457 rows/s"
    assert [figures(planned=days).days for days in (0.04, 9.5, 12345.6)] == ["0.0 days", "9.5 days", "12,346 days"]


def test_a_window_that_is_read_again_takes_nothing_from_what_is_left_of_others() -> None:
    one = result(1)
    one.count_window(window(3))
    assert one.left == timedelta(0)


@pytest.mark.usefixtures("all_the_time")
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_progress_grows_from_nothing_to_the_whole_plan(make_sandbox: Callable[..., Sandbox], mode: str) -> None:
    sandbox = make_sandbox(rows={"amd": 20, "asr": 20}, polls=3)
    settings = settings_for(sandbox, start_date="2026-11-01", end_date="2026-11-11", report_window_days=2)
    output = run_tap({**settings, "fetch_mode": mode}, ["amd", "asr"])
    lines = progress_lines(output.log)
    assert {line[2] for line in lines} == {"30"}  # asr has two directions
    shares = [int(line[1]) for line in lines]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] >= 90
    rows = [int(line[4].replace(",", "")) for line in lines]
    assert rows == sorted(rows)
    assert rows[-1] <= sum(map(len, output.records.values())) == 600
    reports = {line[6] for line in lines}
    assert reports == {""} if mode == "sync" else "; 5 reports in flight, 10 waiting" in reports


@pytest.mark.usefixtures("all_the_time")
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_what_fails_is_not_left_to_read(make_sandbox: Callable[..., Sandbox], mode: str) -> None:
    sandbox = make_sandbox(rows={"amd": 20, "asr": 20})
    sandbox.faults.on(Fault.FORBIDDEN, products=["amd"])
    sandbox.faults.on(Fault.WINDOW_FAILED, "2026-11-05T05:00")
    settings = settings_for(sandbox, start_date="2026-11-01", end_date="2026-11-11", report_window_days=2)
    lines = progress_lines(run_tap({**settings, "fetch_mode": mode}, ["amd", "asr"]).log)
    assert int(lines[-1][1]) >= 90


@pytest.mark.usefixtures("all_the_time")
def test_the_rows_of_a_large_report_are_counted_as_they_are_written(
    make_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tap_vonage_reports.records.csv_rows.CHUNK_CHARACTERS", 10_000)
    sandbox = make_sandbox(rows={"amd": 1000})
    settings = settings_for(sandbox, start_date="2026-11-01", end_date="2026-11-02", fetch_mode="async")
    lines = progress_lines(run_tap(settings, ["amd"]).log)
    rows = {int(line[4].replace(",", "")) for line in lines}
    assert len(rows & set(range(1, 1000))) > 1


def test_a_report_that_takes_long_does_not_hold_up_the_line(
    make_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(ReportScheduler, "idle_seconds", lambda _: 30.0)
    monkeypatch.setattr(fetcher, "time", SimpleNamespace(sleep=slept.append, monotonic=time.monotonic))
    sandbox = make_sandbox(rows={"amd": 10}, polls=4)
    settings = settings_for(sandbox, start_date="2026-11-01", end_date="2026-11-02", fetch_mode="async")
    assert len(run_tap(settings, ["amd"]).records["amd"]) == 10
    assert slept
    assert max(slept) <= 1


def test_progress_is_shown_while_a_file_is_downloaded_and_verified(
    make_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    for owner, name in ((FileDownload, "attempt"), (report_archive, "check_count"), (Progress, "tick")):
        real = getattr(owner, name)

        def noted(*arguments: Any, _name: str = name, _real: Any = real) -> Any:
            seen.append(_name)
            return _real(*arguments)

        monkeypatch.setattr(owner, name, noted)
    sandbox = make_sandbox(rows={"amd": 10})
    settings = settings_for(sandbox, start_date="2026-11-01", end_date="2026-11-02", fetch_mode="async")
    run_tap(settings, ["amd"])
    during = seen[seen.index("attempt") + 1 : seen.index("check_count")]
    assert during == ["tick", "tick"]  # a part of the file, and some of its rows
