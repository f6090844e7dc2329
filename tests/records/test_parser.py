"""Records are exact: typed, complete, and the same whichever way the row arrived."""

from __future__ import annotations

import pickle
import tracemalloc
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_vonage_reports.exact_json import read_json
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.records import parser as parsers
from tap_vonage_reports.records.cell_text import cell_text
from tap_vonage_reports.records.parser import RecordParser
from tests.plain import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

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
ALIASES = {"body": "text", "when": "time"}

names = st.sampled_from([*FIELDS, *ALIASES, "new", "newer"])
texts = st.sampled_from(
    (
        "", "text", "7", "12.50", "0.000", "-3", "1e-7", "1e-19", "TRUE", "false", "{", '{"b": 1, "a": "x"}',
        "2024-02-02T13:50:00+00:00", "2024-02-02 13:50:00.1Z", "2024-02-30T00:00:00+00:00", "2024-02-02T24:00:00+00:00",
    )
)  # fmt: skip
values = (
    texts
    | st.none()
    | st.booleans()
    | st.integers(-5, 1 << 64)
    | st.decimals(allow_nan=False, allow_infinity=False, places=3)
    | st.lists(st.text(max_size=3), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)
rows_with_keys = st.lists(st.dictionaries(names, values)).map(
    lambda rows: [{**row, "id": str(number)} for number, row in enumerate(rows)]
)
headers = st.lists(names, unique=True).map(lambda header: header if "id" in header else [*header, "id"])
tables = headers.flatmap(
    lambda header: st.tuples(
        st.just(header),
        st.lists(st.tuples(*(texts.filter(bool) if name == "id" else texts for name in header)), min_size=1),
    )
)


def parse(**row: Any) -> dict[str, Any]:
    return RecordParser(SCHEMA).parse({"id": "1", **row})


def reporting_parser(**options: Any) -> tuple[RecordParser, list[tuple[str, str]]]:
    """A parser, and the list of the mismatches that it reports."""
    reported: list[tuple[str, str]] = []
    return RecordParser(SCHEMA, ALIASES, lambda field, why: reported.append((field, why)), **options), reported


def exactly(records: Sequence[Mapping[str, Any]]) -> str:
    """Records as text that shows the order of keys, and the types and digits of values."""
    return repr(records)


def columns(rows: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    return list(zip(*rows, strict=True))


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


def test_fields_have_the_order_of_the_schema() -> None:
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
def test_text_that_is_no_number_goes_into_extra_unchanged(text: str) -> None:
    for field in ("price", "count"):
        record = parse(**{field: text})
        assert record[field] is None
        assert record["_extra"] == {field: text}


@given(st.integers(0, 10**42), st.integers(-60, 60))
def test_only_prices_that_decimal128_holds_exactly_stay_in_their_field(digits: int, exponent: int) -> None:
    text = f"{digits}e{exponent}"
    value = Fraction(text)
    record = parse(price=text)
    if (value * 10**18).denominator == 1 and value < 10**20:
        assert str(record["price"]) == str(Decimal(text))
        assert record["_extra"] is None
    else:
        assert record["_extra"] == {"price": text}


@pytest.mark.parametrize("text", ["9" * 20 + "." + "9" * 18, "-0.000000000000000001", "0.0333" + "0" * 30, "0E-99"])
def test_trailing_zeros_do_not_count_as_digits(text: str) -> None:
    assert str(parse(price=text)["price"]) == str(Decimal(text))


@pytest.mark.parametrize("number", ["1e9999", "0e9999", "1e-9999", Decimal("1e999999999"), Decimal("-0e-999999999")])
def test_a_huge_exponent_is_never_expanded(number: str | Decimal) -> None:
    for field in ("price", "count"):
        assert parse(**{field: number})["_extra"] == {field: str(number)}


@pytest.mark.parametrize("count", [str(1 << 63), 1 << 63, "9" * 20])
def test_counts_beyond_int64_go_into_extra(count: object) -> None:
    assert parse(count=count)["_extra"] == {"count": str(count)}
    assert parse(count=str((1 << 63) - 1))["count"] == (1 << 63) - 1


@pytest.mark.parametrize(("raw", "expected"), [("42", 42), (42, 42), ("-1", -1), (Decimal("30.0"), 30), ("007", 7)])
def test_counts_are_integers(raw: object, expected: int) -> None:
    count = parse(count=raw)["count"]
    assert (count, type(count)) == (expected, int)


def test_a_count_with_a_fraction_is_not_rounded() -> None:
    assert parse(count="42.5")["_extra"] == {"count": "42.5"}


@pytest.mark.parametrize(("raw", "expected"), [("TRUE", True), ("false", False), (True, True), ("True", True)])
def test_booleans_are_words_or_json(raw: object, expected: bool) -> None:  # noqa: FBT001
    assert parse(flag=raw)["flag"] is expected


@pytest.mark.parametrize(("raw", "expected"), [(5, "5"), (Decimal("0.50"), "0.50"), (True, "true"), ("00123", "00123")])
def test_text_fields_hold_text_whatever_the_json_type(raw: object, expected: str) -> None:
    assert parse(text=raw)["text"] == expected


def test_an_object_and_its_json_text_give_the_same_value() -> None:
    as_object = parse(thing={"b": "1", "a": Decimal("0.10"), "c": [True, None], "d": None, "e": ""})
    as_text = parse(thing='{"b": "1", "a": 0.10, "c": [true, null], "d": null, "e": ""}')
    assert msgspec.json.encode(as_object) == msgspec.json.encode(as_text)
    assert as_text["thing"] == {"a": "0.10", "b": "1", "c": "[true,null]", "e": ""}


EXTRAS = {
    "7": "7",
    "-0.50": "-0.50",
    "4.0E-4": "4.0E-4",
    "1E+2": "1E+2",
    "0.00000001": "0.00000001",
    "1e999999999999999999999": "1e999999999999999999999",
    "true": "true",
    "[1, 2.50, 1e2]": "[1,2.50,1e2]",
    '{"b": [4.0E-4, null], "a": "\\u00e9"}': '{"b":[4.0E-4,null],"a":"é"}',
    "[ ]": "[]",
    '"TRUE"': "TRUE",
    '"[1, 2.50]"': "[1,2.50]",
    '"{product=SMS, to=1}"': "{product=SMS, to=1}",
    '"[cut"': "[cut",
    "null": None,
    '""': None,
}
"""JSON of a page, and the text of the CSV cell of the same row, in `_extra`."""


@pytest.mark.parametrize(("sent", "text"), EXTRAS.items())
@pytest.mark.parametrize("field", ["new", "time"])
def test_extra_holds_the_text_of_a_csv_cell_on_both_paths(sent: str, text: str | None, field: str) -> None:
    value = read_json(sent)
    cell = value if isinstance(value, str) else "" if value is None else sent
    by_page = parse(**{field: value})
    (by_report,) = plain(RecordParser(SCHEMA).parse_cells(["id", field], [["1"], [cell]]))
    assert by_page["_extra"] == (None if text is None else {field: text})
    assert exactly([by_page]) == exactly([by_report])


@pytest.mark.parametrize("sent", ["4.0E-4", "0.00000001", "1E+2", '[1,2.50,{"a":1e2}]', "{}", "true"])
def test_a_text_field_holds_the_text_that_the_api_sent_on_both_paths(sent: str) -> None:
    assert parse(text=read_json(sent))["text"] == sent


@given(rows_with_keys)
def test_the_same_row_gives_the_same_record_by_page_and_by_report(rows: list[dict[str, Any]]) -> None:
    header = sorted(set().union(*rows)) or ["id"]
    cells = [[cell_text(row.get(name)) or "" for row in rows] for name in header]
    by_page = plain(reporting_parser()[0].parse_rows(rows))
    assert exactly(plain(reporting_parser()[0].parse_cells(header, cells))) == exactly(by_page)
    assert {type(text) for record in by_page for text in (record["_extra"] or {}).values()} <= {str}


def test_a_number_keeps_its_text_while_its_page_waits_on_disk() -> None:
    (number,) = read_json("[4.0E-4]")
    assert pickle.loads(pickle.dumps(number)).text == "4.0E-4"  # noqa: S301 - our own


def test_unknown_fields_are_kept_and_reported_once_without_their_value() -> None:
    reported: list[tuple[str, str]] = []
    parser = RecordParser(SCHEMA, on_mismatch=lambda field, why: reported.append((field, why)))
    for _ in range(3):
        record = parser.parse({"id": "1", "zeta": "447700900000", "alpha": {"x": 1}, "empty": "", "none": None})
    assert record["_extra"] == {"alpha": '{"x":1}', "zeta": "447700900000"}
    assert sorted(field for field, _ in reported) == ["alpha", "zeta"]
    assert "447700900000" not in str(reported)


def test_of_very_many_unknown_fields_a_hundred_are_reported_and_all_are_kept() -> None:
    reported: list[str] = []
    parser = RecordParser(SCHEMA, on_mismatch=lambda field, _why: reported.append(field))
    record = parser.parse({"id": "1", **{f"new_{number}": "x" for number in range(101)}})
    assert (len(reported), len(record["_extra"])) == (100, 101)


def test_extra_does_not_depend_on_the_order_of_columns() -> None:
    one = RecordParser(SCHEMA).parse({"id": "1", "b": "2", "a": "1"})
    other = RecordParser(SCHEMA).parse({"a": "1", "b": "2", "id": "1"})
    assert msgspec.json.encode(one) == msgspec.json.encode(other)


def test_an_alias_fills_its_field() -> None:
    product = PRODUCTS["reports_usage"]
    parser = RecordParser(product.schema, product.aliases)
    assert parser.parse({"id": "1", "request_product": "SMS"})["requested_product"] == "SMS"
    both = parser.parse({"id": "1", "request_product": "SMS", "requested_product": "ASR"})
    assert (both["requested_product"], both["_extra"]) == ("ASR", {"request_product": "SMS"})


@given(
    st.dictionaries(
        st.text(max_size=8), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists), max_size=8
    )
)
def test_no_json_value_is_dropped_or_fails(row: dict[str, Any]) -> None:
    row = {**row, "id": "1"}
    record = RecordParser(SCHEMA).parse(row)
    kept = {**{name: value for name, value in record.items() if value is not None}, **(record["_extra"] or {})}
    assert {name for name, value in row.items() if value not in (None, "")} <= set(kept)


@given(rows_with_keys)
def test_parsing_many_rows_equals_parsing_each(rows: list[dict[str, Any]]) -> None:
    (parser, reported), (single, reported_one_by_one) = reporting_parser(), reporting_parser()
    assert exactly(plain(parser.parse_rows(rows))) == exactly([single.parse(row) for row in rows])
    assert_each_field_is_reported_once(reported, reported_one_by_one, rows)
    # Nothing new to say, and nothing was remembered wrongly.
    assert exactly(plain(parser.parse_rows(rows))) == exactly([single.parse(row) for row in rows])
    assert_each_field_is_reported_once(reported, reported_one_by_one, rows)


@pytest.mark.parametrize("first_is_misfit", [True, False])
def test_a_field_that_is_odd_in_two_ways_is_reported_once(*, first_is_misfit: bool) -> None:
    misfit: dict[str, Any] = {"id": "1", "thing": "7"}
    odd: dict[str, Any] = {"id": "2", "thing": {"\0": 0}}
    rows = [misfit, odd] if first_is_misfit else [odd, misfit]
    (parser, reported), (single, reported_one_by_one) = reporting_parser(), reporting_parser()
    assert exactly(plain(parser.parse_rows(rows))) == exactly([single.parse(row) for row in rows])
    assert_each_field_is_reported_once(reported, reported_one_by_one, rows)


def assert_each_field_is_reported_once(
    reported: list[tuple[str, str]], reported_one_by_one: list[tuple[str, str]], rows: list[dict[str, Any]]
) -> None:
    """Check the reports of many rows. If rows are odd in different ways, any of these is a right reason."""
    assert len(reported) == len(dict(reported))
    assert dict(reported).keys() == dict(reported_one_by_one).keys()
    assert set(reported) <= {found for row in rows for found in reports_of(row)}


def reports_of(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a parser reports that has seen nothing but this row."""
    parser, reported = reporting_parser()
    parser.parse(row)
    return reported


@given(tables)
def test_parsing_cells_equals_parsing_rows(table: tuple[list[str], list[tuple[str, ...]]]) -> None:
    header, cells = table
    (parser, reported), (single, reported_one_by_one) = reporting_parser(), reporting_parser()
    alone = [single.parse(dict(zip(header, row, strict=True))) for row in cells]
    assert exactly(plain(parser.parse_cells(header, columns(cells)))) == exactly(alone)
    rows = [dict(zip(header, row, strict=True)) for row in cells]
    assert_each_field_is_reported_once(reported, reported_one_by_one, rows)


@given(tables, st.randoms(use_true_random=False))
def test_records_do_not_depend_on_the_order_of_columns(
    table: tuple[list[str], list[tuple[str, ...]]], random: Random
) -> None:
    header, cells = table
    as_they_came = list(zip(header, columns(cells), strict=True))
    moved = random.sample(as_they_came, len(as_they_came))
    assert exactly(plain(reporting_parser()[0].parse_cells(*zip(*moved, strict=True)))) == exactly(
        plain(reporting_parser()[0].parse_cells(*zip(*as_they_came, strict=True)))
    )


@given(rows_with_keys, st.sets(st.sampled_from(FIELDS)))
def test_unselected_fields_leave_no_trace(rows: list[dict[str, Any]], chosen: set[str]) -> None:
    left_out = {*FIELDS} - {*chosen, "id", "_extra"}
    # What comes under another name may belong to a field that is left out; the next test is on that.
    rows = [{name: value for name, value in row.items() if name not in ALIASES} for row in rows]
    fewer = [{name: value for name, value in row.items() if name not in left_out} for row in rows]
    (all_fields, _), (parser, reported) = reporting_parser(), reporting_parser(fields=chosen)
    assert exactly(plain(parser.parse_rows(rows))) == exactly(
        [
            {name: value for name, value in record.items() if name == "id" or name in chosen}
            for record in plain(all_fields.parse_rows(fewer))
        ]
    )
    assert not left_out & set(dict(reported))


def test_an_alias_of_an_unselected_field_is_not_extra() -> None:
    parser, reported = reporting_parser(fields={"_extra"})
    assert plain(parser.parse_rows([{"id": "1", "body": "447700900000"}])) == [{"id": "1", "_extra": None}]
    assert plain(parser.parse_cells(["body", "id"], [["447700900000"], ["1"]])) == [{"id": "1", "_extra": None}]
    assert reported == []


def test_an_unusual_row_does_not_affect_the_others() -> None:
    good = {"id": "1", "text": "a", "count": "1", "price": "0.10", "flag": "TRUE", "time": "2024-02-02T13:50:00+00:00"}
    unusual = {"id": 2, "text": ["b"], "count": "n/a", "price": "n/a", "flag": "n/a", "time": "n/a", "new": "x"}
    rows: list[dict[str, Any]] = [good] * 500 + [unusual] + [good] * 500
    made = plain(RecordParser(SCHEMA).parse_rows(rows))
    different = made.pop(500)
    assert exactly(made) == exactly([RecordParser(SCHEMA).parse(good)] * 1000)
    assert different == dict.fromkeys(FIELDS) | {
        "id": "2",
        "text": '["b"]',
        "_extra": {"count": "n/a", "flag": "n/a", "new": "x", "price": "n/a", "time": "n/a"},
    }


def test_records_share_no_mutable_value() -> None:
    one, other = plain(RecordParser(SCHEMA).parse_cells(["id", "thing"], [["1", "2"], ['{"a": 1}', '{"a": 1}']]))
    one["thing"]["a"] = "2"
    assert other["thing"] == {"a": "1"}


def test_the_cache_of_converted_values_is_bounded() -> None:
    parser = RecordParser(SCHEMA)

    def traced(first: int) -> int:
        prices = [str(number) for number in range(first, first + 1000)]
        assert [
            str(record["price"]) for record in plain(parser.parse_cells(["id", "price"], [prices, prices]))
        ] == prices
        return tracemalloc.get_traced_memory()[0]

    with mock.patch.object(parsers, "MAX_CACHED_VALUES", 100):
        tracemalloc.start()
        try:
            before = traced(10_000)
            assert max(traced(first) for first in range(11_000, 21_000, 1000)) < before + 50_000
        finally:
            tracemalloc.stop()


def test_no_rows_give_no_records() -> None:
    assert plain(RecordParser(SCHEMA).parse_rows([])) == []
    assert plain(RecordParser(SCHEMA).parse_cells(["id", "text"], [[], []])) == []
