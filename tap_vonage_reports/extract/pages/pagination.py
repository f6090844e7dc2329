"""Cursor paging: the pages of one window, by `cursor` and `iv`.

Each request has the original parameters, plus `cursor` and `iv` from the last response. The next link of a response is
used only for these two, if the body lacks them: real links have lacked `date_start` and `date_end` [confirmed]. The
host of a link is never contacted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tap_vonage_reports.api.request_context import RequestContext
from tap_vonage_reports.errors import (
    PaginationError,
    ProductUnavailableError,
    RequestRejectedError,
    UndecodableBodyError,
    WindowInFutureError,
)
from tap_vonage_reports.exact_json import encode_json
from tap_vonage_reports.planning.date_range import END_MARGIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from typing import TypeAlias

    from tap_vonage_reports.api.client import ReportsClient
    from tap_vonage_reports.api.responses import ApiResponse
    from tap_vonage_reports.intervals import TimeWindow
    from tap_vonage_reports.planning.partition import Query
    from tap_vonage_reports.state.values import PageCursor

    Fetch: TypeAlias = Callable[[Mapping[str, str]], ApiResponse]

LAST_PAGE = "SUCCESS"
MORE_PAGES = "TRUNCATED"
REMEMBERED_PAGES = 3
MAX_PAGES_WITHOUT_NEW_ROWS = 20
"""Pages in a row without a new row that end a window as failed: two seconds at 10 requests/s. Far more than a filter
that is applied page by page would leave empty, and few enough to notice pages without end."""
REFUSALS_OF_CURSOR = frozenset({400, 404, 410, 422})
"""Statuses that are about the cursor, and not about the account or its credentials (401, 403)."""
MAX_CURSOR_CHARACTERS = 1 << 14
"""The length of a cursor or an iv: twice what servers usually accept in an address."""
END_MARGIN_AFTER_REJECTION = END_MARGIN + timedelta(seconds=300)
"""The end margin once the API has found a bound that is not in the past (a production client's cure [confirmed])."""


@dataclass(frozen=True)
class Page:
    """One page of a window.

    Attributes:
        records: The rows as they came, at most 1000 [confirmed], without those repeated from the pages before.
        cursor: Where the next page begins; None on the last page.
        iv: What belongs to the cursor; None where the API gave none.
        answered_at: When the API returned this page, on the earliest clock.
        window: The requested window; shorter than planned when the API's clock demanded it.
        repeated: How many rows were repeated; the API has counted (and billed) them all the same.
        says_last: True if the API called this the last page (SUCCESS), also where it gave a cursor.
        is_new: True if it brought a row that was not on the pages before.
        is_restarted: True if its window is read again from the first page, because the API rejected a cursor.
        contradiction: What became of a cursor that came with SUCCESS, for the log; empty for nothing worth telling.
        rows_read: How many rows the window had up to the end of this page.
    """

    records: list[dict[str, Any]]
    cursor: str | None
    iv: str | None
    answered_at: datetime
    window: TimeWindow
    repeated: int = 0
    says_last: bool = False
    is_new: bool = True
    is_restarted: bool = False
    contradiction: str = ""
    rows_read: int = 0

    @property
    def is_last(self) -> bool:
        """True if the window ends with this page."""
        return self.cursor is None


def iter_pages(  # noqa: PLR0913 - a query, and what an earlier walk knows of it
    client: ReportsClient,
    query: Query,
    window: TimeWindow,
    resume: PageCursor | None = None,
    context: RequestContext | None = None,
    *,
    known: int = 0,
) -> Iterator[Page]:
    """Walk through the pages of a window, once.

    Args:
        client: The API.
        query: The query of the partition.
        window: What to read.
        resume: The page of this window to resume at.
        context: How urgent the requests are, what cancels them, and where they are counted.
        known: How many rows of the window have been fetched by an earlier walk.

    Yields:
        Pages in the API's order. The last one has `is_last` set; without it the window is incomplete.

    Raises:
        PaginationError: The pages are inconsistent.
        ApiError: See `ReportsClient.records`.
    """
    context = context or RequestContext()
    repeats, metrics = PageDeduplicator(), context.metrics
    fetch = partial(client.records, context=context)
    try:
        for page in _iter_from(fetch, repeats, query, window, resume):
            known -= metrics.count_page(page.records, window, repeated=page.repeated, known=known)
            yield page
    except UndecodableBodyError as error:
        reason = f"A page of {window} cannot be read: {error.reason}"
        raise UndecodableBodyError(reason) from None


def first_page(client: ReportsClient, query: Query, window: TimeWindow, context: RequestContext) -> Page:
    """Fetch the first page of a window and no other, as `iter_pages` would.

    Raises:
        PaginationError: The page contradicts itself.
        ApiError: See `ReportsClient.records`.
    """
    page = _first_page(partial(client.records, context=context), query, window)
    context.metrics.count_page(page.records, window)
    return page


def _iter_from(
    fetch: Fetch, repeats: PageDeduplicator, query: Query, window: TimeWindow, resume: PageCursor | None = None
) -> Iterator[Page]:
    """Yield the pages of a window from the first, or from `resume`, to the last."""
    if resume:
        page = _fetch_page(fetch, query, window, resume.cursor, resume.iv)
        seen: set[str | None] = {resume.cursor}
    else:
        page = _first_page(fetch, query, window)
        seen = set()
    page, barren = repeats.without(page), 0
    while not page.is_last:
        barren = 0 if page.is_new else barren + 1
        if barren == MAX_PAGES_WITHOUT_NEW_ROWS:
            msg = (
                f"The API returned {barren} pages in a row without a new row, none of them marked as the last, so "
                "this window is incomplete. The next run retries it. If this persists, lower sync_window_hours."
            )
            raise PaginationError(msg)
        following = None
        if page.says_last:
            page, following = _look_behind(fetch, repeats, query, page, seen)
            if following is None:
                break
        elif page.cursor in seen:
            msg = (
                "The API returned the same cursor twice, so this window is incomplete. The next run retries it. "
                "If this persists, lower sync_window_hours."
            )
            raise PaginationError(msg)
        yield page
        seen.add(page.cursor)
        page = following or repeats.without(_fetch_page(fetch, query, page.window, page.cursor, page.iv))
    yield page


def _look_behind(
    fetch: Fetch, repeats: PageDeduplicator, query: Query, page: Page, seen: set[str | None]
) -> tuple[Page, Page | None]:
    """Try the cursor of a page that the API calls the last one.

    The reference's sample answer has SUCCESS together with a cursor and a next link [an artefact, likely]. If it is
    none, the rows behind it would be lost, so the cursor is tried: the price is a request for each such window. If it
    is one, every window of an account may have it, so a cursor that leads to nothing new must not fail the window:

    * A page without a new row: the window is complete, as the API said.
    * A refusal of the cursor (HTTP 4xx): the same. The status said so, and its contradiction was tried and does not
      exist. Unknown would be no answer, or an unusable one; these are retried and then fail the window.
    * New rows: the status was wrong. The walk goes on for as long as pages bring new rows.

    The next page is fetched before this one is committed, so that no cursor that leads nowhere gets into the state.

    Returns:
        The page, without its cursor if it is the last one; and the page behind it, or None.

    Raises:
        ApiError: There was no usable answer, or the account may not read on.
    """
    last = replace(page, cursor=None, iv=None)
    if page.cursor in seen or not page.is_new:
        return last, None
    try:
        following = repeats.without(_fetch_page(fetch, query, page.window, page.cursor, page.iv))
    except RequestRejectedError as error:
        if isinstance(error, ProductUnavailableError) or error.status not in REFUSALS_OF_CURSOR:
            raise
        return replace(last, contradiction="that it rejects, so this page is the last"), None
    if following.is_new:
        return replace(page, contradiction="that leads to further rows; following it"), following
    repeated = page.repeated + len(following.records) + following.repeated
    return replace(last, repeated=repeated), None


def _first_page(fetch: Fetch, query: Query, window: TimeWindow) -> Page:
    """Fetch the first page; of a shorter window where the API finds that this one does not end in the past."""
    try:
        return _fetch_page(fetch, query, window)
    except WindowInFutureError as error:
        if error.answered_at is None:
            raise
        shorter = window.until(error.answered_at - END_MARGIN_AFTER_REJECTION)
        if shorter.start == shorter.end:
            return Page([], None, None, error.answered_at, shorter)
    return _fetch_page(fetch, query, shorter)


def _fetch_page(
    fetch: Fetch, query: Query, window: TimeWindow, cursor: str | None = None, iv: str | None = None
) -> Page:
    return _page(fetch(query.params(window, cursor, iv)), window)


class PageDeduplicator:
    """Drops rows already seen on the last three pages.

    The result set may shift while it is paged (its order and stability are not documented [unknown]). A row that comes
    again with other content is newer, and is kept.
    """

    def __init__(self) -> None:
        self._before: deque[dict[str, int]] = deque(maxlen=REMEMBERED_PAGES)
        self._pages: set[int] = set()
        """Hashes of whole pages, to notice a walk that goes in a circle of any length."""

    def without(self, page: Page) -> Page:
        """Return the page without the rows seen on the pages before."""
        # Hashes, because the rows of many windows would take much memory. A false match needs the same id, too.
        hashes = [(_key(row), hash(encode_json(row))) for row in page.records]
        fresh = [
            (row, content)
            for row, (key, content) in zip(page.records, hashes, strict=True)
            if not any(known.get(key) == content for known in self._before)
        ]
        self._before.append(dict(hashes))
        whole = hash(tuple(content for _, content in fresh))
        is_new = bool(fresh) and whole not in self._pages
        self._pages.add(whole)
        records = [row for row, _ in fresh]
        return replace(page, records=records, repeated=len(page.records) - len(fresh), is_new=is_new)


def _key(row: Mapping[str, Any]) -> str:
    return str(row.get("id"))


def _page(answer: ApiResponse, window: TimeWindow) -> Page:
    body = answer.body
    records = body["records"]
    status = body.get("request_status")
    says_last = status == LAST_PAGE
    if not says_last and status != MORE_PAGES:
        msg = (
            "The API returned a request_status that is neither SUCCESS nor TRUNCATED, so this window may be "
            "incomplete. The next run retries it. If this persists, the API has changed: please open an issue."
        )
        raise PaginationError(msg)
    link = _next_link(body)
    cursor = _text(body.get("cursor")) or link.get("cursor")
    iv = _text(body.get("iv")) or link.get("iv")
    if len(cursor or "") > MAX_CURSOR_CHARACTERS or len(iv or "") > MAX_CURSOR_CHARACTERS:
        msg = (
            "The API returned a cursor that is too long to send back, so this window is incomplete. The next run "
            "retries it. If this persists, the API has changed: please open an issue."
        )
        raise PaginationError(msg)
    if not cursor and not says_last:
        msg = (
            "The API says that there are more records (TRUNCATED) but returned no cursor for them, so this window is "
            "incomplete. The next run retries it. If this persists, lower sync_window_hours so that a window fits one "
            "page."
        )
        raise PaginationError(msg)
    return Page(records, cursor, iv if cursor else None, answer.at, window, says_last=says_last)


def _next_link(body: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters of the link to the next page; nothing else of it is used."""
    try:
        href = body["_links"]["next"]["href"]
        parameters = parse_qs(urlsplit(href).query) if isinstance(href, str) else {}
    except (KeyError, TypeError, ValueError):
        return {}
    return {name: values[0] for name, values in parameters.items()}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
