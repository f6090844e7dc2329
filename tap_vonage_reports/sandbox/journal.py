"""Log of the requests to the sandbox, and the counters behind `/__sandbox/requests`."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import Any, NamedTuple

import msgspec

KEPT = 50_000
"""Requests that the log keeps; the counters count on."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One request and its answer.

    Attributes:
        at: The sandbox's time, ISO 8601.
        method: HTTP method.
        path: Path of the request.
        endpoint: ``records``, ``report-create``, ``report-status``, ``report-cancel``, ``report-list``,
            ``media``, ``subaccounts``, ``callback`` for one that the sandbox sent, or "" for a path that does not
            exist.
        status: Status of the answer; 0 where the connection was cut without one.
        product: The product that was asked for, as it was spelled; this, account, direction and window are
            those of the report where the request is about one.
        account: The account that was asked for.
        direction: The direction that was asked for.
        date_start: Start of the window, as it was spelled.
        date_end: End of the window, as it was spelled.
        report: Id of the report that the request is about.
        ids: Number of ids in the query.
        cursor: True if the request had a cursor.
        credentials: True if it had an Authorization header.
        rows: Rows in the answer.
        fault: The fault that hit the request, if any.
        milliseconds: Time from the request to the finished answer, without delays that were asked for.
    """

    at: str
    method: str
    path: str
    endpoint: str = ""
    status: int = 0
    product: str = ""
    account: str = ""
    direction: str = ""
    date_start: str = ""
    date_end: str = ""
    report: str = ""
    ids: int = 0
    cursor: bool = False
    credentials: bool = False
    rows: int = 0
    fault: str = ""
    milliseconds: float = 0.0


class ReportKey(NamedTuple):
    """The parameters of a report; dates are spelled as in the answers.

    Attributes:
        product: The product's name.
        account: Key of the account.
        direction: The direction, or "".
        date_start: Start of the window.
        date_end: End of the window.
    """

    product: str
    account: str
    direction: str
    date_start: str
    date_end: str


class SlidingSecond:
    """The requests of the last second, on the monotonic clock."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def count(self) -> int:
        """Return the number of requests in the last second."""
        horizon = time.monotonic() - 1
        while self._times and self._times[0] <= horizon:
            self._times.popleft()
        return len(self._times)

    def add(self) -> int:
        """Count one more request, and return the number in the last second."""
        self._times.append(time.monotonic())
        return self.count()


class Journal:
    """The log of a sandbox. It is written by the server and may be read from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        with self._lock:
            self._log: deque[Entry] = deque(maxlen=KEPT)
            self._recent = SlidingSecond()
            self._peak = 0
            self._total = 0
            self._rows = 0
            self._statuses: Counter[int] = Counter()
            self._products: Counter[str] = Counter()
            self._reports: Counter[ReportKey] = Counter()
            self._most_in_flight = 0

    def arrived(self) -> None:
        """Count a request for the measure of requests in a second."""
        with self._lock:
            self._peak = max(self._peak, self._recent.add())

    def add(self, entry: Entry) -> None:
        """Log a request that was answered."""
        with self._lock:
            self._log.append(entry)
            self._total += 1
            self._rows += entry.rows
            self._statuses[entry.status] += 1
            self._products[entry.product] += 1

    def created(self, key: ReportKey, in_flight: int) -> None:
        """Count a report that was taken on, and how many are unfinished with it."""
        with self._lock:
            self._reports[key] += 1
            self._most_in_flight = max(self._most_in_flight, in_flight)

    @property
    def reports(self) -> Counter[ReportKey]:
        """The number of reports created for each product, account, direction and window."""
        with self._lock:
            return self._reports.copy()

    @property
    def most_in_flight(self) -> int:
        """The maximum number of reports, over all accounts, that were unfinished at the same time."""
        with self._lock:
            return self._most_in_flight

    @property
    def log(self) -> list[Entry]:
        """The requests, oldest first."""
        with self._lock:
            return list(self._log)

    @property
    def total(self) -> int:
        """The number of requests that were answered."""
        with self._lock:
            return self._total

    @property
    def rows(self) -> int:
        """The number of rows served; the real API bills them one by one."""
        with self._lock:
            return self._rows

    @property
    def peak(self) -> int:
        """The most requests that arrived within any one second."""
        with self._lock:
            return self._peak

    def report(self) -> dict[str, Any]:
        """Counters and log as `/__sandbox/requests` shows them."""
        with self._lock:
            return {
                "total": self._total,
                "rows": self._rows,
                "peak_per_second": self._peak,
                "by_status": {str(status): count for status, count in sorted(self._statuses.items())},
                "by_product": dict(sorted(self._products.items())),
                "most_reports_in_flight": self._most_in_flight,
                "reports": [{**key._asdict(), "created": count} for key, count in self._reports.items()],
                "requests": list(self._log),
            }
