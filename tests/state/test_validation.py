"""A state of this tap is accepted, any other is an error; the bookmark of a stream goes to its only partition."""

from __future__ import annotations

from typing import Any

import pytest

from tap_vonage_reports.errors import StateError
from tap_vonage_reports.state.validation import adopt_stream_bookmark, check_state, foreign_keys, unwrap

TIME = "2026-11-18T00:00:00Z"
FIRST, SECOND = {"account_id": "abcd1234"}, {"account_id": "sub00001"}


def adopted(state: dict[str, Any], *contexts: dict[str, str]) -> tuple[bool, dict[str, Any]]:
    """Whether a bookmark was dropped, and the state after it."""
    state = {name: value for name, value in state.items() if value is not None}
    return adopt_stream_bookmark(state, [*contexts]), state


@pytest.mark.parametrize("key", [None, "date_start"])
def test_the_bookmark_of_a_stream_becomes_that_of_its_only_partition(key: str | None) -> None:
    expected = {"partitions": [{"context": FIRST, "replication_key_value": TIME}]}
    assert adopted({"replication_key": key, "replication_key_value": TIME}, FIRST) == (False, expected)


@pytest.mark.parametrize("contexts", [(), (FIRST, SECOND)])
def test_the_bookmark_of_a_stream_with_several_partitions_or_none_is_dropped(contexts: tuple[dict[str, str]]) -> None:
    assert adopted({"replication_key": "x", "replication_key_value": TIME}, *contexts) == (True, {})


def test_bookmarks_of_partitions_come_first_and_stay_as_they_are() -> None:
    of_partitions = {"partitions": [{"context": FIRST, "replication_key_value": TIME}]}
    for state in (of_partitions, {**of_partitions, "replication_key_value": TIME}, {"replication_key": "x"}, {}):
        assert adopted(state, FIRST) == (False, state)
    assert adopted({"partitions": [], "replication_key_value": TIME}, FIRST) == (False, of_partitions)


def test_a_carried_over_bookmark_shares_nothing_with_the_partition() -> None:
    state: dict[str, Any] = {"replication_key_value": TIME}
    context = {**FIRST}
    adopt_stream_bookmark(state, [context])
    state["partitions"][0]["context"]["account_id"] = "other"
    assert context == FIRST


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"bookmarks": {}},
        {"bookmarks": {"sms": {}}},
        {"bookmarks": {"sms": {}, "of_another_tap": {"partitions": []}}, "other": 1},
        {"bookmarks": {"sms": {"partitions": [{"context": FIRST}, {"context": SECOND}]}}},
    ],
)
def test_a_state_that_names_a_stream_of_the_tap_is_accepted(state: dict[str, Any]) -> None:
    check_state(state, {"sms": None})


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ([], "not a JSON object"),
        ({"other": 1}, "no object 'bookmarks'"),
        ({"bookmarks": []}, "no object 'bookmarks'"),
        ({"bookmarks": {"of_another_tap": {}}}, "names no stream of this tap"),
        ({"bookmarks": {"sms": {"x": 1 << 70, "y": "\ud83d"}}}, "JSON cannot represent"),
        ({"bookmarks": {"sms": {"partitions": [{"context": FIRST}, {"context": FIRST}]}}}, "names a partition twice"),
        ({"bookmarks": {"sms": {"replication_key_value": "last tuesday"}}}, "sms"),
        ({"bookmarks": {"sms": [], "other": {}}}, "sms"),
        ({"bookmarks": {"sms": {}, "other": []}}, "other"),
    ],
)
def test_a_state_that_this_tap_cannot_have_written_is_an_error_that_says_why(state: object, said: str) -> None:
    with pytest.raises(StateError, match=said):
        check_state(state, {"sms": None})


def test_the_wrapper_of_meltano_is_taken_off() -> None:
    inner: dict[str, Any] = {"bookmarks": {"sms": {}}}
    assert unwrap({"singer_state": inner}) is inner
    both = {"singer_state": {}, **inner}
    assert unwrap(both) is both
    assert unwrap({"singer_state": "x"}) == {"singer_state": "x"}
    assert foreign_keys({**inner, "other": 1}) == {"other": 1}
