"""The parsed values of one partition's state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from tap_vonage_reports.intervals import TimeWindow
    from tap_vonage_reports.state.report_limits import RefusedReport, ReportLimit
    from tap_vonage_reports.state.volume import Volume


@dataclass(frozen=True)
class PageCursor:
    """Where to resume inside a window: the cursor of the next page, and the query that it belongs to.

    Attributes:
        window: The window.
        cursor: Where its next page begins.
        iv: What belongs to the cursor, where the API gave any.
        query: Fingerprint of the query that the cursor belongs to.
        read_at: When the pages before were read.
        is_tracked: True if the non-final rows of the pages before are tracked by id.
        rows_read: How many rows the pages before had. They are refetched if the cursor fails.
    """

    window: TimeWindow
    cursor: str
    iv: str | None
    query: str
    read_at: datetime
    is_tracked: bool = False
    rows_read: int = 0


@dataclass(frozen=True)
class PendingReport:
    """A report that was requested and has not been read.

    Attributes:
        request_id: The API's name for it.
        window: What it covers.
        fingerprint: Fingerprint of the whole request.
        requested_at: When it was requested, on Vonage's clock.
    """

    request_id: str
    window: TimeWindow
    fingerprint: str
    requested_at: datetime


@dataclass(frozen=True)
class PartitionState:
    """The state of a partition, parsed.

    Attributes:
        until: The end of what was read. Someone who sets it back by hand wants to read again from there.
        covered: What was read completely; None where the state names only its end.
        read_at: When each of that was read; None where the state does not say.
        row_filter: Fingerprint of the filters that the coverage belongs to.
        page: Where to resume inside a window.
        reports: Reports that were requested and not read.
        report_limit: How long a report may be; None where none was truncated.
        refused_reports: Windows whose report has a file that cannot be read.
        adopt_after: When the last of the reports was requested that were read or dropped; None where there were none.
        max_page_window: The longest window that did not outlive its cursors; None where none did.
        gaps: The time that was left out because it could not be read.
        tracked: The time whose non-final rows are all in `pending_ids`.
        pending_ids: Ids of rows to look up again, each with the hour of its row.
        volume: How many rows the time read last had; None where the state does not say.
    """

    until: datetime | None
    covered: list[TimeWindow] | None
    read_at: list[datetime | None]
    row_filter: str
    page: PageCursor | None
    reports: list[PendingReport]
    report_limit: ReportLimit | None
    refused_reports: list[RefusedReport]
    adopt_after: datetime | None
    max_page_window: timedelta | None
    gaps: list[TimeWindow]
    tracked: list[TimeWindow]
    pending_ids: dict[str, datetime]
    volume: Volume | None = None
