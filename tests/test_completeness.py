"""Nothing is lost: every record of every product arrives, once, typed, with every digit of its prices."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from tap_vonage_reports.products import PRODUCTS, Product
from tap_vonage_reports.sandbox import Fault, Sandbox, Within
from tests.harness import run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

START, END = datetime(2026, 11, 10, 6, tzinfo=timezone.utc), datetime(2026, 11, 10, 12, tzinfo=timezone.utc)
DATES = {"start_date": START.isoformat(), "end_date": END.isoformat()}
ROWS = 500

every_product = pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS.keys())


def truth(sandbox: Sandbox, product: Product, **switches: bool) -> dict[str, dict[str, Any]]:
    """What the sandbox has, by id, as it would be on the wire."""
    directions: tuple[str | None, ...] = product.directions or (None,)
    rows = [
        row
        for direction in directions
        for row in sandbox.expected(product.stream, None, direction, START, END, **switches)
    ]
    return {row["id"]: row for row in rows}


def same(raw: object, value: object, spec: Mapping[str, Any]) -> bool:
    """Whether a record's value is what a wire value says, by rules of the test's own."""
    if raw in (None, ""):
        return value is None
    kind = spec["type"] if isinstance(spec["type"], str) else spec["type"][0]
    if kind == "number":
        # The digits themselves, not only the number.
        return isinstance(value, (int, Decimal)) and Decimal(str(raw)).as_tuple() == Decimal(value).as_tuple()
    if kind == "integer":
        return value == int(str(raw))
    if kind == "boolean":
        return value is (str(raw).lower() == "true")
    if spec.get("format") == "date-time":
        return value == str(raw).replace("Z", "+00:00").replace(" ", "T")
    return value == raw


@pytest.mark.promise("The call and message records arrive complete, and exact to the last digit of every price.")
@every_product
def test_a_window_of_several_pages_arrives_complete_and_exact(
    make_sandbox: Callable[..., Sandbox], product: Product
) -> None:
    sandbox = make_sandbox(
        rows={product.stream: Within(ROWS, START, END)},
        faults=["next-link-bare", "rows-shuffled", "rows-repeated=7"],
        page_size=25,
    )
    output = run_tap(settings_for(sandbox, **DATES), [product.stream])
    expected = truth(sandbox, product)
    ids = output.ids(product.stream)
    partitions = len(product.directions) or 1
    pages = [
        entry
        for entry in sandbox.requests.log
        if entry.product == product.name and entry.date_end == "2026-11-10T12:00:00Z"
    ]
    assert output.code == 0
    assert len(pages) >= 3 * partitions
    assert len(expected) == ROWS * partitions
    assert sorted(ids) == sorted(expected)
    properties = product.schema["properties"]
    validator = jsonschema.Draft7Validator(product.schema)
    for record in output.records[product.stream]:
        raw = expected[record["id"]]
        assert list(record) == list(properties)
        assert [name for name in raw if name not in properties] == []
        assert [name for name, spec in properties.items() if not same(raw.get(name), record[name], spec)] == []
        plain = {name: float(value) if isinstance(value, Decimal) else value for name, value in record.items()}
        assert list(validator.iter_errors(plain)) == []


def test_bodies_come_only_when_they_are_asked_for_and_as_they_are(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"sms": Within(200, START, END)})
    without = run_tap(settings_for(sandbox, **DATES), ["sms"])
    assert {record["message_body"] for record in without.records["sms"]} == {None}
    both = {"include_message": True, "show_concatenated": True}
    output = run_tap(settings_for(sandbox, **DATES, **both), ["sms"])
    expected = truth(sandbox, PRODUCTS["sms"], **both)
    bodies = {record["id"]: record["message_body"] for record in output.records["sms"]}
    assert bodies == {key: row["message_body"] or None for key, row in expected.items()}
    assert any("\n" in body or '"' in body for body in bodies.values() if body)
    assert {record["concatenated"] for record in output.records["sms"]} == {True, False, None}


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_records_that_go_through_the_sdk_are_the_same(make_sandbox: Callable[..., Sandbox], mode: str) -> None:
    sandbox = make_sandbox(rows={"sms": Within(100, START, END)}, faults=["extra-columns", "unfit-values"])
    settings = settings_for(sandbox, **DATES, fetch_mode=mode)
    plain, mapped = (
        [line.partition(b',"time_extracted"')[0] for line in run_tap(each, ["sms"]).lines if b'"RECORD"' in line[:20]]
        for each in (settings, {**settings, "stream_maps": {"sms": {}}})
    )
    assert len(plain) == 200
    assert sorted(plain) == sorted(mapped)


def test_unknown_columns_and_misfits_arrive_in_extra(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"sms": Within(50, START, END)}, faults=["extra-columns", "unfit-values"])
    output = run_tap(settings_for(sandbox, **DATES), ["sms"])
    expected = truth(sandbox, PRODUCTS["sms"])
    assert output.code == 0
    assert sorted(output.ids("sms")) == sorted(expected)
    assert any(record["_extra"] for record in output.records["sms"])
    warned = [line for line in output.log.splitlines() if "_extra" in line]
    assert len(warned) == len(set(warned)) > 0


@pytest.mark.parametrize("mode", ["keep", "hash", "drop"])
def test_the_same_row_gives_the_same_record_by_pages_and_by_reports(
    make_sandbox: Callable[..., Sandbox], mode: str
) -> None:
    faults = ["no-changes", "extra-columns", "odd-columns"]
    sandbox = make_sandbox(rows={"*": Within(9, START, END)}, faults=faults)
    sandbox.faults.on(Fault.UNFIT_VALUES, every=2)
    settings = settings_for(sandbox, **DATES, personal_data=mode, personal_data_salt="a long and random text")
    by_pages, by_reports = (
        sorted(
            line.partition(b',"time_extracted"')[0]
            for line in run_tap({**settings, "fetch_mode": path}).lines
            if b'"RECORD"' in line[:20]
        )
        for path in ("sync", "async")
    )
    assert len(by_pages) > 18 * 9
    assert by_pages == by_reports


def test_both_forms_of_a_reports_parameters_give_the_same_records(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"reports_usage": Within(30, START, END)}, faults=["no-changes"])

    def records(path: str) -> list[dict[str, Any]]:
        output = run_tap(settings_for(sandbox, **DATES, fetch_mode=path), ["reports_usage"])
        return sorted(output.records["reports_usage"], key=itemgetter("id"))

    expected = records("sync")
    assert all(row["request_params"]["account_id"] and row["is_charged"] is not None for row in expected)
    with sandbox.faults.during(Fault.PARAMS_AS_TEXT):
        assert records("sync") == records("async") == expected


def test_columns_may_move_and_be_missing(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"voice_call": Within(50, START, END)}, faults=["moved-columns", "missing-columns"])
    output = run_tap(settings_for(sandbox, **DATES), ["voice_call"])
    assert sorted(output.ids("voice_call")) == sorted(truth(sandbox, PRODUCTS["voice_call"]))
    assert {tuple(record) for record in output.records["voice_call"]} == {
        tuple(PRODUCTS["voice_call"].schema["properties"])
    }


def test_a_window_that_ends_on_a_full_page_is_complete(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": Within(200, START, END)}, page_size=100)
    output = run_tap(settings_for(sandbox, **DATES), ["amd"])
    assert len(set(output.ids("amd"))) == 200


def test_filters_reach_the_api_and_narrow_what_comes(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"messages": Within(100, START, END)})
    options = {"messages": {"filters": {"provider": "whatsapp", "direction": "outbound"}}}
    output = run_tap(settings_for(sandbox, **DATES, stream_options=options), ["messages"])
    found = output.records["messages"]
    assert found
    assert {(record["provider"], record["direction"]) for record in found} == {("whatsapp", "outbound")}
    assert {entry.direction for entry in sandbox.requests.log if entry.product == "MESSAGES"} == {"outbound"}
