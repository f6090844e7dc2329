"""target-postgres, as the project installs it, on the server of the tests' session (tests/conftest.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TARGET = Path(sys.executable).with_name("target-postgres")


def load(server: str, folder: Path, lines: Iterable[bytes], **settings: Any) -> None:
    """Give messages to the target.

    Args:
        server: The server's address.
        folder: Where its configuration goes.
        lines: The messages.
        settings: Its settings beside the address.
    """
    config = folder / "target.json"
    address = server.replace("postgresql:", "postgresql+psycopg:", 1)
    config.write_text(json.dumps({"sqlalchemy_url": address, **settings}))
    done = subprocess.run(  # noqa: S603 - from above
        [TARGET, "--config", config],
        input=b"".join(line if line.endswith(b"\n") else line + b"\n" for line in lines),
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]


def records(stream: str, rows: Iterable[Mapping[str, Any]], schema: Mapping[str, Any]) -> list[bytes]:
    """The messages of a stream with these rows."""
    head = {"type": "SCHEMA", "stream": stream, "schema": dict(schema), "key_properties": schema["required"]}
    messages = [head, *({"type": "RECORD", "stream": stream, "record": dict(row)} for row in rows)]
    return [json.dumps(message, default=_plain).encode() for message in messages]


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else float(value)
