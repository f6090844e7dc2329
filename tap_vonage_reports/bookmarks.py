"""The typed view of one partition's Singer state. The only module that knows the state's key names.

State of other shapes is read without loss: what is not known to be covered is read again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.errors import StateError
from tap_vonage_reports.times import parse_time, to_text
from tap_vonage_reports.windows import Window, spans, windows_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import portion

BOOKMARKS = "bookmarks"
PARTITIONS = "partitions"
CONTEXT = "context"
KEY = "replication_key"
VALUE = "replication_key_value"
COVERED = "covered"
READ_AT = "read_at"
QUERY = "query"
PAGE = "page"
REPORTS = "reports"
REPORT_HOURS = "report_hours"
_ANY_TIME = datetime(2000, 1, 1, tzinfo=timezone.utc)
SDK_MARKERS = ("progress_markers", "starting_replication_value", "replication_key_signpost")


@dataclass(frozen=True)
class OpenPage:
    """Where to go on inside a window: the next page's cursor, with the query that it belongs to.

    Attributes:
        window: The window.
        cursor: Where its next page begins.
        iv: What goes with the cursor, where the API gave anything.
        query: Fingerprint of the query that the cursor belongs to.
        read_at: When the pages before were read.
    """

    window: Window
    cursor: str
    iv: str | None
    query: str
    read_at: datetime


@dataclass(frozen=True)
class RequestedReport:
    """A report that was asked for and has not been read.

    Attributes:
        request_id: The API's name for it.
        window: What it covers.
        fingerprint: Fingerprint of the whole request.
        requested_at: When it was asked for, on Vonage's clock.
    """

    request_id: str
    window: Window
    fingerprint: str
    requested_at: datetime


class Bookmark:
    """What one partition has read, kept in its Singer state.

    The state's own dictionary is changed in place, in one step for each event, so that it can be
    written at any moment and is never ahead of the records.
    """

    def __init__(
        self, state: dict[str, Any], *, stream: str, replication_key: str, query: str, since: datetime
    ) -> None:
        """Read the state of a partition.

        Args:
            state: The partition's state, which is changed in place from here on.
            stream: The stream's name, for messages.
            replication_key: The stream's replication key.
            query: Fingerprint of what decides which rows the partition has (its filters). Coverage of
                another query counts for nothing.
            since: From when on a bare `replication_key_value` counts as read.

        Raises:
            StateError: The state is not of a known shape.
        """
        self._state = state
        self._key = replication_key
        self._query = query
        where = f"The state of stream {stream}"
        self.covered: portion.Interval = spans(_covered(state, since, where))
        self.settled = _time(state[READ_AT], where) if state.get(READ_AT) else None
        self.page = _page(state, where)
        self.reports = _reports(state, where)
        self.started = bool(self.covered) or self.page is not None
        """Whether any of the partition has ever been read, by this run or an earlier one."""
        self.other_query = bool(self.covered) and state.get(QUERY, "") != query
        if self.other_query:
            self.forget()
        for marker in SDK_MARKERS:
            state.pop(marker, None)

    def forget(self) -> None:
        """Count nothing as read: the next plan starts over."""
        self.covered = spans(())
        self.settled = None
        self.page = None
        for key in (COVERED, VALUE, READ_AT, PAGE, QUERY):
            self._state.pop(key, None)

    def clip(self, end: datetime) -> bool:
        """Drop what lies at or after `end`, which cannot have been read yet; whether there was any."""
        whole = list(windows_of(self.covered))
        kept = [part.until(end) for part in whole if part.start < end]
        self.covered = spans(kept)
        return kept != whole

    def begin(self) -> None:
        """Tell the SDK that progress is kept, so that it does not warn that it is not."""
        self._state[SDK_MARKERS[0]] = {}

    def turn_page(self, page: OpenPage) -> None:
        """Note that the records before `page` are out."""
        self.started = True
        self.page = page
        self._state[PAGE] = {
            "date_start": to_text(page.window.start),
            "date_end": to_text(page.window.end),
            "cursor": page.cursor,
            **({"iv": page.iv} if page.iv else {}),
            QUERY: page.query,
            READ_AT: to_text(page.read_at),
        }

    def cover(self, window: Window, read_at: datetime) -> None:
        """Note that all records of `window` are out.

        Args:
            window: What was read completely.
            read_at: The end of "now" when it was read: rows before this less the lookback are final.
        """
        self.started = True
        self.covered |= spans([window])
        parts = list(windows_of(self.covered))
        if not parts:
            return
        changes: dict[str, Any] = {
            KEY: self._key,
            VALUE: to_text(parts[-1].end),
            COVERED: [[to_text(part.start), to_text(part.end)] for part in parts],
            **({QUERY: self._query} if self._query else {}),
        }
        if window.end >= parts[-1].end:
            self.settled = read_at
            changes[READ_AT] = to_text(read_at)
        if self.page and self.page.window.start == window.start:
            self.page = None
            self._state.pop(PAGE, None)
        self._state.update(changes)

    @property
    def report_hours(self) -> float | None:
        """The longest window whose report was not cut short, in hours, where one has been."""
        hours = self._state.get(REPORT_HOURS)
        return float(hours) if isinstance(hours, (int, float, Decimal)) and hours > 0 else None

    @report_hours.setter
    def report_hours(self, hours: float) -> None:
        self._state[REPORT_HOURS] = hours

    def remember_report(self, report: RequestedReport) -> None:
        """Note that a report was asked for; to be written before it is waited for."""
        self._set_reports([*self.reports, report])

    def forget_report(self, request_id: str) -> None:
        """Note that a report was read, or is of no use any more."""
        self._set_reports([report for report in self.reports if report.request_id != request_id])

    def _set_reports(self, reports: list[RequestedReport]) -> None:
        self.reports = reports
        if not reports:
            self._state.pop(REPORTS, None)
            return
        self._state[REPORTS] = [
            {
                "request_id": report.request_id,
                "date_start": to_text(report.window.start),
                "date_end": to_text(report.window.end),
                "fingerprint": report.fingerprint,
                "requested_at": to_text(report.requested_at),
            }
            for report in reports
        ]

    def drop_page(self) -> None:
        """Forget the open page: its window is read from its first page, or not at all."""
        self.page = None
        self._state.pop(PAGE, None)

    def tidy(self) -> None:
        """Take out what only the SDK needs while records flow."""
        for marker in SDK_MARKERS:
            self._state.pop(marker, None)


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
    for stream in set(bookmarks) & set(streams):
        _check_stream(bookmarks[stream], stream)


def _check_stream(state: object, stream: str) -> None:
    partitions = state.get(PARTITIONS, []) if isinstance(state, dict) else None
    if not isinstance(partitions, list) or not all(
        isinstance(partition, dict) and isinstance(partition.get(CONTEXT), dict) for partition in partitions
    ):
        msg = f"The state of stream {stream} is malformed. Pass the state of this tap, or none to start over."
        raise StateError(msg)
    where = f"The state of stream {stream}"
    for partition in partitions:
        _covered(partition, _ANY_TIME, where)
        _page(partition, where)
        _reports(partition, where)
        if partition.get(READ_AT):
            _time(partition[READ_AT], where)
    contexts = [partition[CONTEXT] for partition in partitions]
    if any(contexts.count(context) > 1 for context in contexts):
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
    if VALUE not in stream_state or stream_state.get(PARTITIONS):
        return False
    value = stream_state.pop(VALUE)
    stream_state.pop(KEY, None)
    if len(partitions) != 1:
        return True
    stream_state[PARTITIONS] = [{CONTEXT: dict(partitions[0]), VALUE: value}]
    return False


def _covered(state: Mapping[str, Any], since: datetime, where: str) -> list[Window]:
    if COVERED in state:
        parts = state[COVERED]
        if not isinstance(parts, list) or not all(isinstance(part, list) and len(part) == 2 for part in parts):  # noqa: PLR2004 - start and end
            raise _malformed(where)
        windows = [Window(_time(start, where), _time(end, where)) for start, end in parts]
        if any(window.end < window.start for window in windows):
            raise _malformed(where)
        return windows
    if state.get(VALUE):
        end = _time(state[VALUE], where)
        return [Window(since, end)] if end > since else []
    return []


def _page(state: Mapping[str, Any], where: str) -> OpenPage | None:
    page = state.get(PAGE)
    if not page:
        return None
    try:
        window = Window(_time(page["date_start"], where), _time(page["date_end"], where))
        # Of a page that does not say when it was read, it is known that its window lay in the past.
        read_at = _time(page[READ_AT], where) if READ_AT in page else window.end
        return OpenPage(window, page["cursor"], page.get("iv"), page.get(QUERY, ""), read_at)
    except (KeyError, TypeError, AttributeError):
        raise _malformed(where) from None


def _reports(state: Mapping[str, Any], where: str) -> list[RequestedReport]:
    try:
        return [
            RequestedReport(
                report["request_id"],
                Window(_time(report["date_start"], where), _time(report["date_end"], where)),
                report["fingerprint"],
                _time(report["requested_at"], where),
            )
            for report in state.get(REPORTS) or []
        ]
    except (KeyError, TypeError, AttributeError):
        raise _malformed(where) from None


def _time(value: object, where: str) -> datetime:
    try:
        return parse_time(str(value))
    except ValueError:
        raise _malformed(where) from None


def _malformed(where: str) -> StateError:
    return StateError(f"{where} is malformed. Pass the state of this tap, or none to start over.")
