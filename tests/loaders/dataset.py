"""Two runs of the tap over the same accounts, in each form, and what the API has after them."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from tap_vonage_reports.sandbox import Sandbox, Within
from tap_vonage_reports.sources import SOURCES
from tests.harness import Output, run_tap, settings_for
from tests.test_postgres import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

START, END = datetime(2026, 11, 18, tzinfo=timezone.utc), datetime(2026, 11, 20, tzinfo=timezone.utc)
ROWS = {"sms": 150, "reports_usage": 20, "accounts": 0}
"""The streams, and how many rows of each (and of each direction) the API has; `accounts` has one for each account."""
FORMS: Mapping[str, Mapping[str, str]] = {"number": {}, "text": {"decimals": "text", "objects": "text"}}
LONG = Decimal("12345678901.012345678901234567")
"""The price of one SMS: more digits than a float holds."""

_encoder = msgspec.json.Encoder(decimal_format="number")
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Dataset:
    """What the loaders get, and what has to come of it.

    Attributes:
        runs: By form, the messages of the first and the second run, between which the status of rows changes.
        truth: By stream and key, the records that the API has after the second run.
        emitted: By stream, how many records the two runs emit together, refetched ones included.
    """

    runs: Mapping[str, Sequence[bytes]]
    truth: Mapping[str, Mapping[str, dict[str, Any]]]
    emitted: Mapping[str, int]


def make_dataset() -> Dataset:
    """Run the tap twice in each form, with three days in between."""
    volumes: dict[str, Any] = {"*": 0, **{stream: Within(rows, START, END) for stream, rows in ROWS.items() if rows}}
    dates = {"start_date": START.isoformat(), "end_date": END.isoformat()}
    runs: dict[str, list[bytes]] = {form: [] for form in FORMS}
    outputs: list[Output] = []
    states: dict[str, Any] = dict.fromkeys(FORMS)
    with Sandbox(rows=volumes, clock=END + timedelta(minutes=2), subaccount_keys=["sub00001"]) as sandbox:
        sandbox.faults.on("no-rate-limit")
        sandbox.faults.on("nul-in-text", products=["sms"], every=3)
        settings = settings_for(sandbox, **dates, max_concurrent_requests=1)
        for _ in range(2):
            for form, more in FORMS.items():
                output = run_tap({**settings, **more}, ROWS, states[form])
                assert output.code == 0, output.log
                states[form] = output.state
                runs[form].append(b"".join(map(_with_long_price, output.lines)))
                outputs.append(output)
            sandbox.clock.advance(days=3)
    first, second = map(_parsed, runs["number"])
    assert first["sms"] != {key: second["sms"].get(key) for key in first["sms"]}, "no status has changed"
    return Dataset(
        {form: tuple(messages) for form, messages in runs.items()},
        {stream: {**first[stream], **second[stream]} for stream in ROWS},
        Counter({stream: sum(len(output.records[stream]) for output in outputs[::2]) for stream in ROWS}),
    )


def load(command: Sequence[str | Path], messages: bytes, **more: Any) -> subprocess.CompletedProcess[bytes]:
    """Give messages to a loader, and return how it ended."""
    return subprocess.run(command, input=messages, capture_output=True, check=False, timeout=300, **more)  # noqa: S603 - a loader


def newest(stream: str, rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the last row of each key."""
    return {row[SOURCES[stream].key_field]: row for row in rows}


def differences(dataset: Dataset, stream: str, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Compare rows with the API's, value by value.

    Returns:
        By field, how many rows have another value. Empty if the rows are exactly the API's.
    """
    truth = dataset.truth[stream]
    assert rows.keys() == truth.keys()
    kinds = {name: kind_of(spec) for name, spec in SOURCES[stream].schema["properties"].items()}
    found: Counter[str] = Counter()
    for key, record in truth.items():
        for name, kind in kinds.items():
            found[name] += _plain(kind, rows[key].get(name)) != _plain(kind, record[name])
    return {name: count for name, count in found.items() if count}


def total(rows: Iterable[Mapping[str, Any]]) -> Decimal:
    """Return the sum of the prices of rows."""
    return sum((Decimal(str(row["total_price"])) for row in rows if row["total_price"] not in (None, "")), Decimal(0))


def _plain(kind: str, value: Any) -> Any:
    """Return a value in the form in which all loaders' values can be compared."""
    if value is None or value == "":
        return None
    return _PLAIN.get(kind, str)(value)


def _instant(value: Any) -> datetime:
    time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


_PLAIN: Mapping[str, Callable[[Any], Any]] = {
    "number": lambda value: Decimal(str(value)).normalize(),
    "integer": int,
    "boolean": lambda value: str(value).lower() in ("true", "1"),
    "date-time": _instant,
    "object": lambda value: json.loads(value) if isinstance(value, str) else value,
}


def _with_long_price(line: bytes) -> bytes:
    """Return a line of the tap; if it has the SMS that is chosen for it, with a price of many digits."""
    if b'"RECORD"' in line and b'"stream":"sms"' in line and b"2026-11-19T0" in line:
        message = json.loads(line, parse_float=Decimal)
        record = message["record"]
        if record["direction"] == "outbound" and record["id"][0] in "0123":
            record["total_price"] = f"{LONG:f}" if isinstance(record["total_price"], str) else LONG
            return _encoder.encode(message) + b"\n"
    return line if line.endswith(b"\n") else line + b"\n"


def _parsed(messages: bytes) -> dict[str, dict[str, dict[str, Any]]]:
    rows: dict[str, Rows] = {stream: [] for stream in ROWS}
    for message in (json.loads(line, parse_float=Decimal) for line in messages.splitlines()):
        if message["type"] == "RECORD":
            rows[message["stream"]].append(message["record"])
    return {stream: newest(stream, records) for stream, records in rows.items()}
