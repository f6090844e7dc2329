"""The staging models of transform/ are what the tap's schema files say, and dbt's versions are the same everywhere."""

from __future__ import annotations

import re

import pytest

from tests.transform.project import REQUIREMENTS
from tests.transform.staging import ROOT, STAGING, generated


def test_the_staging_models_are_current() -> None:
    assert {path.name: path.read_text(encoding="utf-8") for path in STAGING.iterdir()} == dict(generated())


@pytest.mark.parametrize("path", ["meltano.yml", "docs/answers.md"])
def test_dbt_is_installed_in_the_versions_that_the_tests_use(path: str) -> None:
    found = re.findall(r"dbt-(?:core|duckdb|postgres)[^\s\"]*", (ROOT / path).read_text(encoding="utf-8"))
    assert found == REQUIREMENTS
