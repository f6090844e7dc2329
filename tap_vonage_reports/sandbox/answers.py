"""HTTP answers on the wire, including those that break or arrive slowly."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Protocol

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

_PIECES = 8
_PIECE = 1 << 18

GATEWAY_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n"
    b"<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
)


def json_bomb(count: int) -> bytes:
    """Return a page of empty lists in place of rows, compressed by gzip; `count` of them."""
    return gzip.compress(b'{"request_status":"SUCCESS","records":[' + b"[]," * count + b"[]]}", 9, mtime=0)


class Cutter(Protocol):
    """Cuts the connection of a request."""

    def __call__(self, scope: Scope, /, *, flush: bool) -> None:
        """Cut it; `flush` sends what was written before."""


class Writer(Protocol):
    """Writes to the connection of a request."""

    def __call__(self, scope: Scope, data: bytes, /) -> bool:
        """Write; False if the client has closed it."""


class CutAnswer(Response):
    """No answer: the connection is cut before the first byte."""

    def __init__(self, cut: Cutter) -> None:
        super().__init__()
        self._cut = cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Cut the connection."""
        self._cut(scope, flush=False)


class HalfAnswer(Response):
    """Half an answer: the connection is cut in the middle of the body."""

    def __init__(self, answer: Response, cut: Cutter) -> None:
        super().__init__()
        self._answer, self._cut = answer, cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send the head and half of the body, then cut the connection."""
        answer = self._answer
        body = bytes(answer.body)
        await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        self._cut(scope, flush=True)


class SlowAnswer(Response):
    """An answer whose body arrives in pieces, with pauses between them."""

    def __init__(self, answer: Response, pause: float) -> None:
        super().__init__()
        self._answer, self._pause = answer, pause

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send the answer piece by piece."""
        answer = self._answer
        body = bytes(answer.body)
        size = max(1, -(-len(body) // _PIECES))
        await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
        for start in range(0, len(body), size):
            await asyncio.sleep(self._pause)
            await send({"type": "http.response.body", "body": body[start : start + size], "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class SlowHead(Response):
    """An answer whose headers arrive byte by byte, with a pause after each. The connection ends after the body."""

    def __init__(self, answer: Response, pause: float, write: Writer, cut: Cutter) -> None:
        super().__init__()
        self._answer, self._pause, self._write, self._cut = answer, pause, write, cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send the answer past ASGI, which sends a head in one piece."""
        answer = self._answer
        lines = [b"HTTP/1.1 %d Slow" % answer.status_code]
        lines += [b"%b: %b" % header for header in (*answer.raw_headers, (b"connection", b"close"))]
        for byte in b"\r\n".join([*lines, b"", b""]):
            if not self._write(scope, bytes([byte])):
                return
            await asyncio.sleep(self._pause)
        self._write(scope, bytes(answer.body))
        self._cut(scope, flush=True)


class FileAnswer(Response):
    """A file, or a part of it, read piece by piece while it is sent."""

    def __init__(
        self, path: Path, span: range, *, patches: Mapping[int, bytes], headers: Mapping[str, str], status: int
    ) -> None:
        """Set up the answer.

        Args:
            path: The file.
            span: The bytes of the file that are sent.
            patches: What stands in the file at some offsets instead of what is written there.
            headers: Headers of the answer.
            status: Its status.
        """
        super().__init__(b"", status, dict(headers), media_type="application/octet-stream")
        self.headers["Content-Length"] = str(len(span))
        self._path, self._span, self._patches = path, span, patches
        self._cut: Cutter | None = None

    def cut_in_the_middle(self, cut: Cutter) -> FileAnswer:
        """Return the same answer, cut after half of its bytes."""
        self._cut = cut
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send the file."""
        start, stop = self._span.start, self._span.stop
        if self._cut is not None:
            stop -= len(self._span) // 2
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        with self._path.open("rb") as file:
            file.seek(start)
            while start < stop:
                data = bytearray(file.read(min(_PIECE, stop - start)))
                for offset, patch in self._patches.items():
                    for place, byte in enumerate(patch, offset - start):
                        if 0 <= place < len(data):
                            data[place] = byte
                start += len(data)
                await send({"type": "http.response.body", "body": bytes(data), "more_body": True})
        if self._cut is not None:
            self._cut(scope, flush=True)
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})
