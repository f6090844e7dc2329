"""A live progress bar on a terminal, with the lines of the log above it."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, TextIO

from tqdm import tqdm
from tqdm.contrib import DummyTqdmFile

from tap_vonage_reports.redaction import all_handlers

if TYPE_CHECKING:
    from tap_vonage_reports.progress.figures import Figures

BAR_FORMAT = "{percentage:3.0f}%|{bar:10}| {desc}"
WHOLE = 100


class TerminalBar:
    """Shows progress as a live bar, without a thread of its own."""

    interval_seconds = 0.5

    def __init__(self, terminal: TextIO) -> None:
        """Show an empty bar.

        Args:
            terminal: Where to show it. Log lines to the same terminal appear above it from now on.
        """
        tqdm.monitor_interval = 0  # otherwise a thread would redraw bars
        tqdm.set_lock(threading.RLock())  # the default lock is for several processes, and needs a semaphore
        self._bar = tqdm(
            total=WHOLE, desc="starting", file=terminal, bar_format=BAR_FORMAT, dynamic_ncols=True, leave=False
        )
        self._redirected = [
            handler
            for handler in all_handlers()
            if isinstance(handler, logging.StreamHandler) and handler.stream is terminal
        ]
        self._terminal = terminal
        for handler in self._redirected:
            handler.setStream(DummyTqdmFile(terminal))

    def show(self, figures: Figures) -> None:
        """Redraw the bar."""
        self._bar.n = figures.percent
        text = ", ".join(filter(None, [figures.time_left, figures.details]))
        self._bar.set_description_str(text, refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        """Remove the bar, and let the log write to the terminal again."""
        self._bar.close()
        for handler in self._redirected:
            handler.setStream(self._terminal)
