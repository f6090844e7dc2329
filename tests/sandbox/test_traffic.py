from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox import Daily, Within
from tap_vonage_reports.sandbox.rows import KINDS
from tap_vonage_reports.sandbox.traffic import CHUNK, Chunk, Line
from tests.sandbox.reading import DAY, NOW, SHAPES, Reader, utc

if TYPE_CHECKING:
    from collections.abc import Callable

WIRE_TYPES: dict[tuple[str, str], tuple[type, ...]] = {
    ("amd", "amd_result_sent"): (bool,),
    ("amd", "amd_beep_detection_result"): (bool, type(None)),
    ("amd", "amd_user_defined_beep_timeout"): (int,),
    ("reports_usage", "request_params"): (dict,),
    ("reports_usage", "items_written"): (int,),
    ("reports_usage", "price"): (int, Decimal),
    ("reports_usage", "total_price"): (int, Decimal),
}
"""The fields that are no text on the wire (facts, section 12)."""


def fields(stream: str, direction: str) -> set[str]:
    """The fields that the rows of a stream and direction may have."""
    found = set()
    for name, schema in PRODUCTS[stream].schema["properties"].items():
        if name != "_extra" and schema.get("direction", direction) == direction:
            found.add(name)
    if (stream, direction) == ("messages", "inbound"):
        found -= {"country", "country_name"}
    return found


def switches(stream: str, direction: str) -> dict[str, Any]:
    product = PRODUCTS[stream]
    given = {}
    if product.include_message:
        given["include_message"] = "true"
    if direction in product.concatenated_directions:
        given["show_concatenated"] = "true"
    return given


@pytest.mark.parametrize(("stream", "direction"), SHAPES)
def test_every_documented_field_appears_and_no_other(
    opened: Callable[..., Reader], stream: str, direction: str
) -> None:
    reader = opened(rows={"*": 1500})
    rows = reader.rows(**reader.ask(stream, direction, **switches(stream, direction)))
    assert {name for row in rows for name in row} == fields(stream, direction)
    filled = {name for row in rows for name, value in row.items() if value not in ("", None)}
    assert filled == fields(stream, direction)


INBOUND_ORDER = {
    "sms": "account_id message_id direction from to network network_name country country_name date_received currency "
    "total_price id message_body tier_volume",
    "messages": "account_id message_id direction from to message_body provider network network_name date_received "
    "currency total_price id tier_volume",
}
"""The documented order of the columns of inbound messages; everywhere else it is that of the schema."""


@pytest.mark.parametrize(("stream", "direction"), SHAPES)
def test_columns_come_in_the_documented_order(opened: Callable[..., Reader], stream: str, direction: str) -> None:
    reader = opened(rows={"*": 200})
    order = list(PRODUCTS[stream].schema["properties"])
    if direction == "inbound" and stream in INBOUND_ORDER:
        order = INBOUND_ORDER[stream].split()
    for row in reader.rows(**reader.ask(stream, direction, **switches(stream, direction))):
        assert list(row) == [name for name in order if name in row]


@pytest.mark.parametrize(("stream", "direction"), SHAPES)
def test_values_have_the_types_of_the_wire(opened: Callable[..., Reader], stream: str, direction: str) -> None:
    reader = opened(rows={"*": 400})
    for row in reader.rows(**reader.ask(stream, direction, **switches(stream, direction))):
        for name, value in row.items():
            assert isinstance(value, WIRE_TYPES.get((stream, name), (str, type(None)))), name


@pytest.mark.parametrize(("stream", "direction"), SHAPES)
def test_values_fit_the_types_of_the_schema(opened: Callable[..., Reader], stream: str, direction: str) -> None:
    reader = opened(rows={"*": 400})
    properties = PRODUCTS[stream].schema["properties"]
    for row in reader.rows(**reader.ask(stream, direction, **switches(stream, direction))):
        for name, value in row.items():
            if value in ("", None) or not isinstance(value, str):
                continue
            kind = properties[name]["type"][0] if isinstance(properties[name]["type"], list) else "string"
            if properties[name].get("format") == "date-time":
                assert datetime.fromisoformat(value.replace("Z", "+00:00")).tzinfo, name
            elif kind == "integer":
                int(value)
            elif kind == "number":
                assert Decimal(value).is_finite(), name
            elif kind == "boolean":
                assert value.upper() in {"TRUE", "FALSE"}, name


@pytest.mark.parametrize(("stream", "direction"), SHAPES)
def test_a_day_has_exactly_the_rows_that_were_asked_for(
    opened: Callable[..., Reader], stream: str, direction: str
) -> None:
    reader = opened(rows={stream: 137}, faults=["no-changes"])
    rows = reader.rows(**reader.ask(stream, direction))
    dates = [row[PRODUCTS[stream].date_field] for row in rows]
    assert len({row["id"] for row in rows}) == len(rows) == 137
    assert dates == sorted(dates, reverse=True)
    assert "2026-11-18T00:00:00+00:00" <= dates[-1] <= dates[0] < "2026-11-19T00:00:00+00:00"


def test_a_window_can_have_exactly_so_many_rows_and_no_other_has_any(opened: Callable[..., Reader]) -> None:
    start, end = utc("2026-11-18T05:17:03Z"), utc("2026-11-18T09:00:00Z")
    reader = opened(rows={"sms/outbound": Within(1234, start, end), "*": 0})
    assert len(reader.rows(**reader.ask("sms", "outbound"))) == 1234
    assert len(reader.rows(**reader.ask("sms", "outbound", ("2026-11-18T05:17:03Z", "2026-11-18T09:00:00Z")))) == 1234
    assert reader.rows(**reader.ask("sms", "inbound")) == []


def test_a_callable_can_say_how_many_rows_there_are(opened: Callable[..., Reader]) -> None:
    def rows(stream: str, account: str, direction: str) -> int | Daily:
        return 3 if (stream, account, direction) == ("sms", "abcd1234", "inbound") else Daily(0)

    reader = opened(rows=rows)
    assert len(reader.rows(**reader.ask("sms", "inbound"))) == 3
    assert reader.rows(**reader.ask("amd")) == []


def test_a_row_is_in_exactly_one_of_two_windows_that_meet(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"sms": 1440})
    whole = reader.rows(**reader.ask("sms", "outbound"))
    middle = whole[700]["date_received"]
    halves = [
        row
        for window in ((middle, DAY[1]), (DAY[0], middle))
        for row in reader.rows(**reader.ask("sms", "outbound", window))
    ]
    assert halves == whole


def test_milliseconds_in_bounds_cut_between_whole_seconds(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"sms": 1440})
    second = reader.rows(**reader.ask("sms", "outbound"))[700]["date_received"][:19]
    after = reader.rows(**reader.ask("sms", "outbound", (f"{second}.001Z", DAY[1])))
    before = reader.rows(**reader.ask("sms", "outbound", (DAY[0], f"{second}.001Z")))
    assert min(row["date_received"] for row in after) > second + "+00:00"
    assert max(row["date_received"] for row in before) == second + "+00:00"


def test_traffic_is_a_pure_function_of_the_seed(opened: Callable[..., Reader]) -> None:
    first, second, other = opened(), opened(), opened(seed="another")
    window = utc("2026-03-01T00:00:00Z"), utc("2026-03-01T06:00:00Z")
    for stream, direction in SHAPES:
        rows = first.sandbox.expected(stream, None, direction, *window)
        assert rows == second.sandbox.expected(stream, None, direction, *window)
        assert not {row["id"] for row in rows} & {
            row["id"] for row in other.sandbox.expected(stream, None, direction, *window)
        }


def test_the_same_question_at_the_same_time_has_the_same_answer(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 300})
    window = ("2026-11-20T00:00:00Z", "2026-11-20T11:59:59Z")
    for stream, direction in SHAPES:
        given = reader.ask(stream, direction, window)
        assert reader.rows(**given) == reader.rows(**given)


def test_usual_volumes_differ_between_products_hours_and_days(opened: Callable[..., Reader]) -> None:
    reader = opened(faults=["no-changes"])
    week = [
        reader.sandbox.expected("sms", None, "outbound", day, day + timedelta(days=1))
        for day in (utc("2026-11-09T00:00:00Z") + timedelta(days=n) for n in range(7))
    ]
    assert min(len(day) for day in week[:5]) > max(len(day) for day in week[5:]) > 1000
    hours = Counter(row["date_received"][11:13] for row in week[1])
    assert hours["10"] > 5 * hours["02"]
    assert len(reader.sandbox.expected("amd", None, None, utc(DAY[0]), utc(DAY[1]))) < 400


def test_a_look_at_a_few_hours_of_a_long_history_makes_only_those(
    opened: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    make = Line._make_chunk  # noqa: SLF001 - the one place where rows are made

    def counted(line: Line, *given: Any) -> Chunk:
        made.append(given)
        return make(line, *given)

    monkeypatch.setattr(Line, "_make_chunk", counted)
    reader = opened(rows={"sms": 60_000})
    pages = reader.pages(**reader.ask("sms", "outbound", ("2026-03-01T03:00:00Z", "2026-03-01T05:00:00Z")))
    assert sum(page["items_count"] for page in pages) == 5000
    assert len(made) == len(set(made)) == 2 * -(-2500 // CHUNK)


def test_an_sms_is_submitted_first_and_final_later_in_the_same_row(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"sms": 86400}, clock="2026-11-18T12:00:00Z")
    given = reader.ask("sms", "outbound", ("2026-11-18T11:58:00Z", "2026-11-18T11:59:59Z"))
    early = reader.rows(**given)
    reader.sandbox.clock.advance(hours=72)
    late = reader.rows(**given)
    fresh = {"submitted", "accepted", "buffered"}
    final = {"delivered", "failed", "rejected", "unknown", "deleted", "expired"}
    assert [row["id"] for row in early] == [row["id"] for row in late]
    assert all(row["message_id"] == row["id"] for row in early)
    assert {row["status"] for row in late} <= final
    pending = [(a, b) for a, b in zip(early, late, strict=True) if a["status"] in fresh]
    assert pending
    for before, after in pending:
        assert (before["date_finalized"], before["latency"], before["total_price"]) == ("", "", "")
        took = utc(after["date_finalized"]) - utc(after["date_received"])
        assert took == timedelta(seconds=int(after["latency"]) // 1000)
        assert Decimal(after["total_price"]) >= 0
        assert before["to"] == after["to"]


def test_sms_have_all_final_states_and_expire_after_72_hours(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"sms": 3000}, clock="2026-11-30T00:00:00Z")
    rows = reader.rows(**reader.ask("sms", "outbound"))
    counts = Counter(row["status"] for row in rows)
    assert counts.keys() == {"delivered", "failed", "rejected", "unknown", "deleted", "expired"}
    assert counts["delivered"] > 0.85 * len(rows)
    assert {row["latency"] for row in rows if row["status"] == "expired"} == {"259200000"}


def test_a_message_turns_to_read_after_it_was_delivered_and_keeps_its_final_date(
    opened: Callable[..., Reader],
) -> None:
    reader = opened(rows={"messages": 2000}, clock="2026-11-18T12:00:00Z")
    given = reader.ask("messages", "outbound", ("2026-11-18T08:00:00Z", "2026-11-18T11:59:00Z"))
    early = {row["id"]: row for row in reader.rows(**given)}
    reader.sandbox.clock.advance(days=10)
    late = {row["id"]: row for row in reader.rows(**given)}
    turned = [i for i in early if (early[i]["status"], late[i]["status"]) == ("delivered", "read")]
    assert early.keys() == late.keys()
    assert turned
    # The finished dates of some RCS messages come up to 48 hours late; from then on they stay too.
    assert all(early[i]["date_finalized"] in {late[i]["date_finalized"], ""} for i in turned)
    assert {early[i]["provider"] for i in turned if not early[i]["date_finalized"]} <= {"rcs"}
    assert {row["status"] for row in late.values()} == {"delivered", "read", "undeliverable", "rejected"}


def test_whatsapp_has_a_session_only_when_delivered(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"messages": 1000})
    rows = [row for row in reader.rows(**reader.ask("messages", "outbound")) if row["provider"] == "whatsapp"]
    assert all(bool(row["session_id"]) == (row["status"] in {"delivered", "read"}) for row in rows)
    assert any(row["total_price"] == "0" for row in rows)


def test_a_call_is_listed_only_after_its_end(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"voice_call": 1000})
    window = ("2026-11-20T06:00:00Z", "2026-11-20T11:59:59Z")
    early = reader.rows(**reader.ask("voice_call", "outbound", window))
    reader.sandbox.clock.advance(hours=3)
    late = reader.rows(**reader.ask("voice_call", "outbound", window))
    assert all(row["date_end"] <= "2026-11-20T12:00:00+00:00" for row in early)
    assert len(late) == 250 > len(early)
    assert [row for row in late if row in early] == early


def test_hls_is_listed_up_to_two_and_a_half_hours_late(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"video_api": 4000}, clock="2026-11-18T06:00:00Z")
    window = utc("2026-11-18T00:00:00Z"), utc("2026-11-18T05:59:00Z")
    early = {row["id"] for row in reader.sandbox.expected("video_api", None, None, *window)}
    reader.sandbox.clock.advance(hours=6)
    late = [row for row in reader.sandbox.expected("video_api", None, None, *window) if row["id"] not in early]
    ended = [row for row in late if row["date_end"] < "2026-11-18T05:30:00+00:00"]
    assert {row["feature_name"] for row in ended} == {"HLS"}


def test_background_reports_go_through_their_states_in_reports_usage(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"reports_usage": 8640}, clock="2026-11-18T12:00:00Z")
    given = reader.ask("reports_usage", window=("2026-11-18T11:40:00Z", "2026-11-18T11:59:59Z"))
    early = [row for row in reader.rows(**given) if row["job_type"] == "ASYNC_JOB"]
    reader.sandbox.clock.advance(hours=1)
    late = [row for row in reader.rows(**given) if row["job_type"] == "ASYNC_JOB"]
    assert {row["status"] for row in early} > {"PROCESSING"}
    assert any(row["date_finished"] is None for row in early)
    assert all(row["date_finished"] for row in late)


def test_a_traffic_control_message_is_queued_and_dequeued(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"sms_traffic_control": 400, "sms": 600})
    rows = reader.rows(**reader.ask("sms_traffic_control"))
    pairs: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        pairs.setdefault(row["message_id"], []).append(row)
    whole = [pair for pair in pairs.values() if len(pair) == 2]
    assert len(whole) > 150
    for pair in whole:
        assert {row["status"] for row in pair} == {"queued", "dequeued"}
        assert len({row["queued_time"] for row in pair}) == 1
    sms = {row["message_id"] for row in reader.rows(**reader.ask("sms", "outbound"))}
    assert pairs.keys() <= sms


@pytest.mark.parametrize(
    ("stream", "column"),
    [
        ("verify_v2", "parent_request_id"),
        ("video_api", "session_id"),
        ("network_api_event", "correlation_id"),
        ("asr", "call_id"),
        ("conversation_event", "conversation_id"),
        ("in_app_voice", "conversation_id"),
        ("websocket_call", "call_id"),
    ],
)
def test_several_rows_belong_to_one_thing(opened: Callable[..., Reader], stream: str, column: str) -> None:
    reader = opened(rows={"*": 400}, faults=["no-changes"])
    rows = reader.rows(**reader.ask(stream, PRODUCTS[stream].directions[0] if PRODUCTS[stream].directions else ""))
    if stream == "verify_v2":
        known = {row["request_id"] for row in rows if row["channel"] == "v2"}
        events = [row for row in rows if row["channel"] != "v2"]
        assert {row["channel"] for row in events} == {"email", "silent_auth"}
        assert {row["parent_request_id"] for row in events} <= known
        return
    counts = Counter(row[column] for row in rows)
    assert max(counts.values()) > 1
    assert len({row["id"] for row in rows}) == len(rows)


def test_parts_of_a_long_sms_are_rows_of_their_own(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"sms": 2000})
    rows = [
        row
        for row in reader.rows(**reader.ask("sms", "outbound", show_concatenated="true"))
        if row["concatenated"] == "TRUE"
    ]
    assert {row["udh"][-1] for row in rows} == {"1", "2"}
    assert len({row["id"] for row in rows}) == len(rows)


@pytest.mark.parametrize("stream", ["sms", "messages"])
@pytest.mark.parametrize("direction", ["outbound", "inbound"])
def test_bodies_come_only_when_asked_for_and_are_awkward(
    opened: Callable[..., Reader], stream: str, direction: str
) -> None:
    reader = opened(rows={stream: 600})
    plain = reader.rows(**reader.ask(stream, direction))
    shown = reader.rows(**reader.ask(stream, direction, include_message="true"))
    assert all("message_body" not in row for row in plain)
    assert [{k: v for k, v in row.items() if k != "message_body"} for row in shown] == plain
    bodies = "".join(row["message_body"] for row in shown)
    assert all(mark in bodies for mark in ('"', "\n", "\r\n", ",", "\U0001f389", "ご", "م", "\u2028"))


def test_concatenated_comes_only_when_asked_for(reader: Reader) -> None:
    assert all("concatenated" not in row for row in reader.rows(**reader.ask("sms", "outbound")))
    shown = reader.rows(**reader.ask("sms", "outbound", show_concatenated="true"))
    assert {row["concatenated"] for row in shown} <= {"TRUE", "FALSE"}


def test_missing_values_are_missing_in_three_ways(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"sms": 500})
    rows = reader.rows(**reader.ask("sms", "outbound"))
    assert {row.get("tier_volume", "absent") for row in rows} >= {"absent", None, "", "1-10000"}
    assert {row["client_ref"] for row in rows} >= {None, ""}


def test_numbers_are_written_with_exact_digits(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"reports_usage": 500})
    text = reader.get(**reader.ask("reports_usage")).text
    assert '"price":0.0004' in text
    for row in json.loads(text, parse_float=str)["records"]:
        price, total = Decimal(row["price"]), Decimal(row["total_price"])
        assert total == price * row["items_written"]
        assert "e" not in str(row["total_price"])


def test_money_has_differing_scales(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 500})
    scales = {
        -int(Decimal(row["total_price"]).as_tuple().exponent)
        for row in reader.rows(**reader.ask("sms", "outbound"))
        if row["total_price"]
    }
    assert {4, 8} <= scales <= set(range(9))


@pytest.mark.parametrize(("stream", "kept"), [("sms", "2025-10-20T12:00:00Z"), ("video_api", "2026-08-22T12:00:00Z")])
def test_rows_vanish_after_their_retention(opened: Callable[..., Reader], stream: str, kept: str) -> None:
    reader = opened(rows={"*": 480}, faults=["no-window-limit"])
    moment = utc(kept)
    window = ((moment - timedelta(hours=3)).isoformat(), (moment + timedelta(hours=3)).isoformat())
    direction = "outbound" if stream == "sms" else ""
    dates = [row[PRODUCTS[stream].date_field] for row in reader.rows(**reader.ask(stream, direction, window))]
    assert 55 <= len(dates) <= 65
    assert min(dates) >= moment.isoformat()


def test_ids_are_unique_over_accounts_and_directions_of_a_product(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 200}, subaccount_keys=["sub00001"])
    window = utc("2026-11-10T00:00:00Z"), utc("2026-11-13T00:00:00Z")
    ids = [
        row["id"]
        for account in ("abcd1234", "sub00001")
        for row in reader.sandbox.expected("voice_call", account, None, *window)
    ]
    assert len(ids) == len(set(ids)) == 3 * 200 * 2 * 2


def test_every_stream_and_direction_of_the_products_has_traffic() -> None:
    assert set(KINDS) == {
        (stream, direction) for stream, product in PRODUCTS.items() for direction in product.directions or ("",)
    }


def test_nothing_is_listed_before_it_happened(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 2000}, faults=["future-accepted", "no-changes"])
    for stream, direction in SHAPES:
        rows = reader.rows(**reader.ask(stream, direction, ("2026-11-20T00:00:00Z", "2026-11-20T23:00:00Z")))
        assert max(row[PRODUCTS[stream].date_field] for row in rows) <= NOW.replace("Z", "+00:00")
