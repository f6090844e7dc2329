"""A report that the API has created is in a written STATE, whatever comes between."""

from __future__ import annotations

import signal
from datetime import datetime, timedelta, timezone
from typing import Any
from unittest import mock

import pytest

from tap_vonage_reports.api.responses import ApiResponse
from tap_vonage_reports.api.retry import RetryPolicy
from tap_vonage_reports.errors import ConnectionFailedError, RetriableApiError, UnreachableError
from tap_vonage_reports.extract.reports.creation import ReportCreator
from tap_vonage_reports.extract.reports.job import ReportJob, ReportStatus
from tap_vonage_reports.intervals import TimeWindow
from tap_vonage_reports.output.messages import MessageWriter
from tap_vonage_reports.output.signals import Interrupted

NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)


def make(client: Any, checkpoint: Any, writer: MessageWriter | None = None) -> tuple[ReportCreator, ReportJob]:
    client.retry_policy = RetryPolicy(delay_factor=0)
    writer = writer or MessageWriter()
    timeout = timedelta(minutes=30)
    creator = ReportCreator(
        client, budget=5, timeout=timeout, checkpoint=checkpoint, defer_signals=writer.defer_signals
    )
    return creator, ReportJob(mock.MagicMock(), TimeWindow(NOW - timedelta(days=1), NOW))


def test_a_signal_while_a_report_is_created_waits_until_state_names_the_report() -> None:
    client, checkpoint, writer = mock.Mock(), mock.Mock(), MessageWriter()
    creator, job = make(client, checkpoint, writer)

    def answer(_body: object) -> ApiResponse:
        writer.interrupt(signal.SIGTERM, None)  # the API has created the report, and its answer is on the way
        return ApiResponse({"request_id": "report-1"}, NOW)

    client.create_report.side_effect = answer
    with pytest.raises(Interrupted):
        creator.create(job, in_flight=0)
    bookmark: Any = job.sync.bookmark
    (report,) = bookmark.add_report.call_args.args
    assert report.request_id == "report-1"
    checkpoint.assert_called_once_with()


@pytest.mark.parametrize(
    ("failure", "end"),
    [
        (RetriableApiError("HTTP 503"), RetriableApiError),
        (ConnectionFailedError("The connection failed"), UnreachableError),
    ],
    ids=["broken", "no connection"],
)
def test_a_request_that_fails_is_sent_again_later_and_given_up_in_the_end(
    failure: RetriableApiError, end: type[Exception]
) -> None:
    client = mock.Mock()
    client.create_report.side_effect = failure
    creator, job = make(client, mock.Mock())
    for _ in range(RetryPolicy().max_tries - 1):
        assert not creator.create(job, in_flight=0)
    with pytest.raises(end):
        creator.create(job, in_flight=0)
    assert client.create_report.call_count == RetryPolicy().max_tries
    assert job.status is ReportStatus.PLANNED
