"""OutputChannel: what the tap needs of the message writer that it was given, which may be the SDK's own."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.output.messages import MessageWriter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from tap_vonage_reports.output.signals import Interrupted


class OutputChannel:
    """Standard output with what only this tap's `MessageWriter` can do; with another writer, nothing of it is done.

    Attributes:
        takes_records: True if `write_records` works.
    """

    def __init__(self, writer: object) -> None:
        """Set up a channel.

        Args:
            writer: The tap's message writer.
        """
        self._writer = writer if isinstance(writer, MessageWriter) else None
        self.takes_records = self._writer is not None

    @property
    def state_bytes(self) -> int:
        """The length of the last STATE; 0 where it is unknown."""
        return self._writer.state_bytes if self._writer else 0

    @property
    def interrupted(self) -> Interrupted | None:
        """The signal that has come; None while none has."""
        return self._writer.interrupted if self._writer else None

    def write_records(self, stream: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Write records as they are, many at a time. Works only where `takes_records` is True.

        Args:
            stream: The stream's name.
            records: The records.
        """
        if self._writer:
            self._writer.write_records(stream, records)

    def flush(self) -> None:
        """Write what the SDK has handed to the writer."""
        if self._writer:
            self._writer.flush()

    def handle_signals(self) -> AbstractContextManager[None]:
        """Handle SIGINT and SIGTERM for the length of a `with` block."""
        return self._writer.handle_signals() if self._writer else nullcontext()

    def defer_signals(self) -> AbstractContextManager[None]:
        """Defer signals for the length of a `with` block."""
        return self._writer.defer_signals() if self._writer else nullcontext()
