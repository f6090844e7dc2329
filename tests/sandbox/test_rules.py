from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox import Accounts, Sandbox
from tests.sandbox.reading import NOW, RECORDS, Reader, basic, utc

if TYPE_CHECKING:
    from collections.abc import Callable


def named(problem: dict[str, Any]) -> dict[str, str]:
    return {parameter["name"]: parameter["reason"] for parameter in problem["invalid_parameters"]}


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        basic("abcd1234", "wrong"),
        basic("other123", "sandbox-Secret:1"),
        "Bearer abc",
        "Basic ???",
        "Basic YWJjZDEyMzQ6c2FuZGJveC1TZWNyZXQ6MQ",
    ],
)
def test_wrong_credentials_are_401(reader: Reader, authorization: str) -> None:
    problem = reader.problem(**reader.ask("sms", "outbound"), headers={"Authorization": authorization})
    assert (problem["status"], problem["title"]) == (401, "Unauthorized")


@pytest.mark.parametrize("secret", ["a:b", " two words ", "ünïcödé-秘密", "p@ss/w+rd=", '"quoted"', "%41"])
def test_any_character_works_in_a_secret(opened: Callable[..., Reader], secret: str) -> None:
    reader = opened(api_secret=secret, rows={"*": 1})
    assert reader.get(**reader.ask("sms", "outbound")).status_code == 200
    assert (
        reader.get(**reader.ask("sms", "outbound"), headers={"Authorization": basic("abcd1234", "x")}).status_code
        == 401
    )


def test_no_secret_in_the_repr_of_the_accounts() -> None:
    assert "sandbox-Secret" not in repr(Accounts())


def test_a_foreign_account_is_403(reader: Reader) -> None:
    problem = reader.problem(**reader.ask("sms", "outbound", account_id="foreign1"))
    assert (problem["status"], problem["title"]) == (403, "Forbidden")


def test_an_answer_names_the_query_and_counts_its_rows(reader: Reader) -> None:
    answer = reader.get(**reader.ask("sms", "outbound", include_message="true", status="delivered"))
    body = answer.json()
    assert body["product"] == "SMS"
    assert body["account_id"] == "abcd1234"
    assert body["direction"] == "outbound"
    assert body["date_start"] == "2026-11-18T00:00:00+00:00"
    assert body["include_message"] is True
    assert body["status"] == "delivered"
    assert body["items_count"] == len(body["records"]) > 0
    assert (body["price"], body["currency"], body["limit"]) == (0.0, "EUR", 1000)
    assert body["request_status"] == "SUCCESS"
    assert body["request_id"] == answer.headers["X-Request-Id"]
    assert "cursor" not in body
    assert "next" not in body["_links"]
    assert body["_links"]["self"]["href"].startswith(reader.sandbox.url + RECORDS)
    assert "ids_not_found" not in body


@pytest.mark.parametrize("path", [RECORDS, "/v2/reports/nothing", "/accounts/abcd1234/subaccounts"])
def test_every_answer_shows_the_sandbox_clock_and_a_request_id(reader: Reader, path: str) -> None:
    answer = reader.get(path)
    assert parsedate_to_datetime(answer.headers["Date"]) == utc(NOW)
    assert answer.headers["X-Request-Id"]
    assert len([name for name, _ in answer.raw.headers.items() if name.lower() == "date"]) == 1


@pytest.mark.parametrize("name", ["product", "account_id", "date_start", "date_end", "direction"])
def test_a_missing_parameter_is_422_and_named(reader: Reader, name: str) -> None:
    given = reader.ask("sms", "outbound")
    del given[name]
    problem = reader.problem(**given)
    assert problem["status"] == 422
    assert named(problem) == {name: "Missing required parameter"}


def test_an_unknown_product_is_422_with_the_names_that_there_are(reader: Reader) -> None:
    problem = reader.problem(**reader.ask("sms", "outbound", product="SMSS"))
    reason = named(problem)["product"]
    assert problem["status"] == 422
    assert reason.startswith("Could not resolve product name")
    assert all(product.name in reason for product in PRODUCTS.values())


@pytest.mark.parametrize("stream", [stream for stream, product in PRODUCTS.items() if not product.directions])
def test_direction_is_422_where_it_is_refused(reader: Reader, stream: str) -> None:
    problem = reader.problem(**reader.ask(stream, "outbound"))
    assert problem["status"] == 422
    assert list(named(problem)) == ["direction"]


def test_an_unknown_direction_is_422(reader: Reader) -> None:
    assert list(named(reader.problem(**reader.ask("sms", "sideways")))) == ["direction"]


@pytest.mark.parametrize("stream", ["voice_call", "voice_failed", "asr"])
def test_without_a_direction_voice_gives_both_newest_first(reader: Reader, stream: str) -> None:
    both = reader.rows(**reader.ask(stream))
    apart = [row for direction in ("outbound", "inbound") for row in reader.rows(**reader.ask(stream, direction))]
    assert {row["direction"] for row in both} == {"outbound", "inbound"}
    assert sorted(row["id"] for row in both) == sorted(row["id"] for row in apart)
    assert [row["date_start"] for row in both] == sorted((row["date_start"] for row in both), reverse=True)


@pytest.mark.parametrize(
    ("stream", "direction", "given"),
    [
        ("sms", "outbound", {"color": "red"}),
        ("sms", "outbound", {"limit": "10"}),
        ("sms", "outbound", {"include_subaccounts": "true"}),
        ("sms", "outbound", {"client_ref": "x"}),
        ("sms", "inbound", {"show_concatenated": "true"}),
        ("messages", "outbound", {"network": "23420"}),
        ("voice_call", "outbound", {"include_message": "true"}),
        ("amd", "", {"status": "x"}),
        ("reports_usage", "", {"id_like": "x"}),
        ("sms", "outbound", {"status": ""}),
    ],
)
def test_a_parameter_that_does_not_suit_is_422_and_named(
    reader: Reader, stream: str, direction: str, given: dict[str, Any]
) -> None:
    problem = reader.problem(**reader.ask(stream, direction, **given))
    assert problem["status"] == 422
    assert list(named(problem)) == list(given)


def test_a_switch_must_be_true_or_false(reader: Reader) -> None:
    assert list(named(reader.problem(**reader.ask("sms", "outbound", include_message="yes")))) == ["include_message"]


@pytest.mark.parametrize(
    ("start", "end", "name"),
    [
        ("2026-11-20T00:00:00Z", NOW, "date_end"),
        ("2026-11-20T00:00:00Z", "2026-11-20T13:00:00Z", "date_end"),
        (NOW, NOW, "date_start"),
    ],
)
def test_a_bound_that_is_not_in_the_past_is_422(reader: Reader, start: str, end: str, name: str) -> None:
    problem = reader.problem(**reader.ask("sms", "outbound", (start, end)))
    assert problem["status"] == 422
    assert named(problem)[name].endswith("must be in the past")


def test_a_window_has_at_most_24_hours(reader: Reader) -> None:
    day = ("2026-11-18T00:00:00Z", "2026-11-19T00:00:00Z")
    longer = ("2026-11-18T00:00:00Z", "2026-11-19T00:00:01Z")
    assert reader.get(**reader.ask("sms", "outbound", day)).status_code == 200
    assert list(named(reader.problem(**reader.ask("sms", "outbound", longer)))) == ["date_end"]
    reader.sandbox.faults.on("no-window-limit")
    assert reader.get(**reader.ask("sms", "outbound", longer)).status_code == 200


def test_a_start_after_the_end_is_422(reader: Reader) -> None:
    window = ("2026-11-19T00:00:00Z", "2026-11-18T00:00:00Z")
    assert list(named(reader.problem(**reader.ask("sms", "outbound", window)))) == ["date_start"]


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-18",
        "2026-11-18T00:00:00",
        "2026-11-18 00:00:00+00:00",
        "2026-13-18T00:00:00Z",
        "yesterday",
        "1763424000",
        "٢٠٢٦-11-18T00:00:00Z",
    ],
)
def test_a_date_that_is_none_is_422(reader: Reader, text: str) -> None:
    assert list(named(reader.problem(**reader.ask("sms", "outbound", date_start=text)))) == ["date_start"]


@pytest.mark.parametrize("text", ["2026-11-18T00:00:00+0000", "2026-11-18T02:00:00+02:00", "2026-11-18T00:00:00.000Z"])
def test_offsets_in_all_their_forms_mean_the_same(reader: Reader, text: str) -> None:
    given = reader.ask("sms", "outbound")
    assert reader.rows(**(given | {"date_start": text})) == reader.rows(**given)


def test_a_raw_plus_in_a_date_is_refused(reader: Reader) -> None:
    given = reader.ask("sms", "outbound")
    query = "&".join(f"{name}={value}" for name, value in given.items()).replace("18T00:00:00Z", "18T00:00:00+00:00")
    problem = reader.get(f"{RECORDS}?{query}")
    encoded = reader.get(f"{RECORDS}?{query.replace('+', '%2B')}")
    assert (problem.status_code, list(named(problem.json()))) == (422, ["date_start"])
    assert encoded.status_code == 200


def test_a_parameter_that_comes_twice_is_422(reader: Reader) -> None:
    answer = reader.get(**reader.ask("sms", "outbound", status=["delivered", "failed"]))
    assert (answer.status_code, list(named(answer.json()))) == (422, ["status"])


def test_an_unknown_path_or_method_is_refused_as_a_problem(reader: Reader) -> None:
    assert reader.problem(path="/v2/reports/records/")["status"] == 404
    assert reader.session.post(reader.sandbox.url + RECORDS, timeout=60).status_code == 405


def test_ten_requests_in_a_second_and_no_more(opened: Callable[..., Reader]) -> None:
    reader = opened(limited=True, rows={"*": 1})
    answers = [reader.get(**reader.ask("sms", "outbound")) for _ in range(14)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 4
    assert answers[-1].json()["title"] == "Rate Limited"
    assert answers[-1].headers["Retry-After"] == "1"
    assert reader.sandbox.requests.peak == 14


def test_the_sub_accounts_are_those_of_the_account(opened: Callable[..., Reader]) -> None:
    reader = opened(subaccount_keys=["sub00001", "sub00002"])
    body = reader.get("/accounts/abcd1234/subaccounts").json()
    found = body["_embedded"]["subaccounts"]
    assert body["_embedded"]["primary_account"]["api_key"] == "abcd1234"
    assert [account["api_key"] for account in found] == ["sub00001", "sub00002"]
    assert found[0].keys() >= {
        "name",
        "primary_account_api_key",
        "use_primary_account_balance",
        "created_at",
        "suspended",
    }
    assert "total_balance" in body
    assert reader.problem(path="/accounts/sub00001/subaccounts")["status"] == 403
    wrong = {"Authorization": basic("abcd1234", "no")}
    assert reader.problem(path="/accounts/abcd1234/subaccounts", headers=wrong)["status"] == 401


def test_a_sub_account_has_a_history_and_a_currency_of_its_own(opened: Callable[..., Reader]) -> None:
    reader = opened(subaccount_keys=["sub00001", "sub00002"], rows={"*": 20})
    rows = {
        key: reader.rows(**reader.ask("sms", "outbound", account_id=key))
        for key in ("abcd1234", "sub00001", "sub00002")
    }
    assert all({row["account_id"] for row in found} == {key} for key, found in rows.items())
    assert len({row["id"] for found in rows.values() for row in found}) == 60
    assert {row["currency"] for found in rows.values() for row in found} == {"EUR", "USD", "GBP"}
    assert len({tuple(row["to"] for row in found) for found in rows.values()}) == 3


def test_it_listens_on_loopback_only() -> None:
    with Sandbox() as sandbox:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", sandbox.url)
