"""What one partition has read, and where it goes on.

Only this module and `state` know the names of the state's keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import portion

from tap_vonage_reports.intervals import TimeWindow, bounds, spans, windows_of
from tap_vonage_reports.state.format import (
    COVERED,
    OPEN,
    PAGE,
    QUERY,
    READ_AT,
    REPLICATION_KEY,
    REPLICATION_VALUE,
    REPORT_HOURS,
    REPORTS,
    SDK_MARKERS,
    TRACKED,
    read_partition,
)
from tap_vonage_reports.timestamps import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from tap_vonage_reports.state.format import PageCursor, PendingReport


class Bookmark:
    """What one partition has read, kept in its Singer state.

    The state's own dictionary is changed in place, in one step for each event, so that it can be
    written at any moment and is never ahead of the records.
    """

    def __init__(
        self, state: dict[str, Any], *, stream: str, replication_key: str, query: str, since: datetime
    ) -> None:
        """Read the state of a partition.

        Args:
            state: The partition's state, which is changed in place from here on.
            stream: The stream's name, for messages.
            replication_key: The stream's replication key.
            query: Fingerprint of what decides which rows the partition has (its filters). Coverage of
                another query counts for nothing.
            since: From when on a bare `replication_key_value` counts as read.

        Raises:
            StateError: The state is not of a known shape.
        """
        self._state = state
        self._key = replication_key
        self._query = query
        said = read_partition(state, stream)
        covered, until = said.covered, said.until
        if covered is None:
            covered = [TimeWindow(since, until)] if until and until > since else []
        self.covered: portion.Interval = spans(covered)
        self.read_at = {part.end: time for part, time in zip(covered, said.read_at, strict=False) if time}
        """When the parts of `covered` were read, by their ends; the others were read as they happened."""
        self.tracked: portion.Interval = spans(said.tracked) & self.covered
        """The part of `covered` whose rows that are not final are all in `open`."""
        self.open = said.open
        """Ids of rows to look up again, each with the hour of its row."""
        if until:
            self._shrink(self.covered & portion.closedopen(-portion.inf, until))
        self.page = said.page
        self.reports = said.reports
        self.started = bool(self.covered or self.page or self.reports)
        """Whether the API has ever served the partition, in this run or an earlier one."""
        self.other_query = bool(self.covered) and state.get(QUERY, "") != query
        if self.other_query:
            self.forget()
        for marker in SDK_MARKERS:
            state.pop(marker, None)

    def forget(self) -> None:
        """Count nothing as read: the next plan starts over."""
        self.covered = spans(())
        self.read_at = {}
        self.page = None
        self.stop_tracking()
        for key in (COVERED, REPLICATION_VALUE, READ_AT, PAGE, QUERY, TRACKED, OPEN):
            self._state.pop(key, None)

    def clip(self, end: datetime) -> bool:
        """Drop what lies at or after `end`, which cannot have been read yet; whether there was any."""
        kept = self.covered & portion.closedopen(-portion.inf, end)
        changed = bool(kept != self.covered)
        self._shrink(kept)
        self.read_at = {part: min(time, end) for part, time in self.read_at.items()}
        return changed

    def reopen(self, time: portion.Interval) -> None:
        """Count some of what was read as not read, because it is to be read again; the state says so from `cover` on.

        Else a run that ends before its time would leave behind what nobody can tell from what it has read again.
        """
        self._shrink(self.covered - time)

    def stop_tracking(self) -> None:
        """Keep no rows by id any more; the state says so from `cover` on."""
        self.tracked = spans(())
        self.open = {}

    def _shrink(self, covered: portion.Interval) -> None:
        """Count no more than that as read. What is left of a part was read when the part was."""
        whole, self.covered = list(windows_of(self.covered)), covered
        self.tracked &= covered
        self.read_at = {
            part.end: self.read_at.get(of.end, of.end)
            for part in windows_of(covered)
            for of in whole
            if of.start <= part.start < of.end
        }

    def begin(self) -> None:
        """Tell the SDK that progress is kept, so that it does not warn that it is not."""
        self._state[SDK_MARKERS[0]] = {}

    def turn_page(self, page: PageCursor) -> None:
        """Note that the records before `page` are out."""
        self.started = True
        self.page = page
        self._state[PAGE] = {
            "date_start": format_timestamp(page.window.start),
            "date_end": format_timestamp(page.window.end),
            "cursor": page.cursor,
            **({"iv": page.iv} if page.iv else {}),
            QUERY: page.query,
            READ_AT: format_timestamp(page.read_at),
            **({TRACKED: True} if page.tracked else {}),
        }

    def keep_open(self, ids: Mapping[str, datetime]) -> None:
        """Keep rows by id, to be looked up again; to be noted before `turn_page` or `cover` moves over them.

        Args:
            ids: Ids, each with the hour of its row.
        """
        fresh = {name: hour for name, hour in ids.items() if self.open.get(name) != hour}
        hours = {self.open[name] for name in fresh if name in self.open}
        self.open.update(fresh)
        self._write_open(hours.union(fresh.values()))

    def settle(self, ids: Iterable[str]) -> None:
        """Keep rows no more: they are final, and out."""
        self._write_open({self.open.pop(name) for name in ids if name in self.open})

    def _write_open(self, hours: set[datetime]) -> None:
        """Write the ids of some hours to the state, in one step for each hour."""
        if not hours:
            return
        kept: dict[datetime, list[str]] = {hour: [] for hour in hours}
        for name, hour in self.open.items():
            if hour in kept:
                kept[hour].append(name)
        written = self._state.setdefault(OPEN, {})
        for hour, names in kept.items():
            if names:
                written[format_timestamp(hour)] = names
            else:
                written.pop(format_timestamp(hour), None)
        if not written:
            del self._state[OPEN]

    def cover(self, window: TimeWindow, read_at: datetime, *, tracked: bool = False) -> None:
        """Note that all records of `window` are out.

        Args:
            window: What was read completely.
            read_at: The end of "now" when it was read: rows before this less the lookback are final.
            tracked: Whether all of them that are not final were kept by `keep_open`.
        """
        self.started = True
        self.covered |= spans([window])
        self.tracked = self.tracked | spans([window]) if tracked else self.tracked - spans([window])
        ends = [part.end for part in windows_of(self.covered)]
        if not ends:
            return
        self.read_at = {end: time for end, time in {**self.read_at, window.end: read_at}.items() if end in ends}
        changes: dict[str, Any] = {
            REPLICATION_KEY: self._key,
            REPLICATION_VALUE: format_timestamp(ends[-1]),
            COVERED: bounds(self.covered),
            **({QUERY: self._query} if self._query else {}),
        }
        times = [format_timestamp(self.read_at[end]) if end in self.read_at else None for end in ends]
        if any(times[:-1]):
            changes[READ_AT] = times
        elif times[-1]:
            changes[READ_AT] = times[-1]
        else:
            self._state.pop(READ_AT, None)
        if self.tracked.empty:
            self._state.pop(TRACKED, None)
        else:
            changes[TRACKED] = bounds(self.tracked)
        if not self.open:
            self._state.pop(OPEN, None)
        if self.page and self.page.window.start == window.start:
            self.page = None
            self._state.pop(PAGE, None)
        self._state.update(changes)

    @property
    def report_hours(self) -> float | None:
        """The longest window whose report was not cut short, in hours, where one has been."""
        hours = self._state.get(REPORT_HOURS)
        return None if hours is None else float(hours)

    @report_hours.setter
    def report_hours(self, hours: float) -> None:
        self._state[REPORT_HOURS] = hours

    def remember_report(self, report: PendingReport) -> None:
        """Note that a report was asked for; to be written before it is waited for."""
        self.started = True
        self._set_reports([*self.reports, report])

    def forget_report(self, request_id: str) -> None:
        """Note that a report was read, or is of no use any more."""
        self._set_reports([report for report in self.reports if report.request_id != request_id])

    def _set_reports(self, reports: list[PendingReport]) -> None:
        self.reports = reports
        if not reports:
            self._state.pop(REPORTS, None)
            return
        self._state[REPORTS] = [
            {
                "request_id": report.request_id,
                "date_start": format_timestamp(report.window.start),
                "date_end": format_timestamp(report.window.end),
                "fingerprint": report.fingerprint,
                "requested_at": format_timestamp(report.requested_at),
            }
            for report in reports
        ]

    def drop_page(self) -> None:
        """Forget the open page: its window is read from its first page, or not at all."""
        self.page = None
        self._state.pop(PAGE, None)

    def tidy(self) -> None:
        """Take out what only the SDK needs while records flow."""
        for marker in SDK_MARKERS:
            self._state.pop(marker, None)
