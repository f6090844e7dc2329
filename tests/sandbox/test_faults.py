from __future__ import annotations

import itertools
import json
import re
import time
from decimal import Decimal
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox import Fault, Faults, Sandbox, answers
from tap_vonage_reports.sandbox.faults import ABOUT
from tests.sandbox.reading import SHAPES, Reader, utc
from tests.sandbox.reporting import post

if TYPE_CHECKING:
    from collections.abc import Callable


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


def link(page: dict[str, Any]) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(page["_links"]["next"]["href"]).query))


@pytest.fixture
def paged(opened: Callable[..., Reader]) -> Reader:
    """Thirty rows in pages of ten."""
    return opened(rows={"*": 30}, page_size=10)


def first(reader: Reader, **given: Any) -> dict[str, Any]:
    body: dict[str, Any] = reader.get(**reader.ask("sms", "outbound", **given)).json()
    return body


def test_every_fault_says_what_it_does() -> None:
    assert set(ABOUT) == set(Fault)


@pytest.mark.parametrize(
    ("fault", "lacks"),
    [
        ("next-link-without-dates", {"date_start", "date_end"}),
        ("next-link-without-iv", {"iv"}),
        ("next-link-bare", {"date_start", "date_end", "iv"}),
    ],
)
def test_a_defective_next_link_lacks_parameters_that_the_body_has(paged: Reader, fault: str, lacks: set[str]) -> None:
    complete = set(link(first(paged)))
    paged.sandbox.faults.on(fault)
    page = first(paged)
    assert complete - set(link(page)) == lacks
    assert page["cursor"]
    assert page["iv"]
    assert paged.get(**link(page)).status_code == 422
    assert len(paged.rows(**paged.ask("sms", "outbound"))) == 30


def test_a_next_link_without_dates_works_where_dates_are_defaulted(paged: Reader) -> None:
    whole = paged.pages(**paged.ask("sms", "outbound"))
    paged.sandbox.faults.on("next-link-without-dates")
    paged.sandbox.faults.on("dates-defaulted")
    page = first(paged)
    paged.sandbox.clock.advance(minutes=5)
    assert paged.get(**link(page)).json()["records"] == whole[1]["records"]


def test_missing_dates_mean_the_last_seven_days_where_they_are_defaulted(paged: Reader) -> None:
    paged.sandbox.faults.on("dates-defaulted")
    rows = paged.rows(product="SMS", account_id="abcd1234", direction="outbound")
    assert rows == paged.sandbox.expected(
        "sms", None, "outbound", utc("2026-11-13T12:00:00Z"), utc("2026-11-20T12:00:00Z")
    )


def test_a_next_link_can_name_another_host(paged: Reader) -> None:
    paged.sandbox.faults.on("next-link-elsewhere", "http://other.invalid:1")
    assert first(paged)["_links"]["next"]["href"].startswith("http://other.invalid:1/v2/reports/records?")


def test_links_can_have_the_path_of_the_specification_and_work(paged: Reader) -> None:
    whole = paged.pages(**paged.ask("sms", "outbound"))
    paged.sandbox.faults.on("next-link-product-path")
    page = first(paged)
    path = urlsplit(page["_links"]["next"]["href"]).path
    assert path == "/v2/reports/sms/records"
    assert paged.get(path, **link(page)).json()["records"] == whole[1]["records"]


def test_cursor_and_iv_can_stand_in_the_link_alone(paged: Reader) -> None:
    paged.sandbox.faults.on("cursor-only-in-link")
    page = first(paged)
    assert not page.keys() & {"cursor", "iv"}
    assert link(page).keys() >= {"cursor", "iv"}


def test_truncated_can_come_without_any_cursor(paged: Reader) -> None:
    paged.sandbox.faults.on("cursor-missing")
    page = first(paged)
    assert page["request_status"] == "TRUNCATED"
    assert "cursor" not in page
    assert "next" not in page["_links"]


def test_a_cursor_can_repeat_for_ever(paged: Reader) -> None:
    paged.sandbox.faults.on("cursor-repeated")
    page = first(paged)
    for _ in range(5):
        cursor = page["cursor"]
        page = first(paged, cursor=cursor, iv=page["iv"])
        assert (page["cursor"], page["request_status"]) == (cursor, "TRUNCATED")


def test_a_cursor_can_be_refused_always_or_once(paged: Reader) -> None:
    page = first(paged)
    given: dict[str, Any] = {"cursor": page["cursor"], "iv": page["iv"]}
    paged.sandbox.faults.on("cursor-refused")
    assert [paged.get(**paged.ask("sms", "outbound", **given)).status_code for _ in range(3)] == [422] * 3
    paged.sandbox.faults.on("cursor-refused", "once")
    fresh = first(paged, status="delivered")
    given |= {"cursor": fresh["cursor"], "iv": fresh["iv"], "status": "delivered"}
    assert [paged.get(**paged.ask("sms", "outbound", **given)).status_code for _ in range(3)] == [422, 200, 200]


@pytest.mark.parametrize("status", [401, 500])
def test_a_cursor_can_be_refused_with_another_status(paged: Reader, status: int) -> None:
    page = first(paged)
    paged.sandbox.faults.on("cursor-refused", str(status))
    given = paged.ask("sms", "outbound", cursor=page["cursor"], iv=page["iv"])
    assert [paged.get(**given).status_code for _ in range(2)] == [status] * 2
    assert paged.get(**paged.ask("sms", "outbound")).status_code == 200


def test_cursors_can_expire_after_some_pages_of_a_window(paged: Reader) -> None:
    paged.sandbox.faults.on("cursor-expires", 2)
    second = paged.get(**paged.ask("sms", "outbound", cursor=first(paged)["cursor"], iv=first(paged)["iv"]))
    assert second.status_code == 200
    page = second.json()
    given = paged.ask("sms", "outbound", cursor=page["cursor"], iv=page["iv"])
    assert [paged.get(**given).status_code for _ in range(2)] == [422] * 2
    paged.sandbox.faults.off("cursor-expires")
    assert paged.get(**given).status_code == 200


@pytest.mark.parametrize(
    ("start", "end", "status"), [("04", "05", 200), ("04", "06", 500), ("05", "07", 500), ("06", "07", 200)]
)
def test_an_hour_can_make_every_window_fail_that_touches_it(
    opened: Callable[..., Reader], start: str, end: str, status: int
) -> None:
    reader = opened(faults=["window-failed=2026-11-18T05:00"])
    window = (f"2026-11-18T{start}:00:00Z", f"2026-11-18T{end}:00:00Z")
    given = reader.ask("sms", "outbound", window)
    assert reader.get(**given).status_code == status
    assert post(reader, given).status_code == status


def test_rows_can_repeat_over_a_page_boundary(paged: Reader) -> None:
    whole = ids(paged.rows(**paged.ask("sms", "outbound")))
    paged.sandbox.faults.on("rows-repeated", 3)
    pages = paged.pages(**paged.ask("sms", "outbound"))
    for before, after in pairwise(pages):
        assert ids(after["records"])[:3] == ids(before["records"])[-3:]
    found = [identifier for page in pages for identifier in ids(page["records"])]
    assert len(found) > 30
    assert list(dict.fromkeys(found)) == whole


@pytest.mark.parametrize("stream", ["sms", "voice_call"])
def test_rows_can_come_shuffled_and_still_all_once(opened: Callable[..., Reader], stream: str) -> None:
    reader = opened(rows={"*": 700}, page_size=90)
    given = reader.ask(stream, "outbound" if stream == "sms" else "")
    ordered = ids(reader.rows(**given))
    reader.sandbox.faults.on("rows-shuffled")
    mixed = ids(reader.rows(**given))
    assert mixed != ordered
    assert sorted(mixed) == sorted(ordered)
    assert ids(reader.rows(**given)) == mixed


def test_late_rows_turn_up_in_a_window_that_was_read(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"sms": 4000}, faults=["late-rows"])
    given = reader.ask("sms", "inbound", ("2026-11-20T10:00:00Z", "2026-11-20T11:50:00Z"))
    early = ids(reader.rows(**given))
    reader.sandbox.clock.advance(hours=3)
    late = ids(reader.rows(**given))
    assert set(early) < set(late)
    assert [identifier for identifier in late if identifier in set(early)] == early


def test_without_changes_every_row_is_final_and_listed(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 400}, faults=["no-changes"])
    for stream, direction in SHAPES:
        given = reader.ask(stream, direction, ("2026-11-20T00:00:00Z", "2026-11-20T11:59:59Z"))
        before = reader.rows(**given)
        reader.sandbox.clock.advance(days=5)
        assert reader.rows(**given) == before
        reader.sandbox.clock.advance(days=-5)


def test_items_count_can_be_wrong(paged: Reader) -> None:
    paged.sandbox.faults.on("items-count-wrong", -2)
    page = first(paged)
    assert page["items_count"] == len(page["records"]) - 2


def test_the_future_can_be_accepted(paged: Reader) -> None:
    window = ("2026-11-20T00:00:00Z", "2026-11-20T23:00:00Z")
    assert paged.get(**paged.ask("sms", "outbound", window)).status_code == 422
    paged.sandbox.faults.on("future-accepted")
    assert paged.get(**paged.ask("sms", "outbound", window)).status_code == 200


def test_an_unsuited_direction_can_be_ignored(paged: Reader) -> None:
    paged.sandbox.faults.on("direction-ignored")
    assert paged.rows(**paged.ask("amd", "outbound")) == paged.rows(**paged.ask("amd"))


def test_the_currency_can_be_blank_where_the_documents_say_so(paged: Reader) -> None:
    paged.sandbox.faults.on("currency-blank")
    currencies = {
        stream: {row["currency"] for row in paged.rows(**paged.ask(stream, direction))}
        for stream, direction in SHAPES
        if "currency" in PRODUCTS[stream].schema["properties"]
    }
    assert {stream for stream, found in currencies.items() if found == {""}} == {"sms", "verify_api", "number_insight"}
    assert {"EUR"} in currencies.values()


def test_the_api_clock_can_be_off(paged: Reader) -> None:
    window = ("2026-11-20T00:00:00Z", "2026-11-20T11:59:00Z")
    paged.sandbox.faults.on("clock-skew", -120)
    answer = paged.get(**paged.ask("sms", "outbound", window))
    assert answer.headers["Date"] == "Fri, 20 Nov 2026 11:58:00 GMT"
    assert answer.json()["invalid_parameters"][0]["reason"].endswith("must be in the past")


def test_429_comes_with_or_without_retry_after(paged: Reader) -> None:
    paged.sandbox.faults.on("429", 15)
    answer = paged.get(**paged.ask("sms", "outbound"))
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "15")
    paged.sandbox.faults.on("429", "none")
    answer = paged.get(**paged.ask("sms", "outbound"))
    assert answer.status_code == 429
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize(
    ("fault", "status"),
    [("500", 500), ("503", 503), ("gateway-page", 403), ("revoked", 401), ("low-balance", 403), ("redirect", 302)],
)
def test_a_failure_has_its_status_every_nth_time(paged: Reader, fault: str, status: int) -> None:
    paged.sandbox.faults.on(fault, every=3)
    answers = [paged.get(**paged.ask("sms", "outbound")).status_code for _ in range(6)]
    assert answers == [200, 200, status, 200, 200, status]
    assert paged.sandbox.faults.hits(Fault(fault)) == 2


def test_a_failure_can_stop_after_some_hits_and_spare_the_start(paged: Reader) -> None:
    paged.sandbox.faults.on("500", after=2, first=2)
    answers = [paged.get(**paged.ask("sms", "outbound")).status_code for _ in range(6)]
    assert answers == [200, 200, 500, 500, 200, 200]


def test_a_redirect_leads_to_another_host(paged: Reader) -> None:
    paged.sandbox.faults.on("redirect", "http://other.invalid")
    answer = paged.get(**paged.ask("sms", "outbound"))
    assert answer.headers["Location"].startswith("http://other.invalid/v2/reports/records?product=SMS&")


def test_the_journal_tells_whether_credentials_came_along(paged: Reader) -> None:
    with Sandbox() as other:
        paged.sandbox.faults.on("redirect", other.url)
        location = paged.get(**paged.ask("sms", "outbound")).headers["Location"]
        assert requests.get(location, timeout=60).status_code == 401
        assert [entry.credentials for entry in other.requests.log] == [False]
    assert [entry.credentials for entry in paged.sandbox.requests.log] == [True]


def test_a_cut_connection_gives_no_answer(paged: Reader) -> None:
    paged.sandbox.faults.on("cut", first=1)
    with pytest.raises(requests.ConnectionError):
        paged.get(**paged.ask("sms", "outbound"))
    assert first(paged)["items_count"] == 10
    assert [entry.status for entry in paged.sandbox.requests.log] == [0, 200]


def test_a_connection_can_be_cut_in_the_body(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"sms": 1000})
    reader.sandbox.faults.on("cut-body", first=1)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        reader.get(**reader.ask("sms", "outbound"))
    assert len(reader.rows(**reader.ask("sms", "outbound"))) == 1000


@pytest.mark.parametrize("fault", ["not-json", "json-cut", "empty-body"])
def test_a_200_can_hold_no_json(paged: Reader, fault: str) -> None:
    paged.sandbox.faults.on(fault, first=1)
    answer = paged.get(**paged.ask("sms", "outbound"))
    assert answer.status_code == 200
    assert answer.headers["Date"]
    with pytest.raises(requests.JSONDecodeError):
        answer.json()
    assert first(paged)["items_count"] == 10


def test_a_body_can_arrive_slowly(paged: Reader) -> None:
    whole = first(paged)["records"]
    paged.sandbox.faults.on("slow-body", 0.01)
    started = time.monotonic()
    assert first(paged)["records"] == whole
    assert time.monotonic() - started >= 0.08


def test_headers_can_arrive_slowly(paged: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = first(paged)
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(answers, "asyncio", SimpleNamespace(sleep=sleep))
    paged.sandbox.faults.on("slow-headers", 0.25)
    answer = paged.get(**paged.ask("sms", "outbound"))
    assert answer.json()["records"] == whole["records"]
    assert set(pauses) == {0.25}
    assert len(pauses) >= sum(map(len, itertools.chain(*answer.headers.items())))
    assert "Date" in answer.headers


@pytest.mark.parametrize("status", [401, 404, 408, 425])
def test_a_gateway_can_refuse_with_any_status(paged: Reader, status: int) -> None:
    paged.sandbox.faults.on("gateway-page", status)
    answer = paged.get(**paged.ask("sms", "outbound"))
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("fault", "status", "title"),
    [
        ("low-balance", 403, "Low balance"),
        ("unprovisioned", 401, "Unauthorized"),
        ("forbidden", 403, "Forbidden"),
        ("unknown-product", 422, "Unprocessable entity"),
    ],
)
def test_a_product_can_be_refused_while_others_work(paged: Reader, fault: str, status: int, title: str) -> None:
    paged.sandbox.faults.on(fault, products=["VOICE-CALL"])
    problem = paged.problem(**paged.ask("voice_call", "outbound"))
    assert (problem["status"], problem["title"]) == (status, title)
    assert paged.get(**paged.ask("sms", "outbound")).status_code == 200


def test_an_account_can_be_forbidden_while_others_work(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 3}, subaccount_keys=["sub00001", "sub00002"])
    reader.sandbox.faults.on("forbidden", accounts=["sub00001"])
    statuses = [
        reader.get(**reader.ask("sms", "outbound", account_id=key)).status_code
        for key in ("abcd1234", "sub00001", "sub00002")
    ]
    assert statuses == [200, 403, 200]


def test_a_fault_can_be_kept_to_an_endpoint(paged: Reader) -> None:
    paged.sandbox.faults.on("500", endpoints=["subaccounts"])
    assert paged.get("/accounts/abcd1234/subaccounts").status_code == 500
    assert paged.get(**paged.ask("sms", "outbound")).status_code == 200


@pytest.mark.parametrize("fault", ["extra-columns", "moved-columns", "missing-columns", "unfit-values", "redacted"])
@pytest.mark.parametrize(("stream", "direction"), SHAPES)
def test_altered_rows_keep_their_key_and_their_date(paged: Reader, stream: str, direction: str, fault: str) -> None:
    plain = paged.rows(**paged.ask(stream, direction))
    paged.sandbox.faults.on(fault)
    changed = paged.rows(**paged.ask(stream, direction))
    date = PRODUCTS[stream].date_field
    assert [(row["id"], row[date]) for row in changed] == [(row["id"], row[date]) for row in plain]


def test_rows_can_have_columns_that_nobody_knows(paged: Reader) -> None:
    paged.sandbox.faults.on("extra-columns")
    known = PRODUCTS["sms"].schema["properties"].keys()
    row = paged.rows(**paged.ask("sms", "outbound"))[0]
    assert {"carrier_fee", "rcs_agent", "surcharges"} == row.keys() - known


def test_rows_can_have_columns_of_every_type_and_of_any_name(paged: Reader) -> None:
    paged.sandbox.faults.on("odd-columns", "jane.doe@example.com")
    known = PRODUCTS["sms"].schema["properties"].keys()
    row = paged.rows(**paged.ask("sms", "outbound"))[0]
    assert {name: row[name] for name in row.keys() - known} == {
        "attempt_count": 7,
        "is_premium": True,
        "fee_parts": [1, Decimal("2.50"), {"tax": Decimal("1E-8")}],
        "fee_rate": Decimal("1.0E+2"),
        "no_list": [],
        "jane.doe@example.com": "1",
    }


def test_the_parameters_of_a_report_can_be_text_that_is_not_json(paged: Reader) -> None:
    plain = paged.rows(**paged.ask("reports_usage"))
    with paged.sandbox.faults.during("params-as-text"):
        changed = paged.rows(**paged.ask("reports_usage"))
    assert {row["is_charged"] for row in plain} == {"TRUE", "FALSE"}
    assert {row["is_charged"] for row in changed} == {"true", "false"}
    form = re.compile(
        r"\{product: '[A-Z0-9-]+', account_id: 'abcd1234'"
        r"(?:, id: '[0-9a-f-]+'|(?:date_(?:start|end)'[A-Z][a-z]{2} Nov \d\d \d\d:00:00 UTC 2026',){2})\}"
    )
    for row, before in zip(changed, plain, strict=True):
        assert form.fullmatch(row["request_params"]), row["request_params"]
        assert before["request_params"]["product"] in row["request_params"]
    assert [row.keys() for row in changed] == [row.keys() for row in plain]


def test_a_page_can_be_a_small_body_of_millions_of_lists(paged: Reader) -> None:
    paged.sandbox.faults.on("json-bomb", 1000)
    answer = paged.get(**paged.ask("sms", "outbound"))
    assert answer.json()["records"] == [[]] * 1001
    assert int(answer.headers["Content-Length"]) < 200


def test_columns_can_move_and_go_missing(paged: Reader) -> None:
    plain = paged.rows(**paged.ask("sms", "outbound"))
    with paged.sandbox.faults.during("moved-columns"):
        moved = paged.rows(**paged.ask("sms", "outbound"))
    with paged.sandbox.faults.during("missing-columns"):
        missing = paged.rows(**paged.ask("sms", "outbound"))
    assert moved == plain
    assert list(moved[0]) != list(plain[0])
    assert len(missing[0]) < len(plain[0]) - 5


def test_values_can_fail_to_fit_their_types(paged: Reader) -> None:
    paged.sandbox.faults.on("unfit-values", every=2)
    rows = paged.rows(**paged.ask("voice_call", "outbound"))
    unfit = [row for row in rows if row["total_price"] == "n/a"]
    assert len(rows) > len(unfit) > len(rows) // 3
    assert unfit[0]["duration"] == "abc"
    assert unfit[0]["date_end"] == "the day before yesterday"


@pytest.mark.parametrize("marker", ["REDACTED", "[REDACTED]"])
def test_rows_can_be_redacted(paged: Reader, marker: str) -> None:
    paged.sandbox.faults.on("redacted", marker)
    outbound = paged.rows(**paged.ask("sms", "outbound", include_message="true"))[0]
    inbound = paged.rows(**paged.ask("sms", "inbound"))[0]
    assert (outbound["to"], outbound["message_body"]) == (marker, marker)
    assert outbound["from"] != marker
    assert inbound["from"] == marker
    assert "message_body" not in inbound


def test_expected_rows_follow_the_include_parameters(paged: Reader) -> None:
    paged.sandbox.faults.on("redacted", every=3)
    paged.sandbox.faults.on("extra-columns", products=["sms"])
    window = utc("2026-11-18T00:00:00Z"), utc("2026-11-19T00:00:00Z")
    for stream, direction in (("sms", "outbound"), ("voice_call", "inbound")):
        assert paged.sandbox.expected(stream, None, direction, *window) == paged.rows(**paged.ask(stream, direction))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nope", "Unknown fault: nope"),
        ("500,every=0", "every must be at least 1"),
        ("500,each=2", "cannot read 'each=2'"),
        ("rows-repeated=many", "takes a number: many"),
        ("500,product=SMSS", "Unknown product: smss"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_in_words(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Faults().on_text(text)


def test_a_fault_can_be_told_in_one_text() -> None:
    faults = Faults()
    faults.on_text("429=2.5,every=4,first=3,after=1,product=SMS,product=voice_call,account=k,endpoint=records")
    rule = faults.rule(Fault.TOO_MANY_REQUESTS)
    assert rule is not None
    assert (rule.value, rule.every, rule.first, rule.after) == (2.5, 4, 3, 1)
    assert rule.products == {"sms", "voice_call"}
    assert rule.accounts == {"k"}
    assert rule.endpoints == {"records"}


def test_faults_can_be_cleared(paged: Reader) -> None:
    paged.sandbox.faults.on("500")
    paged.sandbox.faults.clear()
    assert paged.get(**paged.ask("sms", "outbound")).status_code == 200


def test_success_can_come_with_a_cursor(paged: Reader) -> None:
    whole = paged.rows(**paged.ask("sms", "outbound"))
    for value, behind in (("", None), ("refused", 422), ("empty", []), ("again", whole[20:])):
        paged.sandbox.faults.on("success-with-cursor", value)
        given, pages = paged.ask("sms", "outbound"), []
        for _ in range(3):
            pages.append(paged.get(**given).json())
            given |= {name: pages[-1].get(name) for name in ("cursor", "iv")}
        assert [page["request_status"] for page in pages] == ["SUCCESS"] * 3
        assert [row for page in pages for row in page["records"]] == whole
        assert ("cursor" in pages[-1]) == ("next" in pages[-1]["_links"]) == bool(value)
        if value:
            answer = paged.get(**given)
            assert answer.status_code == 422 if behind == 422 else answer.json()["records"] == behind


@pytest.mark.parametrize("value", ["", "again"])
def test_pages_can_come_without_end(paged: Reader, value: str) -> None:
    whole = paged.rows(**paged.ask("sms", "outbound"))
    paged.sandbox.faults.on("endless-pages", value, after=1, first=3)
    pages = paged.pages(**paged.ask("sms", "outbound"))
    assert [len(page["records"]) for page in pages] == [10, *([10] * 3 if value else [0] * 3), 10, 10]
    rows = [row for page in pages for row in page["records"]]
    assert list({row["id"]: row for row in rows}.values()) == whole
    assert len({page["cursor"] for page in pages[:-1]}) == len(pages) - 1


def test_the_clocks_of_an_answer_can_be_off_one_by_one(paged: Reader) -> None:
    faults, given = paged.sandbox.faults, paged.ask("sms", "outbound")
    now = "2026-11-20T12:00:00+00:00"
    faults.on("date-skew", 86400)
    answer = paged.get(**given)
    assert (answer.headers["Date"], answer.json()["received_at"]) == ("Sat, 21 Nov 2026 12:00:00 GMT", now)
    faults.clear()
    faults.on("no-date-header")
    assert "Date" not in paged.get(**given).headers
    assert "Date" not in paged.get("/no-such-path").headers
    faults.on("not-json")
    assert "Date" not in paged.get(**given).headers
    faults.clear()
    for value, expected in (("-3600", "2026-11-20T11:00:00+00:00"), ("soon", "soon"), ("none", None)):
        faults.on("received-at", value)
        assert paged.get(**given).json().get("received_at") == expected


@pytest.mark.parametrize(
    ("fault", "raw", "number"),
    [
        ("odd-text", rb'\ud83d"', 30),
        ("odd-text=byte", b'\xe9"', 30),
        ("nul-in-text", rb"\u0000", 30),
        ("long-number", b'_price":' + b"9" * 4400 + b",", 30),
        ("long-cell", b"x" * 199_000, 30),
        ("rows-without-id", b'"id":""', 30),
        ("rows-without-id=null", b'"id":null', 30),
        ("rows-no-objects=[7],every=3", b"[7]", 10),
    ],
)
def test_rows_can_be_odd(opened: Callable[..., Reader], fault: str, raw: bytes, number: int) -> None:
    reader = opened(rows={"*": 30})
    plain = reader.get(**reader.ask("sms", "outbound")).content
    reader.sandbox.faults.on_text(fault)
    content = reader.get(**reader.ask("sms", "outbound")).content
    assert content.count(raw) == number
    assert raw not in plain
    reader.sandbox.faults.clear()
    assert reader.get(**reader.ask("sms", "outbound")).json()["records"] == json.loads(plain)["records"]


def test_rows_can_lack_the_id(paged: Reader) -> None:
    paged.sandbox.faults.on("rows-without-id", "absent", every=2)
    rows = paged.rows(**paged.ask("sms", "outbound"))
    assert {"id" in row for row in rows} == {True, False}
    assert all("date_received" in row for row in rows)
