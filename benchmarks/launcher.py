"""Starts commands, one piping into the next, waits for them, and says what they took.

A program of its own, and a tiny one (`python -I -S launcher.py`): the peak memory that the system reports for a
process is never below that of the process that started it. It does nothing until all commands have ended, so that it
takes no time from them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

assert sys.platform != "win32", "it takes a system that has wait4"  # noqa: S101 - type checkers understand it

PEAK_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in the unit of `ru_maxrss`."""
WRITABLE = os.O_WRONLY | os.O_CREAT | os.O_APPEND


def main() -> None:
    """Do the task on standard input, and write its result to standard output."""
    json.dump(launch(json.load(sys.stdin)), sys.stdout)


def launch(task: dict[str, Any]) -> dict[str, Any]:
    """Run commands.

    Args:
        task: `commands`, each a list of words; `environment`; and the paths `stdout`, where the last one's output
            goes, and `stderr`, where all write their logs.

    Returns:
        `wall`, the seconds from the first start to the last end; and of each command, with its descendants: `codes`,
        its exit code; `cpu`, its seconds of user and system time; `peaks`, the resident bytes of its largest process.
    """
    errors = os.open(task["stderr"], WRITABLE)
    ends = [os.open(os.devnull, os.O_RDONLY)]
    for _ in task["commands"][1:]:
        source, sink = os.pipe()
        ends += [sink, source]
    ends.append(os.open(task["stdout"], WRITABLE))
    started = time.perf_counter()
    processes = []
    for command, source, sink in zip(task["commands"], ends[::2], ends[1::2], strict=True):
        streams = [(os.POSIX_SPAWN_DUP2, end, place) for place, end in enumerate((source, sink, errors))]
        processes.append(os.posix_spawnp(command[0], command, task["environment"], file_actions=streams))
    for end in ends:
        os.close(end)
    ended = [os.wait4(process, 0) for process in processes]
    return {
        "wall": time.perf_counter() - started,
        "codes": [os.waitstatus_to_exitcode(status) for _, status, _ in ended],
        "cpu": [usage.ru_utime + usage.ru_stime for _, _, usage in ended],
        "peaks": [usage.ru_maxrss * PEAK_UNIT for _, _, usage in ended],
    }


if __name__ == "__main__":
    main()
