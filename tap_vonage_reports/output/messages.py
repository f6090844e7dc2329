"""Singer messages to standard output: whole lines, written in blocks that a signal never cuts."""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
from collections import deque
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
from singer_sdk.contrib.msgspec import MsgSpecWriter, encoder, serialize_jsonl
from singer_sdk.singerlib import SingerMessageType, StateMessage

from tap_vonage_reports.errors import BrokenPipeToTargetError, OutputError, TapError
from tap_vonage_reports.output.signals import Interrupted, install_handlers

if sys.platform != "win32":
    import fcntl
    import termios

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import FrameType

    from singer_sdk.singerlib.encoding.simple import Message

    from tap_vonage_reports.records.record import Record

BUFFER_BYTES = 1 << 16
"""Records that wait are written when they reach this size: the capacity of a pipe on Linux."""

_PIPE_BUF = getattr(select, "PIPE_BUF", 512)
"""A pipe takes a write of so many bytes as a whole or not at all."""


class MessageWriter(MsgSpecWriter):
    """A writer of whole lines. A signal that arrives during a write takes effect after it.

    Records wait in a buffer until `flush` or the next message of another type, so that a STATE follows all the records
    it covers.

    Attributes:
        state_bytes: The length of the last STATE message.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state_bytes = 0
        self._last_state = b""
        self._buffer = bytearray()
        self._deferring = False
        self._lost: TapError | None = None
        self._sent = self._batch_end = 0
        self._unread: deque[tuple[int, Callable[[], object]]] = deque()
        self.interrupted: Interrupted | None = None
        """The signal that has come; None while none has."""

    def write_message(self, message: Message) -> None:
        """Write one message as one line. A record may stay in the buffer. A STATE like the last one is left out."""
        with self.defer_signals():
            line = self.format_message(message)
            is_state = message.type is SingerMessageType.STATE
            if is_state and line == self._last_state:
                return
            self._buffer += line
            if message.type is not SingerMessageType.RECORD or len(self._buffer) >= BUFFER_BYTES:
                state = bytes(line) if is_state else self._last_state
                self._send()
                self._last_state, self.state_bytes = state, len(state)
            if message.type is SingerMessageType.BATCH:
                self._batch_end = self._sent

    def serialize_message(self, message: Message) -> bytearray:
        """Return a message as a line. The SDK would copy a state first, part by part."""
        if isinstance(message, StateMessage):
            return serialize_jsonl({"type": SingerMessageType.STATE, "value": message.value})
        return super().serialize_message(message)

    def write_records(self, stream: str, records: Sequence[Record | Mapping[str, Any]]) -> None:
        """Write records as RECORD messages, and flush.

        The lines are those that `write_message` writes. The SDK's selection, maps and type conversion do not apply.
        Without records, only flushes. A signal takes effect after the block that is being written, so that a slow
        target does not delay it. The lines after that block are dropped: no STATE covers them yet.

        Args:
            stream: The stream's name.
            records: Records that `RecordParser` has made.
        """
        extracted = datetime.now(timezone.utc)
        self.flush()
        lines = encoder.encode_lines([_RecordMessage(stream, record, extracted) for record in records])
        for block in _blocks(lines):
            with self.defer_signals():
                self.send(block)

    def flush(self) -> None:
        """Write the records in the buffer."""
        with self.defer_signals():
            self._send()

    def send(self, lines: bytes | bytearray | memoryview) -> None:
        """Write whole lines to standard output. Once that has failed, every further call fails, too.

        Raises:
            BrokenPipeToTargetError: The target has closed the pipe.
            OutputError: Standard output cannot be written.
        """
        if self._lost:
            raise self._lost
        try:
            with output_errors(), self._taking_back_unread(len(lines)):
                _write_all(sys.stdout.buffer, lines)
        except TapError as error:
            self._lost = error
            raise

    def take_back_if_unread(self, take_back: Callable[[], object]) -> None:
        """Call a function if the target closes the pipe without having read the last BATCH message.

        Args:
            take_back: Removes the files of that message.
        """
        self._unread.append((self._batch_end, take_back))
        read = self._sent - _unread_bytes()
        while self._unread and self._unread[0][0] <= read:
            self._unread.popleft()

    @contextmanager
    def _taking_back_unread(self, length: int) -> Generator[None, None, None]:
        try:
            yield
        except BrokenPipeError:
            # A longer write may have been taken in part.
            read = self._sent + (length if length > _PIPE_BUF else 0) - _unread_bytes()
            for end, take_back in self._unread:
                if end > read:
                    take_back()
            raise
        self._sent += length

    def _send(self) -> None:
        if lines := self._take_buffer():
            self.send(lines)

    def _take_buffer(self) -> bytearray:
        lines, self._buffer = self._buffer, bytearray()
        return lines

    @contextmanager
    def defer_signals(self) -> Generator[None, None, None]:
        """Put off signals until the end of the outermost of such `with` blocks.

        Raises:
            Interrupted: A signal arrived meanwhile.
        """
        outer, self._deferring = self._deferring, True
        try:
            yield
        except GeneratorExit:
            self._deferring = outer
            raise
        except BaseException:
            self._deferring = outer
            self._raise_deferred()  # a failed request is retried, and nothing else would end the wait before that
            raise
        self._deferring = outer
        self._raise_deferred()

    def _raise_deferred(self) -> None:
        if self.interrupted and not self.interrupted.arrived and not self._deferring:
            raise self.interrupted

    def interrupt(self, signum: int, _frame: FrameType | None) -> None:
        """Handle a signal: interrupt the main thread unless it defers signals. Further signals have no effect.

        Raises:
            Interrupted: The main thread does not defer signals.
        """
        if self.interrupted:
            return
        self.interrupted = Interrupted(signum)
        if not self._deferring:
            raise self.interrupted

    def handle_signals(self) -> AbstractContextManager[None]:
        """Handle SIGINT and SIGTERM for the length of a `with` block."""
        return install_handlers(self.interrupt)


class _RecordMessage(msgspec.Struct, gc=False, tag_field="type", tag="RECORD"):
    """A RECORD message, as the SDK's."""

    stream: str
    record: Record | Mapping[str, Any]
    time_extracted: datetime


def _blocks(lines: bytes) -> Generator[memoryview, None, None]:
    """Yield lines in blocks of whole lines, of at most `BUFFER_BYTES` if no line is longer."""
    start, view = 0, memoryview(lines)
    while start < len(lines):
        end = lines.rfind(b"\n", start, start + BUFFER_BYTES) + 1 or lines.find(b"\n", start) + 1
        yield view[start:end]
        start = end


def _unread_bytes() -> int:
    """Return how many bytes in the pipe to the target nobody has read; 0 if that is unknown, or it is no pipe."""
    if sys.platform == "win32":
        return 0
    with suppress(OSError, ValueError, AttributeError):
        descriptor = sys.stdout.fileno()
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            return int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)
    return 0


def _write_all(file: BinaryIO, lines: bytes | bytearray | memoryview) -> None:
    """Write lines and flush. Without a buffer (PYTHONUNBUFFERED), one write may take only a part of them.

    Raises:
        OSError: The file cannot be written.
    """
    left = memoryview(lines)
    while left:
        # Python returns None, which typeshed does not know, if an unbuffered pipe is full and does not block.
        written: int | None = file.write(left)
        if written is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        left = left[written:]
    file.flush()


@contextmanager
def output_errors() -> Generator[None, None, None]:
    """Raise an OSError of standard output as a `TapError`. Nothing is written after it, not even what is in buffers.

    Raises:
        BrokenPipeToTargetError: The target has closed the pipe.
        OutputError: Standard output cannot be written.
    """
    try:
        yield
    except BrokenPipeError:
        _discard_output()
        msg = "The target has closed the pipe. Check its log. The next run resumes from the target's last state."
        raise BrokenPipeToTargetError(msg) from None
    except OSError as error:
        _discard_output()
        raise OutputError(error.strerror or type(error).__name__) from None


def _discard_output() -> None:
    """Redirect standard output to the null device. No line may follow a lost one, and no flush may fail at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
