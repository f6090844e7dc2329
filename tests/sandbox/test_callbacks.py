"""The status of a final report is posted to its callback_url, once, and to this machine alone."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tap_vonage_reports.sandbox import Fault, callbacks
from tap_vonage_reports.sandbox.callbacks import ENDPOINT
from tests.sandbox.reporting import cancel, created, download, status

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tap_vonage_reports.sandbox.journal import Entry
    from tests.sandbox.reading import Reader

PATIENCE = 20


class Call(NamedTuple):
    path: str
    content_type: str
    body: bytes


class Receiver:
    """An HTTP server on loopback that keeps what is posted to it."""

    def __init__(self, answer: int = 204) -> None:
        calls = self.calls = Queue[Call]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                calls.put(Call(self.path, self.headers["Content-Type"], body))
                self.send_response(answer)
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/vonage?token=secret"

    def next(self) -> Call:
        return self.calls.get(timeout=PATIENCE)

    @contextmanager
    def running(self) -> Generator[Receiver, None, None]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()


@pytest.fixture
def receiver() -> Generator[Receiver, None, None]:
    with Receiver().running() as running:
        yield running


class Logged(Queue["Entry"]):
    """The callbacks as they are logged."""

    def __init__(self, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        journal = reader.sandbox.requests
        add = journal.add

        def added(entry: Entry) -> None:
            add(entry)
            if entry.endpoint == ENDPOINT:
                self.put(entry)

        monkeypatch.setattr(journal, "add", added)

    def next(self) -> Entry:
        return self.get(timeout=PATIENCE)


@pytest.fixture
def open_logged(opened: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Reader, Logged]]:
    def make(**options: Any) -> tuple[Reader, Logged]:
        reader = opened(rows={"*": 60}, **options)
        return reader, Logged(reader, monkeypatch)

    return make


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hosts that are called; none of them answers."""
    hosts: list[str] = []

    def connect(host: str, *_: Any, **__: Any) -> None:
        hosts.append(host)
        raise OSError

    for scheme in ("http", "https"):
        monkeypatch.setitem(callbacks.CONNECTIONS, scheme, connect)
    return hosts


OpenLogged = Any
AT_ONCE = {"generation_seconds": 0.0}


def test_the_callback_has_the_status_of_the_finished_report(open_logged: OpenLogged, receiver: Receiver) -> None:
    reader, logged = open_logged(**AT_ONCE)
    report = created(reader, callback_url=receiver.url)
    call = receiver.next()
    assert (call.path, call.content_type) == ("/vonage?token=secret", "application/json")
    assert json.loads(call.body) == status(reader, report)
    assert json.loads(call.body)["request_status"] == "SUCCESS"
    assert download(reader, report).status_code == 200
    entry = logged.next()
    assert (entry.status, entry.report, entry.account) == (204, report["request_id"], report["account_id"])
    assert "secret" not in json.dumps(reader.get("/__sandbox/requests").json())


def test_no_callback_comes_before_the_report_is_final(open_logged: OpenLogged, receiver: Receiver) -> None:
    reader, _ = open_logged(polls=3)
    report = created(reader, callback_url=receiver.url)
    for _ in range(2):
        assert status(reader, report)["request_status"] != "SUCCESS"
        assert receiver.calls.empty()
    assert status(reader, report)["request_status"] == "SUCCESS"
    assert json.loads(receiver.next().body)["request_id"] == report["request_id"]


def test_a_clock_that_is_moved_makes_the_callback_come(open_logged: OpenLogged, receiver: Receiver) -> None:
    reader, _ = open_logged(generation_seconds=3600)
    created(reader, callback_url=receiver.url)
    assert receiver.calls.empty()
    reader.sandbox.clock.advance(hours=2)
    assert json.loads(receiver.next().body)["request_status"] == "SUCCESS"


@pytest.mark.parametrize(("fault", "ending"), [("report-failed", "FAILED"), ("report-truncated=7", "TRUNCATED")])
def test_the_callback_tells_how_the_report_ended(
    open_logged: OpenLogged, receiver: Receiver, fault: str, ending: str
) -> None:
    reader, _ = open_logged(faults=[fault], **AT_ONCE)
    created(reader, callback_url=receiver.url)
    assert json.loads(receiver.next().body)["request_status"] == ending


def test_an_aborted_report_is_told_as_well(open_logged: OpenLogged, receiver: Receiver) -> None:
    reader, _ = open_logged(generation_seconds=3600)
    assert cancel(reader, created(reader, callback_url=receiver.url)).status_code == 200
    assert json.loads(receiver.next().body)["request_status"] == "ABORTED"


def test_a_callback_can_come_twice_be_cut_or_never_come(open_logged: OpenLogged, receiver: Receiver) -> None:
    reader, logged = open_logged(**AT_ONCE)
    faults = reader.sandbox.faults
    with faults.during(Fault.CALLBACK_LOST):
        created(reader, callback_url=receiver.url)
    with faults.during(Fault.CALLBACK_CUT):
        created(reader, callback_url=receiver.url)
    cut = receiver.next()
    with pytest.raises(ValueError, match=r"."):
        json.loads(cut.body)
    assert (logged.next().fault, faults.hits(Fault.CALLBACK_LOST)) == ("callback-cut", 1)
    with faults.during(Fault.CALLBACK_TWICE):
        report = created(reader, callback_url=receiver.url)
    assert receiver.next() == receiver.next()
    assert [logged.next().report for _ in range(2)] == [report["request_id"]] * 2
    with pytest.raises(Empty):
        receiver.calls.get_nowait()


@pytest.mark.parametrize(
    "url",
    [
        "https://me.invalid/x",
        "http://169.254.169.254/latest",
        "http://10.0.0.1/",
        "http://0.0.0.0/",
        "http://127.0.0.1.example.com/",
        "http://user@example.com@127.0.0.2.example/",
        "file:///etc/passwd",
        "http://[::1",
        "nonsense",
    ],
)
def test_the_sandbox_calls_no_other_machine_and_the_report_is_made_nevertheless(
    open_logged: OpenLogged, called: list[str], url: str
) -> None:
    reader, logged = open_logged(**AT_ONCE)
    report = created(reader, callback_url=url)
    entry = logged.next()
    assert (entry.status, entry.report, called) == (0, report["request_id"], [])
    assert status(reader, report)["request_status"] == "SUCCESS"


def test_a_host_that_is_allowed_is_called_and_no_other(open_logged: OpenLogged, called: list[str]) -> None:
    reader, logged = open_logged(callback_hosts=["Me.Invalid"], **AT_ONCE)
    for url in ("https://me.invalid:8443/x", "https://other.invalid/"):
        created(reader, callback_url=url)
        logged.next()
    assert called == ["me.invalid"]


def test_a_redirect_is_not_followed(open_logged: OpenLogged) -> None:
    reader, logged = open_logged(**AT_ONCE)
    with Receiver(answer=307).running() as moved:
        created(reader, callback_url=moved.url)
        moved.next()
        assert logged.next().status == 307


def test_a_callback_that_nobody_answers_harms_nothing(open_logged: OpenLogged) -> None:
    reader, logged = open_logged(**AT_ONCE)
    report = created(reader, callback_url="http://127.0.0.1:9/")
    assert logged.next().status == 0
    assert status(reader, report)["request_status"] == "SUCCESS"
