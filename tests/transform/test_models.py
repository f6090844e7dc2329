"""The models of transform/, on Parquet files read by DuckDB and on tables of target-postgres, have what the API has."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tap_vonage_reports.sandbox import Sandbox
from tests.harness import StandingClock
from tests.transform.dataset import CLOCK, MOVED, PLANTED, SUBACCOUNTS, VOLUMES, Dataset, Groups
from tests.transform.project import Dbt
from tests.transform.warehouse import Files, Tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.transform.warehouse import Row, Warehouse

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the server comes for Linux and macOS only")


@dataclass
class Built:
    """The models after three loads, and what stood in the fact after each.

    Attributes:
        dataset: What they were made of.
        nodes: The status of each node of the first build.
        stages: What the sandbox had, and what the fact had, after each load, by its name.
    """

    dataset: Dataset
    dbt: Dbt
    nodes: dict[str, str]
    stages: dict[str, tuple[Groups, Groups]] = field(default_factory=dict)

    def query(self, query: str) -> list[Row]:
        return self.dataset.warehouse.query(query)


@pytest.fixture(scope="module", params=["parquet", "postgres"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Build the models after each of three loads."""
    folder = tmp_path_factory.mktemp(f"transform-{request.param}")
    name = request.param
    warehouse: Warehouse = Files(folder) if name == "parquet" else Tables(request.getfixturevalue("postgres"), folder)
    sandbox = Sandbox(rows=VOLUMES, clock=CLOCK, subaccount_keys=SUBACCOUNTS, faults=["no-rate-limit"], polls=1)
    try:
        with sandbox, Dbt(folder, warehouse.variables) as dbt:
            dataset = Dataset(sandbox, warehouse)
            dataset.load(planted=PLANTED)
            built = Built(dataset, dbt, dbt.build()["nodes"])
            built.stages["first"] = dataset.truth(), dataset.fact()
            incremental = ("--select", "int_vonage__usage", "--vars", '{"vonage_overlap_hours": 0}')
            sandbox.clock.advance(days=1)
            dataset.load()
            dbt.build(*incremental)
            built.stages["changed"] = dataset.truth(), dataset.fact()
            dataset.load(start=MOVED)
            dbt.build(*incremental)
            built.stages["moved"] = dataset.truth(), dataset.fact()
            yield built
    finally:
        StandingClock.sandbox = None


@pytest.mark.parametrize("stage", ["first", "changed", "moved"])
def test_the_fact_has_what_the_sandbox_has(built: Built, stage: str) -> None:
    truth, fact = built.stages[stage]
    assert fact == truth
    assert len(truth) > 1000
