"""A tiny Reports API with one report, made beforehand: what the tap is measured against takes next to no time itself.

It answers what the tap asks for: pages without records, reports taken on and finished at once, and the file of the
report for one direction. The other direction's report has no rows.
"""

from __future__ import annotations

import json
import shutil
import threading
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

DIRECTION = "outbound"
EMPTY_PAGE = b'{"request_status": "SUCCESS", "items_count": 0, "records": []}'


class Report(NamedTuple):
    """A report: its file, how many rows it has, and the sum of their prices, exact."""

    path: Path
    rows: int
    total_price: str


class Canned:
    """The server, for the length of a `with` block.

    Attributes:
        report: The report that it serves.
        now: The time that it tells.
        requests: How many requests there were.
    """

    def __init__(self, report: Report, now: datetime) -> None:
        """Set up the server; it listens from here on, and answers in the `with` block.

        Args:
            report: The report that it serves.
            now: The time that it tells.
        """
        self.report = report
        self.now = now
        self.requests = 0
        handler = type("Handler", (_Handler,), {"canned": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05], name="canned", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def body_of(self, request_id: str) -> dict[str, Any]:
        """A report as its state is told: finished, with a file where it has rows."""
        rows = self.report.rows if request_id == DIRECTION else 0
        links = {"download_report": {"href": f"{self.url}/v3/media/{request_id}"}} if rows else {}
        return {"request_id": request_id, "request_status": "SUCCESS", "items_count": rows, "_links": links}

    def id_of(self, body: Mapping[str, Any]) -> str:
        """The id of a report that is requested: its direction."""
        return str(body.get("direction", "all"))

    def page_of(self, query: Mapping[str, str]) -> bytes:  # noqa: ARG002 - for servers with rows
        """A page of records: an empty one."""
        return EMPTY_PAGE

    def subaccounts(self) -> list[str]:
        """The keys of the primary account's sub-accounts."""
        return []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    canned: ClassVar[Canned]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        """Answer with a page, the state of a report, or its file."""
        path, _, query = self.path.partition("?")
        place, _, name = path.rpartition("/")
        if place == "/v3/media":
            self._send_file(self.canned.report.path)
        elif path == "/v2/reports/records":
            self._send_content(self.canned.page_of(dict(parse_qsl(query))))
        elif path == "/v2/reports":
            self._send({"reports": []})
        elif place == "/v2/reports":
            self._send(self.canned.body_of(name))
        elif name == "subaccounts":
            keys = self.canned.subaccounts()
            self._send({"_embedded": {"subaccounts": [{"api_key": key} for key in keys]}})
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        """Take a report on."""
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._send({"request_id": self.canned.id_of(content), "request_status": "PENDING"})

    def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002 - the base class's signature
        """The time for the header `Date`."""
        return format_datetime(self.canned.now, usegmt=True)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the base class's signature
        """Say nothing."""

    def _send(self, body: dict[str, Any]) -> None:
        self._send_content(json.dumps(body).encode())

    def _send_content(self, content: bytes) -> None:
        self._send_head("application/json", len(content))
        self.wfile.write(content)

    def _send_file(self, path: Path) -> None:
        self._send_head("application/octet-stream", path.stat().st_size)
        with path.open("rb") as file:
            shutil.copyfileobj(file, self.wfile, 1 << 20)

    def _send_head(self, kind: str, length: int) -> None:
        self.canned.requests += 1
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()
