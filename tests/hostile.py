"""A server that answers with whatever bytes a test wants, and keeps what it was sent; and right answers to spoil."""

from __future__ import annotations

import re
import socketserver
import threading
import tracemalloc
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, cast
from unittest import mock
from urllib.parse import urlsplit

import msgspec
import pyarrow as pa
import pytest

from tap_vonage_reports.api.accounts import subaccount_keys
from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.api.request_context import RequestContext
from tap_vonage_reports.api.retry import ONE_TRY
from tap_vonage_reports.products import PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

MIB = 1 << 20
CONTENT_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)(?:\r\n|$)")
DATE = "Fri, 20 Nov 2026 12:00:00 GMT"
KEY, SECRET = "abcd1234", "S3cr3t-value"
PRODUCT = PRODUCTS["reports_usage"]  # it has fields of every kind
ROW: dict[str, Any] = {
    "acc": KEY,
    "date_received": "2026-11-18T01:02:03+00:00",
    "date_started": None,
    "is_charged": True,
    "request_params": {"product": "SMS", "list": [1, {"a": None}]},
    "items_written": 12,
    "price": Decimal("0.0004"),
    "total_price": "0.0048",
    "id": "0001",
}
LAST_PAGE: dict[str, Any] = {"request_status": "SUCCESS", "items_count": 1, "records": [{**ROW, "id": "0003"}]}
REPORT: dict[str, Any] = {
    "request_id": "ri3p58f-3fa85f64",
    "request_status": "SUCCESS",
    "items_count": 1,
    "_links": {"download_report": {"href": "https://api.nexmo.com/v3/media/some-file"}},
}
SUBACCOUNTS: dict[str, Any] = {
    "_embedded": {"subaccounts": [{"api_key": "sub00001", "secret": "s"}, {"api_key": "sub00002"}]}
}
FILE = b"PK\x03\x04file"
"""The file of a report, as far as a download looks into it."""

as_json = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        method: Its method.
        target: Its target as it stood in the first line.
        headers: Its headers by name in lower case.
        body: Its body.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path


def reply(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """An answer that is right in form, unless a header says otherwise; `_` in a header's name is `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return head(status, **{"Date": DATE, "Content-Length": str(len(body)), **named}) + body


def head(status: str = "200 OK", **headers: str) -> bytes:
    """The part of an answer before its body."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


class LoopbackServer(socketserver.TCPServer):
    """Listens on a free port of this machine within a `with` block, and has ended when that ends."""

    request_queue_size = 50

    def __init__(self, handler: type[socketserver.BaseRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def port(self) -> int:
        port: int = self.socket.getsockname()[1]
        return port

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up."""

    def server_close(self) -> None:
        self.shutdown()
        super().server_close()


class HostileServer(socketserver.ThreadingMixIn, LoopbackServer):
    """A server of the API's whose answers are anything.

    Attributes:
        answer: Makes an answer, in parts that are sent one by one. A connection is kept after a whole answer until the
            client closes it: the client may see late that the server did, and its next request would break.
        log: The requests.
        connections: How many connections there were.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, answer: Callable[[Request], bytes | Iterable[bytes]]) -> None:
        self.answer = answer
        self.log: list[Request] = []
        self.connections = 0
        super().__init__(_Handler)

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = cast("HostileServer", self.server)
        server.connections += 1
        with suppress(OSError):
            while first := self.rfile.readline().decode("latin-1").split():
                headers: dict[str, str] = {}
                while line := self.rfile.readline().decode("latin-1").strip():
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                body = self.rfile.read(int(headers.get("content-length", 0)))
                request = Request(first[0], first[1], headers, body)
                server.log.append(request)
                answer = server.answer(request)
                if isinstance(answer, bytes):
                    self.wfile.write(answer)
                    if b"\r\nContent-Length:" not in answer:
                        return
                elif not self._send_parts(iter(answer)):
                    return

    def _send_parts(self, parts: Iterator[bytes]) -> bool:
        """Send an answer in parts; True if it is whole, so that the client may go on using the connection."""
        start, _, body = (first := next(parts, b"")).partition(b"\r\n\r\n")
        length = None if b"\r\nTransfer-Encoding:" in start else CONTENT_LENGTH.search(start)
        missing = int(length[1]) - len(body) if length else -1
        self.wfile.write(first)
        for part in parts:
            self.wfile.write(part)
            missing -= len(part)
        return missing == 0


@pytest.fixture
def once() -> Iterator[None]:
    """Nothing is tried again: it would be answered the same."""
    with mock.patch.object(ReportsClient, "retry_policy", ONE_TRY):
        yield


def client_of(server: HostileServer, key: str = KEY) -> ReportsClient:
    return ReportsClient(server.url, key, SECRET, timeout_seconds=60, user_agent="test", delay_factor=0)


def download(client: ReportsClient, link: str = REPORT["_links"]["download_report"]["href"]) -> bytes:
    with TemporaryFile() as file:
        client.download(link, file)
        file.seek(0)
        return file.read()


ENDPOINTS: dict[str, Callable[[ReportsClient], Any]] = {
    "records": lambda client: client.records({"product": PRODUCT.name}),
    "create": lambda client: client.create_report({"product": PRODUCT.name}),
    "status": lambda client: client.report_status("some-report"),
    "cancel": lambda client: client.cancel_report("some-report"),
    "download": download,
    "subaccounts": lambda client: subaccount_keys(client.accounts(RequestContext()).body),
}
every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS)


@contextmanager
def memory_below(most: int) -> Generator[None, None, None]:
    """Sees to it that what runs inside takes no more memory at any time, Arrow's included."""
    pool = pa.default_memory_pool()
    before = pool.max_memory()
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1] + pool.max_memory() - before
    finally:
        tracemalloc.stop()
    assert peak < most, f"{peak:,}"
