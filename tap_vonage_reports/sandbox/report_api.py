"""The endpoints for asynchronous reports: create, status, cancel, list and download."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from tap_vonage_reports.sandbox import problems
from tap_vonage_reports.sandbox.answers import GATEWAY_PAGE, CutAnswer, FileAnswer
from tap_vonage_reports.sandbox.archive import MOST_BYTES
from tap_vonage_reports.sandbox.faults import Fault
from tap_vonage_reports.sandbox.problems import InvalidParameter
from tap_vonage_reports.sandbox.query import DEFAULT_WINDOW, moment
from tap_vonage_reports.sandbox.report_file import Makeup
from tap_vonage_reports.sandbox.report_query import ReportQuery, fields, report_query
from tap_vonage_reports.sandbox.reports import Plan, Report, Reports, State
from tap_vonage_reports.sandbox.table import altered_columns, columns
from tap_vonage_reports.sandbox.world import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tap_vonage_reports.sandbox.accounts import Account
    from tap_vonage_reports.sandbox.answers import Cutter
    from tap_vonage_reports.sandbox.callbacks import Callbacks
    from tap_vonage_reports.sandbox.exchange import Exchange, Options
    from tap_vonage_reports.sandbox.faults import Rule
    from tap_vonage_reports.sandbox.query import Rules
    from tap_vonage_reports.sandbox.world import World

REPORTS_PATH = "/v2/reports"
MEDIA_PATH = "/v3/media"

_GIGABYTE = 1_000_000_000
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")

_FORCED: Mapping[Fault, State] = {
    Fault.REPORT_FAILED: State.FAILED,
    Fault.REPORT_ABORTED: State.ABORTED,
    Fault.REPORT_STUCK: State.PENDING,
    Fault.REPORT_PROCESSING_FOR_EVER: State.PROCESSING,
}
"""The state that a report ends in, or never leaves, by fault."""

_MAKEUP: Mapping[Fault, Callable[[float], dict[str, Any]]] = {
    Fault.REPORT_TRUNCATED: lambda value: {"most_rows": int(value)},
    Fault.SPLIT_ARCHIVE: lambda value: {"rows_of_member": max(1, int(value))},
    Fault.ROW_WIDTH: lambda value: {"short_row": int(value)},
    Fault.ZIP_BOMB: lambda value: {"bomb": min(int(value * _GIGABYTE), MOST_BYTES)},
    Fault.CSV_BOM: lambda _: {"mark": True},
    Fault.CSV_CRLF: lambda _: {"line_break": b"\r\n"},
    Fault.CSV_BLANK_LINES: lambda _: {"blank_lines": True},
    Fault.EMPTY_REPORT_BLANK: lambda value: {"blank": b"\n" * int(value)},
    Fault.ZIP_WITHOUT_CSV: lambda _: {"csv": False},
}
"""The changes that each fault makes to a file."""

_ALWAYS_LISTED = frozenset(
    {"product", "account_id", "date_start", "date_end", "request_id", "request_status", "receive_time", "_links"}
)
"""The fields of a report in a list without filters."""

_OTHERS = (Fault.PREFIXED_REQUEST_IDS, Fault.EMPTY_REPORT_WITHOUT_LINK, Fault.HEADER_WITHOUT_ID, Fault.COUNT_WRONG)
"""Other faults that apply when a report is created."""


class ReportApi:
    """The endpoints for reports, on top of a `World`."""

    def __init__(self, world: World, reports: Reports, options: Options, cut: Cutter, callbacks: Callbacks) -> None:
        """Set up the endpoints.

        Args:
            world: The traffic.
            reports: The reports.
            options: What may be changed while it runs.
            cut: Cuts the connection of a request.
            callbacks: Posts the status of final reports.
        """
        self._world, self._reports, self._options, self._cut = world, reports, options, cut
        self._callbacks = callbacks

    def asks_for(self, exchange: Exchange) -> None:
        """Note which report, or file, a request is about."""
        asked = exchange.request.path_params
        found = self._reports.find(asked.get("request_id", "")) or self._reports.find_file(asked.get("file_id", ""))
        if found is not None:
            exchange.report = found.request_id
            exchange.about({name: str(value) for name, value in found.plan.given.items()})

    async def create(self, exchange: Exchange, rules: Rules) -> Response:
        """Take a report on (section 4.1 of the facts)."""
        content = fields(await exchange.request.body())
        if rule := exchange.strike(Fault.CREATE_TOO_MANY_REQUESTS):
            raise problems.rate_limited(rule.pause)
        if exchange.strike(Fault.UNKNOWN_PRODUCT):
            raise problems.unknown_product()
        query = report_query(content, rules)
        exchange.fail_window(query.start, query.end)
        account = self._world.accounts.find(query.account)
        if account is None or exchange.strike(Fault.FORBIDDEN):
            raise problems.forbidden()
        if exchange.strike(Fault.UNPROVISIONED):
            raise problems.unprovisioned()
        if self._reports.unfinished(query.account) >= self._options.max_reports:
            raise problems.too_many_reports()
        report = self._reports.create(self._plan(exchange, query, account))
        exchange.report = report.request_id
        self._callbacks.watch(exchange, report, partial(self._shown, exchange, report))
        if exchange.strike(Fault.CREATE_LOST):
            return CutAnswer(self._cut)
        if exchange.strike(Fault.CREATE_GATEWAY_TIMEOUT):
            return Response(GATEWAY_PAGE, 504, media_type="text/html")
        created = exchange.strike(Fault.CREATED)
        body = self._head(exchange, report, State.PENDING.value)
        if self._world.faults.rule(Fault.RECEIVED_AT):
            del body["receive_time"]
            body |= exchange.received("receive_time", report.received)
        return _json(body, int(created.value) if created else 200)

    async def status(self, exchange: Exchange) -> Response:
        """Return the state of a report (section 4.2 of the facts)."""
        report = self._found(exchange)
        if exchange.strike(Fault.REPORT_VANISHED):
            raise problems.unknown_report(report.request_id)
        await self._reports.poll(report)
        if rule := exchange.strike(Fault.UNKNOWN_REPORT_STATUS):
            return _json(self._head(exchange, report, str(rule.value)))
        elsewhere = exchange.strike(Fault.LINK_ELSEWHERE) if report.linked else None
        return _json(self._shown(exchange, report, str(elsewhere.value) if elsewhere else ""))

    async def cancel(self, exchange: Exchange) -> Response:
        """Abort a report (section 4.5 of the facts)."""
        report = self._found(exchange)
        if report.state.final:
            raise problems.not_abortable(report.state.value)
        self._reports.abort(report)
        return _json(self._shown(exchange, report))

    async def listing(self, exchange: Exchange) -> Response:
        """Return the reports of an account by their states (section 4.6 of the facts; likely still there)."""
        given = exchange.given
        if exchange.strike(Fault.LIST_ABSENT):
            raise problems.not_found()
        if absent := [name for name in ("account_id", "status") if not given.get(name)]:
            raise problems.missing(absent)
        if self._world.accounts.find(given["account_id"]) is None or exchange.strike(Fault.FORBIDDEN):
            raise problems.forbidden()
        states = given["status"].split(",")
        if set(states) - {state.value for state in State}:
            known = ", ".join(state.value for state in State)
            raise problems.unprocessable(InvalidParameter("status", f"Must be a comma-separated list of {known}"))
        now = self._world.now()
        bounds = [moment(given[name]) if given.get(name) else None for name in ("date_from", "date_to")]
        start, end = bounds[0] or now - DEFAULT_WINDOW, bounds[1] or now + timedelta(seconds=1)
        found = [
            self._shown(exchange, report)
            for report in self._reports
            if report.plan.account == given["account_id"]
            and report.state.value in states
            and start <= report.received < end
        ]
        if exchange.strike(Fault.LIST_WITHOUT_FILTERS):
            found = [{name: value for name, value in one.items() if name in _ALWAYS_LISTED} for one in found]
        if exchange.strike(Fault.LIST_ODD):
            return _json({"_embedded": {"reports": found}})
        return _json({"self_link": str(exchange.request.url), "items_count": len(found), "reports": found})

    def _is_ranged(self, exchange: Exchange) -> bool:
        whole = self._world.faults.rule(Fault.DOWNLOAD_CUT_WITHOUT_RANGE)
        return whole is None or not whole.concerns("media", exchange.product, exchange.account)

    async def media(self, exchange: Exchange) -> Response:
        """Return the file of a report (section 4.7 of the facts), or the rest of it."""
        file_id = exchange.request.path_params["file_id"]
        report = self._reports.find_file(file_id)
        built = report.linked if report is not None else None
        if report is None or built is None or exchange.strike(Fault.FILE_VANISHED):
            raise problems.unknown_report(file_id)
        if exchange.strike(Fault.FILE_FORBIDDEN):
            raise problems.forbidden()
        if exchange.strike(Fault.NOT_A_ZIP):
            return Response(GATEWAY_PAGE, 200, media_type="text/html")
        ranged = self._is_ranged(exchange)
        etag = f'"{file_id}"'
        headers = {
            "Content-Disposition": f'attachment; filename="{report.plan.product.name}_{report.request_id}.zip"',
            "ETag": etag,
        }
        asked = exchange.request.headers if ranged else {}
        span = _span(asked.get("Range", ""), built.size) if asked.get("If-Range", etag) == etag else range(built.size)
        if ranged:
            headers["Accept-Ranges"] = "bytes"
        if not span:
            return Response(status_code=416, headers={"Content-Range": f"bytes */{built.size}"})
        is_part = len(span) < built.size
        if is_part:
            headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{built.size}"
        exchange.rows = 0 if span.start else built.rows
        patches: dict[int, bytes] = {}
        if exchange.strike(Fault.BAD_CRC):
            patches |= built.bad_crc
        if exchange.strike(Fault.CORRUPT_ZIP):
            patches |= built.no_end
        answer = FileAnswer(built.path, span, patches=patches, headers=headers, status=206 if is_part else 200)
        if exchange.strike(Fault.DOWNLOAD_CUT) or exchange.strike(Fault.DOWNLOAD_CUT_WITHOUT_RANGE):
            return answer.cut_in_the_middle(self._cut)
        return answer

    def _found(self, exchange: Exchange) -> Report:
        """Return the report that a request is about."""
        report = self._reports.find(exchange.report)
        if report is None:
            raise problems.unknown_report(exchange.request.path_params["request_id"])
        return report

    def _plan(self, exchange: Exchange, query: ReportQuery, account: Account) -> Plan:
        """Return the plan of a report, with the effects of all faults."""
        if query.include_subaccounts and exchange.strike(Fault.SUBACCOUNTS_REFUSED):
            raise problems.forbidden()
        strikes: dict[Fault, Rule] = {}
        for fault in (*_FORCED, *_MAKEUP, *_OTHERS):
            if rule := exchange.strike(fault):
                strikes[fault] = rule
        names, rows = self._table(exchange, query, account, with_id=Fault.HEADER_WITHOUT_ID not in strikes)
        makeup: dict[str, Any] = {}
        for fault, made in _MAKEUP.items():
            if fault in strikes:
                makeup |= made(float(strikes[fault].value or 0))
        wrong = strikes.get(Fault.COUNT_WRONG)
        return Plan(
            product=query.product,
            account=query.account,
            given=query.given,
            columns=names,
            rows=rows,
            makeup=Makeup(**makeup, odd=self._world.is_odd),
            forced=next((state for fault, state in _FORCED.items() if fault in strikes), None),
            prefixed=Fault.PREFIXED_REQUEST_IDS in strikes,
            linked_if_empty=Fault.EMPTY_REPORT_WITHOUT_LINK not in strikes,
            miscounted=int(wrong.value) if wrong else 0,
        )

    def _table(
        self, exchange: Exchange, query: ReportQuery, account: Account, *, with_id: bool
    ) -> tuple[tuple[str, ...], Iterator[list[bytes]]]:
        """Return the columns of a report, and its rows as they are at this moment."""
        accounts = [account]
        is_primary = account == self._world.accounts.primary
        if query.include_subaccounts and is_primary and not exchange.strike(Fault.SUBACCOUNTS_IGNORED):
            accounts = [*self._world.accounts]
        look = self._world.look(
            include_message=query.include_message,
            show_concatenated=query.show_concatenated,
            stream=query.product.stream,
            account=account.key,
            endpoint=exchange.endpoint,
        )
        names = columns(
            query.product,
            query.direction,
            include_message=query.include_message,
            show_concatenated=query.show_concatenated,
        )
        names, left = altered_columns(names, query.product.stream, query.direction, look.alterations)
        names = tuple(name for name in names if with_id or name != "id")
        wanted = Wanted(
            query.product,
            account,
            query.directions,
            replace(look, alterations=left, columns=names),
            query.start,
            query.end,
            query.filters,
            self._world.now(),
        )
        return names, self._world.table([wanted._replace(account=each) for each in accounts])

    def _head(self, exchange: Exchange, report: Report, state: str) -> dict[str, Any]:
        """Return a report as the samples of 2020 show it: without start_time, count and file (confirmed)."""
        short = exchange.strike(Fault.OFFSETS_WITHOUT_COLON) is not None
        dates = {name: _time(str(report.plan.given[name]), short=short) for name in ("date_start", "date_end")}
        return {
            **report.plan.given,
            **dates,
            "request_id": report.request_id,
            "request_status": state,
            "receive_time": _time(report.received.replace(microsecond=0).isoformat(), short=short),
            "_links": {"self": {"href": self._address(exchange, f"{REPORTS_PATH}/{report.request_id}")}},
        }

    def _shown(self, exchange: Exchange, report: Report, elsewhere: str = "") -> dict[str, Any]:
        """Return a report in its present state."""
        body = self._head(exchange, report, report.state.value)
        if report.state is not State.PENDING:
            begun = report.received + timedelta(seconds=self._options.pending_seconds)
            body["start_time"] = begun.isoformat()
        if report.state in {State.SUCCESS, State.TRUNCATED} and report.built is not None:
            body["items_count"] = report.built.rows + report.plan.miscounted
        if report.linked is not None:
            href = self._address(exchange, f"{MEDIA_PATH}/{report.file_id}", elsewhere)
            body["_links"]["download_report"] = {"href": href}
        return body

    @staticmethod
    def _address(exchange: Exchange, path: str, base: str = "") -> str:
        return f"{base or exchange.request.base_url}".rstrip("/") + path


def _json(body: Mapping[str, Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def _time(text: str, *, short: bool) -> str:
    """Return a time in UTC as an answer has it."""
    return text.replace("+00:00", "+0000") if short else text


def _span(text: str, size: int) -> range:
    """Return the bytes that a Range header asks for; all where there is none, or one of another kind."""
    found = _RANGE.fullmatch(text.strip())
    if found is None or found[1] == found[2] == "":
        return range(size)
    if not found[1]:
        return range(max(0, size - int(found[2])), size)
    return range(int(found[1]), min(size, int(found[2] or size) + 1))
