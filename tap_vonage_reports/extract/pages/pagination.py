"""Sync path: the pages of a window, by cursor and iv.

Each request is built from the original parameters plus `cursor` and `iv` of the last answer. The links of
an answer are only a source for these two where the body lacks them: real ones have lost `date_start` and
`date_end` [confirmed], and their host is never contacted.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from tap_vonage_reports.api.request_context import RequestContext
from tap_vonage_reports.errors import (
    CredentialsRevokedError,
    PaginationError,
    RequestRejectedError,
    WindowInFutureError,
)
from tap_vonage_reports.metrics import FetchMetrics
from tap_vonage_reports.timestamps import format_query_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from typing import TypeAlias

    from tap_vonage_reports.api.client import ReportsClient
    from tap_vonage_reports.api.responses import ApiResponse
    from tap_vonage_reports.intervals import TimeWindow
    from tap_vonage_reports.state.format import PageCursor

    Fetch: TypeAlias = Callable[[Mapping[str, str]], ApiResponse]

logger = logging.getLogger(__name__)

LAST_PAGE = "SUCCESS"
MORE_PAGES = "TRUNCATED"
REMEMBERED_PAGES = 3
MAX_CURSOR_CHARACTERS = 1 << 14
"""Characters of a cursor, or of what goes with it: twice what servers take in an address, as a rule."""
END_MARGIN = timedelta(seconds=60)
"""How far behind Vonage's clock a query has to end (60 s is what works in production [confirmed])."""
END_MARGIN_AFTER_REJECTION = END_MARGIN + timedelta(seconds=300)
"""The same once the API has found a bound that is not in the past (a production client's cure [confirmed])."""


@dataclass(frozen=True)
class Page:
    """One page of a window.

    Attributes:
        records: The rows as they came, at most 1000 [confirmed], less those repeated from the pages before.
        repeated: How many rows were repeated; the API has counted (and billed) them all the same.
        cursor: Where the next page begins; None on the last page.
        iv: What goes with the cursor; None where the API gave none.
        answered_at: When the API gave this page, on its clock.
        window: What was asked for; shorter than planned when the API's clock demanded it.
    """

    records: list[dict[str, Any]]
    cursor: str | None
    iv: str | None
    answered_at: datetime
    window: TimeWindow
    repeated: int = 0

    @property
    def last(self) -> bool:
        """Whether the window ends with this page."""
        return self.cursor is None


def iter_pages(
    client: ReportsClient,
    query: Mapping[str, str],
    window: TimeWindow,
    resume: PageCursor | None = None,
    context: RequestContext | None = None,
) -> Iterator[Page]:
    """Read a window page by page.

    Args:
        client: The API.
        query: Product, account, and whatever else narrows the query; no dates.
        window: What to read.
        resume: The page of this window to go on at.
        context: How urgent the requests are, the means to end their waits, and what they are counted in.

    If the API refuses a cursor, the window is read again from its first page, once.

    Yields:
        Pages in the API's order. The last one has `last` set; without it the window was not read.

    Raises:
        PaginationError: The pages do not add up.
        ApiError: See `ReportsClient.records`.
    """
    context = context or RequestContext()
    repeats, cost = PageDeduplicator(), context.metrics or FetchMetrics()
    fetch = partial(client.records, context=context)
    pulled = 0
    try:
        for page in map(repeats.without, _iter_from(fetch, query, window, resume)):
            pulled += cost.count_page(page.records, window, repeated=page.repeated)
            yield page
    except _CursorRefusedError:
        logger.warning("The API refused the cursor inside %s: reading the window from its first page", window)
        try:
            for page in map(repeats.without, _iter_from(fetch, query, window)):
                pulled -= cost.count_page(page.records, window, repeated=page.repeated, known=pulled)
                yield page
        except _CursorRefusedError as again:
            raise again.refusal from None


class _CursorRefusedError(Exception):
    """The API did not take a cursor that it has given. How long one lives is not documented."""

    def __init__(self, refusal: RequestRejectedError) -> None:
        super().__init__()
        self.refusal = refusal


def _iter_from(
    fetch: Fetch, query: Mapping[str, str], window: TimeWindow, resume: PageCursor | None = None
) -> Iterator[Page]:
    """The pages of a window from the first, or from `resume`, to the last."""
    if resume:
        page = _fetch_page(fetch, query, window, resume.cursor, resume.iv)
        seen: set[str | None] = {resume.cursor}
    else:
        page = _first_page(fetch, query, window)
        seen = set()
    while not page.last:
        if page.cursor in seen:
            msg = (
                "The API gave the same cursor twice, so the window cannot be read to its end. The next run reads "
                "it again; if this lasts, set a smaller sync_window_hours so that a window fits fewer pages."
            )
            raise PaginationError(msg)
        yield page
        seen.add(page.cursor)
        page = _fetch_page(fetch, query, page.window, page.cursor, page.iv)
    yield page


def _first_page(fetch: Fetch, query: Mapping[str, str], window: TimeWindow) -> Page:
    """The first page; of a shorter window where the API finds that this one does not end in the past."""
    try:
        return _fetch_page(fetch, query, window)
    except WindowInFutureError as refusal:
        if refusal.answered_at is None:
            raise
        shorter = window.until(refusal.answered_at - END_MARGIN_AFTER_REJECTION)
        if shorter.start == shorter.end:
            return Page([], None, None, refusal.answered_at, shorter)
    return _fetch_page(fetch, query, shorter)


def _fetch_page(
    fetch: Fetch, query: Mapping[str, str], window: TimeWindow, cursor: str | None = None, iv: str | None = None
) -> Page:
    place = {"cursor": cursor, "iv": iv}
    parameters = {
        **query,
        "date_start": format_query_time(window.start),
        "date_end": format_query_time(window.end),
        **{name: value for name, value in place.items() if value},
    }
    try:
        return _page(fetch(parameters), window)
    except CredentialsRevokedError:
        raise
    except RequestRejectedError as refusal:
        if cursor:
            raise _CursorRefusedError(refusal) from None
        raise


class PageDeduplicator:
    """The rows of the pages just before, to drop those that come again.

    The result set may shift while it is paged (its order and stability are not documented). A row that comes
    again with another content is newer, and passes.
    """

    def __init__(self) -> None:
        self._before: deque[dict[str, int]] = deque(maxlen=REMEMBERED_PAGES)

    def without(self, page: Page) -> Page:
        """The page without the rows that stood on the pages before."""
        # Hashes, for the rows of many windows at once would take much memory. A wrong hit takes the same id, too.
        hashes = [(_key(row), hash(msgspec.json.encode(row))) for row in page.records]
        fresh = [
            row
            for row, (key, content) in zip(page.records, hashes, strict=True)
            if not any(known.get(key) == content for known in self._before)
        ]
        self._before.append(dict(hashes))
        return replace(page, records=fresh, repeated=len(page.records) - len(fresh))


def _key(row: Mapping[str, Any]) -> str:
    return str(row.get("id"))


def _page(answer: ApiResponse, window: TimeWindow) -> Page:
    body = answer.body
    records = body["records"]
    status = body.get("request_status")
    if status == LAST_PAGE:
        return Page(records, None, None, answer.at, window)
    if status != MORE_PAGES:
        msg = (
            "The API answered with a request_status that is neither SUCCESS nor TRUNCATED, so it is not known whether "
            "the window ends here. The next run reads it again; if this lasts, the API's rules have changed."
        )
        raise PaginationError(msg)
    link = _next_link(body)
    cursor = _text(body.get("cursor")) or link.get("cursor")
    iv = _text(body.get("iv")) or link.get("iv")
    if len(cursor or "") > MAX_CURSOR_CHARACTERS or len(iv or "") > MAX_CURSOR_CHARACTERS:
        msg = (
            "The API gave a cursor that is too long to be sent back. The next run reads the window again; if this "
            "lasts, the API's rules have changed."
        )
        raise PaginationError(msg)
    if not cursor:
        msg = (
            "The API says that there are more records (TRUNCATED) but gives no cursor to them. The next run reads the "
            "window again; if this lasts, set a smaller sync_window_hours so that a window fits one page."
        )
        raise PaginationError(msg)
    return Page(records, cursor, iv, answer.at, window)


def _next_link(body: Mapping[str, Any]) -> dict[str, str]:
    """The parameters of the link to the next page; nothing else of it is used."""
    try:
        href = body["_links"]["next"]["href"]
        parameters = parse_qs(urlsplit(href).query) if isinstance(href, str) else {}
    except (KeyError, TypeError, ValueError):
        return {}
    return {name: values[0] for name, values in parameters.items()}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
