from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sandbox.reading import SHAPES, Reader

if TYPE_CHECKING:
    from collections.abc import Callable


def asked(reader: Reader, stream: str, direction: str, ids: list[str], **given: str) -> dict[str, str]:
    query = {name: value for name, value in reader.ask(stream, direction).items() if not name.startswith("date_")}
    return query | {"id": ",".join(ids)} | given


@pytest.mark.parametrize(("stream", "direction"), SHAPES)
def test_a_row_is_found_by_its_id(reader: Reader, stream: str, direction: str) -> None:
    rows = reader.rows(**reader.ask(stream, direction))[:20]
    (page,) = reader.pages(**asked(reader, stream, direction, [row["id"] for row in rows]))
    assert page["records"] == rows
    assert page["items_count"] == len(rows) == 20
    assert "ids_not_found" not in page


def test_misses_come_as_one_text(reader: Reader) -> None:
    known = reader.rows(**reader.ask("sms", "outbound"))[0]["id"]
    unknown = ["aaaaaaaa-bbbb-cccc-dddd-0123456789ab", "x", known.upper()]
    (page,) = reader.pages(**asked(reader, "sms", "outbound", [unknown[0], known, *unknown[1:]]))
    assert [row["id"] for row in page["records"]] == [known]
    assert page["ids_not_found"] == ",".join(unknown)


def test_an_id_of_another_direction_or_account_or_product_is_not_found(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 20}, subaccount_keys=["sub00001"])
    identifier = reader.rows(**reader.ask("sms", "outbound"))[0]["id"]
    for stream, direction, account in (
        ("sms", "inbound", "abcd1234"),
        ("messages", "outbound", "abcd1234"),
        ("sms", "outbound", "sub00001"),
    ):
        (page,) = reader.pages(**asked(reader, stream, direction, [identifier], account_id=account))
        assert page["records"] == []
        assert page["ids_not_found"] == identifier


def test_a_look_up_takes_twenty_ids(reader: Reader) -> None:
    assert reader.get(**asked(reader, "sms", "outbound", [f"{n:032x}" for n in range(20)])).status_code == 200
    problem = reader.problem(**asked(reader, "sms", "outbound", [f"{n:032x}" for n in range(21)]))
    assert problem["invalid_parameters"][0]["name"] == "id"
    assert reader.problem(**asked(reader, "sms", "outbound", [""]))["status"] == 422


@pytest.mark.parametrize(
    "extra",
    [{"date_start": "2026-11-18T00:00:00Z"}, {"status": "delivered"}, {"cursor": "x", "iv": "y"}, {"color": "red"}],
)
def test_a_look_up_takes_no_other_parameters(reader: Reader, extra: dict[str, str]) -> None:
    problem = reader.problem(**asked(reader, "sms", "outbound", ["x"], **extra))
    assert (problem["status"], problem["title"]) == (422, "Invalid filter")
    assert all(name in problem["detail"] for name in extra)


def test_a_look_up_shows_bodies_when_asked(reader: Reader) -> None:
    row = reader.rows(**reader.ask("sms", "outbound", include_message="true"))[0]
    (page,) = reader.pages(**asked(reader, "sms", "outbound", [row["id"]], include_message="true"))
    assert page["records"] == [row]
    assert "message_body" in row


def test_a_look_up_is_not_limited_in_time_but_by_retention(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 5})
    reader.sandbox.clock.set("2025-12-01T00:00:00Z")
    row = reader.rows(**reader.ask("sms", "outbound", ("2025-11-18T00:00:00Z", "2025-11-19T00:00:00Z")))[0]
    reader.sandbox.clock.set("2026-12-01T00:00:00Z")
    assert reader.pages(**asked(reader, "sms", "outbound", [row["id"]]))[0]["records"] == [row]
    reader.sandbox.clock.set("2026-12-20T00:00:00Z")
    assert reader.pages(**asked(reader, "sms", "outbound", [row["id"]]))[0]["records"] == []
