"""Whole runs that write BATCH files give the records of RECORD messages, and the same state."""

from __future__ import annotations

import gc
import gzip
import json
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow.parquet as pq
import pytest

from tap_vonage_reports.errors import BrokenPipeToTargetError, SettingsError, SyncFailedError
from tap_vonage_reports.products import PRODUCTS, Product
from tap_vonage_reports.sandbox import Fault, Sandbox, Within
from tap_vonage_reports.timestamps import parse_time
from tests.extract.test_reports import BROKEN_FILES
from tests.harness import Collector, Output, catalog_of, run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START, END = datetime(2026, 11, 10, 6, tzinfo=timezone.utc), datetime(2026, 11, 12, 6, tzinfo=timezone.utc)
DATES = {"start_date": START.isoformat(), "end_date": END.isoformat()}
ROWS = 150
every_product = pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS.keys())


def batch(folder: Path, kind: str = "parquet", **more: Any) -> dict[str, Any]:
    return {"batch_config": {"encoding": {"format": kind}, "storage": {"root": str(folder)}, **more}}


def rows_of(address: str) -> list[dict[str, Any]]:
    """The rows of a file as in RECORD messages."""
    path = address.removeprefix("file://")
    if path.endswith(".jsonl.gz"):
        with gzip.open(path) as lines:
            return [json.loads(line, parse_float=Decimal) for line in lines]
    return [{name: _plain(value) for name, value in row.items()} for row in pq.read_table(path).to_pylist()]


def _plain(value: Any) -> Any:
    if isinstance(value, str) and "T" in value and value.endswith("+00:00"):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return value.normalize() if isinstance(value, Decimal) else value


def files_of(output: Output) -> list[str]:
    return [address for message in output.messages if message["type"] == "BATCH" for address in message["manifest"]]


def comparable(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records by id, with prices without trailing zeros and objects as text."""
    return sorted(
        (
            {
                name: msgspec.json.encode(value).decode() if isinstance(value, dict) else _plain(value)
                for name, value in record.items()
            }
            for record in records
        ),
        key=lambda record: str(record["id"]),
    )


@pytest.mark.promise(
    "It is exact. The same CDR gives the same record, byte for byte, by the sync path, the async path and BATCH files."
)
@every_product
@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_files_hold_the_records(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, product: Product, kind: str, mode: str
) -> None:
    sandbox = make_sandbox(rows={product.stream: Within(ROWS, START, END)})
    settings = settings_for(sandbox, **DATES, fetch_mode=mode)
    records = run_tap(settings, [product.stream]).records[product.stream]
    output = run_tap({**settings, **batch(tmp_path, kind)}, [product.stream])
    rows = [row for address in files_of(output) for row in rows_of(address)]
    assert output.code == 0
    assert not output.records
    assert len(rows) >= ROWS
    assert list(rows[0]) == list(product.schema["properties"])
    assert comparable(rows) == comparable(records)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_state_never_covers_rows_before_their_batch_message(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, mode: str
) -> None:
    sandbox = make_sandbox(rows={"amd": Within(500, START, END)}, page_size=20)
    settings = settings_for(sandbox, **DATES, **batch(tmp_path, batch_size=100), fetch_mode=mode, report_window_days=1)
    output = run_tap(settings, ["amd"])
    out: set[str] = set()
    covered = 0
    for message in output.messages:
        if message["type"] == "BATCH":
            out |= {row["id"] for address in message["manifest"] for row in rows_of(address)}
        if message["type"] == "STATE" and "covered" in (state := message["value"]["bookmarks"]["amd"]["partitions"][0]):
            covered += 1
            end = parse_time(state["covered"][-1][1])
            assert {row["id"] for row in sandbox.expected("amd", None, None, START, end)} <= out
    assert covered > 1
    assert "progress_markers" not in json.dumps(output.states)
    assert len(out) == 500
    assert all(len(rows_of(address)) <= 100 for address in files_of(output))


def test_a_report_without_rows_is_covered_and_gives_no_file(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    sandbox = make_sandbox(rows={"sms": 0, "sms/inbound": Within(10, START, END)})
    settings = settings_for(sandbox, **DATES, **batch(tmp_path), fetch_mode="async", report_window_days=1)
    output = run_tap(settings, ["sms"])
    assert len(files_of(output)) == 2
    for direction in ("inbound", "outbound"):
        assert output.bookmark("sms", direction=direction)["replication_key_value"] == END.isoformat()


def test_rows_before_a_failure_are_written_and_not_refetched(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    sandbox = make_sandbox(rows={"amd": Within(500, START, END)}, page_size=20)
    settings = settings_for(sandbox, **DATES, **batch(tmp_path), max_concurrent_requests=1)
    sandbox.faults.on(Fault.FORBIDDEN, after=17, products=["AMD"])
    first = run_tap(settings, ["amd"])
    sandbox.faults.off(Fault.FORBIDDEN)
    sandbox.requests.reset()
    second = run_tap(settings, ["amd"], first.state)
    ids = [[row["id"] for address in files_of(run) for row in rows_of(address)] for run in (first, second)]
    assert isinstance(first.error, SyncFailedError)
    assert 250 < len(ids[0]) < 500
    assert len(set(ids[0] + ids[1])) == len(ids[0] + ids[1]) == 500


@pytest.mark.promise("BATCH honors field selection.")
def test_fields_that_are_not_selected_are_in_no_file(make_sandbox: Callable[..., Sandbox], tmp_path: Path) -> None:
    sandbox = make_sandbox(rows={"sms": Within(20, START, END)})
    catalog = catalog_of(["sms"])
    for entry in catalog["streams"]:
        for metadata in entry["metadata"]:
            if metadata["breadcrumb"] == ["properties", "message_body"]:
                metadata["metadata"]["selected"] = False
    settings = settings_for(sandbox, **DATES, include_message=True, **batch(tmp_path))
    for mode in ("sync", "async"):
        output = run_tap({**settings, "fetch_mode": mode}, catalog=catalog)
        schema = next(message["schema"] for message in output.messages if message["type"] == "SCHEMA")
        columns = {column for address in files_of(output) for row in rows_of(address) for column in row}
        assert "message_body" not in columns
        assert columns == set(schema["properties"])


@pytest.mark.promise("With stream_maps set, BATCH is refused with a clear message.")
def test_settings_by_which_the_sdk_would_change_records_are_rejected(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    for more in ({"stream_maps": {"sms": {"to": "__NULL__"}}}, {"flattening_enabled": True}):
        output = run_tap(settings_for(make_sandbox(), **batch(tmp_path), **more), ["sms"])
        assert isinstance(output.error, SettingsError)
        assert "batch_config" in str(output.error)


def test_a_compression_that_a_format_does_not_have_is_rejected(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    config = batch(tmp_path, "jsonl")
    config["batch_config"]["encoding"]["compression"] = "snappy"
    output = run_tap(settings_for(make_sandbox(), **config), ["sms"])
    assert isinstance(output.error, SettingsError)
    assert "gzip, none" in str(output.error)


def test_nothing_is_requested_if_files_cannot_be_written(make_sandbox: Callable[..., Sandbox], tmp_path: Path) -> None:
    sandbox = make_sandbox(rows={"sms": 10})
    config = batch(tmp_path)
    config["batch_config"]["storage"]["root"] = "nosuch://somewhere"
    output = run_tap(settings_for(sandbox, **config, fetch_mode="async"), ["sms"])
    assert isinstance(output.error, SettingsError)
    assert "somewhere" not in str(output.error)
    assert sandbox.requests.rows == 0
    assert not sandbox.requests.reports


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
@pytest.mark.parametrize("fault", BROKEN_FILES, ids=lambda fault: str(fault.value))
def test_nothing_remains_of_a_report_that_fails_a_check(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, fault: Fault, kind: str
) -> None:
    sandbox = make_sandbox(rows={"amd": Within(500, START, END)})
    settings = settings_for(sandbox, **DATES, **batch(tmp_path, kind, batch_size=100), fetch_mode="async")
    sandbox.faults.on(fault)
    output = run_tap(settings, ["amd"])
    assert output.code == 0, output.log
    assert BROKEN_FILES[fault] in output.log
    # All rows are those of pages.
    ids = [row["id"] for address in files_of(output) for row in rows_of(address)]
    assert len(ids) == len(set(ids)) == 500
    assert len(list((tmp_path / "amd").iterdir())) == len(files_of(output))
    assert sum(sandbox.requests.reports.values()) == 1


def test_the_schema_describes_the_files_whatever_the_catalog_says(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    sandbox = make_sandbox(rows={"sms": 1})
    for kind, said in (("parquet", "string"), ("jsonl", "object")):
        output = run_tap(settings_for(sandbox, **DATES, **batch(tmp_path, kind)), ["sms"])
        schema = next(message["schema"] for message in output.messages if message["type"] == "SCHEMA")
        assert said in schema["properties"]["_extra"]["type"]


@pytest.mark.parametrize("stream", ["sms", "accounts"])
def test_a_file_whose_message_could_not_be_written_is_taken_back(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    """The target has closed the pipe, so nobody would ever load the file, or remove it."""
    sandbox = make_sandbox(rows={"sms": 20})
    send = Collector.send

    def closed(self: Collector, lines: bytes) -> None:
        if b'"BATCH"' in lines:
            msg = "the target is gone"
            raise BrokenPipeToTargetError(msg)
        send(self, lines)

    monkeypatch.setattr(Collector, "send", closed)
    output = run_tap(settings_for(sandbox, start_date="2026-11-19", **batch(tmp_path / "files")), [stream])
    assert isinstance(output.error, BrokenPipeToTargetError)
    del output.error
    gc.collect()
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("stream", ["sms", "accounts"])
def test_a_file_whose_message_nobody_has_read_is_taken_back(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    """The target was killed after the pipe had taken the message."""
    sandbox = make_sandbox(rows={"sms": 20})
    monkeypatch.setattr(Collector, "take_back_if_unread", lambda _, take_back: take_back())
    output = run_tap(settings_for(sandbox, start_date="2026-11-19", **batch(tmp_path / "files")), [stream])
    assert output.error is None
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []
