"""The life cycle of reports: requested, generated, final, expired.

A report has the rows that the API lists at the time of the request, on the sandbox's clock. One thread for
all reports writes its file immediately, into a private directory, and every download returns the same
bytes. Clients see the file only after the generation time that the options set.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import threading
import time
import uuid
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.sandbox.journal import ReportKey
from tap_vonage_reports.sandbox.report_file import Built, CancelledError, Makeup, build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tap_vonage_reports.products import Product
    from tap_vonage_reports.sandbox.exchange import Options
    from tap_vonage_reports.sandbox.journal import Journal

STATE_KEPT = timedelta(days=4)
"""How long a report's status is kept (confirmed), from the request on. The same applies to the file (unknown)."""
FILE_KEPT = timedelta(hours=72)
"""How long a report's file can be downloaded (confirmed)."""
PATIENCE = 2.0
"""Seconds that a status request waits for a file that is due."""
_log = logging.getLogger(__name__)

_PREFIX = "ri3p58f-"
"""The prefix of report IDs in samples of 2020 (confirmed)."""


class State(str, Enum):
    """The states of a report (confirmed)."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    TRUNCATED = "TRUNCATED"
    FAILED = "FAILED"
    ABORTED = "ABORTED"

    @property
    def final(self) -> bool:
        """True if the status is final."""
        return self not in {State.PENDING, State.PROCESSING}


@dataclass(frozen=True)
class Plan:
    """A report as requested, with the effects of faults.

    Attributes:
        product: Its product.
        account: Key of the account that it was asked for.
        given: The fields of the request as the answers repeat them.
        columns: The columns of its file.
        rows: Its rows, as lines of CSV text; consumed once.
        makeup: How its file is made up.
        forced: The state that it ends in, or stays in if that one is not final; None for the one that fits.
        prefixed: Whether its id has a prefix.
        linked_if_empty: Whether a report without rows has a file.
        miscounted: By how much its count is off.
    """

    product: Product
    account: str
    given: Mapping[str, Any]
    columns: tuple[str, ...]
    rows: Iterator[list[bytes]]
    makeup: Makeup
    forced: State | None = None
    prefixed: bool = False
    linked_if_empty: bool = True
    miscounted: int = 0


@dataclass
class Report:
    """A report.

    Attributes:
        plan: What it is to be.
        received: When it was asked for, on the sandbox's clock.
        begun: The same on the monotonic clock.
        request_id: Its id.
        file_id: The id of its file, which is another one (confirmed).
        polled: How many status requests it has met.
        state: Its state when it was last looked at.
        building: Its file, once it is written.
    """

    plan: Plan
    received: datetime
    begun: float = field(default_factory=time.monotonic)
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    file_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    polled: int = 0
    state: State = State.PENDING
    building: Future[Built | None] = field(default_factory=Future)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        if self.plan.prefixed:
            self.request_id = _PREFIX + self.request_id

    @property
    def built(self) -> Built | None:
        """Its file, if it is written."""
        return self.building.result() if self.building.done() and not self.building.cancelled() else None

    @property
    def linked(self) -> Built | None:
        """Its file, if clients may have it."""
        built = self.built if self.state in {State.SUCCESS, State.TRUNCATED} else None
        return built if built is not None and (built.rows or self.plan.linked_if_empty) else None

    @property
    def key(self) -> ReportKey:
        """The parameters of the report."""
        given = self.plan.given
        texts = (str(given.get(name, "")) for name in ("direction", "date_start", "date_end"))
        return ReportKey(self.plan.product.name, self.plan.account, *texts)

    def name(self) -> str:
        """Return the name of its CSV file, with the day of its generation (confirmed)."""
        return f"report_{self.plan.product.name}_{self.plan.account}_{self.received:%Y%m%d}"


class Reports:
    """All reports of a sandbox. Clients' requests come from one thread; files are written by another."""

    def __init__(self, options: Options, now: Callable[[], datetime], journal: Journal) -> None:
        """Set up the desk.

        Args:
            options: How long reports take, and how many there may be.
            now: The API's time.
            journal: What was asked.
        """
        self._options = options
        self._now = now
        self._journal = journal
        self._reports: dict[str, Report] = {}
        self._files: dict[str, Report] = {}
        self._builder: ThreadPoolExecutor | None = None
        self._directory: Path | None = None
        self._cleaner: weakref.finalize[Any, Any] | None = None

    def __iter__(self) -> Iterator[Report]:
        """Yield the reports that are kept, oldest first, each in its present state."""
        for report in list(self._reports.values()):
            if self._kept(report, STATE_KEPT):
                yield self._looked_at(report)

    def unfinished(self, account: str) -> int:
        """Return the number of an account's reports that are not final."""
        return sum(not report.state.final for report in self if report.plan.account == account)

    def create(self, plan: Plan) -> Report:
        """Create a report."""
        self._sweep()
        report = Report(plan, self._now())
        self._reports[report.request_id] = self._files[report.file_id] = report
        self._journal.created(report.key, sum(not other.state.final for other in self))
        if plan.forced is None:
            report.building = self._thread().submit(self._build, report)
        return report

    def find(self, request_id: str) -> Report | None:
        """Return a report that can be asked for, in its present state."""
        report = self._reports.get(request_id)
        return self._looked_at(report) if report is not None and self._kept(report, STATE_KEPT) else None

    def find_file(self, file_id: str) -> Report | None:
        """Return the report of a file that can be downloaded."""
        report = self._files.get(file_id)
        if report is None or not self._kept(report, FILE_KEPT):
            return None
        return report if self._looked_at(report).linked is not None else None

    async def poll(self, report: Report) -> None:
        """Count a status request, and wait for the file if the report is due."""
        report.polled += 1
        if not self._looked_at(report).state.final and report.plan.forced is None and self._due(report) is None:
            patience = None if self._options.polls else PATIENCE
            await asyncio.wait({asyncio.wrap_future(report.building)}, timeout=patience)
            self._looked_at(report)

    def abort(self, report: Report) -> None:
        """End a report that is not final."""
        report.state = State.ABORTED
        self._discard(report)

    def close(self) -> None:
        """Stop all work, and delete all reports and their files."""
        for report in self._reports.values():
            report.cancelled.set()
        if self._builder is not None:
            self._builder.shutdown(cancel_futures=True)
        if self._cleaner is not None:
            self._cleaner()
        self._reports.clear()
        self._files.clear()
        self._builder = self._directory = self._cleaner = None

    def _kept(self, report: Report, limit: timedelta) -> bool:
        return self._now() - report.received < limit

    def _sweep(self) -> None:
        """Delete what has expired."""
        for report in list(self._reports.values()):
            if not self._kept(report, FILE_KEPT) and report.file_id in self._files:
                del self._files[report.file_id]
                self._discard(report)
            if not self._kept(report, STATE_KEPT):
                del self._reports[report.request_id]

    @staticmethod
    def _discard(report: Report) -> None:
        """Delete the file of a report, or stop writing it."""
        report.cancelled.set()
        if report.built is not None:
            report.built.path.unlink(missing_ok=True)

    def _looked_at(self, report: Report) -> Report:
        """Return a report in its present state."""
        if report.state.final:
            return report
        state, forced = self._due(report), report.plan.forced
        if state is not None:
            report.state = State.PENDING if forced is State.PENDING else state
        elif forced is not None:
            report.state = forced
        elif report.built is not None:
            report.state = State.TRUNCATED if report.built.truncated else State.SUCCESS
        else:
            # Due, but its file is still being written; or that went wrong.
            report.state = State.FAILED if report.building.done() else State.PROCESSING
        return report

    def _due(self, report: Report) -> State | None:
        """Return the status of a report by its age; None if it is due to become final."""
        options = self._options
        if options.polls is not None:
            if report.polled >= options.polls:
                return None
            return State.PENDING if report.polled <= 1 else State.PROCESSING
        elapsed = max(time.monotonic() - report.begun, (self._now() - report.received).total_seconds())
        if elapsed < options.pending_seconds:
            return State.PENDING
        seconds = options.generation_seconds
        if seconds is None:
            seconds = report.built.rows / options.rows_per_second if report.built is not None else 0
        return None if elapsed >= options.pending_seconds + seconds else State.PROCESSING

    def _build(self, report: Report) -> Built | None:
        """Write a report's file; None if it is no longer wanted, or cannot be written."""
        plan, path = report.plan, self._place() / report.file_id
        try:
            return build(
                path,
                report.name(),
                at=report.received,
                columns=plan.columns,
                batches=plan.rows,
                makeup=plan.makeup,
                cancelled=report.cancelled.is_set,
            )
        except CancelledError:
            path.unlink(missing_ok=True)
        except Exception:  # noqa: BLE001 - the client sees FAILED; whoever runs the sandbox should see why
            _log.exception("The file of report %s cannot be written", report.request_id)
        return None

    def _thread(self) -> ThreadPoolExecutor:
        if self._builder is None:
            self._builder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-reports")
        return self._builder

    def _place(self) -> Path:
        """Create the private directory. It is removed with this object, or when the program ends."""
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="vonage-reports-sandbox-"))
            self._cleaner = weakref.finalize(self, shutil.rmtree, self._directory, ignore_errors=True)
        return self._directory
