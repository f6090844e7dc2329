"""Traffic: the existing rows, as a pure function of (seed, product, account, direction, time).

Nothing is stored. Time is divided into hours. The volume determines the number of rows in an hour, and a
hash over the seed and the row's place (hour and number in the hour) gives a row's random numbers. A row's
id is its place, scrambled. So any hour can be generated without the earlier ones, an id leads to its row,
and a row keeps its id, date and place while its status changes with the clock.

Generated rows are kept, already encoded as JSON or CSV, in a small cache of chunks.
"""

from __future__ import annotations

import hashlib
import random
import struct
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox.alterations import Alteration, altered
from tap_vonage_reports.sandbox.reference_data import BLANK_CURRENCY_STREAMS, LATE_SECONDS
from tap_vonage_reports.sandbox.rows import KINDS, Draw, Kind, Made, Place, Row
from tap_vonage_reports.sandbox.table import line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from tap_vonage_reports.sandbox.accounts import Account

HOUR = 3600
DAY = 24 * HOUR
FAR = 1 << 40
"""A second of the epoch after everything."""

CHUNK = 240
"""Rows that are generated together: a multiple of every group, and some milliseconds of work."""
CACHED_CHUNKS = 192
"""Chunks that are kept: some 45 MB of JSON text at most."""

_DRAW = struct.Struct("<16H")
_BLOCK = 24
"""Rows whose random numbers come from one hash: a multiple of every group, and a divisor of a chunk."""
_BLOCK_BYTES = _BLOCK * _DRAW.size
_HOUR_BITS, _NUMBER_BITS, _KIND_BITS, _ACCOUNT_BITS = 22, 26, 6, 24
_MASK_64, _MASK_128 = (1 << 64) - 1, (1 << 128) - 1

_encode = msgspec.json.Encoder().encode


class Cell(NamedTuple):
    """The rows of an hour: `rows` of them, evenly spaced in [start, start + seconds)."""

    start: int
    seconds: int
    rows: int


class Volume(Protocol):
    """The number of rows in each hour."""

    def cell(self, hour: int, /) -> Cell:
        """Return the rows of an hour, counted in hours of the epoch."""


OFFICE_HOURS = (2, 1, 1, 1, 2, 4, 8, 14, 22, 28, 30, 29, 26, 28, 30, 29, 27, 24, 20, 16, 12, 8, 5, 3)
"""A customer in Europe with some overseas traffic: shares of the hours of a day (UTC)."""
EVENLY = (1,) * 24
_SATURDAY = 5


@cache
def _cumulated(profile: tuple[int, ...]) -> tuple[int, ...]:
    total = [0]
    for share in profile:
        total.append(total[-1] + share)
    return tuple(total)


@dataclass(frozen=True)
class Daily:
    """Exactly `rows` on each UTC day, or about as many where `weekend` and `noise` are given.

    Attributes:
        rows: Rows of a day.
        profile: The shares of the 24 hours.
        weekend: Share of a weekday's rows that a Saturday or Sunday has.
        noise: How much a day may differ, in percent.
    """

    rows: int
    profile: tuple[int, ...] = EVENLY
    weekend: float = 1.0
    noise: int = 0

    def cell(self, hour: int, /) -> Cell:
        """Return the rows of an hour."""
        day, hour_of_day = divmod(hour, 24)
        rows = self.rows
        if self.weekend != 1.0 and (day + 3) % 7 >= _SATURDAY:
            rows = int(rows * self.weekend)
        if self.noise:
            swing = int.from_bytes(hashlib.blake2b(day.to_bytes(4, "big"), digest_size=2).digest(), "big")
            rows = rows * (100 - self.noise + swing % (2 * self.noise + 1)) // 100
        shares = _cumulated(self.profile)
        count = rows * shares[hour_of_day + 1] // shares[24] - rows * shares[hour_of_day] // shares[24]
        return Cell(hour * HOUR, HOUR, count)


@dataclass(frozen=True)
class Within:
    """Exactly `rows` in the half-open window [start, end), evenly, and none outside."""

    rows: int
    start: datetime
    end: datetime

    def cell(self, hour: int, /) -> Cell:
        """Return the rows of an hour."""
        window_start, window_end = int(self.start.timestamp()), int(self.end.timestamp())
        start, end = max(hour * HOUR, window_start), min((hour + 1) * HOUR, window_end)
        if end <= start:
            return Cell(hour * HOUR, HOUR, 0)
        span = window_end - window_start
        count = self.rows * (end - window_start) // span - self.rows * (start - window_start) // span
        return Cell(start, end - start, count)


VOLUMES: dict[tuple[str, str], int] = {
    ("sms", "outbound"): 6_000,
    ("sms", "inbound"): 900,
    ("sms_traffic_control", ""): 300,
    ("voice_call", "outbound"): 1_500,
    ("voice_call", "inbound"): 700,
    ("voice_failed", "outbound"): 250,
    ("voice_failed", "inbound"): 60,
    ("voice_tts", ""): 900,
    ("in_app_voice", ""): 120,
    ("websocket_call", ""): 200,
    ("asr", "outbound"): 300,
    ("asr", "inbound"): 150,
    ("amd", ""): 180,
    ("verify_api", ""): 400,
    ("verify_v2", ""): 1_200,
    ("number_insight", ""): 350,
    ("number_insight_v2", ""): 80,
    ("conversation_event", ""): 2_500,
    ("conversation_message", ""): 600,
    ("messages", "outbound"): 2_200,
    ("messages", "inbound"): 700,
    ("video_api", ""): 500,
    ("network_api_event", ""): 240,
    ("reports_usage", ""): 48,
}
"""Rows on a working day of the primary account, unless said otherwise."""


def usual(stream: str, direction: str, scale: float) -> Daily:
    """Return the default volume of a stream and direction, times `scale`."""
    return Daily(round(VOLUMES[stream, direction] * scale), OFFICE_HOURS, weekend=0.55, noise=12)


@dataclass(frozen=True)
class Look:
    """The presentation of rows: the parameters of the query, and the effects of faults.

    Attributes:
        include_message: True if message bodies are shown.
        show_concatenated: True if the column `concatenated` is shown.
        currency_blank: True if some products have no currency.
        late_rows: True if some rows are listed late.
        no_changes: True if every row is final and listed immediately.
        alterations: What else is done to the rows.
        columns: If given, rows are the lines of a CSV file with these columns; JSON objects otherwise.
    """

    include_message: bool = False
    show_concatenated: bool = False
    currency_blank: bool = False
    late_rows: bool = False
    no_changes: bool = False
    alterations: tuple[Alteration, ...] = ()
    columns: tuple[str, ...] = ()


class Listed(NamedTuple):
    """A row in its place: its second, and where a reader goes on after it (hour, step within the hour)."""

    second: int
    hour: int
    step: int
    encoded: bytes


@dataclass
class Chunk:
    """Consecutive rows of an hour, encoded in their final state.

    Attributes:
        seconds: The rows' times.
        listed: The seconds from which the API lists them.
        settled: The seconds from which they no longer change.
        encoded: The rows in their final state.
        current: A second, and the rows that were not final then as they were.
    """

    seconds: list[int] = field(default_factory=list)
    listed: list[int] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)
    encoded: list[bytes] = field(default_factory=list)
    current: tuple[int, dict[int, bytes]] = field(default_factory=lambda: (0, {}))


class ChunkCache:
    """A cache of the chunks used last, shared by readers in all threads."""

    def __init__(self, size: int = CACHED_CHUNKS) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._chunks: OrderedDict[tuple[object, ...], Chunk] = OrderedDict()

    def get(self, key: tuple[object, ...], make: Callable[[], Chunk]) -> Chunk:
        """Return the chunk of a key, and create it if needed."""
        with self._lock:
            chunk = self._chunks.get(key)
            if chunk is not None:
                self._chunks.move_to_end(key)
                return chunk
        chunk = make()
        with self._lock:
            self._chunks[key] = chunk
            while len(self._chunks) > self._size:
                self._chunks.popitem(last=False)
        return chunk


class Scrambler:
    """A bijection on 128 bits that makes places look like random identifiers, and its inverse."""

    def __init__(self, seed: str) -> None:
        digest = hashlib.shake_256(f"ids/{seed}".encode()).digest(64)
        self._factors = int.from_bytes(digest[:16], "big") | 1, int.from_bytes(digest[16:32], "big") | 1
        self._terms = int.from_bytes(digest[32:48], "big"), int.from_bytes(digest[48:], "big")
        self._inverses = tuple(pow(factor, -1, 1 << 128) for factor in self._factors)

    def scrambled(self, number: int) -> int:
        """Return the identifier of a place."""
        number = (number * self._factors[0] + self._terms[0]) & _MASK_128
        number = (number >> 64) | ((number & _MASK_64) << 64)
        return (number * self._factors[1] + self._terms[1]) & _MASK_128

    def restored(self, number: int) -> int:
        """Return the place of an identifier."""
        number = ((number - self._terms[1]) * self._inverses[1]) & _MASK_128
        number = (number >> 64) | ((number & _MASK_64) << 64)
        return ((number - self._terms[0]) * self._inverses[0]) & _MASK_128


class Line:
    """A line of traffic: the rows of one product, account and direction."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a line is made of
        self,
        seed: str,
        stream: str,
        account: Account,
        direction: str,
        volume: Volume,
        primary: Account,
        chunks: ChunkCache,
        relative: Line | None = None,
    ) -> None:
        """Set up the line.

        Args:
            seed: The world's seed.
            stream: Name of the product's stream.
            account: The account that the rows belong to.
            direction: ``inbound``, ``outbound``, or "" where the product has no directions.
            volume: How many rows there are.
            primary: The primary account.
            chunks: Where chunks are kept.
            relative: The line whose rows this line's rows refer to.
        """
        self.stream, self.account, self.direction = stream, account, direction
        self._kind: Kind = KINDS[stream, direction]
        self._has_message = PRODUCTS[stream].include_message
        self._volume = volume
        self._primary = primary
        self._chunks = chunks
        self._relative = relative
        self._scrambler = Scrambler(seed)
        self._name = f"{seed}/{stream}/{account.key}/{direction}".encode()
        digest = hashlib.sha256(account.key.encode()).digest()
        check = int.from_bytes(hashlib.sha256(f"check/{seed}".encode()).digest(), "big")
        kind = list(KINDS).index((stream, direction))
        prefix = check << _ACCOUNT_BITS | int.from_bytes(digest[:3], "big")
        self._prefix = ((prefix << _KIND_BITS | kind) << (_HOUR_BITS + _NUMBER_BITS)) & _MASK_128

    @cached_property
    def _cells(self) -> Callable[[int], Cell]:
        return lru_cache(maxsize=4096)(self._volume.cell)

    def rows(
        self, window: tuple[int, int], now: int, look: Look, *, after: tuple[int, int] | None = None, mixed: str = ""
    ) -> Iterator[Listed]:
        """Yield the rows of a window that are listed by now, newest first.

        Args:
            window: First second of the window, and the second after its last one.
            now: The present second; rows that are listed later are left out.
            look: How rows are shown.
            after: Where a reader stopped: hour and step of the last row it has.
            mixed: If not empty, the rows come in an order that only depends on this text.
        """
        start, end = window
        for hour, begun, first, order in self._walk(window, now, after, mixed):
            chunk = self._chunk(hour, first, look)
            for step, number in enumerate(order, begun):
                second = chunk.seconds[number]
                if start <= second < end and second <= now and (look.no_changes or chunk.listed[number] <= now):
                    encoded = chunk.encoded[number]
                    if chunk.settled[number] > now and not look.no_changes:
                        encoded = self._current(chunk, hour, first + number, now, look)
                    yield Listed(second, hour, step, encoded)

    def batches(self, window: tuple[int, int], now: int, look: Look, *, mixed: str = "") -> Iterator[list[bytes]]:
        """Yield the same rows in lists of some hundred, for readers who want them all and nothing but the text."""
        start, end = window[0], min(window[1], now + 1)
        for hour, _, first, order in self._walk(window, now, None, mixed):
            chunk = self._chunk(hour, first, look)
            seconds, listed, settled = chunk.seconds, chunk.listed, chunk.settled
            inside = start <= min(seconds) and max(seconds) < end
            if inside and (look.no_changes or (max(listed) <= now and max(settled) <= now)):
                yield [chunk.encoded[number] for number in order]
                continue
            yield [
                self._current(chunk, hour, first + number, now, look)
                if settled[number] > now and not look.no_changes
                else chunk.encoded[number]
                for number in order
                if start <= seconds[number] < end and (look.no_changes or listed[number] <= now)
            ]

    def _walk(
        self, window: tuple[int, int], now: int, after: tuple[int, int] | None, mixed: str
    ) -> Iterator[tuple[int, int, int, Sequence[int]]]:
        """The chunks of a window: hour, step of a reader, number of the first row, and its rows in their order."""
        start, end = window
        end = min(end, now + 1)
        hours = list(range((end - 1) // HOUR, start // HOUR - 1, -1)) if start < end else []
        if mixed:
            random.Random(mixed).shuffle(hours)
        if after is not None:
            hours = hours[hours.index(after[0]) :] if after[0] in hours else []
        for hour in hours:
            count = self._cells(hour).rows
            step = after[1] + 1 if after is not None and hour == after[0] else 0
            while step < count:
                first, offset = self._chunk_at(count, step, mixed)
                order = self._order(hour, first, min(CHUNK, count - first), mixed)[offset:]
                yield hour, step, first, order
                step += len(order)

    def find(self, identifier: str, start: int, now: int, look: Look) -> bytes | None:
        """Return the row of an id, if it is listed by now and not older than `start`."""
        try:
            place = self._scrambler.restored(int(identifier.replace("-", ""), 16))
        except ValueError:
            return None
        number = place & ((1 << _NUMBER_BITS) - 1)
        hour = place >> _NUMBER_BITS & ((1 << _HOUR_BITS) - 1)
        if place >> (_HOUR_BITS + _NUMBER_BITS) != self._prefix >> (_HOUR_BITS + _NUMBER_BITS):
            return None
        if number >= self._cells(hour).rows or identifier != self._kind.identifier(self._number(hour, number)):
            return None
        second, (row, listed, _) = self._made(hour, number, FAR if look.no_changes else now)
        if look.late_rows:
            listed = self._late(hour, number, listed)
        if not start <= second <= now or (listed > now and not look.no_changes):
            return None
        return self._shown(row, number, look)

    def number(self, hour: int, share: float) -> int:
        """Return the 128 bits of the id of the row that lies at a share of an hour; 0 if the hour is empty."""
        count = self._cells(hour).rows
        return self._number(hour, int(share * count)) if count else 0

    def _number(self, hour: int, number: int) -> int:
        return self._scrambler.scrambled(self._prefix | hour << _NUMBER_BITS | number)

    @staticmethod
    def _chunk_at(count: int, step: int, mixed: str) -> tuple[int, int]:
        """Return the first row of the chunk that holds a step of a reader, and the steps before it in the chunk."""
        last = (count - 1) // CHUNK
        tail = count - last * CHUNK
        if mixed:
            return step // CHUNK * CHUNK, step % CHUNK
        if step < tail:
            return last * CHUNK, step
        behind, offset = divmod(step - tail, CHUNK)
        return (last - 1 - behind) * CHUNK, offset

    def _order(self, hour: int, first: int, length: int, mixed: str) -> range | list[int]:
        """Return the order in which a chunk's rows come."""
        if not mixed:
            return range(length - 1, -1, -1)
        order = list(range(length))
        random.Random(f"{mixed}/{self._name!r}/{hour}/{first}").shuffle(order)
        return order

    def _chunk(self, hour: int, first: int, look: Look) -> Chunk:
        return self._chunks.get((self._name, hour, first, look), lambda: self._make_chunk(hour, first, look))

    def _make_chunk(self, hour: int, first: int, look: Look) -> Chunk:
        chunk = Chunk()
        seconds, listed, settled, encoded = chunk.seconds, chunk.listed, chunk.settled, chunk.encoded
        late, shown = look.late_rows, self._shown
        for number, second, (row, listed_at, settled_at) in self._generate(hour, first, CHUNK, FAR):
            seconds.append(second)
            listed.append(self._late(hour, number, listed_at) if late else listed_at)
            settled.append(settled_at)
            encoded.append(shown(row, number, look))
        return chunk

    def _current(self, chunk: Chunk, hour: int, number: int, now: int, look: Look) -> bytes:
        """Return a row that is not final yet, as it is now."""
        at, rows = chunk.current
        if at != now:
            rows = {}
            chunk.current = (now, rows)
        if number not in rows:
            rows[number] = self._shown(self._made(hour, number, now)[1][0], number, look)
        return rows[number]

    def _made(self, hour: int, number: int, now: int) -> tuple[int, Made]:
        """Return one row as of a moment, and its second."""
        leader = number - number % self._kind.group
        *_, (_, second, made) = self._generate(hour, leader, number - leader + 1, now)
        return second, made

    def _draws(self, hour: int, first: int, count: int) -> list[Draw]:
        """Return the random numbers of consecutive rows."""
        block, skipped = divmod(first, _BLOCK)
        blocks = range(block, (first + count - 1) // _BLOCK + 1)
        data = b"".join(hashlib.shake_128(b"%b/%d/%d" % (self._name, hour, n)).digest(_BLOCK_BYTES) for n in blocks)
        return list(_DRAW.iter_unpack(data[skipped * _DRAW.size : (skipped + count) * _DRAW.size]))

    def _generate(self, hour: int, first: int, limit: int, now: int) -> Iterator[tuple[int, int, Made]]:
        """Yield consecutive rows as of a moment, with number and second; `first` is the first row of its group."""
        kind, cell = self._kind, self._cells(hour)
        group, together, make = kind.group, kind.together, kind.make
        draws = self._draws(hour, first, min(limit, cell.rows - first))
        start, width, total = cell.start, cell.seconds, cell.rows << 16
        relative, scrambled = self._relative, self._scrambler.scrambled
        base = self._prefix | hour << _NUMBER_BITS
        place = Place(self.account.key, self._primary.key, self.account.currency)
        lead, timed = draws[0], 0
        for number, draw in enumerate(draws, first):
            own = place.number = scrambled(base | number)
            step = place.step = number % group
            if not step:
                lead, place.leader = draw, own
                if relative is not None:
                    place.relative = relative.number(hour, number / cell.rows)
            if not (together and step):
                timed = start + ((number << 16) + draw[0]) * width // total
            yield number, timed, make(place, timed, draw, lead, now)

    def _late(self, hour: int, number: int, listed: int) -> int:
        """Return the second from which a row is listed where rows come late."""
        return listed + LATE_SECONDS[self._draws(hour, number, 1)[0][14] & 255]

    def _shown(self, row: Row, number: int, look: Look) -> bytes:
        """Return a row in the requested form, encoded."""
        if self._has_message:
            if not look.include_message:
                row.pop("message_body", None)
            if not look.show_concatenated:
                row.pop("concatenated", None)
        if look.currency_blank and self.stream in BLANK_CURRENCY_STREAMS:
            row["currency"] = ""
        if look.alterations:
            row = altered(row, self.stream, self.direction, number, look.alterations)
        return line(row, look.columns) if look.columns else _encode(row)
