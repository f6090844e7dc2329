"""Timestamps as text: parsed from settings, state and responses, formatted for requests and records."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pendulum

if TYPE_CHECKING:
    from collections.abc import Iterable

PLAUSIBLE_YEARS = range(2000, 2100)
"""A time of another year is wrong; near the ends of the calendar, sums would even fail."""
_DATE_FIRST = re.compile(r"\d{4}-\d{2}-\d{2}($|[T ])")
_API_TIME = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})[T ](\d{1,2}):(\d{2}):(\d{2})(?:[.,](\d+))? ?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):?([0-5]\d)?|)",
    re.ASCII,
)
_HOUR, _SECOND = len("YYYY-MM-DDTHH"), len("YYYY-MM-DDTHH:MM:SS")
"""Characters of a timestamp up to its hour, and up to its second."""
_TIMESTAMP_ENDS = frozenset(f":{minute:02}:{second:02}+00:00" for minute in range(60) for second in range(60))
_known_hours: set[str] = set()
"""Starts of timestamps, up to the hour, that are known to be in the calendar."""
MAX_CACHED_HOURS = 20_000
"""Hours in `_known_hours`: more than the 9,500 of the 13 months for which the API keeps records."""


def parse_time(text: str) -> datetime:
    """Parse an ISO 8601 date or time from the settings or the state.

    Args:
        text: For example ``2026-10-01``, ``2026-10-01T02:00:00+02:00`` or ``2026-10-01T00:00:00Z``. UTC if it has no
            offset.

    Returns:
        An aware time in UTC.

    Raises:
        ValueError: The text is not a date or time.
    """
    if not _DATE_FIRST.match(text):
        msg = "not an ISO 8601 date or time"
        raise ValueError(msg)
    parsed = pendulum.parse(text, tz="UTC", exact=False)
    if not isinstance(parsed, pendulum.DateTime):
        msg = "not a point in time"
        raise ValueError(msg)  # noqa: TRY004 - the text is wrong, not its type
    try:
        return datetime.fromisoformat(parsed.in_timezone("UTC").isoformat().replace("Z", "+00:00"))
    except OverflowError as error:
        msg = "a time outside the calendar in UTC"
        raise ValueError(msg) from error


def format_timestamp(time: datetime) -> str:
    """Format a time for records and state: ``YYYY-MM-DDTHH:MM:SS+00:00``, with microseconds if it has any."""
    return time.astimezone(timezone.utc).isoformat()


def format_query_time(time: datetime) -> str:
    """Format a time for a request: ``YYYY-MM-DDTHH:MM:SSZ``, with milliseconds if it has any [confirmed].

    With ``Z``, because a ``+`` that is not percent-encoded means a space.
    """
    text = time.astimezone(timezone.utc).replace(tzinfo=None)
    return text.isoformat(timespec="milliseconds" if text.microsecond else "seconds") + "Z"


def months_before(time: datetime, months: int) -> datetime:
    """Return the same time of day some calendar months earlier, at the end of a month that lacks the day."""
    earlier = pendulum.instance(time).subtract(months=months)
    return time.replace(year=earlier.year, month=earlier.month, day=earlier.day)


def normalize_timestamp(text: str) -> str | None:
    """Convert a timestamp of the API to the form of records.

    The API uses ``+00:00``, ``Z`` and milliseconds [confirmed], and has used ``+0000``, a space for the ``T`` and
    months without a leading zero [likely]. No offset means UTC. A fraction keeps its digits.

    Returns:
        ``YYYY-MM-DDTHH:MM:SS[.fraction]+00:00``, or None if the text is not a timestamp.
    """
    if text[:_HOUR] in _known_hours and text[_HOUR:] in _TIMESTAMP_ENDS:
        return text
    match = _API_TIME.fullmatch(text)
    if match is None:
        return None
    *numbers, fraction, sign, hours, minutes = match.groups()
    try:
        time = datetime(*map(int, numbers), tzinfo=timezone.utc)  # type: ignore[arg-type,misc] # six numbers, by the pattern
        if sign:
            offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
            time = time - offset if sign == "+" else time + offset
    except (ValueError, OverflowError):
        return None
    canonical = time.isoformat()
    if len(_known_hours) >= MAX_CACHED_HOURS:
        _known_hours.clear()
    _known_hours.add(canonical[:_HOUR])
    return f"{canonical[:_SECOND]}.{fraction}{canonical[_SECOND:]}" if fraction else canonical


def normalize_timestamps(texts: Iterable[str | None]) -> list[str | None]:
    """Convert many timestamps of the API, as `normalize_timestamp` does.

    Most have the form of records already. Their hours repeat, and only 3600 different ends can follow an hour: a text
    whose two parts are known needs no parsing.

    Args:
        texts: The timestamps. Empty texts and None are missing ones.

    Returns:
        One timestamp for each text; None for a missing one.

    Raises:
        ValueError: A text is not a timestamp.
    """
    return [
        text if text and text[:_HOUR] in _known_hours and text[_HOUR:] in _TIMESTAMP_ENDS else _time_or_none(text)
        for text in texts
    ]


def _time_or_none(text: str | None) -> str | None:
    if not text:
        return None
    time = normalize_timestamp(text)
    if time is None:
        msg = "not a timestamp"
        raise ValueError(msg)
    return time
