"""SIGINT and SIGTERM: handlers, and a watchdog that ends the process in time even if the main thread is stuck."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
EXIT_WITHIN_SECONDS = 1.8
"""Time for a clean end after a signal: less than the two seconds that the tap promises."""


class Interrupted(BaseException):
    """SIGTERM or Ctrl-C. Like KeyboardInterrupt it is no Exception, so that no handler of failures catches it.

    Attributes:
        exit_code: The exit code of the process: 128 and the number of the signal.
        arrived: True once the code that ends the run has caught it. Python discards an exception that is raised while
            it finalizes an object, so until then every message raises it again.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum
        self.arrived = False


@contextmanager
def install_handlers(handler: Callable[[int, FrameType | None], None]) -> Generator[None, None, None]:
    """Handle SIGINT and SIGTERM for the length of a `with` block. Outside the main thread, it has no effect.

    Python calls a handler when the main thread returns from a blocking call, and a DNS lookup or a full pipe may never
    let it return. So another thread watches for signals, too, and ends the process if it still runs after
    `EXIT_WITHIN_SECONDS`.

    Args:
        handler: Called with the number of the signal and the current frame of the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    receiver, sender = socket.socketpair()
    sender.settimeout(0)
    threading.Thread(target=_exit_after_signal, args=(receiver,), name="last-resort", daemon=True).start()
    with sender:
        previous_descriptor = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        previous_handlers = {signum: signal.signal(signum, handler) for signum in STOP_SIGNALS}
        previous_hook, sys.unraisablehook = sys.unraisablehook, _hide_interrupted
        try:
            yield
        finally:
            sys.unraisablehook = previous_hook
            for signum, previous in previous_handlers.items():
                signal.signal(signum, previous)
            signal.set_wakeup_fd(previous_descriptor)


def _hide_interrupted(unraisable: sys.UnraisableHookArgs) -> None:
    """Print no traceback of a signal that arrived while Python finalized an object."""
    if not isinstance(unraisable.exc_value, Interrupted):
        sys.__unraisablehook__(unraisable)


def _exit_after_signal(receiver: socket.socket) -> None:
    """Wait for a stop signal, or for the end of the block, which closes the other end of the socket."""
    with receiver:
        while (received := receiver.recv(1)) and received[0] not in STOP_SIGNALS:
            """Another signal, which has a handler of its own."""
        if received:
            time.sleep(EXIT_WITHIN_SECONDS)  # with the socket open, or Python would log that a further signal fails
            os._exit(128 + received[0])


def without_handlers(call: Callable[[], object]) -> None:
    """Call a function that installs signal handlers in the main thread, from another thread.

    When a tap is made, the SDK installs handlers that write a state that is not loaded yet, and exit with 0.

    Args:
        call: The function. Its exceptions pass.
    """
    with ThreadPoolExecutor(max_workers=1) as another:
        another.submit(call).result()
