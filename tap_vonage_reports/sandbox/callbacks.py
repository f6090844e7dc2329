"""Callbacks: when a report is final, its status is posted to the callback_url of its request, once (section 4.4).

A sandbox that called any address would let every client send requests from this machine. It therefore
calls only loopback addresses, and hosts that were allowed when it started. It follows no redirects and uses no proxy.
"""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import logging
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from tap_vonage_reports.sandbox.faults import Fault
from tap_vonage_reports.sandbox.journal import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from urllib.parse import SplitResult

    from tap_vonage_reports.sandbox.exchange import Exchange
    from tap_vonage_reports.sandbox.journal import Journal
    from tap_vonage_reports.sandbox.reports import Report, Reports

ENDPOINT = "callback"
"""The endpoint of callbacks in the journal."""
NOT_ALLOWED = "callback-not-allowed"
"""What the journal shows as the fault of a callback to a host that the sandbox does not call."""
TIMEOUT_SECONDS = 5
CHECK_SECONDS = 0.02
"""The interval at which a report with a callback is looked at: its state follows from the time, without an event."""
CONNECTIONS: dict[str, Callable[..., http.client.HTTPConnection]] = {
    "http": http.client.HTTPConnection,
    "https": http.client.HTTPSConnection,
}
_log = logging.getLogger(__name__)


class Callbacks:
    """Waits in the server's event loop for reports to become final, and posts each status from a thread of its own."""

    def __init__(self, reports: Reports, journal: Journal, now: Callable[[], str], hosts: Iterable[str] = ()) -> None:
        """Set up the callbacks.

        Args:
            reports: The reports.
            journal: Where each callback is logged.
            now: The API's time, ISO 8601.
            hosts: Hosts that may be called besides loopback addresses.
        """
        self._reports, self._journal, self._now = reports, journal, now
        self._hosts = frozenset(host.lower() for host in hosts)
        self._tasks: set[asyncio.Task[None]] = set()

    def watch(self, exchange: Exchange, report: Report, status: Callable[[], dict[str, Any]]) -> None:
        """Post the status of a new report to its callback_url, if it has any, once the report is final.

        Args:
            exchange: The request for the report, which faults may hit.
            report: The report.
            status: Returns its status, as a client would get it.
        """
        url = str(report.plan.given.get("callback_url") or "")
        if not url or exchange.strike(Fault.CALLBACK_LOST):
            return
        times = 2 if exchange.strike(Fault.CALLBACK_TWICE) else 1
        is_cut = exchange.strike(Fault.CALLBACK_CUT) is not None
        task = asyncio.get_running_loop().create_task(self._wait(report, url, status, times=times, is_cut=is_cut))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wait(
        self, report: Report, url: str, status: Callable[[], dict[str, Any]], *, times: int, is_cut: bool
    ) -> None:
        """Wait until a report is final, and start to post its status."""
        while (found := self._reports.find(report.request_id)) and not found.state.final:  # noqa: ASYNC110 - see there
            await asyncio.sleep(CHECK_SECONDS)
        if found:
            body = msgspec.json.encode(status())
            for _ in range(times):
                call = (report, url, body[: len(body) // 2] if is_cut else body, len(body))
                threading.Thread(target=self._call, args=call, name="sandbox-callback", daemon=True).start()

    def _call(self, report: Report, url: str, body: bytes, length: int) -> None:
        """Post a body, and log how that ended; the status is 0 without an answer."""
        status, fault = 0, "" if len(body) == length else Fault.CALLBACK_CUT.value
        try:
            parts = urlsplit(url)
            if self._is_allowed(parts):
                status = _post(parts, body, length)
            else:
                fault = NOT_ALLOWED
                _log.warning("A callback was not sent: the sandbox calls this machine, and hosts given as allowed")
        except (OSError, http.client.HTTPException, ValueError) as error:
            _log.warning("A callback was not delivered (%s)", type(error).__name__)
        self._journal.add(
            Entry(
                at=self._now(),
                method="POST",
                path="",  # it may contain a token
                endpoint=ENDPOINT,
                status=status,
                product=report.plan.product.name,
                account=report.plan.account,
                report=report.request_id,
                fault=fault,
            )
        )

    def _is_allowed(self, parts: SplitResult) -> bool:
        host = (parts.hostname or "").lower()
        try:
            is_loopback = ipaddress.ip_address(host).is_loopback
        except ValueError:
            is_loopback = host == "localhost"
        return parts.scheme in CONNECTIONS and (is_loopback or host in self._hosts)


def _post(parts: SplitResult, body: bytes, length: int) -> int:
    """Post a body, or the beginning of one, and return the status of the answer.

    Raises:
        OSError: There is no connection.
        http.client.HTTPException: The answer is not HTTP.
        ValueError: The URL is invalid.
    """
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with closing(CONNECTIONS[parts.scheme](parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)) as connection:
        connection.request("POST", target, body, {"Content-Type": "application/json", "Content-Length": str(length)})
        return 0 if len(body) < length else connection.getresponse().status
