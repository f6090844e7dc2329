"""Whatever standard output is, and whenever a signal arrives, lines are whole, and a STATE follows what it covers."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.singerlib import Message, SingerMessageType, StateMessage

from tap_vonage_reports.errors import BrokenPipeToTargetError, OutputError
from tap_vonage_reports.output.messages import BUFFER_BYTES, MessageWriter
from tap_vonage_reports.output.signals import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

RECORDS = [{"id": str(number), "text": "x" * 1000} for number in range(500)]


@dataclass
class BatchMessage(Message):
    """A BATCH message, as far as a writer looks at it."""

    manifest: list[str]

    def __post_init__(self) -> None:
        self.type = SingerMessageType.BATCH


class Unbuffered(io.RawIOBase):
    """Standard output under PYTHONUNBUFFERED: a write may take a part of what it is given.

    Attributes:
        takes: How many bytes each write takes at most; None where the pipe is full and does not block.
        on_write: Called before each write.
    """

    def __init__(self, takes: int | None, on_write: Callable[[], object] = lambda: None) -> None:
        self.takes, self.on_write = takes, on_write
        self.written = b""

    def write(self, lines: Any, /) -> Any:
        self.on_write()
        if self.takes is None:
            return None
        part = bytes(lines[: self.takes])
        self.written += part
        return len(part)

    def ids(self) -> list[str]:
        """The ids of the records, where every line is whole."""
        messages: Iterable[dict[str, Any]] = map(json.loads, self.written.splitlines())
        return [message["record"]["id"] for message in messages if message["type"] == "RECORD"]


def written_to(monkeypatch: pytest.MonkeyPatch, output: Unbuffered) -> MessageWriter:
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=output))
    return MessageWriter()


@pytest.mark.parametrize("takes", [1, 4096, BUFFER_BYTES + 1])
def test_what_a_write_does_not_take_is_written_by_the_next(monkeypatch: pytest.MonkeyPatch, takes: int) -> None:
    output = Unbuffered(takes)
    writer = written_to(monkeypatch, output)
    some = RECORDS[:100]
    writer.write_records("things", some)
    writer.write_message(StateMessage(value={}))
    assert output.ids() == [record["id"] for record in some]
    assert output.written.endswith(b'{"type":"STATE","value":{}}\n')


def test_a_signal_while_records_are_written_ends_them_after_a_whole_line_and_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = Unbuffered(4096)
    writer = written_to(monkeypatch, output)

    def interrupt() -> None:
        if len(output.written) > 3 * BUFFER_BYTES:
            writer.interrupt(signal.SIGTERM, None)

    output.on_write = interrupt
    with pytest.raises(Interrupted) as interrupted:
        writer.write_records("things", RECORDS)
    assert 3 * BUFFER_BYTES < len(output.written) <= 4 * BUFFER_BYTES
    interrupted.value.arrived = True
    writer.write_message(StateMessage(value={}))
    ids = output.ids()
    assert ids == [record["id"] for record in RECORDS[: len(ids)]]
    assert output.written.endswith(b'}\n{"type":"STATE","value":{}}\n')


def test_a_line_longer_than_a_block_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    output = Unbuffered(4096)
    writer = written_to(monkeypatch, output)
    writer.write_records("things", [{"id": "1", "text": "x" * 3 * BUFFER_BYTES}, {"id": "2"}])
    assert output.ids() == ["1", "2"]


def test_a_full_pipe_that_does_not_block_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tap_vonage_reports.output.messages._discard_output", lambda: None)
    with pytest.raises(OutputError):
        written_to(monkeypatch, Unbuffered(None)).write_records("things", RECORDS)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell what is unread in a pipe")
@pytest.mark.parametrize("lines_read", [0, 1, 2, 3])
def test_files_whose_message_nobody_has_read_are_taken_back_when_the_target_has_ended(
    monkeypatch: pytest.MonkeyPatch, lines_read: int
) -> None:
    receiver, sender = os.pipe()
    taken_back: list[int] = []
    with os.fdopen(sender, "w", encoding="utf-8") as output, os.fdopen(receiver, "rb", buffering=0) as target:
        monkeypatch.setattr(sys, "stdout", output)
        writer = MessageWriter()
        for number in range(2):
            writer.write_message(BatchMessage([f"file:///{number}.parquet"]))
            writer.take_back_if_unread(partial(taken_back.append, number))
            writer.write_message(StateMessage(value={"done": number}))
        for _ in range(lines_read):
            assert target.readline()
        target.close()
        with pytest.raises(BrokenPipeToTargetError):
            writer.write_message(StateMessage(value={"done": 2}))
    assert taken_back == {0: [0, 1], 1: [1], 2: [1], 3: []}[lines_read]
