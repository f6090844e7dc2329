"""The format of one partition's Singer state: its keys, their parsing, and their output.

Reading accepts the state of every earlier release; time that the state does not clearly mark as covered is refetched.
Damaged state is rejected.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import msgspec

from tap_vonage_reports.errors import StateError
from tap_vonage_reports.intervals import TimeWindow, before, bounds, to_intervals, to_windows
from tap_vonage_reports.redaction import name_for_log
from tap_vonage_reports.state import report_limits as limits
from tap_vonage_reports.state import volume
from tap_vonage_reports.state.report_limits import RefusedReport
from tap_vonage_reports.state.values import PageCursor, PartitionState, PendingReport
from tap_vonage_reports.timestamps import PLAUSIBLE_YEARS, format_timestamp, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from tap_vonage_reports.intervals import TimeSet
    from tap_vonage_reports.state.coverage import Coverage

T = TypeVar("T")

LOOKUP_ID = r"^[!-+\--~]{1,200}\Z"
"""An id that can be looked up: a request lists ids with commas between them."""
_ROW_NAME = r"^([!-+\--~]{1,200},)?[!-+\--~]{1,200}\Z"
"""The name of a tracked row: its id, or ``account,id`` in a partition of several accounts."""

BOOKMARKS = "bookmarks"
PARTITIONS = "partitions"
CONTEXT = "context"
REPLICATION_KEY = "replication_key"
REPLICATION_VALUE = "replication_key_value"
COVERED = "covered"
READ_AT = "read_at"
QUERY = "query"
PAGE = "page"
ROWS_READ = "rows_read"
REPORTS = "reports"
REFUSED_REPORTS = "refused_reports"
ADOPT_AFTER = "adopt_after"
SYNC_HOURS = "sync_hours"
GAPS = "gaps"
TRACKED = "tracked"
OPEN = "open"
ACCOUNTS = "listed_accounts"
UNLISTED = "unlisted_accounts"
UNLISTED_HASHES = "hashes"
SDK_MARKERS = ("progress_markers", "starting_replication_value", "replication_key_signpost")


def read_partition(state: Mapping[str, Any], stream: str) -> PartitionState:
    """Read the state of a partition.

    Args:
        state: The state.
        stream: The stream's name, for the message.

    Raises:
        StateError: It is malformed.
    """
    return parse_partition(convert(state, PartitionShape, stream), stream)


def write_coverage(
    state: dict[str, Any], replication_key: str, coverage: Coverage, gaps: TimeSet, row_filter: str
) -> None:
    """Write the coverage of a partition, or its gaps where nothing is covered, to its state.

    A gap before the end of the coverage holds back `replication_key_value`, which other programs may read alone.
    """
    ends = coverage.ends
    inside = list(to_windows(gaps & before(ends[-1]) if ends else gaps))
    changes: dict[str, Any] = {
        REPLICATION_KEY: replication_key,
        REPLICATION_VALUE: format_timestamp(inside[0].start if inside else ends[-1]),
        **coverage_keys(coverage),
        **({QUERY: row_filter} if row_filter else {}),
    }
    if READ_AT not in changes:
        state.pop(READ_AT, None)
    if inside:
        changes[GAPS] = bounds(to_intervals(inside))
    else:
        state.pop(GAPS, None)
    if coverage.tracked.empty:
        state.pop(TRACKED, None)
    else:
        changes[TRACKED] = bounds(coverage.tracked)
    state.update(changes)  # in one step, because a signal may interrupt between two


def write_gaps(state: dict[str, Any], gaps: TimeSet) -> None:
    """Write the gaps of a partition of which nothing was ever read."""
    state[GAPS] = bounds(gaps)


def coverage_keys(coverage: Coverage) -> dict[str, Any]:
    """Return coverage as the keys of a state that say what was read, and when."""
    times = [format_timestamp(coverage.read_at[end]) if end in coverage.read_at else None for end in coverage.ends]
    read_at = times if any(times[:-1]) else next(reversed(times), None)
    return {COVERED: bounds(coverage.times), **({READ_AT: read_at} if read_at else {})}


def clear_coverage(state: dict[str, Any]) -> None:
    """Remove from the state of a partition everything that says what was read."""
    for key in (COVERED, REPLICATION_VALUE, GAPS, READ_AT, PAGE, QUERY, TRACKED, OPEN):
        state.pop(key, None)


def write_page(state: dict[str, Any], page: PageCursor | None) -> None:
    """Write the page to resume at, or remove it."""
    if page is None:
        state.pop(PAGE, None)
        return
    state[PAGE] = {
        **_window_keys(page.window),
        "cursor": page.cursor,
        **({"iv": page.iv} if page.iv else {}),
        QUERY: page.query,
        READ_AT: format_timestamp(page.read_at),
        **({TRACKED: True} if page.is_tracked else {}),
        **({ROWS_READ: page.rows_read} if page.rows_read else {}),
    }


def write_reports(state: dict[str, Any], reports: Iterable[PendingReport]) -> None:
    """Write the reports that were requested and not read."""
    written = [
        {
            "request_id": report.request_id,
            **_window_keys(report.window),
            "fingerprint": report.fingerprint,
            "requested_at": format_timestamp(report.requested_at),
        }
        for report in reports
    ]
    put(state, REPORTS, written or None)


def write_refused_reports(state: dict[str, Any], refused: Iterable[RefusedReport]) -> None:
    """Write the windows whose report has a file that cannot be read."""
    written = [{**_window_keys(one.window), "refused_at": format_timestamp(one.refused_at)} for one in refused]
    put(state, REFUSED_REPORTS, written or None)


def write_adopt_after(state: dict[str, Any], time: datetime) -> None:
    """Write when the last of the reports was requested that were read or dropped."""
    state[ADOPT_AFTER] = format_timestamp(time)


def write_max_page_window(state: dict[str, Any], length: timedelta | None) -> None:
    """Write the longest window that did not outlive its cursors, in hours, or remove it."""
    put(state, SYNC_HOURS, None if length is None else length / timedelta(hours=1))


def _window_keys(window: TimeWindow) -> dict[str, str]:
    return {"date_start": format_timestamp(window.start), "date_end": format_timestamp(window.end)}


def put(state: dict[str, Any], key: str, value: object) -> None:
    """Write the value of a key; None removes the key."""
    if value is None:
        state.pop(key, None)
    else:
        state[key] = value


def write_pending_ids(state: dict[str, Any], names: Mapping[datetime, list[str]]) -> None:
    """Write the pending ids of some hours, one step for each hour; an hour without any is removed."""
    if not names:
        return
    written = state.setdefault(OPEN, {})
    for hour, some in names.items():
        if some:
            written[format_timestamp(hour)] = some
        else:
            written.pop(format_timestamp(hour), None)
    if not written:
        del state[OPEN]


def clear_pending_ids(state: dict[str, Any]) -> None:
    """Remove all pending ids."""
    state.pop(OPEN, None)


def write_progress(state: dict[str, Any]) -> None:
    """Write the marker by which the SDK knows that progress is kept."""
    state[SDK_MARKERS[0]] = {}


def clear_progress(state: dict[str, Any]) -> None:
    """Remove the SDK's markers."""
    for marker in SDK_MARKERS:
        state.pop(marker, None)


# The shapes that a state may have; keys that are not named here may hold anything.

_Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
_Id: TypeAlias = Annotated[str, msgspec.Meta(pattern=_ROW_NAME)]
_PageHours: TypeAlias = Annotated[float, msgspec.Meta(ge=1 / 3600, le=1_000_000)]


class SdkShape(msgspec.Struct, kw_only=True):
    """The part of any state that the SDK reads."""

    progress_markers: dict[str, Any] = {}


class SdkStreamShape(SdkShape):
    """The part of a stream's state that the SDK reads."""

    partitions: list[SdkShape] = []


class _PageShape(msgspec.Struct):
    date_start: str
    date_end: str
    cursor: _Text
    iv: str | None = None
    query: str = ""
    read_at: str | None = None
    tracked: bool = False
    rows_read: Annotated[int, msgspec.Meta(ge=0)] = 0


class _ReportShape(msgspec.Struct):
    request_id: _Text
    date_start: str
    date_end: str
    fingerprint: str
    requested_at: str


class _UnlistedShape(msgspec.Struct):
    hashes: str
    covered: list[tuple[str, str]]
    read_at: str | list[str | None] | None = None
    query: str = ""
    gaps: list[tuple[str, str]] = []


class PartitionShape(SdkShape):
    """The state of a partition."""

    context: dict[str, Any]
    replication_key_value: str | None = None
    covered: list[tuple[str, str]] | msgspec.UnsetType = msgspec.UNSET
    read_at: str | list[str | None] | None = None
    query: str = ""
    page: _PageShape | None = None
    reports: list[_ReportShape] | None = None
    report_hours: limits.Hours | None = None
    report_rows: limits.Count | None = None
    small_reports: limits.Count = 0
    refused_reports: list[limits.RefusedShape] = []
    adopt_after: str | None = None
    sync_hours: _PageHours | None = None
    gaps: list[tuple[str, str]] = []
    tracked: list[tuple[str, str]] = []
    open: dict[str, list[_Id]] = {}
    listed_accounts: dict[str, str] = {}
    unlisted_accounts: list[_UnlistedShape] = []
    recent_rows: volume.Rows | None = None
    recent_seconds: volume.Seconds | None = None


class StreamShape(SdkShape):
    """The state of a stream."""

    partitions: list[PartitionShape] = []
    replication_key_value: str | None = None


def parse_partition(shape: PartitionShape, stream: str) -> PartitionState:
    """Return what the state of a partition says, with times parsed and contradictions rejected."""
    covered = None
    if shape.covered is not msgspec.UNSET:
        covered = [parse_window(start, end, COVERED, stream) for start, end in shape.covered]
    elif shape.read_at or shape.query:
        # This tap writes these together: the coverage is lost, and its end alone claims too much.
        raise malformed(stream, COVERED)
    reports = [_report(report, stream) for report in shape.reports or []]
    if has_repeats(report.request_id for report in reports):
        raise malformed(stream, REPORTS)
    hours = {_hour(text, stream): names for text, names in shape.open.items()}
    if "subaccounts" not in shape.context and any("," in name for names in hours.values() for name in names):
        raise malformed(stream, OPEN)
    return PartitionState(
        parse_optional_time(shape.replication_key_value, REPLICATION_VALUE, stream),
        covered,
        parse_read_at(shape.read_at, len(covered or ()), stream),
        shape.query,
        _page(shape.page, stream) if shape.page else None,
        reports,
        limits.read_report_limit(shape.report_hours, shape.report_rows, shape.small_reports),
        [_refused(refused, stream) for refused in shape.refused_reports],
        parse_optional_time(shape.adopt_after, ADOPT_AFTER, stream),
        None if shape.sync_hours is None else timedelta(seconds=round(shape.sync_hours * 3600)),
        [parse_window(start, end, GAPS, stream) for start, end in shape.gaps],
        [parse_window(start, end, TRACKED, stream) for start, end in shape.tracked],
        {name: hour for hour, names in hours.items() for name in names},
        volume.read_volume(shape.recent_rows, shape.recent_seconds),
    )


def _hour(text: str, stream: str) -> datetime:
    hour = _needed_time(text, OPEN, stream)
    if hour.year not in PLAUSIBLE_YEARS or hour != hour.replace(minute=0, second=0, microsecond=0):
        raise malformed(stream, OPEN)
    return hour


def parse_read_at(read_at: str | list[str | None] | None, parts: int, stream: str) -> list[datetime | None]:
    """Return when each part was read; a single time belongs to the last part."""
    if not isinstance(read_at, list):
        return ([None] * parts + [parse_optional_time(read_at, READ_AT, stream)])[-parts:] if parts else []
    if len(read_at) != parts:
        raise malformed(stream, READ_AT)
    return [parse_optional_time(time, READ_AT, stream) for time in read_at]


def _page(shape: _PageShape, stream: str) -> PageCursor:
    window = parse_window(shape.date_start, shape.date_end, PAGE, stream)
    # A page without the time when it was read is at least as old as the end of its window.
    read_at = parse_optional_time(shape.read_at, PAGE, stream) or window.end
    return PageCursor(window, shape.cursor, shape.iv or None, shape.query, read_at, shape.tracked, shape.rows_read)


def _report(shape: _ReportShape, stream: str) -> PendingReport:
    return PendingReport(
        shape.request_id,
        parse_window(shape.date_start, shape.date_end, REPORTS, stream),
        shape.fingerprint,
        _needed_time(shape.requested_at, REPORTS, stream),
    )


def _refused(shape: limits.RefusedShape, stream: str) -> RefusedReport:
    window = parse_window(shape.date_start, shape.date_end, REFUSED_REPORTS, stream)
    return RefusedReport(window, _needed_time(shape.refused_at, REFUSED_REPORTS, stream))


def parse_window(start: str, end: str, key: str, stream: str) -> TimeWindow:
    """Return the window between two times that a key of the state holds."""
    window = TimeWindow(_needed_time(start, key, stream), _needed_time(end, key, stream))
    if window.end < window.start:
        raise malformed(stream, key)
    return window


def parse_optional_time(text: str | None, key: str, stream: str) -> datetime | None:
    """Return the time that a key of the state holds; None where it holds none."""
    return _needed_time(text, key, stream) if text else None


def _needed_time(text: str, key: str, stream: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError:
        raise malformed(stream, key) from None


def convert(state: object, shape: type[T], stream: str) -> T:
    """Return a part of the state in one of the shapes of this module.

    Raises:
        StateError: It has another shape.
    """
    try:
        return msgspec.convert(state, shape)
    except msgspec.ValidationError as error:
        # Only the place of the library's message is safe to show: it consists of the keys above.
        raise malformed(stream, str(error).partition(" - at ")[2].strip("`$.")) from None


def has_repeats(values: Iterable[object]) -> bool:
    """Return True if a value occurs twice. Values need not be hashable, but JSON can represent them."""
    encoded = [msgspec.json.encode(value, order="sorted") for value in values]
    return len(set(encoded)) < len(encoded)


def malformed(stream: str, place: str) -> StateError:
    """Return the error for a state that is malformed at a place, named by the keys that lead to it."""
    at = f" (at {place})" if place else ""
    return StateError(
        f"The state of stream {name_for_log(stream)} is malformed{at}. Pass the state of this tap as it was written, "
        "or none to start over."
    )
