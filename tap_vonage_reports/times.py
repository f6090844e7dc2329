"""Times as text: what users write, what the API takes, and what the tap writes."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import pendulum

_DATE_FIRST = re.compile(r"\d{4}-\d{2}-\d{2}($|[T ])")
_WIRE_TIME = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})[T ](\d{1,2}):(\d{2}):(\d{2})(?:[.,](\d+))? ?(?:[Zz]|([+-])(\d{2}):?(\d{2})?|)"
)
_CANONICAL = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\+00:00")


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
    return datetime.fromisoformat(parsed.in_timezone("UTC").isoformat().replace("Z", "+00:00"))


def to_text(time: datetime) -> str:
    """A time as the tap writes it: ``YYYY-MM-DDTHH:MM:SS+00:00``, with a fraction where it has one."""
    return time.astimezone(timezone.utc).isoformat()


def to_query(time: datetime) -> str:
    """A time as a request carries it: ISO 8601 with Z, milliseconds where it has any [confirmed].

    Z because a ``+`` is taken for a blank when it is not percent-encoded.
    """
    text = time.astimezone(timezone.utc).replace(tzinfo=None)
    return text.isoformat(timespec="milliseconds" if text.microsecond else "seconds") + "Z"


def months_before(time: datetime, months: int) -> datetime:
    """The same time of day some calendar months earlier."""
    earlier = pendulum.instance(time).subtract(months=months)
    return time.replace(year=earlier.year, month=earlier.month, day=earlier.day)


def canonical_time(text: str) -> str | None:
    """A time as it came over the wire, in the one form that records have.

    Seen on the wire: ``+00:00``, ``+0000``, ``Z``, milliseconds, a blank for the T, months without their
    zero [wire_notes]. No offset means UTC. The digits of a fraction are kept as they came.

    Returns:
        ``YYYY-MM-DDTHH:MM:SS[.fraction]+00:00``, or None when the text is no time.
    """
    if _CANONICAL.fullmatch(text):
        try:
            datetime.fromisoformat(text)
        except ValueError:
            return None
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
    return f"{time:%Y-%m-%dT%H:%M:%S}{'.' + fraction if fraction else ''}+00:00"
