"""Singer messages to standard output, and the signals that may arrive while one is written."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from singer_sdk.contrib.msgspec import MsgSpecWriter, encoder
from singer_sdk.singerlib import SingerMessageType

from tap_vonage_reports.errors import BrokenPipeToTargetError, OutputError
from tap_vonage_reports.output.signals import Interrupted, handled

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import FrameType

    from singer_sdk.singerlib.encoding.simple import Message

BUFFER_BYTES = 1 << 16


class MessageWriter(MsgSpecWriter):
    """Writes whole lines, many at once: a signal that comes while they are written takes effect after them.

    Records wait in a buffer until `flush`, or until any other message: what a STATE speaks of is out with it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state_bytes = 0
        """How long the last STATE was."""
        self._buffer = bytearray()
        self._writing = False
        self.interrupted: Interrupted | None = None
        """The signal that has come; None while none has."""

    def write_message(self, message: Message) -> None:
        """Write one message as one line; a record may wait in the buffer."""
        with self.defer_signals():
            line = self.format_message(message)
            self._buffer += line
            if message.type is SingerMessageType.STATE:
                self.state_bytes = len(line)
            if message.type is not SingerMessageType.RECORD or len(self._buffer) >= BUFFER_BYTES:
                self._send()

    def write_records(self, stream: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Write records as lines, the same as `write_message` makes of one by one, and flush.

        Args:
            stream: The stream's name.
            records: The records as they are to be written: nothing is selected, mapped or converted.
        """
        extracted = datetime.now(timezone.utc)
        with self.defer_signals():
            self._buffer += encoder.encode_lines(
                [
                    {"type": "RECORD", "stream": stream, "record": record, "time_extracted": extracted}
                    for record in records
                ]
            )
            self._send()

    def flush(self) -> None:
        """Write what is in the buffer."""
        with self.defer_signals():
            self._send()

    def send(self, lines: bytes | bytearray) -> None:
        """Give whole lines to standard output.

        Raises:
            BrokenPipeToTargetError: Nobody reads it any more.
            OutputError: It cannot be written.
        """
        with output_checked():
            sys.stdout.buffer.write(lines)
            sys.stdout.buffer.flush()

    def _send(self) -> None:
        if self._buffer:
            lines, self._buffer = self._buffer, bytearray()
            self.send(lines)

    @contextmanager
    def defer_signals(self) -> Generator[None, None, None]:
        """Put off a signal until the block is done, and those that it is in.

        Raises:
            Interrupted: A signal has come.
        """
        within, self._writing = self._writing, True
        try:
            yield
        finally:
            self._writing = within
        if self.interrupted and not self.interrupted.arrived and not within:
            raise self.interrupted

    def interrupt(self, signum: int, _frame: FrameType | None) -> None:
        """Handle a signal: end what the main thread does, between two messages. Further signals change nothing.

        Raises:
            Interrupted: No message is being written.
        """
        if self.interrupted:
            return
        self.interrupted = Interrupted(signum)
        if not self._writing:
            raise self.interrupted

    def handle_signals(self) -> AbstractContextManager[None]:
        """Handle SIGINT and SIGTERM for the length of a `with` block."""
        return handled(self.interrupt)


@contextmanager
def output_checked() -> Generator[None, None, None]:
    """Tell of what goes wrong with standard output. Nothing more is written then, not even what waits in buffers.

    Raises:
        BrokenPipeToTargetError: In place of a BrokenPipeError.
        OutputError: In place of another OSError.
    """
    try:
        yield
    except BrokenPipeError:
        _discard_output()
        msg = "The target has closed the pipe; its own log says why. The next run goes on from its last state."
        raise BrokenPipeToTargetError(msg) from None
    except OSError as error:
        _discard_output()
        raise OutputError(error.strerror or type(error).__name__) from None


def _discard_output() -> None:
    """Point standard output to nowhere: after a line that was lost no other may arrive, and no flush fail at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
