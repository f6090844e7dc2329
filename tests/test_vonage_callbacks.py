"""The example's receiver keeps the callbacks that carry the token, and nothing else that is posted to it."""

from __future__ import annotations

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests
from vonage_callbacks import MAX_BODY_BYTES, Inbox, Setup, server

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

TOKEN = "0123456789abcdef-token"  # noqa: S105 - of a test
CALLBACK = {"request_id": "ri3p58f-1", "account_id": "sub00001", "request_status": "SUCCESS"}


@pytest.fixture
def address(tmp_path: Path) -> Generator[str, None, None]:
    with server(Setup(tmp_path / "callbacks", TOKEN), port=0) as receiver:
        thread = threading.Thread(target=receiver.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{receiver.server_address[1]}"
        receiver.shutdown()


def kept(tmp_path: Path) -> dict[str, str]:
    return Inbox(tmp_path / "callbacks").accounts()


def post(url: str, body: Any = CALLBACK) -> int:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return requests.post(url, data=data, timeout=20).status_code


def test_a_callback_is_kept_until_it_is_removed_and_twice_is_once(
    address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for path in (f"/{TOKEN}", f"/vonage/{TOKEN}?x=1"):
        assert post(address + path) == 204
    assert kept(tmp_path) == {"ri3p58f-1": "sub00001"}
    assert TOKEN not in caplog.text
    Inbox(tmp_path / "callbacks").remove(["ri3p58f-1", "other"])
    assert kept(tmp_path) == {}


@pytest.mark.parametrize("path", ["/", "", f"/{TOKEN[:-1]}", f"/{TOKEN}x", f"/{TOKEN}/", "/%c3%a9", f"/?{TOKEN}"])
def test_a_callback_without_the_token_is_not_kept(address: str, tmp_path: Path, path: str) -> None:
    assert post(address + path) == 404
    assert kept(tmp_path) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 50_000,
        [],
        {},
        {"request_id": "r1"},
        {**CALLBACK, "request_id": "../escape"},
        {**CALLBACK, "request_id": 5},
        {**CALLBACK, "account_id": "two words"},
        {**CALLBACK, "account_id": None},
        {**CALLBACK, "request_id": "x" * 101},
    ],
)
def test_what_is_no_callback_is_not_kept(address: str, tmp_path: Path, body: Any) -> None:
    assert post(f"{address}/{TOKEN}", body) == 400
    assert kept(tmp_path) == {}


def test_a_large_body_is_not_read(address: str, tmp_path: Path) -> None:
    assert post(f"{address}/{TOKEN}", b" " * (MAX_BODY_BYTES + 1)) == 413
    assert kept(tmp_path) == {}


@pytest.mark.parametrize("token", ["", "short", "with/slash/0123456789"])
def test_a_token_that_could_be_guessed_or_is_no_part_of_a_path_is_refused(tmp_path: Path, token: str) -> None:
    with pytest.raises(ValueError, match="VONAGE_CALLBACK_TOKEN must have at least 16"):
        server(Setup(tmp_path, token), port=0)


def test_callbacks_of_one_report_may_come_together(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "callbacks")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: inbox.add("report", "account"), range(400)))
    assert inbox.accounts() == {"report": "account"}
    assert [path.name for path in (tmp_path / "callbacks").iterdir()] == ["report.callback"]
