"""BATCH files in S3, which moto plays, and the example that reads them with DuckDB in an environment of its own."""

from __future__ import annotations

import csv
import os
import subprocess
from collections import Counter, defaultdict
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import s3fs

from tap_vonage_reports.sandbox import DEMO_KEY, Sandbox, Within
from tests.environments import environment, requirements_of
from tests.harness import run_tap, settings_for
from tests.object_storage import object_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLE = Path(__file__).parent.parent / "examples" / "duckdb"
START, END = datetime(2026, 11, 18, tzinfo=timezone.utc), datetime(2026, 11, 20, tzinfo=timezone.utc)
BUCKET = "lake"
ACCOUNTS = (DEMO_KEY, "sub00001")
Totals = dict[tuple[str, str, str], tuple[int, Decimal]]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of S3 on this machine, with an empty bucket; the environment has the credentials."""
    with pytest.MonkeyPatch.context() as patch, object_storage() as url:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem(endpoint_url=url).mkdir(BUCKET)
        yield url
    s3fs.S3FileSystem.clear_instance_cache()


def files_in(root: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    storage = {"root": root} | ({"params": params} if params else {})
    return {"batch_config": {"encoding": {"format": "parquet"}, "storage": storage, "batch_size": 100}}


def totals(address: str, endpoint: str) -> Totals:
    """What the example prints."""
    python = environment("duckdb", requirements_of("duckdb")) / "python"
    done = subprocess.run(  # noqa: S603 - the example
        [python, EXAMPLE / "totals.py", address, "sms"],
        env=os.environ | {"AWS_ENDPOINT_URL": endpoint},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {
        (row["account_id"], row["currency"], row["status"]): (int(row["rows"]), Decimal(row["total_price"]))
        for row in csv.DictReader(done.stdout.splitlines())
    }


def truth(sandbox: Sandbox) -> Totals:
    """The same, as the sandbox has it at this moment."""
    rows: Counter[tuple[str, str, str]] = Counter()
    prices: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for account in ACCOUNTS:
        for row in sandbox.expected("sms", account, "outbound", START, END):
            key = (account, row["currency"], row["status"])
            rows[key] += 1
            prices[key] += Decimal(row["total_price"] or 0)
    return {key: (count, prices[key]) for key, count in rows.items()}


def test_files_in_s3_of_two_runs_are_the_rows_as_they_are_now(
    make_sandbox: Callable[..., Sandbox], endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = make_sandbox(
        rows={"sms/outbound": Within(400, START, END)}, subaccount_keys=["sub00001"], clock=END + timedelta(minutes=2)
    )
    address = f"s3://{BUCKET}/vonage"
    settings = settings_for(sandbox, start_date=START.isoformat(), end_date=END.isoformat(), include_subaccounts=True)
    first = run_tap(settings | files_in(address, {"endpoint_url": endpoint}), ["sms"])
    assert first.code == 0
    before = truth(sandbox)
    assert totals(address, endpoint) == before

    sandbox.clock.advance(days=3)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    second = run_tap(settings | {"fetch_mode": "async"} | files_in(address), ["sms"], first.state)
    assert second.code == 0
    assert truth(sandbox) != before, "no status has changed"
    assert totals(address, endpoint) == truth(sandbox)


def test_a_bucket_that_is_not_there_is_told_and_nothing_is_covered(
    make_sandbox: Callable[..., Sandbox], endpoint: str
) -> None:
    sandbox = make_sandbox(rows={"sms/outbound": Within(5, START, END)}, clock=END + timedelta(days=1))
    settings = settings_for(sandbox, start_date=START.isoformat(), end_date=END.isoformat())
    output = run_tap(settings | files_in("s3://nowhere/vonage", {"endpoint_url": endpoint}), ["sms"])
    assert output.code == 1
    assert "batch_config.storage" in str(output.error)
    assert "covered" not in str(output.state)
