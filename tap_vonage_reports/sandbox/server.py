"""HTTP server of the sandbox: uvicorn on a loopback port, in a thread."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Scope

LOOPBACK = "127.0.0.1"
_KEEP_ALIVE_SECONDS = 75
_WAITING = 512
"""Connections that may wait for the server."""
_ROUNDS_TO_OPEN = 5
"""Rounds of the event loop after which a connection that was accepted is open, and can be closed."""


class Connections:
    """The open connections by the address of their client, so that a fault can cut one."""

    def __init__(self) -> None:
        self._transports: dict[tuple[str, int], asyncio.Transport] = {}

    def close(self) -> None:
        """Cut all connections."""
        for transport in list(self._transports.values()):
            transport.abort()

    def cut(self, scope: Scope, /, *, flush: bool) -> None:
        """Cut the connection of a request; `flush` sends what was written before.

        Raises:
            ConnectionResetError: If there is none: a client that calls the application without a port.
        """
        transport = self._transports.get(tuple(scope["client"]))
        if transport is None:
            message = "The sandbox cut the connection"
            raise ConnectionResetError(message)
        (transport.close if flush else transport.abort)()

    def write(self, scope: Scope, data: bytes, /) -> bool:
        """Write to the connection of a request; False if it is closed."""
        transport = self._transports.get(tuple(scope["client"]))
        if transport is None or transport.is_closing():
            return False
        transport.write(data)
        return True

    def protocol(self) -> type[asyncio.Protocol]:
        """Uvicorn's protocol, which tells of its connections here."""
        transports = self._transports

        class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # ty: ignore[unsupported-base]  # uvicorn picks the class at run time
            """A connection that can be cut."""

            def connection_made(self, transport: asyncio.Transport) -> None:
                super().connection_made(transport)
                self._address = transport.get_extra_info("peername")[:2]
                transports[self._address] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                transports.pop(self._address, None)
                super().connection_lost(exc)

        return Protocol


class _Server(uvicorn.Server):
    """A uvicorn server that stops immediately when told to, instead of checking every tenth of a second."""

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self._connections = connections
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()
        self.ready = threading.Event()

    async def main_loop(self) -> None:
        """Wait for the end."""
        self._loop = asyncio.get_running_loop()
        self.ready.set()
        await self._stopped.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Close the port and all connections, even those that still wait for an answer."""
        loop = asyncio.get_running_loop()
        for listening in [listening for server in self.servers for listening in server.sockets]:
            # A connection that was accepted before `Server.close` and is opened after it would never be closed.
            with suppress(NotImplementedError):  # on Windows
                loop.remove_reader(listening)
        for _ in range(_ROUNDS_TO_OPEN):
            self._connections.close()
            await asyncio.sleep(0)
        for server in self.servers:
            server.close()
            await server.wait_closed()

    def stop(self) -> None:
        """Tell the server to stop, from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)


class Server:
    """A server on a loopback port, in a daemon thread."""

    def __init__(self, app: ASGIApp, connections: Connections, port: int = 0) -> None:
        """Open the port; requests wait there until `start`.

        Args:
            app: The application.
            connections: Where the application finds the connections that it cuts.
            port: The port; 0 takes any free one.

        Raises:
            OSError: If the port cannot be opened.
        """
        # The protocol is named because asyncio switches Nagle's algorithm off for TCP sockets that say so only:
        # with it, each answer waits 40 ms for the acknowledgement of its head.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            if os.name == "posix":  # elsewhere it would let two servers share a port
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((LOOPBACK, port))
            self._socket.listen(_WAITING)
        except OSError:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        config: dict[str, Any] = {
            "http": connections.protocol(),
            "ws": "none",
            "loop": "asyncio",
            "lifespan": "off",
            "log_config": None,
            "log_level": "critical",
            "access_log": False,
            "date_header": False,
            "server_header": False,
            "timeout_keep_alive": _KEEP_ALIVE_SECONDS,
        }
        self._server = _Server(uvicorn.Config(app, **config), connections)
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Start to answer."""
        self._thread.start()
        self._server.ready.wait()

    def stop(self) -> None:
        """Stop, and close all connections and the port."""
        if self._thread.is_alive():
            self._server.stop()
            self._thread.join()
        self._socket.close()

    def wait(self) -> None:
        """Wait until the server stops."""
        # A join without a limit cannot be interrupted by a signal on every system.
        while self._thread.is_alive():
            self._thread.join(3600)

    def _run(self) -> None:
        try:
            asyncio.run(self._server.serve(sockets=[self._socket]))
        finally:
            # Whatever happened, nobody waits for the start for ever.
            self._server.ready.set()
