"""What a seed stands for: a sandbox with its quirks, settings of the tap, and runs that are disturbed in all ways."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox import Daily, Fault

NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
SUBACCOUNT = "sub0a1b2"
SALT = "a long and random salt"
SECRETS = ('p@ss w:"ord/\\é+=%41', "s3cr3t-s3cr3t", "Ωmega&key=1;x", "a'b\"c\\d e")

QUIRKS: dict[Fault, tuple[str | float | None, ...]] = {
    Fault.NEXT_LINK_WITHOUT_DATES: (None,),
    Fault.NEXT_LINK_WITHOUT_IV: (None,),
    Fault.NEXT_LINK_BARE: (None,),
    Fault.NEXT_LINK_ELSEWHERE: (None,),
    Fault.NEXT_LINK_PRODUCT_PATH: (None,),
    Fault.CURSOR_ONLY_IN_LINK: (None,),
    Fault.SUCCESS_WITH_CURSOR: ("", "empty", "again", "refused"),
    Fault.ROWS_REPEATED: (1, 3),
    Fault.ROWS_SHUFFLED: (None,),
    Fault.LATE_ROWS: (None,),
    Fault.NO_CHANGES: (None,),
    Fault.NO_WINDOW_LIMIT: (None,),
    Fault.FUTURE_ACCEPTED: (None,),
    Fault.DIRECTION_IGNORED: (None,),
    Fault.CURRENCY_BLANK: (None,),
    Fault.CLOCK_SKEW: (-3600, -120, 90, 3600),
    Fault.NO_DATE_HEADER: (None,),
    Fault.RECEIVED_AT: ("none", "soon", "3600", "0001-01-01T00:00:00Z"),
    Fault.PREFIXED_REQUEST_IDS: (None,),
    Fault.EMPTY_REPORT_WITHOUT_LINK: (None,),
    Fault.EMPTY_REPORT_BLANK: (0, 1),
    Fault.LINK_ELSEWHERE: (None,),
    Fault.OFFSETS_WITHOUT_COLON: (None,),
    Fault.LIST_ABSENT: (None,),
    Fault.SPLIT_ARCHIVE: (1, 7, 100),
    Fault.CSV_CRLF: (None,),
    Fault.CSV_BOM: (None,),
    Fault.CSV_BLANK_LINES: (None,),
    Fault.EXTRA_COLUMNS: (None,),
    Fault.ODD_COLUMNS: (None, "jane.doe@example.com"),
    Fault.PARAMS_AS_TEXT: (None,),
    Fault.MOVED_COLUMNS: (None,),
    Fault.MISSING_COLUMNS: (None,),
    Fault.UNFIT_VALUES: (None,),
    Fault.ODD_TEXT: ("half-pair", "byte"),
    Fault.NUL_IN_TEXT: (None,),
    Fault.LONG_NUMBER: (None,),
    Fault.REDACTED: ("REDACTED", "[REDACTED]"),
    Fault.IDS_NOT_FOUND: (1, 3),
    Fault.IDS_REFUSED: (None,),
}
"""What is one way through a whole story, with the values that it may have: the API's open questions, and its rows."""

EXCLUSIVE = (
    {Fault.CURSOR_ONLY_IN_LINK, Fault.NEXT_LINK_WITHOUT_IV},
    {Fault.CURSOR_ONLY_IN_LINK, Fault.NEXT_LINK_BARE},
)
"""Quirks that would leave no way to the next page at all."""

CLOCKS = {Fault.NO_DATE_HEADER, Fault.RECEIVED_AT}
"""Quirks that together would leave no clock but the machine's."""

FAULTS: dict[Fault, tuple[str | float | None, ...]] = {
    Fault.CURSOR_MISSING: (None,),
    Fault.CURSOR_REPEATED: (None,),
    Fault.CURSOR_REFUSED: ("", "once", "401", "500"),
    Fault.ENDLESS_PAGES: ("", "again"),
    Fault.CURSOR_EXPIRES: (1, 4),
    Fault.ITEMS_COUNT_WRONG: (1, -1),
    Fault.TOO_MANY_REQUESTS: (0, 1, "none"),
    Fault.SERVER_ERROR: (None,),
    Fault.WINDOW_FAILED: tuple((NOW - timedelta(hours=ago)).isoformat()[:16] for ago in (2, 15, 40)),
    Fault.UNAVAILABLE: (1, "none"),
    Fault.GATEWAY_PAGE: (401, 403, 404, 408, 422, 425),
    Fault.CUT: (None,),
    Fault.CUT_BODY: (None,),
    Fault.NOT_JSON: (None,),
    Fault.JSON_CUT: (None,),
    Fault.EMPTY_BODY: (None,),
    Fault.JSON_BOMB: (1_000_000,),
    Fault.SLOW_BODY: (0.01,),
    Fault.SLOW_HEADERS: (0, 0.0001),
    Fault.REDIRECT: (None,),
    Fault.REPORT_TRUNCATED: (1, 3),
    Fault.REPORT_FAILED: (None,),
    Fault.REPORT_ABORTED: (None,),
    Fault.REPORT_STUCK: (None,),
    Fault.REPORT_PROCESSING_FOR_EVER: (None,),
    Fault.REPORT_VANISHED: (None,),
    Fault.UNKNOWN_REPORT_STATUS: (None,),
    Fault.COUNT_WRONG: (1, -1),
    Fault.CREATE_TOO_MANY_REQUESTS: (0, 1, "none"),
    Fault.CREATE_LOST: (None,),
    Fault.CREATED: (201, 202),
    Fault.CREATE_GATEWAY_TIMEOUT: (None,),
    Fault.LIST_ODD: (None,),
    Fault.LIST_WITHOUT_FILTERS: (None,),
    Fault.FILE_VANISHED: (None,),
    Fault.FILE_FORBIDDEN: (None,),
    Fault.DOWNLOAD_CUT: (None,),
    Fault.DOWNLOAD_CUT_WITHOUT_RANGE: (None,),
    Fault.BAD_CRC: (None,),
    Fault.CORRUPT_ZIP: (None,),
    Fault.NOT_A_ZIP: (None,),
    Fault.ZIP_WITHOUT_CSV: (None,),
    Fault.ZIP_BOMB: (0.01,),
    Fault.ROW_WIDTH: (1,),
    Fault.HEADER_WITHOUT_ID: (None,),
    Fault.REVOKED: (None,),
    Fault.UNPROVISIONED: (None,),
    Fault.FORBIDDEN: (None,),
    Fault.LOW_BALANCE: (None,),
    Fault.UNKNOWN_PRODUCT: (None,),
}
"""What comes and goes, and the values that it may have."""

STUCK = frozenset({Fault.REPORT_STUCK, Fault.REPORT_PROCESSING_FOR_EVER})
"""Reports that never end: they are taken up by each run until Vonage forgets them, after four days."""

LEFT_BEHIND = frozenset(
    {
        *STUCK,
        Fault.REPORT_VANISHED,
        Fault.UNKNOWN_REPORT_STATUS,
        Fault.CREATE_LOST,
        Fault.CREATE_GATEWAY_TIMEOUT,
        Fault.CUT_BODY,
        Fault.NOT_JSON,
        Fault.JSON_CUT,
        Fault.EMPTY_BODY,
        Fault.JSON_BOMB,
        Fault.REDIRECT,  # of a report's state: it is given up, and told of when its turn comes
    }
)
"""After these a report may be at work of which the tap does not know, or which it has given up."""

ENDINGS = ("itself", "kill", "term", "int", "pipe", "disk")
"""How a run ends: by itself, by SIGKILL, SIGTERM or SIGINT, by a target that goes, or for want of room on the disk."""

WAYS = ((None,), (None,), ("together",), ("each", "together"))
"""How the runs of a story read the sub-account: in one way, or now in one and now in the other."""


@dataclass(frozen=True)
class Disturbance:
    """A fault that is on during one run; what `Faults.on` takes."""

    fault: Fault
    value: str | float | None
    rule: dict[str, Any]


@dataclass(frozen=True)
class RunPlan:
    """One run.

    Attributes:
        disturbances: What is wrong meanwhile.
        ending: One of `ENDINGS`.
        share: How much of its output comes before that, roughly.
        pause: How much later than the run before it begins.
        debug: Whether it logs at the level DEBUG.
        loses_state: Whether nobody keeps what it says of its state.
        subaccounts: How it reads the sub-account; None where the settings name both accounts.
    """

    disturbances: tuple[Disturbance, ...] = ()
    ending: str = "itself"
    share: float = 1
    pause: timedelta = timedelta()
    debug: bool = False
    loses_state: bool = False
    subaccounts: str | None = None


@dataclass(frozen=True)
class Plan:
    """One story.

    Attributes:
        seed: Its number.
        secret: The API's secret.
        streams: The streams that are selected: all, in one story of ten.
        quirks: How the API is, all the time.
        rows: Rows of a day, by stream; 0 for those that it does not name.
        page_size: Rows of a page.
        generation_seconds: How long a report takes.
        settings: Settings of the tap.
        runs: What happens, the last of them undisturbed: it alone has to bring everything up to date.
    """

    seed: int
    secret: str
    streams: tuple[str, ...]
    quirks: dict[Fault, str | float | None]
    rows: dict[str, Daily]
    page_size: int
    generation_seconds: float
    settings: dict[str, Any]
    runs: tuple[RunPlan, ...] = field(default=())


def plan_of(seed: int) -> Plan:
    """The story of a seed: always the same."""
    chance = random.Random(seed)
    quirks = {fault: chance.choice(QUIRKS[fault]) for fault in QUIRKS if chance.random() < 0.2}
    for pair in EXCLUSIVE:
        if pair <= quirks.keys():
            del quirks[Fault.CURSOR_ONLY_IN_LINK]
    streams = tuple(stream for stream, product in PRODUCTS.items() if product.selected)
    whole = chance.random() < 0.1
    if not whole:
        streams = tuple(sorted(chance.sample(streams, 4)))
    runs = [_run(chance, streams) for _ in range(chance.randint(1, 4))]
    ways = random.Random(f"sub-accounts {seed}")  # apart, so that the rest of a seed's story stays as it was
    modes = ways.choice(WAYS)
    if quirks.keys() >= CLOCKS:
        del quirks[Fault.RECEIVED_AT]
    if any(each.fault is Fault.CURSOR_REFUSED for run in runs for each in run.disturbances):
        quirks.pop(Fault.SUCCESS_WITH_CURSOR, None)  # a refused cursor of a last page says that there is no more
    stuck = any(each.fault in STUCK for run in runs for each in run.disturbances)
    return Plan(
        seed,
        chance.choice(SECRETS),
        streams,
        quirks,
        {"*": Daily(0), **{stream: Daily(chance.choice((0, 2, 3, 8, 24))) for stream in PRODUCTS}},
        chance.choice((10, 25, 1000) if whole else (4, 10, 25, 1000)),
        chance.choice((0, 0, 0.2)),
        _settings(chance, (1, 20, 30) if whole else (1, 20, 30, 50, 80), late=Fault.LATE_ROWS in quirks),
        tuple(
            replace(run, subaccounts=ways.choice(modes))
            for run in (*runs, RunPlan(pause=timedelta(days=4.1) if stuck else _pause(chance)))
        ),
    )


def _settings(chance: random.Random, ranges: tuple[int, ...], *, late: bool) -> dict[str, Any]:
    hours = chance.choice(ranges)
    settings: dict[str, Any] = {
        "start_date": (NOW - timedelta(hours=hours)).isoformat(),
        "fetch_mode": chance.choice(("auto", "auto", "sync", "async")),
        "backfill_days": chance.choice((1, 2)),
        "sync_window_hours": chance.choice((12, 24, 24)),
        "report_window_days": chance.choice((2, 31)),
        "max_concurrent_requests": chance.choice((1, 2, 5, 8)),
        "max_concurrent_reports": chance.choice((1, 2, 5)),
        "max_requests_per_second": chance.choice((60, 200)),
        "max_report_requests_per_second": 150,
        "include_message": chance.random() < 0.5,
        "show_concatenated": chance.random() < 0.5,
        "request_timeout_seconds": 20,
        "stream_options": {
            stream: {"fetch_mode": chance.choice(("sync", "async"))} for stream in PRODUCTS if chance.random() < 0.2
        },
    }
    personal = chance.choice(("keep", "keep", "hash", "drop"))
    if personal != "keep":
        settings |= {"personal_data": personal, "personal_data_salt": SALT}
    if late:
        settings |= {"lookback_hours": 80, "late_rows_hours": 3}
    settings["status_refresh"] = chance.choice(("window", "ids"))
    files = chance.choice((None, None, None, "jsonl", "parquet"))
    if files:
        settings["batch_config"] = {"encoding": {"format": files}, "batch_size": chance.choice((7, 1000))}
    return settings


def _pause(chance: random.Random) -> timedelta:
    return timedelta(minutes=chance.choice((0, 1, 17, 61, 300, 1500, 2900)))


def _run(chance: random.Random, streams: tuple[str, ...]) -> RunPlan:
    return RunPlan(
        tuple(_disturbance(chance, streams) for _ in range(chance.choice((0, 1, 2, 3, 5, 8)))),
        chance.choice(ENDINGS),
        chance.random() ** 2,
        _pause(chance),
        debug=chance.random() < 0.3,
        loses_state=chance.random() < 0.1,
    )


def _disturbance(chance: random.Random, streams: tuple[str, ...]) -> Disturbance:
    fault = chance.choice(list(FAULTS))
    often: dict[str, Any] = chance.choice(
        (
            {"first": chance.randint(1, 5)},
            {"every": chance.randint(2, 9)},
            {"first": chance.randint(1, 9), "after": chance.randint(0, 60)},
            {"after": chance.randint(0, 90)},
        )
    )
    where: dict[str, Any] = chance.choice(({}, {}, {"products": chance.sample(streams, 3)}, {"accounts": [SUBACCOUNT]}))
    return Disturbance(fault, chance.choice(FAULTS[fault]), {**often, **where})
