"""The tap's output channel: the parts that the tap handles itself instead of the SDK."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from singer_sdk.singerlib import StateMessage

from tap_vonage_reports.output.messages import MessageWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from tap_vonage_reports.output.signals import Interrupted
    from tap_vonage_reports.records.record import Record

T = TypeVar("T", bound="Mapping[str, Any]")


class StreamOutput(Protocol):
    """The part of an `OutputChannel` that streams use."""

    def write_records(self, stream: str, records: Sequence[Record | Mapping[str, Any]]) -> bool:
        """Write records, or return False if the SDK has to write them, one by one."""

    def flush(self) -> None:
        """Write the records that the SDK has passed on."""

    def take_back_if_unread(self, take_back: Callable[[], object]) -> None:
        """Call a function if the target ends without having read the last BATCH message."""

    def defer_signals(self) -> AbstractContextManager[None]:
        """Put off signals for the length of a `with` block."""


class StateWriter:
    """What the SDK's streams write STATE with.

    The SDK writes one at the end of a stream, and one after each BATCH file, before the rows of the file are committed.
    """

    def __init__(self, write: Callable[[], object], is_held: Callable[[], bool]) -> None:
        """Set up a writer.

        Args:
            write: Writes the state as it is.
            is_held: Returns True while no STATE may be written here.
        """
        self._write, self._is_held = write, is_held

    def write_state(self, _state: Mapping[str, Any]) -> None:
        """Write the state of the tap, which is the state that the SDK passes."""
        if not self._is_held():
            self._write()


class OutputChannel:
    """The destination of Singer messages.

    Usually it is the tap's own `MessageWriter`. A program that embeds the tap may pass another writer, which knows
    neither bulk writes nor signals: then the SDK writes every record, and signals stay with the program.
    """

    def __init__(self, writer: object) -> None:
        """Set up the channel. Until `start_records`, the SDK writes all records.

        Args:
            writer: The SDK's message writer.
        """
        self._writer = writer if isinstance(writer, MessageWriter) else None
        self._records_started = False

    def start_records(self) -> None:
        """Let streams write records directly from now on.

        A sync calls this. A connection test does not: the SDK only looks at its records.
        """
        self._records_started = True

    def write_records(self, stream: str, records: Sequence[Record | Mapping[str, Any]]) -> bool:
        """Write records, or return False if the SDK has to write them, one by one.

        Args:
            stream: The stream's name.
            records: Records that `RecordParser` has made.

        Raises:
            TapError: Standard output cannot be written.
        """
        if self._writer is None or not self._records_started:
            return False
        self._writer.write_records(stream, records)
        return True

    def write_state(self, state: T, write: Callable[[T], None]) -> None:
        """Write STATE, unless it is the same as the last one.

        Args:
            state: The state.
            write: The SDK's way to write it, for a writer of another program. It copies the whole state.
        """
        if self._writer:
            self._writer.write_message(StateMessage(value=dict(state)))
        else:
            write(state)

    @property
    def state_bytes(self) -> int:
        """The length of the last STATE message in bytes; 0 if it is not known."""
        return self._writer.state_bytes if self._writer else 0

    @property
    def interrupted(self) -> Interrupted | None:
        """The signal that has come; None while none has."""
        return self._writer.interrupted if self._writer else None

    def flush(self) -> None:
        """Write the records that the SDK has passed on."""
        if self._writer:
            self._writer.flush()

    def take_back_if_unread(self, take_back: Callable[[], object]) -> None:
        """Call a function if the target ends without having read the last BATCH message."""
        if self._writer:
            self._writer.take_back_if_unread(take_back)

    def handle_signals(self) -> AbstractContextManager[None]:
        """Handle SIGINT and SIGTERM for the length of a `with` block. Between two messages they raise `Interrupted`."""
        return self._writer.handle_signals() if self._writer else nullcontext()

    def defer_signals(self) -> AbstractContextManager[None]:
        """Put off signals for the length of a `with` block. At its end they raise `Interrupted`."""
        return self._writer.defer_signals() if self._writer else nullcontext()
