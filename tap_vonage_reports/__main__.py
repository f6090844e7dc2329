"""The command `tap-vonage-reports` (or `python -m tap_vonage_reports`): handles Ctrl-C, then loads the tap.

Importing the tap and the SDK takes a second, so this module imports only the standard library.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType

SWITCH_SECONDS = 0.0005
"""How long a thread that reads ahead may wait for Python's lock, between two calls that do not need it. Python's 5 ms
would be longer than these calls."""


def main() -> NoReturn:
    """Run the command and exit with its code. Ctrl-C never prints a traceback."""
    handles_ctrl_c = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not in a background job
    if handles_ctrl_c:
        signal.signal(signal.SIGINT, _exit_now)

    gc.disable()  # what is imported stays, so there is nothing to collect
    from tap_vonage_reports.cli import run  # noqa: PLC0415 - see the module's docstring

    gc.freeze()
    gc.enable()
    sys.setswitchinterval(SWITCH_SECONDS)
    code = run()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    if handles_ctrl_c:
        # While the interpreter shuts down, a Python handler runs too late or not at all.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.freeze()  # the system frees the memory of a process faster than a last collection
    sys.exit(code)


def _exit_now(signum: int, _frame: FrameType | None) -> NoReturn:
    """End the process. A run has a handler of its own; outside a run, there is no state to write.

    KeyboardInterrupt would not do: inside a lock of the standard library it shows as a RuntimeError.
    """
    os._exit(128 + signum)


if __name__ == "__main__":
    main()
