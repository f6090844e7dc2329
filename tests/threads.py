"""Counting threads, also those that `threading` does not know."""

from __future__ import annotations

import _thread
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

WAIT_SECONDS = 10


@contextmanager
def no_new_threads() -> Generator[None, None, None]:
    """Check that all threads that start in the `with` block have ended, or end in a moment."""
    before = _thread._count()  # noqa: SLF001 - there is no public name
    yield
    deadline = time.monotonic() + WAIT_SECONDS
    while _thread._count() > before and time.monotonic() < deadline:  # noqa: SLF001
        time.sleep(0.001)
    assert _thread._count() <= before  # noqa: SLF001
