"""Stream maps do what the SDK's do, and what fails in one is named: the stream and the property, never the value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.errors import SettingsError, StreamMapError, SyncFailedError
from tap_vonage_reports.tap import TapVonageReports
from tests.harness import Output, catalog_of, run_main, run_tap, settings_for
from tests.output.test_channel import DATES, Foreign

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_vonage_reports.sandbox import Sandbox

LEAK = "LEAKED"


def mapped(sandbox: Sandbox, maps: dict[str, Any], streams: tuple[str, ...] = ("amd", "sms"), **more: Any) -> Output:
    return run_tap(settings_for(sandbox, **DATES, stream_maps=maps, **more), streams)


FAILING_ON_A_ROW = {
    "null": ("client_ref[:3]", "TypeError"),
    "a float times a decimal": ("total_price * 1.2", "TypeError"),
    "a division by zero": ("1 / 0", "ZeroDivisionError"),
    "no number": (f"int('{LEAK}')", "ValueError"),
    "no such method": ("to.foo()", "AttributeDoesNotExist"),
    "no such key": (f"record['{LEAK}']", "KeyError"),
    "too much work": ("9 ** 9 ** 9", "NumberTooHigh"),
    "half a character": (r"'\ud800'", "UnicodeEncodeError"),
}


@pytest.mark.parametrize(("expression", "reason"), FAILING_ON_A_ROW.values(), ids=FAILING_ON_A_ROW)
def test_a_map_that_fails_on_a_row_fails_its_partition_and_names_the_property(
    make_sandbox: Callable[..., Sandbox], expression: str, reason: str
) -> None:
    sandbox = make_sandbox(rows={"amd": 5, "sms": 5})
    output = mapped(sandbox, {"sms": {"good": "id", "cents": expression}})
    assert isinstance(output.error, SyncFailedError)
    assert "stream_maps cannot be applied to a row of sms" in output.log
    assert ("in cents (" in output.log) is (reason != "UnicodeEncodeError")
    assert reason in output.log
    assert expression not in output.log + str(output.error)
    assert LEAK not in output.log + str(output.error)
    assert len(output.ids("amd")) == 10  # the other streams go on
    assert output.records["sms"] == []
    assert output.bookmark("amd")["covered"]
    for partition in (output.state or {})["bookmarks"].get("sms", {}).get("partitions", []):
        assert not partition.get("covered")
    fixed = run_tap(settings_for(sandbox, **DATES), ["amd", "sms"], output.state)
    assert len(fixed.ids("sms")) == 20


def test_the_command_fails_with_the_stream_and_the_setting(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    sandbox = make_sandbox(rows={"sms": 5})
    settings = settings_for(sandbox, **DATES, stream_maps={"sms": {"cents": "1 / 0"}})
    (tmp_path / "config.json").write_text(json.dumps(settings))
    for arguments in ([], ["--test"], ["--test=records"]):
        output = run_main("--config", tmp_path / "config.json", *arguments)
        assert output.code == 1
        assert "stream_maps cannot be applied to a row of sms, in cents (ZeroDivisionError)" in output.log
        assert "Unexpected" not in output.log


@pytest.mark.parametrize(
    "definition",
    [
        {"id": "None"},
        {"sms_id": "None if to else id", "__key_properties__": ["sms_id"]},
        {"__source__": "sms", "id": "None"},
    ],
    ids=str,
)
def test_a_map_that_makes_the_key_null_is_an_error(
    make_sandbox: Callable[..., Sandbox], definition: dict[str, Any]
) -> None:
    output = mapped(make_sandbox(rows={"sms": 5}), {"sms": definition})
    assert output.code == 1
    assert "(the key is null)" in output.log


def test_a_map_that_fails_in_another_programs_writer_is_the_same_error(make_sandbox: Callable[..., Sandbox]) -> None:
    settings = settings_for(make_sandbox(rows={"sms": 5}), **DATES, stream_maps={"sms": {"cents": "1 / 0"}})
    tap = TapVonageReports(config=settings, catalog=catalog_of(["sms"]), message_writer=Foreign())
    with pytest.raises(StreamMapError, match="in cents"):
        tap.run_sync(tap.sync)


NEVER_USABLE = {
    "a syntax error": ({"cents": f"{LEAK} +"}, "stream_maps.sms.cents cannot be used (SyntaxError)"),
    "an empty expression": ({"cents": ""}, "stream_maps.sms.cents cannot be used (IndexError)"),
    "a syntax error in a filter": ({"__filter__": f"({LEAK}"}, "stream_maps.sms.__filter__ cannot be used"),
    "a syntax error in an alias": ({"__alias__": f"{LEAK} +", "a": "id"}, "stream_maps.sms.__alias__ cannot be used"),
    "the key removed": ({"id": None}, "stream_maps.sms.id cannot be used (StreamMapConfigError). Correct or remove"),
    "the key left out": ({"__else__": None, "a": "id"}, "stream_maps.sms cannot be used (StreamMapConfigError)"),
    "another key that is missing": ({"__key_properties__": ["a"], "b": "id"}, "stream_maps.sms cannot be used"),
    "something to do with the rest": ({"__else__": LEAK}, "stream_maps is not valid: __else__ can only be null"),
    "a number": ({"a": 5}, "stream_maps.sms is not valid"),
    "an unknown function": ({"cents": "rounded(total_price)"}, "in cents: rounded. Select"),
    "an unknown column": ({"cents": "price_total * 100"}, "in cents: price_total. Select"),
    "an unknown column in a filter": ({"__filter__": "price_total > 1"}, "in __filter__: price_total. Select"),
    "no value to change": ({"cents": "self"}, "in cents: self. Select"),
}


@pytest.mark.parametrize(("definition", "said"), NEVER_USABLE.values(), ids=NEVER_USABLE)
def test_a_map_that_can_never_work_is_found_before_a_row_is_paid_for(
    make_sandbox: Callable[..., Sandbox], definition: dict[str, Any], said: str
) -> None:
    sandbox = make_sandbox(rows={"sms": 5})
    output = mapped(sandbox, {"amd": {"a": "id"}, "sms": definition})
    assert isinstance(output.error, SettingsError)
    assert said in str(output.error)
    assert LEAK not in str(output.error)
    assert sandbox.requests.total == 0


def test_a_map_of_a_dropped_or_deselected_column_is_found_before_a_row_is_paid_for(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    sandbox = make_sandbox(rows={"sms": 5})
    maps = {"sms": {"target": "to[:2]"}}
    catalog = catalog_of(["sms"])
    for metadata in catalog["streams"][[entry["stream"] for entry in catalog["streams"]].index("sms")]["metadata"]:
        if metadata["breadcrumb"] == ["properties", "to"]:
            metadata["metadata"] = {"inclusion": "available", "selected": False}
    for output in (
        mapped(sandbox, maps, ("sms",), personal_data="drop"),
        run_tap(settings_for(sandbox, **DATES, stream_maps=maps), catalog=catalog),
    ):
        assert isinstance(output.error, SettingsError)
        assert "for sms uses names that the stream does not have, in target: to." in str(output.error)
    assert mapped(sandbox, maps, ("amd",), personal_data="drop").code == 0  # nobody reads the stream


@pytest.mark.parametrize(
    "maps",
    [{"smss": {"a": "id"}}, {"a": {"__source__": "smss"}}, {"sms_x*": None}, {"a": {}, "sms": {}}],
    ids=str,
)
def test_a_map_of_an_unknown_stream_is_an_error(make_sandbox: Callable[..., Sandbox], maps: dict[str, Any]) -> None:
    output = mapped(make_sandbox(), maps)
    assert isinstance(output.error, SettingsError)
    assert "stream_maps names the unknown stream" in str(output.error)


def test_all_forms_of_maps_that_the_sdk_has_are_accepted(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"*": 5})
    plain = mapped(sandbox, {})
    maps = {
        "s*": {"doubled": "[x * 2 for x in [1, 2]][0]", "note": "record['id'] + _['id']"},
        "copies": {"__source__": "sms", "__filter__": "direction == 'inbound'", "__key_properties__": []},
        "amd": {"__alias__": "detections", "__else__": None, "id": "self", "key": "md5(config['salt'] + id)"},
        "__else__": None,
    }
    output = mapped(sandbox, maps, ("amd", "sms", "asr"), stream_map_config={"salt": "x"})
    assert output.code == 0, output.log
    assert set(output.records) == {"sms", "copies", "detections"}
    assert sorted(output.ids("sms")) == sorted(plain.ids("sms"))
    assert {record["doubled"] for record in output.records["sms"]} == {2}
    assert {record["direction"] for record in output.records["copies"]} == {"inbound"}
    assert {tuple(record) for record in output.records["detections"]} == {("id", "key")}
    schemas = [message["stream"] for message in output.messages if message["type"] == "SCHEMA"]
    assert set(schemas) == {"sms", "copies", "detections"}
    # A record and its copy follow each other, as the SDK writes them.
    streams = [message["stream"] for message in output.messages if message["type"] == "RECORD"]
    first = streams.index("copies")
    assert streams[first - 1 : first + 3] == ["sms", "copies", "sms", "copies"]


def test_a_stream_map_that_removes_all_other_streams_leaves_none(make_sandbox: Callable[..., Sandbox]) -> None:
    maps = {"__else__": None}
    output = mapped(make_sandbox(rows={"*": 5}), maps)
    assert output.code == 0
    assert {message["type"] for message in output.messages} == {"STATE"}
    assert maps == {"__else__": None}  # what the SDK takes out, it takes out of a copy


def test_a_map_of_one_stream_leaves_the_lines_of_others_as_they_are(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"*": 5})
    plain, changed = mapped(sandbox, {}), mapped(sandbox, {"sms": {"a": "id"}})
    assert plain.records["amd"] == changed.records["amd"]
    assert [{**record, "a": record["id"]} for record in plain.records["sms"]] == changed.records["sms"]


def test_no_expression_reaches_the_log(make_sandbox: Callable[..., Sandbox], tmp_path: Path) -> None:
    sandbox = make_sandbox(rows={"sms": 5})
    maps = {"sms": {"__filter__": "to != '447700900123'", "x": "'447700900123'"}}
    (tmp_path / "config.json").write_text(json.dumps(settings_for(sandbox, **DATES, stream_maps=maps)))
    output = run_main("--config", tmp_path / "config.json", environment={"LOGLEVEL": "DEBUG"})
    assert output.code == 0
    assert "447700900123" not in output.log


def test_flattening_needs_a_depth(make_sandbox: Callable[..., Sandbox]) -> None:
    output = run_tap(settings_for(make_sandbox(), flattening_enabled=True), ["sms"])
    assert isinstance(output.error, SettingsError)
    assert "flattening_max_depth is missing" in str(output.error)
