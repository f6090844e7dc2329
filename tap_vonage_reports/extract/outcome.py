"""The outcome of reading a partition or a whole table: recorded for the summary, and logged if it failed."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tap_vonage_reports.errors import ApiError, ProductUnavailableError
from tap_vonage_reports.metrics import SyncStatus, left_out

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tap_vonage_reports.metrics import PartitionResult, RunResults

logger = logging.getLogger(__name__)


@contextmanager
def recorded(
    results: RunResults, result: PartitionResult, was_read: Callable[[], bool] = lambda: False
) -> Generator[None, None, None]:
    """Read in a `with` block, and record how that ends.

    A failure that concerns this partition alone is logged, kept for the summary, and lets the others go on.

    Args:
        results: The results of the run.
        result: The result to fill in.
        was_read: Returns True if an earlier run has read something: then a refusal is a failure, and is not skipped.

    Raises:
        FatalApiError: The API cannot be used at all.
    """
    started = time.monotonic()
    results.append(result)
    try:
        yield
        result.end()
    except GeneratorExit:  # --test=records has seen what it wants
        result.end()
        raise
    except ApiError as error:
        # The first gap says more than that there were several.
        result.reason = f"{left_out(len(result.gaps))}. {result.gaps[0]}" if result.gaps else str(error)
        if isinstance(error, ProductUnavailableError) and not (was_read() or result.gaps):
            result.status = SyncStatus.SKIPPED
            logger.warning("%s: skipped. %s", result.partition, error)
        else:
            logger.error("%s: %s", result.partition, error)
    finally:
        result.seconds = time.monotonic() - started
