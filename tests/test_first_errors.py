"""What a newcomer gets wrong: each error says what failed, why, and what to do, in one short line."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports import connection_test
from tap_vonage_reports.api.retry import FEW_TRIES
from tap_vonage_reports.errors import ConnectionRefusedByHostError
from tap_vonage_reports.metrics import MAX_REASONS, PartitionResult, RunResults, SyncStatus
from tap_vonage_reports.planning.partition import Partition
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox import Fault
from tests.harness import catalog_of, run_main, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_vonage_reports.sandbox import Sandbox

GOOD = {"api_key": "abcd1234", "api_secret": "S3cr3t-value"}
ENVIRONMENT = {f"TAP_VONAGE_REPORTS_{name.upper()}": value for name, value in GOOD.items()}
MAX_LINE = 1_000


def errors_of(folder: Path, settings: dict[str, Any], *arguments: str, **variables: str) -> tuple[list[str], str]:
    """The lines of errors of a run, and the whole log."""
    (folder / "config.json").write_text(json.dumps(settings))
    output = run_main("--config", folder / "config.json", *arguments, environment=variables)
    assert output.code == 1
    assert not any(b"RECORD" in line for line in output.lines)
    assert "Traceback" not in output.log
    errors = [line for line in output.log.splitlines() if "ERROR" in line]
    assert max(map(len, errors)) < MAX_LINE
    return errors, output.log


@pytest.mark.parametrize("arguments", [[], ["--plan"], ["--test"]], ids=str)
def test_nothing_listens_where_api_url_leads(tmp_path: Path, arguments: list[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        (error,), log = errors_of(tmp_path, {**GOOD, "api_url": f"http://{address}"}, *arguments)
    assert f"No connection to {address} (refused)" in error
    assert "Check api_url" in error
    tries = FEW_TRIES[ConnectionRefusedByHostError]
    assert f"Try {tries} of {tries}" in log
    assert f"Try {tries + 1}" not in log


def test_a_name_that_does_not_resolve_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: Any, **_keywords: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    (error,), _ = errors_of(tmp_path, {**GOOD, "api_url": "https://api.example.invalid"})
    assert "No connection to api.example.invalid (the host name does not resolve)" in error


@pytest.mark.parametrize("arguments", [[], ["--plan"], ["--test"]], ids=str)
def test_a_bundle_of_certificates_that_is_not_there_is_said(tmp_path: Path, arguments: list[str]) -> None:
    settings = {**GOOD, "api_url": "https://127.0.0.1:9"}
    (error,), _ = errors_of(tmp_path, settings, *arguments, REQUESTS_CA_BUNDLE=str(tmp_path / "nope"))
    assert "REQUESTS_CA_BUNDLE" in error
    assert "Standard output" not in error


@pytest.mark.parametrize("arguments", [[], ["--plan"], ["--test"]], ids=str)
def test_an_address_that_leads_elsewhere_is_said_once(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, arguments: list[str]
) -> None:
    sandbox = make_sandbox(rows={"*": 5})
    settings = settings_for(sandbox, api_url=f"{sandbox.url}/some/path")
    (error,), _ = errors_of(tmp_path, settings, *arguments)
    assert "The setting api_url leads to a server without the Reports API (HTTP 404)" in error


@pytest.mark.parametrize("arguments", [[], ["--test"]], ids=str)
def test_a_refusal_of_everything_names_the_address_too(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, arguments: list[str]
) -> None:
    sandbox = make_sandbox(rows={"*": 5}, faults=[Fault.FORBIDDEN])
    errors, _ = errors_of(tmp_path, settings_for(sandbox, start_date="2026-11-19"), *arguments)
    assert "api_url" in errors[-1]


def test_the_last_error_says_the_same_reason_once() -> None:
    results = RunResults()
    products = list(PRODUCTS.values())
    for number, product in enumerate(products):
        result = PartitionResult(Partition(product, "abcd1234", None, is_primary=True))
        result.status, result.reason = SyncStatus.FAILED, f"Reason {'ABCDE'[number % 5]}."
        results.append(result)
    with pytest.raises(Exception, match="partitions could not be read") as caught:
        results.raise_on_failure()
    text = str(caught.value)
    assert [text.count(f"Reason {letter}.") for letter in "ABCDE"] == [1] * MAX_REASONS + [0] * (5 - MAX_REASONS)
    assert "and 3 more: Reason A." in text
    assert text.endswith("more, see the log")


@pytest.mark.parametrize("arguments", [[], ["--plan"], ["--test"], ["--test=records"], ["--test=schema"]], ids=str)
def test_variables_that_are_not_read_are_said_whatever_is_asked_for(arguments: list[str]) -> None:
    output = run_main(*arguments, environment={"TAP_VONAGE_REPORTS_API_KEY": GOOD["api_key"]})
    (error,) = [line for line in output.log.splitlines() if "API_KEY is set" in line]
    assert "--config ENV" in error
    assert (output.code, output.lines) == (1, [])


@pytest.mark.parametrize("arguments", [[], ["--plan"], ["--test"]], ids=str)
def test_the_address_in_a_variable_that_is_not_read_sends_no_run_to_vonage(
    tmp_path: Path, arguments: list[str]
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(GOOD))
    sandboxed = {"TAP_VONAGE_REPORTS_API_URL": "http://127.0.0.1:9"}
    output = run_main("--config", config, *arguments, environment=sandboxed)
    (error,) = [line for line in output.log.splitlines() if "ERROR" in line]
    assert "API_URL is set" in error
    assert "--config ENV" in error
    assert (output.code, output.lines) == (1, [])


@pytest.mark.parametrize("argument", ["--plan", "--test", "--test=records", "--test=schema", "--discover"])
def test_a_missing_file_is_named_whatever_is_asked_for(tmp_path: Path, argument: str) -> None:
    output = run_main("--config", tmp_path / "nope.json", argument)
    (error,) = [line for line in output.log.splitlines() if "ERROR" in line]
    assert "nope.json cannot be read: No such file or directory" in error
    assert (output.code, output.lines) == (1, [])


# Variables that are nearly those of settings, and selections of nothing


@pytest.mark.parametrize(
    ("name", "meant"), [("STARTDATE", "START_DATE"), ("ACCOUNT_ID", "ACCOUNT_IDS"), ("LOOKBACK", "LOOKBACK_HOURS")]
)
def test_a_mistyped_variable_is_an_error_that_names_the_right_one(name: str, meant: str) -> None:
    environment = {**ENVIRONMENT, f"TAP_VONAGE_REPORTS_{name}": "2026-11-01"}
    output = run_main("--config", "ENV", "--plan", environment=environment)
    assert output.code == 1
    assert (
        f"The variable TAP_VONAGE_REPORTS_{name} is not a setting. Correct it to TAP_VONAGE_REPORTS_{meant}"
        in output.log
    )


@pytest.mark.parametrize("name", ["LOGLEVEL", "SERVICE_HOST", "PORT_443_TCP_ADDR", "_SELECT"])
def test_a_variable_of_another_program_is_no_error(name: str) -> None:
    environment = {**ENVIRONMENT, f"TAP_VONAGE_REPORTS_{name}": "1", "TAP_VONAGE_REPORTS_API_URL": "http://127.0.0.1:9"}
    assert "is not a setting" not in run_main("--config", "ENV", "--plan", environment=environment).log


@pytest.mark.parametrize("arguments", [[], ["--plan"], ["--test"]], ids=str)
def test_a_selection_of_nothing_is_an_error(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, arguments: list[str]
) -> None:
    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps(catalog_of([])))
    settings = settings_for(make_sandbox(rows={"*": 1}))
    errors, _ = errors_of(tmp_path, settings, "--catalog", str(catalog), *arguments)
    assert "No stream is selected, so there is nothing to read" in errors[-1]


@pytest.mark.parametrize("text", ["{}", '{"singer_state": {}}'])
def test_an_empty_state_is_not_called_a_missing_one(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, text: str
) -> None:
    config, state = tmp_path / "config.json", tmp_path / "state.json"
    config.write_text(json.dumps(settings_for(make_sandbox(rows={"*": 1}))))
    state.write_text(text)
    given = run_main("--config", config, "--plan", "--state", state)
    assert b"State: the given one is empty" in b"".join(given.lines)
    assert b"State: none was given" in b"".join(run_main("--config", config, "--plan").lines)


def test_an_address_with_a_space_or_a_bad_port_is_said(tmp_path: Path) -> None:
    spaced, _ = errors_of(tmp_path, {**GOOD, "api_url": "https://api.nexmo.com "})
    assert "begins or ends with a space" in spaced[-1]
    port, _ = errors_of(tmp_path, {**GOOD, "api_url": "http://127.0.0.1:80800"})
    assert "its port is not a number up to 65535" in port[-1]


def test_a_mistyped_account_is_told_in_one_piece_of_advice(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    settings = settings_for(make_sandbox(rows={"*": 1}), account_ids=["abcd1235"])
    errors, _ = errors_of(tmp_path, settings, "--plan")
    assert "which the API refuses (HTTP 403 Forbidden). Check the ID" in errors[-1]


def test_a_slow_api_ends_the_connection_test(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_test, "MAX_SECONDS", 0.0)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(settings_for(make_sandbox(rows={"*": 1}))))
    output = run_main("--config", config, "--test")
    assert output.code == 1
    assert b"sms: not tested: the API answers too slowly" in b"".join(output.lines)
    assert "Try again later" in output.log


@pytest.mark.parametrize("name", ["max_requests_per_second", "max_report_requests_per_second"])
@pytest.mark.parametrize("rate", [0.25, 2.5, 7])
def test_a_rate_in_a_file_may_be_a_fraction(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, name: str, rate: float
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(settings_for(make_sandbox(rows={"*": 1}), **{name: rate})))
    output = run_main("--config", config, "--plan")
    assert (output.code, "Unexpected" in output.log) == (0, False)
