from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import requests
from starlette.applications import Starlette

from tap_vonage_reports.sandbox import Sandbox
from tap_vonage_reports.sandbox.server import LOOPBACK, Connections, Server
from tests.sandbox.reading import NOW, RECORDS, Reader, basic

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping


def test_it_starts_and_leaves_nothing_behind() -> None:
    with Sandbox() as sandbox:
        port = int(sandbox.url.rpartition(":")[2])
        assert requests.get(sandbox.url + RECORDS, timeout=60).status_code == 401
    assert not [thread for thread in threading.enumerate() if thread.name == "sandbox"]
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_browser_finds_accounts_endpoints_faults_and_how_to_point_a_tool_at_it() -> None:
    with Sandbox(subaccount_keys=["sub<1>"], faults=["late-rows"]) as sandbox:
        answer = requests.get(sandbox.url, timeout=60)
    assert answer.headers["Content-Type"].startswith("text/html")
    assert f"export TAP_VONAGE_REPORTS_API_URL={sandbox_url(answer)}" in answer.text
    for text in ("abcd1234", "sub&lt;1&gt;", "/v2/reports/records", "VOICE-CALL", "late-rows"):
        assert text in answer.text
    assert answer.text.count("(on)") == answer.text.count("late-rows (on)") == 1
    assert "sub<1>" not in answer.text


def sandbox_url(answer: requests.Response) -> str:
    return answer.url.rstrip("/")


def test_it_can_be_started_again_on_another_port() -> None:
    sandbox = Sandbox()
    for _ in range(3):
        with sandbox:
            assert requests.get(sandbox.url + RECORDS, timeout=60).status_code == 401
    with pytest.raises(RuntimeError, match="not running"):
        _ = sandbox.url


def test_it_stops_while_somebody_waits_for_an_answer() -> None:
    def ask(url: str) -> None:
        with pytest.raises(requests.ConnectionError):
            requests.get(url + RECORDS, timeout=600)

    with ThreadPoolExecutor(1) as pool:
        with Sandbox(latency=600) as sandbox:
            waiting = pool.submit(ask, sandbox.url)
            while not sandbox.requests.peak:
                pass
        waiting.result(timeout=60)


def test_an_answer_takes_as_long_as_it_was_told_to(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 1}, latency=0.1)
    started = time.monotonic()
    reader.get(**reader.ask("sms", "outbound"))
    assert time.monotonic() - started >= 0.1


def test_many_can_read_at_once(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"sms": 3000}, page_size=500)

    def read(hour: int) -> int:
        other = Reader(reader.sandbox)
        with other.session:
            window = (f"2026-11-18T{hour:02}:00:00Z", f"2026-11-18T{hour + 1:02}:00:00Z")
            return len(other.rows(**other.ask("sms", "outbound", window)))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(20))) == [125] * 20


async def asgi(sandbox: Sandbox, given: dict[str, str]) -> tuple[int, bytes]:
    """One request without a port."""
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": RECORDS,
        "raw_path": RECORDS.encode(),
        "query_string": urlencode(given).encode(),
        "headers": [(b"host", b"sandbox"), (b"authorization", basic(sandbox.api_key, sandbox.api_secret).encode())],
        "server": ("sandbox", 80),
        "client": ("client", 1),
    }
    await sandbox.app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def test_it_can_be_used_without_a_port() -> None:
    sandbox = Sandbox(clock=NOW, rows={"*": 5})
    given = Reader(sandbox).ask("sms", "outbound")
    status, body = asyncio.run(asgi(sandbox, given))
    assert status == 200
    assert b'"items_count":5' in body
    sandbox.faults.on("cut")
    with pytest.raises(ConnectionResetError):
        asyncio.run(asgi(sandbox, given))


@pytest.mark.parametrize("rounds", range(5))
def test_a_connection_that_arrives_while_the_server_stops_is_closed(rounds: int) -> None:
    server = Server(Starlette(), Connections())
    server.start()
    inner = server._server  # noqa: SLF001 - to stop it in a known round of its loop
    loop, stopped = inner._loop, inner._stopped  # noqa: SLF001 - as above
    assert loop is not None
    clients = []

    def connect_and_stop(left: int) -> None:
        if left == rounds:
            clients.append(socket.create_connection((LOOPBACK, server.port)))
        if left:
            loop.call_soon(connect_and_stop, left - 1)
        else:
            stopped.set()

    loop.call_soon_threadsafe(connect_and_stop, rounds)
    server.wait()
    server.stop()
    for client in clients:
        client.close()
    gc.collect()  # an open transport would warn now
