"""What a refusal means: a product that is missing, an account in trouble, wrong credentials, or no answer at all."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.api.retry import RetryPolicy
from tap_vonage_reports.errors import (
    AccessDeniedError,
    ApiError,
    CredentialsError,
    CredentialsRevokedError,
    ForeignAnswerError,
    ProductUnavailableError,
    RequestRejectedError,
    RetriableApiError,
    TapError,
)
from tests.hostile import ENDPOINTS, FILE, LAST_PAGE, REPORT, HostileServer, as_json, client_of, download, reply

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_LISTS: list[Any] = [{}, "", 0, False, [None]]
PAGE = b"<html><body><h1>Blocked by the firewall</h1></body></html>"
UNAUTHORIZED = {"type": "https://x/#unathorized", "title": "Unauthorized", "detail": "Not correct credentials."}
FORBIDDEN = {"type": "https://x#forbidden", "title": "Forbidden"}
NOT_YOURS = {**FORBIDDEN, "detail": "User not authorized to query the requested data"}
LOW_BALANCE = {"type": "https://developer.vonage.com/api-errors#low-balance", "title": "Low balance"}
UNPROVISIONED = {**UNAUTHORIZED, "detail": "The account is not provisioned for the requested product."}
NO_PRODUCT = {"title": "Unprocessable entity", "invalid_parameters": [{"name": "product", "reason": "Unknown"}]}


def refused(status: int, body: object, accepted: Iterable[str] = ("records",)) -> tuple[TapError, int]:
    """The error of a request for records after others that were served, and how often it was sent."""
    answers = iter([reply(as_json(LAST_PAGE))] * len(list(accepted)))
    sent = body if isinstance(body, bytes) else as_json(body)
    with HostileServer(lambda _request: next(answers, reply(sent, f"{status} Reason"))) as server:
        client = client_of(server)
        for endpoint in accepted:
            ENDPOINTS[endpoint](client)
        before = len(server.log)
        with pytest.raises(TapError) as caught:
            client.records({"product": "SMS"})
        return caught.value, len(server.log) - before


@pytest.mark.promise("A product that the API calls unavailable and that was never read is skipped with a warning.")
@pytest.mark.parametrize(
    ("status", "problem"),
    [(401, UNPROVISIONED), (403, UNPROVISIONED), (403, NOT_YOURS), (422, NO_PRODUCT)],
)
def test_a_problem_that_speaks_of_the_product_is_a_missing_product(status: int, problem: dict[str, Any]) -> None:
    error, tries = refused(status, problem)
    assert (type(error), tries) == (ProductUnavailableError, 1)


@pytest.mark.promise("Unknown is never treated as empty.")
@pytest.mark.parametrize(
    ("status", "problem"),
    [
        *((403, LOW_BALANCE), (402, LOW_BALANCE), (403, FORBIDDEN), (403, {**FORBIDDEN, "title": "Account suspended"})),
        (403, {**FORBIDDEN, "title": "Quota Exceeded", "detail": "Your account has no quota left."}),
    ],
)
def test_a_problem_of_the_account_fails_with_its_title(status: int, problem: dict[str, Any]) -> None:
    error, tries = refused(status, problem)
    assert (type(error), tries) == (AccessDeniedError, 1)
    assert f"HTTP {status} {problem['title']}" in str(error)


@pytest.mark.promise("Unknown is never treated as empty.")
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 409, 410, 413, 418, 422, 431, 451])
@pytest.mark.parametrize(
    "body",
    [PAGE, b"", b"[]", b'"Forbidden"', b'{"message":"Forbidden"}', b'{"title":null}', b'{"Message":"not provisioned"}'],
)
def test_a_refusal_that_is_no_problem_of_the_api_is_a_broken_answer(status: int, body: bytes) -> None:
    error, tries = refused(status, body)
    assert (type(error), tries) == (ForeignAnswerError, ReportsClient.retry_policy.max_tries)
    assert f"HTTP {status} Reason" in str(error)
    assert "firewall" not in str(error).partition(". ")[0]


@pytest.mark.parametrize("status", [400, 404, 405, 409, 410, 422, 451])
def test_any_other_problem_is_a_rejection_that_is_not_tried_again(status: int) -> None:
    error, tries = refused(status, {"title": "Something else"})
    assert (type(error), tries) == (RequestRejectedError, 1)


@pytest.mark.parametrize("status", [408, 421, 425, 499, 500, 502, 504, 529, 599])
@pytest.mark.parametrize("body", [PAGE, {"title": "Try later"}], ids=["page", "problem"])
def test_a_status_that_passes_is_tried_again_with_or_without_a_problem(status: int, body: object) -> None:
    error, tries = refused(status, body)
    assert (type(error), tries) == (RetriableApiError, ReportsClient.retry_policy.max_tries)


# 401


@pytest.mark.promise("Wrong credentials end the run at once.")
def test_a_wrong_key_is_not_tried_again() -> None:
    error, tries = refused(401, UNAUTHORIZED, accepted=())
    assert (type(error), tries) == (CredentialsError, 1)


def test_credentials_that_worked_are_tried_once_more() -> None:
    error, tries = refused(401, UNAUTHORIZED)
    assert (type(error), tries) == (CredentialsRevokedError, 2)


@pytest.mark.parametrize("endpoint", ["records", "download", "subaccounts"])
def test_a_single_401_in_the_middle_costs_nothing_however_often_it_comes(endpoint: str) -> None:
    right = reply(FILE if endpoint == "download" else as_json({**LAST_PAGE, "_embedded": {"subaccounts": []}}))
    denied = itertools.cycle([reply(as_json(UNAUTHORIZED), "401 No"), right])
    answers = itertools.chain([reply(as_json(LAST_PAGE))], denied)
    with HostileServer(lambda _request: next(answers)) as server:
        client = client_of(server)
        client.records({"product": "AMD"})
        for _ in range(3):
            ENDPOINTS[endpoint](client)
    assert len(server.log) == 7


@pytest.mark.parametrize("endpoint", ["create", "status"])
def test_a_single_401_for_a_report_is_left_to_the_scheduler_to_try_again(endpoint: str) -> None:
    answers = iter([reply(as_json(LAST_PAGE)), *[reply(as_json(UNAUTHORIZED), "401 No")] * 2])
    with HostileServer(lambda _request: next(answers, reply(as_json(REPORT)))) as server:
        client = client_of(server)
        client.records({})
        for kind in (RetriableApiError, CredentialsRevokedError):
            with pytest.raises(ApiError) as caught:
                ENDPOINTS[endpoint](client)
            assert type(caught.value) is kind
        ENDPOINTS[endpoint](client)


# 2xx


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted", "203 Changed", "206 Partial", "299 ?"])
def test_a_report_is_created_whatever_its_status_of_success(status: str) -> None:
    with HostileServer(lambda _request: reply(as_json(REPORT), status)) as server:
        assert client_of(server).create_report({}).body["request_id"] == REPORT["request_id"]


@pytest.mark.parametrize("status", ["201 Created", "202 Accepted", "203 Changed"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_any_success_with_a_usable_body_is_an_answer(endpoint: str, status: str) -> None:
    body = {**LAST_PAGE, **REPORT, "items_count": 1, "_embedded": {"subaccounts": []}}
    answer = reply(FILE if endpoint == "download" else as_json(body), status)
    with HostileServer(lambda _request: answer) as server:
        ENDPOINTS[endpoint](client_of(server))
    assert len(server.log) == 1


@pytest.mark.promise("Unknown is never treated as empty.")
@pytest.mark.parametrize("status", ["202 Accepted", "204 No Content", "205 Reset"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_success_without_a_body_is_a_broken_answer(endpoint: str, status: str) -> None:
    with HostileServer(lambda _request: reply(b"", status)) as server, pytest.raises(RetriableApiError):
        ENDPOINTS[endpoint](client_of(server))


@pytest.mark.promise("Unknown is never treated as empty.")
@pytest.mark.parametrize("endpoint", ["records", "status", "subaccounts"])
def test_a_part_of_an_answer_is_no_answer(endpoint: str) -> None:
    body = {**LAST_PAGE, **REPORT, "_embedded": {"subaccounts": []}}
    with (
        HostileServer(lambda _request: reply(as_json(body), "206 Partial Content")) as server,
        pytest.raises(RetriableApiError, match="206"),
    ):
        ENDPOINTS[endpoint](client_of(server))


@pytest.mark.parametrize("rows", [{}, {"records": None}, {"records": []}], ids=str)
@pytest.mark.parametrize("count", [0, "0"])
def test_a_page_that_announces_no_rows_needs_no_list(rows: dict[str, Any], count: object) -> None:
    body = as_json({"request_status": "SUCCESS", "items_count": count, **rows})
    with HostileServer(lambda _request: reply(body)) as server:
        assert client_of(server).records({}).body["records"] == []


@pytest.mark.promise("Unknown is never treated as empty.")
@pytest.mark.parametrize(
    "body",
    [
        *({}, {"request_status": "SUCCESS"}, {"items_count": 0}, {"request_status": "SUCCESS", "items_count": 1}),
        *({"request_status": "TRUNCATED", "items_count": 0}, {"request_status": "SUCCESS", "items_count": None}),
        *({"request_status": "SUCCESS", "items_count": 0, "records": wrong} for wrong in NO_LISTS),
    ],
    ids=str,
)
@pytest.mark.parametrize("more", [{}, {"records": None}], ids=str)
def test_a_page_without_a_list_that_does_not_say_it_is_empty_is_a_broken_answer(
    body: dict[str, Any], more: dict[str, Any]
) -> None:
    sent = as_json({**more, **body})
    with HostileServer(lambda _request: reply(sent)) as server, pytest.raises(RetriableApiError):
        client_of(server).records({})


# Files


@pytest.mark.parametrize(
    "body", [PAGE, b'{"title":"x"}', b"P", b"PK", b"PK\x03", b"PK\x07\x08more", b"\x1f\x8b\x08\x00"]
)
@pytest.mark.parametrize("parts", [1, 99])
def test_a_body_that_is_no_archive_is_tried_again_with_a_pause(body: bytes, parts: int) -> None:
    step = max(1, len(body) // parts)
    pieces = [body[at : at + step] for at in range(0, len(body), step)]
    answers = iter([[reply(b"", Content_Length=str(len(body))), *pieces], [reply(FILE)]])
    with (
        HostileServer(lambda _request: iter(next(answers))) as server,
        mock.patch.object(RetryPolicy, "delay_seconds", return_value=0) as pauses,
    ):
        assert download(client_of(server)) == FILE
    assert len(server.log) == 2
    assert pauses.call_count == 1
    assert [request.headers.get("range") for request in server.log] == [None, None]


def test_a_body_that_is_never_an_archive_is_no_file(caplog: pytest.LogCaptureFixture) -> None:
    with HostileServer(lambda _request: reply(PAGE)) as server, pytest.raises(RetriableApiError, match="zip"):
        download(client_of(server))
    assert len(server.log) == ReportsClient.retry_policy.max_tries
    assert "firewall" not in caplog.text


@pytest.mark.parametrize("file", [FILE, b"PK\x05\x06" + bytes(18), b""], ids=["members", "no member", "nothing"])
def test_an_archive_passes_also_an_empty_one_and_a_file_of_no_bytes(file: bytes) -> None:
    with HostileServer(lambda _request: reply(file)) as server:
        assert download(client_of(server)) == file


def test_a_download_that_breaks_in_the_first_bytes_goes_on_behind_them() -> None:
    answers = iter(
        [
            [reply(FILE[:2], Content_Length=str(len(FILE)))],
            [reply(FILE[2:], "206 Partial", Content_Range="bytes 2-7/8")],
        ]
    )
    with HostileServer(lambda _request: iter(next(answers))) as server:
        assert download(client_of(server)) == FILE
    assert [request.headers.get("range") for request in server.log] == [None, "bytes=2-"]
