"""Pages of one window: where it ends when the API's clock is behind."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from unittest import mock

from tap_vonage_reports.api.responses import ApiResponse
from tap_vonage_reports.errors import WindowInFutureError
from tap_vonage_reports.extract.pages.pagination import iter_pages
from tap_vonage_reports.intervals import TimeWindow
from tap_vonage_reports.planning.partition import Query

NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
WINDOW = TimeWindow(NOW - timedelta(hours=1), NOW)


def test_a_window_that_the_api_finds_in_the_future_ends_six_minutes_before_its_clock() -> None:
    page = ApiResponse({"records": [], "request_status": "SUCCESS"}, NOW)
    client = mock.Mock()
    client.records.side_effect = [WindowInFutureError(422, "Unprocessable entity", ("date_end",), NOW), page]
    (only,) = iter_pages(client, Query({"product": "AMD"}), WINDOW)
    assert client.records.call_args.args[0]["date_end"] == "2026-11-20T11:54:00Z"
    assert only.window == TimeWindow(WINDOW.start, NOW - timedelta(minutes=6))
