"""What is retried, how often, and after what wait."""

from __future__ import annotations

import logging
import threading

import pytest

from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.api.request_context import CancelToken, RequestCancelled, RequestContext
from tap_vonage_reports.api.retry import ONE_TRY, RetryPolicy, final_error
from tap_vonage_reports.errors import (
    ConnectionFailedError,
    RateLimitedError,
    RequestRejectedError,
    RetriableApiError,
    UnreachableError,
)
from tests.hostile import HostileServer, reply

PATIENCE = 20
BROKEN = RetriableApiError("HTTP 500 Oops")


class Attempts:
    """Fails with each of these errors in turn, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.made = 0
        self._errors = errors

    def __call__(self) -> str:
        self.made += 1
        if self.made <= len(self._errors):
            raise self._errors[self.made - 1]
        return "answer"


class SilentToken(CancelToken):
    """Notes waits without making them."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def pause(self, seconds: float) -> None:
        self.waits.append(seconds)


def test_waits_double_up_to_a_maximum_and_have_some_jitter() -> None:
    policy = RetryPolicy(max_wait_seconds=10)
    for failures, seconds in enumerate([1, 2, 4, 8, 10, 10], start=1):
        waits = {policy.delay_seconds(failures, BROKEN) for _ in range(50)}
        assert all(seconds <= wait <= seconds + 1 for wait in waits)
        assert len(waits) > 1


def test_a_retry_after_counts_if_it_is_longer_even_beyond_the_maximum() -> None:
    policy = RetryPolicy(max_wait_seconds=10)
    assert 30 <= policy.delay_seconds(1, RateLimitedError("429", retry_after=30)) <= 31
    assert 8 <= policy.delay_seconds(4, RateLimitedError("429", retry_after=3)) <= 9


def test_a_delay_factor_scales_every_wait() -> None:
    limited = RateLimitedError("429", retry_after=30)
    assert 15 <= RetryPolicy(delay_factor=0.5).delay_seconds(1, limited) <= 15.5
    assert RetryPolicy(delay_factor=0).delay_seconds(5, limited) == 0


def test_an_attempt_that_succeeds_ends_the_retries(caplog: pytest.LogCaptureFixture) -> None:
    attempts, token = Attempts(BROKEN, BROKEN), SilentToken()
    with caplog.at_level(logging.WARNING):
        assert RetryPolicy().call(attempts, token) == "answer"
    assert attempts.made == 3
    assert [int(wait) for wait in token.waits] == pytest.approx([1, 2], abs=1)
    assert [message.rpartition(" in ")[0] for message in caplog.messages] == [
        "HTTP 500 Oops. Try 2 of 8",
        "HTTP 500 Oops. Try 3 of 8",
    ]


@pytest.mark.parametrize("tries", [1, 3])
def test_the_last_try_raises_its_error(tries: int) -> None:
    errors = [RetriableApiError(f"failure {number}") for number in range(1, 10)]
    attempts, policy = Attempts(*errors), RetryPolicy(max_tries=tries, delay_factor=0)
    with pytest.raises(RetriableApiError, match=f"failure {tries}"):
        policy.call(attempts, CancelToken())
    assert attempts.made == tries
    assert [policy.gives_up(failures, BROKEN) for failures in range(1, tries + 1)] == [False] * (tries - 1) + [True]


@pytest.mark.parametrize(
    ("policy", "error", "elapsed"),
    [
        (RetryPolicy(budget_seconds=0), BROKEN, 0),
        (RetryPolicy(budget_seconds=100), RateLimitedError("429", retry_after=101), 0),
    ],
    ids=["all time is used up", "the API asks for more than there is"],
)
def test_beyond_the_budget_nothing_is_retried(policy: RetryPolicy, error: RetriableApiError, elapsed: float) -> None:
    attempts, token = Attempts(error), SilentToken()
    with pytest.raises(RetriableApiError):
        policy.call(attempts, token)
    assert (attempts.made, token.waits) == (1, [])
    assert policy.gives_up(1, error, elapsed)
    assert RetryPolicy(budget_seconds=100).gives_up(1, BROKEN, 100)
    assert not RetryPolicy(budget_seconds=100).gives_up(1, BROKEN, 99)


def test_any_other_error_is_raised_immediately() -> None:
    attempts, token = Attempts(RequestRejectedError(404, "Not Found")), SilentToken()
    with pytest.raises(RequestRejectedError):
        RetryPolicy().call(attempts, token)
    assert (attempts.made, token.waits) == (1, [])


def test_one_try_is_one_attempt() -> None:
    attempts = Attempts(BROKEN)
    with pytest.raises(RetriableApiError):
        ONE_TRY.call(attempts, CancelToken())
    assert attempts.made == 1


def test_only_a_failed_connection_means_that_the_api_cannot_be_reached() -> None:
    unreachable = final_error(ConnectionFailedError("The connection failed (ConnectTimeout)"))
    assert isinstance(unreachable, UnreachableError)
    assert "Check api_url and the network" in str(unreachable)
    assert final_error(BROKEN) is BROKEN


def test_a_cancelled_request_is_not_retried() -> None:
    context, failed = RequestContext(), threading.Event()
    ended: list[Exception] = []

    def answer(_request: object) -> bytes:
        failed.set()
        return reply(b"", "500 Oops", Retry_After="600")

    def ask(client: ReportsClient) -> None:
        try:
            client.records({}, context)
        except RequestCancelled as error:
            ended.append(error)

    with HostileServer(answer) as server:
        client = ReportsClient(server.url, "key", "secret", timeout_seconds=5, user_agent="test")
        thread = threading.Thread(target=ask, args=(client,), daemon=True)
        thread.start()
        assert failed.wait(PATIENCE)
        context.cancel_token.cancel()
        thread.join(PATIENCE)
    assert [type(error) for error in ended] == [RequestCancelled]
    assert len(server.log) == 1
