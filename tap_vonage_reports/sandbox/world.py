"""The data behind the API: the traffic of all accounts at the clock's time, by window, by ID and in totals."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from decimal import Decimal
from functools import cache
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec
import pendulum

from tap_vonage_reports.products import PRODUCTS, Product
from tap_vonage_reports.sandbox.alterations import ALTERATIONS, Alteration
from tap_vonage_reports.sandbox.faults import Fault, Faults
from tap_vonage_reports.sandbox.rows import KINDS
from tap_vonage_reports.sandbox.table import line as csv_line
from tap_vonage_reports.sandbox.traffic import CHUNK, EVENLY, ChunkCache, Daily, Line, Listed, Look, Volume, usual

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tap_vonage_reports.sandbox.accounts import Account, Accounts
    from tap_vonage_reports.sandbox.clock import Clock

Amount: TypeAlias = int | Volume
Rows: TypeAlias = Mapping[str, Amount] | Callable[[str, str, str], Amount | None]
"""The number of rows.

A mapping says it by stream, ``stream/direction``, ``stream/direction/account`` or ``*`` for every stream
that it does not name: a number is that many rows on each UTC day, for each account and direction, evenly.
A callable is asked with (stream, account, direction) and answers likewise; None stands for the default.
"""

Row = dict[str, Any]
After = tuple[int, int]

_decode = msgspec.json.Decoder(float_hook=Decimal).decode

_EVER = datetime.max.replace(tzinfo=timezone.utc)

_FILTER_COLUMNS: Mapping[tuple[str, str], str] = {("network_api_event", "country"): "country_code"}
"""Columns by filter, where their names differ."""

_PRICE_COLUMNS = ("total_price", "price")
"""The column of a row's price; VERIFY-API has no `total_price` (confirmed)."""


class Page(NamedTuple):
    """A page of a window: its rows, encoded, and where the next one begins (None if this is the last)."""

    rows: list[bytes]
    after: list[After | None] | None


class Wanted(NamedTuple):
    """A selection of rows.

    Attributes:
        product: The product.
        account: The account.
        directions: The directions, merged into one list; "" for a product without directions.
        look: How rows look.
        start: Start of the window, inclusive.
        end: End of the window, exclusive.
        filters: What the columns have to hold, by parameter.
        at: The moment as of which the rows are wanted; None for the present one.
    """

    product: Product
    account: Account
    directions: Sequence[str]
    look: Look
    start: datetime = _EVER
    end: datetime = _EVER
    filters: Mapping[str, str] = MappingProxyType({})
    at: datetime | None = None


def seconds(moment: datetime) -> int:
    """Return the first whole second of the epoch that is not before a moment."""
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole + (moment.microsecond > 0)


def decoded(row: bytes) -> Row:
    """Return a row as it comes over the wire; numbers with a fraction as `Decimal`, so that no digit is lost."""
    parsed: Row = _decode(row)
    return parsed


class World:
    """The traffic of all accounts at the clock's time, with the switches that change how rows look."""

    def __init__(  # noqa: PLR0913 - what a world is made of
        self,
        *,
        seed: str,
        accounts: Accounts,
        clock: Clock,
        faults: Faults,
        rows: Rows | None = None,
        scale: float = 1.0,
    ) -> None:
        """Set up the world.

        Args:
            seed: What everything is made of.
            accounts: The accounts.
            clock: What time it is.
            faults: What is switched on.
            rows: How many rows there are, where it is not the default.
            scale: Factor on the default volumes.
        """
        self.accounts = accounts
        self.faults = faults
        self._clock = clock
        self._seed = seed
        self._rows = rows
        self._scale = scale
        self._cache = ChunkCache()
        self._line = cache(self._make_line)

    def now(self) -> datetime:
        """Return the API's time: the clock's, or skewed."""
        now = self._clock.now()
        skew = self.faults.rule(Fault.CLOCK_SKEW)
        return now if skew is None else now + pendulum.duration(seconds=float(skew.value))

    @property
    def is_odd(self) -> bool:
        """True if rows may have placeholders for odd bytes (see `odd_bytes`)."""
        return any(self.faults.rule(fault) for fault in (Fault.ODD_TEXT, Fault.LONG_NUMBER))

    def look(
        self,
        *,
        include_message: bool = False,
        show_concatenated: bool = False,
        stream: str = "",
        account: str = "",
        endpoint: str = "records",
    ) -> Look:
        """Return the presentation of rows by a query's parameters and the current faults."""
        rules = ((fault, self.faults.rule(fault)) for fault in ALTERATIONS)
        alterations = tuple(
            Alteration(fault, rule.every, rule.value)
            for fault, rule in rules
            if rule is not None and rule.concerns(endpoint, stream, account)
        )
        return Look(
            include_message=include_message,
            show_concatenated=show_concatenated,
            currency_blank=self.faults.rule(Fault.CURRENCY_BLANK) is not None,
            late_rows=self.faults.rule(Fault.LATE_ROWS) is not None,
            no_changes=self.faults.rule(Fault.NO_CHANGES) is not None,
            alterations=alterations,
        )

    def page(self, wanted: Wanted, size: int, after: Sequence[After | None] | None, repeated: int = 0) -> Page:
        """Return a page of a window, newest rows first.

        Args:
            wanted: The rows that are wanted.
            size: Most rows of the page.
            after: Where the page before ended, per direction; None for the first page.
            repeated: How many rows of this page the next one repeats.
        """
        after = after or [None] * len(wanted.directions)
        rows = list(islice(self._listed(wanted, after), size + 1))
        encoded = [row.encoded for _, row in rows[:size]]
        if len(rows) <= size:
            return Page(encoded, None)
        reached = list(after)
        for direction, row in rows[: size - min(repeated, size - 1)]:
            reached[direction] = (row.hour, row.step)
        return Page(encoded, reached)

    def by_ids(self, wanted: Wanted, ids: Sequence[str]) -> tuple[list[bytes], list[str]]:
        """Return the rows of identifiers, and the identifiers that have none. Time does not limit the lookup."""
        now, oldest = self._reach(wanted)
        lines = [self._line(wanted.product.stream, wanted.account, direction) for direction in wanted.directions]
        rows, unknown = [], []
        for identifier in ids:
            found = (line.find(identifier, oldest, now, wanted.look) for line in lines)
            row = next((row for row in found if row), None)
            if row is None:
                unknown.append(identifier)
            else:
                rows.append(row)
        return rows, unknown

    def expected(  # noqa: PLR0913 - the same questions as a request's
        self,
        product: str,
        account: str,
        direction: str | None,
        start: datetime,
        end: datetime,
        *,
        include_message: bool = False,
        show_concatenated: bool = False,
    ) -> list[Row]:
        """Return the rows of a window as they are at this moment: the truth to compare a client with.

        Args:
            product: The product, by its name or its stream's name.
            account: Key of the account.
            direction: The direction; None for all that the product has.
            start: Start, inclusive.
            end: End, exclusive.
            include_message: As in a request.
            show_concatenated: As in a request.

        Returns:
            The rows as they come over the wire, newest first; numbers with a fraction as `Decimal`.
        """
        owner = self.accounts.find(account)
        if owner is None:
            message = "No such account in this sandbox"
            raise KeyError(message)
        found = PRODUCTS[product.lower().replace("-", "_")]
        look = self.look(
            include_message=include_message,
            show_concatenated=show_concatenated,
            stream=found.stream,
            account=account,
        )
        directions = (direction,) if direction else found.directions or ("",)
        return list(self._decoded(Wanted(found, owner, directions, look, start, end)))

    def summary(self, start: datetime, end: datetime) -> list[dict[str, Any]]:
        """Count and price of all rows in a window, per product, account and direction, without any paging.

        Returns:
            For each line of traffic with rows: stream, product, account_id, direction, rows, and
            `total_price`, the exact sum as text for each currency.
        """
        lines = []
        for stream, direction in KINDS:
            for account in self.accounts:
                count = 0
                sums: dict[str, Decimal] = {}
                look = self.look(stream=stream, account=account.key)
                for row in self._decoded(Wanted(PRODUCTS[stream], account, (direction,), look, start, end)):
                    count += 1
                    price = next((row[name] for name in _PRICE_COLUMNS if name in row), None)
                    if price is not None:
                        currency = row.get("currency") or ""
                        sums[currency] = sums.get(currency, Decimal()) + _number(price)
                lines.append(
                    {
                        "stream": stream,
                        "product": PRODUCTS[stream].name,
                        "account_id": account.key,
                        "direction": direction or None,
                        "rows": count,
                        "total_price": {currency: f"{total:f}" for currency, total in sorted(sums.items())},
                    }
                )
        return [line for line in lines if line["rows"]]

    def table(self, wanted: Sequence[Wanted]) -> Iterator[list[bytes]]:
        """Yield the rows of several accounts as one table, newest first: lines of CSV text, in lists of some hundred.

        Args:
            wanted: The rows of each account; all with the same columns in their look.
        """
        lines = [self._lines(each) for each in wanted]
        if len(wanted) == 1 and len(wanted[0].directions) == 1 and not wanted[0].filters:
            only = wanted[0]
            now, window, mixed = self._view(only)
            line = self._line(only.product.stream, only.account, only.directions[0])
            yield from line.batches(window, now, only.look, mixed=mixed)
            return
        rows = (line for _, line in heapq.merge(*lines, key=lambda row: -row[0]))
        while batch := list(islice(rows, CHUNK)):
            yield batch

    def _lines(self, wanted: Wanted) -> Iterator[tuple[int, bytes]]:
        """Yield the rows of an account as lines of CSV text, each with its second."""
        columns = wanted.look.columns
        # Filters look into the rows, so there the text is made from what is left.
        source = wanted._replace(look=replace(wanted.look, columns=())) if wanted.filters else wanted
        for _, row in self._listed(source, [None] * len(wanted.directions)):
            yield row.second, csv_line(decoded(row.encoded), columns) if wanted.filters else row.encoded

    def _decoded(self, wanted: Wanted) -> Iterator[Row]:
        """Yield the rows of a window as they come over the wire."""
        for _, row in self._listed(wanted, [None] * len(wanted.directions)):
            yield decoded(row.encoded)

    def _listed(self, wanted: Wanted, after: Sequence[After | None]) -> Iterator[tuple[int, Listed]]:
        """Return the rows of a window from a place on, each with the number of its direction."""
        now, window, mixed = self._view(wanted)
        lines = []
        for number, (direction, place) in enumerate(zip(wanted.directions, after, strict=True)):
            line = self._line(wanted.product.stream, wanted.account, direction)
            lines.append(_numbered(number, line.rows(window, now, wanted.look, after=place, mixed=mixed)))
        rows = lines[0] if len(lines) == 1 else heapq.merge(*lines, key=lambda row: -row[1].second)
        return self._filtered(rows, wanted) if wanted.filters else rows

    def _view(self, wanted: Wanted) -> tuple[int, tuple[int, int], str]:
        """Return the second as of which rows are wanted, the seconds of their window, and what mixes their order."""
        now, oldest = self._reach(wanted)
        mixed = f"{wanted.start}/{wanted.end}" if self.faults.rule(Fault.ROWS_SHUFFLED) else ""
        return now, (max(seconds(wanted.start), oldest), seconds(wanted.end)), mixed

    @staticmethod
    def _filtered(rows: Iterable[tuple[int, Listed]], wanted: Wanted) -> Iterator[tuple[int, Listed]]:
        """Yield the rows that fit; a filter without a column (ASR `country`, documented and unclear) takes all."""
        known = wanted.product.schema["properties"]
        columns = {
            column: value
            for name, value in wanted.filters.items()
            if (column := _FILTER_COLUMNS.get((wanted.product.stream, name), name)) in known
        }
        for row in rows:
            cells = decoded(row[1].encoded)
            if all(cells.get(column) == value for column, value in columns.items()):
                yield row

    def _reach(self, wanted: Wanted) -> tuple[int, int]:
        """Return the second as of which rows are wanted, and the oldest second that is kept then."""
        now = wanted.at or self.now()
        kept = wanted.product.retention
        oldest = pendulum.instance(now).subtract(months=kept.months, days=kept.days)
        return int(now.timestamp()), seconds(oldest)

    def _make_line(self, stream: str, account: Account, direction: str) -> Line:
        relative = KINDS[stream, direction].relative
        return Line(
            self._seed,
            stream,
            account,
            direction,
            self._volume(stream, account, direction),
            self.accounts.primary,
            self._cache,
            self._line(relative[0], account, relative[1]) if relative else None,
        )

    def _volume(self, stream: str, account: Account, direction: str) -> Volume:
        amount: Amount | None = None
        if isinstance(self._rows, Mapping):
            keys = (f"{stream}/{direction}/{account.key}", f"{stream}/{direction}", stream, "*")
            amount = next((self._rows[key] for key in keys if key in self._rows), None)
        elif self._rows is not None:
            amount = self._rows(stream, account.key, direction)
        if amount is None:
            return usual(stream, direction, self._scale * account.scale)
        return Daily(amount, EVENLY) if isinstance(amount, int) else amount


def _numbered(number: int, rows: Iterator[Listed]) -> Iterator[tuple[int, Listed]]:
    """Yield the rows of a direction, each with the direction's number."""
    for row in rows:
        yield number, row


def _number(price: Any) -> Decimal:  # noqa: ANN401 - text, a number, or what a fault put there
    """Return a price as a number; 0 for other text."""
    try:
        return Decimal(price or 0)
    except ArithmeticError:
        return Decimal()


def utc(micros: int) -> datetime:
    """Return a moment from its microseconds of the epoch."""
    whole, rest = divmod(micros, 1_000_000)
    return datetime.fromtimestamp(whole, timezone.utc).replace(microsecond=rest)


def micros(moment: datetime) -> int:
    """Return the microseconds of the epoch at a moment."""
    return int(moment.replace(microsecond=0).timestamp()) * 1_000_000 + moment.microsecond
