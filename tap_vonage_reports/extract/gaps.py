"""Gaps: windows that a run leaves out because they cannot be read, so that they do not block later ones."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tap_vonage_reports.errors import ConsecutiveGapsError
from tap_vonage_reports.plurals import counted

if TYPE_CHECKING:
    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.intervals import TimeWindow

logger = logging.getLogger(__name__)

MAX_GAPS_IN_A_ROW = 3
"""After this many failed windows in a row, the cause is not the windows, and the partition ends."""


@dataclass(frozen=True)
class ReadFailure:
    """A window, or a lookup of rows by their ids, that could not be read.

    Attributes:
        reason: What went wrong, and what to do.
        window: The window; None for a lookup, whose ids stay in the state.
        id_count: How many ids were looked up.
    """

    reason: str
    window: TimeWindow | None = None
    id_count: int = 0

    def __str__(self) -> str:
        """Return what failed, for a log line."""
        return str(self.window) if self.window else f"lookup of {counted(self.id_count, 'row')}"


def leave_gap(sync: PartitionSync, failure: ReadFailure) -> None:
    """Leave out what could not be read; the partition continues after it.

    Raises:
        ConsecutiveGapsError: It was one of several in a row.
    """
    result = sync.result
    logger.error("%s: left out %s. %s", sync.partition, failure, failure.reason)
    result.gaps.append(f"{failure}: {failure.reason}")
    if failure.window:
        sync.bookmark.leave_gap(failure.window)
        result.pass_over(failure.window)
    result.gaps_in_a_row += 1
    if result.gaps_in_a_row >= MAX_GAPS_IN_A_ROW:
        raise ConsecutiveGapsError(MAX_GAPS_IN_A_ROW)
