"""Proxies and private CAs work as docs/operations.md says, and what is wrong with them is said once."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.api.retry import FEW_TRIES
from tap_vonage_reports.errors import ConnectionRefusedByHostError, UnreachableError
from tests.api.test_connections import TlsServer, certificate, client_to, served
from tests.hostile import KEY, LAST_PAGE, SECRET, HostileServer, as_json, reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["certificate"]
API = "https://localhost"
PASSWORD = "pa55word"  # noqa: S105 - it opens nothing
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
FEW, MANY = FEW_TRIES[ConnectionRefusedByHostError], ReportsClient.retry_policy.max_tries


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no CA but those of the test."""
    for name in (*PROXY_VARIABLES, *map(str.upper, PROXY_VARIABLES), "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def tunnel(asked: list[str], onward: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    """A proxy that keeps what it was asked for, and leads to a server."""

    def handle(sock: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
        asked.append(head.decode())
        sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        onward(sock)

    return handle


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("bundle", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_api_is_reached_through_a_proxy_with_a_private_ca(
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    bundle: str,
) -> None:
    asked: list[str] = []
    monkeypatch.setenv(bundle, str(certificate))
    with TlsServer(tunnel(asked, served(certificate, reply(as_json(LAST_PAGE), Connection="close")))) as proxy:
        monkeypatch.setenv(variable, f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}")
        assert client_to(API).records({}).body["records"]
    (head,) = asked
    assert head.startswith("CONNECT localhost:443 ")
    assert "Proxy-Authorization: Basic" in head
    assert "\r\nAuthorization:" not in head
    assert KEY not in head
    assert SECRET not in head


@pytest.mark.parametrize(
    ("no_proxy", "passed"),
    [
        ("api.example.com", True),
        ("other.example, .example.com", True),
        ("example.com", True),
        ("*", True),
        ("example.org", False),
        ("", False),
    ],
)
def test_no_proxy_names_the_hosts_that_are_reached_without_one(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str, *, passed: bool
) -> None:
    looked_up: list[str] = []

    def fail(host: str, *_more: object, **_named: object) -> None:
        looked_up.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.net:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    with mock.patch("socket.getaddrinfo", fail), pytest.raises(UnreachableError):
        client_to("https://api.example.com").records({})
    assert set(looked_up) == {"api.example.com" if passed else "proxy.example.net"}


@pytest.mark.parametrize(("status", "tries"), [("407", FEW), ("403", FEW), ("502", MANY)])
def test_a_proxy_that_refuses_is_told_with_its_status(monkeypatch: pytest.MonkeyPatch, status: str, tries: int) -> None:
    with HostileServer(lambda _request: reply(b"", f"{status} No", Connection="close")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:{PASSWORD}@{proxy.host}")
        with pytest.raises(UnreachableError) as caught:
            client_to(API).records({})
    assert f"No connection to localhost (the proxy refuses it with HTTP {status})" in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert [request.method for request in proxy.log] == ["CONNECT"] * tries


def test_a_proxy_where_nothing_listens_is_given_up_soon(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:{PASSWORD}@127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(UnreachableError, match="proxy that the environment names does not answer"):
            client_to(API).records({})
    assert f"Try {FEW} of {FEW}" in caplog.text
    assert f"Try {FEW + 1}" not in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize(
    "proxy", ["http://", f"socks9://user:{PASSWORD}@127.0.0.1:9", f"http://user:{PASSWORD}@127.0.0.1:99999"]
)
def test_a_proxy_that_no_request_can_use_is_final(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(UnreachableError, match="the proxy in the variables HTTPS_PROXY and ALL_PROXY") as caught:
        client_to(API).records({})
    assert PASSWORD not in str(caught.value) + caplog.text
    assert "Try 2" not in caplog.text


@pytest.mark.parametrize(
    "content",
    ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
    ids=["empty", "other text", "damaged"],
)
@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_file_without_certificates_is_final(
    certificate: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    content: str,
) -> None:
    (tmp_path / "bundle.pem").write_text(content)
    monkeypatch.setenv(variable, str(tmp_path / "bundle.pem"))
    with (
        TlsServer(served(certificate, b"")) as server,
        pytest.raises(UnreachableError, match="contains none") as caught,
    ):
        client_to(server.url).records({})
    assert variable in str(caught.value)
    assert server.accepted <= 1


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "ssl_cert_file", "requests_ca_bundle"])
def test_a_private_ca_that_is_not_named_is_told_what_to_do(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(certificate))
    with TlsServer(served(certificate, b"")) as server, pytest.raises(UnreachableError, match="REQUESTS_CA_BUNDLE"):
        client_to(server.url).records({})
