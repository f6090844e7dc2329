"""No secret and no personal datum reaches a log line or an error message."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest

from tap_vonage_reports.privacy import REDACTED, RedactingFormatter, basic_token, spellings
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox import Fault, Sandbox
from tests.harness import run_main, run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ODD = 'p@ss w:"ord/\\é+='


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_a_whole_run_logs_no_secret_and_no_personal_data(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, level: str
) -> None:
    sandbox = make_sandbox(rows={"*": 8}, api_secret=ODD, faults=["unfit-values", "extra-columns"])
    sandbox.faults.on(Fault.FORBIDDEN, products=["ASR"])
    sandbox.faults.on(Fault.SERVER_ERROR, first=1, products=["AMD"])
    settings = settings_for(
        sandbox,
        start_date="2026-11-18",
        include_message=True,
        stream_options={"sms": {"filters": {"to": "447700900123"}}},
    )
    (tmp_path / "config.json").write_text(json.dumps(settings))
    output = run_main("--config", tmp_path / "config.json", environment={"LOGLEVEL": level})
    assert output.code == 0, output.log
    for form in spellings([ODD, basic_token(sandbox.api_key, ODD), "447700900123"]):
        assert form not in output.log
    for stream, records in output.records.items():
        personal = [name for name, spec in PRODUCTS[stream].schema["properties"].items() if "personal" in spec]
        values = {str(record[name]) for record in records for name in personal if record[name]}
        assert not [value for value in values - {"unknown", "true", "false"} if len(value) > 4 and value in output.log]


def test_the_primary_account_is_not_named_in_the_log(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 5}, api_key="0a1b2c3d", subaccount_keys=["sub00001"])
    output = run_tap(settings_for(sandbox, include_subaccounts=True), ["amd"])
    assert "0a1b2c3d" not in output.log
    assert "account sub00001" in output.log


def test_a_secret_is_redacted_in_every_spelling_and_in_tracebacks() -> None:
    formatter = RedactingFormatter(logging.Formatter("%(message)s"), spellings([ODD, ""]))
    try:
        int(ODD)
    except ValueError as error:
        record = logging.LogRecord("x", 40, "f", 1, "%s %r", (ODD, ODD), (ValueError, error, error.__traceback__))
    text = formatter.format(record)
    assert ODD not in text
    assert repr(ODD)[1:-1] not in text
    assert text.count(REDACTED) >= 3


def test_errors_of_the_api_are_told_without_its_free_text(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    options = {"sms": {"filters": {"network": "447700900999"}}}
    sandbox.faults.on(Fault.SERVER_ERROR, products=["SMS"])
    output = run_tap(settings_for(sandbox, stream_options=options), ["sms"])
    assert output.code == 1
    assert "447700900999" not in output.log + str(output.error)
