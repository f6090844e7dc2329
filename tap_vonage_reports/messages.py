"""Singer messages to standard output, and the signals that may arrive while one is written."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from singer_sdk.contrib.msgspec import MsgSpecWriter, encoder
from singer_sdk.singerlib import SingerMessageType

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from types import FrameType

    from singer_sdk.singerlib.encoding.simple import Message

BUFFER_BYTES = 1 << 16
EXIT_WITHIN_SECONDS = 1.8


class Interrupted(BaseException):
    """SIGTERM or Ctrl-C. Like KeyboardInterrupt it is no Exception, so that nothing takes it for a failure."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


class MessageWriter(MsgSpecWriter):
    """Writes whole lines, many at once: a signal that comes while they are written takes effect after them.

    Records wait in a buffer until `flush`, or until any other message: what a STATE speaks of is out with it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._buffer = bytearray()
        self._writing = False
        self._pending: Interrupted | None = None

    def write_message(self, message: Message) -> None:
        """Write one message as one line; a record may wait in the buffer."""
        with self._undisturbed():
            self._buffer += self.format_message(message)
            if message.type is not SingerMessageType.RECORD or len(self._buffer) >= BUFFER_BYTES:
                self._send()

    def write_records(self, stream: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Write records as lines, the same as `write_message` makes of one by one, and flush.

        Args:
            stream: The stream's name.
            records: The records as they are to be written: nothing is selected, mapped or converted.
        """
        extracted = datetime.now(timezone.utc)
        with self._undisturbed():
            self._buffer += encoder.encode_lines(
                [
                    {"type": "RECORD", "stream": stream, "record": record, "time_extracted": extracted}
                    for record in records
                ]
            )
            self._send()

    def flush(self) -> None:
        """Write what is in the buffer."""
        with self._undisturbed():
            self._send()

    def send(self, lines: bytes | bytearray) -> None:
        """Give whole lines to standard output."""
        sys.stdout.buffer.write(lines)
        sys.stdout.buffer.flush()

    def _send(self) -> None:
        if self._buffer:
            lines, self._buffer = self._buffer, bytearray()
            self.send(lines)

    @contextmanager
    def _undisturbed(self) -> Generator[None, None, None]:
        """Put off a signal until the block is done."""
        self._writing = True
        try:
            yield
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
