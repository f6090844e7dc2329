"""The queries of docs/recipes.md, run on tables that a real loader has made, say what the sandbox has."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter, defaultdict
from datetime import date, datetime, timezone
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox import Sandbox, Within
from tests import target_postgres
from tests.harness import run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the server comes for Linux and macOS only")

Row = dict[str, Any]
Rows = dict[str, list[Row]]

PAGE = Path(__file__).parent.parent / "docs" / "recipes.md"
BLOCK = re.compile(r"^```\{code-block\} (sql|json)\n:name: (\S+)\n\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = {(language, name): text for language, name, text in BLOCK.findall(PAGE.read_text("utf-8"))}
QUERIES = {name: text for (language, name), text in BLOCKS.items() if language == "sql"}
START, END = datetime(2026, 10, 29, tzinfo=timezone.utc), datetime(2026, 11, 3, tzinfo=timezone.utc)
"""Over the end of a month; the second run looks back at the last three days of it."""
TRAFFIC = {"sms": 300, "messages": 100, "voice_call": 100, "reports_usage": 60}
DATES = {"sms": "date_received", "messages": "date_received", "voice_call": "date_start"}
UPSERTED, APPENDED = "recipes_upserted", "recipes_appended"
NOT_FINAL = {"accepted", "submitted", "buffered"}


@pytest.fixture(scope="module")
def truth(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    """The rows of each stream as the API has them, after two runs have been loaded; values are text, as they came."""
    folder = tmp_path_factory.mktemp("recipes")
    rows: dict[str, int | Within] = {"*": 0}
    rows |= {stream: Within(count, START, END) for stream, count in TRAFFIC.items()}
    sandbox = Sandbox(rows=rows, clock="2026-11-03T12:00:00Z", subaccount_keys=["sub00001"], faults=["no-rate-limit"])
    with sandbox:
        settings = settings_for(
            sandbox, start_date=START.isoformat(), end_date=END.isoformat(), include_subaccounts=True
        )
        first = run_tap(settings, TRAFFIC)
        sandbox.clock.advance(days=3)
        second = run_tap(settings, TRAFFIC, first.state)
        assert not first.error
        assert not second.error
        assert second.records["sms"], "the second run has looked back"
        load(postgres, folder, first.lines + second.lines)
        accounts = [account.key for account in sandbox.accounts]
        yield {
            stream: [
                row
                for account in accounts
                for direction in PRODUCTS[stream].directions or (None,)
                for row in sandbox.expected(stream, account, direction, START, END)
            ]
            for stream in TRAFFIC
        }


def load(server: str, folder: Path, lines: list[bytes]) -> None:
    """Load the streams into one schema, and what is appended into another, under the stream's own name."""
    appending = json.loads(BLOCKS["json", "appending"])
    target_postgres.load(server, folder, lines, default_target_schema=UPSERTED, **appending)
    with psycopg.connect(server) as connection:
        connection.execute(f"create schema {APPENDED}".encode())
        connection.execute(f"alter table {UPSERTED}.sms_history set schema {APPENDED}".encode())
        connection.execute(f"alter table {APPENDED}.sms_history rename to sms".encode())


def month(text: str) -> date:
    return date.fromisoformat(text[:7] + "-01")


def charges(truth: Rows, streams: Iterable[str]) -> Iterator[tuple[date, str, Row]]:
    """Month, stream and row of what has a price."""
    for stream in streams:
        for row in truth[stream]:
            if row.get("total_price"):
                yield month(row[DATES[stream]]), stream, row


def billing(truth: Rows) -> list[tuple[Any, ...]]:
    prices: dict[tuple[Any, ...], list[Decimal]] = defaultdict(list)
    for at, stream, row in charges(truth, DATES):
        prices[at, row["account_id"], stream, row["currency"]].append(Decimal(row["total_price"]))
    return [(*key, len(some), sum(some)) for key, some in prices.items()]


def invoice(truth: Rows) -> list[tuple[Any, ...]]:
    prices: defaultdict[tuple[date, str, str], Decimal] = defaultdict(Decimal)
    months: defaultdict[tuple[date, str], Decimal] = defaultdict(Decimal)
    billed = [(at, stream, row["currency"], row["total_price"]) for at, stream, row in charges(truth, DATES)]
    billed += [
        (month(row["date_received"]), "reports", row["currency"], row["total_price"])
        for row in truth["reports_usage"]
        if is_charged(row)
    ]
    for at, product, currency, price in billed:
        prices[at, currency, product] += Decimal(str(price))
        months[at, currency] += Decimal(str(price))
    return [(*key, price, months[key[:2]]) for key, price in prices.items()]


def is_charged(row: Row) -> bool:
    return str(row["is_charged"]).lower() == "true"


def pulls(truth: Rows) -> list[tuple[Any, ...]]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in truth["reports_usage"]:
        product = row.get("requested_product") or row["request_product"]
        groups[month(row["date_received"]), product, row["currency"]].append(row)
    found = []
    for key, rows in groups.items():
        prices = [Decimal(str(row["total_price"])) for row in rows if is_charged(row)]
        pulled = sum(int(row["items_written"]) for row in rows)
        found.append((*key, len(rows), pulled, sum(prices) if prices else None))
    return found


def outbound(truth: Rows) -> list[Row]:
    return [row for row in truth["sms"] if row["direction"] == "outbound" and row.get("status")]


def delivery(truth: Rows) -> list[tuple[Any, ...]]:
    known = [row for row in outbound(truth) if row["status"] not in NOT_FINAL]
    whole = Counter((row["country"], row["network_name"]) for row in known)
    good = Counter((row["country"], row["network_name"]) for row in known if row["status"] == "delivered")
    return [
        (*key, count, good[key], (Decimal(100 * good[key]) / count).quantize(Decimal("0.1"), ROUND_HALF_UP))
        for key, count in whole.items()
    ]


def latency(truth: Rows) -> list[tuple[Any, ...]]:
    times: dict[str, list[int]] = defaultdict(list)
    for row in outbound(truth):
        if row["status"] == "delivered":
            times[row["country"]].append(int(row["latency"]))
    return [
        (country, len(some), *(percentile(some, share) / 1000 for share in (0.5, 0.95, 0.99)))
        for country, some in times.items()
    ]


def percentile(values: list[int], share: float) -> float:
    """The value below which that share lies, between the two nearest ones in proportion."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def newest(truth: Rows) -> list[tuple[Any, ...]]:
    times = {stream: max(row[name] for row in truth[stream]) for stream, name in DATES.items()}
    return [(stream, datetime.fromisoformat(text[:19])) for stream, text in times.items()]


def latest(truth: Rows) -> list[tuple[Any, ...]]:
    return [(row["id"], row.get("status") or None) for row in truth["sms"]]


CALCULATIONS: dict[str, Callable[[Rows], list[tuple[Any, ...]]]] = {
    "billing": billing,
    "invoice": invoice,
    "pulls": pulls,
    "delivery": delivery,
    "latency": latency,
    "newest": newest,
    "latest": latest,
}


def test_every_query_of_the_page_is_calculated_here() -> None:
    assert set(QUERIES) == set(CALCULATIONS)
    assert len(QUERIES) == len(re.findall(r"^```.*sql", PAGE.read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize("name", [name for name in CALCULATIONS if name != "latest"])
def test_a_query_gives_what_the_api_has(postgres: str, truth: Rows, name: str) -> None:
    found = ask(postgres, UPSERTED, QUERIES[name])
    assert sorted(map(rounded, found), key=str) == sorted(map(rounded, CALCULATIONS[name](truth)), key=str)


def test_the_view_shows_the_latest_status_of_rows_that_were_appended(postgres: str, truth: Rows) -> None:
    seen = ask(postgres, APPENDED, "select id, status from sms")
    found = ask(postgres, APPENDED, QUERIES["latest"], "select id, status from sms_latest")
    assert len(set(seen)) > len(found), "no status has changed"
    assert sorted(found) == sorted(latest(truth))


def rounded(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row whose binary fractions, and nothing else, may differ in their last places."""
    return tuple(round(value, 6) if isinstance(value, float) else value for value in row)


def ask(server: str, schema: str, *queries: str) -> list[tuple[Any, ...]]:
    """What the last of some queries gives, with the tables of a schema; nothing that they make stays."""
    with psycopg.connect(server) as connection:
        connection.execute(sql.SQL("set search_path to {}").format(sql.Identifier(schema)))
        for query in queries:
            cursor = connection.execute(query.encode())
        rows = cursor.fetchall()
        connection.rollback()
    return rows
