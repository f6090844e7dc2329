"""The products of the Reports API: one entry each, with date field, directions and whatever else differs.

No other module names a product or branches on one. To add a product:

1. Add a `Product` to `_PRODUCTS`. `name` and `date_field` are required, every other attribute has a default.
2. Add its JSON Schema as ``schemas/<stream>.json``, where the stream is the name in snake case.
3. Add its traffic to the sandbox, and regenerate the tables and snapshots that CONTRIBUTING.md lists.

The facts come from public material about the API. Comments mark how certain they are: *confirmed* (seen in a real
account, or in official documents of two generations), *likely* (one generation only) or *unknown* (no source).
`Product.unsure` tells users what is not confirmed. The tap returns correct data whichever way these turn out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

INBOUND = "inbound"
OUTBOUND = "outbound"
BOTH_DIRECTIONS = (OUTBOUND, INBOUND)


@dataclass(frozen=True)
class Retention:
    """The time for which Vonage keeps the records of a product."""

    months: int = 0
    days: int = 0

    def __str__(self) -> str:
        """Return the retention in words, for messages and tables."""
        return f"{self.months} months" if self.months else f"{self.days} days"


STANDARD_RETENTION = Retention(months=13)
"""The retention of all products but Video [confirmed]."""

ROWS_PER_PAGE = 1000
"""Rows of a full page [confirmed]."""
STATUS = "status"
"""The field with a row's status, where it has one."""


@dataclass(frozen=True)
class FinalityRule:
    """The condition under which a row is final, which means that it will not change any more.

    Attributes:
        statuses: The final values of `status`. Rows with any other status, known or not, may change. Empty if the rows
            have no status.
        filled: Fields that a final row must have.
    """

    statuses: frozenset[str] = frozenset()
    filled: tuple[str, ...] = ()

    def fits(self, row: Mapping[str, Any]) -> bool:
        """Return True if a row is final. The row is as the API sent it."""
        status_is_final = not self.statuses or row.get(STATUS) in self.statuses
        return status_is_final and all(row.get(name) not in (None, "") for name in self.filled)


@dataclass(frozen=True)
class Product:
    """A product of the Reports API, which is a stream of the tap.

    Attributes:
        name: Name in the API, for example ``VOICE-CALL``.
        date_field: Record field that a request's `date_start` and `date_end` select on; the stream's replication key.
            The tap never compares it with a window, because the API decides which rows a window holds. A wrong field
            here loses no row.
        lookback_hours: Default length of the lookback window in hours. Rows arrive late or change: delivery receipts
            within 72 hours, and calls are listed by their start but only after their end.
        directions: Values of `direction` to request, one partition each. Empty if the parameter must not be sent.
        sync_filters: Filters of a synchronous request. `direction`, `include_message` and `show_concatenated` are not
            among them.
        async_filters: Filters of an asynchronous report, without `direction` and the switches.
        include_message: True if the API accepts `include_message` for this product.
        concatenated_directions: Directions whose requests accept `show_concatenated`.
        retention: How long the API keeps records.
        aliases: Field names that the API has also used, mapped to the names in the schema.
        selected: True if the stream is selected by default.
        final: Finality rule by direction (`""` for a product without directions). Empty if no rule is known, or if the
            lookback is for late rows: IDs of rows that are not listed yet cannot be tracked.
        unsure: What is not confirmed about this product, in sentences for users.
        key_field: The field that identifies a record.
    """

    key_field: ClassVar[str] = "id"

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
        """Return the name of the stream: ``VOICE-CALL`` is ``voice_call``."""
        return self.name.lower().replace("-", "_")

    @cached_property
    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the product's records.

        Properties may have two keywords of our own: `personal` (the kind of personal data in the field) and
        `direction` (the only direction whose rows have the field).
        """
        return read_schema(self.stream)


def read_schema(stream: str) -> dict[str, Any]:
    """Return the JSON Schema of a stream's records, as its file has it."""
    path = files("tap_vonage_reports") / "schemas" / f"{stream}.json"
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
        # A row changes until its receipt arrives, and expires after 72 hours [likely]. The status `unknown` is not
        # final here, because a receipt may follow [unknown].
        final=MappingProxyType(
            {
                OUTBOUND: FinalityRule(
                    frozenset({"delivered", "expired", "failed", "rejected", "deleted"}), filled=("date_finalized",)
                ),
                INBOUND: FinalityRule(filled=("total_price",)),
            }
        ),
        unsure="Support for show_concatenated on inbound requests is unconfirmed, so the tap does not send it.",
    ),
    Product(
        "SMS-TRAFFIC-CONTROL",
        date_field="queued_time",
        unsure="The date field is unconfirmed.",
    ),
    Product(
        "VOICE-CALL",
        date_field="date_start",
        lookback_hours=24,
        directions=BOTH_DIRECTIONS,
        sync_filters=("status", "from", "to", "country", "network", "call_id"),
        async_filters=("from", "to", "country", "network", "status", "call_id"),
        unsure="The delay between the end of a call and its record is unknown.",
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
        unsure="The date field is unconfirmed. Older records may lack call_id.",
    ),
    Product(
        "IN-APP-VOICE",
        date_field="date_start",
        lookback_hours=24,
        sync_filters=("status", "leg_id", "conversation_id"),
        async_filters=("conversation_id", "status", "leg_id"),
        unsure="The date field is unconfirmed.",
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
        unsure="The date field and the filters country and network are unconfirmed.",
    ),
    Product(
        "AMD",
        date_field="start_time",
        lookback_hours=24,
        sync_filters=("call_id",),
        async_filters=("call_id",),
        unsure="The date field is unconfirmed.",
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
        unsure="Vonage retires this product on February 4, 2027.",
    ),
    Product(
        "NUMBER-INSIGHT-V2",
        date_field="date_received",
        sync_filters=("status", "country", "network", "number", "request_type", "risk", "swapped"),
        selected=False,
        unsure="The API may no longer support this product, so the stream is not selected by default.",
    ),
    Product(
        "CONVERSATION-EVENT",
        date_field="creation_date",
        sync_filters=("status", "conversation_id"),
        async_filters=("conversation_id", "status"),
        unsure="The date field is unconfirmed.",
    ),
    Product(
        "CONVERSATION-MESSAGE",
        date_field="creation_date",
        sync_filters=("conversation_id",),
        async_filters=("conversation_id",),
        unsure="The date field is unconfirmed.",
    ),
    Product(
        "MESSAGES",
        date_field="date_received",
        lookback_hours=72,
        directions=BOTH_DIRECTIONS,
        sync_filters=("status", "from", "to", "country", "provider"),
        async_filters=("status", "from", "to", "provider", "country"),
        include_message=True,
        # `delivered` can become `read` at any time. RCS rows get their date and price up to 48 hours late [likely].
        final=MappingProxyType(
            {
                OUTBOUND: FinalityRule(frozenset({"read", "rejected", "undeliverable"}), filled=("date_finalized",)),
                INBOUND: FinalityRule(filled=("total_price",)),
            }
        ),
        unsure="How long a delivered message can still become read is unknown.",
    ),
    Product(
        "VIDEO-API",
        date_field="date_start",
        lookback_hours=24,
        sync_filters=("session_id", "meeting_id"),
        async_filters=("session_id", "meeting_id"),
        retention=Retention(days=90),  # [likely]
        unsure="The date field is unconfirmed.",
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
        unsure="The date field is unconfirmed: event_time or record_creation_time.",
    ),
    Product(
        "REPORTS-USAGE",
        date_field="date_received",
        lookback_hours=24,
        aliases=MappingProxyType({"request_product": "requested_product"}),
        unsure="The stream may not list the requests for this stream itself.",
    ),
)

PRODUCTS: Mapping[str, Product] = MappingProxyType({product.stream: product for product in _PRODUCTS})
"""All products, by stream name."""


FREE_PRODUCT = PRODUCTS["reports_usage"]
"""The only product whose rows are free [confirmed]. Requesting them verifies credentials and tells Vonage's clock."""
