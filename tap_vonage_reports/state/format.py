"""What the Singer state of this tap looks like, and what is made of one that looks otherwise.

State of other shapes is read without loss: what is not known to be covered is read again. What cannot be told apart
from damage is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import msgspec

from tap_vonage_reports.errors import StateError
from tap_vonage_reports.intervals import TimeWindow
from tap_vonage_reports.timestamps import PLAUSIBLE_YEARS, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

T = TypeVar("T")

LOOKED_UP = r"^[!-+\--~]{1,200}\Z"
"""An id that can be asked for: ids stand in a list with commas between them."""

BOOKMARKS = "bookmarks"
PARTITIONS = "partitions"
CONTEXT = "context"
REPLICATION_KEY = "replication_key"
REPLICATION_VALUE = "replication_key_value"
COVERED = "covered"
READ_AT = "read_at"
QUERY = "query"
PAGE = "page"
REPORTS = "reports"
REPORT_HOURS = "report_hours"
TRACKED = "tracked"
OPEN = "open"
SDK_MARKERS = ("progress_markers", "starting_replication_value", "replication_key_signpost")


@dataclass(frozen=True)
class PageCursor:
    """Where to go on inside a window: the next page's cursor, with the query that it belongs to.

    Attributes:
        window: The window.
        cursor: Where its next page begins.
        iv: What goes with the cursor, where the API gave anything.
        query: Fingerprint of the query that the cursor belongs to.
        read_at: When the pages before were read.
        tracked: Whether the rows of the pages before that are not final were kept by id.
    """

    window: TimeWindow
    cursor: str
    iv: str | None
    query: str
    read_at: datetime
    tracked: bool = False


@dataclass(frozen=True)
class PendingReport:
    """A report that was asked for and has not been read.

    Attributes:
        request_id: The API's name for it.
        window: What it covers.
        fingerprint: Fingerprint of the whole request.
        requested_at: When it was asked for, on Vonage's clock.
    """

    request_id: str
    window: TimeWindow
    fingerprint: str
    requested_at: datetime


@dataclass(frozen=True)
class PartitionState:
    """What the state of a partition says.

    Attributes:
        until: The end of what was read; who sets it back by hand wants to read again from there.
        covered: What was read completely; None where nothing but its end is said.
        read_at: When each of that was read; None where that is not said.
        page: Where to go on inside a window.
        reports: What was asked for and not read.
        tracked: The time whose rows that are not final are all in `open`.
        open: Ids of rows to look up again, each with the hour of its row.
    """

    until: datetime | None
    covered: list[TimeWindow] | None
    read_at: list[datetime | None]
    page: PageCursor | None
    reports: list[PendingReport]
    tracked: list[TimeWindow]
    open: dict[str, datetime]


def read_partition(state: Mapping[str, Any], stream: str) -> PartitionState:
    """Read the state of a partition.

    Args:
        state: The state.
        stream: The stream's name, for the message.

    Raises:
        StateError: It is malformed.
    """
    return _partition(_convert(state, _PartitionShape, stream), stream)


def check_state(state: object, streams: Mapping[str, object]) -> None:
    """Refuse a state that this tap cannot have been meant to get.

    Args:
        state: What --state holds.
        streams: The streams of the tap, by name.

    Raises:
        StateError: It is no Singer state, is malformed, or speaks of none of the tap's streams.
    """
    if not isinstance(state, dict):
        msg = "The state is not a JSON object. Pass the file that the last run's STATE was saved to."
        raise StateError(msg)
    bookmarks = state.get(BOOKMARKS, {})
    if not isinstance(bookmarks, dict) or (state and BOOKMARKS not in state):
        msg = "The state has no object 'bookmarks'. Pass the value of a STATE message, not the message or another file."
        raise StateError(msg)
    if bookmarks and not set(bookmarks) & set(streams):
        msg = "The state speaks of no stream of this tap. It may belong to another tap; pass the right one, or none."
        raise StateError(msg)
    try:
        msgspec.json.encode(state)
    except (ValueError, OverflowError):
        msg = "The state holds text or a number that JSON cannot carry. Pass the state of this tap as it was written."
        raise StateError(msg) from None
    for stream, bookmark in bookmarks.items():
        _convert(bookmark, _SdkStreamShape, stream)
        if stream in streams:
            _check_stream(_convert(bookmark, _StreamShape, stream), stream)


def _check_stream(shape: _StreamShape, stream: str) -> None:
    _time(shape.replication_key_value, REPLICATION_VALUE, stream)
    for partition in shape.partitions:
        _partition(partition, stream)
    if _repeated(partition.context for partition in shape.partitions):
        msg = f"The state of stream {stream} names a partition twice. Remove the one that reaches less far."
        raise StateError(msg)


def adopt_stream_bookmark(stream_state: dict[str, Any], partitions: list[dict[str, Any]]) -> bool:
    """Carry over a bookmark that stands at the stream itself, as taps without partitions write it.

    It is only safe where the stream has a single partition: with more, nobody knows which of them the
    bookmark speaks of, and the others would start where it ends.

    Args:
        stream_state: The state of a stream.
        partitions: The contexts of all its partitions.

    Returns:
        Whether a bookmark was there that could not be used.
    """
    if REPLICATION_VALUE not in stream_state or stream_state.get(PARTITIONS):
        return False
    value = stream_state.pop(REPLICATION_VALUE)
    stream_state.pop(REPLICATION_KEY, None)
    if len(partitions) != 1:
        return True
    stream_state[PARTITIONS] = [{CONTEXT: dict(partitions[0]), REPLICATION_VALUE: value}]
    return False


# What a state may look like; keys that are not named here may be anything.

_Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
_Id: TypeAlias = Annotated[str, msgspec.Meta(pattern=LOOKED_UP)]
_Hours: TypeAlias = Annotated[float, msgspec.Meta(ge=1, le=1_000_000)]


class _SdkShape(msgspec.Struct, kw_only=True):
    """What the SDK reads of a state, of this tap's streams or others."""

    progress_markers: dict[str, Any] = {}


class _SdkStreamShape(_SdkShape):
    partitions: list[_SdkShape] = []


class _PageShape(msgspec.Struct):
    date_start: str
    date_end: str
    cursor: _Text
    iv: str | None = None
    query: str = ""
    read_at: str | None = None
    tracked: bool = False


class _ReportShape(msgspec.Struct):
    request_id: _Text
    date_start: str
    date_end: str
    fingerprint: str
    requested_at: str


class _PartitionShape(_SdkShape):
    context: dict[str, Any]
    replication_key_value: str | None = None
    covered: list[tuple[str, str]] | msgspec.UnsetType = msgspec.UNSET
    read_at: str | list[str | None] | None = None
    query: str = ""
    page: _PageShape | None = None
    reports: list[_ReportShape] | None = None
    report_hours: _Hours | None = None
    tracked: list[tuple[str, str]] = []
    open: dict[str, list[_Id]] = {}


class _StreamShape(_SdkShape):
    partitions: list[_PartitionShape] = []
    replication_key_value: str | None = None


def _partition(shape: _PartitionShape, stream: str) -> PartitionState:
    covered = None
    if shape.covered is not msgspec.UNSET:
        covered = [_window(start, end, COVERED, stream) for start, end in shape.covered]
    elif shape.read_at or shape.query:
        # This tap writes these together: what was read has been lost, and the end alone says too much.
        raise _malformed(stream, COVERED)
    reports = [_report(report, stream) for report in shape.reports or []]
    if _repeated(report.request_id for report in reports):
        raise _malformed(stream, REPORTS)
    hours = {_hour(text, stream): names for text, names in shape.open.items()}
    return PartitionState(
        _time(shape.replication_key_value, REPLICATION_VALUE, stream),
        covered,
        _read_at(shape, len(covered or ()), stream),
        _page(shape.page, stream) if shape.page else None,
        reports,
        [_window(start, end, TRACKED, stream) for start, end in shape.tracked],
        {name: hour for hour, names in hours.items() for name in names},
    )


def _hour(text: str, stream: str) -> datetime:
    hour = _needed_time(text, OPEN, stream)
    if hour.year not in PLAUSIBLE_YEARS or hour != hour.replace(minute=0, second=0, microsecond=0):
        raise _malformed(stream, OPEN)
    return hour


def _read_at(shape: _PartitionShape, parts: int, stream: str) -> list[datetime | None]:
    """When each part was read; a single time is that of the last part."""
    if not isinstance(shape.read_at, list):
        return ([None] * parts + [_time(shape.read_at, READ_AT, stream)])[-parts:] if parts else []
    if len(shape.read_at) != parts:
        raise _malformed(stream, READ_AT)
    return [_time(time, READ_AT, stream) for time in shape.read_at]


def _page(shape: _PageShape, stream: str) -> PageCursor:
    window = _window(shape.date_start, shape.date_end, PAGE, stream)
    # Of a page that does not say when it was read, it is known that its window lay in the past.
    read_at = _time(shape.read_at, PAGE, stream) or window.end
    return PageCursor(window, shape.cursor, shape.iv or None, shape.query, read_at, shape.tracked)


def _report(shape: _ReportShape, stream: str) -> PendingReport:
    return PendingReport(
        shape.request_id,
        _window(shape.date_start, shape.date_end, REPORTS, stream),
        shape.fingerprint,
        _needed_time(shape.requested_at, REPORTS, stream),
    )


def _window(start: str, end: str, key: str, stream: str) -> TimeWindow:
    window = TimeWindow(_needed_time(start, key, stream), _needed_time(end, key, stream))
    if window.end < window.start:
        raise _malformed(stream, key)
    return window


def _time(text: str | None, key: str, stream: str) -> datetime | None:
    return _needed_time(text, key, stream) if text else None


def _needed_time(text: str, key: str, stream: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError:
        raise _malformed(stream, key) from None


def _convert(state: object, shape: type[T], stream: str) -> T:
    try:
        return msgspec.convert(state, shape)
    except msgspec.ValidationError as error:
        # Of the library's words only the place, which consists of the names above.
        raise _malformed(stream, str(error).partition(" - at ")[2].strip("`$.")) from None


def _repeated(values: Iterable[object]) -> bool:
    values = list(values)
    return any(values.count(value) > 1 for value in values)


def _malformed(stream: str, place: str) -> StateError:
    at = f" (at {place})" if place else ""
    return StateError(
        f"The state of stream {stream} is malformed{at}. Pass the state of this tap as it was written, or none to "
        "start over."
    )
