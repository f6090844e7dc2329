"""Records are exact: typed, complete, and the same whichever way the row came."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_vonage_reports.errors import RecordError
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.records import RecordParser

SCHEMA = {
    "properties": {
        "id": {"type": "string"},
        "text": {"type": ["string", "null"]},
        "count": {"type": ["integer", "null"]},
        "price": {"type": ["number", "null"]},
        "flag": {"type": ["boolean", "null"]},
        "time": {"type": ["string", "null"], "format": "date-time"},
        "thing": {"type": ["object", "null"]},
        "_extra": {"type": ["object", "null"]},
    }
}
FIELDS = list(SCHEMA["properties"])


def parse(**row: Any) -> dict[str, Any]:
    return RecordParser(SCHEMA).parse({"id": "1", **row})


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS.keys())
def test_every_product_has_a_parser_for_all_its_fields(product: Any) -> None:
    record = RecordParser(product.schema, product.aliases).parse({"id": "x"})
    assert list(record) == list(product.schema["properties"])
    assert record["id"] == "x"
    assert {value for name, value in record.items() if name != "id"} == {None}


@pytest.mark.parametrize("missing", [None, ""])
def test_null_empty_and_absent_are_all_null(missing: object) -> None:
    row = {name: missing for name in FIELDS if name not in ("id", "_extra")}
    assert parse(**row) == parse()


def test_fields_stand_in_the_order_of_the_schema() -> None:
    assert list(RecordParser(SCHEMA).parse({"price": "1", "text": "a", "id": "1"})) == FIELDS


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**9), max_value=10**9))
def test_prices_keep_every_digit(price: Decimal) -> None:
    from_text = parse(price=format(price, "f"))["price"]
    assert isinstance(from_text, Decimal)
    assert format(from_text, "f") == format(price, "f")


@pytest.mark.parametrize("text", ["0.03330000", "0", "0.00000001", "-1.5", "120", ".5", "1e-7"])
def test_a_price_is_the_same_number_as_text_and_as_json(text: str) -> None:
    assert parse(price=text)["price"] == Decimal(text)
    if not text.startswith("."):
        decoded = msgspec.json.Decoder(float_hook=Decimal).decode(text)
        assert str(parse(price=decoded)["price"]) == str(Decimal(text))


@pytest.mark.parametrize("text", ["n/a", "NaN", "Infinity", "1,5", "0x10", "1_000", "١", "1e999", " "])  # noqa: RUF001 - a digit, but not ours
def test_what_is_no_number_goes_into_extra_as_it_came(text: str) -> None:
    for field in ("price", "count"):
        record = parse(**{field: text})
        assert record[field] is None
        assert record["_extra"] == {field: text}


@pytest.mark.parametrize(("raw", "expected"), [("42", 42), (42, 42), ("-1", -1), (Decimal("30.0"), 30), ("007", 7)])
def test_counts_are_integers(raw: object, expected: int) -> None:
    count = parse(count=raw)["count"]
    assert (count, type(count)) == (expected, int)


def test_a_count_with_a_fraction_is_not_rounded() -> None:
    assert parse(count="42.5")["_extra"] == {"count": "42.5"}


@pytest.mark.parametrize(("raw", "expected"), [("TRUE", True), ("false", False), (True, True), ("True", True)])
def test_booleans_come_as_words_or_as_json(raw: object, expected: bool) -> None:  # noqa: FBT001
    assert parse(flag=raw)["flag"] is expected


@pytest.mark.parametrize(("raw", "expected"), [(5, "5"), (Decimal("0.50"), "0.50"), (True, "true"), ("00123", "00123")])
def test_text_is_text_however_it_came(raw: object, expected: str) -> None:
    assert parse(text=raw)["text"] == expected


def test_an_object_is_the_same_out_of_json_text() -> None:
    as_object = parse(thing={"b": "1", "a": Decimal("0.10")})
    as_text = parse(thing='{"b": "1", "a": 0.10}')
    assert msgspec.json.encode(as_object) == msgspec.json.encode(as_text)


def test_unknown_fields_are_kept_and_reported_once_without_their_value() -> None:
    told: list[tuple[str, str]] = []
    parser = RecordParser(SCHEMA, surprised=lambda field, why: told.append((field, why)))
    for _ in range(3):
        record = parser.parse({"id": "1", "zeta": "447700900000", "alpha": {"x": 1}, "empty": "", "none": None})
    assert record["_extra"] == {"alpha": {"x": 1}, "zeta": "447700900000"}
    assert sorted(field for field, _ in told) == ["alpha", "zeta"]
    assert "447700900000" not in str(told)


def test_extra_does_not_depend_on_the_order_of_columns() -> None:
    one = RecordParser(SCHEMA).parse({"id": "1", "b": "2", "a": "1"})
    other = RecordParser(SCHEMA).parse({"a": "1", "b": "2", "id": "1"})
    assert msgspec.json.encode(one) == msgspec.json.encode(other)


def test_a_field_under_its_other_name_is_the_same_field() -> None:
    product = PRODUCTS["reports_usage"]
    parser = RecordParser(product.schema, product.aliases)
    assert parser.parse({"id": "1", "request_product": "SMS"})["requested_product"] == "SMS"
    both = parser.parse({"id": "1", "request_product": "SMS", "requested_product": "ASR"})
    assert (both["requested_product"], both["_extra"]) == ("ASR", {"request_product": "SMS"})


@pytest.mark.parametrize("row", [{}, {"id": ""}, {"id": None}])
def test_a_row_without_its_key_is_an_error_and_not_a_loss(row: dict[str, Any]) -> None:
    with pytest.raises(RecordError):
        RecordParser(SCHEMA).parse({**row, "text": "447700900000"})


@given(
    st.dictionaries(
        st.text(max_size=8), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists), max_size=8
    )
)
def test_whatever_comes_nothing_is_dropped_and_nothing_fails(row: dict[str, Any]) -> None:
    row = {**row, "id": "1"}
    record = RecordParser(SCHEMA).parse(row)
    kept = {**{name: value for name, value in record.items() if value is not None}, **(record["_extra"] or {})}
    assert {name for name, value in row.items() if value not in (None, "")} <= set(kept)
