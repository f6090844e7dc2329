"""The products of the Reports API: everything in which one differs from another.

This is the only module that names a product. A new product is one entry in `PRODUCTS` and one file
in `schemas/`; nothing else branches on a product's name.

The facts come from the public material on the API. A mark tells how sure each is: *confirmed* (seen
in a real account, or in official documents of two generations), *likely* (one generation only) or
*unknown* (no source says it). `Product.unsure` words what is not confirmed, for the reader of the
README; the tap is built so that every possible answer gives right data.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

INBOUND = "inbound"
OUTBOUND = "outbound"
BOTH_DIRECTIONS = (OUTBOUND, INBOUND)


@dataclass(frozen=True)
class Retention:
    """How long Vonage keeps the records of a product (documented: 13 months; Video, likely: 90 days)."""

    months: int = 0
    days: int = 0

    def __str__(self) -> str:
        """The retention in words, for messages and tables."""
        return f"{self.months} months" if self.months else f"{self.days} days"


STANDARD_RETENTION = Retention(months=13)


@dataclass(frozen=True)
class FinalityRule:
    """How a row shows that it will not change any more.

    Attributes:
        statuses: The values of `status` that are final. Any other may change, also one that nobody knows yet. Empty
            where the rows have no status.
        filled: The fields that a final row has.
    """

    statuses: frozenset[str] = frozenset()
    filled: tuple[str, ...] = ()

    def fits(self, row: Mapping[str, Any]) -> bool:
        """Whether a row, as it came over the wire, is final."""
        known = not self.statuses or row.get("status") in self.statuses
        return known and all(row.get(name) not in (None, "") for name in self.filled)


@dataclass(frozen=True)
class Product:
    """One product of the Reports API, and so one stream of the tap.

    Attributes:
        name: The product as the API spells it, for example ``VOICE-CALL``.
        date_field: The record field that `date_start` and `date_end` of a request select on, and the
            replication key. The tap never compares it with a window: what a window holds is for the
            API to say, so a wrong guess here costs no row.
        lookback_hours: How far before the bookmark to read again unless the user says otherwise,
            because rows arrive late or change (delivery receipts within 72 hours, calls listed by
            their start after they have ended).
        directions: The values of `direction` that have to be asked for one by one; empty where the
            parameter must not be sent.
        sync_filters: Query parameters that narrow a synchronous query, without the switches.
        async_filters: The same for the body of an asynchronous report.
        include_message: Whether the API takes `include_message` for this product.
        concatenated_directions: The directions whose requests take `show_concatenated`.
        retention: How long the API keeps the records.
        aliases: Other names under which the API has delivered a field, and the field's name here.
        selected: Whether the stream is selected when the user says nothing.
        final: How rows show that they are final, by direction. Empty where that cannot be told, or where what the
            look-back is for is rows that are listed late: then ids cannot stand in for it.
        unsure: What is not confirmed about this product, in words.
    """

    name: str
    date_field: str
    lookback_hours: float = 1
    directions: tuple[str, ...] = ()
    sync_filters: tuple[str, ...] = ()
    async_filters: tuple[str, ...] = ()
    include_message: bool = False
    concatenated_directions: tuple[str, ...] = ()
    retention: Retention = STANDARD_RETENTION
    aliases: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    selected: bool = True
    final: Mapping[str, FinalityRule] = field(default_factory=lambda: MappingProxyType({}))
    unsure: str = ""

    @property
    def stream(self) -> str:
        """The stream's name: ``VOICE-CALL`` -> ``voice_call``."""
        return self.name.lower().replace("-", "_")

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the product's records.

        Beyond the standard keywords a property may say `personal` (the kind of personal data it holds)
        and `direction` (the only direction whose rows have the field).
        """
        path = files("tap_vonage_reports") / "schemas" / f"{self.stream}.json"
        schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return schema


_PRODUCTS = (
    Product(
        "SMS",
        date_field="date_received",
        lookback_hours=72,
        directions=BOTH_DIRECTIONS,
        sync_filters=("status", "from", "to", "country", "network", "account_ref"),
        async_filters=("status", "from", "to", "country", "network", "client_ref", "account_ref"),
        include_message=True,
        concatenated_directions=(OUTBOUND,),
        # All of a row moves until its receipt comes, and after 72 hours it is expired [likely]. `unknown` may be
        # followed by a receipt: no source says that it is not.
        final=MappingProxyType(
            {
                OUTBOUND: FinalityRule(
                    frozenset({"delivered", "expired", "failed", "rejected", "deleted"}), filled=("date_finalized",)
                ),
                INBOUND: FinalityRule(filled=("total_price",)),
            }
        ),
        unsure="whether inbound requests take show_concatenated (it is not sent)",
    ),
    Product(
        "SMS-TRAFFIC-CONTROL",
        date_field="queued_time",
        unsure="the date field",
    ),
    Product(
        "VOICE-CALL",
        date_field="date_start",
        lookback_hours=24,
        directions=BOTH_DIRECTIONS,
        sync_filters=("status", "from", "to", "country", "network", "call_id"),
        async_filters=("from", "to", "country", "network", "status", "call_id"),
        unsure="how long after its end a call is listed",
    ),
    Product(
        "VOICE-FAILED",
        date_field="date_start",
        lookback_hours=24,
        directions=BOTH_DIRECTIONS,
        sync_filters=("from", "to", "country", "network", "call_id"),
        async_filters=("from", "to", "country", "call_id"),
    ),
    Product(
        "VOICE-TTS",
        date_field="creation_date",
        lookback_hours=24,
        sync_filters=("call_id",),
        async_filters=("call_id",),
        unsure="the date field; since when call_id is delivered",
    ),
    Product(
        "IN-APP-VOICE",
        date_field="date_start",
        lookback_hours=24,
        sync_filters=("status", "leg_id", "conversation_id"),
        async_filters=("conversation_id", "status", "leg_id"),
        unsure="the date field",
    ),
    Product(
        "WEBSOCKET-CALL",
        date_field="date_start",
        lookback_hours=24,
        sync_filters=("call_id",),
        async_filters=("call_id",),
    ),
    Product(
        "ASR",
        date_field="date_start",
        lookback_hours=24,
        directions=BOTH_DIRECTIONS,
        sync_filters=("from", "to", "country", "network", "call_id"),
        async_filters=("from", "to", "call_id"),
        unsure="the date field; whether the filters country and network work",
    ),
    Product(
        "AMD",
        date_field="start_time",
        lookback_hours=24,
        sync_filters=("call_id",),
        async_filters=("call_id",),
        unsure="the date field",
    ),
    Product(
        "VERIFY-API",
        date_field="date_received",
        lookback_hours=24,
        sync_filters=("to", "country", "network", "locale", "number_type"),
        async_filters=("to", "network"),
        aliases=MappingProxyType({"verify_status": "status"}),
    ),
    Product(
        "VERIFY-V2",
        date_field="date_received",
        lookback_hours=24,
        sync_filters=("status", "to", "country", "network", "locale", "channel", "parent_request_id"),
        async_filters=("channel", "parent_request_id", "to", "locale", "network", "country", "status"),
    ),
    Product(
        "NUMBER-INSIGHT",
        date_field="date_received",
        sync_filters=("country", "network", "number"),
        async_filters=("number", "network"),
        unsure="Vonage ends this product on 4 February 2027",
    ),
    Product(
        "NUMBER-INSIGHT-V2",
        date_field="date_received",
        sync_filters=("status", "country", "network", "number", "request_type", "risk", "swapped"),
        selected=False,
        unsure="whether the API still takes the product; not selected by default",
    ),
    Product(
        "CONVERSATION-EVENT",
        date_field="creation_date",
        sync_filters=("status", "conversation_id"),
        async_filters=("conversation_id", "status"),
        unsure="the date field",
    ),
    Product(
        "CONVERSATION-MESSAGE",
        date_field="creation_date",
        sync_filters=("conversation_id",),
        async_filters=("conversation_id",),
        unsure="the date field",
    ),
    Product(
        "MESSAGES",
        date_field="date_received",
        lookback_hours=72,
        directions=BOTH_DIRECTIONS,
        sync_filters=("status", "from", "to", "country", "provider"),
        async_filters=("status", "from", "to", "provider", "country"),
        include_message=True,
        # `delivered` can turn to `read` at any time, and RCS rows get date and price up to 48 hours late [likely].
        final=MappingProxyType(
            {
                OUTBOUND: FinalityRule(frozenset({"read", "rejected", "undeliverable"}), filled=("date_finalized",)),
                INBOUND: FinalityRule(filled=("total_price",)),
            }
        ),
        unsure="how long after delivery a message can still turn to read",
    ),
    Product(
        "VIDEO-API",
        date_field="date_start",
        lookback_hours=24,
        sync_filters=("session_id", "meeting_id"),
        async_filters=("session_id", "meeting_id"),
        retention=Retention(days=90),
        unsure="the date field",
    ),
    Product(
        "NETWORK-API-EVENT",
        date_field="event_time",
        sync_filters=(
            "country",
            "network",
            "request_type",
            "product_name",
            "request_session_id",
            "product_path",
            "correlation_id",
        ),
        async_filters=("product_name", "request_type", "request_session_id", "product_path", "correlation_id"),
        unsure="the date field (event_time or record_creation_time)",
    ),
    Product(
        "REPORTS-USAGE",
        date_field="date_received",
        lookback_hours=24,
        aliases=MappingProxyType({"request_product": "requested_product"}),
        unsure="whether its own calls are listed",
    ),
)

PRODUCTS: Mapping[str, Product] = MappingProxyType({product.stream: product for product in _PRODUCTS})
"""All products, by the name of their stream."""


@cache
def personal_kinds() -> Mapping[str, str | None]:
    """What is known of all field names together: the kind of personal data where any product has it, else None."""
    kinds: dict[str, str | None] = {}
    for product in PRODUCTS.values():
        for name, spec in product.schema["properties"].items():
            kinds[name] = kinds.get(name) or spec.get("personal")
    return kinds


FREE_PRODUCT = PRODUCTS["reports_usage"]
"""The one product whose rows cost nothing to read (confirmed), so that a request can learn Vonage's clock from it."""
