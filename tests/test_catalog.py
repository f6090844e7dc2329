"""No catalog entry changes unnoticed, and the schemas fit the products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from syrupy.extensions.json import JSONSnapshotExtension

from tap_vonage_reports.products import PRODUCTS, Product
from tap_vonage_reports.sources import ACCOUNTS, SOURCES
from tap_vonage_reports.tap import TapVonageReports

if TYPE_CHECKING:
    from collections.abc import Mapping

    from syrupy.assertion import SnapshotAssertion

    from tap_vonage_reports.sources import Source

every_product = pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS.keys())
every_source = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
PERSONAL = {"phone", "phone_or_email", "ip", "name", "content", "possible"}


@pytest.fixture(scope="module")
def catalog() -> dict[str, Any]:
    return discovered({})


def discovered(config: Mapping[str, Any]) -> dict[str, Any]:
    tap = TapVonageReports(config=config, validate_config=False)
    return {entry["stream"]: entry for entry in tap.catalog_dict["streams"]}


def is_selected(entry: dict[str, Any]) -> bool:
    (selected,) = [each["metadata"]["selected"] for each in entry["metadata"] if not each["breadcrumb"]]
    return bool(selected)


@every_source
def test_the_catalog_entry_has_not_changed(
    source: Source, catalog: dict[str, Any], snapshot: SnapshotAssertion
) -> None:
    assert catalog[source.stream] == snapshot(extension_class=JSONSnapshotExtension, name=source.stream)


def test_there_is_a_stream_for_each_of_nineteen_products_and_one_for_the_accounts(catalog: dict[str, Any]) -> None:
    assert len(PRODUCTS) == 19
    assert set(catalog) == {*PRODUCTS, "accounts"} == set(SOURCES)
    assert {tuple(catalog[stream]["key_properties"]) for stream in PRODUCTS} == {("id",)}


def test_accounts_have_their_key_and_no_bookmark(catalog: dict[str, Any]) -> None:
    entry = catalog["accounts"]
    assert entry["key_properties"] == ("api_key",)
    assert entry["replication_method"] == "FULL_TABLE"
    assert "replication_key" not in entry


@pytest.mark.parametrize(
    ("config", "selected"),
    [({}, False), ({"include_subaccounts": False}, False), ({"include_subaccounts": True}, True)],
)
def test_accounts_are_selected_where_subaccounts_are_read(config: dict[str, Any], selected: bool) -> None:  # noqa: FBT001 - parametrized
    assert is_selected(discovered(config)[ACCOUNTS.stream]) is selected


@every_source
def test_every_field_is_typed_and_described(source: Source) -> None:
    for name, spec in source.schema["properties"].items():
        assert spec["description"].endswith(".")
        assert (spec["type"] == "string") if name == source.key_field else ("null" in spec["type"])
        assert spec.get("personal", "possible") in PERSONAL
        assert spec.get("direction") in (None, *getattr(source, "directions", ()))


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
