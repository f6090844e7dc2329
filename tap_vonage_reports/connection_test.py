"""`--test`: a test of the configuration against the API, with a line per result and as few billed rows as possible."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import timedelta
from math import ceil
from typing import TYPE_CHECKING, Any, Protocol

from tap_vonage_reports.api.clock import MAX_DIFFERENCE
from tap_vonage_reports.api.request_context import RequestContext
from tap_vonage_reports.catalog import NOTHING_SELECTED
from tap_vonage_reports.errors import (
    ApiError,
    CatalogError,
    CredentialsError,
    ProductUnavailableError,
    TapError,
    UnreachableError,
    WindowInFutureError,
)
from tap_vonage_reports.extract.accounts import check_accounts, in_short
from tap_vonage_reports.extract.pages.pagination import first_page
from tap_vonage_reports.intervals import TimeWindow
from tap_vonage_reports.metrics import FetchMetrics, PartitionResult, SyncStatus
from tap_vonage_reports.planning.partition import Query
from tap_vonage_reports.plurals import counted
from tap_vonage_reports.products import FREE_PRODUCT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tap_vonage_reports.api.clock import ServerClock
    from tap_vonage_reports.extract.session import SyncSession
    from tap_vonage_reports.planning.partition import Partition
    from tap_vonage_reports.products import Product

MAX_TRIES = 4
"""Tries of each request: fewer than in a run, because a user is waiting for the result."""
MAX_TIMEOUT_SECONDS = 20.0
"""Timeout of connecting and of each read, at most. A whole answer may take five times as long."""
MAX_SECONDS = 180.0
"""After this time, the test begins with no other product."""
MAX_ACCOUNTS = 10
"""Accounts of which each product is requested: at 10 requests/s, all windows of all products take about a minute."""
WINDOWS = (timedelta(minutes=1), timedelta(minutes=15), timedelta(hours=3), timedelta(days=1))
"""The windows that are requested of a product, until one has a row. An empty one costs nothing, and no documented
parameter limits the rows of a page [unknown]."""

NO_TIME = f"Not tested, because the test took longer than {MAX_SECONDS / 60:g} minutes. Try again later."
NOT_TESTED = (
    f"Not tested, because the API calls the end of every window a time in the future. {WindowInFutureError.advice}"
)


class SampledStream(Protocol):
    """The part of a stream that the test needs."""

    @property
    def product(self) -> Product:
        """The product."""

    def check_rows(self, rows: list[dict[str, Any]]) -> None:
        """Make records of rows, and write none; raise a `StreamMapError` if that fails."""


class WholeTableStream(Protocol):
    """The part of a stream without partitions that the test needs."""

    name: str

    def new_result(self) -> PartitionResult:
        """Return an empty result of reading the stream."""

    def fetch_rows(self, result: PartitionResult) -> list[dict[str, Any]]:
        """Fetch all rows; raise an `ApiError` if that fails."""

    def check_rows(self, rows: list[dict[str, Any]]) -> None:
        """Make records of rows, and write none; raise a `StreamMapError` if that fails."""


class ConnectionTest:
    """A test of credentials, clock, accounts and selected products."""

    def __init__(
        self,
        session: SyncSession,
        streams: Sequence[SampledStream],
        whole_tables: Sequence[WholeTableStream],
        say: Callable[[str], object],
        *,
        has_catalog: bool,
    ) -> None:
        """Set up the test; no request is sent yet.

        Args:
            session: The run, which has sent no request either.
            streams: The selected streams of products.
            whole_tables: The selected streams without partitions.
            say: Shows a line to the user.
            has_catalog: True if a catalog selects the streams.
        """
        session.max_tries = MAX_TRIES
        timeout = min(session.settings.request_timeout_seconds, MAX_TIMEOUT_SECONDS)
        session.settings = replace(session.settings, request_timeout_seconds=timeout)
        self._session = session
        self._streams = streams
        self._whole_tables = whole_tables
        self._selected = len(streams) + len(whole_tables)
        self._say = say
        self._selected_by = "from the catalog" if has_catalog else "the default, because no catalog was given"

    def run(self) -> None:
        """Test everything, with one line for each part. The last line begins with ``OK`` or ``FAILED``.

        Raises:
            TapError: Something failed. The lines before the last say what did not.
        """
        deadline = time.monotonic() + MAX_SECONDS
        try:
            self._test_access()
            self._say(f"selection: {counted(self._selected, 'stream')}, {self._selected_by}")
            if not self._selected:
                raise CatalogError(NOTHING_SELECTED)
            for table in self._whole_tables:
                self._say(f"{table.name}: {_outcome([self._test_whole_table(table)])}")
            for stream in self._streams:
                outcome = _outcome(self._test_product(stream, deadline))
                self._say(f"{stream.product.stream}: {outcome}{self._untested_filters(stream.product)}")
            self._session.results.raise_on_failure()
        except TapError:
            self._say(f"FAILED: {self._total()}. See the error")
            raise
        self._say(f"OK: {self._total()}")

    def _test_access(self) -> None:
        """Test what all products need: credentials, clock and accounts."""
        session = self._session
        try:
            client = session.client
            if session.first_refusal and not client.credentials_accepted:
                raise session.first_refusal
        except CredentialsError:
            self._say("credentials: refused")
            raise
        except (UnreachableError, ApiError):
            self._say("credentials: not tested, because the API gave no usable answer")
            raise
        self._say("credentials: accepted")
        self._say(f"clock: {_comparison(client.clock)}")
        try:
            check_accounts(session.settings, client)
            accounts = [
                session.accounts.partition(FREE_PRODUCT, account, None).account_label
                for account in session.accounts.listed
            ]
        except TapError:
            self._say("accounts: not all of them can be read")
            raise
        tested = ""
        if session.settings.reads_together:
            tested = "; pages are tested below, of the primary account alone, because a report would be billed"
        elif len(accounts) > MAX_ACCOUNTS:
            tested = f"; only the first {MAX_ACCOUNTS} are tested below"
        self._say(f"accounts: {len(accounts):,} ({_listed(accounts)}){tested}")

    def _test_product(self, stream: SampledStream, deadline: float) -> list[_Attempt]:
        """Request a product of each account. One direction stands for both, because availability is the product's.

        Args:
            stream: The product's stream.
            deadline: When to request no more, on this machine's monotonic clock.
        """
        session, product = self._session, stream.product
        direction = next(iter(session.settings.directions_of(product)), None)
        windows, attempts = list(self._windows()), []
        for account in session.accounts.requested[:MAX_ACCOUNTS]:
            partition = session.accounts.partition(product, account, direction)
            attempt = _Attempt(PartitionResult(partition))
            session.results.append(attempt.result)
            attempts.append(attempt)
            if time.monotonic() >= deadline:
                attempt.give_up()
                continue
            try:
                answered = self._fetch(stream, partition, attempt, windows)
            except ApiError as error:
                attempt.fail(error)
                continue
            if attempt.result.fetched.rows:
                windows = answered[:1]  # rows of one account are enough to test the conversion
        return attempts

    def _test_whole_table(self, table: WholeTableStream) -> _Attempt:
        """Read a whole table, and write nothing of it."""
        attempt = _Attempt(table.new_result())
        self._session.results.append(attempt.result)
        try:
            table.check_rows(table.fetch_rows(attempt.result))
        except ApiError as error:
            attempt.fail(error)
        else:
            attempt.end(is_tested=True)
        return attempt

    def _fetch(
        self, stream: SampledStream, partition: Partition, attempt: _Attempt, windows: Iterable[TimeWindow]
    ) -> list[TimeWindow]:
        """Fetch one page of rows, of the shortest window that has any.

        Returns:
            The windows that the API has answered. It rejects one that ends in the future; without any, the product is
            not tested.

        Raises:
            ApiError: The API does not serve the partition, or its rows cannot be made into records.
        """
        settings = self._session.settings
        query = Query.of(settings, partition).without(settings.report_filters_of(partition.product))
        context = RequestContext(metrics=attempt.result.fetched)
        answered: list[TimeWindow] = []
        for window in windows:
            page = first_page(self._session.client, query, window, context)
            if page.window.duration:
                answered.append(page.window)
            if page.records:
                stream.check_rows(page.records)
                break
        attempt.end(is_tested=bool(answered))
        return answered

    def _windows(self) -> Iterator[TimeWindow]:
        """Yield the windows to request, the shortest first. They end in the past on every clock."""
        dates, longest = self._session.dates, self._session.settings.sync_window
        end = min(dates.end(), dates.read_at())
        for length in sorted({min(length, longest) for length in WINDOWS}):
            yield TimeWindow(end - length, end)

    def _untested_filters(self, product: Product) -> str:
        """Return a note on the filters that the requests left out, because pages do not accept them."""
        names = self._session.settings.report_filters_of(product)
        return f" (tested without {', '.join(sorted(names))}, which only reports accept)" if names else ""

    def _total(self) -> str:
        """Return the last line's figures."""
        results = self._session.results
        if not results:
            return "no stream was tested"
        fetched = FetchMetrics.total(result.fetched for result in results)
        billed = FetchMetrics.total(result.fetched for result in results if result.partition.is_billed)
        share = f"at least {billed.rows:,}" if billed.failed_requests else f"{billed.rows:,} of them"
        available = {result.partition.stream for result in results if result.status is SyncStatus.READ}
        price = f" (price: {fetched.price})" if fetched.price else ""
        return (
            f"{len(available)} of {counted(self._selected, 'selected stream')} available; "
            f"{counted(fetched.rows, 'row')} fetched, {share} billed{price}"
        )


@dataclass
class _Attempt:
    """One account's part of a product's test.

    Attributes:
        result: How it ended.
        problem: What went wrong, in few words. Empty if the product is available.
    """

    result: PartitionResult
    problem: str = ""

    def end(self, *, is_tested: bool) -> None:
        """Record the end. A product of which the API has answered no window may or may not be available."""
        if is_tested:
            self.result.end()
        else:
            self.result.reason, self.problem = NOT_TESTED, "not tested: every window ends in the future for the API"

    def give_up(self) -> None:
        """Record that there was no time left."""
        self.result.reason, self.problem = NO_TIME, "not tested: the API answers too slowly"

    def fail(self, error: ApiError) -> None:
        """Record an error. A product that the account does not have is skipped, as a run would."""
        is_unavailable = isinstance(error, ProductUnavailableError)
        self.result.status = SyncStatus.SKIPPED if is_unavailable else SyncStatus.FAILED
        self.result.reason = str(error)
        self.problem = f"{'not available' if is_unavailable else 'failed'}, {in_short(error)}"


def _outcome(attempts: Sequence[_Attempt]) -> str:
    """Return the outcome of a product's test: one part for all accounts, or the accounts of each part."""
    groups: dict[str, list[PartitionResult]] = {}
    for attempt in attempts:
        groups.setdefault(attempt.problem, []).append(attempt.result)
    parts = []
    for problem, results in groups.items():
        rows = sum(result.fetched.rows for result in results)
        text = problem or f"available, {counted(rows, 'row') if rows else 'no rows'}"
        names = _listed([result.partition.account_label for result in results])
        parts.append(f"{text} ({names})" if len(groups) > 1 else text)
    return "; ".join(parts)


def _comparison(clock: ServerClock) -> str:
    """Return a comparison of the clocks."""
    if not clock.known:
        return "unknown, because the API's answers contain no time. Make sure that this machine's clock is correct"
    first, last, difference = clock.spread()
    seconds = difference.total_seconds()
    if difference <= MAX_DIFFERENCE:
        return f"correct (within {ceil(seconds)} s of Vonage's)"
    return f"{last} is {timedelta(seconds=round(seconds))} ahead of {first}. Correct the clock that is wrong"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MAX_ACCOUNTS
    return ", ".join([*names[:MAX_ACCOUNTS], *([f"and {more:,} more"] if more > 0 else [])])
