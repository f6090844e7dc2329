"""What the benchmark measures is what it says: whose memory, whose rows, and which section of the page."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import os
import sys
from datetime import datetime, timezone
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import requests

from benchmarks import __main__ as command
from benchmarks import machine, report, table_growth, table_scale, workers
from benchmarks.bench import PINNED, Bench
from benchmarks.measure import BenchError, Figure, Outcome, Sample, Subject, exponent, measure, run
from benchmarks.outputs import complete, count_files, count_records, record_ids, row_ids
from benchmarks.report import Column, Section, cell, number, ratio, section, share, times, whole
from benchmarks.table_incremental import Api
from tap_vonage_reports.sandbox import Sandbox, Within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.types import Message, Receive, Scope, Send

ROWS = 300
START, END = datetime(2026, 11, 1, tzinfo=timezone.utc), datetime(2026, 11, 11, tzinfo=timezone.utc)
MEGABYTE = 1_000_000
HOLD = "held = b'x' * 150_000_000"

posix = pytest.mark.skipif(os.name == "nt", reason="processes are measured on Linux and macOS")


def python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *arguments)


def outcome(name: str, *seconds: float, rows: int = 0, start: float = 0) -> Outcome:
    samples = [Sample(wall, 1.0, 2 * MEGABYTE, {"pages": 3.0}) for wall in seconds]
    return Outcome(Subject(name, [], rows=rows), samples, start)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path, quick=True, repeat=1, say=lambda _: None) as made:
        yield made


# What a process takes


@posix
def test_the_memory_of_a_command_is_its_own_and_not_that_of_who_measures_it(tmp_path: Path) -> None:
    held = b"x" * (150 * MEGABYTE)
    assert run(Subject("little", [python("")]), tmp_path).peak < 100 * MEGABYTE < len(held)


@posix
def test_the_largest_process_that_a_command_starts_counts(tmp_path: Path) -> None:
    starts_another = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    assert run(Subject("parent", [python(starts_another, HOLD)]), tmp_path).peak > 150 * MEGABYTE
    assert run(Subject("pipe", [python(HOLD), python("")]), tmp_path).peak > 150 * MEGABYTE


@posix
def test_commands_are_piped_and_see_no_settings_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAP_VONAGE_REPORTS_API_KEY", "mine")
    said: list[str] = []
    second = python("import os, sys; print(sys.stdin.read().strip(), *sorted(os.environ))")
    run(Subject("pipe", [python("print('from the first')"), second], check=lambda out: _said(out, said)), tmp_path)
    assert said[0].startswith("from the first ")
    assert "HOME" in said[0]
    assert "TAP_VONAGE_REPORTS" not in said[0]


def _said(out: Path, said: list[str]) -> dict[str, float]:
    said.append((out / "stdout").read_text())
    return {}


@posix
def test_a_command_that_fails_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    failing = python("import sys; sys.exit('it broke')")
    with pytest.raises(BenchError, match=r"(?s)pair ended with \[0, 1\].*it broke"):
        run(Subject("pair", [python(""), failing]), tmp_path)
    with pytest.raises(BenchError, match="could not be started"):
        run(Subject("nothing", [("/nowhere/nothing",)]), tmp_path)


@posix
def test_subjects_run_by_turns_each_in_an_empty_folder(tmp_path: Path) -> None:
    order: list[str] = []

    def subject(name: str, **more: Any) -> Subject:
        code = "import os, sys; print(os.listdir('out')); open('out/file', 'w').close()"
        return Subject(name, [python(code)], prepare=lambda: order.append(name), check=_was_empty, **more)

    said: list[str] = []
    outcomes = measure([subject("a", baseline="b"), subject("b")], repeat=2, folder=tmp_path, say=said.append)
    assert order == ["a", "b", "a", "b"]
    assert len(said) == 4
    assert outcomes["a"].start == outcomes["b"].wall.median
    assert outcomes["b"].start == 0
    assert not (tmp_path / "out").exists()


def _was_empty(out: Path) -> dict[str, float]:
    assert set(json.loads((out / "stdout").read_text().replace("'", '"'))) == {"stdout", "stderr"}
    return {}


# Rows


@posix
def test_the_tap_and_the_floor_make_the_same_records_of_the_canned_report(bench: Bench) -> None:
    made = bench.report(ROWS)
    found: dict[str, list[dict[str, Any]]] = {}

    def keep(name: str) -> Callable[[Path], dict[str, float]]:
        def check(out: Path) -> dict[str, float]:
            lines = (out / "stdout").read_bytes().splitlines()
            messages = [json.loads(line, parse_float=Decimal) for line in lines]
            found[name] = [message["record"] for message in messages if message["type"] == "RECORD"]
            return complete(lambda out: count_records(out / "stdout"), ROWS)(out)

        return check

    run(Subject("tap", [bench.reading(ROWS)], check=keep("tap")), bench.folder)
    run(Subject("floor", [bench.floor("python", str(made.path))], check=keep("floor")), bench.folder)
    columns = found["floor"][0].keys()
    assert [{name: record[name] for name in columns} for record in found["tap"]] == found["floor"]
    assert f"{sum(record['total_price'] for record in found['floor']):f}" == made.total_price
    assert bench.canned(ROWS).requests > 4


@posix
@pytest.mark.parametrize("rows", [ROWS, 0])
def test_the_floor_in_arrow_writes_all_rows(bench: Bench, rows: int) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    target = bench.folder / "floor.parquet"
    run(Subject("floor", [bench.floor("arrow", str(bench.report(rows).path), str(target))]), bench.folder)
    prices = parquet.read_table(target)["total_price"].to_pylist()
    assert len(prices) == rows
    assert sum(price for price in prices if price) == Decimal(bench.report(rows).total_price)


def test_a_run_that_lacks_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stdout").write_text('{"type": "SCHEMA"}\n{"type": "RECORD", "record": {"id": "\\"RECORD\\""}}\n')
    count: Callable[[Path], int] = lambda out: count_records(out / "stdout")  # noqa: E731 - as the tables have it
    assert complete(count, 1)(tmp_path) == {}
    with pytest.raises(BenchError, match="wrote 1 rows, and should have written 2"):
        complete(count, 2)(tmp_path)


def test_rows_are_counted_in_files_of_every_form(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "plain.jsonl").write_text("{}\n{}\n")
    (tmp_path / "packed.json.gz").write_bytes(gzip.compress(b"{}\n{}\n{}\n"))
    assert count_files(tmp_path) == 5
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pytest.importorskip("pyarrow").table({"id": ["a", "b", "c", "d"]})
    parquet.write_table(table, tmp_path / "columns")
    assert count_files(tmp_path) == 9


def test_ids_are_read_from_messages_from_lines_and_from_folders(tmp_path: Path) -> None:
    messages = tmp_path / "messages"
    messages.write_text('{"type": "STATE", "value": {}}\n{"type": "RECORD", "stream": "sms", "record": {"id": "a"}}\n')
    assert list(record_ids(messages)) == ["a"]
    lines = tmp_path / "rows.jsonl" / "reports" / "sms" / "1.jsonl"
    lines.parent.mkdir(parents=True)
    lines.write_text('{"id": "b", "price": 1.5}\n{"id": "c"}\n')
    assert list(row_ids(lines)) == list(row_ids(tmp_path / "rows.jsonl")) == ["b", "c"]


def test_what_a_tool_asked_and_wrote_is_compared_with_the_sandbox(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"sms/outbound": Within(5, START, END)}, page_size=3)
    ids = [row["id"] for row in sandbox.expected("sms", None, "outbound", START, END)]
    api = Api(sandbox.url, START.isoformat(), END.isoformat(), frozenset(ids))
    api.forget()
    assert sandbox.requests.total == 0
    auth = (sandbox.api_key, sandbox.api_secret)
    window = {"date_start": START.isoformat(), "date_end": START.replace(day=2).isoformat()}
    query = {"product": "SMS", "account_id": sandbox.api_key, "direction": "outbound", **window}
    for _ in range(2):
        requests.get(f"{sandbox.url}/v2/reports/records", query, auth=auth, timeout=60).raise_for_status()
    sandbox.faults.on_text("429")
    requests.get(f"{sandbox.url}/v2/reports/records", query, auth=auth, timeout=60)
    facts = api.check([*ids[1:], ids[2], "other"], exact=False)
    assert {name: facts[name] for name in ("requests", "pages", "refused", "missing", "twice", "foreign")} == {
        "requests": 3,
        "pages": 2,
        "refused": 1,
        "missing": 1,
        "twice": 1,
        "foreign": 1,
    }
    assert api.check(ids, exact=True)["missing"] == 0
    with pytest.raises(BenchError, match="every row once"):
        api.check(ids[1:], exact=True)


@posix
def test_workers_share_the_accounts_and_write_every_row_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "benchmarks.chart", SimpleNamespace(draw=lambda *_: None))
    assert command.main(["--quick", "--table", "6", "--only", "per account, 2 workers"]) == 0
    assert "| limit per account, 2 workers | " in capsys.readouterr().out


@pytest.mark.parametrize(("count", "rates"), [(1, [10]), (2, [5, 5]), (4, [2, 3, 2, 3])])
def test_the_shares_of_the_limit_add_up_to_it(count: int, rates: list[int]) -> None:
    assert table_scale.shares(count) == rates


def test_a_limit_per_account_refuses_one_account_and_no_other() -> None:
    got: list[bytes] = []
    refused: list[Any] = []

    async def api(scope: Scope, _receive: Receive, _send: Send) -> None:
        got.append(scope["query_string"])

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        refused.append(message.get("status"))

    async def ask() -> None:
        for account in ("a", "a", "a", "b"):
            await limiter({"type": "http", "query_string": f"account_id={account}".encode()}, receive, send)

    limiter = table_scale.PerAccount(api, limit=2)
    asyncio.run(ask())
    assert got == [b"account_id=a", b"account_id=a", b"account_id=b"]
    assert refused[0] == 429
    assert limiter.refused == 1


@posix
def test_workers_fail_as_one_of_them_fails(tmp_path: Path) -> None:
    (tmp_path / "commands.json").write_text(json.dumps([python("print('done')"), python("import sys; sys.exit(3)")]))
    assert workers.main(str(tmp_path), str(tmp_path / "commands.json")) == 3
    assert (tmp_path / "worker-0").read_text() == "done\n"


# Figures


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_power_of_known_growth_is_found(power: float) -> None:
    assert math.isclose(exponent((x, 3 * x**power) for x in (50, 500, 2000)), power)


def test_figures_are_medians_with_the_lowest_and_the_highest() -> None:
    some = outcome("some", 4, 2, 3, 8, 5, rows=12, start=1)
    assert some.wall == Figure(4, 2, 8)
    assert some.rate == Figure(3, 1.5, 6)
    assert some.path == Figure(3, 1, 7)
    assert some.path_rate.median == 4
    assert some.megabytes.median == 2
    assert some.fact("pages").median == 3
    assert math.isnan(outcome("too short to tell", 1, start=2).path.median)


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        (number, 1234.5, "1,234"),
        (number, 12.34, "12.3"),
        (number, 1.234, "1.23"),
        (number, math.nan, "-"),
        (whole, 1234.5, "1,234"),
        (share, 0.987, "99%"),
        (share, 0.012, "1.2%"),
        (share, 0, "0%"),
        (times, 1.5, "1.50 x"),
    ],
)
def test_numbers_have_the_digits_that_count(form: Callable[[float], str], value: float, text: str) -> None:
    assert form(value) == text


def test_a_cell_shows_the_range_of_the_runs_where_it_is_visible() -> None:
    assert cell(Figure(2, 1.5, 3), number) == "2.00 (1.50 to 3.00)"
    assert cell(Figure(2, 1.999, 2.001), number) == "2.00"
    reference = outcome("first", 2)
    assert ratio(lambda each: each.wall, reference)(outcome("second", 3)) == Figure(1.5, 1.5, 1.5)


# The page


def a_section(place: int, *seconds: float) -> Section:
    made = outcome("tap", *seconds, rows=10)
    hidden = Outcome(Subject("empty", [], shown=False), made.samples)
    column = Column("Seconds", lambda each: each.wall, number)
    return section(place, "Title", about="About.", outcomes=[made, hidden], columns=[column], main=column)


def test_measuring_a_table_again_replaces_its_section_and_no_other(tmp_path: Path) -> None:
    kept = tmp_path / "results.json"
    for made in (a_section(5, 7), a_section(1, 1, 2, 3)):
        results = report.load(kept)
        results.replace(made)
        report.save(results, kept)
    before = report.page_of(report.load(kept), "results.svg")
    assert before.index("## 1. Title") < before.index("## 5. Title")
    assert "| tap | 2.00 (1.00 to 3.00) |" in before
    assert "empty" not in before

    results = report.load(kept)
    results.replace(a_section(1, 4))
    after = report.page_of(results, "results.svg")
    assert after == before.replace("2.00 (1.00 to 3.00)", "4.00")


def test_the_machine_is_described_without_its_name() -> None:
    text = machine.describe()
    assert "cores" in text
    assert "Python 3." in text
    assert str(command.OUTPUT.parent) not in text
    assert machine.versions({"a": "1"}).startswith("a 1, ")


def test_the_pinned_packages_of_a_script_are_found() -> None:
    assert PINNED.findall('# dependencies = ["dlt[postgres]==1.31.0", "pyarrow==26.0.1", "other"]') == [
        ("dlt", "1.31.0"),
        ("pyarrow", "26.0.1"),
    ]


def test_the_chart_has_a_panel_for_each_section_and_is_the_same_each_time(tmp_path: Path) -> None:
    chart = pytest.importorskip("benchmarks.chart", exc_type=ImportError)
    paths = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for path in paths:
        chart.draw([a_section(1, 1, 2, 3), a_section(5, 7)], path)
    text = paths[0].read_text("utf-8")
    assert "1. Title: Seconds" in text
    assert "5. Title: Seconds" in text
    assert paths[0].read_bytes() == paths[1].read_bytes()


@posix
def test_a_table_is_measured_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setitem(sys.modules, "benchmarks.chart", SimpleNamespace(draw=lambda *given: drawn.append(given)))
    monkeypatch.setattr(table_growth, "QUICK_SIZES", (100, 200))
    page = tmp_path / "page.md"
    options = ["--quick", "--table", "4", "--only", "RECORD", "--output", str(page)]
    assert command.main(options) == 0
    text = page.read_text("utf-8")
    assert "| tap, RECORD, 200 rows | " in text
    assert "BATCH" not in text
    assert "time grows with the power" in text
    samples = json.loads(page.with_suffix(".json").read_text("utf-8"))["sections"]["4"]["samples"]
    assert set(samples) == {"tap, RECORD, 100 rows", "tap, RECORD, 200 rows", "tap, RECORD, 0 rows"}
    assert drawn[0][1] == tmp_path / "page.svg"
