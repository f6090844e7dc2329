"""Names from outside are shown where they are printable and safe; no name forges a log line or tells a secret."""

from __future__ import annotations

import json
import logging
import random
import re
import string
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.config.schema import CONFIG_JSONSCHEMA
from tap_vonage_reports.config.settings import Settings
from tap_vonage_reports.errors import CatalogError, SettingsError, StateError
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.redaction import HIDDEN_NAME, RedactingFormatter, name_for_log
from tap_vonage_reports.tap import TapVonageReports
from tests.harness import run_main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD = {"api_key": "abcd1234", "api_secret": "sesame", "api_url": "http://127.0.0.1:9"}
RANDOM_TEXT = "xK9mPq2LwR7tZv4B"
FORGED = "x\x1b[2K\r\n2026-11-20 12:00:00,000 | INFO | all is well\u2028\u202e\x9b"
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \| ")

EntryOf = dict[str, Any]


def stream_entry(name: str) -> EntryOf:
    return {"streams": [{"tap_stream_id": name, "stream": name, "schema": {"properties": {}}, "metadata": []}]}


PLACES: dict[str, Callable[[str], dict[str, EntryOf]]] = {
    "a setting": lambda name: {"config": {name: 1}},
    "a part of a setting": lambda name: {"config": {"stream_options": {"sms": {name: 1}}}},
    "a stream with options": lambda name: {"config": {"stream_options": {name: {}}}},
    "a stream with odd options": lambda name: {"config": {"stream_options": {name: {"lookback_hours": float("nan")}}}},
    "a stream with bad options": lambda name: {"config": {"stream_options": {name: {"lookback_hours": "x"}}}},
    "a stream with control characters": lambda name: {"config": {"stream_options": {name: {"filters": {"a": "\n"}}}}},
    "a filter": lambda name: {"config": {"stream_options": {"sms": {"filters": {name: "1"}}}}},
    "a filter of another type": lambda name: {"config": {"stream_options": {"sms": {"filters": {name: 1}}}}},
    "a part of BATCH": lambda name: {"config": {"batch_config": {"encoding": {"format": "jsonl", name: 1}}}},
    "a mapped stream": lambda name: {"config": {"stream_maps": {name: {"a": "id"}}}},
    "the source of a mapped stream": lambda name: {"config": {"stream_maps": {"a": {"__source__": name}}}},
    "a mapped stream of another type": lambda name: {"config": {"stream_maps": {name: 5}}},
    "a mapped property": lambda name: {"config": {"stream_maps": {"sms": {name: "(id"}}}},
    "an unknown name in an expression": lambda _: {"config": {"stream_maps": {"sms": {"a": RANDOM_TEXT}}}},
    "a key of a map": lambda name: {"config": {"stream_maps": {"sms": {"__key_properties__": [name]}}}},
    "an account": lambda name: {"config": {"account_ids": [name.replace(RANDOM_TEXT, "\u202e")]}},
    "a stream of the catalog": lambda name: {"catalog": stream_entry(name)},
    "a stream of the state": lambda name: {"state": {"bookmarks": {"sms": {}, name: {"partitions": 5}}}},
    "a key of the state": lambda name: {
        "state": {"bookmarks": {"sms": {"partitions": [{"context": {}, name: 5}] * 2}}}
    },
}


def log_of(folder: Path, files: dict[str, EntryOf], config: dict[str, Any]) -> str:
    arguments: list[str | Path] = []
    for option, content in {**files, "config": {**config, **files.get("config", {})}}.items():
        (folder / option).write_text(json.dumps(content))
        arguments += [f"--{option}", folder / option]
    output = run_main(*arguments)
    assert output.code == 1
    assert output.lines == []
    return output.log


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_no_name_forges_a_line_of_the_log(tmp_path: Path, place: Callable[[str], dict[str, EntryOf]]) -> None:
    log = log_of(tmp_path, place(FORGED), GOOD)
    assert "ERROR" in log
    assert "Unexpected" not in log
    assert all(map(LINE.match, log.removesuffix("\n").split("\n"))), log
    assert log.replace("\n", "").isprintable()


@pytest.mark.parametrize("secret", [RANDOM_TEXT, "sesame"], ids=["that only looks like one", "that is set"])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_no_secret_that_stands_where_a_name_belongs_is_shown(
    tmp_path: Path, place: Callable[[str], dict[str, EntryOf]], secret: str
) -> None:
    assert secret not in log_of(tmp_path, place(secret), GOOD)


@pytest.mark.parametrize("name", ["sesame", "open sesame", "sesame_x"])
def test_an_error_tells_no_secret_without_any_log(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_config({**GOOD, name: 1}, CONFIG_JSONSCHEMA)
    assert "sesame" not in str(caught.value)
    assert HIDDEN_NAME in str(caught.value)
    with pytest.raises(CatalogError) as refused:
        TapVonageReports(config=GOOD, catalog=stream_entry(name))
    assert "sesame" not in str(refused.value)


def test_very_long_and_very_many_names_are_cut() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_config({**GOOD, "ab" * 50_000: 1}, CONFIG_JSONSCHEMA)
    assert len(str(caught.value)) < 2_000
    with pytest.raises(StateError) as malformed:
        TapVonageReports(config=GOOD, state={"bookmarks": {"sms": {}, "ab" * 50_000: 5}})
    assert len(str(malformed.value)) < 500
    catalog = {"streams": [stream_entry(f"stream {'a' * number}")["streams"][0] for number in range(1000)]}
    with pytest.raises(CatalogError, match=r"stream aaa, .*, \.\.\.\. Create") as refused:
        TapVonageReports(config=GOOD, catalog=catalog)
    assert len(str(refused.value)) < 500


def test_the_name_of_an_option_forges_no_line() -> None:
    output = run_main("--x\x1b[2K\nforged")
    assert output.code == 1
    assert "\x1b" not in output.log
    assert "\nforged" not in output.log


def test_names_that_the_project_and_the_sdk_use_are_shown() -> None:
    names = {
        *TapVonageReports(config={}, validate_config=False).config_jsonschema["properties"],
        *PRODUCTS,
        *(name for product in PRODUCTS.values() for name in product.schema["properties"]),
        *(name for product in PRODUCTS.values() for name in (*product.sync_filters, *product.async_filters)),
        *("lookback_hour", "startDate", "includeSubAccounts", "API_KEY", "users_v2", "pull_requests", "sms*", "größe"),
    }
    assert {name for name in names if name_for_log(name) != name} == set()


LETTERS_AND_DIGITS = string.ascii_letters + string.digits
RANDOM = {
    "an API secret": (LETTERS_AND_DIGITS, 16),
    "an API key": ("0123456789abcdef", 8),
    "a digest": ("0123456789abcdef", 32),
    "a token": (LETTERS_AND_DIGITS + "-_", 22),
    "a password": (LETTERS_AND_DIGITS + "!#$%&/()=+@", 12),
    "small letters and digits": (string.ascii_lowercase + string.digits, 24),
}


@pytest.mark.parametrize(("characters", "length"), RANDOM.values(), ids=RANDOM)
def test_random_text_is_not_shown_as_a_name(characters: str, length: int) -> None:
    chance = random.Random(1)
    texts = ["".join(chance.choices(characters, k=length)) for _ in range(1000)]
    assert sum(name_for_log(text) != HIDDEN_NAME for text in texts) <= 20


@pytest.mark.parametrize("name", ["447700900123", "", "\x1b\n", None, 5])
def test_text_that_is_not_a_name_is_not_shown(name: object) -> None:
    assert name_for_log(name) == HIDDEN_NAME


def test_a_message_of_any_library_is_one_line_but_a_traceback_is_kept() -> None:
    formatter = RedactingFormatter(logging.Formatter("%(message)s"), [])
    record = logging.LogRecord("x", 40, "f", 1, "%s\n\x1b[2K\ttwo", ("one\u202e",), None)
    assert formatter.format(record) == r"one\u202e\n\x1b[2K\ttwo"
    assert record.args == ("one\u202e",)  # other handlers get it as it was
    try:
        int("x")
    except ValueError as error:
        failed = logging.LogRecord("x", 40, "f", 1, "one\ntwo", (), (ValueError, error, error.__traceback__))
    first, *others = formatter.format(failed).splitlines()
    assert first == r"one\ntwo"
    assert others[0].startswith("Traceback")
