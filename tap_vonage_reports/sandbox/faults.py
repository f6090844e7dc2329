"""Faults of the sandbox: behaviors of the API that nobody could confirm, and everything that goes wrong in practice.

Every fault is deterministic, and off until it is switched on. `every`, `first` and `after` say which of the eligible
requests it hits, so that a client's retries can succeed:

>>> faults = Faults()
>>> faults.on(Fault.SERVER_ERROR, every=3)
>>> faults.on("429", value=2, first=5)
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from tap_vonage_reports.products import PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping


class Fault(str, Enum):
    """The faults by name; the value is the name on the command line."""

    NEXT_LINK_WITHOUT_DATES = "next-link-without-dates"
    NEXT_LINK_WITHOUT_IV = "next-link-without-iv"
    NEXT_LINK_BARE = "next-link-bare"
    NEXT_LINK_ELSEWHERE = "next-link-elsewhere"
    NEXT_LINK_PRODUCT_PATH = "next-link-product-path"
    CURSOR_ONLY_IN_LINK = "cursor-only-in-link"
    CURSOR_MISSING = "cursor-missing"
    CURSOR_REPEATED = "cursor-repeated"
    CURSOR_REFUSED = "cursor-refused"
    SUCCESS_WITH_CURSOR = "success-with-cursor"
    ENDLESS_PAGES = "endless-pages"
    CURSOR_EXPIRES = "cursor-expires"
    ROWS_REPEATED = "rows-repeated"
    ROWS_SHUFFLED = "rows-shuffled"
    LATE_ROWS = "late-rows"
    NO_CHANGES = "no-changes"
    ITEMS_COUNT_WRONG = "items-count-wrong"
    IDS_NOT_FOUND = "ids-not-found"
    IDS_REFUSED = "ids-refused"

    NO_WINDOW_LIMIT = "no-window-limit"
    FUTURE_ACCEPTED = "future-accepted"
    DATES_DEFAULTED = "dates-defaulted"
    DIRECTION_IGNORED = "direction-ignored"
    CURRENCY_BLANK = "currency-blank"
    NO_RATE_LIMIT = "no-rate-limit"
    CLOCK_SKEW = "clock-skew"
    NO_DATE_HEADER = "no-date-header"
    DATE_SKEW = "date-skew"
    RECEIVED_AT = "received-at"

    TOO_MANY_REQUESTS = "429"
    SERVER_ERROR = "500"
    WINDOW_FAILED = "window-failed"
    UNAVAILABLE = "503"
    GATEWAY_PAGE = "gateway-page"
    CUT = "cut"
    CUT_BODY = "cut-body"
    NOT_JSON = "not-json"
    JSON_CUT = "json-cut"
    EMPTY_BODY = "empty-body"
    JSON_BOMB = "json-bomb"
    SLOW_BODY = "slow-body"
    SLOW_HEADERS = "slow-headers"
    REDIRECT = "redirect"

    REPORT_TRUNCATED = "report-truncated"
    REPORT_FAILED = "report-failed"
    REPORT_ABORTED = "report-aborted"
    REPORT_STUCK = "report-stuck"
    REPORT_PROCESSING_FOR_EVER = "report-processing-for-ever"
    REPORT_VANISHED = "report-vanished"
    UNKNOWN_REPORT_STATUS = "unknown-report-status"
    PREFIXED_REQUEST_IDS = "prefixed-request-ids"
    COUNT_WRONG = "count-wrong"
    EMPTY_REPORT_WITHOUT_LINK = "empty-report-without-link"
    EMPTY_REPORT_BLANK = "empty-report-blank"
    LINK_ELSEWHERE = "link-elsewhere"
    CREATE_TOO_MANY_REQUESTS = "create-429"
    CREATE_LOST = "create-lost"
    CREATED = "created"
    CREATE_GATEWAY_TIMEOUT = "create-504"
    CALLBACK_LOST = "callback-lost"
    CALLBACK_TWICE = "callback-twice"
    CALLBACK_CUT = "callback-cut"

    SUBACCOUNTS_REFUSED = "subaccounts-refused"
    SUBACCOUNTS_IGNORED = "subaccounts-ignored"
    SUBACCOUNTS_UNLISTED = "subaccounts-unlisted"

    LIST_ABSENT = "list-absent"
    LIST_ODD = "list-odd"
    LIST_WITHOUT_FILTERS = "list-without-filters"
    OFFSETS_WITHOUT_COLON = "offsets-without-colon"

    FILE_VANISHED = "file-vanished"
    FILE_FORBIDDEN = "file-forbidden"
    DOWNLOAD_CUT = "download-cut"
    DOWNLOAD_CUT_WITHOUT_RANGE = "download-cut-without-range"
    BAD_CRC = "bad-crc"
    CORRUPT_ZIP = "corrupt-zip"
    NOT_A_ZIP = "not-a-zip"
    ZIP_WITHOUT_CSV = "zip-without-csv"
    ZIP_BOMB = "zip-bomb"
    SPLIT_ARCHIVE = "split-archive"
    ROW_WIDTH = "row-width"
    HEADER_WITHOUT_ID = "header-without-id"
    CSV_CRLF = "csv-crlf"
    CSV_BOM = "csv-bom"
    CSV_BLANK_LINES = "csv-blank-lines"

    REVOKED = "revoked"
    UNPROVISIONED = "unprovisioned"
    FORBIDDEN = "forbidden"
    LOW_BALANCE = "low-balance"
    UNKNOWN_PRODUCT = "unknown-product"

    EXTRA_COLUMNS = "extra-columns"
    MOVED_COLUMNS = "moved-columns"
    MISSING_COLUMNS = "missing-columns"
    ODD_COLUMNS = "odd-columns"
    PARAMS_AS_TEXT = "params-as-text"
    UNFIT_VALUES = "unfit-values"
    ODD_TEXT = "odd-text"
    NUL_IN_TEXT = "nul-in-text"
    LONG_NUMBER = "long-number"
    LONG_CELL = "long-cell"
    ROWS_WITHOUT_ID = "rows-without-id"
    ROWS_NO_OBJECTS = "rows-no-objects"
    REDACTED = "redacted"


class About(NamedTuple):
    """The effect of a fault, in words, and its default value."""

    text: str
    value: str | float = ""

    @property
    def description(self) -> str:
        """The effect, with the default value if there is one."""
        return f"{self.text} (default: {self.value})" if self.value != "" else self.text


ELSEWHERE = "http://elsewhere.invalid"

ABOUT: Mapping[Fault, About] = {
    Fault.NEXT_LINK_WITHOUT_DATES: About("the next link lacks date_start and date_end (seen in production)"),
    Fault.NEXT_LINK_WITHOUT_IV: About("the next link lacks the iv"),
    Fault.NEXT_LINK_BARE: About("the next link lacks the dates and the iv (as in the official samples)"),
    Fault.NEXT_LINK_ELSEWHERE: About("the next link points to the host VALUE", ELSEWHERE),
    Fault.NEXT_LINK_PRODUCT_PATH: About("links have the path /v2/reports/sms/records (as in the specification)"),
    Fault.CURSOR_ONLY_IN_LINK: About("cursor and iv are only in the next link"),
    Fault.CURSOR_MISSING: About("pages are TRUNCATED but have no cursor and no next link"),
    Fault.CURSOR_REPEATED: About("every page returns the cursor that led to it"),
    Fault.CURSOR_REFUSED: About(
        "cursors are rejected with 422; with VALUE `once`, each cursor is rejected only once; with 401 or 500, the "
        "status is that one"
    ),
    Fault.SUCCESS_WITH_CURSOR: About(
        "every page says SUCCESS, even if there is a next one (as in the reference's sample); with a VALUE, the last "
        "page also has a cursor, which is rejected (`refused`), leads to an empty page (`empty`) or to the same page "
        "(`again`)"
    ),
    Fault.ENDLESS_PAGES: About(
        "every page is TRUNCATED and empty, and its cursor, a new one each time, leads back to the start of the page; "
        "with VALUE `again`, the page has its rows"
    ),
    Fault.CURSOR_EXPIRES: About("cursors are rejected after VALUE pages of a window", 4),
    Fault.ROWS_REPEATED: About("a page begins with the last VALUE rows of the previous page", 3),
    Fault.ROWS_SHUFFLED: About("the rows of a window are in no particular order"),
    Fault.LATE_ROWS: About("some rows are listed up to hours late, not only calls after their end"),
    Fault.NO_CHANGES: About("every row is final, and listed immediately"),
    Fault.ITEMS_COUNT_WRONG: About("items_count is too high by VALUE", 1),
    Fault.IDS_NOT_FOUND: About("a query by ID misses VALUE rows that exist", 1),
    Fault.IDS_REFUSED: About("queries by ID are rejected with 422"),
    Fault.NO_WINDOW_LIMIT: About("a synchronous window may be longer than 24 hours"),
    Fault.FUTURE_ACCEPTED: About("date_start and date_end may be in the future"),
    Fault.DATES_DEFAULTED: About("without dates, a query returns the last seven days"),
    Fault.DIRECTION_IGNORED: About("the parameter direction is ignored for products without directions"),
    Fault.CURRENCY_BLANK: About("rows of SMS, VERIFY-API and NUMBER-INSIGHT have no currency (as documented)"),
    Fault.NO_RATE_LIMIT: About("there is no limit of ten requests per second (five for reports)"),
    Fault.CLOCK_SKEW: About("the API's clock is off by VALUE seconds", -120),
    Fault.NO_DATE_HEADER: About("answers have no Date header"),
    Fault.DATE_SKEW: About("only the Date header is off, by VALUE seconds", 86400),
    Fault.RECEIVED_AT: About(
        "received_at, and receive_time of a new report, are off by VALUE seconds; `none` omits them, and any other "
        "text replaces them",
        "86400",
    ),
    Fault.TOO_MANY_REQUESTS: About("429 with Retry-After: VALUE seconds; `none` omits the header", 1),
    Fault.SERVER_ERROR: About("500 with a problem body"),
    Fault.WINDOW_FAILED: About(
        "500 for records and reports of each window that overlaps the hour from VALUE on", "2026-11-19T05:00"
    ),
    Fault.UNAVAILABLE: About(
        "503 with a gateway's HTML page and Retry-After: VALUE seconds; `none` omits the header", "none"
    ),
    Fault.GATEWAY_PAGE: About("status VALUE with a gateway's HTML page", 403),
    Fault.CUT: About("the connection is cut before the first byte"),
    Fault.CUT_BODY: About("the connection is cut in the middle of the body"),
    Fault.NOT_JSON: About("200 with a gateway's HTML page"),
    Fault.JSON_CUT: About("200 with half of the JSON, and a Content-Length that matches the half"),
    Fault.EMPTY_BODY: About("200 with an empty body"),
    Fault.JSON_BOMB: About("200 with a compressed page of VALUE empty lists", 10_000_000),
    Fault.SLOW_BODY: About("the body arrives in eight pieces with pauses of VALUE seconds", 0.25),
    Fault.SLOW_HEADERS: About("the headers arrive byte by byte, with a pause of VALUE seconds after each", 0.5),
    Fault.REDIRECT: About("302 to the host VALUE", ELSEWHERE),
    Fault.REPORT_TRUNCATED: About("a new report keeps only its newest VALUE rows and ends as TRUNCATED", 1000),
    Fault.REPORT_FAILED: About("a new report ends as FAILED"),
    Fault.REPORT_ABORTED: About("a new report ends as ABORTED"),
    Fault.REPORT_STUCK: About("a new report stays PENDING forever"),
    Fault.REPORT_PROCESSING_FOR_EVER: About("a new report stays PROCESSING forever"),
    Fault.REPORT_VANISHED: About("404 for the status of a report"),
    Fault.UNKNOWN_REPORT_STATUS: About("a report has the undocumented status VALUE", "QUEUED"),
    Fault.PREFIXED_REQUEST_IDS: About("a new report has an ID with a prefix (seen in 2020)"),
    Fault.COUNT_WRONG: About("items_count of a new report is too high by VALUE", 1),
    Fault.EMPTY_REPORT_WITHOUT_LINK: About("a new report without rows has no file"),
    Fault.EMPTY_REPORT_BLANK: About(
        "the CSV file of a new report without rows has no header, only VALUE line breaks", 0
    ),
    Fault.LINK_ELSEWHERE: About("the download link points to the host VALUE", ELSEWHERE),
    Fault.CREATE_TOO_MANY_REQUESTS: About(
        "429 for a request of a report, with Retry-After: VALUE seconds; `none` omits the header", 1
    ),
    Fault.CREATE_LOST: About("a report is created, but the connection is cut before the answer"),
    Fault.CREATED: About("a new report is answered with status VALUE instead of 200", 201),
    Fault.CREATE_GATEWAY_TIMEOUT: About("a report is created, but the answer is 504 with a gateway's HTML page"),
    Fault.CALLBACK_LOST: About("the callback of a new report never comes"),
    Fault.CALLBACK_TWICE: About("the callback of a new report comes twice"),
    Fault.CALLBACK_CUT: About("the connection is cut in the middle of the callback of a new report"),
    Fault.SUBACCOUNTS_REFUSED: About("403 for a report with include_subaccounts (seen by one user)"),
    Fault.SUBACCOUNTS_IGNORED: About("a new report with include_subaccounts has only the primary account's rows"),
    Fault.SUBACCOUNTS_UNLISTED: About("the list of sub-accounts lacks the last VALUE", 1),
    Fault.LIST_ABSENT: About("404 for the list of reports (the newest specification does not name it)"),
    Fault.LIST_ODD: About("the list of reports has an undocumented form"),
    Fault.LIST_WITHOUT_FILTERS: About("the list of reports gives only product, account and dates of each report"),
    Fault.OFFSETS_WITHOUT_COLON: About("dates of reports end in +0000 (seen in 2022)"),
    Fault.FILE_VANISHED: About("404 for the file of a report"),
    Fault.FILE_FORBIDDEN: About("403 for the file of a report"),
    Fault.DOWNLOAD_CUT: About("the connection is cut halfway through the rest of the file"),
    Fault.DOWNLOAD_CUT_WITHOUT_RANGE: About("the same, and a download cannot be resumed"),
    Fault.BAD_CRC: About("a downloaded file has a wrong CRC"),
    Fault.CORRUPT_ZIP: About("a downloaded file is not an archive"),
    Fault.NOT_A_ZIP: About("200 with a gateway's HTML page instead of a report's file"),
    Fault.ZIP_WITHOUT_CSV: About("the archive of a new report contains no CSV file"),
    Fault.ZIP_BOMB: About("the CSV file of a new report is one cell of VALUE gigabytes, up to 4", 2),
    Fault.SPLIT_ARCHIVE: About("the archive of a new report contains several CSV files of VALUE rows each", 100),
    Fault.ROW_WIDTH: About("row VALUE (counted from 1) of a new report lacks a cell", 1),
    Fault.HEADER_WITHOUT_ID: About("a new report has no column id"),
    Fault.CSV_CRLF: About("the lines of a new report end in CR LF"),
    Fault.CSV_BOM: About("the CSV file of a new report begins with a byte order mark"),
    Fault.CSV_BLANK_LINES: About("a blank line follows each row of a new report"),
    Fault.REVOKED: About("the credentials are rejected"),
    Fault.UNPROVISIONED: About("401: the account is not provisioned for the product"),
    Fault.FORBIDDEN: About(
        "403: not authorized to query the data; with endpoint=subaccounts, the Subaccounts API is not enabled"
    ),
    Fault.LOW_BALANCE: About("403: the account's balance is too low"),
    Fault.UNKNOWN_PRODUCT: About("422: the product's name could not be resolved"),
    Fault.EXTRA_COLUMNS: About("rows have undocumented columns"),
    Fault.MOVED_COLUMNS: About("columns are in a different order"),
    Fault.MISSING_COLUMNS: About("one column in three is missing"),
    Fault.ODD_COLUMNS: About(
        "each row has columns of every JSON type, and one named VALUE, like a phone number", "447700900123"
    ),
    Fault.PARAMS_AS_TEXT: About(
        "request_params of REPORTS-USAGE is text that is not JSON, and is_charged is lower case (seen in production)"
    ),
    Fault.UNFIT_VALUES: About("numbers, dates and booleans contain other text"),
    Fault.ODD_TEXT: About(
        "a text ends in something that cannot be decoded: `half-pair` (of surrogates) or `byte` (not UTF-8)",
        "half-pair",
    ),
    Fault.NUL_IN_TEXT: About("a text contains U+0000"),
    Fault.LONG_NUMBER: About("a number has 4,400 digits"),
    Fault.LONG_CELL: About("a text has VALUE characters", 200_000),
    Fault.ROWS_WITHOUT_ID: About("the id of a row is `empty`, `null` or `absent`", "empty"),
    Fault.ROWS_NO_OBJECTS: About("the rows of a page are not objects but the JSON VALUE", "null"),
    Fault.REDACTED: About("message bodies and handset numbers are replaced by VALUE", "REDACTED"),
}

GROUPS: Mapping[Fault, str] = {
    Fault.NEXT_LINK_WITHOUT_DATES: "pages",
    Fault.NO_WINDOW_LIMIT: "rules and clocks",
    Fault.TOO_MANY_REQUESTS: "broken answers",
    Fault.REPORT_TRUNCATED: "reports (a new one is one created while the fault is on)",
    Fault.SUBACCOUNTS_REFUSED: "sub-accounts",
    Fault.LIST_ABSENT: "list of reports",
    Fault.FILE_VANISHED: "files of reports",
    Fault.REVOKED: "refusals",
    Fault.EXTRA_COLUMNS: "contents of rows",
}
"""The groups of `ABOUT`: the title of a group, by its first fault."""


@dataclass(frozen=True)
class Rule:
    """The rule by which a fault hits requests.

    Attributes:
        value: The fault's value (see `ABOUT`).
        every: Hits every n-th eligible request (or row, for faults of rows).
        first: Stops after this many hits; None for never.
        after: Spares this many eligible requests at first.
        products: Hits these products only, by stream name; empty for all.
        accounts: Hits these accounts only; empty for all.
        endpoints: Hits these endpoints only (see `journal.Entry.endpoint`); empty for all.
    """

    value: str | float = ""
    every: int = 1
    first: int | None = None
    after: int = 0
    products: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()
    endpoints: frozenset[str] = frozenset()

    @property
    def pause(self) -> str | None:
        """The seconds for Retry-After; None if the fault omits the header."""
        return None if self.value == "none" else f"{float(self.value):g}"

    def concerns(self, endpoint: str, product: str, account: str) -> bool:
        """Return True if a request is eligible."""
        return (
            (not self.products or product in self.products)
            and (not self.accounts or account in self.accounts)
            and (not self.endpoints or endpoint in self.endpoints)
        )


def _streams(names: Iterable[str]) -> frozenset[str]:
    """Products by either of their names, as stream names.

    Raises:
        ValueError: If a product is unknown.
    """
    streams = frozenset(name.lower().replace("-", "_") for name in names)
    if unknown := streams - PRODUCTS.keys():
        message = f"Unknown product: {', '.join(sorted(unknown))}; known are {', '.join(PRODUCTS)}"
        raise ValueError(message)
    return streams


class Faults:
    """The faults that are switched on. They can change while the sandbox runs, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: dict[Fault, Rule] = {}
        self._seen: dict[Fault, int] = {}
        self._hits: dict[Fault, int] = {}

    def on(  # noqa: PLR0913 - each one is a documented choice with a default
        self,
        fault: Fault | str,
        value: str | float | None = None,
        *,
        every: int = 1,
        first: int | None = None,
        after: int = 0,
        products: Iterable[str] = (),
        accounts: Iterable[str] = (),
        endpoints: Iterable[str] = (),
    ) -> None:
        """Switch a fault on, or change its rule.

        Args:
            fault: The fault, or its name.
            value: Its value; each fault says what it means and what it is unless given.
            every: Hit every n-th eligible request (row, for faults of rows).
            first: Stop after this many hits.
            after: Spare this many eligible requests at first.
            products: Hit these products only, by either name.
            accounts: Hit these accounts only.
            endpoints: Hit these endpoints only: ``records``, ``report-create``, ``report-status``,
                ``report-cancel``, ``report-list``, ``media``, ``subaccounts``, ``subaccount``.

        Raises:
            ValueError: If the fault, a product or a number is invalid.
        """
        fault = named(fault)
        if every < 1 or after < 0 or (first is not None and first < 0):
            message = f"{fault.value}: every must be at least 1, first and after at least 0"
            raise ValueError(message)
        rule = Rule(
            value=_fitting(fault, value),
            every=every,
            first=first,
            after=after,
            products=_streams(products),
            accounts=frozenset(accounts),
            endpoints=frozenset(endpoints),
        )
        with self._lock:
            self._rules[fault] = rule
            self._seen[fault] = self._hits[fault] = 0

    def off(self, fault: Fault | str) -> None:
        """Switch a fault off."""
        with self._lock:
            self._rules.pop(named(fault), None)

    def clear(self) -> None:
        """Switch all faults off."""
        with self._lock:
            self._rules.clear()

    @contextmanager
    def during(self, fault: Fault | str, value: str | float | None = None, *, every: int = 1) -> Generator[None]:
        """Switch a fault on for the length of a `with` block."""
        self.on(fault, value, every=every)
        try:
            yield
        finally:
            self.off(fault)

    def rule(self, fault: Fault) -> Rule | None:
        """Return a fault's rule; None if it is off."""
        with self._lock:
            return self._rules.get(fault)

    def hits(self, fault: Fault) -> int:
        """Return how many requests a fault has hit since it was switched on."""
        with self._lock:
            return self._hits.get(fault, 0)

    def strike(self, fault: Fault, endpoint: str = "", product: str = "", account: str = "") -> Rule | None:
        """Decide whether a fault hits the current request, and count the request.

        Args:
            fault: The fault.
            endpoint: The endpoint that was called.
            product: The stream name of the product that was asked for, if any.
            account: The account that was asked for, if any.

        Returns:
            The fault's rule if it hits; None otherwise.
        """
        with self._lock:
            rule = self._rules.get(fault)
            if rule is None or not rule.concerns(endpoint, product, account):
                return None
            self._seen[fault] += 1
            number = self._seen[fault] - rule.after
            if number < 1 or number % rule.every or (rule.first is not None and self._hits[fault] >= rule.first):
                return None
            self._hits[fault] += 1
            return rule

    def on_text(self, text: str, *, every: int = 1, first: int | None = None) -> None:
        """Switch a fault on by its text from the command line.

        Args:
            text: ``NAME``, ``NAME=VALUE``, and after commas ``every=N``, ``first=N``, ``after=N``,
                ``product=NAME``, ``account=KEY``, ``endpoint=NAME``; the last three may be repeated.
            every: `every` where the text does not say it.
            first: `first` where the text does not say it.

        Raises:
            ValueError: If the text is invalid.
        """
        head, *options = text.split(",")
        name, separator, value = head.partition("=")
        numbers: dict[str, int] = {}
        lists: dict[str, list[str]] = {"product": [], "account": [], "endpoint": []}
        for option in options:
            key, _, given = option.partition("=")
            if key in lists:
                lists[key].append(given)
            elif key in {"every", "first", "after"} and given.isdecimal():
                numbers[key] = int(given)
            else:
                known = "every=N, first=N, after=N, product=NAME, account=KEY, endpoint=NAME"
                message = f"{text}: cannot read {option!r}; known are {known}"
                raise ValueError(message)
        self.on(
            name,
            value if separator else None,
            every=numbers.get("every", every),
            first=numbers.get("first", first),
            after=numbers.get("after", 0),
            products=lists["product"],
            accounts=lists["account"],
            endpoints=lists["endpoint"],
        )


def named(fault: Fault | str) -> Fault:
    """Return a fault by its name.

    Raises:
        ValueError: If there is none.
    """
    try:
        return Fault(fault)
    except ValueError:
        message = f"Unknown fault: {fault}; known are {', '.join(fault.value for fault in Fault)}"
        raise ValueError(message) from None


def _fitting(fault: Fault, value: str | float | None) -> str | float:
    """Convert a value to the type that the fault takes.

    Raises:
        ValueError: If the value should be a number but is not.
    """
    default = ABOUT[fault].value
    if value is None:
        return default
    if isinstance(default, str) or value == "none":
        return value
    try:
        return float(value)
    except ValueError:
        message = f"{fault.value} takes a number: {value}"
        raise ValueError(message) from None
