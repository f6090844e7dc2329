"""A database that an earlier version of the models built needs no full refresh when a column is added."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.transform.small import Small

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the server comes for Linux and macOS only")

RUN = ("run", "--select", "+fct_vonage__usage")


def sms(day: int) -> dict[str, str]:
    at = f"2026-10-{day:02}T12:00:00Z"
    return {"id": f"s{day:02}", "date_received": at, "status": "delivered", "country": "GB", "_sdc_batched_at": at}


@pytest.mark.parametrize("engine", ["duckdb", "postgres"])
def test_a_column_that_an_earlier_version_lacked_is_filled_in_all_rows(
    request: pytest.FixtureRequest, tmp_path: Path, engine: str
) -> None:
    small = Small(tmp_path, request.getfixturevalue("postgres") if engine == "postgres" else None)
    with small.dbt:
        small.load({"sms": [sms(1), sms(10)]})
        small.dbt.succeed("seed")
        small.dbt.succeed(*RUN)
        small.query("alter table int_vonage__usage drop column country cascade")
        small.load({"sms": [sms(1), sms(10), sms(20)]})
        small.dbt.succeed(*RUN)
    found = small.query("select record_id, country from fct_vonage__usage order by 1")
    assert found == [("s01", "GB"), ("s10", "GB"), ("s20", "GB")]


def test_files_that_an_earlier_version_read_are_known_after_the_first_run(tmp_path: Path) -> None:
    small = Small(tmp_path, layout="parquet")
    with small.dbt:
        names = {day: f"sms-202610{day:02}T101530123456Z-1f2e3d4c-00001.parquet" for day in (1, 2, 20)}
        for day in (2, 20):
            small.load_file(names[day], [sms(day)])
        small.dbt.succeed("seed")
        small.dbt.succeed(*RUN)
        small.query("alter table int_vonage__usage drop column loaded_from")
        small.load_file(names[1], [sms(1)])
        small.dbt.succeed(*RUN)
    found = small.query("select record_id, loaded_from from int_vonage__usage order by 1")
    assert found == [(f"s{day:02}", name) for day, name in names.items()]
