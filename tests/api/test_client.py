"""The client is a good guest: it authenticates, waits when it is told to, and sends the secret nowhere else."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from pyrate_limiter import InMemoryBucket

from tap_vonage_reports.api.accounts import subaccount_keys
from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.api.clock import parse_retry_after
from tap_vonage_reports.api.request_context import CancelToken, RequestContext
from tap_vonage_reports.errors import (
    CredentialsError,
    ProductUnavailableError,
    RateLimitedError,
    RequestRejectedError,
    RetriableApiError,
    UnexpectedRedirectError,
    UnreachableError,
    WindowInFutureError,
)
from tap_vonage_reports.sandbox import Fault, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrate_limiter import RateItem

QUERY = {
    "product": "AMD",
    "account_id": "abcd1234",
    "date_start": "2026-11-18T00:00:00Z",
    "date_end": "2026-11-19T00:00:00Z",
}


def client_of(sandbox: Sandbox, **options: Any) -> ReportsClient:
    settings: dict[str, Any] = {"timeout_seconds": 60, "user_agent": "test", "delay_factor": 0, **options}
    return ReportsClient(sandbox.url, sandbox.api_key, sandbox.api_secret, **settings)


@pytest.mark.parametrize("secret", ["a:b:c", "pass word", "päss✓", "a/b+c=d@e", "'\"\\", "%41"])
def test_a_secret_may_have_any_characters(make_sandbox: Callable[..., Sandbox], secret: str) -> None:
    sandbox = make_sandbox(api_secret=secret, subaccount_keys=["sub00001"])
    client = client_of(sandbox)
    assert client.records(QUERY).body["request_status"] == "SUCCESS"
    assert subaccount_keys(client.accounts(RequestContext()).body) == ["sub00001"]


def test_a_netrc_or_proxy_of_the_machine_changes_nothing(
    make_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert client_of(make_sandbox()).records(QUERY).body["records"] == []


@pytest.fixture
def waits() -> Any:
    """The pauses that the client makes, without making them."""
    with mock.patch.object(CancelToken, "pause") as pause:
        yield lambda: [call.args[0] for call in pause.call_args_list if call.args[0] >= 1]


@pytest.mark.promise("Retry-After is honored.")
def test_retry_after_is_honored(make_sandbox: Callable[..., Sandbox], waits: Callable[[], list[float]]) -> None:
    sandbox = make_sandbox()
    sandbox.faults.on(Fault.TOO_MANY_REQUESTS, 17, first=2)
    client_of(sandbox, delay_factor=1).records(QUERY)
    assert len(waits()) == 2
    assert all(17 <= seconds <= 18 for seconds in waits())


def test_without_retry_after_the_pauses_grow(
    make_sandbox: Callable[..., Sandbox], waits: Callable[[], list[float]]
) -> None:
    sandbox = make_sandbox()
    sandbox.faults.on(Fault.SERVER_ERROR)
    with pytest.raises(RetriableApiError):
        client_of(sandbox, delay_factor=1).records(QUERY)
    assert [int(seconds) for seconds in waits()] == pytest.approx([1, 2, 4, 8, 16, 32, 60], abs=1)
    assert sandbox.requests.total == ReportsClient.retry_policy.max_tries


def test_a_retry_after_of_hours_is_not_waited_for(
    make_sandbox: Callable[..., Sandbox], waits: Callable[[], list[float]]
) -> None:
    sandbox = make_sandbox()
    sandbox.faults.on(Fault.TOO_MANY_REQUESTS, 7200)
    with pytest.raises(RateLimitedError):
        client_of(sandbox, delay_factor=1).records(QUERY)
    assert waits() == []


def test_a_retry_after_may_be_a_date() -> None:
    now = datetime(2026, 11, 20, tzinfo=timezone.utc)
    assert parse_retry_after(format_datetime(now + timedelta(seconds=30), usegmt=True), now) == 30
    assert parse_retry_after("soon", now) == 0
    assert parse_retry_after("-5", now) == 0


@pytest.mark.promise("Never retried: 400, 401, 403, 404, 409, 422.")
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.REVOKED, CredentialsError),
        (Fault.UNPROVISIONED, ProductUnavailableError),
        (Fault.FORBIDDEN, ProductUnavailableError),
        (Fault.UNKNOWN_PRODUCT, ProductUnavailableError),
        (Fault.REDIRECT, UnexpectedRedirectError),
    ],
)
def test_refusals_are_not_tried_again(
    make_sandbox: Callable[..., Sandbox], fault: Fault, kind: type[Exception]
) -> None:
    sandbox = make_sandbox()
    sandbox.faults.on(fault)
    with pytest.raises(kind):
        client_of(sandbox).records(QUERY)
    assert sandbox.requests.total == 1


@pytest.mark.promise(
    "A summary at the end names it with the API's title, the names of the invalid parameters and what to do."
)
@pytest.mark.parametrize(
    ("change", "kind", "parameters"),
    [
        ({"direction": "inbound"}, RequestRejectedError, ("direction",)),
        ({"product": "NO-SUCH"}, ProductUnavailableError, ("product",)),
        (
            {"date_end": "2026-11-20T13:00:00Z", "date_start": "2026-11-20T01:00:00Z"},
            WindowInFutureError,
            ("date_end",),
        ),
        ({"status": "x"}, RequestRejectedError, ("status",)),
        ({"account_id": "foreign1"}, ProductUnavailableError, ()),
    ],
)
def test_a_refusal_names_the_parameters_that_the_api_blames(
    make_sandbox: Callable[..., Sandbox],
    change: dict[str, str],
    kind: type[RequestRejectedError],
    parameters: tuple[str, ...],
) -> None:
    with pytest.raises(kind) as caught:
        client_of(make_sandbox()).records({**QUERY, **change})
    assert caught.value.parameters == parameters


def test_redirects_are_not_followed(make_sandbox: Callable[..., Sandbox]) -> None:
    elsewhere, sandbox = make_sandbox(), make_sandbox()
    sandbox.faults.on(Fault.REDIRECT, elsewhere.url)
    with pytest.raises(RequestRejectedError):
        client_of(sandbox).records(QUERY)
    assert elsewhere.requests.total == 0


@pytest.mark.promise("Basic credentials go to api_url only, never to a host from a link or a redirect.")
def test_a_next_link_to_another_host_is_not_contacted(make_sandbox: Callable[..., Sandbox]) -> None:
    from tests.harness import run_tap, settings_for  # noqa: PLC0415

    elsewhere, sandbox = make_sandbox(), make_sandbox(rows={"amd": 50}, page_size=10)
    sandbox.faults.on(Fault.NEXT_LINK_ELSEWHERE, elsewhere.url)
    output = run_tap(settings_for(sandbox, start_date="2026-11-19", end_date="2026-11-20"), ["amd"])
    assert len(output.ids("amd")) == 50
    assert elsewhere.requests.total == 0


def test_a_download_may_be_redirected_but_the_credentials_are_not(make_sandbox: Callable[..., Sandbox]) -> None:
    elsewhere, sandbox = make_sandbox(), make_sandbox()
    sandbox.faults.on(Fault.REDIRECT, elsewhere.url, endpoints=["media"])
    with pytest.raises(RetriableApiError), TemporaryFile() as file:
        client_of(sandbox).download(f"{sandbox.url}/v3/media/some-file", file)
    assert elsewhere.requests.total == ReportsClient.retry_policy.max_tries
    assert not any(entry.credentials for entry in elsewhere.requests.log)


def test_a_download_that_breaks_goes_on_where_it_broke(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 2000}, polls=1)
    client = client_of(sandbox)
    body = {**QUERY, "date_start": "2026-11-10T00:00:00Z"}
    created = client.create_report(body).body["request_id"]
    link = client.report_status(created).body["_links"]["download_report"]["href"]
    with TemporaryFile() as whole, TemporaryFile() as file:
        client.download(link, whole)
        sandbox.faults.on(Fault.DOWNLOAD_CUT, first=3)
        sandbox.requests.reset()
        client.download(link, file)
        whole.seek(0)
        file.seek(0)
        assert file.read() == whole.read()
    assert [entry.status for entry in sandbox.requests.log][1:] == [206, 206, 206]


def test_an_address_where_nobody_answers_is_unreachable() -> None:
    client = ReportsClient("http://127.0.0.1:9", "k", "s", timeout_seconds=1, user_agent="test", delay_factor=0)
    with pytest.raises(UnreachableError, match="api_url"):
        client.records(QUERY)


@pytest.mark.promise("Rate limits are kept on our side, shared by all streams and threads.")
def test_the_limit_of_ten_a_second_is_kept_over_all_threads(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox()
    allowed: list[int] = []
    put = InMemoryBucket.put

    def noted(bucket: InMemoryBucket, item: RateItem) -> bool:
        taken = put(bucket, item)
        if taken:
            allowed.append(item.timestamp)
        return taken

    # By the clock of the limit: when a thread gets to send what it may send is a matter of the machine.
    with mock.patch.object(InMemoryBucket, "put", noted):
        client = client_of(sandbox, delay_factor=1)
        workers = [threading.Thread(target=lambda: [client.records(QUERY) for _ in range(5)]) for _ in range(5)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert sandbox.requests.total == len(allowed) == 25
    assert min(later - first for first, later in zip(allowed, allowed[10:], strict=False)) >= 1000


def test_vonages_clock_is_learned_from_the_date_header(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(clock="2031-01-01T00:00:00Z")
    client = client_of(sandbox)
    client.records({**QUERY, "date_start": "2030-12-30T00:00:00Z", "date_end": "2030-12-30T01:00:00Z"})
    assert abs(client.clock.now() - datetime(2031, 1, 1, tzinfo=timezone.utc)) < timedelta(minutes=1)
