"""--plan: what a run would read, told before it costs anything, and kept by the run that follows."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.api.client import ReportsClient
from tap_vonage_reports.products import PRODUCTS
from tests.harness import catalog_of, partition_lines, run_main, run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tap_vonage_reports.sandbox import Sandbox
    from tests.harness import Output

pytestmark = pytest.mark.usefixtures("summary_with_partitions")
STREAMS = ("amd", "messages", "sms", "voice_call")
ROWS = {"amd": 5, "messages": 40, "sms": 60, "voice_call": 10}
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

stream        account   from              days  path  requests  reports  again
amd           primary   2026-10-01 00:00  49.0  both         3        2     0%
amd           sub00001  2026-10-01 00:00  49.0  both         3        2     0%
sms outbound  primary   2026-10-01 00:00  49.0  both         3        2     0%
sms inbound   primary   2026-10-01 00:00  49.0  both         3        2     0%
sms outbound  sub00001  2026-10-01 00:00  49.0  both         3        2     0%
sms inbound   sub00001  2026-10-01 00:00  49.0  both         3        2     0%

Selection: 2 streams, as the catalog says.
State: none, or none of these partitions is in it. Pass --state to plan the next run of a pipeline.
6 partitions, 30 windows; 12 reports to request.
18 requests, if no window has more than 1,000 rows; one more for each further 1,000.
At 10 requests/s this takes at least 2 s.

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
    bare = b"".join(run_main(*arguments).lines).decode()
    assert "Selection: no catalog was given, so 18 streams selected by default." in bare
    assert "State: none, or none of these partitions is in it." in bare
    arguments += ["--catalog", tmp_path / "catalog.json", "--state", tmp_path / "state.json"]
    given = b"".join(run_main(*arguments).lines).decode()
    assert "Selection: 3 streams, as the catalog says." in given
    assert "State: 3 of 5 partitions read before, up to 2026-11-19 00:00 UTC." in given
    planned = parsed(run_main("--plan=json", *arguments[1:]))
    assert planned["selected_by"] == "catalog"
    assert {part["bookmark"] for part in planned["partitions"]} == {None, "2026-11-19T00:00:00+00:00"}


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


def test_the_table_names_what_is_taken_up_and_looked_up(
    make_sandbox: Callable[..., Sandbox], plan: Callable[..., Output]
) -> None:
    sandbox = make_sandbox(rows=ROWS)
    settings = settings_for(sandbox, start_date="2026-10-01", status_refresh="ids")
    whole = run_tap(settings, ["sms"])
    begun = next(state for state in whole.states if "reports" in json.dumps(state))
    sandbox.clock.advance(hours=30)
    tables = [b"".join(plan(settings, state, ("sms",), "--plan").lines).decode() for state in (begun, whole.state)]
    assert "4 reports of an earlier run to resume" in tables[0]
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
