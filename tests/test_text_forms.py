"""Money and objects as text, for loaders that would change them: the same digits and the same objects in any form."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.records.text_forms import decimal_text
from tap_vonage_reports.sandbox import Within
from tap_vonage_reports.sources import SOURCES
from tap_vonage_reports.tap import TapVonageReports
from tests.harness import Output, catalog_of, run_tap, settings_for
from tests.output.test_batch_files import as_json
from tests.output.test_channel import DATES, Foreign
from tests.test_batch_runs import END, START, batch, comparable, files_of, rows_of
from tests.test_postgres import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_vonage_reports.sandbox import Sandbox

DECIMAL = {"type": ["string", "null"], "format": "x-singer.decimal", "precision": 38, "scale": 18}
STREAMS = ("sms", "accounts")
BATCH_DATES = {"start_date": START.isoformat(), "end_date": END.isoformat()}


def fields_of(stream: str, kind: str) -> list[str]:
    """The names of a stream's fields of a kind."""
    return [name for name, spec in SOURCES[stream].schema["properties"].items() if kind_of(spec) == kind]


def schemas_of(output: Output) -> dict[str, dict[str, dict[str, Any]]]:
    """The properties in the SCHEMA messages, by stream, without descriptions."""
    return {
        message["stream"]: {
            name: {keyword: value for keyword, value in spec.items() if keyword != "description"}
            for name, spec in message["schema"]["properties"].items()
        }
        for message in output.messages
        if message["type"] == "SCHEMA"
    }


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("0.03420000", "0.03420000"),
        ("1E-18", "0.000000000000000001"),
        ("0E-8", "0.00000000"),
        ("1E+2", "100"),
        ("-0.00", "-0.00"),
        ("12345678901234567890.123456789012345678", "12345678901234567890.123456789012345678"),
    ],
)
def test_a_decimal_as_text_has_every_digit_and_no_exponent(number: str, text: str) -> None:
    assert decimal_text(Decimal(number)) == text
    assert Decimal(text).as_tuple() == Decimal(number).as_tuple() or Decimal(number).as_tuple().exponent == 2


@pytest.mark.promise("Money is a decimal with every digit, as number or as text with x-singer.decimal.")
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_decimals_as_text_have_the_digits_of_the_numbers(make_sandbox: Callable[..., Sandbox], mode: str) -> None:
    sandbox = make_sandbox(rows={"*": 20}, subaccount_keys=["sub00001"])
    settings = settings_for(sandbox, **DATES, fetch_mode=mode)
    numbers = run_tap(settings, STREAMS)
    texts = run_tap({**settings, "decimals": "text"}, STREAMS)
    assert texts.code == 0, texts.log
    for stream in STREAMS:
        money = fields_of(stream, "number")
        assert money
        as_texts = [
            {
                name: value if name not in money or value is None else format(Decimal(value), "f")
                for name, value in row.items()
            }
            for row in numbers.records[stream]
        ]
        assert texts.records[stream] == as_texts
        schema, usual = schemas_of(texts)[stream], schemas_of(numbers)[stream]
        assert schema == {**usual, **dict.fromkeys(money, DECIMAL)}
    assert texts.state == numbers.state


def test_decimals_in_files_are_those_of_records(make_sandbox: Callable[..., Sandbox], tmp_path: Path) -> None:
    sandbox = make_sandbox(rows={"sms": Within(30, START, END)})
    settings = settings_for(sandbox, **BATCH_DATES, decimals="text")
    records = {row["id"]: row["total_price"] for row in run_tap(settings, ["sms"]).records["sms"]}
    assert any(records.values())
    for kind in ("jsonl", "parquet"):
        output = run_tap({**settings, **batch(tmp_path, kind)}, ["sms"])
        assert schemas_of(output)["sms"]["total_price"] == DECIMAL
        rows = [row for address in files_of(output) for row in rows_of(address)]
        if kind == "jsonl":
            assert {row["id"]: row["total_price"] for row in rows} == records
        else:
            assert {row["id"]: row["total_price"] for row in rows} == {
                name: price and Decimal(price).normalize() for name, price in records.items()
            }


FILES = ("jsonl", "parquet")
OBJECT_TEXT = {"type": ["string", "null"], "contentMediaType": "application/json"}


def test_objects_as_text_are_the_json_of_the_objects_and_null_stays_null(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    streams = {"reports_usage": ["request_params", "_extra"], "sms": ["_extra"]}
    sandbox = make_sandbox(rows=dict.fromkeys(streams, Within(30, START, END)))
    sandbox.faults.on("nul-in-text", products=["reports_usage"])
    settings = settings_for(sandbox, **BATCH_DATES)
    objects, texts = (run_tap({**settings, "objects": form}, streams) for form in ("object", "text"))
    files = {kind: run_tap({**settings, "objects": "text", **batch(tmp_path, kind)}, streams) for kind in FILES}
    for stream, names in streams.items():
        assert names == fields_of(stream, "object")
        expected = [
            {name: as_json(value) if name in names and value is not None else value for name, value in row.items()}
            for row in objects.records[stream]
        ]
        assert {type(row["_extra"]) for row in expected} == {type(None) if stream == "sms" else str}
        assert texts.records[stream] == expected
        assert schemas_of(texts)[stream] == {**schemas_of(objects)[stream], **dict.fromkeys(names, OBJECT_TEXT)}
        for output in files.values():
            assert schemas_of(output)[stream] == schemas_of(texts)[stream]
            rows = [row for address in files_of(output) if f"{stream}-" in address for row in rows_of(address)]
            assert comparable(rows) == comparable(expected)


@pytest.mark.parametrize("mode", ["hash", "drop"])
def test_objects_as_text_hide_personal_data_as_objects_do(make_sandbox: Callable[..., Sandbox], mode: str) -> None:
    sandbox = make_sandbox(rows={"sms": 5, "reports_usage": 5}, faults=["extra-columns"])
    hidden = {"personal_data": mode, "personal_data_salt": "0123456789abcdef"}
    settings, streams = settings_for(sandbox, **DATES, **hidden), ("sms", "reports_usage")
    objects, texts = run_tap(settings, streams), run_tap({**settings, "objects": "text"}, streams)
    for stream in streams:
        pairs = list(zip(objects.records[stream], texts.records[stream], strict=True))
        assert pairs
        for name in fields_of(stream, "object"):
            assert [text[name] for _, text in pairs] == [row[name] and as_json(row[name]) for row, _ in pairs]


FORMS: dict[str, dict[str, str]] = {"number": {}, "text": {"decimals": "text", "objects": "text"}}


@pytest.mark.parametrize(("discovered", "set_now"), [("number", "text"), ("text", "number"), ("text", "text")])
def test_a_catalog_of_other_settings_gives_the_schema_of_these(
    make_sandbox: Callable[..., Sandbox], discovered: str, set_now: str
) -> None:
    settings = settings_for(make_sandbox(rows={"sms": 2}, faults=["extra-columns"]), **DATES)
    catalog = TapVonageReports(config={**settings, **FORMS[discovered]}).catalog_dict
    selected = catalog_of(["sms"])
    for entry, other in zip(catalog["streams"], selected["streams"], strict=True):
        entry["metadata"] = other["metadata"]
    output = run_tap({**settings, **FORMS[set_now]}, catalog=catalog)
    assert schemas_of(output) == schemas_of(run_tap({**settings, **FORMS[set_now]}, ["sms"]))
    kinds: dict[str, set[type]] = {"text": {str}, "number": {int, Decimal, dict}}
    values = [row[name] for row in output.records["sms"] for name in ("total_price", "_extra")]
    assert {type(value) for value in values if value is not None} <= kinds[set_now]


def test_a_type_that_the_user_gave_a_field_stays(make_sandbox: Callable[..., Sandbox]) -> None:
    settings = settings_for(make_sandbox(rows={"sms": 2}), **DATES, decimals="text")
    catalog = catalog_of(["sms"])
    for entry in catalog["streams"]:
        if entry["stream"] == "sms":
            entry["schema"]["properties"]["total_price"] = {"type": ["string"]}
    assert schemas_of(run_tap(settings, catalog=catalog))["sms"]["total_price"] == {"type": ["string"]}


def test_maps_keep_precision_and_scale(make_sandbox: Callable[..., Sandbox]) -> None:
    maps = {"sms": {"__alias__": "messages_sent", "cost": "total_price", "twice": "float(total_price or 0) * 2"}}
    output = run_tap(settings_for(make_sandbox(rows={"sms": 2}), **DATES, decimals="text", stream_maps=maps), ["sms"])
    assert output.code == 0, output.log
    schema = schemas_of(output)["messages_sent"]
    assert schema["total_price"] == DECIMAL
    assert schema["twice"]["type"] == ["number", "null"]


def test_a_program_that_embeds_the_tap_gets_the_same_schema(make_sandbox: Callable[..., Sandbox]) -> None:
    settings = settings_for(make_sandbox(rows={"sms": 2}), **DATES, decimals="text")
    writer = Foreign()
    tap = TapVonageReports(config=settings, catalog=catalog_of(["sms"]), message_writer=writer)
    tap.sync_all()
    (schema,) = [message["schema"] for message in writer.messages if message["type"] == "SCHEMA"]
    assert schema["properties"]["total_price"].items() >= DECIMAL.items()
