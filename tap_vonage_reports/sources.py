"""The sources of all streams: the products, and the dimensions that describe what their records refer to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from tap_vonage_reports.products import PRODUCTS, Product, read_schema

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    Source: TypeAlias = "Product | Dimension"


@dataclass(frozen=True)
class Dimension:
    """A table of what the records of products refer to. Every run reads it whole.

    Attributes:
        stream: Name of the stream.
        title: What it is for a table, where a product has its name in the API.
        key_field: The field that identifies a record.
        selected: True if the stream is selected by default, whatever the settings.
        date_field: None: a dimension has no bookmark.
        unsure: What is not confirmed about it, in sentences for users.
    """

    date_field: ClassVar[None] = None

    stream: str
    title: str
    key_field: str
    selected: bool = False
    unsure: str = ""

    @cached_property
    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the records, with the keyword `personal` (see `Product.schema`)."""
        return read_schema(self.stream)


ACCOUNTS = Dimension(
    "accounts",
    title="Accounts",
    key_field="api_key",
    unsure="Whether the API gives primary_account_api_key and use_primary_account_balance of the primary account is "
    "unconfirmed. If it does not, they are null.",
)
"""The primary account and its sub-accounts, from the Subaccounts API [confirmed]."""

SOURCES: Mapping[str, Source] = MappingProxyType({**PRODUCTS, ACCOUNTS.stream: ACCOUNTS})
"""The sources of all streams, by stream name."""


@cache
def personal_kinds() -> Mapping[str, str | None]:
    """Return the field names of all streams with their kind of personal data; None if no stream marks the field."""
    kinds: dict[str, str | None] = {}
    for source in SOURCES.values():
        for name, spec in source.schema["properties"].items():
            kinds[name] = kinds.get(name) or spec.get("personal")
    return kinds
