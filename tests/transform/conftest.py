"""dbt for all tests of the models, because it takes seconds to start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.transform.project import Dbt

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def dbt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dbt]:
    with Dbt(tmp_path_factory.mktemp("dbt")) as dbt:
        yield dbt
