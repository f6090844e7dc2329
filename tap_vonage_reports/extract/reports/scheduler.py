"""Async path: the life of a report: requested, awaited, downloaded, verified, forgotten.

Its id is in state before it is waited for, so that a killed run never asks (and pays) for it twice. One budget
of reports in flight holds for the whole run; reports of streams that come later are requested as soon as there
is room, in the order in which they will be needed.
"""

from __future__ import annotations

import logging
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from tap_vonage_reports.api.responses import rows_announced
from tap_vonage_reports.api.retry import final_error
from tap_vonage_reports.config.settings import fingerprint
from tap_vonage_reports.errors import (
    ApiError,
    ArchiveError,
    ReportError,
    ReportLimitError,
    RequestRejectedError,
    RetriableApiError,
)
from tap_vonage_reports.intervals import TimeWindow, cut, spans
from tap_vonage_reports.state.format import PendingReport

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from datetime import datetime
    from typing import TypeAlias

    from tap_vonage_reports.api.client import ReportsClient
    from tap_vonage_reports.extract.reading import PartitionSync

    Accept: TypeAlias = Callable[[BinaryIO, int | None], int]

logger = logging.getLogger(__name__)

POLL_SECONDS = (1.0, 30.0)
"""How long to wait between two looks at a report: at first, and at most."""
POLL_GROWTH = 1.5
STATE_KEPT_DAYS = 4
"""How long Vonage keeps the state of a report [confirmed]."""
MIN_REPORT_WINDOW = timedelta(hours=1)
"""A window whose report is cut short is halved down to this."""
MAX_REQUESTS = 3
"""A report that failed, was aborted or has vanished is asked for this often in all."""
MAX_DOWNLOADS = 3
MAX_UNREAD = 50
"""Reports that may have been requested and not yet read; the rest waits, so that no file expires unread."""
WORD_EVERY_SECONDS = 60.0
NOT_FOUND = 404
RESUME_HINT = "The next run takes the same report up"


class ReportStatus(Enum):
    """Where a report is in its life. The API's six states [confirmed], and the one before them."""

    PLANNED = "wanted"
    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    TRUNCATED = "TRUNCATED"
    FAILED = "FAILED"
    ABORTED = "ABORTED"


RUNNING = frozenset({ReportStatus.PENDING, ReportStatus.PROCESSING})


@dataclass(eq=False)
class ReportJob:
    """One report that the run needs.

    Attributes:
        reading: The partition that it is for.
        window: What it covers.
        stage: Where it is in its life.
        request_id: The API's name for it, once it has one.
        requested_at: When it was asked for, on Vonage's clock.
        link: Where its file is.
        count: How many rows it announces.
        requests: How often it was asked for.
        renewals: How often it was asked for again because its file was no good.
        error: What went wrong for good.
        since: When it entered its stage, on this machine's monotonic clock.
        fetched: When its download began, likewise.
        next_look: When to look at it again, likewise.
        pause: Seconds between two looks.
        failed_polls: How many polls have failed in a row.
        failing_since: When the first of these failed, on this machine's monotonic clock.
    """

    reading: PartitionSync
    window: TimeWindow
    stage: ReportStatus = ReportStatus.PLANNED
    request_id: str = ""
    requested_at: datetime | None = None
    link: str = ""
    count: int | None = None
    requests: int = 0
    renewals: int = 0
    error: ApiError | None = None
    since: float = 0
    fetched: float = 0
    next_look: float = 0
    pause: float = POLL_SECONDS[0]
    failed_polls: int = 0
    failing_since: float = 0

    def __str__(self) -> str:
        """The report for a log line."""
        return f"{self.reading.partition}: report of {self.window}"

    def enter(self, stage: ReportStatus) -> None:
        """Go on to another stage."""
        if stage is not self.stage:
            self.stage, self.since = stage, time.monotonic()


class ReportScheduler:
    """All reports of a run, in the order in which they are needed, and the budget that they share.

    Only the main thread uses it: it writes state.
    """

    def __init__(
        self,
        client: ReportsClient,
        *,
        budget: int,
        timeout: timedelta,
        save: Callable[[], None],
        delay_factor: float = 1,
    ) -> None:
        """Set up an empty queue.

        Args:
            client: The API.
            budget: How many reports may be in flight.
            timeout: How long a report may take to start, and again to finish.
            save: Writes the state.
            delay_factor: Scale of the pauses.
        """
        self._client = client
        self._budget = budget
        self._timeout = timeout
        self._save = save
        self._pace = delay_factor
        self._reports: list[ReportJob] = []
        self._not_before = 0.0
        self._full_since: float | None = None

    def add(self, reading: PartitionSync) -> None:
        """Plan the reports of a partition, take up those of earlier runs, and cancel what does not fit any more."""
        windows, kept = reading.plan_reports()
        known = {report.window: report for report in kept}
        for old in reading.bookmark.reports:
            if old not in kept:
                self._drop(reading, old)
        for window in windows:
            report = ReportJob(reading, window)
            if window in known:
                self._take_up(report, known[window])
            self._reports.append(report)

    def left(self, reading: PartitionSync | None = None) -> int:
        """How many reports are still to be read, of one partition or of all."""
        return sum(reading is None or report.reading is reading for report in self._reports)

    def first(self, reading: PartitionSync) -> ReportJob | None:
        """The next report of a partition; None when all are read."""
        return next((report for report in self._reports if report.reading is reading), None)

    def pump(self) -> None:
        """Look at the reports that are due, and request others where there is room."""
        now = time.monotonic()
        for report in list(self._reports):
            if report.stage in RUNNING and not report.error and report.next_look <= now:
                self._look(report)
        while time.monotonic() >= self._not_before and (wanted := self._next_wanted()):
            if not self._request(wanted):
                break

    @contextmanager
    def opened(self, report: ReportJob, accept: Accept) -> Generator[BinaryIO | None, None, None]:
        """Wait for a report, download and verify it.

        Args:
            report: What `first` gave.
            accept: Reads the file to its end and gives its number of rows, or an `ArchiveError` unless it is whole.

        Yields:
            Its file, whole and verified; None for a report without rows.

        Raises:
            ReportSplit: It was cut short; `first` gives the shorter ones that were asked for instead.
            ReportError: It does not lead to its rows.
            ApiError: The API refuses it.
        """
        while True:
            self._wait(report)
            if report.count == 0 and not report.link:
                yield None
                return
            with self._file_for(report) as file:
                if self._fetch(report, file, accept):
                    report.reading.outcome.cost.count_file(report.count or 0, report.window)
                    yield file
                    return

    @contextmanager
    def _file_for(self, report: ReportJob) -> Generator[BinaryIO, None, None]:
        """A temporary file that nobody else can read, and that is gone when it is closed, or the process ends."""
        try:
            file = cast("BinaryIO", tempfile.TemporaryFile(prefix="vonage-report-"))  # noqa: SIM115 - closed below
        except OSError as error:
            raise self._not_stored(report, error) from None
        try:
            yield file
        finally:
            with suppress(OSError):  # what could not be stored is not wanted any more
                file.close()

    def settle(self, report: ReportJob) -> None:
        """Note that a report was read to its end."""
        self._reports.remove(report)
        report.reading.bookmark.forget_report(report.request_id)

    def abandon(self, reading: PartitionSync) -> None:
        """Ask for no more reports of a partition; those that were asked for stay in state for the next run."""
        self._reports = [report for report in self._reports if report.reading is not reading]

    def _in_flight(self) -> int:
        """How many reports are at work. Those that are given up count no more: nobody looks at them."""
        return sum(report.stage in RUNNING and not report.error for report in self._reports)

    def _next_wanted(self) -> ReportJob | None:
        unread = sum(report.stage is not ReportStatus.PLANNED and not report.error for report in self._reports)
        if self._in_flight() >= self._budget or unread >= MAX_UNREAD:
            return None
        ending: set[PartitionSync] = set()
        for report in self._reports:
            if report.error:
                ending.add(report.reading)  # what follows will not be read by this run
            elif report.stage is ReportStatus.PLANNED and report.reading not in ending:
                return report
        return None

    def _request(self, report: ReportJob) -> bool:
        """Ask for a report; whether it makes sense to ask for another one now."""
        body = report.reading.report_body(report.window)
        try:
            answer = self._client.create_report(body)
        except ReportLimitError as full:
            self._make_do(report, full)
            return False
        except ApiError as error:
            for other in self._reports:
                if other.reading is report.reading and other.stage is ReportStatus.PLANNED:
                    other.error = error
            return True
        self._full_since = None
        report.reading.outcome.cost.count_report()
        report.requests += 1
        report.request_id, report.requested_at = str(answer.body["request_id"]), answer.at
        report.enter(ReportStatus.PENDING)
        self._look_later(report, first=True)
        report.reading.bookmark.remember_report(
            PendingReport(report.request_id, report.window, fingerprint(body), answer.at)
        )
        self._save()
        logger.info("%s: requested", report)
        return True

    def _make_do(self, report: ReportJob, full: ReportLimitError) -> None:
        """Go on with as many reports as the API has room for; but not for ever with none."""
        now = time.monotonic()
        in_flight = self._in_flight()
        self._not_before = now + min(max(1.0, full.retry_after), self._timeout.total_seconds()) * self._pace
        if self._full_since is None:
            self._full_since = now
            logger.info("The API takes no more reports now: going on with %d at once", max(1, in_flight))
        elif not in_flight and now - self._full_since > self._timeout.total_seconds():
            report.error = full
        self._budget = max(1, in_flight)

    def _take_up(self, report: ReportJob, known: PendingReport) -> None:
        """Go on with a report that an earlier run has asked for, if it can still be there."""
        if not can_be_taken_up(known, self._client.clock.now()):
            report.reading.bookmark.forget_report(known.request_id)
            return
        report.request_id, report.requested_at = known.request_id, known.requested_at
        report.requests = 1
        report.enter(ReportStatus.PENDING)
        logger.info("%s: taken up, requested by an earlier run", report)

    def _drop(self, reading: PartitionSync, old: PendingReport) -> None:
        """Cancel a report that nobody needs any more; it may well have finished or be gone."""
        try:
            self._client.cancel_report(old.request_id)
        except ApiError as error:
            logger.debug("A report that is not needed could not be cancelled: %s", error)
        reading.bookmark.forget_report(old.request_id)

    def _look(self, report: ReportJob) -> None:
        """Ask for the state of a report, and act on it."""
        try:
            body = self._client.report_status(report.request_id).body
        except RequestRejectedError as refusal:
            if refusal.status == NOT_FOUND:
                self._ask_again(report, "is gone")
            else:
                report.error = refusal
            return
        except RetriableApiError as error:
            self._poll_again(report, error)
            return
        except ApiError as error:
            report.error = error
            return
        report.failed_polls = 0
        try:
            stage = ReportStatus(str(body.get("request_status")))
        except ValueError:
            stage = ReportStatus.PLANNED
        if stage is ReportStatus.PLANNED:
            report.error = self._problem(
                report, "has a state that the API's documents do not name", "The API has changed"
            )
            return
        report.enter(stage)
        _ON_STAGE[stage](self, report, body)

    def _poll_again(self, report: ReportJob, failure: RetriableApiError) -> None:
        """Schedule another poll after one that failed, or give up after as many as any request is tried.

        Raises:
            UnreachableError: There was no connection in the last poll.
        """
        now = time.monotonic()
        if not report.failed_polls:
            report.failing_since = now
        report.failed_polls += 1
        policy = self._client.retry_policy
        if policy.gives_up(report.failed_polls, failure, now - report.failing_since):
            error = final_error(failure)
            if not isinstance(error, ApiError):
                raise error from failure
            report.error = error
            return
        seconds = policy.delay_seconds(report.failed_polls, failure)
        report.next_look = now + seconds
        logger.warning(
            "%s: poll failed (%s), try %d of %d in %.1f s",
            report,
            failure.reason,
            report.failed_polls + 1,
            policy.max_tries,
            seconds,
        )

    def _on_flight(self, report: ReportJob, _body: Mapping[str, Any]) -> None:
        if time.monotonic() - report.since > self._timeout.total_seconds():
            doing = "started" if report.stage is ReportStatus.PENDING else "finished"
            minutes = self._timeout.total_seconds() / 60
            report.error = self._problem(
                report,
                f"has not {doing} within {minutes:g} minutes",
                f"Set report_timeout_minutes higher or report_window_days lower. {RESUME_HINT}",
            )
        self._look_later(report)

    def _on_success(self, report: ReportJob, body: Mapping[str, Any]) -> None:
        report.count, report.link = rows_announced(body), _link(body)
        if not report.link and report.count != 0:
            self._ask_again(report, "has finished without a file")

    def _on_truncated(self, report: ReportJob, _body: Mapping[str, Any]) -> None:
        """Rows are missing: ask for its halves, and for no other report that is longer than these."""
        longest = max((report.window.end - report.window.start) / 2, MIN_REPORT_WINDOW)
        if not longest < report.window.end - report.window.start:
            report.error = self._problem(
                report,
                "was cut short by the API although it covers no more than an hour",
                "Narrow the stream by filters, or read it by pages (fetch_mode sync)",
            )
            return
        logger.info("%s: cut short by the API, asking for shorter ones", report)
        bookmark = report.reading.bookmark
        bookmark.forget_report(report.request_id)
        bookmark.report_hours = longest / timedelta(hours=1)
        renewed: list[ReportJob] = []
        for other in self._reports:
            if other is report or (other.reading is report.reading and other.stage is ReportStatus.PLANNED):
                renewed += [ReportJob(other.reading, piece) for piece in cut(spans([other.window]), longest)]
            else:
                renewed.append(other)
        self._reports = renewed
        self._save()

    def _on_failure(self, report: ReportJob, _body: Mapping[str, Any]) -> None:
        self._ask_again(report, f"ended as {report.stage.value}")

    def _ask_again(self, report: ReportJob, why: str) -> None:
        """Put a report back among the wanted, unless that has been done often enough."""
        if report.requests >= MAX_REQUESTS:
            report.error = self._problem(report, f"{why}, {report.requests} times", "Ask Vonage support with its id")
            report.reading.bookmark.forget_report(report.request_id)
            return
        logger.warning("%s: it %s, asking for it again", report, why)
        report.reading.bookmark.forget_report(report.request_id)
        report.request_id, report.link, report.count = "", "", None
        report.failed_polls = 0
        report.enter(ReportStatus.PLANNED)

    def _wait(self, report: ReportJob) -> None:
        """Wait until a report is there.

        Raises:
            ApiError: It will not be.
            ReportSplit: It was cut short, and others stand in its place.
        """
        started = told = time.monotonic()
        while True:
            self.pump()
            if report.error:
                raise report.error
            if report not in self._reports:
                raise ReportSplit
            if report.stage is ReportStatus.SUCCESS:
                return
            now = time.monotonic()
            if now - told >= WORD_EVERY_SECONDS:
                told = now
                minutes = (now - started) / 60
                logger.info(
                    "%s: %s, %.0f min so far, %d in flight", report, report.stage.value, minutes, self._in_flight()
                )
            time.sleep(self._pause(now))

    def _pause(self, now: float) -> float:
        """How long there is nothing to do."""
        looks = [report.next_look for report in self._reports if report.stage in RUNNING and not report.error]
        if self._not_before > now:
            looks.append(self._not_before)
        return min(max(0.01, min(looks, default=now) - now), WORD_EVERY_SECONDS)

    def _look_later(self, report: ReportJob, *, first: bool = False) -> None:
        report.pause = POLL_SECONDS[0] if first else min(report.pause * POLL_GROWTH, POLL_SECONDS[1])
        report.next_look = time.monotonic() + report.pause * self._pace

    def _fetch(self, report: ReportJob, file: BinaryIO, accept: Accept) -> bool:
        """Download a report; False when it has to be awaited again."""
        report.fetched = time.monotonic()
        for number in range(MAX_DOWNLOADS):
            file.seek(0)
            file.truncate()
            try:
                self._client.download(report.link, file)
                report.count = accept(file, report.count)
            except RequestRejectedError as refusal:
                if refusal.status != NOT_FOUND:
                    raise
                self._ask_again(report, "has lost its file")
                return False
            except RetriableApiError as error:
                raise self._problem(report, f"could not be downloaded ({error.reason})", RESUME_HINT) from None
            except ArchiveError as error:
                last = error
                logger.warning("%s: its file is no good (%s), download %d", report, error, number + 1)
            except OSError as error:
                raise self._not_stored(report, error) from None
            else:
                return True
        if report.renewals:
            raise self._problem(report, f"has a file that is no good: {last}", "Ask Vonage support with its id")
        report.renewals += 1
        self._ask_again(report, "has a file that is no good")
        return False

    def _not_stored(self, report: ReportJob, error: OSError) -> ReportError:
        advice = (
            "See that the folder for temporary files (TMPDIR) is there, has room and may be written to; the next run "
            "reads the same report"
        )
        return self._problem(report, f"cannot be stored ({error.strerror})", advice)

    def _problem(self, report: ReportJob, what: str, advice: str) -> ReportError:
        named = f" {report.request_id}" if report.request_id else ""
        return ReportError(f"The report{named} of {report.window} {what}. {advice}.")


def can_be_taken_up(report: PendingReport, now: datetime) -> bool:
    """Whether a report that an earlier run has asked for can still be there."""
    return (now - report.requested_at).days < STATE_KEPT_DAYS


class ReportSplit(Exception):  # noqa: N818 - no error: there are others now
    """A report was cut short, and shorter ones stand in its place."""


_ON_STAGE: Mapping[ReportStatus, Callable[[ReportScheduler, ReportJob, Mapping[str, Any]], None]] = {
    ReportStatus.PENDING: ReportScheduler._on_flight,  # noqa: SLF001 - the class's own table
    ReportStatus.PROCESSING: ReportScheduler._on_flight,  # noqa: SLF001
    ReportStatus.SUCCESS: ReportScheduler._on_success,  # noqa: SLF001
    ReportStatus.TRUNCATED: ReportScheduler._on_truncated,  # noqa: SLF001
    ReportStatus.FAILED: ReportScheduler._on_failure,  # noqa: SLF001
    ReportStatus.ABORTED: ReportScheduler._on_failure,  # noqa: SLF001
}


def _link(body: Mapping[str, Any]) -> str:
    try:
        link = body["_links"]["download_report"]["href"]
    except (KeyError, TypeError):
        return ""
    return link if isinstance(link, str) else ""
