"""A bookmark of the stream itself is carried over where it can only belong to one partition, and else dropped."""

from __future__ import annotations

from typing import Any

import pytest

from tap_vonage_reports.state.validation import adopt_stream_bookmark

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
