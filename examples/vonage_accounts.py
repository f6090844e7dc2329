"""List the accounts of an API key, and load one of them: the tap into a target, with a state per account.

This is what the orchestrators in this folder call, and it needs nothing of them: a cron job or a queue can call it too.

    python vonage_accounts.py list              the accounts, as JSON
    python vonage_accounts.py load abcd1234     what is new of one of them

It is set up by the environment: the tap's own variables (TAP_VONAGE_REPORTS_*), and those of `Setup`.
"""

# ruff: noqa: INP001 - a program to copy, not a package

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import shlex
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

import requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from typing_extensions import Self

    Log = Callable[[int, str], None]

logger = logging.getLogger("vonage_accounts")

KEY_REQUESTS_PER_SECOND = 10
"""Requests per second that Vonage accepts per API key, for all its accounts and processes."""
KEY_REPORT_REQUESTS_PER_SECOND = 5
"""The same for requests about reports."""
KEY_REPORTS = 5
"""Reports that may be in flight at the same time."""
TIMEOUT_SECONDS = 60
TOGETHER = "together"
ACCOUNT_VARIABLES = {f"TAP_VONAGE_REPORTS_{name}" for name in ("ACCOUNT_IDS", "SUBACCOUNTS", "INCLUDE_SUBACCOUNTS")}
"""The tap's settings that say which accounts it reads."""
TAP, TARGET, STATES = "tap", "target", "states"
LEVEL = re.compile(r"\b(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b")
RECORD = b'{"type":"RECORD"'


@dataclass(frozen=True)
class Setup:
    """The settings from the environment.

    Attributes:
        tap: VONAGE_TAP, the tap's command.
        target: VONAGE_TARGET, the target's command.
        states: VONAGE_STATES, the folder of the states; every worker has to see it.
        workers: VONAGE_WORKERS, how many accounts are loaded at once, on all machines together.
        retry_seconds: VONAGE_RETRY_SECONDS, how long an orchestrator waits before it loads an account again.
        together: True if VONAGE_SUBACCOUNTS is ``together``: all accounts are one load, by reports that include them.
    """

    tap: str = "tap-vonage-reports --config ENV"
    target: str = "target-jsonl"
    states: Path = Path("states")
    workers: int = 2
    retry_seconds: int = 300
    together: bool = False

    @classmethod
    def read(cls) -> Setup:
        """Read the settings from the environment, with defaults."""
        given = os.environ
        return cls(
            given.get("VONAGE_TAP", cls.tap),
            given.get("VONAGE_TARGET", cls.target),
            Path(given.get("VONAGE_STATES", cls.states)),
            int(given.get("VONAGE_WORKERS", cls.workers)),
            int(given.get("VONAGE_RETRY_SECONDS", cls.retry_seconds)),
            given.get("VONAGE_SUBACCOUNTS") == TOGETHER,
        )

    def environment_for(self, account: str) -> dict[str, str]:
        """Return the tap's environment for one account, with its share of the key's rate limit."""
        inherited = {name: value for name, value in os.environ.items() if name not in ACCOUNT_VARIABLES}
        if self.together:
            return inherited | {"TAP_VONAGE_REPORTS_SUBACCOUNTS": TOGETHER}
        return inherited | {
            "TAP_VONAGE_REPORTS_ACCOUNT_IDS": json.dumps([account]),
            "TAP_VONAGE_REPORTS_SUBACCOUNTS": "none",
            "TAP_VONAGE_REPORTS_MAX_REQUESTS_PER_SECOND": f"{KEY_REQUESTS_PER_SECOND / self.workers:g}",
            "TAP_VONAGE_REPORTS_MAX_REPORT_REQUESTS_PER_SECOND": f"{KEY_REPORT_REQUESTS_PER_SECOND / self.workers:g}",
            "TAP_VONAGE_REPORTS_MAX_CONCURRENT_REPORTS": str(max(1, KEY_REPORTS // self.workers)),
        }


class LoadError(Exception):
    """An account was not loaded completely. The state has what the target acknowledged."""


def list_accounts() -> list[str]:
    """Return the keys of the accounts to load: the primary one, and its sub-accounts unless they are read together.

    Suspended accounts are among them: their records stay.

    Raises:
        requests.RequestException: The Subaccounts API did not answer, or refused.
    """
    url = os.environ.get("TAP_VONAGE_REPORTS_API_URL", "https://api.nexmo.com")
    key, secret = (os.environ[f"TAP_VONAGE_REPORTS_API_{name}"] for name in ("KEY", "SECRET"))
    if Setup.read().together:
        return [key]
    answer = requests.get(
        f"{url}/accounts/{quote(key)}/subaccounts", auth=(key, secret), timeout=TIMEOUT_SECONDS, allow_redirects=False
    )
    answer.raise_for_status()
    return [key, *(account["api_key"] for account in answer.json()["_embedded"]["subaccounts"])]


def load_account(account: str, log: Log) -> int:
    """Load the new rows of one account.

    Two loads of one account at once would read the same rows twice, and each row is billed: it is for the
    orchestrator to see that there is one at a time.

    Args:
        account: The account's key.
        log: Called with the level and the text of each line that the tap and the target log.

    Returns:
        How many records the tap has written: new ones, and those that it has read again.

    Raises:
        LoadError: The tap or the target failed.
    """
    setup = Setup.read()
    state = setup.states / f"{quote(account, safe='')}.json"
    state.parent.mkdir(parents=True, exist_ok=True)
    with Pipe(setup, account, state) as pipe:
        try:
            for name, line in pipe:
                if name == STATES:
                    keep(line, state)
                else:
                    level = LEVEL.search(line)
                    log(getattr(logging, level[1]) if level else logging.INFO, f"{name}: {line}")
        except BaseException:
            # Canceled. The tap stops at its last state; what the target still acknowledges counts.
            pipe.tap.terminate()
            for name, line in pipe:
                if name == STATES:
                    keep(line, state)
            raise
    if failed := [f"the {name} ended with {code}" for name, code in pipe.codes.items() if code]:
        message = f"Account {account}: {' and '.join(failed)}. The log says why. The next load continues from there."
        raise LoadError(message)
    return pipe.records


def keep(line: str, path: Path) -> None:
    """Replace the state file in one step, so that a kill leaves either the old or the new one, complete."""
    draft = path.with_suffix(".unfinished")
    with draft.open("w", encoding="utf-8") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


class Pipe:
    """The tap, piped into the target. Iterating yields the log lines of both until they end.

    Attributes:
        tap: The tap's process.
        target: The target's process.
        records: How many records went from one to the other.
    """

    def __init__(self, setup: Setup, account: str, state: Path) -> None:
        """Start both.

        Args:
            setup: Their commands.
            account: The account to read.
            state: The file of its state, which may not be there yet.
        """
        self.records = 0
        resume = ("--state", str(state)) if state.exists() else ()
        self.target = _start(setup.target, dict(os.environ), stdin=subprocess.PIPE)
        try:
            self.tap = _start(setup.tap, setup.environment_for(account), *resume, stdin=subprocess.DEVNULL)
        except OSError:
            self.target.kill()
            self.target.wait()
            raise
        self._said: SimpleQueue[tuple[str, str | None]] = SimpleQueue()
        outputs = ((TAP, self.tap.stderr), (TARGET, self.target.stderr), (STATES, self.target.stdout))
        self._open = len(outputs)
        self._threads = [threading.Thread(target=self._carry, daemon=True)]
        self._threads += [threading.Thread(target=self._listen, args=output, daemon=True) for output in outputs]
        for thread in self._threads:
            thread.start()

    @property
    def codes(self) -> dict[str, int]:
        """The exit codes of both."""
        return {TAP: self.tap.wait(), TARGET: self.target.wait()}

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield the name of the program and the line."""
        while self._open:
            name, line = self._said.get()
            if line is None:
                self._open -= 1
            else:
                yield name, line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (self.tap, self.target):
            if kind:
                process.terminate()
            process.wait()
        for thread in self._threads:
            thread.join()

    def _carry(self) -> None:
        """Hand the tap's messages to the target, and count the records."""
        assert self.tap.stdout  # noqa: S101 - it was started with a pipe
        assert self.target.stdin  # noqa: S101 - as above
        # If the target has exited, the tap finds its output closed, and ends.
        with suppress(BrokenPipeError), self.target.stdin as sink, self.tap.stdout as source:
            for line in source:
                sink.write(line)
                self.records += line.startswith(RECORD)

    def _listen(self, name: str, output: IO[bytes]) -> None:
        """Queue the lines of an output, so that one thread acts on all of them."""
        with output:
            for line in output:
                self._said.put((name, line.decode(errors="replace").rstrip()))
        self._said.put((name, None))


def _start(command: str, environment: dict[str, str], *arguments: str, stdin: int) -> subprocess.Popen[bytes]:
    """Start a program whose outputs are pipes."""
    return subprocess.Popen(  # noqa: S603 - what the user has set
        [*shlex.split(command), *arguments],
        env=environment,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def main() -> None:
    """List the accounts, or load one and log to standard error."""
    parser = argparse.ArgumentParser(description="Lists the accounts of an API key, and loads one.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the accounts' keys, as JSON")
    commands.add_parser("load", help="what is new of one account").add_argument("account")
    options = parser.parse_args()
    if options.command == "list":
        sys.stdout.write(json.dumps(list_accounts()) + "\n")
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        records = load_account(options.account, logger.log)
    except LoadError as error:
        sys.exit(str(error))
    logger.info("Account %s: %s records", options.account, f"{records:,}")


if __name__ == "__main__":
    main()
