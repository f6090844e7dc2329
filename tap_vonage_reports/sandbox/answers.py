"""Answers as they go over the wire, the ones that break on the way too."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_PIECES = 8

GATEWAY_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n"
    b"<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
)


class Cutter(Protocol):
    """Cuts the connection of a request."""

    def __call__(self, scope: Scope, /, *, flush: bool) -> None:
        """Cut it; `flush` sends what was written before."""


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
    """An answer whose body drips in pieces with a pause between two."""

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
