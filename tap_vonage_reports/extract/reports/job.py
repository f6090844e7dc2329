"""One report job: its status, and its transition after each response. Pure: sends nothing, changes no state."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.api.responses import rows_announced
from tap_vonage_reports.errors import ReportError
from tap_vonage_reports.planning.planner import REPORT_STATUS_RETENTION
from tap_vonage_reports.planning.windows import REPORT_FILE_RETENTION

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from tap_vonage_reports.errors import ApiError, RequestRejectedError
    from tap_vonage_reports.extract.reader import PartitionSync
    from tap_vonage_reports.intervals import TimeWindow
    from tap_vonage_reports.state.values import PendingReport

MIN_REPORT_WINDOW = timedelta(hours=1)
"""A window whose report is truncated is halved down to this."""
MAX_LOOKS = 10
"""A young report, or its file, that is not found is looked for again this often: for about five minutes, with pauses of
1, 2, 4, ... 60 seconds."""
MAX_REQUESTS = 3
"""A report that failed, was aborted or has vanished is requested this often in total."""
POLL_SECONDS = (1.0, 30.0)
"""The interval between two polls of a report: at first, and at most."""
EARLY_POLL_SECONDS = 0.25
"""The interval before the first poll of a report that is not known to be large. It costs one poll where it is."""
MAX_EARLY_ROWS = 5_000
"""The rows of a report that may be ready after a second: the API takes some minutes for a million [likely]."""
POLL_GROWTH = 1.5
RESUME_HINT = "The next run resumes the same report"


class ReportStatus(Enum):
    """The status of a report: the API's six [confirmed], and the one before them."""

    PLANNED = "PLANNED"
    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    TRUNCATED = "TRUNCATED"
    FAILED = "FAILED"
    ABORTED = "ABORTED"


RUNNING = frozenset({ReportStatus.PENDING, ReportStatus.PROCESSING})


class Action(Enum):
    """The step that the scheduler takes after an answer."""

    POLL = auto()
    LOOK_AGAIN = auto()
    DOWNLOAD = auto()
    SPLIT = auto()
    REQUEST_AGAIN = auto()
    REFUSE = auto()
    FAIL = auto()


@dataclass(frozen=True)
class Transition:
    """The meaning of an answer for a job.

    Attributes:
        action: What the scheduler does.
        status: The new status; None where it stays as it is.
        reason: Why the report is looked for or requested again, or refused, as the end of a sentence: "report
            vanished".
        error: Why the job fails.
        link: Where the file is.
        row_count: How many rows the answer announces; None where it does not say.
    """

    action: Action
    status: ReportStatus | None = None
    reason: str = ""
    error: ApiError | None = None
    link: str = ""
    row_count: int | None = None


@dataclass
class Failures:
    """Failed tries of one kind of request, in a row.

    Attributes:
        count: How many.
        since: When the first one failed, on the monotonic clock, in seconds.
    """

    count: int = 0
    since: float = 0

    def add(self, now: float) -> None:
        """Count a failure."""
        self.since = self.since if self.count else now
        self.count += 1

    def reset(self) -> None:
        """Start over after a success."""
        self.count = 0


@dataclass(eq=False)
class ReportJob:
    """One report that the run needs.

    Times are seconds on this machine's monotonic clock, unless said otherwise.

    Attributes:
        sync: The partition that it is for.
        window: What it covers.
        status: Its status.
        request_id: The API's name for it, once it has one.
        requested_at: When it was requested, on Vonage's clock.
        link: Where its file is.
        row_count: How many rows it announces; None where it does not say.
        requests: How often it was requested.
        error: Why it will not be read.
        status_since: When it got its status.
        download_started: When its download began.
        next_poll: When to poll it again.
        poll_interval: Seconds between two polls.
        failed_polls: Polls that failed in a row.
        missed_status: Polls in a row that did not find it.
        missed_file: Downloads that did not find its file.
    """

    sync: PartitionSync
    window: TimeWindow
    status: ReportStatus = ReportStatus.PLANNED
    request_id: str = ""
    requested_at: datetime | None = None
    link: str = ""
    row_count: int | None = None
    requests: int = 0
    error: ApiError | None = None
    status_since: float = 0
    download_started: float = 0
    next_poll: float = 0
    poll_interval: float = 0

    def __post_init__(self) -> None:
        """Start without failures."""
        self.failed_polls, self.missed_status, self.missed_file = Failures(), Failures(), Failures()

    def __str__(self) -> str:
        """Return the job for a log line."""
        return f"{self.sync.partition}: report of {self.window}"

    @property
    def is_running(self) -> bool:
        """True while the API generates the report and it is still wanted."""
        return self.status in RUNNING and self.error is None

    @property
    def is_unrequested(self) -> bool:
        """True if it was never requested, and will be."""
        return self.status is ReportStatus.PLANNED and not self.requests and self.error is None

    def age(self, now: datetime) -> timedelta:
        """Return how long ago the report was requested; zero if it was not.

        Args:
            now: The time on Vonage's clock.
        """
        return now - (self.requested_at or now)

    def set_status(self, status: ReportStatus, now: float) -> None:
        """Change the status."""
        if status is not self.status:
            self.status, self.status_since = status, now

    def resume(self, report: PendingReport, now: float) -> None:
        """Go on with a report that an earlier run requested.

        Args:
            report: The report.
            now: The time on the monotonic clock, in seconds.
        """
        self.request_id, self.requested_at = report.request_id, report.requested_at
        self.requests = 1
        self.set_status(ReportStatus.PENDING, now)

    def plan_again(self, now: float) -> None:
        """Forget a report that does not lead to its rows, so that another one is requested.

        Args:
            now: The time on the monotonic clock, in seconds.
        """
        self.request_id, self.link, self.row_count = "", "", None
        self.set_status(ReportStatus.PLANNED, now)

    def schedule_poll(self, delay_factor: float, *, is_first: bool = False) -> None:
        """Schedule the next poll.

        Args:
            delay_factor: Scale of the interval.
            is_first: True for the first poll after the request.
        """
        shortest, longest = POLL_SECONDS
        if is_first:
            is_known_large = self.sync.bookmark.volume.expected(self.window.duration) > MAX_EARLY_ROWS
            self.poll_interval = shortest if is_known_large else EARLY_POLL_SECONDS
        else:  # a resumed report has no interval yet
            self.poll_interval = min(max(self.poll_interval * POLL_GROWTH, shortest), longest)
        self.next_poll = time.monotonic() + self.poll_interval * delay_factor

    def on_status(self, body: Mapping[str, Any], now: float, timeout: timedelta) -> Transition:
        """Return what a status answer means.

        Args:
            body: The answer to ``GET /v2/reports/{request_id}``.
            now: The time on the monotonic clock, in seconds.
            timeout: How long a report may take to start, and again to finish.
        """
        try:
            status = ReportStatus(str(body.get("request_status")))
        except ValueError:
            status = ReportStatus.PLANNED
        if status is ReportStatus.PLANNED:  # not one of the API's
            reason = "has a status that the API documentation does not list"
            return Transition(Action.FAIL, error=self.problem(reason, "The API has changed: please open an issue"))
        if status in RUNNING:
            return self._on_running(status, now, timeout)
        if status is ReportStatus.SUCCESS:
            return self._on_success(body)
        if status is ReportStatus.TRUNCATED:
            return self._on_truncated(body)
        return self.request_again(f"report ended as {status.value}", status)

    def on_missing_status(self, age: timedelta) -> Transition:
        """Return what it means that the API does not know the report.

        Args:
            age: How long ago it was requested.
        """
        if age < REPORT_STATUS_RETENTION and self.missed_status.count <= MAX_LOOKS:
            return Transition(Action.LOOK_AGAIN, reason="report not found")
        return self.request_again("report vanished")

    def on_missing_file(self, age: timedelta, refusal: RequestRejectedError) -> Transition:
        """Return what it means that the API refuses to hand out the file that it announced.

        Args:
            age: How long ago the report was requested.
            refusal: The answer, with status 404 or 403.
        """
        if age < REPORT_FILE_RETENTION and self.missed_file.count <= MAX_LOOKS:
            return Transition(Action.LOOK_AGAIN, ReportStatus.PROCESSING, f"file not found (HTTP {refusal.status})")
        if age < REPORT_FILE_RETENTION and refusal.status != HTTPStatus.NOT_FOUND:
            return Transition(Action.FAIL, error=refusal)
        return self.request_again("its file is gone")

    def request_again(self, reason: str, status: ReportStatus | None = None) -> Transition:
        """Return what it means that the report does not lead to its rows, but another one may.

        Args:
            reason: What happened to the report, as the end of a sentence.
            status: The new status; None where it stays as it is.
        """
        if self.requests < MAX_REQUESTS:
            return Transition(Action.REQUEST_AGAIN, status, reason)
        times = f"could not be read after {self.requests} requests ({reason})"
        return Transition(Action.FAIL, status, reason, self.problem(times, "Contact Vonage support with the report ID"))

    def half(self) -> timedelta:
        """Return the length of the windows that replace a truncated report."""
        return max(self.window.duration / 2, MIN_REPORT_WINDOW)

    def problem(self, what: str, advice: str) -> ReportError:
        """Return an error about this report.

        Args:
            what: What is wrong, as the end of a sentence that begins with the report.
            advice: What to do.
        """
        name = f" {self.request_id}" if self.request_id else ""
        return ReportError(f"Report{name} ({self.window}) {what}. {advice}.")

    def _on_running(self, status: ReportStatus, now: float, timeout: timedelta) -> Transition:
        since = self.status_since if status is self.status else now
        if now - since <= timeout.total_seconds():
            return Transition(Action.POLL, status)
        verb = "start" if status is ReportStatus.PENDING else "finish"
        what = f"did not {verb} within {timeout.total_seconds() / 60:g} minutes"
        advice = f"Raise report_timeout_minutes or lower report_window_days. {RESUME_HINT}"
        return Transition(Action.FAIL, status, error=self.problem(what, advice))

    def _on_success(self, body: Mapping[str, Any]) -> Transition:
        row_count, link = rows_announced(body), download_link(body)
        if not link and row_count != 0:
            return self.request_again("report finished without a file", ReportStatus.SUCCESS)
        return Transition(Action.DOWNLOAD, ReportStatus.SUCCESS, link=link, row_count=row_count)

    def _on_truncated(self, body: Mapping[str, Any]) -> Transition:
        """Rows are missing, so the window has to be halved [likely: cut at 1 GB or 7 million rows]."""
        if self.half() < self.window.duration:
            return Transition(Action.SPLIT, ReportStatus.TRUNCATED, row_count=rows_announced(body))
        return Transition(
            Action.REFUSE, ReportStatus.TRUNCATED, "truncated by the API although it covers no more than an hour"
        )


def download_link(body: Mapping[str, Any]) -> str:
    """Return the link to a report's file; empty where the answer has none."""
    try:
        link = body["_links"]["download_report"]["href"]
    except (KeyError, TypeError):
        return ""
    return link if isinstance(link, str) else ""
