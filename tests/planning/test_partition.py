"""A partition has the same names in the state, in tables and in requests whatever else changes."""

from __future__ import annotations

from typing import Any

import pytest

from tap_vonage_reports.planning.partition import Partition, Query, WholeTable
from tap_vonage_reports.products import FREE_PRODUCT, PRODUCTS
from tests.planning.test_windows import hours

SMS, AMD = PRODUCTS["sms"], PRODUCTS["amd"]
DATES = {"date_start": "2026-10-01T00:00:00Z", "date_end": "2026-10-01T05:00:00Z"}
FIXED = {
    "product": "SMS",
    "account_id": "abcd1234",
    "direction": "outbound",
    "include_message": "true",
    "status": "delivered",
}


@pytest.mark.parametrize(
    ("partition", "label", "name", "context"),
    [
        (
            Partition(AMD, "abcd1234", None, is_primary=True),
            "primary",
            "amd, primary account",
            {"account_id": "abcd1234"},
        ),
        (
            Partition(SMS, "sub00001", "inbound", is_primary=False),
            "sub00001",
            "sms, inbound, account sub00001",
            {"account_id": "sub00001", "direction": "inbound"},
        ),
        (
            Partition(AMD, "abcd1234", None, is_primary=True, with_subaccounts=True),
            "all",
            "amd, all accounts",
            {"account_id": "abcd1234", "subaccounts": "together"},
        ),
    ],
)
def test_a_partition_is_named_by_stream_direction_and_account(
    partition: Partition, label: str, name: str, context: dict[str, str]
) -> None:
    assert (partition.account_label, str(partition), partition.context) == (label, name, context)
    assert (partition.is_of_product, partition.is_billed, partition.end) == (True, True, None)
    assert partition.date_field == partition.product.date_field


def test_only_usage_of_the_reports_api_is_free() -> None:
    partitions = [Partition(product, "x", None, is_primary=False) for product in PRODUCTS.values()]
    free = {partition.product.name for partition in partitions if not partition.is_billed}
    assert free == {FREE_PRODUCT.name} == {"REPORTS-USAGE"}


def test_the_table_of_a_dimension_is_no_products_and_costs_nothing() -> None:
    dimension: Any = type("Dimension", (), {"stream": "accounts"})
    table = WholeTable(dimension)
    assert (table.is_of_product, table.is_billed, table.date_field, table.account_id) == (False, False, "", "")
    assert (table.context, str(table), table.account, table.account_label) == ({}, "accounts", "all accounts", "-")


@pytest.mark.promise("No secret and no personal datum ever reaches a log line or an error message.")
def test_the_address_of_a_callback_is_in_the_request_for_a_report_and_nowhere_else() -> None:
    query, silent = Query(FIXED, "https://example.com/?token=hush"), Query(FIXED)
    assert query == silent
    assert "hush" not in repr(query)
    assert query.report_request(hours(0, 5)) == {**query.report_body(hours(0, 5)), "callback_url": query.callback_url}
    assert silent.report_request(hours(0, 5)) == silent.report_body(hours(0, 5))
    assert query.report_fingerprint(hours(0, 5)) == silent.report_fingerprint(hours(0, 5))


def test_a_switch_is_text_in_a_query_and_a_boolean_in_the_body_of_a_report() -> None:
    query = Query({**FIXED, "include_subaccounts": "true"})
    assert query.params(hours(0, 5)) == {**query.fixed, **DATES}
    switches = {"include_message": True, "include_subaccounts": True}
    assert query.report_body(hours(0, 5)) == {**FIXED, **DATES, **switches}


def test_a_cursor_is_sent_with_what_belongs_to_it() -> None:
    query = Query(FIXED)
    assert query.params(hours(0, 5), "next", "iv") == {**FIXED, **DATES, "cursor": "next", "iv": "iv"}
    assert query.params(hours(0, 5), "next") == {**FIXED, **DATES, "cursor": "next"}


def test_a_lookup_by_id_has_no_dates_and_no_filters() -> None:
    query = Query(FIXED)
    kept = {name: FIXED[name] for name in ("product", "account_id", "direction", "include_message")}
    assert query.params_by_id(["a", "b"]) == {**kept, "id": "a,b"}
    assert query.params_by_id(["a"], "sub00001") == {**kept, "account_id": "sub00001", "id": "a"}
    assert query.without({"status", "direction"}).fixed.keys() == {"product", "account_id", "include_message"}
