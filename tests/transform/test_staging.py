"""The staging models of transform/ are what the tap's schema files say."""

from __future__ import annotations

from tests.transform.staging import STAGING, generated


def test_the_staging_models_are_current() -> None:
    assert {path.name: path.read_text(encoding="utf-8") for path in STAGING.iterdir()} == dict(generated())
