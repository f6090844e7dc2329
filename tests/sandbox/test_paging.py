from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.sandbox.reading import SHAPES, Reader, utc

if TYPE_CHECKING:
    from collections.abc import Callable

HALF_DAY = ("2026-11-18T06:30:00Z", "2026-11-18T18:15:30Z")


@pytest.mark.parametrize(("stream", "direction"), SHAPES)
def test_the_pages_of_a_window_are_its_rows(opened: Callable[..., Reader], stream: str, direction: str) -> None:
    reader = opened(rows={"*": 700}, page_size=97)
    pages = reader.pages(**reader.ask(stream, direction, HALF_DAY))
    rows = [row for page in pages for row in page["records"]]
    assert rows == reader.sandbox.expected(stream, None, direction, utc(HALF_DAY[0]), utc(HALF_DAY[1]))
    assert [page["items_count"] for page in pages[:-1]] == [97] * (len(pages) - 1)
    assert [page["request_status"] for page in pages] == ["TRUNCATED"] * (len(pages) - 1) + ["SUCCESS"]
    assert len({row["id"] for row in rows}) == len(rows) > 300


def test_a_page_has_1000_rows_unless_told_otherwise(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"sms": 2000})
    assert [page["items_count"] for page in reader.pages(**reader.ask("sms", "outbound"))] == [1000, 1000]


def test_merged_directions_page_without_gap_or_repetition(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"voice_call/outbound": 800, "voice_call/inbound": 90}, page_size=53)
    rows = reader.rows(**reader.ask("voice_call"))
    assert len(rows) == len({row["id"] for row in rows}) == 890


def test_filtered_pages_hold_what_fits_and_all_of_it(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"sms": 900}, page_size=40)
    everything = reader.rows(**reader.ask("sms", "outbound"))
    fitting = reader.rows(**reader.ask("sms", "outbound", status="failed", country="GB"))
    assert fitting == [row for row in everything if row["status"] == "failed" and row["country"] == "GB"]
    assert fitting


def test_the_filter_country_of_network_events_reads_country_code(reader: Reader) -> None:
    rows = reader.rows(**reader.ask("network_api_event", country="GB"))
    assert {row["country_code"] for row in rows} == {"GB"}


def test_a_cursor_looks_encrypted_and_goes_with_its_iv(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"sms": 30}, page_size=10)
    first, second, _ = reader.pages(**reader.ask("sms", "outbound"))
    assert re.fullmatch(r"[A-Za-z0-9_-]{150,}", first["cursor"])
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", first["iv"])
    assert first["cursor"][:20] != second["cursor"][:20]
    assert first["iv"] != second["iv"]


def test_the_next_link_is_complete_and_leads_to_the_next_page(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"sms": 30}, page_size=10)
    pages = reader.pages(**reader.ask("sms", "outbound"))
    link = urlsplit(pages[0]["_links"]["next"]["href"])
    given = dict(parse_qsl(link.query))
    assert given == reader.ask("sms", "outbound") | {"cursor": pages[0]["cursor"], "iv": pages[0]["iv"]}
    assert reader.get(f"{link.path}?{link.query}").json()["records"] == pages[1]["records"]


@pytest.mark.parametrize(
    "change",
    [
        {"cursor": "A" * 196},
        {"cursor": "not a cursor"},
        {"iv": "A" * 22},
        {"iv": ""},
        {"cursor": ""},
        {"direction": "inbound"},
        {"account_id": "sub00001"},
        {"date_start": "2026-11-18T00:00:01Z"},
        {"date_end": "2026-11-18T23:59:59Z"},
        {"status": "delivered"},
        {"include_message": "true"},
    ],
)
def test_a_cursor_of_another_query_or_a_changed_one_is_422(
    opened: Callable[..., Reader], change: dict[str, str]
) -> None:
    reader = opened(rows={"sms": 30}, page_size=10, subaccount_keys=["sub00001"])
    page = reader.pages(**reader.ask("sms", "outbound"))[0]
    given = reader.ask("sms", "outbound") | {"cursor": page["cursor"], "iv": page["iv"]}
    assert reader.get(**given).status_code == 200
    assert reader.problem(**(given | change))["status"] == 422


@pytest.mark.parametrize("left_out", ["cursor", "iv"])
def test_cursor_and_iv_come_together(opened: Callable[..., Reader], left_out: str) -> None:
    reader = opened(rows={"sms": 30}, page_size=10)
    page = reader.pages(**reader.ask("sms", "outbound"))[0]
    given = reader.ask("sms", "outbound") | {"cursor": page["cursor"], "iv": page["iv"]}
    del given[left_out]
    problem = reader.problem(**given)
    assert problem["invalid_parameters"] == [{"name": left_out, "reason": "Missing required parameter"}]


def test_one_changed_character_spoils_a_cursor(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"sms": 30}, page_size=10)
    page = reader.pages(**reader.ask("sms", "outbound"))[0]
    cursor = page["cursor"]
    for place in range(0, len(cursor) - 1, 29):
        changed = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        assert reader.problem(**reader.ask("sms", "outbound", cursor=changed, iv=page["iv"]))["status"] == 422


def test_a_cursor_survives_a_restart(opened: Callable[..., Reader]) -> None:
    page = (before := opened(rows={"sms": 30}, page_size=10)).pages(**before.ask("sms", "outbound"))[0]
    after = opened(rows={"sms": 30}, page_size=10)
    rows = after.rows(**after.ask("sms", "outbound", cursor=page["cursor"], iv=page["iv"]))
    assert page["records"] + rows == after.rows(**after.ask("sms", "outbound"))


def test_another_sandbox_does_not_read_the_cursor(opened: Callable[..., Reader]) -> None:
    page = (before := opened(rows={"sms": 30}, page_size=10)).pages(**before.ask("sms", "outbound"))[0]
    other = opened(rows={"sms": 30}, page_size=10, seed="another")
    assert other.problem(**other.ask("sms", "outbound", cursor=page["cursor"], iv=page["iv"]))["status"] == 422


def test_rows_that_turn_up_while_paging_do_not_disturb_the_pages(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"voice_call": 900}, page_size=50)
    window = ("2026-11-20T00:00:00Z", "2026-11-20T11:59:00Z")
    given = reader.ask("voice_call", "outbound", window)
    before = reader.rows(**given)
    first = reader.get(**given).json()
    reader.sandbox.clock.advance(hours=2)
    rest = reader.rows(**given, cursor=first["cursor"], iv=first["iv"])
    ids = [row["id"] for row in first["records"] + rest]
    assert len(set(ids)) == len(ids)
    assert {row["id"] for row in before} <= set(ids)
