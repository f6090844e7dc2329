"""The caller's context of a request: its priority, its cancellation, and the metrics that count it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from tap_vonage_reports.metrics import FetchMetrics


class RequestCancelled(Exception):  # noqa: N818 - not an error: the caller no longer wants the answer
    """The caller cancelled the request while it waited."""


class CancelToken:
    """A switch that ends all waits of a request, thrown from any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()

    @property
    def cancelled(self) -> bool:
        """True once `cancel` was called."""
        return self._event.is_set()

    def cancel(self) -> None:
        """End the current wait and every later one."""
        self._event.set()

    def pause(self, seconds: float) -> None:
        """Wait.

        Args:
            seconds: How long. With 0, only check the token.

        Raises:
            RequestCancelled: The token was cancelled before or during the wait.
        """
        if self._event.wait(seconds):
            raise RequestCancelled


@dataclass(eq=False)
class RequestContext:
    """The caller's side of a request: priority, cancellation, metrics.

    Attributes:
        priority: Of all requests that wait for the rate limit, the one with the lowest priority is sent first. The
            owner may change it between two requests.
        cancel_token: Ends the waits of the request.
        metrics: Counts the request and its price.
    """

    priority: tuple[int, int] = (0, 0)
    cancel_token: CancelToken = field(default_factory=CancelToken)
    metrics: FetchMetrics = field(default_factory=FetchMetrics)
