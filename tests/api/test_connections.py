"""No exchange outlives its deadline, no broken handshake ends a run, and no redirect leads into a private network."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import itertools
import socket
import socketserver
import ssl
import threading
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tap_vonage_reports.api import connections, transport
from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.api.connections import MAX_EXCHANGE_TIMEOUTS, Deadline, is_private, leads_to_private_network
from tap_vonage_reports.errors import ApiError, ReportError, RetriableApiError, UnreachableError
from tests.hostile import (
    ENDPOINTS,
    FILE,
    KEY,
    LAST_PAGE,
    SECRET,
    HostileServer,
    LoopbackServer,
    as_json,
    client_of,
    download,
    every_endpoint,
    once,
    reply,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

__all__ = ["once"]

# Deadline

DRIPPED = {
    "headers": (b"HTTP/1.1 200 OK\r\nX-Drip: ", b"x"),
    "status line": (b"HTTP/1.1 200 ", b"O"),
    "headers without end": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "length of a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nPK\x03\x04\r\n0\r\n", b"X: y\r\n"),
    "head of a refusal": (b"HTTP/1.1 500 Oops\r\nX-Drip: ", b"x"),
    "body of gzip": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x00",
        b"n",
    ),
}


@contextlib.contextmanager
def dripping(part: str) -> Generator[HostileServer, None, None]:
    """A server whose answers drip, one piece for each look at the clock, which then goes on by 30 seconds."""
    start, drip = DRIPPED[part]
    wanted, seconds = threading.Semaphore(0), itertools.count(0, 30)

    def look() -> float:
        wanted.release()
        return next(seconds)

    def answer(_request: object) -> Iterator[bytes]:
        yield start
        while wanted.acquire(timeout=60):
            yield drip

    with HostileServer(answer) as server, mock.patch.object(connections, "time", mock.Mock(monotonic=look)):
        yield server


@pytest.mark.usefixtures("once")
@pytest.mark.parametrize("part", DRIPPED)
@every_endpoint
def test_no_part_of_an_answer_may_drip_for_ever(endpoint: str, part: str) -> None:
    with dripping(part) as server, pytest.raises(RetriableApiError, match="too slowly"):
        ENDPOINTS[endpoint](client_of(server))


def test_an_exchange_has_a_handful_of_timeouts_and_a_second_for_each_64_kilobytes() -> None:
    clock = mock.Mock(monotonic=mock.Mock(return_value=100.0))
    with mock.patch.object(connections, "time", clock):
        end = Deadline(60)
        assert end.seconds_left == MAX_EXCHANGE_TIMEOUTS * 60
        end.extend(1 << 17)
        clock.monotonic.return_value = 100.0 + 300
        assert end.seconds_left == 2


@pytest.mark.usefixtures("once")
def test_no_read_waits_longer_than_what_is_left_of_the_exchange() -> None:
    ended = threading.Event()

    def answer(_request: object) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n"
        ended.wait()

    with HostileServer(answer) as server:
        clock = mock.Mock(monotonic=mock.Mock(side_effect=itertools.chain([0], itertools.repeat(299.99))))
        # A server that falls silent, a hundredth of a second before the deadline of five times 60 seconds.
        with mock.patch.object(connections, "time", clock), pytest.raises(RetriableApiError, match="too slowly"):
            client_of(server).records({})
        ended.set()


@pytest.mark.usefixtures("once")
@pytest.mark.parametrize("part", ["headers", "headers without end"])
def test_no_answer_of_a_proxy_may_drip_for_ever(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with dripping(part) as server:
        monkeypatch.setenv("HTTPS_PROXY", server.url)
        with pytest.raises((RetriableApiError, UnreachableError)):
            client_to("https://api.example").records({})
        assert vars(connections)["time"].monotonic() > MAX_EXCHANGE_TIMEOUTS * 30


# TLS


class TlsServer(LoopbackServer):
    """Hands one connection after the other to a function."""

    def __init__(self, handle: Callable[[socket.socket], None]) -> None:
        self.accepted = 0
        self._handle = handle
        super().__init__(socketserver.BaseRequestHandler)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as the library calls it
        self.accepted += 1
        self._handle(request)

    def shutdown_request(self, request: Any) -> None:
        """Close the connection without a word, which would precede a reset."""
        request.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of localhost that nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.timezone.utc)
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "localhost.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + built.public_bytes(serialization.Encoding.PEM))
    return file


def client_to(url: str, timeout: float = 60) -> ReportsClient:
    return ReportsClient(url, KEY, SECRET, timeout_seconds=timeout, user_agent="test", delay_factor=0)


def served(certificate: Path, answer: bytes) -> Callable[[socket.socket], None]:
    """Serves one answer over TLS for each connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def handle(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as tls:
            tls.recv(1 << 16)
            tls.sendall(answer)

    return handle


def hello_then(do: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    def handle(sock: socket.socket) -> None:
        sock.recv(1 << 16)
        do(sock)

    return handle


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


CUTS: dict[str, Callable[[socket.socket], None]] = {
    "end": hello_then(lambda _sock: None),
    "reset": hello_then(_reset),
    "half a record": hello_then(lambda sock: sock.sendall(b"\x16\x03\x03\x00\x7a\x02\x00")),
    "an alert": hello_then(lambda sock: sock.sendall(b"\x15\x03\x03\x00\x02\x02\x50")),
    "no TLS": hello_then(lambda sock: sock.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")),
}


@pytest.mark.promise("Retried: 429, 5xx, timeouts, broken connections, truncated or non-JSON bodies, failed downloads.")
@pytest.mark.parametrize("cut", CUTS)
def test_a_handshake_that_is_cut_is_tried_again(cut: str, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    right = served(certificate, reply(as_json(LAST_PAGE), Connection="close"))
    handlers = itertools.chain([CUTS[cut]], itertools.repeat(right))
    with TlsServer(lambda sock: next(handlers)(sock)) as server:  # noqa: PLW0108 - another one for each connection
        assert client_to(server.url).records({}).body["records"]
    assert server.accepted == 2


@pytest.mark.parametrize("cut", CUTS)
def test_a_handshake_that_is_always_cut_leaves_the_api_unreachable(cut: str) -> None:
    with (
        TlsServer(CUTS[cut]) as server,
        pytest.raises((UnreachableError, RetriableApiError), match="connection"),
    ):
        client_to(server.url).records({})
    assert server.accepted == ReportsClient.retry_policy.max_tries


@pytest.mark.parametrize("name", ["localhost", "localhost.localdomain"])
def test_a_certificate_that_is_not_trusted_is_final(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if name != "localhost":  # it is trusted, but is another host's
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *more, **named: real("127.0.0.1", *more, **named))
    with (
        TlsServer(served(certificate, b"")) as server,
        pytest.raises(UnreachableError, match="certificate"),
    ):
        client_to(server.url.replace("localhost", name)).records({})
    assert server.accepted == 1


@pytest.mark.usefixtures("once")
def test_a_handshake_that_drips_ends_with_the_timeout() -> None:
    ended = threading.Event()

    def drip(sock: socket.socket) -> None:
        sock.recv(1 << 16)
        sock.sendall(b"\x16\x03\x03\x40\x00")
        while not ended.wait(0.01):
            sock.sendall(b"\x02")

    with TlsServer(drip) as server:
        with pytest.raises((UnreachableError, RetriableApiError)):
            client_to(server.url, timeout=0.1).records({})
        ended.set()


# Private networks

PRIVATE = [
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "127.0.0.1", "127.8.8.8", "169.254.169.254"),
    *("100.64.0.1", "100.127.255.255", "0.0.0.1", "255.255.255.255", "224.0.0.1", "::1", "::", "fe80::1", "fe80::1%1"),
    *("fc00::1", "fdff::1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1", "2002:a00:1::1", "ff02::1"),
]
PUBLIC = [
    "8.8.8.8",
    "172.15.0.1",
    "172.32.0.1",
    "100.63.0.1",
    "100.128.0.1",
    "2600::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]


def test_private_addresses_are_told_from_public_ones() -> None:
    assert [address for address in PRIVATE if not is_private(address)] == []
    assert [address for address in PUBLIC if is_private(address)] == []


@pytest.fixture
def public_api(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An API with a public address, on a machine with a name server of its own."""
    names: dict[str, Any] = {"api.example": ["8.8.8.8"]}

    def look_up(host: str, *_more: object, **_named: object) -> list[Any]:
        if host in names:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in names[host]]
        with contextlib.suppress(OSError):
            socket.inet_aton(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (socket.inet_ntoa(socket.inet_aton(host)), 443))]
        with contextlib.suppress(ValueError):
            return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (str(ipaddress.ip_address(host)), 443, 0, 0))]
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return names


def redirected(target: str, url: str = "https://api.example") -> mock.Mock:
    """Download a file from where the media service redirects to; what was asked of the other host."""
    answer = mock.MagicMock(status_code=302, is_redirect=True, headers={"Location": target})
    answer.__enter__.return_value = answer
    file = mock.MagicMock(status_code=200)
    file.__enter__.return_value = file
    file.raw.read1.side_effect = [FILE, b""]
    with (
        mock.patch("requests.Session.request", return_value=answer),
        mock.patch("requests.Session.get", return_value=file) as get,
    ):
        assert download(client_to(url)) == FILE
        return get


@pytest.mark.promise("Basic credentials go to api_url only, never to a host from a link or a redirect.")
@pytest.mark.parametrize(
    "host",
    [
        *(
            "10.0.0.1",
            "169.254.169.254",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.1",
            "[::1]",
            "[fd00::1]",
            "100.64.1.1",
        ),
        *("[::ffff:192.168.0.1]", "inside.example", "mixed.example"),
    ],
)
def test_a_redirect_into_a_private_network_is_refused(public_api: dict[str, Any], host: str) -> None:
    public_api |= {"inside.example": ["192.168.7.7"], "mixed.example": ["8.8.4.4", "10.1.1.1"]}
    with pytest.raises(ReportError, match="private network"):
        redirected(f"https://{host}/x")


def test_a_redirect_to_a_public_host_is_followed(public_api: dict[str, Any]) -> None:
    public_api["store.example"] = ["8.8.4.4"]
    assert redirected("https://store.example/x").call_count == 1
    assert redirected("https://unknown.example/x").call_count == 1  # which fails by itself, or goes through a proxy


@pytest.mark.parametrize("url", ["https://10.9.9.9", "https://inside.example", "http://127.0.0.1:1"])
def test_an_api_in_a_private_network_may_redirect_there(public_api: dict[str, Any], url: str) -> None:
    public_api["inside.example"] = ["192.168.7.7"]
    assert redirected("https://10.0.0.1/x", url).call_count == 1


def test_a_name_that_leads_elsewhere_after_it_was_checked_gets_no_request(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    received: list[bytes] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def handle(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as tls:
            received.append(tls.recv(1 << 16))

    with TlsServer(handle) as server, mock.patch.object(transport, "leads_to_private_network", return_value=False):
        service = transport.Transport("https://api.example", KEY, SECRET, timeout_seconds=60, user_agent="test")
        with pytest.raises(connections.PrivateAddressError), service.open_elsewhere(server.url + "/x", {}):
            pass
    assert b"".join(received) == b""


def test_a_name_that_does_not_resolve_is_in_no_private_network(public_api: dict[str, Any]) -> None:
    assert public_api
    assert not leads_to_private_network("unknown.example")
    assert not leads_to_private_network("")
    assert not leads_to_private_network("a" * 300)


def test_the_error_of_a_redirect_says_what_to_do(public_api: dict[str, Any]) -> None:
    assert public_api
    answer = mock.MagicMock(status_code=302, is_redirect=True, headers={"Location": "https://10.0.0.1/x"})
    answer.__enter__.return_value = answer
    with mock.patch("requests.Session.request", return_value=answer), pytest.raises(ApiError) as caught:
        download(client_to("https://api.example"))
    assert "private network" in str(caught.value)
    assert "10.0.0.1" not in str(caught.value)
