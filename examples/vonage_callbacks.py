"""Receive the callbacks of Vonage's reports, and keep one file for each, so that an orchestrator can start a run.

    python vonage_callbacks.py          listen on http://127.0.0.1:8090/TOKEN

A callback only says that a report of an account is ready, and the tap asks the API itself. So all that a forged one
could do is to start a run, and the token in the path prevents that. It is set up by the environment: see `Setup`.
"""

# ruff: noqa: INP001 - a program to copy, not a package

from __future__ import annotations

import argparse
import hmac
import json
import logging
import os
import re
import sys
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Iterable

logger = logging.getLogger("vonage_callbacks")

LOOPBACK, PORT = "127.0.0.1", 8090
MIN_TOKEN_CHARACTERS = 16
MAX_BODY_BYTES = 65_536
TIMEOUT_SECONDS = 10
ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""A report's ID. It becomes the name of a file."""


@dataclass(frozen=True)
class Setup:
    """The settings from the environment.

    Attributes:
        folder: VONAGE_CALLBACKS, the folder of the callbacks; receiver and orchestrator have to see it.
        token: VONAGE_CALLBACK_TOKEN, the last part of the path of report_callback_url.
    """

    folder: Path = Path("callbacks")
    token: str = ""

    @classmethod
    def read(cls) -> Setup:
        """Read the settings from the environment, with defaults."""
        given = os.environ
        return cls(Path(given.get("VONAGE_CALLBACKS", cls.folder)), given.get("VONAGE_CALLBACK_TOKEN", cls.token))


class Inbox:
    """The callbacks that no run was started for: a file for each report, named by its ID, with its account."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, which may not be there yet."""
        self._folder = folder

    def add(self, report: str, account: str) -> None:
        """Keep a callback, in one step. A second one of the same report replaces the first."""
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._folder / f"{uuid4().hex}.unfinished"  # of its own, because two of a report may come together
        draft.write_text(account, encoding="utf-8")
        draft.replace(self._folder / f"{report}.callback")

    def accounts(self) -> dict[str, str]:
        """Return the account of each report, by the report's ID."""
        return {path.stem: path.read_text(encoding="utf-8") for path in sorted(self._folder.glob("*.callback"))}

    def remove(self, reports: Iterable[str]) -> None:
        """Forget the callbacks of reports."""
        for report in reports:
            (self._folder / f"{report}.callback").unlink(missing_ok=True)


class Handler(BaseHTTPRequestHandler):
    """Keeps what is posted to the path that ends in the token."""

    timeout = TIMEOUT_SECONDS
    token: ClassVar[str]
    inbox: ClassVar[Inbox]

    def do_POST(self) -> None:
        """Answer a callback."""
        self.send_response(self._status())
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _status(self) -> HTTPStatus:
        """Keep the callback if it is one, and return the status of the answer."""
        given = urlsplit(self.path).path.rpartition("/")[2]
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            return HTTPStatus.NOT_FOUND
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            return HTTPStatus.LENGTH_REQUIRED
        if int(length) > MAX_BODY_BYTES:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        try:
            body = json.loads(self.rfile.read(int(length)))
            report, account = (body[name] for name in ("request_id", "account_id"))
            is_valid = bool(ID.fullmatch(report) and ID.fullmatch(account))
        except (ValueError, LookupError, TypeError, RecursionError):
            is_valid = False
        if not is_valid:
            return HTTPStatus.BAD_REQUEST
        self.inbox.add(report, account)
        logger.info("Report %s is ready", report)
        return HTTPStatus.NO_CONTENT

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Log no request line: its path contains the token."""


def server(setup: Setup, host: str = LOOPBACK, port: int = PORT) -> ThreadingHTTPServer:
    """Return the receiver, which listens already.

    Raises:
        ValueError: The token is missing or could be guessed.
        OSError: The port cannot be opened.
    """
    if len(setup.token) < MIN_TOKEN_CHARACTERS or not ID.fullmatch(setup.token):
        message = (
            f"VONAGE_CALLBACK_TOKEN must have at least {MIN_TOKEN_CHARACTERS} letters, digits, - or _. Generate one "
            "with python -c 'import secrets; print(secrets.token_urlsafe(32))'."
        )
        raise ValueError(message)
    members = {"token": setup.token, "inbox": Inbox(setup.folder)}
    return ThreadingHTTPServer((host, port), type("SetUpHandler", (Handler,), members))


def main() -> None:
    """Listen until the program is stopped."""
    parser = argparse.ArgumentParser(description="Receives the callbacks of Vonage's reports.")
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=PORT, help="port to listen on (default: %(default)s)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        receiver = server(Setup.read(), options.host, options.port)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    host, port = receiver.server_address[:2]
    logger.info("Listening on http://%s:%d", host, port)
    try:
        receiver.serve_forever()
    except KeyboardInterrupt:
        receiver.server_close()


if __name__ == "__main__":
    main()
