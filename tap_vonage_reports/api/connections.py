"""Connections with a deadline for a whole exchange, and connections to public addresses only.

The timeout of a request limits each single read, so a server that sends its headers byte by byte would block a worker
forever. Here, no read may take longer than the time left for the exchange.
"""

from __future__ import annotations

import io
import ipaddress
import socket
import time
from contextlib import contextmanager
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, ClassVar

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from _typeshed import WriteableBuffer

MAX_EXCHANGE_TIMEOUTS = 5
"""Timeouts (`request_timeout_seconds`) that an exchange may take in all: connection, TLS handshake, headers and body.
A second per `MIN_BYTES_PER_SECOND` of the body comes on top, because a fixed deadline would fail a large file."""
MIN_BYTES_PER_SECOND = 1 << 16
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses that stand for IPv4 addresses, which are their last four bytes (RFC 6052)."""


class PrivateAddressError(Exception):
    """A connection to a public host ended at an address of a private network. Nothing was sent."""


class Deadline:
    """The end of one exchange, on this machine's monotonic clock."""

    def __init__(self, timeout: float) -> None:
        """Start the exchange.

        Args:
            timeout: Seconds of a single read.
        """
        self._at = time.monotonic() + MAX_EXCHANGE_TIMEOUTS * timeout

    @property
    def seconds_left(self) -> float:
        """Seconds until the end; 0 or less after it."""
        return self._at - time.monotonic()

    def extend(self, size: int) -> None:
        """Allow time for the bytes of a body that have arrived."""
        self._at += size / MIN_BYTES_PER_SECOND


_current: ContextVar[Deadline] = ContextVar("deadline")


@contextmanager
def deadline(timeout: float) -> Generator[None, None, None]:
    """Start one deadline for what this thread exchanges in a `with` block."""
    token = _current.set(Deadline(timeout))
    try:
        yield
    finally:
        _current.reset(token)


def current_deadline() -> Deadline:
    """Return the deadline of the exchange that this thread is in."""
    return _current.get()


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket, and waits no longer than the deadline of the exchange allows."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        super().__init__()
        self._sock, self._raw, self._timeout = sock, raw, sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        left = current_deadline().seconds_left
        if left <= 0:
            msg = "The deadline of the exchange has passed"
            raise TimeoutError(msg)
        self._sock.settimeout(left if self._timeout is None else min(left, self._timeout))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedResponse(HTTPResponse):
    """An answer, of the API or of a proxy, that is read until the deadline at most."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_DeadlineReader(sock, self.fp.detach()))


class _Connection(HTTPConnection):
    response_class = _BoundedResponse


class _SecureConnection(HTTPSConnection):
    response_class = _BoundedResponse


class _PublicConnection(_SecureConnection):
    """A connection that sends nothing to a private network. A proxy may be in one: it resolves the name itself."""

    def connect(self) -> None:
        super().connect()
        # The address that was connected to: the name might resolve to another one by now.
        if isinstance(self.sock, socket.socket) and not self.proxy and is_private(self.sock.getpeername()[0]):
            self.close()
            raise PrivateAddressError


def _pool(kind: type[HTTPConnectionPool], connection: type[HTTPConnection]) -> type[HTTPConnectionPool]:
    """Return a class of pools whose connections are of some class."""
    return type(kind.__name__, (kind,), {"ConnectionCls": connection})


class BoundedAdapter(HTTPAdapter):
    """Connections whose exchanges end with the `deadline` of their thread."""

    pools: ClassVar[Mapping[str, type[HTTPConnectionPool]]] = {
        "http": _pool(HTTPConnectionPool, _Connection),
        "https": _pool(HTTPSConnectionPool, _SecureConnection),
    }

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        """Set up the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = dict(self.pools)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:  # noqa: ANN401 - the type is that of requests
        """Return the pools of connections through a proxy; those of SOCKS have classes of their own."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = dict(self.pools)
        return manager


class PublicAdapter(BoundedAdapter):
    """Connections to https hosts, none of which may be in a private network.

    A connection that ends there raises a `PrivateAddressError` before anything is sent.
    """

    pools: ClassVar[Mapping[str, type[HTTPConnectionPool]]] = {"https": _pool(HTTPSConnectionPool, _PublicConnection)}


def leads_to_private_network(host: str) -> bool:
    """Return True if a host is, or resolves to, an address of a private network; False if it does not resolve."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return any(is_private(str(address[0])) for *_, address in found)


def is_private(address: str) -> bool:
    """Return True for an IP address that is not one of the public internet: private, loopback, link-local, shared."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ipaddress.IPv4Address(ip.packed[-4:]) if ip in NAT64 else None
        ip = ip.ipv4_mapped or ip.sixtofour or embedded or ip
    return not ip.is_global or ip.is_multicast
