"""The SDK's own standard tests pass for every stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from singer_sdk.testing import SuiteConfig, get_tap_test_class

from tap_vonage_reports.extract.session import SyncSession
from tap_vonage_reports.sandbox import Sandbox
from tap_vonage_reports.sources import SOURCES
from tap_vonage_reports.tap import TapVonageReports
from tests.harness import catalog_of, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator

# The class below is made when this file is imported, before there is a sandbox to name.
SETTINGS: dict[str, Any] = {"api_key": "later", "api_secret": "later", "start_date": "2026-11-19T00:00:00Z"}


@pytest.fixture(scope="module", autouse=True)
def _sandbox() -> Iterator[None]:
    faults = ["no-rate-limit", "extra-columns"]
    with Sandbox(rows={"*": 4}, clock="2026-11-20T12:00:00Z", faults=faults, subaccount_keys=["sub00001"]) as sandbox:
        SETTINGS.update(settings_for(sandbox))
        with mock.patch.object(SyncSession, "delay_factor", 0):
            yield


TestTapVonageReports = get_tap_test_class(
    TapVonageReports, config=SETTINGS, catalog=catalog_of(SOURCES), suite_config=SuiteConfig(max_records_limit=10)
)
