"""Times as text: what users write, what the API takes, and what the tap writes."""

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
_WIRE_TIME = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})[T ](\d{1,2}):(\d{2}):(\d{2})(?:[.,](\d+))? ?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):?([0-5]\d)?|)",
    re.ASCII,
)
_HOUR, _SECOND = len("YYYY-MM-DDTHH"), len("YYYY-MM-DDTHH:MM:SS")
_IN_AN_HOUR = frozenset(f":{minute:02}:{second:02}+00:00" for minute in range(60) for second in range(60))
_known_hours: set[str] = set()
"""Hours that are in the calendar, as `normalize_timestamp` has found; no more than `MAX_CACHED_HOURS`."""
MAX_CACHED_HOURS = 20_000
"""More than the 13 months that the API keeps records."""


def parse_time(text: str) -> datetime:
    """Read an ISO 8601 date or time as users and states write it; UTC where it names no offset.

    Args:
        text: For example ``2026-10-01``, ``2026-10-01T02:00:00+02:00`` or ``2026-10-01T00:00:00Z``.

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
    """A time as the tap writes it: ``YYYY-MM-DDTHH:MM:SS+00:00``, with a fraction where it has one."""
    return time.astimezone(timezone.utc).isoformat()


def format_query_time(time: datetime) -> str:
    """A time as a request carries it: ISO 8601 with Z, milliseconds where it has any [confirmed].

    Z because a ``+`` is taken for a blank when it is not percent-encoded.
    """
    text = time.astimezone(timezone.utc).replace(tzinfo=None)
    return text.isoformat(timespec="milliseconds" if text.microsecond else "seconds") + "Z"


def months_before(time: datetime, months: int) -> datetime:
    """The same time of day some calendar months earlier."""
    earlier = pendulum.instance(time).subtract(months=months)
    return time.replace(year=earlier.year, month=earlier.month, day=earlier.day)


def normalize_timestamp(text: str) -> str | None:
    """A time as it came over the wire, in the one form that records have.

    Seen on the wire: ``+00:00``, ``+0000``, ``Z``, milliseconds, a blank for the T, months without their
    zero [wire_notes]. No offset means UTC. The digits of a fraction are kept as they came.

    Returns:
        ``YYYY-MM-DDTHH:MM:SS[.fraction]+00:00``, or None when the text is no time.
    """
    if text[:_HOUR] in _known_hours and text[_HOUR:] in _IN_AN_HOUR:
        return text
    match = _WIRE_TIME.fullmatch(text)
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
    """Many times as they came over the wire, as `normalize_timestamp` has them.

    Most come in that form already. Hours repeat, and of what follows an hour there are only 3600: a text whose two
    halves are known is not looked at further.

    Args:
        texts: The times; empty ones and None are none.

    Returns:
        For each text its time; None where there is none.

    Raises:
        ValueError: A text is no time.
    """
    return [
        text if text and text[:_HOUR] in _known_hours and text[_HOUR:] in _IN_AN_HOUR else _time_or_none(text)
        for text in texts
    ]


def _time_or_none(text: str | None) -> str | None:
    if not text:
        return None
    time = normalize_timestamp(text)
    if time is None:
        msg = "not a time"
        raise ValueError(msg)
    return time
