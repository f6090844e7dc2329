"""The API as an ASGI application: its endpoints, and the order in which rules and faults apply to a request."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import OrderedDict
from contextlib import suppress
from datetime import timedelta
from email.utils import format_datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from tap_vonage_reports.sandbox import problems
from tap_vonage_reports.sandbox.account_api import ACCOUNTS_PATH, AccountApi
from tap_vonage_reports.sandbox.answers import (
    GATEWAY_PAGE,
    CutAnswer,
    Cutter,
    FileAnswer,
    HalfAnswer,
    SlowAnswer,
    SlowHead,
    Writer,
    json_bomb,
)
from tap_vonage_reports.sandbox.callbacks import Callbacks
from tap_vonage_reports.sandbox.cursors import CursorCodec, CursorRefusedError
from tap_vonage_reports.sandbox.exchange import Exchange, Options
from tap_vonage_reports.sandbox.faults import Fault, Faults, Rule
from tap_vonage_reports.sandbox.index import page
from tap_vonage_reports.sandbox.journal import Entry, Journal, SlidingSecond
from tap_vonage_reports.sandbox.odd_bytes import as_json
from tap_vonage_reports.sandbox.problems import InvalidParameter, Refusal
from tap_vonage_reports.sandbox.query import Position, Query, Rules, moment, parameters, parsed
from tap_vonage_reports.sandbox.report_api import MEDIA_PATH, REPORTS_PATH, ReportApi
from tap_vonage_reports.sandbox.report_query import fields
from tap_vonage_reports.sandbox.reports import Reports
from tap_vonage_reports.sandbox.world import After, Wanted, World, micros, utc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from datetime import datetime

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from tap_vonage_reports.sandbox.accounts import Account

RECORDS_PATH = "/v2/reports/records"
PRODUCT_PATH = "/v2/reports/sms/records"
"""The path of the links in the specification's examples (likely a slip; it works like the other one)."""

SYNC_LIMIT = 10
"""Synchronous requests in a second (confirmed)."""
ASYNC_LIMIT = 5
"""Requests in a second to the reports' endpoints (confirmed). Downloads do not count (unknown)."""
AT_ONCE = "1"
"""Retry-After of a refusal by the rate limit: a full second brings a full budget."""

_LIMITED = {
    "records": SYNC_LIMIT,
    "report-create": ASYNC_LIMIT,
    "report-status": ASYNC_LIMIT,
    "report-cancel": ASYNC_LIMIT,
    "report-list": ASYNC_LIMIT,
    "media": 0,
}
"""The limit that an endpoint counts against; endpoints with the same one share it, and 0 is none."""

_REMEMBERED_CURSORS = 10_000
_BEHIND_THE_END = 0
"""The number of the empty page to which a cursor of a last page leads."""
_CURSOR_REFUSALS = {"401": problems.unauthorized, "500": problems.internal_error}
"""The rejections of cursors by the fault's value; any other value rejects with 422."""

_GOOD = frozenset({200, 206})
"""The statuses of good answers."""


class Api:
    """The endpoints of the API, on top of a `World`."""

    def __init__(  # noqa: PLR0913 - each one is a documented choice
        self,
        world: World,
        *,
        seed: str,
        cut: Cutter,
        write: Writer,
        options: Options | None = None,
        callback_hosts: Iterable[str] = (),
    ) -> None:
        """Set up the endpoints.

        Args:
            world: The traffic.
            seed: What the keys of cursors are made of.
            cut: Cuts the connection of a request.
            write: Writes to it what no answer of ASGI can.
            options: What may be changed while it runs.
            callback_hosts: Hosts that callbacks may go to besides loopback addresses.
        """
        self.world = world
        self.options = options or Options()
        self.journal = Journal()
        self._cut, self._write = cut, write
        self._cursors = CursorCodec(Position, seed)
        self._recent = {limit: SlidingSecond() for limit in _LIMITED.values()}
        self.reports = Reports(self.options, world.now, self.journal)
        callbacks = Callbacks(self.reports, self.journal, lambda: world.now().isoformat(), callback_hosts)
        self._report_api = ReportApi(world, self.reports, self.options, cut, callbacks)
        account_api = AccountApi(world.accounts)
        self._seen_cursors: OrderedDict[str, None] = OrderedDict()
        endpoints: list[tuple[str, str, str, Callable[[Exchange], Awaitable[Response]]]] = [
            ("records", "GET", RECORDS_PATH, self._records),
            ("records", "GET", "/v2/reports/{product}/records", self._records),
            ("report-create", "POST", REPORTS_PATH, self._create),
            ("report-list", "GET", REPORTS_PATH, self._report_api.listing),
            ("report-status", "GET", REPORTS_PATH + "/{request_id}", self._report_api.status),
            ("report-cancel", "DELETE", REPORTS_PATH + "/{request_id}", self._report_api.cancel),
            ("media", "GET", MEDIA_PATH + "/{file_id}", self._report_api.media),
            ("subaccounts", "GET", ACCOUNTS_PATH, account_api.listing),
            ("subaccount", "GET", ACCOUNTS_PATH + "/{subaccount_key}", account_api.single),
        ]
        self._index = partial(page, world, endpoints=[(method, path) for _, method, path, _ in endpoints])
        self.app = Starlette(
            routes=[
                Route("/", self._home, methods=["GET"]),
                *(Route(path, self._endpoint(name, run), methods=[method]) for name, method, path, run in endpoints),
                Route("/__sandbox/requests", self._requests, methods=["GET", "DELETE"]),
                Route("/__sandbox/summary", self._summary, methods=["GET"]),
            ],
            exception_handlers={HTTPException: self._no_endpoint, Refusal: self._refused},
        )
        self.app.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        await self.app(scope, receive, send)

    @property
    def faults(self) -> Faults:
        """The faults that are switched on."""
        return self.world.faults

    # The way of a request

    def _endpoint(
        self, name: str, handle: Callable[[Exchange], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Wrap an endpoint of the API: note the arrival, apply rules and faults, answer, log."""

        async def endpoint(request: Request) -> Response:
            self.journal.arrived()
            if self.options.latency:
                await asyncio.sleep(self.options.latency)
            started = time.perf_counter()
            exchange = Exchange(request, name, self.faults)
            try:
                answer = await self._guarded(exchange, handle)
            except Refusal as refusal:
                answer = self._problem(refusal, exchange.identifier)
            self._date(exchange, answer)
            answer.headers["X-Request-Id"] = exchange.identifier
            broken = self._broken(exchange, answer)
            self._log(exchange, 0 if isinstance(broken, CutAnswer) else answer.status_code, started)
            return broken

        return endpoint

    async def _guarded(self, exchange: Exchange, handle: Callable[[Exchange], Awaitable[Response]]) -> Response:
        """Return the answer of an endpoint, unless a fault or a rule comes before it."""
        request = exchange.request
        given: Mapping[str, str] = {}
        try:
            given = parameters(request.url.query)
        finally:
            exchange.about(given)
            self._report_api.asks_for(exchange)
            await self._read_body(exchange)
        if exchange.strike(Fault.CUT):
            return CutAnswer(self._cut)
        if rule := exchange.strike(Fault.REDIRECT):
            target = f"{rule.value}{request.url.path}?{request.url.query}"
            return Response(status_code=302, headers={"Location": target})
        if exchange.strike(Fault.SERVER_ERROR):
            raise problems.internal_error()
        if rule := exchange.strike(Fault.UNAVAILABLE):
            pause = rule.pause
            headers = {} if pause is None else {"Retry-After": pause}
            return Response(GATEWAY_PAGE, 503, headers, media_type="text/html")
        if rule := exchange.strike(Fault.GATEWAY_PAGE):
            return Response(GATEWAY_PAGE, int(rule.value), media_type="text/html")
        authorization = request.headers.get("Authorization")
        if not self.world.accounts.opened_by(authorization) or exchange.strike(Fault.REVOKED):
            raise problems.unauthorized()
        if exchange.strike(Fault.LOW_BALANCE):
            raise problems.low_balance()
        if exchange.endpoint in _LIMITED:
            self._limit(exchange, _LIMITED[exchange.endpoint])
        return await handle(exchange)

    def _limit(self, exchange: Exchange, limit: int) -> None:
        """Refuse requests above the limit per second. Refused requests do not count."""
        if rule := exchange.strike(Fault.TOO_MANY_REQUESTS):
            raise problems.rate_limited(rule.pause)
        if limit and self.faults.rule(Fault.NO_RATE_LIMIT) is None:
            recent = self._recent[limit]
            if recent.count() >= limit:
                raise problems.rate_limited(AT_ONCE)
            recent.add()

    def _date(self, exchange: Exchange, answer: Response) -> None:
        """Set the Date header of an answer."""
        if exchange.strike(Fault.NO_DATE_HEADER):
            return
        skew = exchange.strike(Fault.DATE_SKEW)
        now = self.world.now() + timedelta(seconds=float(skew.value) if skew else 0)
        answer.headers["Date"] = format_datetime(now, usegmt=True)

    def _broken(self, exchange: Exchange, answer: Response) -> Response:
        """Return an answer after the faults that break it."""
        if answer.status_code not in _GOOD or isinstance(answer, CutAnswer):
            return answer
        if exchange.strike(Fault.CUT_BODY):
            return (
                answer.cut_in_the_middle(self._cut) if isinstance(answer, FileAnswer) else HalfAnswer(answer, self._cut)
            )
        body = bytes(answer.body)
        for fault, content, media_type in (
            (Fault.NOT_JSON, GATEWAY_PAGE, "text/html"),
            (Fault.JSON_CUT, body[: len(body) // 2], "application/json"),
            (Fault.EMPTY_BODY, b"", "application/json"),
        ):
            if exchange.strike(fault):
                exchange.rows = 0
                return Response(content, 200, _kept_headers(answer), media_type=media_type)
        if bomb := exchange.strike(Fault.JSON_BOMB):
            exchange.rows = 0
            headers = {**_kept_headers(answer), "Content-Encoding": "gzip"}
            return Response(json_bomb(int(float(bomb.value))), 200, headers, media_type="application/json")
        return answer if isinstance(answer, FileAnswer) else self._slowed(exchange, answer)

    def _slowed(self, exchange: Exchange, answer: Response) -> Response:
        """Return an answer after the faults that slow it."""
        if rule := exchange.strike(Fault.SLOW_HEADERS):
            return SlowHead(answer, float(rule.value), self._write, self._cut)
        rule = exchange.strike(Fault.SLOW_BODY)
        return SlowAnswer(answer, float(rule.value)) if rule else answer

    def _log(self, exchange: Exchange, status: int, started: float) -> None:
        request, given = exchange.request, exchange.given
        self.journal.add(
            Entry(
                at=self.world.now().isoformat(),
                method=request.method,
                path=request.url.path,
                endpoint=exchange.endpoint,
                status=status,
                product=given.get("product", ""),
                account=exchange.account,
                direction=given.get("direction", ""),
                date_start=given.get("date_start", ""),
                date_end=given.get("date_end", ""),
                report=exchange.report,
                ids=given["id"].count(",") + 1 if given.get("id") else 0,
                cursor="cursor" in given,
                credentials="Authorization" in request.headers,
                rows=exchange.rows,
                fault=exchange.fault,
                milliseconds=round((time.perf_counter() - started) * 1000, 3),
            )
        )

    @staticmethod
    def _problem(refusal: Refusal, identifier: str) -> Response:
        body = msgspec.json.encode(refusal.body(identifier.replace("-", "")))
        return Response(body, refusal.status, refusal.headers, media_type="application/problem+json")

    async def _refused(self, request: Request, error: Exception) -> Response:  # noqa: ARG002 - Starlette's signature
        """Refuse a request to the sandbox's own endpoints."""
        assert isinstance(error, Refusal)  # noqa: S101 - narrows the type that Starlette leaves open
        return self._problem(error, str(uuid.uuid4()))

    async def _no_endpoint(self, request: Request, error: Exception) -> Response:
        """Refuse a path or a method that the API does not have."""
        assert isinstance(error, HTTPException)  # noqa: S101 - narrows the type that Starlette leaves open
        exchange = Exchange(request, "", self.faults)
        known = error.status_code == 405  # noqa: PLR2004 - Method Not Allowed
        answer = self._problem(problems.method_not_allowed() if known else problems.not_found(), exchange.identifier)
        self._date(exchange, answer)
        answer.headers["X-Request-Id"] = exchange.identifier
        self.journal.arrived()
        self._log(exchange, answer.status_code, time.perf_counter())
        return answer

    # Reports

    @staticmethod
    async def _read_body(exchange: Exchange) -> None:
        """Note the parameters of a report request. The endpoint validates them."""
        if exchange.endpoint == "report-create":
            with suppress(Refusal):
                content = fields(await exchange.request.body())
                exchange.about({name: value for name, value in content.items() if isinstance(value, str)})

    async def _create(self, exchange: Exchange) -> Response:
        return await self._report_api.create(exchange, self._rules())

    # Records

    async def _records(self, exchange: Exchange) -> Response:
        """Records by date or by id (section 3 of the facts)."""
        given, rules = exchange.given, self._rules()
        if exchange.strike(Fault.UNKNOWN_PRODUCT):
            raise problems.unknown_product()
        position = self._position(given, exchange)
        window = (utc(position.start), utc(position.end)) if position else None
        query = parsed(given, rules, window)
        exchange.fail_window(query.start, query.end)
        account = self.world.accounts.find(query.account)
        if account is None or exchange.strike(Fault.FORBIDDEN):
            raise problems.forbidden()
        if exchange.strike(Fault.UNPROVISIONED):
            raise problems.unprovisioned()
        body = (
            self._by_ids(exchange, query, account) if query.ids else self._by_date(exchange, query, account, position)
        )
        return Response(msgspec.json.encode(body), 200, media_type="application/json")

    def _rules(self) -> Rules:
        off = self.faults.rule
        return Rules(
            now=self.world.now(),
            window_limited=off(Fault.NO_WINDOW_LIMIT) is None,
            past_only=off(Fault.FUTURE_ACCEPTED) is None,
            dates_required=off(Fault.DATES_DEFAULTED) is None,
            direction_refused=off(Fault.DIRECTION_IGNORED) is None,
        )

    def _position(self, given: Mapping[str, str], exchange: Exchange) -> Position | None:
        """Return the position that a request's cursor leads to; None without a cursor."""
        if "id" in given or not given.keys() & {"cursor", "iv"}:
            return None
        cursor, iv = given.get("cursor"), given.get("iv")
        if absent := [name for name, value in (("cursor", cursor), ("iv", iv)) if not value]:
            raise problems.missing(absent)
        refused = problems.unprocessable(InvalidParameter("cursor", "The cursor is not valid for this query"))
        if rule := self._cursor_refused(str(cursor), exchange):
            refusal = _CURSOR_REFUSALS.get(str(rule.value))
            raise refusal() if refusal else refused
        try:
            position = self._cursors.decode(str(cursor), str(iv))
        except CursorRefusedError:
            raise refused from None
        rule = self.faults.rule(Fault.CURSOR_EXPIRES)
        if rule and position.page > float(rule.value) and exchange.strike(Fault.CURSOR_EXPIRES):
            raise refused
        return position

    def _cursor_refused(self, cursor: str, exchange: Exchange) -> Rule | None:
        """Return the rule of the fault that rejects cursors, if it hits."""
        rule = self.faults.rule(Fault.CURSOR_REFUSED)
        if rule is None or (rule.value == "once" and cursor in self._seen_cursors):
            return None
        self._seen_cursors[cursor] = None
        if len(self._seen_cursors) > _REMEMBERED_CURSORS:
            self._seen_cursors.popitem(last=False)
        return exchange.strike(Fault.CURSOR_REFUSED)

    def _by_date(self, exchange: Exchange, query: Query, account: Account, position: Position | None) -> dict[str, Any]:
        """Return a page of a window."""
        assert query.start is not None  # noqa: S101 - a query without ids has a window
        assert query.end is not None  # noqa: S101 - likewise
        if position is not None and (position.fingerprint, position.start, position.end) != (
            query.fingerprint,
            micros(query.start),
            micros(query.end),
        ):
            raise problems.unprocessable(InvalidParameter("cursor", "The cursor is not valid for this query"))
        repeated = exchange.strike(Fault.ROWS_REPEATED)
        wanted = self._wanted(query, account)
        after = position.after if position else None
        page = self.world.page(wanted, self.options.page_size, after, int(repeated.value) if repeated else 0)
        rows, number = page.rows, position.page if position else 1

        def leads_to(page_number: int, reached: list[After | None] | None) -> tuple[str, str]:
            """Return the cursor of a page of this window."""
            assert query.start is not None  # noqa: S101 - as above
            assert query.end is not None  # noqa: S101 - as above
            begins = reached or [None] * len(query.directions)
            bounds = micros(query.start), micros(query.end)
            return self._cursors.encode(Position(query.fingerprint, *bounds, page_number, begins))

        following = None if page.after is None else leads_to(number + 1, page.after)
        if position is not None and position.page == _BEHIND_THE_END:
            rows, following = [], None
        success = self.faults.rule(Fault.SUCCESS_WITH_CURSOR)
        if endless := exchange.strike(Fault.ENDLESS_PAGES):
            rows = page.rows if endless.value == "again" else []
            following, success = leads_to(number + 1, after), None
        if query.cursor is not None and exchange.strike(Fault.CURSOR_REPEATED):
            following, success = query.cursor, None
        lost = following is not None and exchange.strike(Fault.CURSOR_MISSING) is not None
        # Not where another fault is about the cursor: nobody could tell from such an answer that there is more.
        success = None if lost or success is None else exchange.strike(Fault.SUCCESS_WITH_CURSOR)
        if success and following is None:
            following = {
                "refused": ("c" * 200, "i" * 22),
                "empty": leads_to(_BEHIND_THE_END, after),
                "again": leads_to(number + 1, after),
            }.get(str(success.value))
        body = self._head(exchange, query, rows, "TRUNCATED" if following and not success else "SUCCESS")
        if following is not None and not lost:
            self._add_next(exchange, query, following, body)
        body["records"] = self._records_of(exchange, rows)
        return body

    def _by_ids(self, exchange: Exchange, query: Query, account: Account) -> dict[str, Any]:
        """Return the rows of up to 20 identifiers, in one answer."""
        if exchange.strike(Fault.IDS_REFUSED):
            raise problems.invalid_filter(["id"])
        missed = exchange.strike(Fault.IDS_NOT_FOUND)
        unseen = query.ids[: int(missed.value)] if missed else ()
        rows, unknown = self.world.by_ids(self._wanted(query, account), query.ids[len(unseen) :])
        unknown[:0] = unseen
        body = self._head(exchange, query, rows, "SUCCESS")
        if unknown:
            body["ids_not_found"] = ",".join(unknown)
        body["records"] = self._records_of(exchange, rows)
        return body

    def _records_of(self, exchange: Exchange, rows: list[bytes]) -> msgspec.Raw:
        """Return the rows of a page after the faults that alter their JSON."""
        if rule := self.faults.rule(Fault.ROWS_NO_OBJECTS):
            rows = [str(rule.value).encode() if exchange.strike(Fault.ROWS_NO_OBJECTS) else row for row in rows]
        content = b"[" + b",".join(rows) + b"]"
        return msgspec.Raw(as_json(content) if self.world.is_odd else content)

    def _wanted(self, query: Query, account: Account) -> Wanted:
        """Return the rows that a query asks for."""
        look = self.world.look(
            include_message=query.include_message,
            show_concatenated=query.show_concatenated,
            stream=query.product.stream,
            account=account.key,
        )
        if query.start is None or query.end is None:
            return Wanted(query.product, account, query.directions, look)
        return Wanted(query.product, account, query.directions, look, query.start, query.end, query.filters)

    def _head(self, exchange: Exchange, query: Query, rows: list[bytes], status: str) -> dict[str, Any]:
        """Return the fields of an answer before its records, with the echo of the query (confirmed, section 3.3)."""
        exchange.rows = len(rows)
        wrong = exchange.strike(Fault.ITEMS_COUNT_WRONG)
        body: dict[str, Any] = {
            "_links": {"self": {"href": self._address(exchange, query.given)}},
            "request_id": exchange.identifier,
            "request_status": status,
            **exchange.received("received_at", self.world.now()),
            "items_count": len(rows) + (int(wrong.value) if wrong else 0),
            "price": 0.0,
            "currency": "EUR",
            "limit": self.options.page_size,
            "include_subaccounts": False,
        }
        body.update(query.given)
        if query.start is not None and query.end is not None:
            body["date_start"], body["date_end"] = _written(query.start), _written(query.end)
        for name in ("include_message", "show_concatenated"):
            if name in query.given:
                body[name] = query.given[name] == "true"
        return body

    def _add_next(self, exchange: Exchange, query: Query, following: tuple[str, str], body: dict[str, Any]) -> None:
        """Add the next link, and the cursor and the iv that it goes with."""
        link = dict(query.given)
        link["cursor"], link["iv"] = following
        if exchange.strike(Fault.NEXT_LINK_WITHOUT_DATES):
            dropped: tuple[str, ...] = ("date_start", "date_end")
        elif exchange.strike(Fault.NEXT_LINK_WITHOUT_IV):
            dropped = ("iv",)
        elif exchange.strike(Fault.NEXT_LINK_BARE):
            dropped = ("date_start", "date_end", "iv")
        else:
            dropped = ()
        elsewhere = exchange.strike(Fault.NEXT_LINK_ELSEWHERE)
        kept = {name: value for name, value in link.items() if name not in dropped}
        body["_links"]["next"] = {"href": self._address(exchange, kept, str(elsewhere.value) if elsewhere else "")}
        if not exchange.strike(Fault.CURSOR_ONLY_IN_LINK):
            body["cursor"], body["iv"] = following

    def _address(self, exchange: Exchange, given: Mapping[str, str], base: str = "") -> str:
        path = RECORDS_PATH if self.faults.rule(Fault.NEXT_LINK_PRODUCT_PATH) is None else PRODUCT_PATH
        return f"{base or str(exchange.request.base_url)}".rstrip("/") + f"{path}?{urlencode(given)}"

    # The sandbox's own endpoints

    async def _home(self, request: Request) -> Response:
        """Return the page for a browser."""
        return Response(self._index(str(request.base_url)), 200, media_type="text/html")

    async def _requests(self, request: Request) -> Response:
        """Return the requests so far; DELETE forgets them."""
        if request.method == "DELETE":
            self.journal.reset()
            return Response(status_code=204)
        return Response(msgspec.json.encode(self.journal.report()), 200, media_type="application/json")

    async def _summary(self, request: Request) -> Response:
        """Return the current number of rows and prices of a window."""
        given = parameters(request.url.query)
        bounds = [moment(given.get(name, "")) for name in ("date_start", "date_end")]
        start, end = bounds
        if start is None or end is None:
            raise problems.missing(["date_start", "date_end"])
        lines = await run_in_threadpool(self.world.summary, start, end)
        body = {
            "at": _written(self.world.now()),
            "date_start": _written(start),
            "date_end": _written(end),
            "lines": lines,
        }
        return Response(msgspec.json.encode(body), 200, media_type="application/json")


def _kept_headers(answer: Response) -> dict[str, str]:
    """Return the headers that an answer keeps when its body is replaced."""
    return {name: answer.headers[name] for name in ("Date", "X-Request-Id") if name in answer.headers}


def _written(at: datetime) -> str:
    """Return a moment as the API writes it."""
    return at.isoformat()
