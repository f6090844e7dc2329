"""Every answer about a report has one meaning, and every request of a report is safe to lose."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import astuple, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.api.retry import RetryPolicy
from tap_vonage_reports.errors import (
    ApiError,
    ConnectionFailedError,
    ReportLimitError,
    RequestRejectedError,
    RetriableApiError,
    UnreachableError,
)
from tap_vonage_reports.extract.reports import creation, polls, scheduler
from tap_vonage_reports.extract.reports import job as jobs
from tap_vonage_reports.extract.reports.adoption import ReportFinder
from tap_vonage_reports.extract.reports.creation import ReportCreator
from tap_vonage_reports.extract.reports.job import Action, ReportJob, ReportStatus, Transition
from tap_vonage_reports.extract.reports.next_report import may_be_left
from tap_vonage_reports.extract.reports.scheduler import ReportScheduler
from tap_vonage_reports.planning.plans import ReportPlan
from tap_vonage_reports.state.report_limits import ReportLimit
from tap_vonage_reports.state.values import PendingReport
from tap_vonage_reports.state.volume import Volume
from tests.planning.test_windows import ACCOUNT, at, hours, open_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from tap_vonage_reports.extract.reader import PartitionSync

# Literal, so that another figure in the code is noticed.
MAX_LOOKS = 10
MAX_REQUESTS = 3
MAX_UNREAD = 50
TIMEOUT = timedelta(minutes=10)
SECONDS = TIMEOUT.total_seconds()
SINCE = 1000.0
WINDOW = hours(0, 48)
LINK: dict[str, Any] = {"_links": {"download_report": {"href": "https://api.example.com/file"}}}
OVERLOADED = RetriableApiError("HTTP 500 Oops")


def open_partition() -> PartitionSync:
    return open_sync({"context": {"account_id": ACCOUNT}}, 100).sync


def job_of(length: float = 48, status: ReportStatus = ReportStatus.PENDING, requests: int = 1) -> ReportJob:
    """A report that has had its status since SINCE."""
    window = hours(0, length)
    return ReportJob(open_partition(), window, status, "report-1", requests=requests, status_since=SINCE)


def meaning(job: ReportJob, seconds: float = 0, **body: Any) -> Transition:
    """What an answer means for a job, which it does not change."""
    before = job.status, job.requests, job.error, job.status_since
    transition = job.on_status(body, SINCE + seconds, TIMEOUT)
    assert (job.status, job.requests, job.error, job.status_since) == before
    return transition


# Jobs


@pytest.mark.parametrize(
    ("known", "told", "seconds", "action"),
    [
        ("PENDING", "PENDING", SECONDS, Action.POLL),
        ("PENDING", "PENDING", SECONDS + 1, Action.FAIL),
        ("PENDING", "PROCESSING", SECONDS + 1, Action.POLL),
        ("PROCESSING", "PROCESSING", SECONDS, Action.POLL),
        ("PROCESSING", "PROCESSING", SECONDS + 1, Action.FAIL),
    ],
)
def test_a_report_has_the_timeout_to_start_and_again_to_finish(
    known: str, told: str, seconds: float, action: Action
) -> None:
    transition = meaning(job_of(status=ReportStatus(known)), seconds, request_status=told)
    assert (transition.action, transition.status) == (action, ReportStatus(told))
    if action is Action.FAIL:
        verb = {"PENDING": "start", "PROCESSING": "finish"}[told]
        assert f"did not {verb} within 10 minutes" in str(transition.error)
        assert "report-1" in str(transition.error)
    else:
        assert transition.error is None


def test_a_finished_report_is_downloaded() -> None:
    transition = meaning(job_of(), request_status="SUCCESS", items_count=5, **LINK)
    assert transition == Transition(
        Action.DOWNLOAD, ReportStatus.SUCCESS, link="https://api.example.com/file", row_count=5
    )


def test_a_finished_report_is_downloaded_even_if_it_announces_no_count_or_no_rows() -> None:
    assert meaning(job_of(), request_status="SUCCESS", **LINK).row_count is None
    for count in (0, None):
        transition = meaning(job_of(), request_status="SUCCESS", items_count=count, **LINK)
        assert (transition.action, transition.link) == (Action.DOWNLOAD, "https://api.example.com/file")


def test_only_a_report_that_announces_zero_rows_needs_no_file() -> None:
    transition = meaning(job_of(), request_status="SUCCESS", items_count=0)
    assert transition == Transition(Action.DOWNLOAD, ReportStatus.SUCCESS, row_count=0)
    bodies: list[dict[str, Any]] = [{}, {"items_count": 1}, {"items_count": 0.5}, {"items_count": 1, "_links": None}]
    for body in bodies:
        transition = meaning(job_of(), 0, request_status="SUCCESS", **body)
        assert (transition.action, transition.reason) == (Action.REQUEST_AGAIN, "report finished without a file")


@pytest.mark.parametrize("status", ["FAILED", "ABORTED", "SUCCESS"])
def test_a_report_without_result_is_requested_again_up_to_a_limit(status: str) -> None:
    for requests in range(1, MAX_REQUESTS):
        transition = meaning(job_of(requests=requests), request_status=status)
        assert (transition.action, transition.error) == (Action.REQUEST_AGAIN, None)
    transition = meaning(job_of(requests=MAX_REQUESTS), request_status=status)
    assert (transition.action, transition.status) == (Action.FAIL, ReportStatus(status))
    assert transition.reason
    assert f"after {MAX_REQUESTS} requests" in str(transition.error)


@pytest.mark.parametrize(("length", "action"), [(48, Action.SPLIT), (1.5, Action.SPLIT), (1, Action.REFUSE)])
def test_a_truncated_report_is_halved_down_to_an_hour_and_then_left_to_pages(length: float, action: Action) -> None:
    job = job_of(length)
    transition = meaning(job, request_status="TRUNCATED", items_count=5, **LINK)
    assert (transition.action, transition.error) == (action, None)
    assert job.half() == timedelta(hours=max(length / 2, 1))


def test_a_young_report_that_is_not_there_yet_is_looked_for_again_and_an_old_one_is_gone() -> None:
    job, young, old = job_of(), timedelta(days=4, seconds=-1), timedelta(days=4)
    job.missed_status.add(SINCE)
    assert job.on_missing_status(young).action is Action.LOOK_AGAIN
    assert job.on_missing_status(old).action is Action.REQUEST_AGAIN
    job.missed_status.count = MAX_LOOKS
    assert job.on_missing_status(young).action is Action.LOOK_AGAIN
    job.missed_status.count = MAX_LOOKS + 1
    assert job.on_missing_status(young).action is Action.REQUEST_AGAIN


@pytest.mark.parametrize(("status", "in_the_end"), [(404, Action.REQUEST_AGAIN), (403, Action.FAIL)])
def test_a_young_file_that_is_not_there_yet_is_looked_for_again_and_an_old_one_is_gone(
    status: int, in_the_end: Action
) -> None:
    job, young, old = job_of(), timedelta(hours=72, seconds=-1), timedelta(hours=72)
    refusal = RequestRejectedError(status, "No")
    job.missed_file.count = MAX_LOOKS
    transition = job.on_missing_file(young, refusal)
    assert (transition.action, transition.status) == (Action.LOOK_AGAIN, ReportStatus.PROCESSING)
    assert job.on_missing_file(old, refusal).action is Action.REQUEST_AGAIN
    job.missed_file.count = MAX_LOOKS + 1
    transition = job.on_missing_file(young, refusal)
    # Another report would be paid for, and refused as well.
    assert (transition.action, transition.error) == (in_the_end, refusal if status == 403 else None)
    assert job.on_missing_file(old, refusal).action is Action.REQUEST_AGAIN


@pytest.mark.parametrize("body", [{}, {"request_status": None}, {"request_status": "PLANNED"}, {"request_status": 1}])
def test_an_unknown_status_is_an_error_and_never_a_finished_report(body: dict[str, Any]) -> None:
    transition = meaning(job_of(), **body)
    assert (transition.action, transition.status) == (Action.FAIL, None)
    assert "has a status that the API documentation does not list" in str(transition.error)


@pytest.mark.parametrize(
    ("rows_a_day", "first"),
    [(None, [0.25, 1, 1.5]), (2_500, [0.25, 1, 1.5]), (2_501, [1, 1.5, 2.25])],
    ids=["unknown", "small", "large"],
)
def test_polls_become_rarer_up_to_a_limit_and_the_first_comes_early_unless_the_report_is_known_to_be_large(
    rows_a_day: int | None, first: list[float]
) -> None:
    job = job_of()  # of two days
    job.sync.bookmark.volume.volume = None if rows_a_day is None else Volume(rows_a_day, 86_400)
    job.schedule_poll(1, is_first=True)
    intervals = [job.poll_interval]
    for _ in range(12):
        job.schedule_poll(1)
        intervals.append(job.poll_interval)
    assert intervals[:3] == first
    assert intervals[-1] == 30
    job.schedule_poll(1, is_first=True)
    assert job.poll_interval == first[0]


def test_a_report_of_an_earlier_run_is_polled_at_the_same_intervals_as_a_new_one() -> None:
    job = job_of()
    intervals = []
    for _ in range(3):
        job.schedule_poll(1)
        intervals.append(job.poll_interval)
    assert intervals == [1, 1.5, 2.25]


def test_the_time_of_a_status_is_when_it_changed() -> None:
    job = job_of()
    job.set_status(ReportStatus.PENDING, SINCE + 5)
    assert job.status_since == SINCE
    job.set_status(ReportStatus.PROCESSING, SINCE + 5)
    assert job.status_since == SINCE + 5


# Requests


class Api:
    """An API that accepts reports, or fails with the errors that it is given."""

    def __init__(self, *errors: ApiError, **policy: Any) -> None:
        self.errors: Iterator[ApiError] = iter(errors)
        self.retry_policy = RetryPolicy(**policy)
        self.clock = SimpleNamespace(now=lambda: at(99))
        self.bodies: list[Any] = []
        self.cancelled: list[str] = []
        self.statuses: dict[str, dict[str, Any]] = {}
        self.polled: list[str] = []
        self.delay = 0.0

    def report_request_delay(self) -> float:
        return self.delay

    def create_report(self, body: Any) -> Any:
        for error in self.errors:
            raise error
        self.bodies.append(body)
        return SimpleNamespace(body={"request_id": f"report-{len(self.bodies)}"}, at=at(99))

    def report_status(self, request_id: str) -> Any:
        self.polled.append(request_id)
        for error in self.errors:
            raise error
        return SimpleNamespace(body=self.statuses.get(request_id, {"request_status": "PENDING"}))

    def cancel_report(self, request_id: str) -> None:
        self.cancelled.append(request_id)
        for error in self.errors:
            raise error


class Stopwatch:
    """A monotonic clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = SINCE
        for module in (creation, jobs, polls, scheduler):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def stopwatch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    return Stopwatch(monkeypatch)


def creator_of(
    api: Any, events: list[str] | None = None, job: ReportJob | None = None, finder: Any = None
) -> ReportCreator:
    events = [] if events is None else events

    @contextmanager
    def deferred() -> Generator[None, None, None]:
        events.append("defer")
        yield
        events.append("deliver")

    def checkpoint() -> None:
        events.append(" ".join(["state", *(one.request_id for one in job.sync.bookmark.reports)] if job else ["state"]))

    finder = finder or ReportFinder(api, enabled=False)
    return ReportCreator(api, finder, budget=5, timeout=TIMEOUT, checkpoint=checkpoint, defer_signals=deferred)


def planned(sync: PartitionSync | None = None) -> ReportJob:
    return ReportJob(sync or open_partition(), WINDOW)


def test_a_requested_report_is_in_a_written_state_before_a_signal_is_delivered() -> None:
    job = planned()
    events: list[str] = []
    assert creator_of(Api(), events, job).create(job, 0)
    assert events == ["defer", "state report-1", "deliver"]
    assert (job.status, job.request_id, job.requested_at, job.requests) == (ReportStatus.PENDING, "report-1", at(99), 1)
    assert job.next_poll > 0
    [pending] = job.sync.bookmark.reports
    assert astuple(pending)[2:] == (job.sync.query.report_fingerprint(WINDOW), at(99))
    assert pending.window == WINDOW
    assert job.sync.result.fetched.reports == 1


def test_the_limit_of_the_api_is_not_an_error_and_lowers_the_budget(stopwatch: Stopwatch) -> None:
    creator, job = creator_of(Api(ReportLimitError(7))), planned()
    assert not creator.create(job, 3)
    assert (creator.budget, creator.ready_at, creator.is_ready) == (3, SINCE + 7, False)
    assert (job.error, job.status, job.sync.bookmark.reports) == (None, ReportStatus.PLANNED, [])
    stopwatch.now = SINCE + 7
    assert creator.is_ready


@pytest.mark.parametrize(("asked", "pause"), [(0, 1), (1_000_000, SECONDS)])
def test_the_pause_after_a_limit_is_a_second_at_least_and_the_timeout_at_most(
    stopwatch: Stopwatch, asked: float, pause: float
) -> None:
    creator = creator_of(Api(ReportLimitError(asked)))
    creator.create(planned(), 0)
    assert creator.ready_at == stopwatch.now + pause
    assert creator.budget == 1


@pytest.mark.parametrize(
    ("in_flight", "seconds", "fails"), [(0, SECONDS, False), (0, SECONDS + 1, True), (1, SECONDS + 1, False)]
)
def test_a_report_fails_if_none_could_be_requested_for_the_timeout(
    stopwatch: Stopwatch, in_flight: int, seconds: float, *, fails: bool
) -> None:
    creator, job = creator_of(Api(ReportLimitError(0), ReportLimitError(0))), planned()
    creator.create(job, in_flight)
    stopwatch.now += seconds
    creator.create(job, in_flight)
    assert isinstance(job.error, ReportLimitError) == fails


def test_an_accepted_report_ends_the_time_without_room(stopwatch: Stopwatch) -> None:
    api = Api(ReportLimitError(0))
    creator, job = creator_of(api), planned()
    creator.create(job, 0)
    stopwatch.now += SECONDS
    assert creator.create(job, 0)
    api.errors = iter([ReportLimitError(0)])
    stopwatch.now += SECONDS
    other = planned()
    creator.create(other, 0)
    assert other.error is None


def test_a_request_that_fails_is_tried_again_later_and_given_up_after_the_last_try(stopwatch: Stopwatch) -> None:
    creator, job = creator_of(Api(*[OVERLOADED] * 7, max_tries=3)), planned()
    for _ in range(2):  # what was given up has all its tries again, for another partition
        for failures in (1, 2):
            assert not creator.create(job, 0)
            assert 2 ** (failures - 1) <= creator.ready_at - stopwatch.now <= 2 ** (failures - 1) + 1
        with pytest.raises(RetriableApiError):
            creator.create(job, 0)
    assert not creator.create(job, 0)
    assert creator.create(job, 0)
    assert job.requests == 1


@pytest.mark.usefixtures("stopwatch")
def test_the_log_says_which_try_of_how_many_comes_next(caplog: pytest.LogCaptureFixture) -> None:
    creator, job = creator_of(Api(OVERLOADED, OVERLOADED, max_tries=3)), planned()
    creator.create(job, 0)
    creator.create(job, 0)
    assert [message.split(", ")[-1].split(" in ")[0] for message in caplog.messages] == ["try 2 of 3", "try 3 of 3"]


def test_failed_requests_count_in_a_row_and_within_a_time(stopwatch: Stopwatch) -> None:
    api = Api(OVERLOADED, max_tries=2, budget_seconds=100)
    creator = creator_of(api)
    creator.create(planned(), 0)
    creator.create(planned(), 0)
    api.errors = iter([OVERLOADED])
    assert not creator.create(planned(), 0)
    slow = creator_of(Api(OVERLOADED, OVERLOADED, max_tries=8, budget_seconds=100))
    slow.create(planned(), 0)
    stopwatch.now += 100
    with pytest.raises(RetriableApiError):
        slow.create(planned(), 0)


def test_no_connection_to_request_a_report_ends_the_run() -> None:
    failure = ConnectionFailedError("The connection failed (ConnectTimeout)")
    creator, job = creator_of(Api(failure, failure, max_tries=2)), planned()
    assert not creator.create(job, 0)
    with pytest.raises(UnreachableError):
        creator.create(job, 0)


# The jobs of a run


def scheduler_of(
    api: Any,
    budget: int = 5,
    checkpoint: Callable[[], None] = lambda: None,
    show_progress: Callable[[], None] = lambda: None,
) -> ReportScheduler:
    return ReportScheduler(api, budget=budget, timeout=TIMEOUT, checkpoint=checkpoint, show_progress=show_progress)


def plan_of(count: int, start: int = 0) -> ReportPlan:
    days = [hours(start + 24 * day, start + 24 * (day + 1)) for day in range(count)]
    return ReportPlan(days, resumed=[], expired=[], stale=[])


def requested(sync: PartitionSync) -> list[int]:
    return [round((report.window.start - at(0)) / timedelta(hours=24)) for report in sync.bookmark.reports]


def one_requested() -> tuple[Api, PartitionSync, ReportScheduler]:
    """An API, a partition, and the scheduler that has requested the partition's only report."""
    api, sync = Api(), open_partition()
    reports = scheduler_of(api)
    reports.add(sync, plan_of(1))
    reports.poll()
    return api, sync, reports


def test_no_more_reports_are_requested_than_may_be_in_flight(stopwatch: Stopwatch) -> None:
    api, sync = Api(), open_partition()
    reports = scheduler_of(api, budget=2)
    reports.add(sync, plan_of(4))
    reports.poll()
    assert (requested(sync), reports.in_flight(), reports.remaining(sync)) == ([0, 1], 2, 4)
    api.statuses["report-1"] = {"request_status": "SUCCESS", "items_count": 0}
    stopwatch.now += 1
    reports.poll()
    assert (requested(sync), reports.in_flight()) == ([0, 1, 2], 2)


def test_no_more_reports_are_requested_than_can_be_read_before_they_expire() -> None:
    api, sync = Api(), open_partition()
    reports = scheduler_of(api, budget=MAX_UNREAD + 5)
    reports.add(sync, plan_of(MAX_UNREAD + 5))
    reports.poll()
    assert len(api.bodies) == MAX_UNREAD
    job = reports.next_job(sync)
    assert job
    reports.complete(job)
    reports.poll()
    assert len(api.bodies) == MAX_UNREAD + 1


def test_a_report_that_is_needed_first_is_requested_however_many_adopted_ones_wait_behind_it() -> None:
    api, sync, other = Api(), open_partition(), open_partition()
    plan = plan_of(MAX_UNREAD)
    adopted = [PendingReport(f"adopted-{number}", window, "", at(99)) for number, window in enumerate(plan.windows)]
    api.statuses.update({report.request_id: {"request_status": "SUCCESS", "items_count": 0} for report in adopted})
    reports = scheduler_of(api)
    reports.add(sync, plan_of(1))
    reports.add(other, replace(plan, resumed=adopted))
    reports.poll()
    reports.poll()
    assert requested(sync) == [0]


def test_progress_is_shown_between_the_polls_of_many_reports(stopwatch: Stopwatch) -> None:
    api, sync = Api(), open_partition()
    polled: list[int] = []
    reports = scheduler_of(api, budget=3, show_progress=lambda: polled.append(len(api.polled)))
    reports.add(sync, plan_of(3))
    reports.poll()
    stopwatch.now += 60
    reports.poll()
    assert polled == [1, 2, 3]


def test_a_poll_is_sent_when_it_is_due(stopwatch: Stopwatch) -> None:
    api, sync, reports = one_requested()
    job = reports.next_job(sync)
    assert job
    job.next_poll = stopwatch.now + 5
    assert reports.idle_seconds() == 5
    reports.poll()
    assert api.polled == []
    stopwatch.now += 5
    reports.poll()
    assert api.polled == ["report-1"]


@pytest.mark.parametrize(("poll_in", "idle"), [(None, 7), (9, 7), (5, 5)])
def test_a_run_sleeps_until_a_report_may_be_requested_or_polled(
    stopwatch: Stopwatch, poll_in: int | None, idle: int
) -> None:
    api, sync = Api(), open_partition()
    reports = scheduler_of(api)
    if poll_in:
        reports.add(sync, plan_of(1))
        reports.poll()
        job = reports.next_job(sync)
        assert job
        job.next_poll = stopwatch.now + poll_in
    reports.add(sync, plan_of(1, start=24))
    api.errors = iter([ReportLimitError(7)])
    reports.poll()
    assert reports.idle_seconds() == idle


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"poll_interval": 1}, True),
        ({"poll_interval": 0}, False),
        ({"poll_interval": 1, "status": ReportStatus.SUCCESS}, False),
        ({"poll_interval": 1, "error": ApiError("")}, False),
        ({"status": ReportStatus.PLANNED}, False),
        *(
            ({"poll_interval": 1, name: jobs.Failures(1)}, False)
            for name in ("failed_polls", "missed_status", "missed_file")
        ),
    ],
    ids=str,
)
def test_only_a_report_that_the_api_generates_is_left_to_a_later_run(
    changes: dict[str, Any], *, expected: bool
) -> None:
    job = job_of()
    for name, value in changes.items():
        setattr(job, name, value)
    assert may_be_left(job, in_flight=4, budget=5) is expected
    assert may_be_left(planned(), in_flight=5, budget=5)


def test_neither_a_poll_nor_a_request_waits_long_for_the_rate_limit(stopwatch: Stopwatch) -> None:
    api, sync, reports = one_requested()
    reports.add(sync, plan_of(1, start=24))
    stopwatch.now += 60
    api.delay = 5
    reports.poll()
    assert (api.polled, requested(sync)) == ([], [0])
    assert reports.idle_seconds() == 4.9
    api.delay = 0.1
    reports.poll()
    assert (api.polled, requested(sync)) == (["report-1"], [0, 1])


def test_a_read_report_leaves_the_state_and_the_others_stay() -> None:
    sync = open_partition()
    reports = scheduler_of(Api())
    reports.add(sync, plan_of(2))
    reports.poll()
    job = reports.next_job(sync)
    assert job
    reports.complete(job)
    assert (requested(sync), job in reports, reports.remaining()) == ([1], False, 1)


def test_reports_in_flight_of_a_released_partition_stay_in_the_state() -> None:
    sync, other = open_partition(), open_partition()
    reports = scheduler_of(Api(), budget=3)
    reports.add(sync, plan_of(2))
    reports.add(other, plan_of(2))
    reports.poll()
    reports.release(sync)
    assert (requested(sync), reports.remaining(sync), reports.remaining(other)) == ([0, 1], 0, 2)
    reports.poll()
    assert requested(other) == [0, 1]


def test_a_refused_report_fails_its_partition_and_no_other(stopwatch: Stopwatch) -> None:
    sync, other = open_partition(), open_partition()
    refused = RequestRejectedError(403, "Forbidden")
    reports = scheduler_of(Api(refused))
    reports.add(sync, plan_of(2))
    reports.add(other, plan_of(1))
    reports.poll()
    job = reports.next_job(sync)
    assert job
    assert job.error is refused
    assert (requested(sync), requested(other)) == ([], [0])
    assert reports.idle_seconds() == pytest.approx(0.25)
    assert stopwatch.now == SINCE


def test_a_refused_report_leaves_those_in_flight_to_be_read() -> None:
    api, sync, reports = one_requested()
    in_flight = reports.next_job(sync)
    assert in_flight
    reports.add(sync, plan_of(1, start=24))
    api.errors = iter([RequestRejectedError(403, "Forbidden")])
    reports.poll()
    assert len(api.bodies) == 1
    assert (in_flight.error, reports.in_flight()) == (None, 1)


def test_failed_reports_take_no_room_of_the_unread_ones() -> None:
    api, sync, other = Api(), open_partition(), open_partition()
    reports = scheduler_of(api, budget=MAX_UNREAD)
    reports.add(sync, plan_of(MAX_UNREAD))
    reports.poll()
    job = reports.next_job(sync)
    assert job
    job.error = OVERLOADED
    reports.add(other, plan_of(2))
    reports.poll()
    assert requested(other) == [0]


def test_a_poll_that_fails_is_sent_again_after_a_pause(stopwatch: Stopwatch) -> None:
    api, sync, reports = one_requested()
    api.errors = iter([OVERLOADED])
    stopwatch.now += 1
    reports.poll()
    job = reports.next_job(sync)
    assert job
    assert 1 <= job.next_poll - stopwatch.now <= 2
    assert (job.error, job.failed_polls.count) == (None, 1)
    stopwatch.now += 3
    reports.poll()
    assert (len(api.polled), job.failed_polls.count) == (2, 0)


def test_nothing_behind_a_report_that_fails_for_the_whole_partition_is_requested() -> None:
    api, sync = Api(), open_partition()
    reports = scheduler_of(api, budget=1)
    reports.add(sync, plan_of(3))
    reports.poll()
    job = reports.next_job(sync)
    assert job
    job.error = RequestRejectedError(403, "Forbidden")
    reports.poll()
    assert (len(api.bodies), reports.in_flight()) == (1, 0)


@pytest.mark.parametrize(("refusals", "then"), [(2, [2, 3, 4]), (3, [])])
def test_nothing_behind_three_failed_reports_in_a_row_is_requested(refusals: int, then: list[int]) -> None:
    sync = open_partition()
    reports = scheduler_of(Api(*[RequestRejectedError(422, "Invalid")] * refusals))
    reports.add(sync, plan_of(5))
    reports.poll()
    assert requested(sync) == then


def test_a_report_that_cannot_be_requested_does_not_hold_up_the_next_one() -> None:
    sync = open_partition()
    reports = scheduler_of(Api(RequestRejectedError(422, "Invalid")))
    reports.add(sync, plan_of(3))
    reports.poll()
    assert requested(sync) == [1, 2]


def test_a_truncated_report_shortens_the_planned_ones_of_its_partition_and_no_other(stopwatch: Stopwatch) -> None:
    api, sync, other = Api(), open_partition(), open_partition()
    written: list[tuple[int, list[str]]] = []

    def checkpoint() -> None:
        written.append((len(api.bodies), [report.request_id for report in sync.bookmark.reports]))

    reports = scheduler_of(api, budget=2, checkpoint=checkpoint)
    reports.add(sync, plan_of(3))
    reports.add(other, plan_of(1))
    reports.poll()
    api.statuses["report-1"] = {"request_status": "TRUNCATED"}
    requests = len(api.bodies)
    written.clear()
    stopwatch.now += 2
    reports.poll()
    # The first STATE is written before another report is requested, and forgets the truncated one.
    assert written[0] == (requests, ["report-2"])
    assert sync.bookmark.report_limit == ReportLimit(timedelta(hours=12))
    # Two halves of the first, the second as it was requested, two halves of the third.
    assert (reports.remaining(sync), reports.remaining(other)) == (5, 1)
    windows = []
    while job := reports.next_job(sync):
        windows.append(job.window)
        reports.complete(job)
    assert windows == [hours(0, 12), hours(12, 24), hours(24, 48), hours(48, 60), hours(60, 72)]


def test_a_vanished_report_is_requested_again_and_forgotten(stopwatch: Stopwatch) -> None:
    api, sync, reports = one_requested()

    def vanish() -> None:
        for _ in range(MAX_LOOKS + 1):
            api.errors = iter([RequestRejectedError(404, "Not Found")])
            stopwatch.now += 1_000
            reports.poll()

    for number in range(2, MAX_REQUESTS + 1):
        vanish()
        assert [report.request_id for report in sync.bookmark.reports] == [f"report-{number}"]
    vanish()
    job = reports.next_job(sync)
    assert job
    assert "could not be read" in str(job.error)
    assert (sync.bookmark.reports, len(api.bodies)) == ([], MAX_REQUESTS)


def test_a_report_that_is_not_found_is_looked_for_after_growing_pauses_and_the_others_are_polled(
    stopwatch: Stopwatch,
) -> None:
    api, sync, other = Api(), open_partition(), open_partition()
    reports = scheduler_of(api)
    reports.add(sync, plan_of(1))
    reports.add(other, plan_of(1))
    reports.poll()
    job = reports.next_job(sync)
    assert job
    pauses: list[float] = []
    for _ in range(MAX_LOOKS):
        api.errors = iter([RequestRejectedError(404, "Not Found")])
        stopwatch.now = job.next_poll
        reports.poll()
        pauses.append(job.next_poll - stopwatch.now)
    assert all(low <= pause <= low + 1 for low, pause in zip((1, 2, 4, 8, 16, 32), pauses, strict=False))
    assert 240 <= sum(pauses) <= 360
    assert "report-2" in api.polled
    assert (len(api.bodies), job.error, job.request_id) == (2, None, "report-1")
    stopwatch.now = job.next_poll
    reports.poll()
    assert (len(api.bodies), job.missed_status.count) == (2, 0)


def lengths(reports: ReportScheduler, sync: PartitionSync, rows: int) -> list[float]:
    """Read all reports of a partition, each with so many rows, and return their lengths in hours."""
    read: list[float] = []
    while job := reports.next_job(sync):
        job.row_count = rows
        read.append(job.window.duration / timedelta(hours=1))
        reports.complete(job)
        reports.poll()
    return read


def test_reports_grow_again_after_some_that_were_well_below_the_limit() -> None:
    sync = open_partition()
    sync.max_report_window = timedelta(hours=10)
    sync.bookmark.limit_reports(ReportLimit(timedelta(hours=3), rows=100))
    reports = scheduler_of(Api(), budget=1)
    reports.add(sync, ReportPlan([hours(at, at + 3) for at in range(0, 60, 3)], [], [], []))
    reports.poll()
    read = lengths(reports, sync, rows=24)
    # One is requested before the last of three is read, and stays as it is.
    assert read == [3, 3, 3, 6, 6, 6, 10, 10, 10, 3]
    assert sync.bookmark.report_limit is None


def test_a_limit_is_forgotten_once_reports_are_as_long_as_they_may_be() -> None:
    sync = open_partition()
    sync.max_report_window = timedelta(hours=6)
    sync.bookmark.limit_reports(ReportLimit(timedelta(hours=3), rows=100))
    reports = scheduler_of(Api(), budget=1)
    reports.add(sync, ReportPlan([hours(at, at + 3) for at in range(0, 9, 3)], [], [], []))
    reports.poll()
    lengths(reports, sync, rows=1)
    assert sync.bookmark.report_limit is None


@pytest.mark.parametrize(("rows", "after"), [(24, 6), (25, 3)])
def test_reports_stay_short_where_longer_ones_could_be_truncated(rows: int, after: float) -> None:
    sync = open_partition()
    sync.bookmark.limit_reports(ReportLimit(timedelta(hours=3), rows=100))
    reports = scheduler_of(Api(), budget=1)
    reports.add(sync, ReportPlan([hours(at, at + 3) for at in range(0, 9, 3)], [], [], []))
    reports.poll()
    lengths(reports, sync, rows)
    assert sync.bookmark.report_limit
    assert sync.bookmark.report_limit.window == timedelta(hours=after)


def test_how_long_reports_may_be_is_learned_over_several_runs() -> None:
    state: dict[str, Any] = {"context": {"account_id": ACCOUNT}}
    open_sync(state, 100).sync.bookmark.limit_reports(ReportLimit(timedelta(hours=3), rows=100))
    for run in range(3):
        sync = open_sync(state, 100).sync
        assert sync.bookmark.report_limit == ReportLimit(timedelta(hours=3), rows=100, small_reports=run)
        reports = scheduler_of(Api())
        reports.add(sync, ReportPlan([hours(0, 3)], [], [], []))
        reports.poll()
        lengths(reports, sync, rows=1)
    limit = open_sync(state, 100).sync.bookmark.report_limit
    assert limit == ReportLimit(timedelta(hours=6), rows=100)


def test_a_refused_poll_fails_the_report_which_stays_in_the_state(stopwatch: Stopwatch) -> None:
    refused = RequestRejectedError(403, "Forbidden")
    api, sync, reports = one_requested()
    api.errors = iter([refused])
    stopwatch.now += 2
    reports.poll()
    job = reports.next_job(sync)
    assert job
    assert job.error is refused
    assert requested(sync) == [0]


def test_reports_of_earlier_runs_are_resumed_requested_again_or_cancelled() -> None:
    sync = open_partition()
    earlier = scheduler_of(Api())
    earlier.add(sync, plan_of(3))
    earlier.poll()
    resumed, expired, stale = sync.bookmark.reports
    api = Api(RequestRejectedError(404, "Not Found"))  # a stale report may be gone
    reports = scheduler_of(api)
    reports.add(sync, ReportPlan([resumed.window, expired.window], [resumed], [expired], [stale]))
    assert api.cancelled == ["report-3"]
    assert sync.bookmark.reports == [resumed]
    job = reports.next_job(sync)
    assert job
    assert (job.request_id, job.requested_at, job.requests, job.is_running) == ("report-1", at(99), 1, True)
    reports.poll()
    assert api.polled == ["report-1"]
    assert [body["date_start"] for body in api.bodies] == ["2026-10-02T00:00:00Z"]


def creator_that_lists(request_id: str, sync: PartitionSync, api: Api) -> ReportCreator:
    """A creator at an API that lists one report of the window."""
    echo = {**sync.query.report_body(WINDOW), "request_id": request_id, "request_status": "PENDING"}
    client: Any = api
    client.list_reports = lambda _account, _statuses: [{**echo, "receive_time": at(99).isoformat()}]
    finder = ReportFinder(client, enabled=True)
    return ReportCreator(client, finder, budget=5, timeout=TIMEOUT, checkpoint=lambda: None, defer_signals=nullcontext)


def test_after_a_lost_report_is_found_the_next_one_is_requested_immediately() -> None:
    sync, api = open_partition(), Api(OVERLOADED)
    creator = creator_that_lists("lost", sync, api)
    job = planned(sync)
    assert creator.create(job, 0) is False
    assert creator.create(job, 0) is True
    assert (job.request_id, api.bodies) == ("lost", [])


def test_a_report_that_is_known_is_not_taken_for_what_a_failed_request_for_the_same_window_has_made() -> None:
    sync, api = open_partition(), Api()
    creator = creator_that_lists("report-1", sync, api)
    job = planned(sync)
    assert creator.create(job, 0)
    assert job.request_id == "report-1"
    job.set_status(ReportStatus.PLANNED, SINCE)  # it ended without rows, so it is requested again
    api.errors = iter([OVERLOADED])
    assert not creator.create(job, 0)
    assert creator.create(job, 0)
    assert job.request_id == "report-2"


@pytest.mark.parametrize(("listed", "states"), [(True, 1), (False, 3)])
def test_ids_share_a_state_only_if_the_api_lists_the_reports_of_this_run(*, listed: bool, states: int) -> None:
    sync, api, written, later = open_partition(), Api(), [], []

    def reports(_account: str, _statuses: Any) -> list[dict[str, Any]]:
        made = sync.bookmark.reports if listed else []
        body = sync.query.report_body(WINDOW)
        return [
            {**body, "request_id": one.request_id, "request_status": "PENDING", "receive_time": "2026-11-20T00:00:00Z"}
            for one in made
        ]

    client: Any = api
    client.list_reports = reports
    creator = ReportCreator(
        client,
        ReportFinder(client, enabled=True, needs_list=lambda: True),
        budget=5,
        timeout=TIMEOUT,
        checkpoint=lambda: written.append(1),
        checkpoint_later=lambda: later.append(1),
        defer_signals=nullcontext,
    )
    for _ in range(3):
        assert creator.create(planned(sync), 0)
    assert (len(written), len(later)) == (states, 3 - states)
