"""Mistakes in seeds and settings are reported with what to do, and an older database needs no full refresh."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.transform.small import Small

if TYPE_CHECKING:
    from pathlib import Path

    from tests.transform.project import Dbt

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the server comes for Linux and macOS only")

AT = "2026-10-15T12:00:00Z"
SMS = {"id": "s1", "account_id": "own1", "direction": "outbound", "from": "Shop", "to": "447700900001"}
SMS |= {"date_received": AT, "status": "delivered", "country": "GB", "currency": "EUR", "total_price": "0.05"}
ACCOUNT = {"api_key": "own1", "name": "Own"}
LINE = {"invoice": "I-1", "month": "2026-10-01", "product": "SMS", "currency": "EUR", "amount": "0.05"}
PERSONAL = ("from", "to", "client_ref")
SEEDS = ("vonage_invoices", "vonage_price_plans", "vonage_account_names")


@pytest.fixture(scope="module", params=["duckdb", "postgres"])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, dbt: Dbt) -> Small:
    """The models built once over one SMS, with empty seeds."""
    server = request.getfixturevalue("postgres") if request.param == "postgres" else None
    small = Small(dbt, tmp_path_factory.mktemp(f"small-{request.param}"), server)
    small.load({"sms": [SMS, SMS | {"id": "s2", "account_id": "other"}], "accounts": [ACCOUNT]})
    small.project.succeed("build", "--exclude", "test_type:unit")
    return small


def plan(**columns: str) -> tuple[str, dict[str, str]]:
    return "vonage_price_plans", {"markup_percent": "10", **columns}


def line(**columns: str) -> tuple[str, dict[str, str]]:
    return "vonage_invoices", LINE | columns


MISTAKES = {
    "invoices_can_be_compared": {
        "no time zone Europe/Berln": [line(time_zone="Europe/Berln", month="2026-06-01")],
        "the lines of 2026-07 have several time zones": [
            line(month="2026-07-01", time_zone="UTC"),
            line(month="2026-07-01", time_zone="Europe/Berlin", product="AMD"),
        ],
        "only some lines of 2026-08 name an account": [
            line(month="2026-08-01"),
            line(month="2026-08-01", account_id="own1"),
        ],
        "there is no product Number rental": [line(product="Number rental")],
    },
    "price_plans_are_valid": {
        "from 2026-10-15 begins within a month": [plan(valid_from="2026-10-15")],
        "product SMS, country (all), from (always) ends within a month": [plan(product="sms", valid_to="2026-10-15")],
        "from 2026-09-01 ends before it begins": [plan(valid_from="2026-09-01", valid_to="2026-08-31")],
        "product ASR, country (all), from (always) would bill a neg": [plan(product="ASR", fee_per_unit="-0.01")],
        "product AMD, country (all), from (always) would bill a neg": [plan(product="AMD", markup_percent="-101")],
        "country UK, from (always) has a country that is no code": [plan(country="uk")],
        "product VOICE-CALL, country (all), from (always) stands in the seed more than once": [
            plan(product="voice call"),
            plan(product="VOICE-CALL", markup_percent="20"),
        ],
        "country US, from (always) has units that are neither charged nor all": [plan(country="US", units="some")],
        "there is no product Voice. ": [plan(product="Voice")],
    },
}
WARNINGS = {
    "price_plans_follow_each_other": {
        "hold in 2026-11. The one that begins later counts.": [
            plan(product="SMS"),
            plan(product="sms", valid_from="2026-11-01"),
        ],
    },
    "accounts_in_seeds_are_known": {
        "vonage_price_plans: account OWN1 is unknown": [plan(account_id="OWN1")],
        "vonage_invoices: account own is unknown": [line(account_id="own")],
        "account other is not one of yours": [plan(account_id="other")],
        "vonage_account_names: account Own1 has no records, but own1 has": [
            ("vonage_account_names", {"account_id": "Own1", "name": "Shop"})
        ],
    },
}
MARTS = {"vonage_invoices": "vonage__invoice_reconciliation", "vonage_price_plans": "vonage__customer_billing"}
RIGHT = [
    plan(account_id="own1", product="sms", country="gb", valid_from="2026-10-01", valid_to="2026-10-31", units="All"),
    plan(account_id="own1", product="sms", country="gb", valid_from="2026-11-01", valid_to="2026-11-01"),
    plan(account_id="unassigned", markup_percent="-100", fee_per_unit="0.01", free_units="1"),
    line(time_zone="europe/berlin"),
    line(time_zone="Europe/Berlin", product="Voice call", invoice="I-2"),
    line(month="2026-09-01", account_id="own1"),
]


@pytest.mark.parametrize("test", MISTAKES)
def test_a_mistake_in_a_seed_stops_its_mart_and_prints_what_to_do(small: Small, test: str) -> None:
    lines = [line for lines in MISTAKES[test].values() for line in lines]
    done = build(small, lines)
    assert [name for name, status in done["nodes"].items() if status in {"warn", "fail", "error"}] == [test]
    assert done["nodes"][MARTS[lines[0][0]]] == "skipped"
    for message in MISTAKES[test]:
        assert message in done["printed"]


def test_what_may_be_a_mistake_in_a_seed_is_a_warning(small: Small) -> None:
    done = build(small, [line for messages in WARNINGS.values() for lines in messages.values() for line in lines])
    assert {name for name, status in done["nodes"].items() if status in {"warn", "fail", "error"}} == {*WARNINGS}
    assert {done["nodes"][mart] for mart in MARTS.values()} == {"success"}
    for message in (message for messages in WARNINGS.values() for message in messages):
        assert message in done["printed"]


def test_what_is_right_in_a_seed_gives_no_warning(small: Small) -> None:
    done = build(small, RIGHT)
    assert set(done["nodes"].values()) <= {"success", "pass", "no-op"}
    assert "vonage_" not in done["printed"]
    assert small.query("select product, billed_units, free_units from vonage__customer_billing order by 1, 2") == [
        ("SMS", 0, 1),
        ("SMS", 1, 0),
    ]


def test_a_mistyped_time_zone_stops_before_any_model(small: Small, tmp_path: Path) -> None:
    # In a folder of its own: with other variables, dbt parses the project anew, and again in the next test.
    own = ("--target-path", str(tmp_path))
    done = small.project.run("run", "--vars", json.dumps({"vonage_time_zone": "Europe/Berln"}), *own)
    assert not done["success"]
    assert "vonage_time_zone is 'Europe/Berln'" in done["error"] + str(done["failures"])
    assert set(done["nodes"].values()) <= {"error", "skipped"}


def test_accounts_of_one_name_are_told_apart(small: Small) -> None:
    names = [{"account_id": " own1 ", "name": "Shop"}, {"account_id": "other", "name": "Shop"}]
    build(small, [("vonage_account_names", name) for name in names])
    assert small.query("select account_id, account_name from dim_vonage__account order by 1") == [
        ("other", "Shop (other)"),
        ("own1", "Shop (own1)"),
    ]


def shown(policy: str, row: dict[str, str]) -> dict[str, str]:
    """A row as the tap gives it with a value of the setting personal_data."""
    if policy == "drop":
        return {name: value for name, value in row.items() if name not in PERSONAL}
    hashed = {name: hashlib.sha256(row[name].encode()).hexdigest() for name in PERSONAL if name in row}
    return row | hashed if policy == "hash" else row


@pytest.mark.parametrize("policy", ["keep", "hash", "drop"])
def test_pairs_that_personal_data_hides_are_reported(small: Small, policy: str) -> None:
    of_messages = SMS | {"id": "s3", "client_ref": "1|m1|1760529600000|eu"}
    of_verify = SMS | {"id": "s4", "client_ref": "2", "from": "verify", "to": "447700900002"}
    message = SMS | {"id": "m1", "message_id": "m1", "client_ref": "3", "provider": "sms"}
    check = {"id": "v1", "account_id": "own1", "to": "447700900002", "sms_event_count": "1", "date_received": AT}
    check |= {"currency": "EUR", "total_price": "0.07"}
    tables = {"sms": [of_messages, of_verify], "messages": [message], "verify_v2": [check]}
    small.load({name: [shown(policy, row) for row in rows] for name, rows in tables.items()})
    for seed in SEEDS:
        small.seed(seed)
    marts = ("vonage__same_message_limits", "vonage__same_message", "vonage__customer_billing")
    selected = (*(f"+{mart}" for mart in marts), "same_messages_can_be_found")
    done = small.project.succeed("build", "--full-refresh", "--indirect-selection", "empty", "--select", *selected)
    doubtful = "select product, other_product, is_certain, records from vonage__same_message order by 1, 2"
    limits = "select stream, other_product, hidden_records from vonage__same_message_limits where hidden_records > 0"
    bill = "select product, records, doubtful_records from vonage__customer_billing order by 1"
    if policy == "keep":
        assert done["nodes"]["same_messages_can_be_found"] == "pass"
        assert small.query(limits) == []
        assert small.query(doubtful) == [("SMS", "MESSAGES", True, 1), ("SMS", "VERIFY-V2", True, 1)]
        assert small.query(bill) == [("MESSAGES", 1, 0), ("VERIFY-V2", 1, 0)]
        return
    assert done["nodes"]["same_messages_can_be_found"] == "warn"
    assert "Senders or recipients in 2 of 2 rows of sms are hashed, dropped or not loaded" in done["printed"]
    assert sorted(small.query(limits)) == [("messages", "VERIFY", 1), ("sms", "MESSAGES", 2), ("sms", "VERIFY", 2)]
    assert small.query(doubtful) == [("MESSAGES", "SMS", False, 1), ("VERIFY-V2", "SMS", False, 1)]
    assert small.query(bill) == [("MESSAGES", 1, 1), ("SMS", 2, 0), ("VERIFY-V2", 1, 1)]


def sms_of(*days: int) -> list[dict[str, str]]:
    rows = [{"id": f"s{day:02}", "date_received": f"2026-10-{day:02}T12:00:00Z", "country": "GB"} for day in days]
    return [row | {"status": "delivered", "_sdc_batched_at": row["date_received"]} for row in rows]


def test_a_column_that_an_earlier_version_lacked_is_filled_in_all_rows(small: Small) -> None:
    run = ("run", "--select", "+fct_vonage__usage")
    small.load({"sms": sms_of(1, 10)})
    small.project.succeed(*run, "--full-refresh")
    small.query("alter table int_vonage__usage drop column country cascade")
    small.load({"sms": sms_of(1, 10, 20)})
    small.project.succeed(*run)
    found = small.query("select record_id, country from fct_vonage__usage order by 1")
    assert found == [("s01", "GB"), ("s10", "GB"), ("s20", "GB")]


def build(small: Small, lines: list[tuple[str, dict[str, str]]]) -> dict[str, dict[str, str]]:
    """Build the seeds and what depends on them."""
    for seed in SEEDS:
        small.seed(seed, *(line for name, line in lines if name == seed))
    return small.project.run("build", "--select", *(f"{seed}+" for seed in SEEDS), "--exclude", "test_type:unit")
