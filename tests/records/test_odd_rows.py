"""A row that cannot be decoded, or has no id, is a record all the same: the same by every path, and told of once."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tap_vonage_reports.api.responses import check_records, read_answer, read_problem
from tap_vonage_reports.errors import ArchiveError, RetriableApiError, UndecodableBodyError
from tap_vonage_reports.exact_json import MAX_DEPTH, encode_json
from tap_vonage_reports.odd_json import encode_odd_json
from tap_vonage_reports.odd_text import MARK, mend_text, write_out
from tap_vonage_reports.output.jsonl import JsonLines
from tap_vonage_reports.output.parquet import Parquet
from tap_vonage_reports.records.cell_text import extra_text
from tap_vonage_reports.records.parser import RecordParser
from tap_vonage_reports.records.personal_data import PersonalData
from tap_vonage_reports.records.report_archive import archive_errors, read_chunks, verify
from tests.output.test_batch_files import held
from tests.plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable

# Literal, so that another figure in the code is noticed.
MAX_ROW_CHARACTERS = 1 << 22
SCHEMA: dict[str, Any] = {
    "properties": {
        "id": {"type": "string"},
        "client_ref": {"type": ["string", "null"], "personal": "possible"},
        "count": {"type": ["integer", "null"]},
        "price": {"type": ["number", "null"]},
        "flag": {"type": ["boolean", "null"]},
        "time": {"type": ["string", "null"], "format": "date-time"},
        "thing": {"type": ["object", "null"]},
        "_extra": {"type": ["object", "null"]},
    }
}
FIELDS = list(SCHEMA["properties"])
LONG = b"7" * 4400


def page(*rows: bytes) -> list[dict[str, Any]]:
    """The rows of a page, as its bytes give them."""
    answer = read_answer(
        bytearray(b'{"request_status":"SUCCESS","items_count":%d,"records":[' % len(rows) + b",".join(rows) + b"]}"),
        200,
    )
    check_records(answer)
    rows_of_page: list[dict[str, Any]] = answer["records"]
    return rows_of_page


def by_page(*rows: bytes, parser: RecordParser | None = None) -> list[dict[str, Any]]:
    return plain((parser or RecordParser(SCHEMA)).parse_rows(page(*rows)))


def archive(content: bytes) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("report.csv", content)
    return file


def by_report(content: bytes, parser: RecordParser | None = None) -> list[dict[str, Any]]:
    """The records of a report, which are the same by messages and by BATCH files of both kinds."""
    file, parser = archive(content), parser or RecordParser(SCHEMA)
    verify(file, None)
    records = [
        record for header, columns in read_chunks(file, None) for record in plain(parser.parse_cells(header, columns))
    ]
    lines = JsonLines(RecordParser(SCHEMA), "none").from_archive(file, None)
    assert [record for part in lines for record in plain(part)] == records
    parts = Parquet(SCHEMA, FIELDS, RecordParser(SCHEMA), "none").from_archive(file, None)
    assert [row for part in parts for row in part.to_pylist()] == [held(record, SCHEMA) for record in records]
    json.dumps(records, default=str).encode()
    return records


def reporting() -> tuple[RecordParser, list[tuple[str, str]]]:
    reported: list[tuple[str, str]] = []
    return RecordParser(SCHEMA, on_mismatch=lambda field, why: reported.append((field, why))), reported


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), 1 << 64) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), parts),
)


# What a text says, the bytes of it in JSON and in CSV, its value, and its original.
ODD = {
    "half a pair": (rb"\ud83d", b"\xed\xa0\xbd", "\ufffd", r"\ud83d"),
    "the other half": (rb"\ude00", b"\xed\xb8\x80", "\ufffd", r"\ude00"),
    "a reversed pair": (rb"\ude00\ud83d", b"\xed\xb8\x80\xed\xa0\xbd", "\ufffd\ufffd", r"\ude00\ud83d"),
    "a half as bytes": (b"\xed\xa0\xbd", b"\xed\xa0\xbd", "\ufffd", r"\ud83d"),
    "a byte": (b"\xe9", b"\xe9", "\ufffd", r"\xe9"),
    "a sequence cut short": (b"\xf0\x9f\x98", b"\xf0\x9f\x98", "\ufffd" * 3, r"\xf0\x9f\x98"),
    "an overlong sequence": (b"\xc0\xaf", b"\xc0\xaf", "\ufffd\ufffd", r"\xc0\xaf"),
    "U+0000": (rb"\u0000", b"\0", "\ufffd", r"\u0000"),
    "a backslash beside it": (rb"\\\ud83d", b"\\\xed\xa0\xbd", "\\\ufffd", r"\\\ud83d"),
}
every_odd_text = pytest.mark.parametrize(("in_json", "in_csv", "value", "original"), ODD.values(), ids=ODD)


@every_odd_text
def test_text_that_cannot_be_decoded_is_replaced_and_its_original_is_in_extra(
    in_json: bytes, in_csv: bytes, value: str, original: str
) -> None:
    good = b'{"id":"2","client_ref":"caf\xc3\xa9 \xf0\x9f\x98\x80"}'
    records = by_page(b'{"id":"1","client_ref":"a' + in_json + b'b"}', good)
    assert records == by_report(b'"id","client_ref"\n"1","a' + in_csv + b'b"\n"2","caf\xc3\xa9 \xf0\x9f\x98\x80"\n')
    assert records == by_report(b"id,client_ref\r\n1,a" + in_csv + b"b\r\n2,caf\xc3\xa9 \xf0\x9f\x98\x80\r\n")
    assert [record["client_ref"] for record in records] == [f"a{value}b", "café 😀"]
    assert [record["_extra"] for record in records] == [{"client_ref": f"a{original}b"}, None]


@pytest.mark.parametrize(("in_json", "in_csv", "original"), [(one, two, last) for one, two, _, last in ODD.values()])
def test_undecodable_text_in_unknown_fields_names_and_misfits_is_replaced(
    in_json: bytes, in_csv: bytes, original: str
) -> None:
    (record,) = by_page(b'{"id":"1","new":"%b","n%b":"x","count":"1%b"}' % (in_json, in_json, in_json))
    assert [record] == by_report(b'"id","new","n%b","count"\n"1","%b","x","1%b"\n' % (in_csv, in_csv, in_csv))
    assert record["_extra"] == {"count": f"1{original}", "new": original, f"n{original}": "x"}


@every_odd_text
@pytest.mark.parametrize("is_escaped", [False, True])
def test_undecodable_text_in_objects_and_lists_is_replaced(
    in_json: bytes, in_csv: bytes, value: str, original: str, *, is_escaped: bool
) -> None:
    thing, new = b'{"a": ["x%b"], "b": "%b"}', b'{"n%b": 4.0E-4, "c": []}'
    (record,) = by_page(b'{"id":"1","thing":%b,"new":%b}' % (thing % (in_json, in_json), new % in_json))
    in_cell = in_json if is_escaped else in_csv.replace(b"\\", b"\\\\")
    thing, new = ((text.replace(b"%b", in_cell)).replace(b'"', b'""') for text in (thing, new))
    assert [record] == by_report(b'"id","thing","new"\n"1","%b","%b"\n' % (thing, new))
    in_list = json.dumps([f"x{value}"], ensure_ascii=False)
    assert record["thing"] == {"a": in_list, "b": value}
    assert record["_extra"] == {
        "new": f'{{"n{original}":4.0E-4,"c":[]}}',
        "thing": f'{{"a":["x{original}"],"b":"{original}"}}',
    }


def test_the_json_text_of_an_object_is_read_as_the_object_is() -> None:
    (record,) = by_page(rb'{"id":"1","thing":{"a":"\ud83d","b":"\u0000"}}')
    assert record["thing"] == {"a": "\ufffd", "b": "\ufffd"}
    assert record["_extra"] == {"thing": r'{"a":"\ud83d","b":"\u0000"}'}
    assert [record] == by_report(b'"id","thing"\n"1","' + rb'{""a"":""\ud83d"",""b"":""\u0000""}' + b'"\n')


def test_an_id_that_cannot_be_decoded_stays_distinct() -> None:
    ids = [record["id"] for record in by_page(rb'{"id":"a\ud83d"}', rb'{"id":"a\ud83e"}')]
    assert ids == [r"a\ud83d", r"a\ud83e"]
    assert ids == [record["id"] for record in by_report(b'"id"\n"a\xed\xa0\xbd"\n"a\xed\xa0\xbe"\n')]


@given(st.text(st.characters(codec=None) | st.sampled_from("\\\0\ud83d\ude00" + MARK), max_size=8))
@settings(max_examples=200, deadline=None)
def test_undecodable_text_is_escaped_so_that_nothing_is_lost(text: str) -> None:
    mended, written = mend_text(text), write_out(text)
    mended.encode()
    written.encode()
    assert "\0" not in mended + written
    if MARK not in text and written != text:
        read: str = json.loads('"{}"'.format(written.replace('"', r"\"")), strict=False)
        assert read.encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")


def test_the_body_of_an_error_is_read_leniently_too() -> None:
    assert read_problem(bytearray(b'{"title":"Not \xe9 provisioned","type":"\\ud83d"}')) == {
        "title": "Not \ufffd provisioned",
        "type": "\ufffd",
    }


def test_a_byte_order_mark_before_json_does_not_count() -> None:
    body = b'{"request_status":"SUCCESS","records":[{"id":"1"}]}'
    assert read_answer(bytearray(b"\xef\xbb\xbf" + body), 200) == json.loads(body)
    assert read_answer(bytearray(body.decode().encode("utf-16")), 200) == json.loads(body)


def test_each_field_is_told_of_once_without_its_value() -> None:
    parser, reported = reporting()
    for _ in range(2):
        by_page(rb'{"id":"1","client_ref":"447700900123\ud83d"}', rb'{"client_ref":"447700900123"}', parser=parser)
    assert [field for field, _ in reported] == ["client_ref", "id"]
    assert "447700900123" not in str(reported)
    assert (parser.odd_rows, parser.rows_without_id) == (2, 2)


# Numbers


@pytest.mark.parametrize("number", [LONG, b"-" + LONG, b"NaN", b"Infinity", b"-Infinity", b"1e999999999", LONG + b".5"])
def test_a_number_that_fits_nowhere_is_in_extra_with_its_digits(number: bytes) -> None:
    (record,) = by_page(b'{"id":"1","count":%b,"price":%b,"new":%b}' % (number, number, number))
    assert (record["count"], record["price"]) == (None, None)
    assert {name: str(value) for name, value in record["_extra"].items()} == dict.fromkeys(
        ("count", "new", "price"), number.decode()
    )


@pytest.mark.parametrize("number", ["4.0E-4", "1E+2", "0.00000001", "-0.50", "1e999999999999999999999"])
def test_a_number_beside_odd_text_keeps_its_digits(number: str) -> None:
    row = '{"id":"1","client_ref":%s,"new":%s,"count":[%s],"time":%s}' % ((number,) * 4)
    (expected,) = by_page(row.encode())
    record, _ = by_page(row.encode(), rb'{"id":"\ud83d"}')
    assert record == expected
    assert record["client_ref"] == record["_extra"]["new"] == record["_extra"]["time"] == number


@given(json_values)
@settings(max_examples=200, deadline=None)
def test_json_with_odd_text_is_encoded_as_other_json_is(value: Any) -> None:
    encoded = encode_json(value).decode()
    assert encode_odd_json(value) == encoded
    assert encode_odd_json([value, "\ud83d"]) == f'[{encoded},"\\ud83d"]'
    assert extra_text(f'[ {encoded} , "\\ud83d" ]') == f'[{encoded},"\\ud83d"]'


@pytest.mark.parametrize("odd", [rb'"\ud83d"', b'"\xe9"', b"NaN", b"7" * 4400])
def test_the_number_of_values_is_bounded_beside_odd_text_too(odd: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    body = bytearray(b'{"title":"x","records":[{"id":%b,"a":[%b]}]}' % (odd, b"1," * 5000 + b"1"))
    assert read_answer(body, 200).keys() == read_problem(body).keys() == {"title", "records"}
    monkeypatch.setattr("tap_vonage_reports.exact_json.MAX_VALUES", 5000)
    # In UTF-16, U+2200 has the byte of a quote, so the commas behind it seem to be in a text.
    hidden = b'{"\xe2\x88\x80":[%b1],"b":1}' % (b"1," * 5000)
    for answer in (body, bytearray(hidden.decode().encode("utf-16"))):
        with pytest.raises(RetriableApiError, match="more than 5,000 values") as caught:
            read_answer(answer, 200)
        assert not isinstance(caught.value, UndecodableBodyError)
    assert read_problem(body) == {}


# Rows that are no objects, or nested too deeply


def deep(levels: int) -> bytes:
    return b"[" * levels + b'"]"' + b"]" * levels


@pytest.mark.parametrize("levels", [MAX_DEPTH, 900, 200_000])
def test_a_value_that_is_nested_too_deeply_is_text(levels: int) -> None:
    good, bad = by_page(b'{"id":"2"}', b'{"id":"1","new":%b}' % deep(levels))
    assert good == dict.fromkeys(FIELDS) | {"id": "2"}
    assert bad["_extra"] == {"new": deep(levels).decode()}
    assert [bad] == by_report(b'"id","new"\n"1","%b"\n' % deep(levels).replace(b'"', b'""'))


@pytest.mark.parametrize(("row", "text"), [(b"null", "null"), (b'"x"', '"x"'), (b"[1,2.50]", "[1,2.50]"), (b"7", "7")])
def test_a_row_that_is_no_object_is_a_record_of_its_text(row: bytes, text: str) -> None:
    good, bad = by_page(b'{"id":"1"}', row)
    assert good["id"] == "1"
    assert bad["id"].startswith("sha256:")
    assert bad["_extra"] == {"_row": text}


@pytest.mark.parametrize("body", [b'{"a":{"b":}}', b'{"a":"\xe9" "b"}', b'{"a":"\xe9",\xe9}', b'{"a":01}'])
def test_json_that_is_whole_and_wrong_is_told_from_a_body_that_was_cut(body: bytes) -> None:
    with pytest.raises(UndecodableBodyError):
        read_answer(bytearray(body), 200)
    whole = b'{"a":{"b":"}"},"c":[{"d":1},{"e":null}]}'
    for damaged in (*(whole[:end] for end in range(len(whole))), b"<html></html>", b"[]", b"null"):
        with pytest.raises(RetriableApiError) as caught:
            read_answer(bytearray(damaged), 200)
        assert not isinstance(caught.value, UndecodableBodyError)


# Rows without an id


@pytest.mark.parametrize("identifier", [b"", b'"id":null,', b'"id":"",', b'"id":" ",', b'"id":[],'])
def test_a_row_without_an_id_has_a_key_of_its_own(identifier: bytes) -> None:
    rest = b'"client_ref":"x","price":"0.10","flag":"TRUE","thing":{"b":1,"a":"y"},"new":"z"}'
    one, same, other, with_id = by_page(
        b"{" + identifier + rest, b"{" + identifier + rest, b"{" + identifier + b'"client_ref":"y"}', b'{"id":"1"}'
    )
    assert one["id"] == same["id"] != other["id"]
    assert len(one["id"]) == len("sha256:") + 64
    assert with_id["id"] == "1"


CSV = b'"new","id","client_ref","price","flag","thing","time"\n"z","","x","0.10","TRUE","{""b"": 1, ""a"": ""y""}",""\n'
JSON = b'{"flag":true,"price":0.10,"client_ref":"x","thing":{"b":1,"a":"y"},"new":"z","time":null}'


def test_the_key_is_the_same_by_every_path_and_whatever_is_selected() -> None:
    (by_one,) = by_page(JSON)
    (by_other,) = by_report(CSV + b'"","2","","","","",""\n')[:1]
    assert by_one == by_other
    few = ["price"]
    (fewer,) = plain(RecordParser(SCHEMA, fields=few).parse_rows(page(JSON)))
    parts = Parquet(SCHEMA, few, RecordParser(SCHEMA, fields=few), "none").from_archive(archive(CSV), None)
    assert [row["id"] for part in parts for row in part.to_pylist()] == [fewer["id"]] == [by_one["id"]]


@pytest.mark.parametrize(
    ("in_json", "in_csv"),
    [
        (b'"new":4.0E-4', b'"new"\n"","4.0E-4"'),
        (b'"new":[1, 2.50]', b'"new"\n"","[1, 2.50]"'),
        (b'"price":1E+1', b'"price"\n"","1E+1"'),
        (b'"count":[true, 4.0E-4]', b'"count"\n"","[true, 4.0E-4]"'),
        (b'"thing":{"b":4.0E-4,"a":null}', b'"thing"\n"","{""b"": 4.0E-4}"'),
        (rb'"thing":{"b":"\ud83d"}', rb'"thing"' + b'\n"","{""b"": ""' + rb'\ud83d""}"'),
        (rb'"client_ref":"\ud83d"', b'"client_ref"\n"","\xed\xa0\xbd"'),
        (rb'"price":"\ud83d"', b'"price"\n"","\xed\xa0\xbd"'),
        (rb'"new":{"b":["\ud83d"]}', b'"new"\n"","{""b"": [""\xed\xa0\xbd""]}"'),
    ],
)
def test_the_key_is_the_same_by_every_path_whatever_the_value(in_json: bytes, in_csv: bytes) -> None:
    record, _ = by_page(b"{%b}" % in_json, b'{"id":"2"}')
    assert [record] == by_report(b'"id",' + in_csv + b"\n")
    (fewer,) = plain(RecordParser(SCHEMA, fields=[]).parse_rows(page(b"{%b}" % in_json)))
    assert fewer["id"] == record["id"]


def test_rows_that_differ_only_in_what_cannot_be_decoded_have_keys_of_their_own() -> None:
    fields = [b'"client_ref":"%b"', b'"price":"%b"', b'"thing":{"a":"%b"}', b'"new":"%b"', b'"new":["%b"]']
    for field in fields:
        one, other = by_page(*(b"{%b}" % field % odd for odd in (rb"\ud83d", rb"\ud83e")))
        assert one["id"] != other["id"]


@pytest.mark.parametrize("mode", ["hash", "drop"])
def test_no_personal_datum_can_be_guessed_from_a_key(mode: str) -> None:
    def key(text: str, mode: str, salt: str = "a salt of some length") -> str:
        parser = RecordParser(SCHEMA, make_key=PersonalData(mode, salt, SCHEMA).content_key)
        return str(parser.parse({"client_ref": text, "count": "1"})["id"])

    assert key("447700900123", mode) == key("447700900123", mode) != key("447700900124", mode)
    assert key("447700900123", mode) != key("447700900123", "keep")
    assert key("447700900123", mode) != key("447700900123", mode, "another salt")
    assert key("447700900123", "drop", "") == key("447700900124", "drop", "")


# Long cells


@pytest.mark.parametrize("length", [131_073, MAX_ROW_CHARACTERS - 100])
def test_a_cell_of_any_dialect_may_be_as_long_as_a_row(length: int) -> None:
    text = b"x" * length
    quoted = by_report(b'"id","client_ref"\n"1","%b"\n' % text)
    assert quoted == by_report(b"id,client_ref\n1,%b\n" % text) == by_page(b'{"id":"1","client_ref":"%b"}' % text)
    assert quoted[0]["client_ref"] == text.decode()


@pytest.mark.parametrize(
    "row", ['"id","client_ref"\n"1","{}"\n', "id,client_ref\n1,{}\n", '"id","client_ref"\n1,"{}"\n']
)
def test_a_longer_cell_is_the_same_error_in_every_reader(row: str) -> None:
    file = archive(row.format("x" * (MAX_ROW_CHARACTERS + 1)).encode())
    readers: list[Callable[[], object]] = [
        lambda: verify(file, 1000),
        lambda: list(JsonLines(RecordParser(SCHEMA), "none").from_archive(file, 1000)),
        lambda: list(Parquet(SCHEMA, FIELDS, RecordParser(SCHEMA), "none").from_archive(file, 1000)),
    ]
    for read in readers:
        with archive_errors(), pytest.raises(ArchiveError, match="a row has more than 4194304 characters"):
            read()
