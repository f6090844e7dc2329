"""Vonage's clock, and the times in the headers of an answer."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

from tap_vonage_reports.timestamps import PLAUSIBLE_YEARS


class ServerClock:
    """Vonage's clock, set by the `Date` header of each answer.

    Attributes:
        known: True once an answer has told the time. Until then, the clock is this machine's.
    """

    def __init__(self) -> None:
        self.known = False
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        """Return the time on Vonage's clock, in UTC; this machine's time before the first answer."""
        return datetime.now(timezone.utc) + self._ahead

    def learn(self, date: str | None) -> datetime:
        """Set the clock by a `Date` header.

        Args:
            date: The header's value. The clock stays as it is without one, or if its date is implausible.

        Returns:
            When the answer was given, in UTC.
        """
        answered_at = parse_http_date(date)
        if answered_at is None:
            return self.now()
        self._ahead = answered_at - datetime.now(timezone.utc)
        self.known = True
        return answered_at


def parse_http_date(text: str | None) -> datetime | None:
    """Return the time in a header such as `Date`, in UTC; None for a missing, malformed or implausible one."""
    try:
        time = parsedate_to_datetime(text) if text else None
    except (ValueError, OverflowError):
        return None
    if time is None or time.year not in PLAUSIBLE_YEARS:
        return None
    # "-0000" means UTC, and parses to a time without an offset.
    return time.astimezone(timezone.utc) if time.tzinfo else time.replace(tzinfo=timezone.utc)


def parse_retry_after(text: str | None, now: datetime) -> float:
    """Return the wait that a `Retry-After` header asks for.

    Args:
        text: The header's value: a number of seconds, as documented [likely], or an HTTP date.
        now: The time on Vonage's clock.

    Returns:
        Seconds, at least 0; 0 without a header, or if it is malformed.
    """
    if not text:
        return 0
    try:
        return max(0.0, float(text))
    except ValueError:
        until = parse_http_date(text)
        return max(0.0, (until - now).total_seconds()) if until else 0
