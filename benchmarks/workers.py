"""Runs commands at once, each with its standard output in a file `worker-N`, and waits for all of them.

A program of its own (`python workers.py FOLDER FILE`), so that the commands count as one: FILE is a JSON list of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path


def main(folder: str, file: str) -> int:
    """Run the commands.

    Returns:
        The first exit code that is not 0, if there is one.
    """
    with ExitStack() as stack:
        processes = [
            subprocess.Popen(command, stdout=stack.enter_context(Path(folder, f"worker-{number}").open("wb")))  # noqa: S603 - ours
            for number, command in enumerate(json.loads(Path(file).read_text("utf-8")))
        ]
        codes = [process.wait() for process in processes]
    return next(filter(None, codes), 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
