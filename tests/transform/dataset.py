"""One set of data for all tests of the models: three runs of the tap, and rows that stand in several products."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox import DEMO_KEY, Sandbox
from tap_vonage_reports.sandbox.traffic import Daily
from tests.harness import StandingClock, catalog_of, settings_for
from tests.transform.warehouse import LEFT_OUT

if TYPE_CHECKING:
    from tap_vonage_reports.sandbox.world import Amount
    from tests.transform.warehouse import Planted, Warehouse

Group = tuple[str, str | None, str | None, date, str | None]
Groups = dict[Group, tuple[int, Decimal]]

FIRST, MOVED = datetime(2026, 9, 28, tzinfo=timezone.utc), datetime(2026, 9, 21, tzinfo=timezone.utc)
"""The start of the first two runs, and of the third."""
CLOCK = datetime(2026, 11, 3, 12, tzinfo=timezone.utc)
SUBACCOUNTS = ("sub00001",)
NOT_LOADED = "number_insight_v2"
STREAMS = (*(stream for stream in PRODUCTS if stream != NOT_LOADED), "accounts")
VOLUMES: dict[str, Amount] = {
    "*": 1,
    "sms/outbound": 6,
    "messages/outbound": 4,
    "conversation_event": Daily(8, weekend=0.4, noise=90),
}
LATE = datetime(2026, 10, 20, 9, 30, tzinfo=timezone.utc)
"""When the messages were sent that stand in several products."""


class Dataset:
    """A sandbox, and a warehouse that gets its rows in three loads."""

    def __init__(self, sandbox: Sandbox, warehouse: Warehouse) -> None:
        """Take a sandbox at CLOCK, and an empty warehouse."""
        self.sandbox, self.warehouse = sandbox, warehouse
        self._start = FIRST

    def load(self, *, start: datetime = FIRST, planted: Planted | None = None) -> None:
        """Load what is there now, from a start on."""
        self._start = start
        settings = settings_for(
            self.sandbox, start_date=start.isoformat(), end_date=self.end.isoformat(), include_subaccounts=True
        )
        catalog = catalog_of(STREAMS)
        for entry in catalog["streams"]:
            for metadata in entry["metadata"]:
                if (entry["stream"], *metadata["breadcrumb"][1:]) == LEFT_OUT:
                    metadata["metadata"]["selected"] = False
        StandingClock.sandbox = self.sandbox.clock.now
        self.warehouse.load(settings, catalog, planted or {})

    @property
    def end(self) -> datetime:
        """The end of what is loaded: the last midnight."""
        return self.sandbox.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)

    def truth(self) -> Groups:
        """Return count and sum by stream, account, direction, day and currency, as the sandbox has them now."""
        groups: dict[Group, list[Decimal]] = defaultdict(list)
        for stream in (stream for stream in STREAMS if stream in PRODUCTS):
            for account in self.sandbox.accounts:
                for row in self.sandbox.expected(stream, account.key, None, self._start, self.end):
                    groups[_group(stream, row)].append(_price(row))
        for stream, rows in PLANTED.items():
            for row in rows:
                groups[_group(stream, row)].append(_price(row))
        return {group: (len(prices), sum(prices, Decimal())) for group, prices in groups.items()}

    def fact(self) -> Groups:
        """Return the same of the fact."""
        found = self.warehouse.query(
            "select stream, account_id, direction, cast(started_at as date), currency, count(*), "
            "coalesce(sum(total_price), 0) from fct_vonage__usage group by 1, 2, 3, 4, 5"
        )
        return {(*group, currency): (count, total) for *group, currency, count, total in found}


def _group(stream: str, row: dict[str, Any]) -> Group:
    at = row[PRODUCTS[stream].date_field]
    day = at.date() if isinstance(at, datetime) else datetime.fromisoformat(at[:19]).date()
    return stream, row.get("account_id") or None, row.get("direction") or None, day, row.get("currency") or None


def _price(row: dict[str, Any]) -> Decimal:
    price = row.get("total_price", row.get("price"))
    return Decimal(str(price)) if price not in (None, "") else Decimal()


def _id(number: int) -> str:
    return str(UUID(int=number))


def _message(number: int, price: str, minutes: int = 0, **columns: Any) -> dict[str, Any]:
    at = LATE + timedelta(minutes=minutes)
    common = {
        "id": _id(number),
        "message_id": _id(number),
        "account_id": DEMO_KEY,
        "direction": "outbound",
        "from": "Shop",
        "status": "delivered",
        "country": "GB",
        "date_received": at,
        "date_finalized": at + timedelta(seconds=3),
        "latency": 3000,
        "currency": "EUR",
        "total_price": Decimal(price),
    }
    return common | columns


def _through_messages(number: int) -> str:
    return f"1|{_id(number)}|{int(LATE.timestamp()) * 1000}|eu"


PLANTED: Planted = {
    "messages": [
        _message(101, "0.05", provider="sms", to="447700900101"),
        _message(102, "0.05", provider="sms", to="447700900102"),
        _message(103, "0.04", 1, provider="sms", to="447700900103", **{"from": "verify"}),
        _message(104, "0.06", provider="whatsapp", to="447700900104"),
        _message(110, "0", provider="sms", to="447700900110"),
        _message(111, "0.05", provider="sms", to="447700900111", currency="USD", status="undeliverable"),
    ],
    "sms": [
        _message(201, "0.05", client_ref=_through_messages(101), to="447700900101"),
        _message(202, "0.05", message_id=_id(102), to="447700900102"),
        _message(203, "0.04", 1, client_ref=_through_messages(103), to="447700900103", **{"from": "verify"}),
        _message(205, "0.045", 2, to="447700900105", **{"from": "Verify"}),
        _message(206, "0.03", client_ref=_through_messages(999), to="447700900106"),
        _message(207, "0.035", 90, to="447700900105", **{"from": "verify"}),
        _message(210, "0.05", client_ref=_through_messages(110), to="447700900110"),
        _message(211, "0.07", client_ref=_through_messages(111), to="447700900111", status="failed"),
        _message(208, "0.055", client_ref="1|not one of these", to="447700900108"),
    ],
    "verify_v2": [
        {
            "id": _id(301),
            "request_id": _id(301),
            "account_id": DEMO_KEY,
            "channel": "v2",
            "to": "447700900103",
            "status": "completed",
            "date_received": LATE,
            "sms_event_count": 1,
            "currency": "EUR",
            "total_price": Decimal("0.068"),
        }
    ],
    "verify_api": [
        {
            "id": f"{302:032x}",
            "request_id": f"{302:032x}",
            "account_id": DEMO_KEY,
            "to": "447700900105",
            "status": "SUCCESS",
            "date_received": LATE,
            "sms_event_count": 1,
            "currency": "EUR",
            "price": Decimal("0.068"),
        }
    ],
}
"""Rows that the API lists in several products. The SMS 206 and 207 have no partner; 208 has a reference of its own."""

PAIRS = {
    f"sms:{_id(201)}": ("MESSAGES", "client_ref"),
    f"sms:{_id(202)}": ("MESSAGES", "message_id"),
    f"sms:{_id(203)}": ("MESSAGES", "client_ref"),
    f"sms:{_id(205)}": ("VERIFY-API", "verify"),
    f"messages:{_id(103)}": ("VERIFY-V2", "verify"),
}
"""What is counted elsewhere, and how that is told."""

UNPRICED_PAIRS = {f"sms:{_id(number)}": ("MESSAGES", "client_ref") for number in (210, 211)}
"""Rows whose other row has no price, or one in another currency: both count."""

NOT_COUNTED = {key.partition(":")[2] for key in PAIRS}


class Bill:
    """What the sandbox's rows of a month come to, by product and currency, each message counted once."""

    def __init__(self, sandbox: Sandbox, start: datetime, end: datetime) -> None:
        """Add up the rows in [start, end)."""
        self.amounts: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        self.units: dict[tuple[str, str], int] = defaultdict(int)
        for stream in (stream for stream in STREAMS if stream in PRODUCTS):
            product = PRODUCTS[stream]
            rows = [
                row
                for account in sandbox.accounts
                for row in sandbox.expected(stream, account.key, None, max(start, FIRST), end)
            ]
            rows += [
                row
                for row in PLANTED.get(stream, [])
                if row["id"] not in NOT_COUNTED and start <= row[product.date_field] < end
            ]
            for row in rows:
                key = product.name, row.get("currency") or ""
                self.amounts[key] += _price(row)
                self.units[key] += _units(row) if _price(row) else 0


def _units(row: dict[str, Any]) -> int:
    """The units of a row: seconds, rows of a report, or one."""
    seconds = row.get("duration") if "asr_type" not in row and "tts_type" not in row else None
    return int(seconds or row.get("items_written") or 1)
