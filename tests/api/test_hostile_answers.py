"""Whatever the API, or somebody in its place, answers: rows or an error, never a crash, and never the credentials."""

from __future__ import annotations

import itertools
import json
import time
import zlib
from contextlib import suppress
from copy import deepcopy
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.singerlib import RecordMessage

from tap_vonage_reports import exact_json
from tap_vonage_reports.api import downloads, transport
from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.api.responses import rows_announced
from tap_vonage_reports.api.retry import RetryPolicy
from tap_vonage_reports.errors import (
    ApiError,
    PaginationError,
    ReportError,
    ReportLimitError,
    RetriableApiError,
    StateError,
    TapError,
)
from tap_vonage_reports.exact_json import MAX_DEPTH, read_json
from tap_vonage_reports.extract.pages.pagination import iter_pages
from tap_vonage_reports.extract.reports.scheduler import ReportScheduler
from tap_vonage_reports.intervals import TimeWindow
from tap_vonage_reports.output.jsonl import JsonLines
from tap_vonage_reports.output.parquet import Parquet
from tap_vonage_reports.planning.partition import Query
from tap_vonage_reports.planning.plans import ReportPlan
from tap_vonage_reports.records.parser import RecordParser
from tests.harness import Collector, Output, run_tap
from tests.hostile import (
    DATE,
    ENDPOINTS,
    FILE,
    KEY,
    LAST_PAGE,
    MIB,
    PRODUCT,
    REPORT,
    ROW,
    SECRET,
    SUBACCOUNTS,
    HostileServer,
    Request,
    as_json,
    client_of,
    download,
    every_endpoint,
    head,
    memory_below,
    once,
    reply,
)
from tests.output.test_batch_files import held
from tests.plain import plain
from tests.records.test_report_archive import one

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["once"]
pytestmark = pytest.mark.usefixtures("once")

SCHEMA = PRODUCT.schema
WINDOW = TimeWindow(datetime(2026, 11, 18, tzinfo=timezone.utc), datetime(2026, 11, 19, tzinfo=timezone.utc))
LINK = "https://api.nexmo.com/v2/reports/records?product=REPORTS-USAGE&cursor=abc&iv=def"
PAGE = {
    "_links": {"self": {"href": LINK}, "next": {"href": LINK}},
    "cursor": "abc",
    "iv": "def",
    "request_id": "3fa85f64-5717-4562-b3fc-2c963f66afa6",
    "request_status": "TRUNCATED",
    "items_count": 2,
    "records": [ROW, {**ROW, "id": "0002"}],
}
PROBLEM = {"title": "Unprocessable entity", "invalid_parameters": [{"name": "date_end", "reason": "in the past"}]}

# What may stand where something else should


def nested(levels: int, opening: str = "[", closing: str = "]") -> str:
    return opening * levels + "1" + closing * levels


RAW = [
    *("1e999999999", "-0e-999999999", "1e99999999999999999999", "1e-99999999999999999999", "0." + "1" * 5000),
    *("9" * 4300, "9" * 4301, "-" + "9" * 5000, str(1 << 64), "-0", "-0.0", "1.0"),
    *("NaN", "-Infinity", "01", '"\\ud800"', '"\\udc00\\ud800"', '{"\\ud800": 1}', '"\\u0000"', "", "}"),
    *(nested(MAX_DEPTH - 5), nested(MAX_DEPTH + 1), nested(900), nested(5000), nested(200_000)),
    *(nested(MAX_DEPTH + 1, '{"a":', "}"), nested(5000, '{"a":', "}"), '{"a": 1, "a": 2}', '"\\ud83d\\ude00"'),
]
texts = st.text(max_size=5) | st.sampled_from(["", "SUCCESS", "0", "id", "\x00", "../..", "\r\nX-Injected: yes", "😀"])
values: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([msgspec.Raw(text.encode()) for text in RAW])
    | st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | texts,
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(texts, parts, max_size=3),
    max_leaves=5,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every part of a JSON value."""
    yield at
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from places(part, (*at, name))


@st.composite
def spoilt(draw: st.DrawFn, answer: dict[str, Any]) -> bytes:
    """A right answer with any one of its parts replaced by anything, or taken out."""
    at = draw(st.sampled_from(list(places(answer))))
    body: Any = deepcopy(answer)
    new = draw(values)
    if not at:
        return as_json(new)
    parent = body
    for name in at[:-1]:
        parent = parent[name]
    if draw(st.booleans()) or isinstance(parent, list):
        parent[at[-1]] = new
    else:
        del parent[at[-1]]
    return as_json(body)


def check_written(rows: Sequence[dict[str, Any]]) -> None:
    """See that rows can be written by every way out, and say the same there."""
    parser = RecordParser(SCHEMA, PRODUCT.aliases)
    made = parser.parse_rows(rows)
    records = plain(made)
    for record in records:
        assert list(record) == list(SCHEMA["properties"])
        line = bytes(MsgSpecWriter().serialize_message(RecordMessage(PRODUCT.stream, record)))
        assert json.loads(line, parse_float=Decimal)["record"]["id"] == record["id"]
        assert b'"record":' + as_json(record) in line
    collector = Collector()
    collector.write_records(PRODUCT.stream, made)
    assert len(collector.lines) == len(records)
    fields = list(SCHEMA["properties"])
    assert Parquet(SCHEMA, fields, parser, "none").from_records(made).to_pylist() == [
        held(record, SCHEMA) for record in records
    ]
    assert JsonLines(parser, "none").from_records(made) == made


# JSON


def test_any_page_gives_rows_or_an_error() -> None:
    body = b""

    def answer(request: Request) -> bytes:
        return reply(as_json(LAST_PAGE) if "cursor=" in request.target else body)

    @given(spoilt(PAGE))
    @settings(max_examples=120, deadline=None)
    def check(spoilt_body: bytes) -> None:
        nonlocal body
        body = spoilt_body
        with suppress(ApiError):
            for page in iter_pages(client, Query({"product": PRODUCT.name}), WINDOW):
                check_written(page.records)

    with HostileServer(answer) as server:
        client = client_of(server)
        check()


@pytest.mark.parametrize(
    ("endpoint", "right"), [("create", REPORT), ("status", REPORT), ("cancel", REPORT), ("subaccounts", SUBACCOUNTS)]
)
def test_any_answer_is_right_or_an_error(endpoint: str, right: dict[str, Any]) -> None:
    body = b""

    @given(spoilt(right))
    @settings(max_examples=35, deadline=None)
    def check(spoilt_body: bytes) -> None:
        nonlocal body
        body = spoilt_body
        with suppress(TapError):
            given_ = ENDPOINTS[endpoint](client)
            if endpoint == "subaccounts":
                assert all(isinstance(key, str) and key.isprintable() and " " not in key for key in given_)
            elif endpoint != "cancel":
                assert isinstance(given_.body["request_id"], str)

    with HostileServer(lambda _request: reply(body)) as server:
        client = client_of(server)
        check()


STATUSES = [
    *("300 Multiple", "302 Found", "304 Not Modified"),
    *("400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found", "409 Conflict", "416 Range"),
    *("422 Unprocessable", "429 Too Many Requests", "500 Oops", "503 Unavailable", "599 ?", "999 \x1b[31m447700900123"),
]


@every_endpoint
def test_every_other_status_is_an_error_whatever_its_body_is_and_shows_nothing_of_it(endpoint: str) -> None:
    body, status = b"", ""

    @given(spoilt(PROBLEM), st.sampled_from(STATUSES))
    @settings(max_examples=25, deadline=None)
    def check(spoilt_body: bytes, spoilt_status: str) -> None:
        nonlocal body, status
        body, status = spoilt_body, spoilt_status
        with pytest.raises(TapError) as caught:
            ENDPOINTS[endpoint](client_of(server))
        shown = str(caught.value)
        assert shown.isprintable()
        assert "447700900123" not in shown
        assert len(shown) < 1000

    with HostileServer(lambda _request: reply(body, status)) as server:
        check()


headers = st.fixed_dictionaries(
    {},
    optional={
        "Date": st.sampled_from(
            [
                *("", "soon", "Fri, 31 Dec 9999 23:59:59 -1200", "Mon, 1 Jan 99999999999999999999 00:00:00 GMT"),
                *("Mon, 99999999999 Jan 2020 99:99:99 GMT", "Sat, 01 Jan 0001 00:00:00 +2359", "9" * 5000),
                *("Fri, 20 Nov 2026 12:00:00 -0000", "Mon, 01 Jan 2020 00:00:00 +9999999999999"),
                *("Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ]
        ),
        "Retry-After": st.sampled_from(["nan", "inf", "-inf", "-5", "1e400", "9" * 5000, "", "Fri, 31 Dec 9999 GMT"]),
        "Content-Length": st.sampled_from(["-1", "x", "0", "1", "9" * 5000, str(1 << 70), "99999"]),
        "Content-Encoding": st.sampled_from(["gzip", "deflate", "br", "zstd", "x", "gzip, gzip", "gzip," * 9, ""]),
        "Content-Range": st.sampled_from(["bytes 0-", "bytes 5-9/10", "x", "bytes */*", "bytes -1-1/1"]),
        "Transfer-Encoding": st.sampled_from(["chunked", "gzip, chunked", "x"]),
        "Location": st.sampled_from(
            [
                *("", "/", "//", "http://", "http://[::1", "https://[v1.x]/", "ftp://127.0.0.1/", "file:///etc/passwd"),
                *("https://127.0.0.1:9/", "http://example.invalid/", "javascript:1", "https://\xff/", "https://a b/"),
                *("https://127.0.0.1:99999/", "https://" + "a" * 300 + ".invalid/", "https://xn--a/", "http:"),
            ]
        ),
        "Set-Cookie": st.sampled_from(["a=b", "=", "a=" + "b" * 5000, "a=b; expires=never; max-age=x; domain=;"]),
        "X-" + "y" * 70_000: st.just("too long"),
    },
)


@every_endpoint
def test_any_headers_are_right_or_an_error(endpoint: str) -> None:
    answered = b""

    @given(
        headers, st.sampled_from(["200 OK", "301 Moved", "302 Found", "308 Moved", *STATUSES]), st.binary(max_size=9)
    )
    @settings(max_examples=35, deadline=None)
    def check(named: dict[str, str], status: str, rest: bytes) -> None:
        nonlocal answered
        answered = head(status, **named) + rest
        client = client_of(server)
        with suppress(TapError):
            ENDPOINTS[endpoint](client)
        # It can be reckoned with.
        assert (client.clock.now() + timedelta(days=4000)).year < 3000

    with HostileServer(lambda _request: iter([answered])) as server:
        check()


def test_an_answer_that_is_not_http_is_an_error() -> None:
    answered = b""

    @given(st.binary(max_size=40))
    @settings(max_examples=35, deadline=None)
    def check(garbage: bytes) -> None:
        nonlocal answered
        answered = garbage
        with pytest.raises(RetriableApiError):
            client_of(server).records({})

    with HostileServer(lambda _request: iter([answered])) as server:
        check()


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose own time is not UTC."""
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone of the machine cannot be changed here")
@pytest.mark.usefixtures("in_tokyo")
def test_a_time_without_an_offset_is_utc() -> None:
    with HostileServer(lambda _request: reply(as_json(LAST_PAGE), Date=DATE.replace("GMT", "-0000"))) as server:
        assert client_of(server).records({}).at == datetime(2026, 11, 20, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("count", "announced"),
    [
        *(("2", 2), (2, 2), ("0", 0), (True, None), (None, None), ("x", None), ([], None), ("", None), ("٣", None)),
        *((-5, -1), (str(1 << 70), 10**18), ("9" * 5000, 10**18), (10**4000, 10**18), (Decimal("1e999999999"), None)),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_number_of_rows_counts_if_it_is_one_and_is_no_work_if_it_is_huge(
    count: object, announced: int | None
) -> None:
    assert rows_announced({"items_count": count}) == announced


def test_more_or_fewer_rows_than_announced_are_an_error_also_if_the_number_is_text() -> None:
    body = as_json({**PAGE, "items_count": "3"})
    with HostileServer(lambda _request: reply(body)) as server, pytest.raises(RetriableApiError):
        client_of(server).records({})


# JSON without end

PART = FILE[:4] * (MIB // 4)


def endless(compress: Callable[[bytes], bytes] = bytes, part: bytes = PART) -> Iterator[bytes]:
    return (compress(part) for _ in itertools.count())


def packed(bits: int, part: bytes = PART) -> Callable[[], Iterator[bytes]]:
    return lambda: endless(zlib.compressobj(1, zlib.DEFLATED, bits).compress, part)


def packed_twice() -> Iterator[bytes]:
    inner, outer = (zlib.compressobj(9, zlib.DEFLATED, 31) for _ in range(2))
    while True:
        yield outer.compress(inner.compress(PART)) + outer.flush(zlib.Z_SYNC_FLUSH)


BODIES: dict[str, tuple[dict[str, str], Callable[[], Iterator[bytes]]]] = {
    "plain": ({}, endless),
    "of a length": ({"Content-Length": str(1 << 40)}, endless),
    "in chunks": ({"Transfer-Encoding": "chunked"}, lambda: endless(lambda part: b"%x\r\n%b\r\n" % (len(part), part))),
    "gzip": ({"Content-Encoding": "gzip"}, packed(31)),
    "deflate": ({"Content-Encoding": "deflate"}, packed(15)),
    "gzip in gzip": ({"Content-Encoding": "gzip, gzip"}, packed_twice),
}
every_body = pytest.mark.parametrize("body", BODIES)


@every_body
@pytest.mark.parametrize("status", ["200 OK", "302 Found", "404 Not Found", "500 Oops"])
def test_a_body_without_end_is_an_error_and_takes_no_more_than_a_page_may(body: str, status: str) -> None:
    named, parts = BODIES[body]
    answer = {"Location": "/elsewhere", **named}
    with (
        mock.patch.object(transport, "MAX_BODY_BYTES", 2 * MIB),
        HostileServer(lambda _request: itertools.chain([head(status, **answer)], parts())) as server,
        memory_below(20 * MIB),
        pytest.raises(RetriableApiError, match="MiB"),
    ):
        client_of(server).records({})


@every_body
def test_a_file_without_end_is_an_error_and_is_not_downloaded_again(body: str) -> None:
    named, parts = BODIES[body]
    with (
        mock.patch.object(ReportsClient, "retry_policy", RetryPolicy()),
        mock.patch.object(downloads, "MAX_FILE_BYTES", 8 * MIB),
        HostileServer(lambda _request: itertools.chain([head(**named)], parts())) as server,
        memory_below(20 * MIB),
        pytest.raises(ReportError, match="report_window_days"),
    ):
        download(client_of(server))
    assert len(server.log) == 1


def test_a_redirect_of_a_file_is_not_read_whatever_its_length() -> None:
    def answer(request: Request) -> Iterator[bytes]:
        if request.path == "/store":
            return iter([reply(FILE)])
        return itertools.chain([head("302 Found", Location="/store")], endless())

    with HostileServer(answer) as server, memory_below(20 * MIB):
        assert download(client_of(server)) == FILE


@pytest.mark.parametrize("endpoint", ["records", "download"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_only_drips_is_given_up(endpoint: str, chunked: bool) -> None:  # noqa: FBT001
    drip = b"1\r\n \r\n" if chunked else b" "
    named = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(MIB)}
    start = b"4\r\n%b\r\n" % FILE[:4] if chunked else FILE[:4]
    with HostileServer(lambda _request: itertools.chain([head(**named), start], itertools.repeat(drip))) as server:
        clock = mock.patch("tap_vonage_reports.api.connections.time.monotonic", side_effect=itertools.count(0, 1))
        # A clock that goes on by a second with each look: more than a handful of looks would be a part each.
        with clock, pytest.raises(RetriableApiError, match="too slowly"):
            ENDPOINTS[endpoint](client_of(server))


def test_an_honest_page_of_the_longest_messages_is_no_body_without_end() -> None:
    # Four thousand characters of any script, as JSON writes them at its longest; and all other columns.
    row = b'{"id":"0001","message_body":"' + b"\\u4e2d" * 4096 + b'","more":"' + b"x" * 4000 + b'"}'
    body = b'{"request_status":"SUCCESS","records":[' + b",".join([row] * 1000) + b"]}"
    with HostileServer(lambda _request: reply(body)) as server:
        assert len(client_of(server).records({}).body["records"]) == 1000


BOMBS = {"lists": b"[],", "objects": b"{},", "pairs": b'{"":0},', "numbers": b"0,", "texts": b'"",'}


@pytest.mark.parametrize("part", BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("endpoint", sorted(ENDPOINTS.keys() - {"download"}))
def test_a_small_body_of_many_values_is_an_error_and_is_not_decoded(endpoint: str, part: bytes) -> None:
    body = b'{"records":[' + part * 10_000 + b"0]}"
    with (
        mock.patch.object(exact_json, "MAX_VALUES", 10_000),
        HostileServer(lambda _request: reply(body)) as server,
        pytest.raises(RetriableApiError, match="more than 10,000 values"),
    ):
        ENDPOINTS[endpoint](client_of(server))


def test_an_answer_that_inflates_to_gigabytes_of_objects_takes_only_the_memory_of_its_text() -> None:
    small = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = small.compress(b'{"records":[' + b"[]," * (10 * MIB) + b"0]}") + small.flush()
    assert len(body) < MIB // 8
    with (
        HostileServer(lambda _request: reply(body, Content_Encoding="gzip")) as server,
        memory_below(3 * 30 * MIB),
        pytest.raises(RetriableApiError, match="more than 1,000,000 values"),
    ):
        client_of(server).records({})


@pytest.mark.parametrize("status", ["403 Forbidden", "500 Oops"])
def test_a_problem_of_many_values_is_a_problem_without_words(status: str) -> None:
    body = b'{"title":"Low balance","more":[' + b"[]," * 10_000 + b"0]}"
    with (
        mock.patch.object(exact_json, "MAX_VALUES", 10_000),
        HostileServer(lambda _request: reply(body, status)) as server,
        pytest.raises(ApiError, match=status[:3]),
    ):
        client_of(server).records({})


@pytest.mark.parametrize(
    ("text", "values"),
    [("[1,2,3]", 4), ('{"a":1,"b":[{}]}', 5), ('["a,,,[[{{","\\",,\\\\"]', 3), ('["a', 2), ("[[[[1", 5)],
)
@pytest.mark.parametrize("encode", [str, str.encode, lambda text: bytearray(text.encode())])
def test_values_are_counted_outside_texts(text: str, values: int, encode: Callable[[str], Any]) -> None:
    for limit, too_many in ((values - 1, True), (values, False)):
        with mock.patch.object(exact_json, "MAX_VALUES", limit):
            assert exact_json.has_too_many_values(encode(text)) is too_many, (text, limit)


def test_an_honest_page_of_the_most_rows_and_columns_can_be_read() -> None:
    row = b'{"id":"0001","message_body":"' + b"," * 1600 + b'"' + b',"x":"[{,"' * 60 + b"}"
    body = b'{"request_status":"SUCCESS","records":[' + b",".join([row] * 10_000) + b"]}"
    with HostileServer(lambda _request: reply(body)) as server:
        assert len(client_of(server).records({}).body["records"]) == 10_000


def test_a_cell_of_many_values_stays_text() -> None:
    cell = "[" + "[], " * 10_000 + "0]"
    with mock.patch.object(exact_json, "MAX_VALUES", 10_000):
        (record,) = plain(RecordParser(SCHEMA).parse_cells(["id", "request_params", "new"], [["1"], [cell], [cell]]))
    assert record["_extra"] == {"new": cell, "request_params": cell}


def test_a_connection_is_used_again() -> None:
    with HostileServer(lambda _request: reply(as_json(LAST_PAGE))) as server:
        client = client_of(server)
        for _ in range(5):
            client.records({})
    assert (len(server.log), server.connections) == (5, 1)


# Pages


@pytest.mark.parametrize(
    "href", ["http://[::1", "https://a\u2100b/?cursor=x", "?cursor=" + "x" * 100_000, 5, None, [], {}]
)
def test_a_next_link_that_is_none_is_an_error(href: object) -> None:
    page = {**PAGE, "_links": {"next": {"href": href}}, "cursor": None, "iv": None}
    with HostileServer(lambda _request: reply(as_json(page))) as server, pytest.raises(PaginationError):
        list(iter_pages(client_of(server), Query({}), WINDOW))


def test_a_cursor_that_no_address_could_hold_is_an_error() -> None:
    with (
        HostileServer(lambda _request: reply(as_json({**PAGE, "cursor": "x" * 100_000}))) as server,
        pytest.raises(PaginationError, match="too long"),
    ):
        list(iter_pages(client_of(server), Query({}), WINDOW))


@pytest.mark.parametrize("cursor", ["a&b=c", "a\r\nX-Injected: yes", "../..?x#y", "ä😀", "%0d%0a"])
def test_a_cursor_is_sent_back_as_it_is_and_as_nothing_else(cursor: str) -> None:
    page = as_json({**PAGE, "cursor": cursor})
    with HostileServer(lambda request: reply(as_json(LAST_PAGE) if "cursor=" in request.target else page)) as server:
        assert len(list(iter_pages(client_of(server), Query({}), WINDOW))) == 2
    (_, asked) = server.log
    assert asked.path == "/v2/reports/records"
    assert asked.target.count("cursor=") == 1
    assert "x-injected" not in asked.headers


# Records


@given(st.dictionaries(st.sampled_from(list(ROW)) | texts, values, max_size=6))
@settings(max_examples=150, deadline=None)
def test_any_row_that_can_be_read_can_be_written_everywhere(row: dict[str, Any]) -> None:
    with suppress(ValueError):
        check_written([read_json(as_json({**ROW, **row})), read_json(as_json(ROW))])


@pytest.mark.parametrize("raw", RAW, ids=lambda raw: raw[:20])
def test_any_value_in_any_field_can_be_written_everywhere(raw: str) -> None:
    for field in (*ROW, "unknown"):
        with suppress(ValueError):
            check_written([read_json(as_json({**ROW, field: msgspec.Raw(raw.encode())}))])


@pytest.mark.parametrize(
    "cell", ["[" * 100_000, nested(900, '{"a":', "}"), '{"a":1e99999999999999999999}', '{"a":"\\ud800"}', '{"a":NaN}']
)
def test_any_text_in_a_field_of_objects_can_be_written_everywhere(cell: str) -> None:
    check_written([{**ROW, "request_params": cell}])


def test_rows_that_have_no_name_in_common_take_no_square_of_memory() -> None:
    rows = [{"id": str(number), **{f"{number}-{name}": 1 for name in range(100)}} for number in range(1000)]
    told: list[str] = []
    parser = RecordParser(SCHEMA, on_mismatch=lambda name, _why: told.append(name))
    with memory_below(100 * MIB):
        records = plain(parser.parse_rows(rows))
    assert [len(record["_extra"]) for record in records] == [100] * 1000
    assert len(told) <= 100


def test_long_texts_of_numbers_are_not_remembered() -> None:
    parser = RecordParser(SCHEMA)
    with memory_below(20 * MIB):
        for number in range(300):
            assert parser.parse({"id": "1", "price": f"{number:0100000}"})["price"] == number


def test_a_name_of_a_field_goes_into_the_log_only_if_it_can_be_shown() -> None:
    names = ["447700900123", "a\nb", "x" * 5000]
    page = as_json({**LAST_PAGE, "records": [{**ROW, **dict.fromkeys(names, "1")}]})
    with HostileServer(Api(records=page)) as server:
        output = run(server, "sync")
    assert output.records[PRODUCT.stream][0]["_extra"].keys() == set(names)
    assert "447700900123" not in output.log
    assert all(len(line) < 1000 for line in output.log.splitlines())
    assert not [line for line in output.log.splitlines() if line.startswith("b ")]


def test_a_number_that_decimal_writes_differently_passes_a_whole_run_as_it_was_sent() -> None:
    odd = msgspec.Raw(b"4.0E-4")
    page = as_json({**LAST_PAGE, "records": [{**ROW, "new": odd, "list": [odd], "price": odd, "acc": odd}]})
    with HostileServer(Api(records=page)) as server:
        record = run(server, "sync").records[PRODUCT.stream][0]
    assert record["_extra"] == {"list": "[4.0E-4]", "new": "4.0E-4"}
    assert (record["acc"], record["price"]) == ("4.0E-4", Decimal("0.00040"))


# Waits


def test_a_wait_of_years_for_room_ends_with_the_time_that_a_report_may_take() -> None:
    client = mock.Mock()
    client.create_report.side_effect = ReportLimitError(float("inf"))
    client.retry_policy = RetryPolicy(delay_factor=0)
    client.report_request_delay.return_value = 0.0
    sync = mock.MagicMock()
    sync.result.gaps_in_a_row = 0
    scheduler = ReportScheduler(client, budget=1, timeout=timedelta(0), checkpoint=mock.Mock())
    scheduler.add(sync, ReportPlan([WINDOW], resumed=[], expired=[], stale=[]))
    job = scheduler.next_job(sync)
    assert job is not None
    for _ in range(2):
        scheduler.poll()
    assert isinstance(job.error, ReportLimitError)


# Whole runs


class Api:
    """The API with one report of one row, or one page of it, some of whose answers are replaced."""

    def __init__(self, **answers: bytes) -> None:
        self.answers = {
            "records": as_json(LAST_PAGE),
            "create": as_json({**REPORT, "request_status": "PENDING"}),
            "status": as_json(REPORT),
            "media": one('"id","price"\n"0001","0.5"\n').getvalue(),
            **answers,
        }
        self.asked_the_time = False

    def __call__(self, request: Request) -> bytes:
        if request.path.startswith("/v3/media"):
            return reply(self.answers["media"])
        if request.path == "/v2/reports/records" and not self.asked_the_time:
            self.asked_the_time = True
            return reply(as_json(LAST_PAGE))
        if request.path == "/v2/reports/records":
            return reply(self.answers["records"])
        return reply(self.answers["create" if request.method == "POST" else "status"])


def run(server: HostileServer, mode: str, state: dict[str, Any] | None = None) -> Output:
    given_settings = {
        "api_url": server.url,
        "api_key": KEY,
        "api_secret": SECRET,
        "request_timeout_seconds": 60,
        "fetch_mode": mode,
        "start_date": "2026-11-18",
        "end_date": "2026-11-19",
    }
    return run_tap(given_settings, [PRODUCT.stream], state)


@pytest.mark.parametrize(
    ("endpoint", "right"),
    [("records", LAST_PAGE), ("create", REPORT), ("status", REPORT)],
    ids=["records", "create", "status"],
)
def test_a_run_ends_well_or_with_an_error_and_what_is_covered_was_read(endpoint: str, right: dict[str, Any]) -> None:
    @given(spoilt(right))
    @settings(max_examples=10, deadline=None)
    def check(body: bytes) -> None:
        with HostileServer(Api(**{endpoint: body})) as server:
            output = run(server, "sync" if endpoint == "records" else "async")
        assert output.code == (0 if output.error is None else 1)
        if output.code == 0:
            assert output.bookmark(PRODUCT.stream)["covered"]

    check()


@pytest.mark.parametrize("request_id", [5, None, ["x"], "\ud800", "..", "x" * 1000])
def test_a_state_with_the_name_of_no_report_is_an_error(request_id: object) -> None:
    dates = {"date_start": "2026-11-18T00:00:00+00:00", "date_end": "2026-11-19T00:00:00+00:00"}
    report = {"request_id": request_id, **dates, "fingerprint": "x", "requested_at": "2026-11-20T00:00:00+00:00"}
    partition = {"context": {"account_id": KEY}, "reports": [report]}
    with HostileServer(Api()) as server:
        output = run(server, "async", {"bookmarks": {PRODUCT.stream: {"partitions": [partition]}}})
    assert isinstance(output.error, StateError) or output.code == 0


@pytest.mark.parametrize(
    "place", [{"cursor": 5}, {"cursor": ["x"]}, {"cursor": "\ud800"}, {"cursor": "x", "iv": {}}], ids=ascii
)
def test_a_state_with_a_cursor_that_is_none_is_an_error(place: dict[str, Any]) -> None:
    dates = {"date_start": "2026-11-18T00:00:00+00:00", "date_end": "2026-11-19T00:00:00+00:00"}
    partition = {"context": {"account_id": KEY}, "page": {**dates, **place}}
    with HostileServer(Api()) as server:
        output = run(server, "sync", {"bookmarks": {PRODUCT.stream: {"partitions": [partition]}}})
    assert isinstance(output.error, StateError)
