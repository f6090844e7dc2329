"""The credentials go to api_url and nowhere else, and nothing that is given becomes a header or another path."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from unittest import mock
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import requests
import urllib3

from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.api.request_context import RequestContext
from tap_vonage_reports.api.retry import RetryPolicy
from tap_vonage_reports.config.schema import CONFIG_JSONSCHEMA
from tap_vonage_reports.config.settings import Settings
from tap_vonage_reports.errors import (
    ApiError,
    ReportError,
    RetriableApiError,
    SettingsError,
    UnreachableError,
)
from tap_vonage_reports.extract.accounts import AccountList
from tests.hostile import (
    ENDPOINTS,
    FILE,
    KEY,
    LAST_PAGE,
    REPORT,
    SECRET,
    SUBACCOUNTS,
    HostileServer,
    as_json,
    client_of,
    download,
    every_endpoint,
    head,
    once,
    reply,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["once"]
pytestmark = pytest.mark.usefixtures("once")
SECRET_HEADERS = ("authorization", "proxy-authorization", "cookie")

# Links and redirects


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileServer]:
    """Another host, for which this machine has credentials."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login netrc password netrc\nmachine localhost login netrc password netrc\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with HostileServer(lambda _request: reply(as_json(LAST_PAGE))) as server:
        yield server


def credentials_of(server: HostileServer) -> list[str]:
    named = [value for request in server.log for name, value in request.headers.items() if name in SECRET_HEADERS]
    return named + [request.target for request in server.log if KEY in request.target or SECRET in request.target]


@pytest.mark.promise("Basic credentials go to api_url only, never to a host from a link or a redirect.")
@every_endpoint
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_no_redirect_gets_the_credentials(elsewhere: HostileServer, endpoint: str, status: str) -> None:
    redirect = reply(b"", status, Location=elsewhere.url + "/x", Set_Cookie="a=b; domain=127.0.0.1; path=/")
    with HostileServer(lambda _request: redirect) as server:
        client = client_of(server)
        for _ in range(2):
            with suppress(ApiError):
                ENDPOINTS[endpoint](client)
    assert len(elsewhere.log) == (2 if endpoint == "download" else 0)
    assert not credentials_of(elsewhere)
    assert not any("cookie" in request.headers for request in server.log)


def test_a_redirect_with_credentials_of_its_own_gets_not_even_those(elsewhere: HostileServer) -> None:
    redirect = reply(b"", "302 Found", Location=f"http://user:password@{elsewhere.host}/x")
    elsewhere.answer = lambda _request: reply(FILE)
    with HostileServer(lambda _request: redirect) as server:
        assert download(client_of(server)) == FILE
    assert len(elsewhere.log) == 1
    assert not credentials_of(elsewhere)


def test_a_redirect_of_a_redirect_is_not_followed(elsewhere: HostileServer) -> None:
    redirect = reply(b"", "302 Found", Location=elsewhere.url + "/x")
    elsewhere.answer = lambda request: reply(b"", "302 Found", Location="/y") if request.path == "/x" else reply(b"y")
    with HostileServer(lambda _request: redirect) as server, pytest.raises(RetriableApiError, match="302"):
        download(client_of(server))
    assert [request.path for request in elsewhere.log] == ["/x"]


@pytest.mark.parametrize(
    "link",
    [
        "{host}/v3/media/x",
        "@{host}/v3/media/x",
        ":80@{host}/x",
        ".{host}/x",
        "\\@{host}/x",
        "mailto:x@{host}",
        "http://[::1",
        "https://api.nexmo.com",
        "https://api.nexmo.com/v3/media/../../accounts",
        "https://api.nexmo.com/v3/media/%2e%2e/%2E%2e/accounts",
        "",
        "None",
    ],
)
def test_a_malformed_link_to_a_file_is_an_error_and_requests_nothing(elsewhere: HostileServer, link: str) -> None:
    with (
        HostileServer(lambda _request: reply(FILE)) as server,
        pytest.raises(ReportError, match="malformed"),
    ):
        download(client_of(server), link.format(host=elsewhere.host))
    assert server.log == elsewhere.log == []


@pytest.mark.parametrize(
    "link", ["http://{host}/v3/media/x", "//{host}/v3/media/x", "/v3/media/x", "ftp://u:p@{host}/v3/media/x?y=z#w"]
)
def test_of_a_link_to_a_file_only_the_path_counts(elsewhere: HostileServer, link: str) -> None:
    with HostileServer(lambda _request: reply(FILE)) as server:
        assert download(client_of(server), link.format(host=elsewhere.host)) == FILE
    assert [request.target for request in server.log] == ["/v3/media/x"]
    assert elsewhere.log == []


@pytest.mark.parametrize("target", ["http://127.0.0.1:1/x", "http://localhost/x", "http://example.com/x", "ftp://x/y"])
def test_from_https_no_redirect_leads_to_http_not_even_on_this_machine(target: str) -> None:
    client = ReportsClient("https://api.example", KEY, SECRET, timeout_seconds=1, user_agent="test", delay_factor=0)
    answer = mock.MagicMock(status_code=302, is_redirect=True, headers={"Location": target})
    answer.__enter__.return_value = answer
    with (
        mock.patch("requests.Session.request", return_value=answer) as asked,
        pytest.raises(ReportError, match="https"),
    ):
        download(client)
    assert asked.call_count == 1


def test_a_store_behind_https_gets_no_credentials_of_the_machine_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine store.example login netrc password netrc\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    sent: list[requests.PreparedRequest] = []

    def send(_adapter: object, request: requests.PreparedRequest, **_how: Any) -> requests.Response:
        sent.append(request)
        response = requests.Response()
        response.status_code = 200 if len(sent) > 1 else 302
        response.headers["Location"] = "https://store.example/x"
        response.raw = urllib3.HTTPResponse(io.BytesIO(FILE), preload_content=False)
        return response

    monkeypatch.setattr("requests.adapters.HTTPAdapter.send", send)
    client = ReportsClient("https://api.example", KEY, SECRET, timeout_seconds=1, user_agent="test", delay_factor=0)
    assert download(client) == FILE
    assert [(request.url, "Authorization" in request.headers) for request in sent] == [
        ("https://api.example/v3/media/some-file", True),
        ("https://store.example/x", False),
    ]


@pytest.mark.parametrize(
    "location", ["https://127.0.0.1:9/", "https://127.0.0.1:99999/", "https://" + "a" * 300 + ".invalid/"]
)
def test_a_store_that_cannot_be_reached_is_no_reason_to_end_the_run(location: str) -> None:
    redirect = reply(b"", "302 Found", Location=location)
    with HostileServer(lambda _request: redirect) as server, pytest.raises(ApiError):
        download(client_of(server))


@pytest.mark.parametrize(
    "refused",
    [
        [head("206 Partial Content", **{"Content-Length": "4", "Content-Range": "bytes 2-5/8"}), b"xxxx"],
        [reply(b"", "416 Range Not Satisfiable")],
    ],
    ids=["another part", "no part"],
)
def test_a_download_that_cannot_go_on_begins_again(refused: list[bytes]) -> None:
    answers = iter([[head(**{"Content-Length": "8"}), b"PK\x03\x04"], refused, [reply(FILE)]])
    three = mock.patch.object(ReportsClient, "retry_policy", RetryPolicy(max_tries=3))
    with three, HostileServer(lambda _request: iter(next(answers))) as server:
        assert download(client_of(server)) == FILE
    assert [request.headers.get("range") for request in server.log] == [None, "bytes=4-", None]
    assert {request.headers["accept-encoding"] for request in server.log} == {"identity"}


def test_an_address_that_is_none_is_told_and_no_crash() -> None:
    client = ReportsClient(
        f"https://{'a' * 300}.invalid", KEY, SECRET, timeout_seconds=1, user_agent="x", delay_factor=0
    )
    with pytest.raises(UnreachableError, match="api_url"):
        client.records({})


# Settings


def problems(**given_settings: Any) -> list[str]:
    try:
        Settings.from_config({"api_key": KEY, "api_secret": SECRET, **given_settings}, CONFIG_JSONSCHEMA)
    except SettingsError as error:
        return list(error.problems)
    return []


@pytest.mark.parametrize("character", ["\r\n", "\n", "\0", "\x7f", "\x85", chr(0xD800), chr(0xDCFF)], ids=ascii)
@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("api_key", lambda text: {"api_key": text}),
        ("api_secret", lambda text: {"api_secret": text}),
        ("api_url", lambda text: {"api_url": f"https://{text}.example.com"}),
        ("api_url", lambda text: {"api_url": f"https://example.com/{text}"}),
        ("account_ids", lambda text: {"account_ids": ["good", text]}),
        ("stream_options.sms.filters", lambda text: {"stream_options": {"sms": {"filters": {"to": text}}}}),
    ],
)
def test_settings_that_no_request_can_carry_are_rejected(
    name: str, setting: Callable[[str], dict[str, Any]], character: str
) -> None:
    found = problems(**setting(f"LEAKED{character}X-Injected: yes"))
    assert any(f"The setting {name} contains a control character" in problem for problem in found)
    assert "LEAKED" not in str(found)


@pytest.mark.parametrize(
    "url",
    ["https://a.example@b.example", "https://@a.example", "https://a.example?", "https://a.example#", "https://a\\b"],
)
def test_an_api_url_of_two_minds_is_refused(url: str) -> None:
    assert problems(api_url=url)


@pytest.mark.parametrize("text", ["../../x", "a/b", "a?b=c", "a#b", "a@b:c", "%2e%2e%2f", "a b", "ä✓", "&direction=x"])
def test_an_account_is_a_parameter_and_nothing_else(text: str) -> None:
    with HostileServer(lambda _request: reply(as_json({**LAST_PAGE, **REPORT, **SUBACCOUNTS}))) as server:
        client = client_of(server, key=text.replace(":", ""))
        client.records({"account_id": text, "direction": "inbound"})
        client.create_report({"account_id": text})
        client.accounts(RequestContext())
    by_page, created, listed = server.log
    assert by_page.path == "/v2/reports/records"
    assert parse_qs(urlsplit(by_page.target).query) == {"account_id": [text], "direction": ["inbound"]}
    assert (created.target, json.loads(created.body)) == ("/v2/reports", {"account_id": text})
    assert listed.target.count("/") == 3
    assert listed.target.startswith("/accounts/")
    assert listed.target.endswith("/subaccounts")


@pytest.mark.parametrize("name", ["..", ".", "", "a b", "a\r\nb", "a\x00b", "ä", "x" * 1000])
def test_a_report_whose_name_is_none_is_not_asked_for(name: str) -> None:
    with HostileServer(lambda _request: reply(as_json({**REPORT, "request_id": name}))) as server:
        for ask in (ReportsClient.report_status, ReportsClient.cancel_report):
            with pytest.raises(ApiError):
                ask(client_of(server), name)
        assert server.log == []
        with pytest.raises(RetriableApiError):
            client_of(server).create_report({})


@pytest.mark.parametrize("name", ["ri3p58f-3fa85f64", "../../accounts", "a/b", "a?b", "a#b", "%2e%2e", "a@b", "..."])
def test_a_report_is_one_part_of_a_path_whatever_its_name(name: str) -> None:
    with HostileServer(lambda _request: reply(as_json({**REPORT, "request_id": name}))) as server:
        client_of(server).report_status(name)
    (request,) = server.log
    assert request.target.count("/") == 3
    assert unquote(request.target.removeprefix("/v2/reports/")) == name


@pytest.mark.promise("Unknown is never treated as empty.")
@pytest.mark.parametrize(
    "listed", [{}, "", None, [{}], [{"api_key": None}], [{"api_key": "a\nb"}], [{"api_key": ""}], "ab"]
)
def test_a_malformed_list_of_accounts_is_an_error_and_not_empty(listed: object) -> None:
    body = as_json({"_embedded": {"subaccounts": listed}})
    with HostileServer(lambda _request: reply(body)) as server, pytest.raises(ApiError, match="account_ids"):
        AccountList(client_of(server)).subaccounts()
