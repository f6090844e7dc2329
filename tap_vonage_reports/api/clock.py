"""Vonage's clock, read from the headers and bodies of responses, and its difference from this machine's clock."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

from tap_vonage_reports.timestamps import PLAUSIBLE_YEARS, parse_time

logger = logging.getLogger(__name__)

MAX_DIFFERENCE = timedelta(minutes=5)
"""Clocks that differ by more than this are warned of. A slow answer explains less."""
MAX_TIME_CHARACTERS = 64


class ServerClock:
    """Vonage's clock, set by the `Date` header of each answer, or else by the time in its body.

    Three clocks tell the time of an answer: that header, the body (`received_at` of a page, `receive_time` of a new
    report: whole seconds [confirmed]), and this machine. `now`, by which windows end, is Vonage's. `earliest`, up to
    which time counts as read, is the earliest of all, because a clock that is ahead would mark time as read that has
    not happened yet.

    Attributes:
        known: True once an answer has told the time. Until then, the clock is this machine's.
    """

    def __init__(self) -> None:
        self.known = False
        self._date_ahead: timedelta | None = None
        self._body_ahead: timedelta | None = None
        self._warned = False

    def local(self) -> datetime:
        """Return the time on this machine's clock, in UTC."""
        return datetime.now(timezone.utc)

    def now(self) -> datetime:
        """Return the time on Vonage's clock, in UTC; this machine's time before the first answer."""
        ahead = self._body_ahead if self._date_ahead is None else self._date_ahead
        return self.local() + (ahead or timedelta(0))

    def earliest(self, at: datetime | None = None) -> datetime:
        """Return the earliest time that any clock shows.

        Args:
            at: The time of an answer, which counts as one more; the time by the `Date` header if left out.
        """
        local = self.local()
        return min(at or self.now(), local, local + (self._body_ahead or timedelta(0)))

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
        self._date_ahead = answered_at - self.local()
        self.known = True
        return answered_at

    def learn_from_body(self, time: object, answered_at: datetime, arrived_at: datetime) -> datetime:
        """Set the clock by the time in a body, and compare all clocks.

        Args:
            time: The value of the body's field. It counts for nothing if it is missing, malformed or implausible.
            answered_at: When the answer was given, as `learn` returned it.
            arrived_at: When its headers arrived, on this machine's clock.

        Returns:
            The earliest of all these times, in UTC.
        """
        told = parse_body_time(time)
        if told is not None:
            self._body_ahead = told - arrived_at
            self.known = True
        self._compare()
        return min(answered_at, arrived_at, told or answered_at)

    def spread(self) -> tuple[str, str, timedelta]:
        """Return the names of the earliest and the latest clock, and how far they are apart."""
        clocks = {"the API's Date header": self._date_ahead, "the time in its answers": self._body_ahead}
        ahead = {"this machine's clock": timedelta(0), **{name: by for name, by in clocks.items() if by is not None}}
        first, last = min(ahead, key=lambda name: ahead[name]), max(ahead, key=lambda name: ahead[name])
        return first, last, ahead[last] - ahead[first]

    def _compare(self) -> None:
        """Warn of clocks that differ, once."""
        first, last, apart = self.spread()
        if self._warned or apart <= MAX_DIFFERENCE:
            return
        self._warned = True
        difference = timedelta(seconds=round(apart.total_seconds()))
        used = "the API's Date header" if self._date_ahead is not None else "the time in its answers"
        logger.warning(
            "The clocks differ: %s is %s ahead of %s. The end of the windows follows %s. Time counts as read up to the "
            "earliest clock, %s; the next run refetches later rows. Correct the clock that is wrong, or contact Vonage",
            last,
            difference,
            first,
            used,
            first,
        )


def parse_body_time(value: object) -> datetime | None:
    """Return the time in a body, in UTC; None for a missing, malformed or implausible one."""
    if not isinstance(value, str) or len(value) > MAX_TIME_CHARACTERS:
        return None
    try:
        time = parse_time(value)
    except ValueError:
        return None
    return time if time.year in PLAUSIBLE_YEARS else None


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
