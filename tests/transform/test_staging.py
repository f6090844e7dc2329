"""The staging models of transform/ are what the tap's schema files say, and dbt's versions are the same everywhere."""

from __future__ import annotations

import re

import pytest

from tests.transform.project import REQUIREMENTS
from tests.transform.staging import PROJECT, ROOT, STAGING, generated


def test_the_staging_models_are_current() -> None:
    assert {path.name: path.read_text(encoding="utf-8") for path in STAGING.iterdir()} == dict(generated())


@pytest.mark.parametrize("path", ["meltano.yml", "docs/answers.md"])
def test_dbt_is_installed_in_the_versions_that_the_tests_use(path: str) -> None:
    found = re.findall(r"dbt-(?:core|duckdb|postgres)[^\s\"]*", (ROOT / path).read_text(encoding="utf-8"))
    assert found == REQUIREMENTS


def test_no_model_filters_what_a_macro_returns_because_unit_tests_of_dbt_1_9_do_not_find_it() -> None:
    filtered = re.compile(r"\{\{-?\s*vonage_reports\.\w+\([^{}]*\)\s*\|")
    assert [path.name for path in PROJECT.glob("models/**/*.sql") if filtered.search(path.read_text("utf-8"))] == []
