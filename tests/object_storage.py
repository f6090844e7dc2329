"""S3 on this machine: moto's server, in an environment and a process of its own."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.environments import environment

if TYPE_CHECKING:
    from collections.abc import Generator

REQUIREMENTS = ("moto[s3]==5.2.5", "flask>=3", "flask-cors>=5")
SERVER = """
import sys
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
server.start()
print(*server.get_host_and_port(), sep=":", flush=True)
sys.stdin.read()
server.stop()
"""
"""Says where it listens, and goes on until its standard input ends: with the test, however that ends."""


@contextmanager
def object_storage() -> Generator[str, None, None]:
    """Start the server.

    Yields:
        Its address. It takes any credentials, and has no bucket yet: PUT makes one.
    """
    python = environment("moto", REQUIREMENTS) / "python"
    with subprocess.Popen(  # noqa: S603 - from above
        [python, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, "the server did not start"
        yield f"http://{address}"
        process.communicate()
