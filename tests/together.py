"""What the tests of `subaccounts: together` share: runs, their rows, and their requests."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.harness import Output, run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tap_vonage_reports.sandbox import Sandbox

KEYS = tuple(f"sub{number:05}" for number in range(4))
START = "2026-11-12"
NOW = "2026-11-20T12:00:00Z"
SAMPLE = "sms"
BY_ID: dict[str, Any] = {"status_refresh": "ids", "lookback_hours": 72}


def maker(make_sandbox: Callable[..., Sandbox]) -> Callable[..., Sandbox]:
    """Make sandboxes with sub-accounts and a few rows for each."""

    def make(*keys: str, **options: Any) -> Sandbox:
        faults = ["no-rate-limit", *([] if SAMPLE in options.get("rows", ()) else ["no-changes"])]
        return make_sandbox(**{"subaccount_keys": keys, "rows": {"*": 12}, "clock": NOW, "faults": faults, **options})

    return make


def run(sandbox: Sandbox, mode: str, state: Any = None, streams: Iterable[str] = (SAMPLE,), **settings: Any) -> Output:
    sandbox.requests.reset()
    given = {"start_date": START, "subaccounts": mode, "lookback_hours": 0, "adopt_reports": False, **settings}
    return run_tap(settings_for(sandbox, **given), streams, state)


def rows(*outputs: Output, stream: str = SAMPLE) -> list[bytes]:
    """The records as they are written, digit for digit. Of one that came twice, the last counts."""
    last = {key: row for output in outputs for key, row in output.records_as_written(stream).items()}
    return sorted(last.values())


def requests(sandbox: Sandbox) -> Counter[str]:
    return Counter(entry.endpoint for entry in sandbox.requests.log)


def of_all(output: Output, stream: str = SAMPLE) -> list[dict[str, Any]]:
    """The states of the partitions of all accounts."""
    assert output.state is not None
    partitions = output.state["bookmarks"][stream]["partitions"]
    return [part for part in partitions if part["context"].get("subaccounts") == "together"]


def accounts_in(output: Output, stream: str = SAMPLE) -> set[str]:
    return {row["account_id"] for row in output.records[stream]}
