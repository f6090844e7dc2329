"""No secret and no personal data reach a log line or an error message."""

from __future__ import annotations

import json
import logging
import re
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.records.personal_data import PersonalData, normalize
from tap_vonage_reports.redaction import (
    REDACTED,
    RedactingFormatter,
    basic_token,
    encodings,
    redact_logs,
)
from tap_vonage_reports.sandbox import Fault, Sandbox
from tap_vonage_reports.sources import SOURCES, personal_kinds
from tap_vonage_reports.streams import ReportStream
from tests.harness import Output, catalog_of, run_main, run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable

SALT = "a long and random text"
HASHED = re.compile("[0-9a-f]{64}")
ODD = 'p@ss w:"ord/\\é+='


@pytest.mark.promise("No secret and no personal datum ever reaches a log line or an error message.")
@pytest.mark.promise("Phone numbers, email and IP addresses, names and bodies never appear in logs or errors.")
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
    for form in encodings([ODD, basic_token(sandbox.api_key, ODD), "447700900123"]):
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


def test_a_secret_is_redacted_in_every_encoding_and_in_tracebacks() -> None:
    formatter = RedactingFormatter(logging.Formatter("%(message)s"), encodings([ODD, ""]))
    try:
        int(ODD)
    except ValueError as error:
        record = logging.LogRecord("x", 40, "f", 1, "%s %r", (ODD, ODD), (ValueError, error, error.__traceback__))
    text = formatter.format(record)
    assert ODD not in text
    assert repr(ODD)[1:-1] not in text
    assert text.count(REDACTED) >= 3


def test_errors_do_not_repeat_free_text_of_the_api(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    options = {"sms": {"filters": {"network": "447700900999"}}}
    sandbox.faults.on(Fault.SERVER_ERROR, products=["SMS"])
    output = run_tap(settings_for(sandbox, stream_options=options), ["sms"])
    assert output.code == 1
    assert "447700900999" not in output.log + str(output.error)


def digest(value: str) -> str:
    return sha256((SALT + value).encode()).hexdigest()


def hidden(sandbox: Sandbox, mode: str, **settings: Any) -> Output:
    """A run over all streams with a mode of personal_data."""
    more = {"personal_data": mode, "personal_data_salt": SALT, "include_message": True, "start_date": "2026-11-18"}
    return run_tap(settings_for(sandbox, **more, **settings))


def personal_values(output: Output) -> set[str]:
    """The values of the personal fields of a run that keeps them, if long enough to search for."""
    texts = {
        str(record[name])
        for stream, records in output.records.items()
        for name, spec in PRODUCTS[stream].schema["properties"].items()
        if "personal" in spec and "object" not in spec["type"]
        for record in records
        if record[name]
    }
    return {text for text in texts if len(text) > 4 and text.lower() not in {"unknown", "false"}}


def words_of(value: Any) -> set[str]:
    """All texts inside a value."""
    if isinstance(value, dict):
        return {word for part in value.values() for word in words_of(part)}
    if isinstance(value, list):
        return {word for part in value for word in words_of(part)}
    return {str(value)}


@pytest.mark.parametrize("fetch_mode", ["sync", "async"])
@pytest.mark.parametrize("mode", ["hash", "drop"])
def test_no_personal_data_is_in_any_record(make_sandbox: Callable[..., Sandbox], mode: str, fetch_mode: str) -> None:
    sandbox = make_sandbox(rows={"*": 20})
    kept = hidden(sandbox, "keep", fetch_mode=fetch_mode)
    output = hidden(sandbox, mode, fetch_mode=fetch_mode)
    values = personal_values(kept)
    assert len(values) > 100
    for stream, records in kept.records.items():
        others = {record["id"]: record for record in output.records[stream]}
        assert len(others) == len(records)
        for record in records:
            assert not words_of(others[record["id"]]) & values


@pytest.mark.promise("personal_data: drop leaves the columns out of schema and records.")
def test_dropped_columns_are_not_requested_and_not_in_schema_or_records(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"*": 3})
    old = catalog_of(["sms", "messages", "reports_usage"])
    settings = settings_for(
        sandbox, start_date="2026-11-18", personal_data="drop", include_message=True, fetch_mode="async"
    )
    output = run_tap(settings, catalog=old)
    schemas = {message["stream"]: message["schema"] for message in output.messages if message["type"] == "SCHEMA"}
    assert set(schemas) == {"sms", "messages", "reports_usage"}
    for stream, schema in schemas.items():
        specs = PRODUCTS[stream].schema["properties"]
        left = [name for name, spec in specs.items() if "personal" not in spec or "object" in spec["type"]]
        assert list(schema["properties"]) == left
        assert {tuple(record) for record in output.records[stream]} == {tuple(left)}
    assert len(output.ids("sms")) > 0


@pytest.mark.promise("personal_data: hash writes salted SHA-256, stable for a salt, so that joins work.")
def test_a_value_has_the_same_hash_in_every_field_and_in_sql(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    sandbox = make_sandbox(rows={"sms": 30, "reports_usage": 30})
    kept, hashed = (hidden(sandbox, mode).records["sms"] for mode in ("keep", "hash"))
    hashes = {record["id"]: record for record in hashed}
    for record in kept:
        for name in ("to", "message_body", "client_ref"):
            value = record[name]
            assert hashes[record["id"]][name] == (value and digest(value))
    assert normalize("+44 (7700) 900-123", "phone") == normalize("447700900123", "phone_or_email") == "447700900123"
    assert normalize(" Jane.Doe@Example.COM", "phone_or_email") == "jane.doe@example.com"
    assert normalize("+447700900123", "possible") == "447700900123"


def test_only_phone_numbers_are_normalized_to_digits() -> None:
    assert normalize("Acme 24", "phone") == "Acme 24"
    assert normalize("10.1.0.1", "ip") != normalize("10.10.1", "ip")
    assert normalize("12-34", "possible") != normalize("1-234", "possible")
    assert normalize(" A", "content") == " A"


def test_objects_keep_only_values_known_not_to_be_personal() -> None:
    schema = PRODUCTS["reports_usage"].schema
    raw = {
        "product": "SMS",
        "to": "+447700900123",
        "status": "delivered",
        "note": "call 447700900123",
        "limit": "447700900123",
        "price": "0.10",
        "network": '{"to":"447700900123"}',
        "447700900123": "x",
        "jane.doe@example.com": "x",
        "call Jane": "x",
        "attempt_2": "x",
    }
    hashed = PersonalData("hash", SALT, schema, personal_kinds()).transform["request_params"](raw)
    assert hashed["to"] == digest("447700900123") == hashed["limit"]
    assert hashed["note"] == digest("call 447700900123")
    assert hashed["network"] == digest('{"to":"447700900123"}')
    assert (hashed["status"], hashed["price"]) == ("delivered", "0.10")
    assert list(hashed) == sorted(hashed)
    names = {digest(name) for name in ("447700900123", "jane.doe@example.com", "call Jane")}
    assert hashed.keys() == {"product", "to", "status", "note", "limit", "price", "network", "attempt_2", *names}
    dropped = PersonalData("drop", "", schema, personal_kinds()).transform["_extra"](raw)
    assert dropped == {"status": "delivered", "price": "0.10"}


@pytest.mark.promise("No secret and no personal datum ever reaches a log line or an error message.")
@pytest.mark.parametrize("fetch_mode", ["sync", "async"])
@pytest.mark.parametrize("name", ["447700900123", "+44 7700 900123", "jane.doe@example.com"])
def test_a_column_named_like_a_person_is_nowhere_in_clear(
    make_sandbox: Callable[..., Sandbox], fetch_mode: str, name: str
) -> None:
    sandbox = make_sandbox(rows={"amd": 5})
    sandbox.faults.on(Fault.ODD_COLUMNS, name)
    for mode, shown in (("keep", name), ("hash", digest(name)), ("drop", None)):
        output = hidden(sandbox, mode, fetch_mode=fetch_mode)
        assert name not in output.log
        assert "(a name that is not shown)" in output.log
        assert "the field attempt_count is unknown" in output.log
        extras = [record["_extra"] or {} for record in output.records["amd"]]
        assert extras
        assert {shown in extra for extra in extras} == {shown is not None}
        assert mode == "keep" or name not in str(output.messages)


@pytest.mark.promise("Both hold for RECORD and BATCH alike.")
@pytest.mark.parametrize("mode", ["hash", "drop"])
@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_files_have_the_same_hidden_values_as_records(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, mode: str, kind: str
) -> None:
    sandbox = make_sandbox(rows={"*": 12})
    sandbox.faults.on(Fault.EXTRA_COLUMNS, every=3)
    sandbox.faults.on(Fault.UNFIT_VALUES, every=4)
    records = hidden(sandbox, mode, fetch_mode="async")
    batch = {"encoding": {"format": kind, "compression": "none"}, "storage": {"root": str(tmp_path)}}
    files = hidden(sandbox, mode, fetch_mode="async", batch_config=batch)
    found: dict[str, dict[str, Any]] = {}
    for message in files.messages:
        if message["type"] == "BATCH":
            for path in map(Path, (address.removeprefix("file://") for address in message["manifest"])):
                rows = pq.read_table(path).to_pylist() if kind == "parquet" else _lines(path)
                found.setdefault(message["stream"], {}).update({row["id"]: row for row in rows})
    assert found.keys() == records.records.keys()
    for stream, rows in records.records.items():
        specs = PRODUCTS[stream].schema["properties"]
        for record in rows:
            row = found[stream][record["id"]]
            assert row.keys() == record.keys()
            for name in record:
                if specs[name].get("personal") and record[name] is not None:
                    value = json.loads(row[name]) if kind == "parquet" and name in _OBJECTS else row[name]
                    assert json.loads(json.dumps(value), parse_float=str) == _plain(record[name])


_OBJECTS = ("_extra", "request_params")


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=float), parse_float=str)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_log_says_that_an_unknown_column_is_left_out(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 3}, faults=["extra-columns", "unfit-values"])
    output = run_tap(settings_for(sandbox, start_date="2026-11-18", personal_data="drop"), ["amd"])
    assert "the field carrier_fee is unknown; it may contain personal data and is dropped" in output.log
    assert {tuple(record["_extra"]) for record in output.records["amd"]} == {
        tuple(
            sorted(name for name in output.records["amd"][0]["_extra"] if name in PRODUCTS["amd"].schema["properties"])
        )
    }


@given(st.text(min_size=1), st.sampled_from(["phone", "phone_or_email", "ip", "name", "content", "possible"]))
def test_every_value_is_hashed(value: str, kind: str) -> None:
    hashed = PersonalData("hash", SALT, {"properties": {}}).hash_text(value, kind)
    assert HASHED.fullmatch(hashed)
    assert normalize(normalize(value, kind), kind) == normalize(value, kind)


def test_the_catalog_says_which_fields_hold_personal_data() -> None:
    marked = {
        (entry["stream"], metadata["breadcrumb"][1]): metadata["metadata"]["personal-data"]
        for entry in catalog_of(SOURCES)["streams"]
        for metadata in entry["metadata"]
        if "personal-data" in metadata["metadata"]
    }
    assert marked == {
        (stream, name): spec["personal"]
        for stream, source in SOURCES.items()
        for name, spec in source.schema["properties"].items()
        if "personal" in spec
    }


@pytest.mark.promise("Secrets are redacted by value from everything that is logged.")
def test_a_secret_is_redacted_for_every_logger_even_if_it_contains_another() -> None:
    logger = logging.getLogger("some.library")
    lines: list[str] = []
    handler = _Lines(lines)
    logger.addHandler(handler)
    try:
        redact_logs(["open", "open sesame"])
        logger.warning("it is open sesame")
    finally:
        logger.removeHandler(handler)
        for other in logging.getLogger().handlers:
            other.setFormatter(None)
    assert lines == [f"it is {REDACTED}"]


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.mark.promise("Secrets are redacted by value from everything that is logged.")
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=6))
def test_a_secret_of_any_characters_is_redacted_in_every_encoding(secret: str) -> None:
    formatter = RedactingFormatter(logging.Formatter(), encodings([secret]))
    for text in (
        secret,
        repr(secret),
        ascii(secret),
        json.dumps(secret),
        json.dumps({"x": repr(secret)}),
        repr([secret]),
    ):
        record = logging.LogRecord("x", 40, "f", 1, "<%s>", (text,), None)
        assert REDACTED in formatter.format(record)


@pytest.mark.promise("Phone numbers, email and IP addresses, names and bodies never appear in logs or errors.")
def test_an_unforeseen_error_is_logged_without_its_text(make_sandbox: Callable[..., Sandbox], tmp_path: Path) -> None:
    sandbox = make_sandbox(rows={"amd": 3})
    (tmp_path / "config.json").write_text(json.dumps(settings_for(sandbox, start_date="2026-11-18")))

    def fail(*_: object) -> None:
        msg = f"{ODD} of 447700900123"
        raise RuntimeError(msg)

    with mock.patch.object(ReportStream, "open_partitions", fail):
        output = run_main("--config", tmp_path / "config.json")
    assert output.code == 1
    assert "447700900123" not in output.log
    assert "Traceback" not in output.log
    assert re.search(
        r"Unexpected error: .*tap_vonage_reports\.tap:\d+ sync > .*RuntimeError\. .*open an issue", output.log
    )


def test_equal_treatments_of_personal_data_tell_no_salt() -> None:
    def treatment(mode: str, salt: str) -> str:
        return PersonalData(mode, salt, {"properties": {}}).treatment

    assert treatment("keep", "") == treatment("keep", SALT) == "keep"
    different = {treatment(mode, salt) for mode in ("hash", "drop") for salt in (SALT, f"{SALT}2")}
    assert len(different) == 4
    assert treatment("hash", SALT) in different
    assert not any(SALT in each for each in different)


def test_a_parquet_file_tells_how_personal_data_were_treated(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    sandbox = make_sandbox(rows={"sms": 3})
    files = {"batch_config": {"encoding": {"format": "parquet"}, "storage": {"root": str(tmp_path)}}}
    settings = settings_for(sandbox, start_date="2026-11-18", personal_data="hash", personal_data_salt=SALT, **files)
    run_tap(settings, ["sms"])
    expected = PersonalData("hash", SALT, {"properties": {}}).treatment
    for path in tmp_path.rglob("*.parquet"):
        assert pq.read_metadata(path).metadata[b"tap_vonage_reports.personal_data"] == expected.encode()
