"""Nothing blocks for ever: an odd row arrives, is named and counted, and what is behind it arrives, too."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness import run_tap, settings_for
from tests.hostile import PRODUCT, HostileServer, as_json, reply
from tests.test_batch_runs import files_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_vonage_reports.sandbox import Sandbox
    from tests.harness import Output
    from tests.hostile import Request

START, END = "2026-11-18T00:00:00Z", "2026-11-19T00:00:00Z"
ROWS = 24
FAULTS = [
    *("odd-text", "odd-text=byte", "nul-in-text", "long-number", "long-cell"),
    *("rows-without-id", "rows-without-id=null", "rows-without-id=absent,every=2"),
]


def run(sandbox: Sandbox, mode: str, state: dict[str, Any] | None = None, **more: Any) -> Output:
    settings = settings_for(sandbox, start_date=START, end_date=END, fetch_mode=mode, lookback_hours=0, **more)
    return run_tap(settings, ["sms"], state)


def by_id(output: Output) -> dict[str, str]:
    return {record["id"]: json.dumps(record, default=str) for record in output.records["sms"]}


@pytest.mark.promise(
    "It is exact. The same CDR gives the same record, byte for byte, by the sync path, the async path and BATCH files."
)
@pytest.mark.parametrize("fault", FAULTS)
def test_an_odd_row_arrives_the_same_by_every_path_and_blocks_nothing(
    make_sandbox: Callable[..., Sandbox], fault: str, tmp_path: Path
) -> None:
    name = fault if "every" in fault else f"{fault},every=3"
    sandbox = make_sandbox(rows={"*": ROWS}, faults=[name], page_size=10)
    pages, reports = run(sandbox, "sync"), run(sandbox, "async")
    assert (pages.error, reports.error) == (None, None)
    assert by_id(pages) == by_id(reports)
    assert len(by_id(pages)) == 2 * ROWS  # two directions
    for kind in ("jsonl", "parquet"):
        where = {"encoding": {"format": kind}, "storage": {"root": str(tmp_path / kind)}}
        batch = run(sandbox, "async", batch_config=where)
        assert batch.error is None
        assert {row["id"] for address in files_of(batch) for row in rows_of(address)} == by_id(pages).keys()
    sandbox.requests.reset()
    again = run(sandbox, "async", reports.state)
    assert again.code == 0
    assert sandbox.requests.total == 0 or "records" not in again.records
    assert "\\u0000" not in "".join(by_id(pages).values()).replace("\\\\u0000", "")


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_odd_rows_are_told_of_once_and_counted_in_the_summary(make_sandbox: Callable[..., Sandbox], mode: str) -> None:
    faults = ["odd-text,every=3", "nul-in-text,every=4", "rows-without-id,every=5"]
    sandbox = make_sandbox(rows={"*": 2400}, faults=faults)
    output = run(sandbox, mode)
    assert output.code == 0
    assert output.log.count("are not valid and become U+FFFD; the original goes into _extra") == 1
    assert output.log.count("the field id is missing; such rows get a key made from their content") == 1
    odd = sum("\ufffd" in json.dumps(row, ensure_ascii=False, default=str) for row in output.records["sms"])
    keyless = sum(row["id"].startswith("sha256:") for row in output.records["sms"])
    assert odd > keyless > 0
    assert f"{odd:,} rows with invalid characters, {keyless:,} rows without an id" in output.log.splitlines()


def test_rows_that_are_no_objects_hold_up_nothing(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"*": ROWS}, faults=["rows-no-objects=[1],every=4"], page_size=10)
    output = run(sandbox, "sync")
    assert output.code == 0
    assert len(output.records["sms"]) == 2 * ROWS
    odd = [row for row in output.records["sms"] if row["_extra"]]
    assert [row["_extra"] for row in odd] == [{"_row": "[1]"}] * (2 * ROWS // 4)
    assert "the field _row is unknown; it goes into _extra" in output.log


def test_no_row_without_an_id_is_looked_up_by_id(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"*": 24}, faults=["rows-without-id=absent"])
    settings = settings_for(sandbox, start_date=START, status_refresh="ids")
    first = run_tap(settings, ["sms"])
    second = run_tap(settings, ["sms"], first.state)
    assert (first.code, second.code) == (0, 0)
    assert not any(entry.ids for entry in sandbox.requests.log)
    assert "sha256:" not in json.dumps(second.state)


@pytest.mark.parametrize(
    ("body", "tries"),
    [(b'{"request_status":"SUCCESS","records":[{"id":1 2}]}', 2), (b'{"request_status":"SUCCESS","records":[{"id', 8)],
    ids=["whole", "cut"],
)
def test_a_page_that_cannot_be_decoded_is_tried_once_more_and_named_by_its_window(body: bytes, tries: int) -> None:
    asked = 0

    def answer(request: Request) -> bytes:
        nonlocal asked
        if "date_end=2026-11-19" not in request.target:
            return reply(as_json({"request_status": "SUCCESS", "items_count": 0, "records": []}))
        asked += 1
        return reply(body)

    with HostileServer(answer) as server:
        settings = {"api_url": server.url, "api_key": "abcd1234", "api_secret": "s3cret-s3cret", "fetch_mode": "sync"}
        output = run_tap({**settings, "start_date": "2026-11-18", "end_date": "2026-11-19"}, [PRODUCT.stream])
    assert asked == tries
    assert output.code == 1
    assert ("A page of 2026-11-18 22:00 to 2026-11-19 00:00 cannot be read" in str(output.error)) is (tries == 2)
