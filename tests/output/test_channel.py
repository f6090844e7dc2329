"""The output channel leaves to the SDK what the tap cannot do itself, and nothing else."""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from singer_sdk.singerlib import RecordMessage, StateMessage
from singer_sdk.singerlib.encoding.simple import Message, SimpleSingerWriter

from tap_vonage_reports.output.channel import OutputChannel, StreamOutput
from tap_vonage_reports.output.messages import MessageWriter
from tap_vonage_reports.output.signals import Interrupted
from tap_vonage_reports.tap import TapVonageReports
from tests.harness import catalog_of, run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_vonage_reports.sandbox import Sandbox

RECORDS = [{"id": "1"}, {"id": "2"}]
DATES = {"start_date": "2026-11-18", "end_date": "2026-11-20"}


class Keeping(MessageWriter):
    """Keeps lines instead of writing them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[bytes] = []

    def send(self, lines: bytes | bytearray | memoryview) -> None:
        self.lines += bytes(lines).splitlines()


class Foreign(SimpleSingerWriter):
    """A writer of a program that embeds the tap."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[dict[str, Any]] = []

    def write_message(self, message: Message) -> None:
        self.messages.append(json.loads(self.format_message(message)))


def channel_to(writer: object) -> OutputChannel:
    channel = OutputChannel(writer)
    channel.start_records()
    return channel


def test_records_go_directly_to_the_taps_own_writer_once_a_sync_has_started() -> None:
    writer = Keeping()
    channel = OutputChannel(writer)
    assert not channel.write_records("things", RECORDS)
    assert writer.lines == []
    channel.start_records()
    assert channel.write_records("things", RECORDS)
    assert [json.loads(line)["record"] for line in writer.lines] == RECORDS


def test_the_sdk_writes_records_that_go_elsewhere() -> None:
    assert not channel_to(Foreign()).write_records("things", RECORDS)


def test_messages_of_the_sdk_are_written_after_a_flush() -> None:
    writer = Keeping()
    channel: StreamOutput = channel_to(writer)
    writer.write_message(RecordMessage("things", RECORDS[0]))
    assert writer.lines == []
    channel.flush()
    assert [json.loads(line)["record"] for line in writer.lines] == RECORDS[:1]


def test_the_length_of_the_state_is_that_of_its_line() -> None:
    writer = Keeping()
    channel = channel_to(writer)
    assert channel.state_bytes == 0
    writer.write_message(StateMessage({"bookmarks": {}}))
    assert channel.state_bytes == len(writer.lines[-1]) + 1


def test_a_signal_is_handled_and_put_off_until_the_end_of_a_block() -> None:
    writer = Keeping()
    channel = channel_to(writer)
    before = signal.getsignal(signal.SIGTERM)
    with channel.handle_signals(), suppress(Interrupted):
        assert signal.getsignal(signal.SIGTERM) == writer.interrupt
        with channel.defer_signals():
            writer.interrupt(signal.SIGTERM, None)  # a real signal would end this process a little later
            writer.lines.append(b"within the block")
        writer.lines.append(b"behind the block")
    assert writer.lines == [b"within the block"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_with_a_foreign_writer_signals_stay_with_the_program() -> None:
    channel = channel_to(Foreign())
    before = signal.getsignal(signal.SIGTERM)
    with channel.handle_signals(), channel.defer_signals():
        assert signal.getsignal(signal.SIGTERM) is before
    channel.flush()
    assert channel.state_bytes == 0


def test_a_foreign_writer_gets_the_same_records_and_state(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 30})
    settings = settings_for(sandbox, **DATES)
    expected = run_tap(settings, ["amd"])
    writer = Foreign()
    tap = TapVonageReports(config=settings, catalog=catalog_of(["amd"]), message_writer=writer)
    tap.session.delay_factor = 0
    tap.run_sync(tap.sync)
    records = [message["record"]["id"] for message in writer.messages if message["type"] == "RECORD"]
    assert records
    assert records == [record["id"] for record in expected.records["amd"]]
    states = [message["value"] for message in writer.messages if message["type"] == "STATE"]
    assert states[-1] == expected.state
