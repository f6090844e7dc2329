"""What processes do that are killed, or get signals at exact instants of a run.

Each of them imports this module anew, so it imports only what the harness has imported.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tap_vonage_reports
from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.extract.pages import prefetch
from tap_vonage_reports.extract.session import SyncSession
from tap_vonage_reports.output import signals
from tap_vonage_reports.output.signals import EXIT_WITHIN_SECONDS
from tap_vonage_reports.tap import TapVonageReports
from tests.harness import signalled, when_called

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

PACKAGE = Path(tap_vonage_reports.__file__).parent


def ended_in_time() -> None:
    """Make the last resort end the process as early as it does for users."""
    signals.EXIT_WITHIN_SECONDS = EXIT_WITHIN_SECONDS


def sync_into(settings: dict[str, Any], catalog: dict[str, Any], items_per_worker: int, output: Connection) -> None:
    """Run the tap with its standard output on a connection, until it is killed.

    Args:
        settings: Its settings.
        catalog: Its catalog.
        items_per_worker: How many items are fetched ahead.
        output: The connection.
    """
    os.dup2(output.fileno(), 1)
    sys.stdout = os.fdopen(1, "w")
    vars(prefetch)["ITEMS_PER_WORKER"] = items_per_worker
    tap = TapVonageReports(config=settings, catalog=catalog)
    tap.session.delay_factor = 0
    tap.run_sync(tap.sync)


WAITS = {
    "prefetch": "extract/pages/prefetch.py",
    "rate limit": "api/rate_limit.py",
    "pause": "api/request_context.py",
}


class SignalInWait:
    """Sends a signal when the main thread waits at a condition, at an exact instant of `Condition.wait`."""

    def __init__(self, wait: str, instant: str, number: int, checkpoints: int) -> None:
        """Set up.

        Args:
            wait: The key in WAITS of the file that waits.
            instant: "entered" with the lock held, "released", "asleep", or "woken" before the lock is held again.
            number: The signal.
            checkpoints: How many STATE messages have to be written before.
        """
        self._file, self._instant, self._number = str(PACKAGE / WAITS[wait]), instant, number
        self._missing = checkpoints

    def __call__(self) -> None:
        SyncSession.delay_factor = 0.001  # with 0, there is no rate limit
        when_called("tap_vonage_reports.state.checkpoint.Checkpointer.write", self._count)
        real = threading.Condition.wait

        def wait(condition: Any, timeout: float | None = None) -> bool:
            if self._missing <= 0 and self._is_here():
                self._missing = sys.maxsize  # once
                return real(condition, self._place(condition, timeout))
            return real(condition, timeout)

        setattr(threading.Condition, "wait", wait)  # noqa: B010 - for this process

    def _count(self) -> None:
        self._missing -= 1

    def _is_here(self) -> bool:
        if threading.current_thread() is not threading.main_thread():
            return False
        caller, above = sys._getframe(2), sys._getframe(3)  # noqa: SLF001 - an Event may stand between
        return self._file in (caller.f_code.co_filename, above.f_code.co_filename)

    def _place(self, condition: Any, timeout: float | None) -> float | None:
        """Place the signal; return the timeout of the wait."""
        if self._instant == "entered":
            signalled(self._number)
        elif self._instant == "released":
            release = condition._release_save  # noqa: SLF001

            def released() -> Any:
                condition._release_save = release  # noqa: SLF001
                saved = release()
                signalled(self._number)
                return saved

            condition._release_save = released  # noqa: SLF001
        elif self._instant == "woken":
            acquire = condition._acquire_restore  # noqa: SLF001

            def woken(saved: Any) -> None:
                condition._acquire_restore = acquire  # noqa: SLF001
                signalled(self._number)
                acquire(saved)

            condition._acquire_restore = woken  # noqa: SLF001
        else:
            threading.Timer(0.05, signalled, [self._number]).start()
            return 5
        return timeout


def fail_when_closed() -> None:
    """Get a signal while the run is closed, and fail behind it."""

    def close(_session: SyncSession) -> None:
        try:
            signalled(signal.SIGTERM)
        finally:
            msg = "cannot release un-acquired lock"
            raise RuntimeError(msg)

    setattr(SyncSession, "close", close)  # noqa: B010 - for this process


def signal_after_post(number: int) -> None:
    """Get a signal when the first POST is answered, before the tap has seen the report's ID."""
    real, left = ReportsClient.create_report, [number]

    def create_report(client: ReportsClient, body: dict[str, Any]) -> Any:
        answer = real(client, body)
        for _ in range(2 * len(left)):
            signalled(*left)
            time.sleep(0.1)  # until the last resort has read it
        left.clear()
        return answer

    setattr(ReportsClient, "create_report", create_report)  # noqa: B010 - for this process


class Finalized:
    def __del__(self) -> None:
        signalled(signal.SIGTERM)
