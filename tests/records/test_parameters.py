"""Both forms of request_params, an object and the text of a map, give the same object."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.records.parameters import MAX_MAP_CHARACTERS, read_object
from tap_vonage_reports.records.parser import RecordParser
from tests.plain import plain

REAL = (
    "{product: 'SMS', account_id: 'abcd1234', include_message: 'false', include_subaccounts: 'false', "
    "direction: 'outbound'date_start'Thu Oct 07 00:00:00 UTC 2021',date_end'Thu Oct 07 23:59:00 UTC 2021',}"
)
OBJECT = {
    "account_id": "abcd1234",
    "date_end": "2021-10-07T23:59:00+00:00",
    "date_start": "2021-10-07T00:00:00+00:00",
    "direction": "outbound",
    "include_message": "false",
    "include_subaccounts": "false",
    "product": "SMS",
}


def test_the_real_text_fills_the_column_as_the_object_does() -> None:
    parser = RecordParser(PRODUCTS["reports_usage"].schema)
    forms: list[object] = [REAL, OBJECT, json.dumps(OBJECT)]
    records = plain(parser.parse_rows([{"id": "1", "request_params": form, "is_charged": "true"} for form in forms]))
    cells = [["1", "1"], [REAL, json.dumps(OBJECT)], ["true", "TRUE"]]
    for record in (*records, *plain(parser.parse_cells(["id", "request_params", "is_charged"], cells))):
        assert (record["request_params"], record["_extra"]) == (OBJECT, None)
        assert list(record["request_params"]) == list(OBJECT)
        assert record["is_charged"] is True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", {}),
        ("{ }", {}),
        ("{product=SMS, account_id=abc}", {"product": "SMS", "account_id": "abc"}),
        ("{product=SMS, id=null, to=}", {"product": "SMS", "to": ""}),
        ("{product: SMS, account_id: abc}", {"product": "SMS", "account_id": "abc"}),
        ("{'product': 'SMS', 'account_id': 'abc'}", {"product": "SMS", "account_id": "abc"}),
        ('{product: "SMS", "account_id": "abc",}', {"product": "SMS", "account_id": "abc"}),
        ('{"product": "SMS", "to": 44, "flag": true, "no": null}', {"product": "SMS", "to": "44", "flag": "true"}),
        ('{"client_ref": "[1, 2]", "list": [1, 2.50]}', {"client_ref": "[1, 2]", "list": "[1,2.50]"}),
        ("{client_ref: 'it's', product: 'SMS'}", {"client_ref": "it's", "product": "SMS"}),
        ("{client_ref: 'don't', product: 'SMS'}", {"client_ref": "don't", "product": "SMS"}),
        ("{client_ref: 'a, b}', product: 'SMS'}", {"client_ref": "a, b}", "product": "SMS"}),
        ("{client_ref: '}', id: '', product: 'SMS'}", {"client_ref": "}", "id": "", "product": "SMS"}),
        ("{id='a,b', product='SMS'}", {"id": "a,b", "product": "SMS"}),
        ("{client_ref='tis, product=SMS}", {"client_ref": "'tis", "product": "SMS"}),
        ("{client_ref=a, b, product=SMS}", {"client_ref": "a, b", "product": "SMS"}),
        ("{filters={to=44, from=45}, product=SMS}", {"filters": "{to=44, from=45}", "product": "SMS"}),
        ("{ids=[a, b], product=SMS}", {"ids": "[a, b]", "product": "SMS"}),
        ("{date_start=Thu Oct 07 00:00:00 UTC 2021}", {"date_start": "2021-10-07T00:00:00+00:00"}),
        ('{"date_start": "Thu Oct 07 00:00:00 GMT 2021"}', {"date_start": "2021-10-07T00:00:00+00:00"}),
        ('{"date_start": "2021-10-07T00:00:00Z"}', {"date_start": "2021-10-07T00:00:00Z"}),
        ("{date_start=Thu Oct 07 00:00:00 CEST 2021}", {"date_start": "Thu Oct 07 00:00:00 CEST 2021"}),
        ("{date_start=Thu Okt 07 00:00:00 UTC 2021}", {"date_start": "Thu Okt 07 00:00:00 UTC 2021"}),
        ("{date_start=Thu Feb 31 00:00:00 UTC 2021}", {"date_start": "Thu Feb 31 00:00:00 UTC 2021"}),
        ("{client_ref=Thu Oct 07 00:00:00 UTC 2021}", {"client_ref": "Thu Oct 07 00:00:00 UTC 2021"}),
    ],
)
def test_a_map_is_read_in_every_notation(text: str, expected: dict[str, str]) -> None:
    assert read_object(text) == dict(sorted(expected.items()))


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "SMS", "[1]", "{", "}", "{product}", "{product: 'SMS'", "{: 'SMS'}", "{a'b'}"),
        *("{to: 'x', to: 'y'}", "{to={a, b=1}", "{=}", "{product: 'SMS' and more 'x'}}x"),
        "{a='" + "x" * MAX_MAP_CHARACTERS + "'}",
    ],
)
def test_text_that_is_no_map_goes_into_extra_unchanged(text: str) -> None:
    assert read_object(text) is None
    parser = RecordParser(PRODUCTS["reports_usage"].schema)
    assert parser.parse({"id": "1", "request_params": text})["_extra"] == ({"request_params": text} if text else None)


def test_a_map_may_be_as_long_as_sixteen_thousand_characters() -> None:
    value = "x" * (16_384 - len("{to: ''}"))
    assert read_object(f"{{to: '{value}'}}") == {"to": value}
    assert read_object(f"{{to: '{value}x'}}") is None


@given(
    st.dictionaries(
        st.sampled_from(["product", "account_id", "direction", "id", "include_message", "client_ref"]),
        st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters=":=\0")),
    )
)
def test_any_value_in_quotes_is_read_as_it_is(pairs: dict[str, str]) -> None:
    text = "{" + ", ".join(f"{name}: '{value}'" for name, value in pairs.items()) + "}"
    found = read_object(text)
    assert found == dict(sorted(pairs.items())) or any("'" in value for value in pairs.values())


@given(st.text("{}[]'\",:= abn\n", max_size=40))
def test_no_text_fails(text: str) -> None:
    found = read_object("{" + text + "}")
    assert found is None or all(isinstance(value, str) for value in found.values())
