"""Checks of the whole Singer state given with `--state`, and of bookmarks in it that other taps wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tap_vonage_reports.errors import StateError
from tap_vonage_reports.state.format import (
    BOOKMARKS,
    CONTEXT,
    PARTITIONS,
    REPLICATION_KEY,
    REPLICATION_VALUE,
    SdkStreamShape,
    StreamShape,
    convert,
    has_repeats,
    parse_optional_time,
    parse_partition,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

MELTANO_WRAPPER = "singer_state"
"""The key under which Meltano keeps a Singer state."""


def unwrap(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state without the wrapper in which `meltano state get` prints it."""
    inner = state.get(MELTANO_WRAPPER)
    return inner if isinstance(inner, dict) and BOOKMARKS not in state else state


def check_state(state: object, streams: Mapping[str, object]) -> None:
    """Reject a state that this tap cannot have written.

    Args:
        state: What --state holds.
        streams: The streams of the tap, by name.

    Raises:
        StateError: It is not a Singer state, is malformed, or names none of the tap's streams.
    """
    if not isinstance(state, dict):
        msg = "The state is not a JSON object. Pass the file that the last run's STATE was saved to."
        raise StateError(msg)
    bookmarks = state.get(BOOKMARKS, {})
    if not isinstance(bookmarks, dict) or (state and BOOKMARKS not in state):
        msg = (
            "The state has no object 'bookmarks'. Pass the value of a STATE message, not the whole message or another "
            "file."
        )
        raise StateError(msg)
    if bookmarks and not set(bookmarks) & set(streams):
        msg = "The state names no stream of this tap. It may belong to another tap; pass the right one, or none."
        raise StateError(msg)
    try:
        msgspec.json.encode(state)
    except (ValueError, OverflowError):
        msg = (
            "The state contains text or a number that JSON cannot represent. Pass the state of this tap as it was "
            "written."
        )
        raise StateError(msg) from None
    for stream, bookmark in bookmarks.items():
        convert(bookmark, SdkStreamShape, stream)
        if stream in streams:
            _check_stream(convert(bookmark, StreamShape, stream), stream)


def _check_stream(shape: StreamShape, stream: str) -> None:
    parse_optional_time(shape.replication_key_value, REPLICATION_VALUE, stream)
    for partition in shape.partitions:
        parse_partition(partition, stream)
    if has_repeats(partition.context for partition in shape.partitions):
        msg = f"The state of stream {stream} names a partition twice. Remove the entry with the earlier bookmark."
        raise StateError(msg)


def adopt_stream_bookmark(stream_state: dict[str, Any], partitions: list[dict[str, Any]]) -> bool:
    """Carry over a bookmark of the stream itself, as taps without partitions write it.

    This is only safe where the stream has a single partition. With more, the bookmark may belong to any of them, and
    the others would start where it ends.

    Args:
        stream_state: The state of a stream.
        partitions: The contexts of all its partitions.

    Returns:
        True if there was a bookmark that could not be used.
    """
    if REPLICATION_VALUE not in stream_state or stream_state.get(PARTITIONS):
        return False
    value = stream_state.pop(REPLICATION_VALUE)
    stream_state.pop(REPLICATION_KEY, None)
    if len(partitions) != 1:
        return True
    stream_state[PARTITIONS] = [{CONTEXT: dict(partitions[0]), REPLICATION_VALUE: value}]
    return False


def foreign_keys(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a state holds beside the bookmarks. The SDK does not carry it over."""
    return {key: value for key, value in state.items() if key != BOOKMARKS}
