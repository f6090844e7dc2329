"""Each invalid setting is reported in one line that never repeats its value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.config.schema import CONFIG_JSONSCHEMA
from tap_vonage_reports.config.settings import Settings
from tap_vonage_reports.config.texts import from_environment, parse_texts
from tap_vonage_reports.errors import SettingsError
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.tap import TapVonageReports
from tests.harness import run_command, run_main

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {"api_key": "abcd1234", "api_secret": "S3cr3t-value"}
LEAK = "LEAKED-VALUE"


def problems(**settings: Any) -> list[str]:
    try:
        Settings.from_config(parse_texts({**GOOD, **settings}, CONFIG_JSONSCHEMA), CONFIG_JSONSCHEMA)
    except SettingsError as error:
        return list(error.problems)
    return []


def test_only_credentials_are_required() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"api_key": ""}, "api_key"),
        ({"api_secret": "  "}, "api_secret"),
        ({"api_secret": 5}, "api_secret"),
        ({LEAK[:3]: LEAK}, LEAK[:3]),
        ({"start_date": LEAK}, "start_date"),
        ({"end_date": "2026-13-01"}, "end_date"),
        ({"start_date": "2026-02-01", "end_date": "2026-01-01"}, "start_date is after end_date"),
        ({"account_ids": ["a", "b", "a"]}, "account_ids"),
        ({"account_ids": 5}, "account_ids"),
        ({"account_ids": "a, b,a"}, "account_ids lists an account twice"),
        ({"account_ids": " , "}, "account_ids must be of type array"),
        ({"batch_config": LEAK}, "batch_config must be of type object"),
        *(
            ({"batch_config": {"encoding": {"format": "jsonl"}, "storage": {"root": f"{start}{LEAK}/x"}}}, "s3://")
            for start in ("s3:/", "s3:", "gs:/", "file:/", "S3:/", "s3a:/")
        ),
        ({"batch_config": {"encoding": {"format": "jsonl"}, "storage": {"root": f"gs:{LEAK}"}}}, "storage.root"),
        ({"api_url": f"http://{LEAK}.example.com"}, "plain http"),
        ({"api_url": LEAK}, "api_url"),
        ({"api_url": f"https://user:{LEAK}@example.com"}, "api_url"),
        ({"api_url": "http://[::1"}, "api_url"),
        ({"report_callback_url": LEAK}, "report_callback_url is not a URL"),
        ({"report_callback_url": ""}, "report_callback_url must not be empty"),
        ({"report_callback_url": 5}, "report_callback_url must be of type string"),
        ({"report_callback_url": "https://[::1"}, "report_callback_url is not a URL"),
        ({"report_callback_url": f"ftp://example.com/{LEAK}"}, "report_callback_url is not a URL"),
        ({"report_callback_url": f"http://example.com/{LEAK}"}, "report_callback_url uses plain http"),
        ({"report_callback_url": f"https://user:{LEAK}@example.com/"}, "report_callback_url contains credentials"),
        ({"report_callback_url": f"https://example.com/#{LEAK}"}, "report_callback_url contains credentials"),
        ({"report_callback_url": f"https://example.com/a b{LEAK}"}, "report_callback_url contains credentials"),
        ({"report_callback_url": f"https://example.com/\n{LEAK}"}, "report_callback_url contains a control character"),
        ({"wait_for_reports": LEAK}, "wait_for_reports must be of type boolean"),
        ({"sync_window_hours": 25}, "sync_window_hours must be at most 24"),
        ({"sync_window_hours": 0}, "sync_window_hours must be more than 0"),
        ({"max_requests_per_second": 0}, "max_requests_per_second must be more than 0"),
        ({"max_requests_per_second": -0.5}, "max_requests_per_second must be more than 0"),
        ({"max_requests_per_second": 1001}, "max_requests_per_second must be at most 1000"),
        ({"max_requests_per_second": float("nan")}, "max_requests_per_second must be a number"),
        ({"max_report_requests_per_second": 0.0}, "max_report_requests_per_second must be more than 0"),
        ({"max_report_requests_per_second": float("nan")}, "max_report_requests_per_second must be a number"),
        ({"max_report_requests_per_second": float("inf")}, "max_report_requests_per_second must be at most 1000"),
        ({"max_report_requests_per_second": True}, "max_report_requests_per_second must be of type number"),
        ({"max_report_requests_per_second": LEAK}, "max_report_requests_per_second must be of type number"),
        ({"lookback_hours": -1}, "lookback_hours must be at least 0"),
        ({"lookback_hours": 1e308}, "lookback_hours must be at most 10000"),
        ({"lookback_hours": float("nan")}, "lookback_hours must be a number"),
        ({"late_rows_hours": float("nan")}, "late_rows_hours must be a number"),
        ({"stream_options": {"sms": {"lookback_hours": float("nan")}}}, "sms.lookback_hours must be a number"),
        ({"report_window_days": 10**12}, "report_window_days must be at most 10000"),
        ({"status_refresh": LEAK}, "status_refresh must be one of window, ids"),
        ({"lookback_hours": LEAK}, "lookback_hours must be of type number"),
        ({"fetch_mode": LEAK}, "fetch_mode must be one of auto, sync, async"),
        ({"request_timeout_seconds": 0}, "request_timeout_seconds"),
        ({"stream_options": {"smss": {}}}, "unknown stream smss. Correct or remove it. Known: sms,"),
        ({"stream_options": {"sms": {"filter": {}}}}, "stream_options.sms.filter is unknown"),
        ({"stream_options": {"sms": {"filters": {"provider": LEAK}}}}, "the API accepts only status, from, to"),
        ({"stream_options": {"amd": {"filters": {"direction": "inbound"}}}}, "the API accepts only call_id"),
        ({"stream_options": {"reports_usage": {"filters": {"to": LEAK}}}}, "the API accepts none"),
        ({"stream_options": {"sms": {"filters": {"direction": LEAK}}}}, "direction must be one of outbound, inbound"),
        ({"stream_options": {"sms": {"filters": {"include_message": "true"}}}}, "Use the setting include_message"),
        ({"stream_options": {"sms": {"filters": {"to": ""}}}}, "must not be empty"),
        ({"stream_options": {"sms": {"filters": {"to": 44}}}}, "stream_options.sms.filters.to"),
    ],
)
def test_invalid_setting_is_named_without_its_value(settings: dict[str, Any], named: str) -> None:
    (problem,) = problems(**settings)
    assert named in problem
    assert LEAK not in problem
    assert "\n" not in problem


@pytest.mark.parametrize("salt", [{}, {"personal_data_salt": None}, {"personal_data_salt": "  "}], ids=str)
def test_hash_requires_a_salt(salt: dict[str, Any]) -> None:
    (problem,) = problems(personal_data="hash", **salt)
    assert "personal_data_salt is missing" in problem


@pytest.mark.parametrize("mode", ["hash", "keep"])
@pytest.mark.parametrize("salt", ["a", "x" * 15, " " * 9 + "x" * 15])
def test_a_salt_that_can_be_guessed_is_refused(mode: str, salt: str) -> None:
    (problem,) = problems(personal_data=mode, personal_data_salt=salt)
    assert "The setting personal_data_salt must have at least 16 characters" in problem
    assert "secrets.token_urlsafe(32)" in problem
    assert salt == "a" or salt not in problem
    assert not problems(personal_data=mode, personal_data_salt=salt.strip() + "x" * 15)


def test_missing_nested_setting_is_named_with_its_path() -> None:
    assert set(problems(batch_config={"encoding": {}})) == {
        "The setting batch_config.storage is missing. Set it.",
        "The setting batch_config.encoding.format is missing. Set it.",
    }


def test_defaults_are_accepted() -> None:
    defaults = {name: spec["default"] for name, spec in CONFIG_JSONSCHEMA["properties"].items() if "default" in spec}
    assert problems(**defaults, account_ids=[], start_date="2026-01-01", end_date=None) == []


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS.keys())
def test_filters_of_the_product_are_accepted(product: Any) -> None:
    filters = dict.fromkeys(product.sync_filters, "x")
    if product.directions:
        filters["direction"] = "inbound"
    assert problems(stream_options={product.stream: {"filters": filters}}) == []


def test_null_filters_are_accepted() -> None:
    assert problems(stream_options={"sms": {"filters": None}}) == []


@pytest.mark.parametrize(
    ("mode", "filters", "accepted"),
    [
        ("async", {"client_ref": "x"}, True),
        ("auto", {"client_ref": "x"}, False),
        ("sync", {"client_ref": "x"}, False),
    ],
)
def test_filter_must_be_accepted_in_the_fetch_mode(mode: str, filters: dict[str, str], accepted: bool) -> None:  # noqa: FBT001
    told = problems(stream_options={"sms": {"fetch_mode": mode, "filters": filters}})
    assert (told == []) is accepted


def test_auto_becomes_sync_with_a_filter_that_reports_do_not_accept() -> None:
    options = {"voice_failed": {"filters": {"network": "23420"}}, "voice_call": {"filters": {"network": "23420"}}}
    settings = Settings.from_config({**GOOD, "stream_options": options}, CONFIG_JSONSCHEMA)
    assert settings.mode_of(PRODUCTS["voice_failed"]) == "sync"
    assert settings.mode_of(PRODUCTS["voice_call"]) == "auto"


def test_auto_becomes_async_with_a_filter_that_pages_do_not_accept() -> None:
    options = {"sms": {"filters": {"client_ref": "x"}}, "messages": {"filters": {"status": "delivered"}}}
    given = {**GOOD, "subaccounts": "together", "stream_options": options}
    settings = Settings.from_config(given, CONFIG_JSONSCHEMA)
    assert settings.mode_of(PRODUCTS["sms"]) == "async"
    assert settings.mode_of(PRODUCTS["messages"]) == "auto"


def test_all_problems_are_reported_together() -> None:
    assert len(problems(start_date="x", end_date="y", api_url="z")) == 3


def test_each_missing_credential_is_reported_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_config({}, CONFIG_JSONSCHEMA)
    assert len(caught.value.problems) == 2


def test_stream_option_overrides_setting_which_overrides_product() -> None:
    settings = Settings.from_config(
        {**GOOD, "lookback_hours": 5, "stream_options": {"sms": {"lookback_hours": 0}}}, CONFIG_JSONSCHEMA
    )
    assert settings.lookback_of(PRODUCTS["sms"]).total_seconds() == 0
    assert settings.lookback_of(PRODUCTS["asr"]).total_seconds() == 5 * 3600
    plain = Settings.from_config(GOOD, CONFIG_JSONSCHEMA)
    assert plain.lookback_of(PRODUCTS["sms"]).total_seconds() == 72 * 3600


def test_environment_variables_set_every_type_of_setting() -> None:
    environment = {
        "TAP_VONAGE_REPORTS_API_KEY": "abcd1234",
        "TAP_VONAGE_REPORTS_LOOKBACK_HOURS": "1.5",
        "TAP_VONAGE_REPORTS_INCLUDE_MESSAGE": "true",
        "TAP_VONAGE_REPORTS_ACCOUNT_IDS": "a, b",
        "TAP_VONAGE_REPORTS_STREAM_OPTIONS": '{"sms": {"lookback_hours": 1}}',
        "TAP_VONAGE_REPORTS_END_DATE": "",
    }
    assert from_environment(environment, CONFIG_JSONSCHEMA) == {
        "api_key": "abcd1234",
        "lookback_hours": 1.5,
        "include_message": True,
        "account_ids": ["a", "b"],
        "stream_options": {"sms": {"lookback_hours": 1}},
    }


@pytest.mark.parametrize(
    ("text", "setting", "value"),
    [
        ("a", "account_ids", ["a"]),
        ("a,b", "account_ids", ["a", "b"]),
        (" a , b, ", "account_ids", ["a", "b"]),
        ('["a", "b"]', "account_ids", ["a", "b"]),
        ("0.5", "lookback_hours", 0.5),
        ("12", "backfill_days", 12),
        ("yes", "include_message", True),
        ('{"sms": {"lookback_hours": 1}}', "stream_options", {"sms": {"lookback_hours": 1}}),
    ],
)
def test_settings_may_come_as_text_as_they_do_through_the_environment(text: str, setting: str, value: Any) -> None:
    assert parse_texts({setting: text}, CONFIG_JSONSCHEMA) == {setting: value}
    assert TapVonageReports(config={**GOOD, setting: text}).config[setting] == value


def test_variables_that_are_set_but_not_read_are_named(tmp_path: Path) -> None:
    output = run_main("--config", file_with(tmp_path, {}), environment={"TAP_VONAGE_REPORTS_API_KEY": LEAK})
    (error,) = [line for line in output.log.splitlines() if "ERROR" in line]
    assert output.code == 1
    assert "The variable TAP_VONAGE_REPORTS_API_KEY is set" in error
    assert "--config ENV" in error
    assert LEAK not in output.log


@pytest.mark.parametrize(
    ("secret", "warned"),
    [
        ("S3cr3t ", True),
        ("S3cr3t\u00a0", True),
        ("'S3cr3t'", True),
        ("\u201cS3cr3t\u201d", True),
        ("S3 cr3t", False),
        ("S3'cr3t", False),
    ],
)
def test_a_credential_in_quotes_or_spaces_is_warned_of(
    secret: str, caplog: pytest.LogCaptureFixture, *, warned: bool
) -> None:
    TapVonageReports(config={**GOOD, "api_secret": secret})
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any("The setting api_secret begins or ends with a space or a quote" in text for text in warnings) == warned
    assert "S3cr3t" not in caplog.text


@pytest.mark.parametrize("name", ["LOOKBACK_HOURS", "INCLUDE_MESSAGE", "STREAM_OPTIONS", "REQUEST_TIMEOUT_SECONDS"])
def test_variable_of_the_wrong_type_is_named_without_its_value(name: str) -> None:
    with pytest.raises(SettingsError, match=f"TAP_VONAGE_REPORTS_{name}") as caught:
        from_environment({f"TAP_VONAGE_REPORTS_{name}": LEAK}, CONFIG_JSONSCHEMA)
    assert LEAK not in str(caught.value)


def test_every_setting_is_described() -> None:
    for spec in CONFIG_JSONSCHEMA["properties"].values():
        assert spec["title"]
        assert spec["description"].endswith(".")
    secrets = {name for name, spec in CONFIG_JSONSCHEMA["properties"].items() if spec.get("secret")}
    assert secrets == {"api_key", "api_secret", "personal_data_salt", "report_callback_url"}


def file_with(folder: Path, content: object) -> Path:
    path = folder / "file.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config", {}], "api_key is missing"),
        (["--config", {**GOOD, "foo": LEAK}], "The setting foo is unknown"),
        (["--config", {**GOOD, "start_date": LEAK}], "start_date"),
        (["--config", '{\n"api_key": x}'], "file.json is not JSON (line 2, column 12)"),
        (["--config", ""], "file.json is not JSON"),
        (["--config", "[" * 100_000], "not"),
        (["--config", [1]], "not a JSON object"),
        (["--config", "/no/such/file"], "The configuration file /no/such/file cannot be read"),
        (["--config", "/"], "The configuration file / cannot be read"),
        (["--no-such-option"], "--no-such-option"),
        (["--state", "/no/such/file"], "/no/such/file"),
        (["--state", '{\n"bookmarks": }'], "The state file is not JSON (line 2, column 14)"),
        (["--state", {"singer_state": {"type": "STATE"}}], "no object 'bookmarks'"),
        (["--state", []], "not a JSON object"),
        (["--state", {"type": "STATE", "value": {}}], "no object 'bookmarks'"),
        (["--state", {"bookmarks": {"issues": {"since": LEAK}}}], "no stream of this tap"),
        (["--state", {"bookmarks": {"sms": {"partitions": "x"}}}], "malformed"),
        (["--state", {"bookmarks": {"sms": {"partitions": [{"context": {}, "covered": [[LEAK]]}]}}}], "malformed"),
        (["--catalog", "not json"], "The catalog file is not JSON (line 1, column 1)"),
        (["--catalog", ""], "The catalog file is not JSON"),
        (["--catalog", {"streams": [{"tap_stream_id": "issues", "schema": {}, "metadata": []}]}], "issues"),
        (["--catalog", {"strange": []}], "catalog"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_bad_input_gives_one_error_line_and_no_output(tmp_path: Path, arguments: list[Any], said: str) -> None:
    option, *contents = arguments
    files = [
        content if isinstance(content, str) and content.startswith("/") else file_with(tmp_path, content)
        for content in contents
    ]
    (tmp_path / "good.json").write_text(json.dumps({**GOOD, "api_url": "http://127.0.0.1:9"}))
    with_settings: list[str | Path] = [] if option == "--config" else ["--config", tmp_path / "good.json"]
    output = run_main(*with_settings, option, *files)
    errors = [line for line in output.log.splitlines() if "ERROR" in line]
    assert output.code == 1
    assert output.lines == []
    assert "Traceback" not in output.log
    assert LEAK not in output.log
    assert len(errors) == (2 if said == "api_key is missing" else 1)
    assert said in errors[0]


def test_invalid_stream_map_expression_is_not_repeated() -> None:
    with pytest.raises(SettingsError, match="stream_maps") as caught:
        TapVonageReports(config={**GOOD, "stream_maps": {"sms": {"a": f"{LEAK} +"}}})
    assert LEAK not in str(caught.value)


@pytest.mark.parametrize("name", ["TAP_VONAGE_REPORTS_LOGLEVEL", "LOGLEVEL", "SINGER_SDK_LOG_CONFIG"])
def test_a_log_that_cannot_be_set_up_is_a_clear_error(name: str, tmp_path: Path) -> None:
    config = tmp_path / "loud"
    config.write_text("{version: 1, root: {level: loud}}")
    output = run_command("--version", environment={name: str(config) if name == "SINGER_SDK_LOG_CONFIG" else "loud"})
    assert (output.code, output.lines) == (1, [])
    assert "The log cannot be set up. Set TAP_VONAGE_REPORTS_LOGLEVEL or LOGLEVEL to debug, " in output.log
    assert len(output.log.splitlines()) == 1
    assert "loud" not in output.log
