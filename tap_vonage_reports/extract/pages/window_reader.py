"""Reads the windows of one partition from first page to last, and recovers from failed cursors and windows.

The lifetime of a cursor is not documented [unknown]. So a walk that fails at a cursor restarts once, at the first page
of its window. If that walk fails at a cursor too, the window is halved, and later windows are no longer than that.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from tap_vonage_reports.errors import (
    ApiError,
    CredentialsRevokedError,
    RateLimitedError,
    RequestRejectedError,
    RetriableApiError,
    UndecodableBodyError,
    WindowInFutureError,
)
from tap_vonage_reports.extract.gaps import ReadFailure
from tap_vonage_reports.extract.pages.pagination import iter_pages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_vonage_reports.api.client import ReportsClient
    from tap_vonage_reports.api.request_context import RequestContext
    from tap_vonage_reports.extract.pages.pagination import Page
    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.intervals import TimeWindow
    from tap_vonage_reports.state.values import PageCursor

logger = logging.getLogger(__name__)


def read_window(
    client: ReportsClient, sync: PartitionSync, window: TimeWindow, resume: PageCursor | None, context: RequestContext
) -> Iterator[Page | ReadFailure]:
    """Read a window page by page.

    Args:
        client: The API.
        sync: The partition. Only what never changes is used of it, and its window limit.
        window: What to read.
        resume: The page of this window to resume at.
        context: How urgent the requests are, what cancels them, and where they are counted.

    Yields:
        Pages in the API's order, each of the window that it names: this one or a part of it. The last one of a window
        has `is_last` set. A failure stands for the rest of a window that cannot be read.

    Raises:
        ApiError: The whole partition cannot be read.
    """
    walks = _Walks(client, sync, context)
    if resume:
        try:
            yield from walks.pages(window, resume)
        except RateLimitedError as error:
            yield ReadFailure(str(error), window)
            return
        except ApiError as error:
            # Whatever is wrong with the cursor of an earlier run, with HTTP 401 too: the window may be read without it.
            walks.has_restarted = True
            logger.warning("%s: restarting %s, which cannot be resumed. %s", sync.partition, window, error)
        else:
            return
    coming = deque([window])
    while coming:
        piece, *others = sync.window_limit.split(coming.popleft())
        coming.extendleft(reversed(others))
        try:
            yield from walks.pages(piece)
        except ApiError as error:
            if walks.may_retry(piece, error):
                coming.appendleft(piece)
            elif error.leaves_gap:
                yield ReadFailure(walks.reason(error), piece)
            else:
                raise


class _Walks:
    """The walks through one window, and what the earlier ones have fetched.

    Attributes:
        has_restarted: True once a walk was abandoned.
    """

    def __init__(self, client: ReportsClient, sync: PartitionSync, context: RequestContext) -> None:
        self.has_restarted = False
        self._client = client
        self._sync = sync
        self._context = context
        self._pages = 0
        self._known = 0
        """Rows that abandoned walks have fetched and that are not refetched yet."""

    def pages(self, window: TimeWindow, resume: PageCursor | None = None) -> Iterator[Page]:
        """Walk through the pages of a window."""
        self._pages, rows, done = 0, resume.rows_read if resume else 0, False
        try:
            for page in iter_pages(self._client, self._sync.query, window, resume, self._context, known=self._known):
                self._pages += 1
                rows += len(page.records) + page.repeated
                yield replace(page, rows_read=rows, is_restarted=self.has_restarted)
            done = True
        finally:
            self._known = max(0, self._known - rows) if done else max(self._known, rows)

    def may_retry(self, window: TimeWindow, error: ApiError) -> bool:
        """Return True if a window is worth another walk: the second one of all, or one through half of it."""
        cause, partition, limit = self._refusal(error), self._sync.partition, self._sync.window_limit
        if not cause:
            return False
        if not self.has_restarted and limit.length is None:
            self.has_restarted = True
            logger.warning("%s: restarting %s, whose cursor failed (%s)", partition, window, cause)
            return True
        if not limit.halve(window):
            return False
        logger.warning("%s: halving %s, which outlives its cursors (%s)", partition, window, cause)
        return True

    def reason(self, error: ApiError) -> str:
        """Return why a window is left out, and what to do."""
        if cause := self._refusal(error):
            return (
                f"The API refuses its own cursors in this window, however short it is ({cause}). The next run tries "
                "again. If this persists, contact Vonage support with the time of this message."
            )
        return str(error)

    def _refusal(self, error: ApiError) -> str:
        """Return how the API refused a cursor of the last walk; empty for an error that has nothing to do with it."""
        if not self._pages:
            return ""
        # HTTP 401 too: if the credentials are revoked, the first page of the next walk says so.
        about_cursor = isinstance(error, (WindowInFutureError, CredentialsRevokedError))
        if isinstance(error, RequestRejectedError) and (error.leaves_gap or about_cursor):
            return f"HTTP {error.status} {error.title}"
        if isinstance(error, RetriableApiError) and not isinstance(error, (RateLimitedError, UndecodableBodyError)):
            return error.reason
        return ""
