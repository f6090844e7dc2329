"""--plan: what a run would read, told before it costs anything, and kept by the run that follows."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox import Within
from tests.environments import ROOT
from tests.harness import catalog_of, partition_lines, run_main, run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tap_vonage_reports.sandbox import Sandbox
    from tests.harness import Output

pytestmark = pytest.mark.usefixtures("summary_with_partitions")
STREAMS = ("amd", "messages", "sms", "voice_call")
ROWS = {"amd": 5, "messages": 40, "sms": 60, "voice_call": 10}
BUSY = {"amd": 60, "sms": 600}
USAGE = {"reports_usage": 30}
Done = dict[tuple[str, str | None], tuple[int, int, int]]
Planned = dict[tuple[str, str | None], dict[str, Any]]


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., Output]:
    """Runs --plan."""

    def _plan(
        settings: Mapping[str, Any],
        state: Mapping[str, Any] | None = None,
        streams: tuple[str, ...] = STREAMS,
        how: str = "--plan=json",
    ) -> Output:
        arguments = [how]
        files = {"config": settings, "catalog": catalog_of(streams), **({"state": state} if state else {})}
        for name, content in files.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(content))
            arguments += [f"--{name}", str(tmp_path / f"{name}.json")]
        return run_main(*arguments)

    return _plan


def parsed(output: Output) -> dict[str, Any]:
    assert output.code == 0, output.log
    content: dict[str, Any] = json.loads(b"".join(output.lines), parse_float=Decimal)
    return content


def table_of(output: Output) -> str:
    """The table of a plan."""
    return b"".join(output.lines).decode()


def by_partition(output: Output) -> Planned:
    return {(part["stream"], part["direction"]): part for part in parsed(output)["partitions"]}


def done(output: Output) -> Done:
    """Requests, reports and windows of each partition, as the summary of a run has them."""
    assert output.error is None, output.error
    return {
        (line["stream"], None if line["direction"] == "-" else line["direction"]): (
            int(line["requests"]),
            int(line["reports"]),
            int(line["windows"]),
        )
        for line in partition_lines(output.log)
    }


def path_of(part: Mapping[str, Any]) -> str:
    by_report = bool(part["reports"] or part["reports_taken_up"])
    return {(True, True): "both", (True, False): "page", (False, True): "report", (False, False): "-"}[
        bool(part["requests"]), by_report
    ]


def promised(planned: Planned) -> Done:
    return {name: (part["requests"], part["reports"], part["windows"]) for name, part in planned.items()}


@pytest.mark.parametrize(
    "settings",
    [
        {"start_date": "2026-11-17"},
        {"start_date": "2026-11-17", "max_concurrent_requests": 1},
        {"start_date": "2026-10-01"},
        {"start_date": "2026-10-01", "report_window_days": 10},
        {"start_date": "2026-11-01", "fetch_mode": "async"},
        {"start_date": "2026-11-10", "status_refresh": "ids", "backfill_days": 30},
        {"start_date": "2026-11-10", "end_date": "2026-11-12", "stream_options": {"sms": {"lookback_hours": 1}}},
    ],
    ids=str,
)
def test_a_run_asks_for_what_the_plan_has_said(
    make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output], settings: dict[str, Any]
) -> None:
    sandbox = make_sandbox(rows=ROWS)
    state = None
    for _ in range(3):
        planned = by_partition(plan(settings_for(sandbox, **settings), state))
        sandbox.requests.reset()
        output = run_tap(settings_for(sandbox, **settings), STREAMS, state)
        assert done(output) == promised(planned)
        assert {name: part["path"] for name, part in planned.items()} == {
            name: path_of(part) for name, part in planned.items()
        }
        asked = [entry for entry in sandbox.requests.log if entry.product != "REPORTS-USAGE"]
        assert len([entry for entry in asked if entry.endpoint == "records"]) == sum(
            part["requests"] for part in planned.values()
        )
        assert len([entry for entry in asked if entry.endpoint == "report-create"]) == sum(
            part["reports"] for part in planned.values()
        )
        state = output.state
        sandbox.clock.advance(hours=25)


def test_a_plan_asks_for_nothing_that_is_billed_and_leaves_everything_as_it_is(
    make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows=ROWS)
    settings = settings_for(sandbox, start_date="2026-10-01")
    first = run_tap(settings, STREAMS)
    # A report of an interrupted run that the next one would cancel, because it fits no more.
    assert first.state is not None
    first.bookmark("amd")["reports"] = [
        {
            "request_id": "report-1",
            "date_start": "2026-01-01T00:00:00Z",
            "date_end": "2026-01-02T00:00:00Z",
            "fingerprint": "another",
            "requested_at": "2026-11-20T11:00:00Z",
        }
    ]
    sandbox.requests.reset()
    output = plan(settings, first.state)
    assert output.code == 0
    assert {(entry.method, entry.product) for entry in sandbox.requests.log} == {("GET", "REPORTS-USAGE")}


def test_reports_that_are_taken_up_are_not_asked_for(
    make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows=ROWS)
    settings = settings_for(sandbox, start_date="2026-10-01", max_concurrent_reports=5)
    whole = run_tap(settings, ["amd"])
    requested = next(state for state in whole.states if state["bookmarks"]["amd"]["partitions"][0].get("reports"))
    planned = by_partition(plan(settings, requested, ("amd",)))["amd", None]
    assert len(requested["bookmarks"]["amd"]["partitions"][0]["reports"]) == 1
    assert (planned["reports_taken_up"], planned["reports"]) == (2, 0)  # the other one is found at the API
    alone = plan({**settings, "adopt_reports": False}, requested, ("amd",))
    assert [by_partition(alone)["amd", None][name] for name in ("reports_taken_up", "reports")] == [1, 1]
    sandbox.clock.advance(days=4)
    assert by_partition(plan(settings, requested, ("amd",)))["amd", None]["reports_taken_up"] == 0


def test_a_plan_tells_how_much_is_read_again(make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output]) -> None:
    sandbox = make_sandbox(rows=ROWS)
    settings = settings_for(sandbox, start_date="2026-11-01", fetch_mode="sync")
    assert {part["again"] for part in by_partition(plan(settings)).values()} == {0}
    first = run_tap(settings, STREAMS)
    sandbox.clock.advance(hours=24)
    planned = by_partition(plan(settings, first.state))
    for (stream, _), part in planned.items():
        lookback = PRODUCTS[stream].lookback_hours
        assert float(part["again"]) == pytest.approx(lookback / (lookback + 24), abs=0.01)
        assert part["days"] == pytest.approx(Decimal((lookback + 24) / 24), abs=Decimal("0.01"))
    sandbox.clock.advance(hours=-24)
    nothing = by_partition(plan({**settings, "lookback_hours": 0, "end_date": "2026-11-10"}, first.state))
    assert {(part["path"], part["requests"], len(part["ranges"])) for part in nothing.values()} == {("-", 0, 0)}


def test_a_plan_reads_like_this(make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output]) -> None:
    sandbox = make_sandbox(rows=ROWS, subaccount_keys=["sub00001"])
    accounts = [sandbox.api_key, "sub00001"]
    settings = settings_for(sandbox, start_date="2026-10-01", end_date="2026-11-19", account_ids=accounts)
    output = plan(settings, streams=("amd", "sms"), how="--plan")
    expected = """
A run would read up to 2026-11-19 00:00 UTC:

stream        account   from              days  refetched  requests  reports
amd           primary   2026-10-01 00:00  49.0         0%         3        2
amd           sub00001  2026-10-01 00:00  49.0         0%         3        2
sms outbound  primary   2026-10-01 00:00  49.0         0%         3        2
sms inbound   primary   2026-10-01 00:00  49.0         0%         3        2
sms outbound  sub00001  2026-10-01 00:00  49.0         0%         3        2
sms inbound   sub00001  2026-10-01 00:00  49.0         0%         3        2

Selection: 2 streams, from the catalog.
State: none was given, so this is the plan of a first run. Pass --state to plan the next one.
6 partitions, 30 windows; 12 reports to request.
Rows: unknown. Once a run has counted rows, its state lets --plan estimate the next one.
Requests: at least 18, plus one for every further 1,000 rows of a window.
Price: unknown.
Time: at least 8 s at 10 requests/s, plus the time to generate reports of unknown size.
Vonage generates up to 5 reports at a time, in 5 to 10 min per million rows.

REPORTS-USAGE lists no usage in the last 7 days.
"""
    assert [line.decode() for line in output.lines] == expected.strip("\n").splitlines()


def test_a_plan_says_by_which_state_and_selection_it_goes(make_sandbox: Callable[..., Sandbox], tmp_path: Path) -> None:
    sandbox = make_sandbox(rows=ROWS)
    settings = settings_for(sandbox, start_date="2026-11-18", end_date="2026-11-20")
    state = run_tap({**settings, "end_date": "2026-11-19"}, ["amd", "sms"]).state
    for name, content in {"config": settings, "state": state, "catalog": catalog_of(["amd", "sms", "asr"])}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    arguments: list[str | Path] = ["--plan", "--config", tmp_path / "config.json"]
    bare = table_of(run_main(*arguments))
    assert "Selection: the default (18 streams). Pass --catalog" in bare
    assert "State: none was given" in bare
    arguments += ["--catalog", tmp_path / "catalog.json", "--state", tmp_path / "state.json"]
    given = table_of(run_main(*arguments))
    assert "Selection: 3 streams, from the catalog." in given
    assert "State: 3 of 5 partitions read before, up to 2026-11-19 00:00 UTC." in given
    planned = parsed(run_main("--plan=json", *arguments[1:]))
    assert (planned["selected_by"], planned["has_state"]) == ("catalog", True)
    assert {part["bookmark"] for part in planned["partitions"]} == {None, "2026-11-19T00:00:00+00:00"}


def test_a_plan_says_that_the_state_covers_nothing_of_it(
    make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows=ROWS)
    settings = settings_for(sandbox, start_date="2026-11-19")
    state = run_tap(settings, ["amd"]).state
    table = table_of(plan(settings, state, ("sms",), "--plan"))
    assert "State: it covers none of these partitions" in table


def test_the_page_on_costs_explains_every_column(
    make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows={**BUSY, **USAGE}, subaccount_keys=["sub00001"])
    settings = settings_for(sandbox, start_date="2026-11-18", account_ids=[sandbox.api_key, "sub00001"])
    state = run_tap(settings, ["sms"]).state
    head = plan(settings, state, ("sms",), "--plan").lines[2].decode().split()
    page = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
    explained = re.findall(r"`(\w+)`", " ".join(re.findall(r"^(`.+)\n: ", page, re.MULTILINE)))
    assert head == ["stream", "account", *explained]


def test_a_plan_is_a_table_that_fits_a_terminal(
    make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows={**ROWS, "reports_usage": 30})
    output = plan(settings_for(sandbox, start_date="2025-11-01"), streams=tuple(PRODUCTS), how="--plan")
    lines = [line.decode().rstrip("\n") for line in output.lines]
    assert output.code == 0
    assert max(map(len, lines)) <= 100
    partitions = [line for line in lines if line.startswith(tuple(PRODUCTS))]
    assert len(partitions) == sum(len(product.directions) or 1 for product in PRODUCTS.values())
    assert max(map(len, partitions)) <= 80
    assert sandbox.api_key not in "".join(lines)
    assert any(line.startswith("Usage in the last 7 days") for line in lines)


# Estimates


def parts_of(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [part for stream in state["bookmarks"].values() for part in stream["partitions"]]


def fetched(output: Output) -> int:
    line = next(line for line in output.log.splitlines() if " rows in total (" in line)
    return int(line.split("(")[1].split()[0].replace(",", ""))


@pytest.mark.parametrize(
    "settings",
    [
        {"fetch_mode": "sync", "start_date": "2026-11-14"},
        {"fetch_mode": "async", "start_date": "2026-11-14"},
        {"fetch_mode": "sync", "start_date": "2026-11-14", "status_refresh": "ids"},
    ],
    ids=str,
)
def test_a_steady_pipeline_fetches_what_the_plan_estimated(
    make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output], settings: dict[str, Any]
) -> None:
    sandbox = make_sandbox(rows=BUSY)
    state, estimates = None, []
    for _ in range(3):
        planned = parsed(plan(settings_for(sandbox, **settings), state, ("amd", "sms")))
        sandbox.requests.reset()
        output = run_tap(settings_for(sandbox, **settings), ["amd", "sms"], state)
        pages = [entry for entry in sandbox.requests.log if entry.endpoint == "records"]
        requests = len([entry for entry in pages if entry.product != "REPORTS-USAGE"])
        estimates.append((planned["estimate"], fetched(output), requests))
        state = output.state
        sandbox.clock.advance(hours=25)
    (first, _, _), *later = estimates
    assert (first["partitions"], first["rows"], first["max_seconds"]) == (0, 0, None)
    for estimate, rows, requests in later:
        assert estimate["partitions"] == 3
        assert estimate["rows"] == pytest.approx(rows, rel=0.05)
        assert estimate["requests"] == pytest.approx(requests, rel=0.1)


def test_a_start_date_moved_back_is_estimated_from_the_rows_that_were_read(
    make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows=BUSY)
    state = run_tap(settings_for(sandbox, start_date="2026-11-17"), ["amd", "sms"]).state
    settings = settings_for(sandbox, start_date="2026-09-01")
    planned = parsed(plan(settings, state, ("amd", "sms")))
    output = run_tap(settings, ["amd", "sms"], state)
    assert sum(part["reports"] for part in planned["partitions"]) > 3
    assert planned["estimate"]["rows"] == pytest.approx(fetched(output), rel=0.02)


def test_the_price_is_that_of_past_rows_and_unknown_for_a_product_without_any(
    make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows={**BUSY, **USAGE})
    streams = ("amd", "sms", "reports_usage")
    settings = settings_for(sandbox, start_date="2026-11-14", fetch_mode="sync")
    first = parsed(plan(settings, None, streams))
    prices = {part["stream"]: part["estimated_price"] for part in first["partitions"]}
    assert prices == {"amd": None, "sms": None, "reports_usage": None}
    state = run_tap(settings, streams).state
    sandbox.clock.advance(hours=24)
    planned = parsed(plan(settings, state, streams))
    by_stream = {part["stream"]: part for part in planned["partitions"] if part["direction"] != "inbound"}
    assert by_stream["sms"]["estimated_price"] == {"EUR": by_stream["sms"]["estimated_rows"] * Decimal("0.0004")}
    assert by_stream["amd"]["estimated_rows"] > 0
    assert by_stream["amd"]["estimated_price"] is None
    assert by_stream["reports_usage"]["estimated_price"] == {}
    assert planned["estimate"]["priced"] == 3
    assert planned["estimate"]["price"]["EUR"] == 2 * by_stream["sms"]["estimated_price"]["EUR"]


def test_reports_that_an_earlier_run_has_paid_for_are_in_the_rows_and_not_in_the_price(
    make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows={**BUSY, **USAGE})
    options = {"sms": {"filters": {"direction": "outbound"}}}
    state = run_tap(settings_for(sandbox, start_date="2026-11-14", stream_options=options), ["sms"]).state
    settings = settings_for(sandbox, start_date="2026-10-01", stream_options=options)
    asked = run_tap(settings, ["sms"], state).states
    requested = next(state for state in asked if len(parts_of(state)[0].get("reports", ())) == 3)
    (part,) = parsed(plan(settings, requested, ("sms",)))["partitions"]
    assert (part["reports"], part["reports_taken_up"]) == (0, 3)
    by_pages = BUSY["sms"]  # of the last day
    assert part["estimated_rows"] == pytest.approx(47 * BUSY["sms"], rel=0.02)
    assert part["estimated_price"]["EUR"] == pytest.approx(by_pages * Decimal("0.0004"), rel=Decimal("0.02"))


def test_rows_of_the_free_product_cost_nothing_whether_usage_is_listed_or_not(
    make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output]
) -> None:
    times = [datetime.fromisoformat(f"2026-11-{day}T00:00:00+00:00") for day in (14, 16)]
    sandbox = make_sandbox(rows={"reports_usage": Within(100, *times)})
    settings = settings_for(sandbox, start_date="2026-11-14")
    state = run_tap(settings, ["reports_usage"]).state
    sandbox.clock.advance(days=10)
    planned = parsed(plan(settings, state, ("reports_usage",)))
    assert planned["earlier_pulls"] == []
    (part,) = planned["partitions"]
    assert part["estimated_rows"] > 0
    assert part["estimated_price"] == {}


def test_a_plan_that_has_nothing_to_fetch_says_so(
    make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows=BUSY)
    settings = settings_for(sandbox, start_date="2026-11-14", end_date="2026-11-16", lookback_hours=0)
    state = run_tap(settings, ["amd"]).state
    table = [line.decode() for line in plan(settings, state, ("amd",), "--plan").lines]
    assert table[2:4] == [
        "stream  from  days  refetched  requests  reports  rows",
        "amd     -      0.0         0%         0        0     0",
    ]
    assert "There is nothing to fetch." in table
    assert not any(line.startswith(("Rows", "Price", "Time")) for line in table)


def test_a_small_price_is_not_rounded_to_nothing(
    make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows={"sms": 5, **USAGE})
    settings = settings_for(sandbox, start_date="2026-11-14")
    state = run_tap(settings, ["sms"]).state
    table = table_of(plan(settings, state, ("sms",), "--plan"))
    assert "~0.006 EUR" in table


def test_a_plan_with_estimates_reads_like_this(
    make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows={"amd": 240, "sms": 2400, **USAGE})
    streams = ("amd", "sms", "voice_tts")
    state = run_tap(settings_for(sandbox, start_date="2026-11-14", fetch_mode="sync"), ["amd", "sms"]).state
    sandbox.clock.advance(hours=24)
    output = plan(settings_for(sandbox, start_date="2026-09-01"), state, streams, "--plan")
    expected = """
A run would read up to 2026-11-21 11:59 UTC:

stream        from              days  refetched  requests  reports      rows       price
amd           2026-09-01 00:00  76.0         1%         5        4   ~18,200     unknown
sms outbound  2026-09-01 00:00  78.0         4%         5        4  ~187,000  ~74.88 EUR
sms inbound   2026-09-01 00:00  78.0         4%         5        4  ~187,000  ~74.88 EUR
voice_tts     2026-09-01 00:00  81.5         0%         5        3   unknown     unknown

Selection: 3 streams, from the catalog.
State: 3 of 4 partitions read before, up to 2026-11-20 11:59 UTC.
4 partitions, 35 windows; 15 reports to request.
Rows: about 393,000 in 3 of 4 partitions, at the rows per day in the state; the rest is unknown.
Requests: at least 20, plus one for every further 1,000 rows of a window.
Price: about 149 EUR for 2 of 4 partitions, at the last 7 days' price per row; the rest is unknown.
Time: at least 27 s at 10 requests/s, plus the time to generate reports of unknown size.
Vonage generates up to 5 reports at a time, in 5 to 10 min per million rows.
"""
    lines = [line.decode() for line in output.lines]
    usage = next(number for number, line in enumerate(lines) if line.startswith("Usage in the last 7 days"))
    assert lines[: usage - 1] == expected.strip("\n").splitlines()


def test_a_state_of_an_earlier_release_has_no_estimates_and_gets_them(
    make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows=BUSY)
    settings = settings_for(sandbox, start_date="2026-11-17")
    first = run_tap(settings, ["amd"])
    for key in ("recent_rows", "recent_seconds"):
        del first.bookmark("amd")[key]
    old = first.state
    sandbox.clock.advance(hours=24)
    assert by_partition(plan(settings, old, ("amd",)))["amd", None]["estimated_rows"] is None
    second = run_tap(settings, ["amd"], old)
    assert by_partition(plan(settings, second.state, ("amd",)))["amd", None]["rows_per_day"] == pytest.approx(
        BUSY["amd"], rel=0.01
    )


def test_the_table_names_what_is_taken_up_and_looked_up(
    make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows=ROWS)
    settings = settings_for(sandbox, start_date="2026-10-01", status_refresh="ids")
    whole = run_tap(settings, ["sms"])
    begun = next(state for state in whole.states if "reports" in json.dumps(state))
    sandbox.clock.advance(hours=30)
    tables = [table_of(plan(settings, state, ("sms",), "--plan")) for state in (begun, whole.state)]
    assert "4 reports from an earlier run to resume" in tables[0]
    assert "rows to look up by ID" in tables[1]
    assert "REPORTS-USAGE lists no usage" in tables[1]


def test_a_pull_that_is_listed_for_several_accounts_is_counted_once(
    make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output], monkeypatch: pytest.MonkeyPatch
) -> None:
    records = ReportsClient.records

    def of_all(client: ReportsClient, query: Mapping[str, str], *more: Any, **switches: Any) -> Any:
        return records(client, {**query, "account_id": sandbox.api_key}, *more, **switches)

    sandbox = make_sandbox(rows={"reports_usage": 30}, subaccount_keys=["sub00001"])
    alone = parsed(plan(settings_for(sandbox)))["earlier_pulls"]
    monkeypatch.setattr(ReportsClient, "records", of_all)
    accounts = [sandbox.api_key, "sub00001"]
    assert parsed(plan(settings_for(sandbox, account_ids=accounts)))["earlier_pulls"] == alone


@pytest.mark.parametrize("fault", ["unfit-values", "extra-columns", "missing-columns"])
def test_what_earlier_pulls_have_cost_may_look_otherwise(
    make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output], fault: str
) -> None:
    sandbox = make_sandbox(rows={**ROWS, "reports_usage": 60}, faults=[fault])
    pulls = parsed(plan(settings_for(sandbox)))["earlier_pulls"]
    assert sum(pull["requests"] for pull in pulls) > 100
    assert {pull["product"] for pull in pulls} <= {"other", *(product.name for product in PRODUCTS.values())}


def test_a_plan_tells_what_was_pulled_before_and_what_it_cost(
    make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows={**ROWS, "reports_usage": 30}, faults=["rows-repeated"], page_size=10)
    pulls = parsed(plan(settings_for(sandbox)))["earlier_pulls"]
    end = datetime.fromisoformat("2026-11-20T11:59:00+00:00")
    rows = sandbox.expected("reports_usage", None, None, end - timedelta(days=7), end)
    assert sum(pull["requests"] for pull in pulls) == len(rows)
    assert sum(pull["rows"] for pull in pulls) == sum(row["items_written"] for row in rows)
    paid = sum(price for pull in pulls for price in pull["price"].values())
    assert paid == sum(Decimal(str(row["total_price"])) for row in rows)
    assert paid > 0


def test_a_plan_without_what_it_has_cost_is_still_a_plan(
    make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows=ROWS, faults=["forbidden=reports_usage"])
    output = plan(settings_for(sandbox))
    assert parsed(output)["earlier_pulls"] is None
    assert "REPORTS-USAGE" in output.log
    table = plan(settings_for(sandbox), how="--plan")
    assert b"cannot be read" in b"".join(table.lines)


def test_a_plan_that_is_unknown_is_an_error_that_names_the_known(plan: Callable[..., Output]) -> None:
    output = plan({}, how="--plan=yaml")
    assert output.code == 1
    assert "'table', 'json'" in output.log
