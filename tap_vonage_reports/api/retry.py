"""Retry policy: how many times a failed request is retried, and how long to wait before each retry."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import backoff

from tap_vonage_reports.errors import (
    ConnectionFailedError,
    ConnectionRefusedByHostError,
    RetriableApiError,
    UndecodableBodyError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tap_vonage_reports.api.request_context import CancelToken
    from tap_vonage_reports.errors import TapError

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetryPolicy:
    """When a request that failed with a `RetriableApiError` is tried again.

    Waits are 1, 2, 4, ... seconds, or what the API asks for (`Retry-After`) if that is longer, plus up to a second of
    jitter.

    Attributes:
        max_tries: Tries in all, the first one included.
        max_wait_seconds: Where the growth of the waits ends. A longer `Retry-After` is still honored.
        budget_seconds: No retry after so many seconds of trying and waiting, and none if `Retry-After` alone is longer.
        delay_factor: Scale of all waits, for tests.
    """

    max_tries: int = 8
    max_wait_seconds: float = 60
    budget_seconds: float = 900
    delay_factor: float = 1

    def call(self, attempt: Callable[[], T], cancel_token: CancelToken) -> T:
        """Run one attempt after another until one succeeds, and log each retry.

        Args:
            attempt: Sends the request once.
            cancel_token: Ends the waits between attempts.

        Returns:
            What the successful attempt returned.

        Raises:
            RetriableApiError: The last attempt failed as well.
            TapError: An attempt failed with an error that is not retried.
            RequestCancelled: The token was cancelled.
        """
        failures: Counter[type[Exception]] = Counter()

        def is_final(error: Exception) -> bool:
            failures[type(error)] += 1
            return failures[type(error)] >= self._tries_of(error) or (
                isinstance(error, RetriableApiError) and self._asks_too_long(error)
            )

        def pause(details: Mapping[str, Any]) -> None:
            tries, error = details["tries"], details["exception"]
            seconds = self.delay_seconds(tries, error)
            logger.warning("%s. Try %d of %d in %.1f s", error.reason, tries + 1, self._tries_of(error), seconds)
            cancel_token.pause(seconds)

        retried = backoff.on_exception(
            # The library's own waits cannot be cancelled, so it gets none: `pause` waits instead.
            backoff.constant,
            RetriableApiError,
            interval=0,
            jitter=None,
            max_tries=self.max_tries,
            max_time=self.budget_seconds,
            giveup=is_final,
            on_backoff=pause,
            logger=None,
        )(attempt)
        return retried()

    def delay_seconds(self, failures: int, error: RetriableApiError) -> float:
        """Return how long to wait before the next try, jitter included.

        Args:
            failures: Failed tries in a row, at least 1.
            error: The last one.
        """
        grown = next(islice(backoff.expo(max_value=self.max_wait_seconds), failures, None))
        return backoff.random_jitter(max(grown, error.retry_after)) * self.delay_factor

    def gives_up(self, failures: int, error: RetriableApiError, elapsed_seconds: float = 0) -> bool:
        """Return True if there is no further try, for a caller that schedules the tries by itself.

        Args:
            failures: Failed tries in a row.
            error: The last one.
            elapsed_seconds: Time since the first one began.
        """
        return failures >= self.max_tries or elapsed_seconds >= self.budget_seconds or self._asks_too_long(error)

    def _tries_of(self, error: Exception) -> int:
        """Return how often a request is tried that fails with the same kind of error each time."""
        return min(self.max_tries, FEW_TRIES.get(type(error), self.max_tries))

    def _asks_too_long(self, error: RetriableApiError) -> bool:
        return error.retry_after > self.budget_seconds


FEW_TRIES: Mapping[type[Exception], int] = {UndecodableBodyError: 2, ConnectionRefusedByHostError: 4}
"""Tries of a request that fails in a way that will hardly pass: the same body again, or a wrong address."""
ONE_TRY = RetryPolicy(max_tries=1)
"""No retry: the caller tries again by itself, later."""


def final_error(error: RetriableApiError) -> TapError:
    """Return the error that the last of several failed tries becomes.

    Returns:
        An `UnreachableError`, which ends the run, if there was no connection; else the error itself.
    """
    if isinstance(error, ConnectionFailedError):
        return UnreachableError(f"{error.reason}: the API cannot be reached. Check api_url and the network.")
    return error
