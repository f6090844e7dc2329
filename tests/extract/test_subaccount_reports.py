"""A report with sub-accounts: its rows are counted by account and tracked by ID, and a refusal means what it says."""

from __future__ import annotations

import logging
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.errors import (
    AccessDeniedError,
    ApiError,
    ProductUnavailableError,
    RequestRejectedError,
    RetriableApiError,
    SubaccountsRefusedError,
)
from tap_vonage_reports.extract import status_refresh
from tap_vonage_reports.extract.reports import subaccounts
from tap_vonage_reports.extract.reports.job import ReportJob, ReportStatus
from tap_vonage_reports.extract.reports.subaccounts import explained, survey_report, unreadable
from tap_vonage_reports.products import PRODUCTS
from tests.planning.test_windows import ACCOUNT, at, hours, open_sync
from tests.records.test_report_archive import archive

if TYPE_CHECKING:
    import io
    from collections.abc import Mapping

    from tap_vonage_reports.api.request_context import RequestContext
    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.extract.reports.subaccounts import ReportSurvey

# Literal, so that another figure in the code is noticed.
MAX_ACCOUNTS_ASKED = 10
NOW = 100
DELIVERED = ("delivered", at(90).isoformat())
SENT = ("submitted", "")


def open_all(**settings: Any) -> PartitionSync:
    """Open the partition with the rows of all accounts."""
    given = {"subaccounts": "together", "status_refresh": "ids", "lookback_hours": 72, **settings}
    opened = open_sync({"context": {}}, NOW, **given)
    partition = opened.session.accounts.partition(PRODUCTS["sms"], ACCOUNT, "outbound", with_subaccounts=True)
    return opened.session.open(partition, {"context": {}})


def row(name: str, status: tuple[str, str] = SENT, hour: float = 90) -> str:
    """A line of a report: a row is named ``account,id``."""
    return ",".join(f'"{cell}"' for cell in (*name.split(","), *status, at(hour).isoformat()))


def report_of(*members: list[str]) -> io.BytesIO:
    """A report whose files have some rows each. Each file is read by itself."""
    head = '"account_id","id","status","date_finalized","date_received"'
    return archive({f"{number}.csv": "\n".join([head, *rows, ""]) for number, rows in enumerate(members)})


def job_of(sync: PartitionSync, requested_at: float | None = NOW) -> ReportJob:
    requested = None if requested_at is None else at(requested_at)
    return ReportJob(sync, hours(0, NOW), ReportStatus.SUCCESS, "report-1", requested_at=requested)


def surveyed(sync: PartitionSync, *members: list[str], requested_at: float | None = NOW) -> ReportSurvey:
    survey = survey_report(job_of(sync, requested_at), report_of(*members), lambda: None)
    assert survey is not None
    return survey


# Rows


def test_the_rows_of_each_account_are_counted_over_all_files_of_a_report() -> None:
    sync = open_all()
    sync.result.rows_by_account["a"] = 5  # of a report before
    survey = surveyed(sync, [row("a,1"), row("b,1"), row(",nobody's")], [row("a,2"), row("c,1")])
    assert sync.result.rows_by_account == {"a": 5}
    survey.commit()
    assert sync.result.rows_by_account == {"a": 7, "b": 1, "c": 1}


def test_a_report_without_accounts_counts_for_none() -> None:
    sync = open_all(status_refresh="window")
    survey = survey_report(job_of(sync), archive({"a.csv": '"id"\n"1"\n'}), lambda: None)
    assert survey is not None
    assert not survey.commit()
    assert sync.result.rows_by_account == {}


def test_progress_is_shown_while_a_report_is_read() -> None:
    ticks: list[int] = []
    survey_report(job_of(open_all()), report_of([row("a,1")], [row("a,2")]), lambda: ticks.append(1))
    assert len(ticks) == 2


def test_a_report_of_one_account_has_nothing_to_tell() -> None:
    sync = open_sync({"context": {}}, NOW).sync
    assert survey_report(job_of(sync), report_of([row("a,1")]), lambda: None) is None


def test_a_report_without_rows_tells_that_nothing_is_missing() -> None:
    sync = open_all()
    survey = survey_report(job_of(sync), None, lambda: None)
    assert survey is not None
    assert survey.commit()
    assert (sync.result.rows_by_account, dict(sync.bookmark.pending_ids)) == ({}, {})


def test_rows_that_may_still_change_are_tracked_by_account_and_id_until_they_are_final() -> None:
    sync = open_all()
    sync.bookmark.track({"b,1": at(89), "b,2": at(89), "b,3": at(89)})
    survey = surveyed(
        sync, [row("a,1"), row("a,2"), row("b,1", DELIVERED)], [row("a,2", DELIVERED), row("b,2", DELIVERED)]
    )
    assert survey.commit()
    assert sync.bookmark.pending_ids == {"a,1": at(90), "b,3": at(89)}


def test_a_row_that_is_final_first_and_open_in_a_later_file_is_tracked() -> None:
    sync = open_all()
    assert surveyed(sync, [row("a,1", DELIVERED)], [row("a,1")]).commit()
    assert sync.bookmark.pending_ids == {"a,1": at(90)}


def test_a_row_is_as_old_as_the_request_for_its_report() -> None:
    """What was older than the lookback then was final."""
    for requested_at, is_tracked in ((99, True), (103, False), (None, False)):
        sync = open_all(lookback_hours=10)
        sync.read_at = at(102)
        survey = surveyed(sync, [row("a,1", hour=90.5)], requested_at=requested_at)
        assert survey.read_at == at(99 if requested_at == 99 else 102)
        assert survey.commit()
        assert ("a,1" in sync.bookmark.pending_ids) is is_tracked


@pytest.mark.parametrize("bad_first", [True, False])
def test_a_report_with_a_row_that_cannot_be_looked_up_is_not_tracked(
    caplog: pytest.LogCaptureFixture, *, bad_first: bool
) -> None:
    sync = open_all()
    files = [[row("a, ")], [row("a,1")]]
    survey = surveyed(sync, *(files if bad_first else reversed(files)))
    with caplog.at_level(logging.WARNING):
        assert not survey.commit()
    assert "cannot be looked up" in caplog.text
    assert dict(sync.bookmark.pending_ids) == {}
    assert sync.result.rows_by_account == {"a": 2}


def test_rows_are_not_tracked_where_ids_are_not_used_or_were_not_found() -> None:
    for sync in (open_all(status_refresh="window"), open_all()):
        sync.ids_reliable = False
        assert not surveyed(sync, [row("a,1")]).commit()
        assert dict(sync.bookmark.pending_ids) == {}
        assert sync.result.rows_by_account == {"a": 1}


def test_a_report_is_tracked_if_it_has_just_as_many_open_rows_as_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (subaccounts, status_refresh):
        monkeypatch.setattr(module, "MAX_PENDING_IDS", 2)
    sync = open_all()
    files = [row("a,1"), row("a,2")], [row("a,2", DELIVERED), row("a,3")]
    assert surveyed(sync, *files).commit()
    assert [*sync.bookmark.pending_ids] == ["a,1", "a,3"]
    again = open_all()
    assert not surveyed(again, *files, [row("a,4")]).commit()
    assert dict(again.bookmark.pending_ids) == {}


def test_open_rows_are_not_collected_beyond_the_room_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subaccounts, "MAX_PENDING_IDS", 2)
    files = [[row(f"a,{number}")] for number in range(9)]
    assert len(surveyed(open_all(), *files).change.pending) == 3


# Refusals


class Pages:
    """An API that answers requests for a page of an account with an error, or with none."""

    def __init__(self, *errors: ApiError | None) -> None:
        self.errors = list(errors)
        self.asked: list[Mapping[str, str]] = []
        self.contexts: list[RequestContext] = []

    def records(self, params: Mapping[str, str], context: RequestContext) -> Any:
        self.asked.append(params)
        self.contexts.append(context)
        error = self.errors.pop(0) if len(self.errors) > 1 else self.errors[0]
        if error:
            raise error
        return SimpleNamespace(body={"records": []})


def cause(error: ApiError, api: Any, sync: PartitionSync | None = None, accounts: int = 2) -> ApiError:
    names = [f"sub{number}" for number in range(accounts)]
    return explained(api, sync or open_all(), lambda: names, error)


UNAVAILABLE = ProductUnavailableError(403, "Forbidden", ("product",), at(1))
REFUSED = RequestRejectedError(403, "Forbidden", ("include_subaccounts",), at(1))
UNUSED = Pages(None)


def test_a_product_that_no_account_has_is_unavailable() -> None:
    api = Pages(UNAVAILABLE)
    sync = open_all()
    assert cause(UNAVAILABLE, api, sync) is UNAVAILABLE
    assert [params["account_id"] for params in api.asked] == [ACCOUNT, "sub0", "sub1"]
    assert not any("include_subaccounts" in params for params in api.asked)
    # The rows are billed, so there are few, and they are counted.
    assert {(params["date_start"], params["date_end"]) for params in api.asked} == {
        (f"{at(NOW) - timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}", f"{at(NOW):%Y-%m-%dT%H:%M:%SZ}")
    }
    assert all(context.metrics is sync.result.fetched for context in api.contexts)


def test_no_more_than_ten_sub_accounts_are_asked_for_a_product() -> None:
    api = Pages(UNAVAILABLE)
    assert cause(UNAVAILABLE, api, accounts=50) is UNAVAILABLE
    assert len(api.asked) == 1 + MAX_ACCOUNTS_ASKED


@pytest.mark.parametrize("answer", [None, RetriableApiError("HTTP 500 Oops"), AccessDeniedError(403, "Low balance")])
@pytest.mark.parametrize("before", [0, 1, 2])
def test_where_one_account_may_have_the_product_its_sub_accounts_are_refused(
    answer: ApiError | None, before: int
) -> None:
    api = Pages(*[UNAVAILABLE] * before, answer)
    error = cause(UNAVAILABLE, api)
    assert isinstance(error, SubaccountsRefusedError)
    assert (error.status, error.title, error.parameters, error.answered_at) == (403, "Forbidden", ("product",), at(1))
    assert len(api.asked) == before + 1


def test_a_refusal_that_is_not_about_the_product_is_about_sub_accounts() -> None:
    assert isinstance(cause(REFUSED, UNUSED), SubaccountsRefusedError)
    assert UNUSED.asked == []


@pytest.mark.parametrize(
    "error",
    [
        RequestRejectedError(422, "Invalid", ("date_start",)),
        ProductUnavailableError(401, "Unauthorized"),
        RetriableApiError("HTTP 503 Oops"),
    ],
)
def test_any_other_answer_means_what_it_says(error: ApiError) -> None:
    assert cause(error, UNUSED) is error
    assert UNUSED.asked == []


def test_a_refusal_of_a_report_of_one_account_means_what_it_says() -> None:
    sync = open_sync({"context": {}}, NOW).sync
    assert cause(REFUSED, UNUSED, sync) is REFUSED
    assert UNUSED.asked == []


def test_a_report_with_sub_accounts_that_cannot_be_read_names_each_as_the_way_out() -> None:
    text = str(unreadable(job_of(open_all()), "the downloaded file is corrupt"))
    assert text.startswith("Report report-1 (2026-10-01 00:00 to 2026-10-05 04:00): the downloaded file is corrupt, ")
    assert "set subaccounts to each" in text
