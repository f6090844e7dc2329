"""The format of the state: what is written is what is read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tap_vonage_reports.state.format import read_partition, write_max_report_window


def test_the_longest_window_of_a_report_is_kept_in_hours() -> None:
    state: dict[str, Any] = {"context": {}}
    write_max_report_window(state, timedelta(hours=36))
    assert state["report_hours"] == 36
    assert read_partition(state, "amd").max_report_window == timedelta(hours=36)
