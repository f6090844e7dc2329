"""The models find the tap's Parquet files wherever its settings put them, and however late they come."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tests.transform.small import Small

if TYPE_CHECKING:
    from pathlib import Path

    from tests.transform.project import Dbt

RUN = ("run", "--select", "+int_vonage__usage")


@pytest.fixture(scope="module")
def project(dbt: Dbt, tmp_path_factory: pytest.TempPathFactory) -> Small:
    return Small(dbt, tmp_path_factory.mktemp("files"), layout="parquet")


@pytest.fixture
def small(project: Small, tmp_path: Path) -> Small:
    """The project with an empty folder; what was built from another one is still there until a full refresh."""
    project.use_files(tmp_path)
    return project


def sms(number: int, price: str = "0.05") -> dict[str, str]:
    at = f"2026-10-{number:02}T12:00:00Z"
    return {"id": f"s{number}", "date_received": at, "status": "delivered", "total_price": price, "currency": "EUR"}


def file(day: int, number: int = 1) -> str:
    return f"sms-202610{day:02}T101530123456Z-1f2e3d4c-{number:05}.parquet"


def test_files_are_found_by_any_layout_and_prefix_and_a_late_one_is_read(small: Small) -> None:
    names = [file(20), f"sms/{file(20, 2)}", f"cdr-{file(20, 3)}", f"deep/cdr{file(20, 4)}", "sms-compacted.parquet"]
    for number, name in enumerate(names, 1):
        small.load_file(name, [sms(number)])
    small.load_file("cdr-sms_traffic_control-20261020T101530123456Z-1f2e3d4c-00001.parquet", [sms(8)])
    small.project.succeed(*RUN, "--full-refresh")
    ids = "select record_id from int_vonage__usage order by 1"
    assert small.query(ids) == [("s1",), ("s2",), ("s3",), ("s4",), ("s5",)]

    # Older than the newest load by more than vonage_overlap_hours: its own row is new, and its version of s1 is old.
    small.load_file(f"late/{file(1)}", [sms(9), sms(1, "0.01")])
    small.load_file(f"late/{file(21)}", [sms(2, "0.02")])
    small.project.succeed(*RUN)
    found = small.query("select record_id, total_price from int_vonage__usage order by 1")
    prices = {"s1": "0.05", "s2": "0.02", "s3": "0.05", "s4": "0.05", "s5": "0.05", "s9": "0.05"}
    assert found == [(record, Decimal(price)) for record, price in prices.items()]


def test_a_prefix_that_is_another_stream_does_not_make_a_file_that_streams(small: Small) -> None:
    small.load_file(f"messages-{file(20)}", [sms(1)])
    small.load_file(f"sms-{file(20).replace('sms', 'messages')}", [sms(2)])
    small.load_file(f"sms-{file(20, 2)}", [sms(3)])
    small.project.succeed(*RUN, "--full-refresh")
    found = small.query("select stream, record_id from int_vonage__usage order by 1, 2")
    assert found == [("messages", "s2"), ("sms", "s1"), ("sms", "s3")]


def test_files_that_are_named_like_no_stream_are_an_error(small: Small) -> None:
    folder = small.files / "renamed"
    folder.mkdir()
    (folder / "export.parquet").touch()
    done = small.project.run(*RUN, "--vars", json.dumps({"vonage_files": str(folder)}), "--target-path", str(folder))
    assert not done["success"]
    assert f"files in the folder '{folder}'" in done["error"]
    assert "such as sms-20261128T101530123456Z-1f2e3d4c-00001.parquet. Check vonage_files" in done["error"]


def test_files_that_an_earlier_version_read_are_known_after_the_first_run(small: Small) -> None:
    for day in (2, 20):
        small.load_file(file(day), [sms(day)])
    small.project.succeed(*RUN, "--full-refresh")
    small.query("alter table int_vonage__usage drop column loaded_from")
    small.load_file(file(1), [sms(1)])
    small.project.succeed(*RUN)
    found = small.query("select record_id, loaded_from from int_vonage__usage order by 2")
    assert found == [(f"s{day}", file(day)) for day in (1, 2, 20)]
