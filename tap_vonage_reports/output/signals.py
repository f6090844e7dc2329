"""SIGINT and SIGTERM: who handles them, and that the process ends soon after one, whatever its main thread does."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM)
EXIT_WITHIN_SECONDS = 1.8


class Interrupted(BaseException):
    """SIGTERM or Ctrl-C. Like KeyboardInterrupt it is no Exception, so that nothing takes it for a failure.

    Attributes:
        exit_code: What the process should end with.
        arrived: Whether who ends the run has got it. Python drops what is raised while it clears an object away.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum
        self.arrived = False


@contextmanager
def handled(handler: Callable[[int, FrameType | None], None]) -> Generator[None, None, None]:
    """Handle SIGINT and SIGTERM for the length of a block; only the main thread can.

    Python calls a handler when the main thread has come back from whatever it waits in, and a look-up of a name, or the
    reader of a full pipe, may keep it there. So another thread is told of the signal, too, and ends the process
    when it has not ended by itself after `EXIT_WITHIN_SECONDS`.

    Args:
        handler: Gets the number of the signal, and where the main thread was.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    receiver, sender = socket.socketpair()
    sender.settimeout(0)
    threading.Thread(target=_end_soon_after_a_signal, args=(receiver,), name="last-resort", daemon=True).start()
    with sender:
        told = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, handler) for number in ENDING}
        try:
            yield
        finally:
            for number, earlier in before.items():
                signal.signal(number, earlier)
            signal.set_wakeup_fd(told)


def _end_soon_after_a_signal(receiver: socket.socket) -> None:
    with receiver:
        while (came := receiver.recv(1)) and came[0] not in ENDING:
            """Another signal: who handles that has asked for it."""
    if came:
        time.sleep(EXIT_WITHIN_SECONDS)
        os._exit(128 + came[0])


def without_handlers(call: Callable[[], object]) -> None:
    """Call something that sets handlers if it can; only the main thread can, so that another one calls it.

    The SDK sets its own when a tap is made: they write the state, which is not there yet, and end with exit code 0.
    """
    with ThreadPoolExecutor(max_workers=1) as another:
        another.submit(call).result()
