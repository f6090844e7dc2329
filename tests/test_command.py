"""The command works as for any tap that is made with the SDK."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.sandbox import Fault, Sandbox
from tap_vonage_reports.sources import SOURCES
from tests.harness import catalog_of, run_command, run_main, run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DATES = {"start_date": "2026-11-18", "end_date": "2026-11-20"}


def test_python_dash_m_and_version() -> None:
    output = run_command("--version")
    assert output.code == 0
    assert output.lines[0].startswith(b"tap-vonage-reports v")


def test_nothing_heavy_is_loaded_before_it_is_needed() -> None:
    code = "import sys, tap_vonage_reports.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)  # noqa: S603
    heavy = {
        "duckdb",
        "pyarrow",
        "s3fs",
        "starlette",
        "tap_vonage_reports.output.parquet",
        "tap_vonage_reports.sandbox",
        "uvicorn",
    }
    assert not heavy & set(loaded.stdout.split())


def test_about_lists_every_setting_with_its_description() -> None:
    output = run_main("--about", "--format", "json")
    about = json.loads(b"\n".join(output.lines))
    assert output.code == 0
    assert set(about["settings"]["properties"]) > {"api_key", "api_secret", "stream_options"}
    assert "batch" in about["capabilities"]
    assert about["name"] == "tap-vonage-reports"


def test_discover_needs_no_settings_and_lists_every_stream() -> None:
    output = run_main("--discover")
    streams = json.loads(b"\n".join(output.lines))["streams"]
    assert output.code == 0
    assert {stream["stream"] for stream in streams} == set(SOURCES)
    root = {
        stream["stream"]: next(entry["metadata"] for entry in stream["metadata"] if not entry["breadcrumb"])
        for stream in streams
    }
    left_out = [name for name, metadata in root.items() if not metadata["selected-by-default"]]
    assert left_out == ["accounts", "number_insight_v2"]


def config(folder: Path, sandbox: Sandbox, **settings: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(settings_for(sandbox, **settings)))
    return path


def test_the_connection_test_passes_and_fails_by_exit_code(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    sandbox = make_sandbox(rows={"*": 5})
    assert run_main("--test", "--config", config(tmp_path, sandbox)).code == 0
    assert run_main("--test=schema", "--config", config(tmp_path, sandbox)).code == 0
    failed = run_main("--test", "--config", config(tmp_path, sandbox, api_secret="wrong"))  # noqa: S106 - it is wrong
    assert failed.code == 1
    assert "api_key and api_secret" in failed.log
    assert "Traceback" not in failed.log


@pytest.mark.parametrize("how", ["--test", "--test=records", "--plan", "--plan=json"])
def test_an_account_that_is_refused_is_found_before_anything_is_billed(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, how: str
) -> None:
    sandbox = make_sandbox(rows={"*": 5}, subaccount_keys=["sub00001"])
    accounts = [sandbox.api_key, "sub00001", "foreign1"]
    output = run_main(how, "--config", config(tmp_path, sandbox, account_ids=accounts))
    assert output.code == 1
    assert "account foreign1" in output.log
    assert "account_ids" in output.log
    assert "sub00001" not in output.log
    assert {entry.product for entry in sandbox.requests.log} == {"REPORTS-USAGE"}
    assert run_main(how, "--config", config(tmp_path, sandbox, account_ids=accounts[:2])).code == 0


def test_a_run_with_config_state_and_catalog(make_sandbox: Callable[..., Sandbox], tmp_path: Path) -> None:
    sandbox = make_sandbox(rows={"*": 5})
    (tmp_path / "catalog.json").write_text(json.dumps(catalog_of(["amd", "asr"])))
    arguments: list[str | Path] = [
        "--config",
        config(tmp_path, sandbox, **DATES, lookback_hours=0),
        "--catalog",
        tmp_path / "catalog.json",
    ]
    first = run_main(*arguments)
    assert {stream: len(records) for stream, records in first.records.items()} == {"amd": 10, "asr": 20}
    (tmp_path / "state.json").write_text(json.dumps(first.state))
    second = run_main(*arguments, "--state", tmp_path / "state.json")
    assert second.code == 0
    assert second.records == {}


@pytest.mark.parametrize("wrap", [lambda state: {"singer_state": state}, lambda state: {"singer_state": state, "x": 1}])
def test_a_state_may_stand_in_the_wrapper_of_meltano(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, wrap: Callable[[Any], Any]
) -> None:
    sandbox = make_sandbox(rows={"*": 5})
    settings = settings_for(sandbox, **DATES, lookback_hours=0)
    state = run_tap(settings, ["amd"]).state
    (tmp_path / "catalog.json").write_text(json.dumps(catalog_of(["amd"])))
    (tmp_path / "state.json").write_text(json.dumps(wrap(state)))
    arguments: list[str | Path] = ["--catalog", tmp_path / "catalog.json", "--state", tmp_path / "state.json"]
    second = run_main("--config", config(tmp_path, sandbox, **DATES, lookback_hours=0), *arguments)
    assert (second.code, second.records) == (0, {})
    assert second.state == state
    plan = run_main("--config", config(tmp_path, sandbox, **DATES, lookback_hours=0), *arguments, "--plan=json")
    assert sum(partition["requests"] for partition in json.loads(b"".join(plan.lines))["partitions"]) == 0


@pytest.mark.parametrize("content", ["", "\n", "{}", '{"singer_state": {}}', '{"bookmarks": {}}'])
def test_an_empty_state_file_is_no_state(make_sandbox: Callable[..., Sandbox], tmp_path: Path, content: str) -> None:
    sandbox = make_sandbox(rows={"*": 5})
    (tmp_path / "catalog.json").write_text(json.dumps(catalog_of(["amd"])))
    (tmp_path / "state.json").write_text(content)
    arguments: list[str | Path] = ["--catalog", tmp_path / "catalog.json", "--state", tmp_path / "state.json"]
    output = run_main("--config", config(tmp_path, sandbox, **DATES), *arguments)
    assert output.code == 0
    assert len(output.ids("amd")) == 10
    assert ("The state file is empty" in output.log) == (not content.strip())


def test_metrics_of_the_sdk_are_logged_only_when_asked_for(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    """Meltano always passes a logging configuration, which is not a wish for six more lines per partition."""
    sandbox = make_sandbox(rows={"*": 5})
    (tmp_path / "catalog.json").write_text(json.dumps(catalog_of(["amd"])))
    arguments: list[str | Path] = [
        "--config",
        config(tmp_path, sandbox, **DATES),
        "--catalog",
        tmp_path / "catalog.json",
    ]

    def log(level: str) -> str:
        handlers = {"console": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr"}}
        logging_config: dict[str, Any] = {"version": 1, "disable_existing_loggers": False, "handlers": handlers}
        logging_config["root"] = {"level": level, "handlers": ["console"]}
        (tmp_path / "logging.json").write_text(json.dumps(logging_config))
        output = run_command(*arguments, environment={"SINGER_SDK_LOG_CONFIG": str(tmp_path / "logging.json")})
        assert output.code == 0
        return output.log

    assert "METRIC" not in log("INFO")
    assert "METRIC" in log("DEBUG")
    assert "Skipping" not in run_main(*arguments).log


def test_the_environment_can_configure_a_run(make_sandbox: Callable[..., Sandbox], tmp_path: Path) -> None:
    sandbox = make_sandbox(rows={"*": 5})
    (tmp_path / "catalog.json").write_text(json.dumps(catalog_of(["amd"])))
    environment = {
        **sandbox.environment,
        "TAP_VONAGE_REPORTS_START_DATE": "2026-11-18",
        "TAP_VONAGE_REPORTS_END_DATE": "",
    }
    output = run_main("--config", "ENV", "--catalog", tmp_path / "catalog.json", environment=environment)
    assert output.code == 0, output.log
    assert len(output.ids("amd")) >= 10


def test_fields_can_be_deselected_but_not_the_key(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"*": 5})
    catalog = catalog_of(["sms"])
    for entry in catalog["streams"]:
        for metadata in entry["metadata"]:
            if metadata["breadcrumb"] and metadata["breadcrumb"][1] not in ("to", "id", "date_received"):
                metadata["metadata"]["selected"] = metadata["breadcrumb"][1] == "status"
    output = run_tap(settings_for(sandbox, **DATES), catalog=catalog)
    for record in output.records["sms"]:
        assert set(record) == {"to", "id", "date_received", "status"}
    schema = next(message["schema"] for message in output.messages if message["type"] == "SCHEMA")
    assert "message_body" not in schema["properties"]


def test_stream_maps_work(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"*": 5})
    maps = {"amd": {"__alias__": "detections", "call_id": None, "cents": "float(total_price) * 100"}}
    output = run_tap(settings_for(sandbox, **DATES, stream_maps=maps), ["amd"])
    assert output.code == 0
    for record in output.records["detections"]:
        assert "call_id" not in record
        assert "cents" in record


def test_flattening_works(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"*": 5}, faults=["extra-columns"])
    output = run_tap(settings_for(sandbox, **DATES, flattening_enabled=True, flattening_max_depth=1), ["reports_usage"])
    assert output.code == 0
    assert len(output.records["reports_usage"]) == 10
    for record in output.records["reports_usage"]:
        assert not [name for name, value in record.items() if isinstance(value, dict)]


def test_a_stale_catalog_keeps_the_key(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"*": 5})
    catalog = catalog_of(["amd"])
    for entry in catalog["streams"]:
        entry.pop("key_properties")
        entry.pop("replication_key", None)
        entry["metadata"][0]["metadata"].pop("table-key-properties", None)
    output = run_tap(settings_for(sandbox, **DATES), catalog=catalog)
    schema = next(message for message in output.messages if message["type"] == "SCHEMA")
    assert schema["key_properties"] == ["id"]
    assert schema["bookmark_properties"] == ["start_time"]


@pytest.mark.promise("It is quiet and clear. One line of progress per window.")
def test_the_log_has_a_line_for_the_plan_a_line_for_each_window_and_a_summary(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    sandbox = make_sandbox(rows={"*": 1200})
    lines = run_tap(settings_for(sandbox, **DATES, max_concurrent_requests=1), ["amd"]).log.splitlines()
    own = [line for line in lines if line.startswith(("amd", "stream ")) or "rows in total" in line]
    assert own[0] == "amd, primary account: syncing 2026-11-18 00:00 to 2026-11-20 00:00 in 2 windows"
    assert own[1].startswith("amd, primary account: read 2026-11-18 00:00 to 2026-11-19 00:00 (1,200 rows in ")
    assert own[1].endswith(" s; windows left: 1)")
    assert own[2].endswith(" s; windows left: 0)")
    assert own[3].split() == ["stream", "rows", "fetched", "refetched", "requests", "reports", "seconds", "result"]
    assert own[4].split()[:6] == ["amd", "2,400", "2,400", "0", "4", "0"]
    assert own[5] == "2,400 rows in total (2,400 fetched, 0 refetched; 4 requests, 0 reports)"
    assert len(own) == 6


def test_only_singer_messages_go_to_standard_output(make_sandbox: Callable[..., Sandbox], tmp_path: Path) -> None:
    sandbox = make_sandbox(rows={"*": 5})
    sandbox.faults.on(Fault.FORBIDDEN, products=["SMS"])
    (tmp_path / "catalog.json").write_text(json.dumps(catalog_of(["amd", "sms"])))
    output = run_command("--config", config(tmp_path, sandbox, **DATES), "--catalog", tmp_path / "catalog.json")
    assert {message["type"] for message in output.messages} == {"SCHEMA", "RECORD", "STATE"}


def test_prices_are_written_as_json_numbers(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"*": 5})
    output = run_tap(settings_for(sandbox, **DATES), ["amd"])
    record = next(line for line in output.lines if b'"RECORD"' in line)
    assert b'"total_price":0.' in record or b'"total_price":0,' in record
