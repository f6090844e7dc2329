"""No catalog entry changes unnoticed, and the schemas fit the products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from syrupy.extensions.json import JSONSnapshotExtension

from tap_vonage_reports.products import PRODUCTS, Product
from tap_vonage_reports.tap import TapVonageReports

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

every_product = pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS.keys())
PERSONAL = {"phone", "phone_or_email", "ip", "name", "content", "possible"}


@pytest.fixture(scope="module")
def catalog() -> dict[str, Any]:
    tap = TapVonageReports(config={}, validate_config=False)
    return {entry["stream"]: entry for entry in tap.catalog_dict["streams"]}


@every_product
def test_the_catalog_entry_has_not_changed(
    product: Product, catalog: dict[str, Any], snapshot: SnapshotAssertion
) -> None:
    assert catalog[product.stream] == snapshot(extension_class=JSONSnapshotExtension, name=product.stream)


def test_there_are_nineteen_streams(catalog: dict[str, Any]) -> None:
    assert len(catalog) == 19
    assert set(catalog) == set(PRODUCTS)
    assert {tuple(entry["key_properties"]) for entry in catalog.values()} == {("id",)}


@every_product
def test_every_field_is_typed_and_described(product: Product) -> None:
    for name, spec in product.schema["properties"].items():
        assert spec["description"].endswith(".")
        assert (spec["type"] == "string") if name == "id" else ("null" in spec["type"])
        assert spec.get("personal", "possible") in PERSONAL
        assert spec.get("direction") in (None, *product.directions)


@every_product
def test_replication_key_is_a_timestamp(product: Product, catalog: dict[str, Any]) -> None:
    assert product.schema["properties"][product.date_field]["format"] == "date-time"
    assert catalog[product.stream]["replication_key"] == product.date_field


@every_product
def test_money_is_a_number_and_identifiers_are_text(product: Product) -> None:
    for name, spec in product.schema["properties"].items():
        if name.endswith("price"):
            assert spec["type"] == ["number", "null"]
        if name.endswith("_id"):
            assert spec["type"] == ["string", "null"]


@every_product
def test_aliases_map_to_fields_of_the_schema(product: Product) -> None:
    assert set(product.aliases.values()) <= set(product.schema["properties"])
    assert not set(product.aliases) & set(product.schema["properties"])


def test_streams_with_directions_are_those_of_the_api() -> None:
    assert {name for name, product in PRODUCTS.items() if product.directions} == {
        "sms",
        "messages",
        "voice_call",
        "voice_failed",
        "asr",
    }


def test_lookback_covers_late_changes() -> None:
    hours = {name: product.lookback_hours for name, product in PRODUCTS.items()}
    assert {name for name, value in hours.items() if value == 72} == {"sms", "messages"}
    assert {name for name, value in hours.items() if value == 1} == {
        "sms_traffic_control",
        "number_insight",
        "number_insight_v2",
        "conversation_event",
        "conversation_message",
        "network_api_event",
    }
