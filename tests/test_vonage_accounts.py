"""What the examples for orchestrators call: one account into a target, and the state that only the target moves."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
from typing import TYPE_CHECKING

import pytest
import requests
from vonage_accounts import LoadError, Setup, keep, list_accounts, load_account

from tap_vonage_reports.sandbox import DEMO_KEY, Fault, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ACCOUNT = "sub00001"
TAP = """
import json, os, sys
def say(**message): print(json.dumps(message, separators=(",", ":")), flush=True)
accounts = os.environ["TAP_VONAGE_REPORTS_ACCOUNT_IDS"]
say(type="SCHEMA", stream="sms", schema={}, key_properties=["id"])
for number in range(3):
    say(type="RECORD", stream="sms", record={"id": number})
    say(type="STATE", value={"given": sys.argv[1:], "read": number + 1, "accounts": accounts})
"""
TARGET = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "STATE":
        print(json.dumps(message["value"]), flush=True)
"""


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the tap and the target, as programs in Python."""
    monkeypatch.setenv("VONAGE_STATES", str(tmp_path / "states"))

    def _set(tap: str = TAP, target: str = TARGET) -> None:
        for name, code in (("TAP", tap), ("TARGET", target)):
            monkeypatch.setenv(f"VONAGE_{name}", shlex.join([sys.executable.replace("\\", "/"), "-c", code]))

    _set()
    return _set


def states(folder: Path) -> dict[str, dict[str, object]]:
    return {path.name: json.loads(path.read_text("utf-8")) for path in (folder / "states").iterdir()}


def ignore(_level: int, _line: str) -> None:
    pass


def test_an_account_has_a_state_of_its_own_from_which_the_next_load_goes_on(
    tmp_path: Path, setup: Callable[..., None]
) -> None:
    setup()
    assert load_account(ACCOUNT, ignore) == 3
    assert states(tmp_path) == {"sub00001.json": {"given": [], "read": 3, "accounts": '["sub00001"]'}}
    load_account(ACCOUNT, ignore)
    load_account(DEMO_KEY, ignore)
    found = states(tmp_path)
    assert found["sub00001.json"]["given"] == ["--state", str(tmp_path / "states" / "sub00001.json")]
    assert found["abcd1234.json"]["given"] == []


def test_the_state_never_speaks_of_what_the_target_has_not_acknowledged(
    tmp_path: Path, setup: Callable[..., None]
) -> None:
    setup(target=TARGET + '        if message["value"]["read"] == 2: sys.exit("no room left")\n')
    lines: list[tuple[int, str]] = []
    with pytest.raises(LoadError, match=r"sub00001: .*the target ended with 1"):
        load_account(ACCOUNT, lambda level, line: lines.append((level, line)))
    assert states(tmp_path)["sub00001.json"]["read"] == 2
    assert (logging.INFO, "target: no room left") in lines


def test_a_tap_that_fails_fails_the_load_and_keeps_what_is_out(tmp_path: Path, setup: Callable[..., None]) -> None:
    setup(tap=TAP + 'sys.stderr.write("now | ERROR    | tap | Refused\\n"); sys.exit(1)\n')
    lines: list[tuple[int, str]] = []
    with pytest.raises(LoadError, match="the tap ended with 1"):
        load_account(ACCOUNT, lambda level, line: lines.append((level, line)))
    assert states(tmp_path)["sub00001.json"]["read"] == 3
    assert lines == [(logging.ERROR, "tap: now | ERROR    | tap | Refused")]


def test_a_cancelled_load_ends_the_tap_and_keeps_what_the_target_still_acknowledges(
    tmp_path: Path, setup: Callable[..., None]
) -> None:
    setup(
        tap=TAP
        + 'sys.stderr.write("Reading\\n"); sys.stderr.flush(); sys.stdin.close(); import time; time.sleep(600)\n'
    )

    def cancel(_level: int, _line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_account(ACCOUNT, cancel)
    assert states(tmp_path)["sub00001.json"]["read"] == 3


def test_a_load_that_is_killed_while_it_keeps_a_state_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.json"
    keep('{"read": 1}', path)

    def killed(_number: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        keep('{"read": 2}', path)
    assert json.loads(path.read_text()) == {"read": 1}


@pytest.mark.parametrize(
    ("workers", "rate", "report_rate", "reports"),
    [(1, "10", "5", "5"), (4, "2.5", "1.25", "1"), (40, "0.25", "0.125", "1")],
)
def test_workers_share_what_the_key_may_ask_for(workers: int, rate: str, report_rate: str, reports: str) -> None:
    environment = Setup(workers=workers).environment_for(ACCOUNT)
    assert environment["TAP_VONAGE_REPORTS_MAX_REQUESTS_PER_SECOND"] == rate
    assert environment["TAP_VONAGE_REPORTS_MAX_REPORT_REQUESTS_PER_SECOND"] == report_rate
    assert environment["TAP_VONAGE_REPORTS_MAX_CONCURRENT_REPORTS"] == reports


def test_the_primary_account_and_every_subaccount_are_listed(
    make_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"sub{number:05}" for number in range(7)]
    sandbox = make_sandbox(subaccount_keys=keys)
    for name, value in sandbox.environment.items():
        monkeypatch.setenv(name, value)
    assert any(account.suspended for account in sandbox.accounts)
    assert list_accounts() == [DEMO_KEY, *keys]
    sandbox.faults.on(Fault.FORBIDDEN)
    with pytest.raises(requests.HTTPError) as refused:
        list_accounts()
    assert sandbox.api_secret not in str(refused.value)


def test_all_accounts_are_one_load_if_they_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VONAGE_SUBACCOUNTS", "together")
    monkeypatch.setenv("TAP_VONAGE_REPORTS_ACCOUNT_IDS", ACCOUNT)
    monkeypatch.setenv("TAP_VONAGE_REPORTS_INCLUDE_SUBACCOUNTS", "true")
    with Sandbox(subaccount_keys=[ACCOUNT]) as sandbox:
        for name, value in sandbox.environment.items():
            monkeypatch.setenv(name, value)
        assert list_accounts() == [DEMO_KEY]
    environment = Setup.read().environment_for(DEMO_KEY)
    assert environment["TAP_VONAGE_REPORTS_SUBACCOUNTS"] == "together"
    assert not {"TAP_VONAGE_REPORTS_ACCOUNT_IDS", "TAP_VONAGE_REPORTS_INCLUDE_SUBACCOUNTS"} & environment.keys()
