"""Renderers of progress: a live bar on a terminal, a line a minute in the log elsewhere."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tap_vonage_reports.progress.figures import Figures

logger = logging.getLogger(__name__)

LOG_EVERY_SECONDS = 60.0
SET_BY_MELTANO = "MELTANO_EXTRACTOR_NAME"
"""A variable that Meltano sets for every extractor. It puts a time before each line of its plugins."""


class Renderer(Protocol):
    """A way to show progress.

    Attributes:
        interval_seconds: How often to show it.
    """

    interval_seconds: float

    def show(self, figures: Figures) -> None:
        """Show the progress."""

    def close(self) -> None:
        """Stop showing progress."""


class LogLines:
    """Shows progress as one line a minute in the log."""

    interval_seconds = LOG_EVERY_SECONDS

    def show(self, figures: Figures) -> None:
        """Log the progress."""
        time_left = f", {figures.time_left}" if figures.time_left else ""
        share = f"{figures.percent}%"
        logger.info("progress: read %s of %s%s (%s)", share, figures.days, time_left, figures.details)

    def close(self) -> None:
        """Do nothing: log lines need no cleanup."""


def new_renderer() -> Renderer:
    """Return the renderer for this process: a live bar on a terminal, unless the log level hides progress."""
    if not (logger.isEnabledFor(logging.INFO) and has_terminal(sys.stdout, sys.stderr, os.environ)):
        return LogLines()
    from tap_vonage_reports.progress.bar import TerminalBar  # noqa: PLC0415 - importing it takes a tenth of a second

    return TerminalBar(sys.stderr)


def has_terminal(stdout: TextIO | None, stderr: TextIO | None, environment: Mapping[str, str]) -> bool:
    """Return True if a live bar can be shown.

    Args:
        stdout: Standard output, if there is one. Messages on the same terminal would run into the bar.
        stderr: Standard error, if there is one.
        environment: The environment variables.
    """
    if SET_BY_MELTANO in environment or environment.get("TERM") == "dumb":
        return False
    return _width(stderr) > 0 and not _width(stdout)


def _width(stream: TextIO | None) -> int:
    """Return how many columns a terminal has; 0 if the stream is none, or if that is unknown."""
    try:
        return os.get_terminal_size(stream.fileno()).columns if stream else 0
    except (OSError, ValueError):
        return 0
