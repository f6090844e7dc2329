"""Singer messages to standard output, and the signals that may arrive while one is written."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from singer_sdk.contrib.msgspec import MsgSpecWriter

if TYPE_CHECKING:
    from types import FrameType

    from singer_sdk.singerlib.encoding.simple import Message

EXIT_WITHIN_SECONDS = 1.8


class Interrupted(BaseException):
    """SIGTERM or Ctrl-C. Like KeyboardInterrupt it is no Exception, so that nothing takes it for a failure."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


class MessageWriter(MsgSpecWriter):
    """Writes whole lines: a signal that comes while one is written takes effect after it."""

    def __init__(self) -> None:
        super().__init__()
        self._writing = False
        self._pending: Interrupted | None = None

    def write_message(self, message: Message) -> None:
        """Write one message as one line."""
        self._writing = True
        try:
            super().write_message(message)
        finally:
            self._writing = False
        if self._pending:
            raise self._pending

    def interrupt(self, signum: int, _frame: FrameType | None) -> None:
        """Handle a signal: end what the main thread does, between two messages.

        Should the way out take longer than `EXIT_WITHIN_SECONDS` (the reader of a full pipe has stopped reading), the
        process ends without it.
        """
        interrupted = Interrupted(signum)
        last_resort = threading.Timer(EXIT_WITHIN_SECONDS, os._exit, [interrupted.exit_code])
        last_resort.daemon = True
        last_resort.start()
        if self._writing:
            self._pending = interrupted
        else:
            raise interrupted

    def take_signals(self) -> None:
        """Handle SIGINT and SIGTERM from here on; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self.interrupt)
            signal.signal(signal.SIGTERM, self.interrupt)


def discard_output() -> None:
    """Point standard output to nowhere, so that Python's flush at exit does not fail on a closed pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
