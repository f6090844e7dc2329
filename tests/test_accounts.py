"""The stream of accounts: every account with its name and balance, read once a run, and never at others' expense."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pyarrow.parquet as pq
import pytest

from tap_vonage_reports.api.accounts import account_rows, check_accounts
from tap_vonage_reports.api.responses import read_answer
from tap_vonage_reports.errors import ApiError, CredentialsError, RetriableApiError, SettingsError, SyncFailedError
from tap_vonage_reports.sandbox import Fault
from tap_vonage_reports.sandbox.accounts import Account, Accounts
from tap_vonage_reports.tap import TapVonageReports
from tests.harness import catalog_of, run_main, run_tap, settings_for
from tests.hostile import HostileServer, as_json, reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_vonage_reports.sandbox import Sandbox
    from tests.harness import Output

PRIMARY, FIRST, SECOND, THIRD = "abcd1234", "sub00001", "sub00002", "sub00003"
DATES = {"start_date": "2026-11-19T00:00:00Z", "end_date": "2026-11-20T00:00:00Z"}
SALT = "a long and random text"


@pytest.fixture
def sandbox(make_sandbox: Callable[..., Sandbox]) -> Sandbox:
    return make_sandbox(rows={"amd": 5}, subaccount_keys=[FIRST, SECOND, THIRD])


def read(sandbox: Sandbox, *streams: str, **settings: Any) -> Output:
    return run_tap(settings_for(sandbox, **DATES, **settings), streams or ["accounts"])


def listed(sandbox: Sandbox) -> int:
    return sum(entry.endpoint == "subaccounts" for entry in sandbox.requests.log)


def by_key(output: Output) -> dict[str, dict[str, Any]]:
    return {record["api_key"]: record for record in output.records["accounts"]}


def summary_of(output: Output, stream: str) -> list[str]:
    """The stream's line; a partition that failed has another one after it."""
    line, *_ = [line for line in output.log.splitlines() if line.startswith(f"{stream} ")]
    return line.split()


def test_every_account_is_a_record_with_its_name_and_balance(sandbox: Sandbox) -> None:
    output = read(sandbox)
    assert (output.code, list(by_key(output))) == (0, [PRIMARY, FIRST, SECOND, THIRD])
    assert by_key(output)[PRIMARY] == {
        "api_key": PRIMARY,
        "name": "Primary",
        "primary_account_api_key": None,
        "use_primary_account_balance": None,
        "suspended": False,
        "created_at": "2024-03-02T16:34:49+00:00",
        "balance": 9999,
        "credit_limit": 0,
        "_extra": None,
    }
    shared, own = by_key(output)[FIRST], by_key(output)[SECOND]
    assert (shared["primary_account_api_key"], own["primary_account_api_key"]) == (PRIMARY, PRIMARY)
    assert (shared["use_primary_account_balance"], shared["balance"], shared["credit_limit"]) == (True, None, None)
    assert (own["use_primary_account_balance"], own["balance"]) == (False, Decimal("200.52"))
    assert by_key(output)[THIRD]["created_at"] == "2024-03-04T16:34:49.000+00:00"


def test_accounts_join_to_the_records_of_products(sandbox: Sandbox) -> None:
    output = read(sandbox, "accounts", "amd", include_subaccounts=True)
    assert {record["account_id"] for record in output.records["amd"]} == set(by_key(output))


def test_the_accounts_are_listed_once_a_run(sandbox: Sandbox) -> None:
    output = read(sandbox, "accounts", "amd", include_subaccounts=True)
    assert listed(sandbox) == 1
    assert len(by_key(output)) == 4


def test_accounts_that_nobody_asked_for_are_not_requested(sandbox: Sandbox) -> None:
    assert read(sandbox, "amd").code == 0
    assert run_tap(settings_for(sandbox, **DATES)).records["accounts"] == []
    assert listed(sandbox) == 0


def test_accounts_are_read_by_default_with_subaccounts(sandbox: Sandbox) -> None:
    output = run_tap(settings_for(sandbox, **DATES, include_subaccounts=True))
    assert len(by_key(output)) == 4


def test_a_catalog_decides_against_accounts_even_with_subaccounts(sandbox: Sandbox) -> None:
    output = read(sandbox, "amd", include_subaccounts=True)
    assert len(output.records["amd"]) == 20
    assert by_key(output) == {}


def test_every_digit_of_a_balance_is_kept(make_sandbox: Callable[..., Sandbox]) -> None:
    balance = Decimal("12345678901234567.123456789012345678")
    assert records_of(make_sandbox(), account_list({"api_key": "a", "balance": balance}))["a"]["balance"] == balance


def records_of(sandbox: Sandbox, body: bytes, **settings: Any) -> dict[str, dict[str, Any]]:
    """The records of an answer."""
    output = of_answer(sandbox, body, **settings)
    assert output.code == 0
    return by_key(output)


def of_answer(sandbox: Sandbox, body: bytes, status: str = "200 OK", **settings: Any) -> Output:
    """A run in which the list of accounts has this body."""
    empty = {"request_status": "SUCCESS", "items_count": 0, "records": []}
    with HostileServer(
        lambda request: reply(body, status) if request.path.startswith("/accounts/") else reply(as_json(empty))
    ) as server:
        return run_tap({**settings_for(sandbox, **DATES, **settings), "api_url": server.url}, ["accounts", "amd"])


def account_list(*rows: dict[str, Any]) -> bytes:
    primary, *others = rows
    return as_json({"_embedded": {"primary_account": primary, "subaccounts": others}})


def test_what_the_schema_does_not_know_is_in_extra(sandbox: Sandbox) -> None:
    found = records_of(
        sandbox,
        account_list(
            {"api_key": "a", "region": "EU", "balance": "much", "created_at": "2018-03-02T16:34:49.5Z"},
            {"api_key": "b", "created_at": "soon", "suspended": None, "tags": {"a": 1}},
        ),
    )
    assert found["a"]["_extra"] == {"balance": "much", "region": "EU"}
    assert (found["a"]["balance"], found["a"]["created_at"]) == (None, "2018-03-02T16:34:49.5+00:00")
    assert found["b"]["_extra"] == {"created_at": "soon", "tags": '{"a":1}'}


def test_the_original_of_an_odd_name_is_in_extra(sandbox: Sandbox) -> None:
    body = b'{"_embedded": {"primary_account": {"api_key": "a", "name": "x\\u0000y"}, "subaccounts": []}}'
    assert records_of(sandbox, body)["a"]["name"] == "x\ufffdy"
    assert records_of(sandbox, body)["a"]["_extra"] == {"name": "x\\u0000y"}


BROKEN = [
    {},
    {"_embedded": None},
    {"_embedded": {"primary_account": {"api_key": "a"}}},
    {"_embedded": {"subaccounts": []}},
    {"_embedded": {"primary_account": [], "subaccounts": []}},
    {"_embedded": {"primary_account": {"api_key": "a"}, "subaccounts": {}}},
    {"_embedded": {"primary_account": {"api_key": "a"}, "subaccounts": [None]}},
    {"_embedded": {"primary_account": {"api_key": "a b"}, "subaccounts": []}},
    {"_embedded": {"primary_account": {"api_key": 5}, "subaccounts": []}},
]


@pytest.mark.promise("Unknown is never treated as empty.")
@pytest.mark.parametrize("body", BROKEN, ids=str)
def test_a_list_of_another_form_fails_that_stream_alone(sandbox: Sandbox, body: dict[str, Any]) -> None:
    output = of_answer(sandbox, as_json(body))
    assert isinstance(output.error, SyncFailedError)
    assert "1 of 2 partitions could not be read" in str(output.error)
    assert (summary_of(output, "accounts")[-1], summary_of(output, "amd")[-1]) == ("failed", "read")
    assert output.records["accounts"] == []


def test_a_broken_answer_is_tried_again(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.NOT_JSON, endpoints=["subaccounts"], first=2)
    output = read(sandbox)
    assert (output.code, len(by_key(output)), listed(sandbox)) == (0, 4, 3)


def test_answers_that_stay_broken_hurt_no_other_stream(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.SERVER_ERROR, endpoints=["subaccounts"])
    output = read(sandbox, "accounts", "amd")
    assert output.code == 1
    assert len(output.records["amd"]) == 5
    assert "accounts: HTTP 500" in str(output.error)
    assert listed(sandbox) == 8


def test_a_service_that_is_off_is_skipped_with_a_reason(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.FORBIDDEN, endpoints=["subaccounts"])
    output = read(sandbox, "accounts", "amd")
    assert output.code == 0
    assert summary_of(output, "accounts")[-1] == "skipped"
    assert len(output.records["amd"]) == 5
    (reason,) = [line for line in output.log.splitlines() if line.startswith("accounts: skipped")]
    assert "HTTP 403 Forbidden. The Subaccounts API may not be enabled" in reason


def test_a_service_that_is_off_alone_is_no_failure(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.FORBIDDEN, endpoints=["subaccounts"])
    assert read(sandbox).code == 0


def test_a_refusal_for_another_reason_is_a_failure(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.LOW_BALANCE, endpoints=["subaccounts"])
    output = read(sandbox, "accounts", "amd")
    assert output.code == 1
    assert "accounts: The API rejected the request: HTTP 403 Low balance" in str(output.error)


def test_accounts_hide_no_refusal_of_every_product(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.FORBIDDEN, endpoints=["records"])
    output = read(sandbox, "accounts", "amd")
    assert len(by_key(output)) == 4
    assert isinstance(output.error, SyncFailedError)
    assert "The API refused every selected" in str(output.error)


def test_wrong_credentials_are_told_and_nothing_is_listed(sandbox: Sandbox) -> None:
    output = read(sandbox, api_secret="wrong")  # noqa: S106 - not a secret
    assert isinstance(output.error, CredentialsError)
    assert listed(sandbox) == 0


def test_credentials_that_the_list_alone_refuses_are_a_failure(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.REVOKED, endpoints=["subaccounts"])
    output = read(sandbox, "accounts", "amd")
    assert output.code == 1
    assert "Check api_key and api_secret" in str(output.error)


def test_subaccounts_that_are_to_be_read_and_are_refused_end_the_run(sandbox: Sandbox) -> None:
    sandbox.faults.on(Fault.FORBIDDEN, endpoints=["subaccounts"])
    output = read(sandbox, "accounts", "amd", include_subaccounts=True)
    assert isinstance(output.error, ApiError)
    assert "The sub-accounts could not be listed" in str(output.error)
    assert output.records == {}


def test_an_old_state_is_passed_through_without_a_bookmark_for_accounts(sandbox: Sandbox) -> None:
    old = read(sandbox, "amd").state
    assert old is not None
    output = run_tap(settings_for(sandbox, **DATES), ["accounts"], {**old, "of_a_wrapper": 1})
    assert len(by_key(output)) == 4
    assert output.state == {"bookmarks": {**old["bookmarks"], "accounts": {}}, "of_a_wrapper": 1}


def test_a_second_run_reads_all_accounts_again(sandbox: Sandbox) -> None:
    first = read(sandbox)
    second = run_tap(settings_for(sandbox, **DATES), ["accounts"], first.state)
    assert by_key(second) == by_key(first)


def test_a_catalog_cannot_make_accounts_incremental(sandbox: Sandbox) -> None:
    catalog = catalog_of(["accounts"])
    for entry in catalog["streams"]:
        entry.update(replication_method="INCREMENTAL", replication_key="created_at", key_properties=["name"])
    tap = TapVonageReports(config=settings_for(sandbox, **DATES), catalog=catalog)
    assert tap.streams["accounts"].replication_method == "FULL_TABLE"
    output = run_tap(settings_for(sandbox, **DATES), catalog=catalog)
    assert (output.code, len(by_key(output))) == (0, 4)
    (schema,) = [message for message in output.messages if message["type"] == "SCHEMA"]
    assert schema["key_properties"] == ["api_key"]


def test_deselected_columns_of_accounts_are_left_out(sandbox: Sandbox) -> None:
    catalog = catalog_of(["accounts"])
    (entry,) = [entry for entry in catalog["streams"] if entry["stream"] == "accounts"]
    for metadata in entry["metadata"]:
        if metadata["breadcrumb"][1:] in (["balance"], ["_extra"]):
            metadata["metadata"]["selected"] = False
    records = by_key(run_tap(settings_for(sandbox, **DATES), catalog=catalog)).values()
    assert {"balance", "_extra"} & {name for record in records for name in record} == set()
    assert all(record["name"] for record in records)


@pytest.mark.promise("No secret and no personal datum ever reaches a log line or an error message.")
def test_the_log_shows_no_name_and_no_key_of_the_primary_account(make_sandbox: Callable[..., Sandbox]) -> None:
    accounts = Accounts(Account("0a1b2c3d", "Grace Hopper"), subaccounts=(Account(FIRST, "Ada Lovelace"),))
    sandbox = make_sandbox(accounts=accounts)
    output = read(sandbox)
    assert by_key(output)["0a1b2c3d"]["name"] == "Grace Hopper"
    assert not [text for text in ("0a1b2c3d", "Grace", "Ada", accounts.secret) if text in output.log]


def test_names_are_hashed_or_dropped_as_personal_data(sandbox: Sandbox) -> None:
    hashed = by_key(read(sandbox, personal_data="hash", personal_data_salt=SALT))[FIRST]
    assert len(hashed["name"]) == 64
    assert (hashed["api_key"], hashed["primary_account_api_key"]) == (FIRST, PRIMARY)
    output = read(sandbox, personal_data="drop")
    assert "name" not in by_key(output)[FIRST]
    (schema,) = [message for message in output.messages if message["type"] == "SCHEMA"]
    assert "name" not in schema["schema"]["properties"]


def test_stream_maps_and_flattening_apply_to_accounts(sandbox: Sandbox) -> None:
    maps = {"accounts": {"__alias__": "customers", "label": "name.upper()"}}
    assert [record["label"] for record in read(sandbox, stream_maps=maps).records["customers"]] == [
        *("PRIMARY", "SUB-ACCOUNT 1", "SUB-ACCOUNT 2", "SUB-ACCOUNT 3"),
    ]
    flat = read(sandbox, flattening_enabled=True, flattening_max_depth=1)
    assert len(by_key(flat)) == 4


def test_a_map_with_a_misspelled_column_is_told_before_any_request(sandbox: Sandbox) -> None:
    output = read(sandbox, stream_maps={"accounts": {"label": "naem"}})
    assert isinstance(output.error, SettingsError)
    assert sandbox.requests.log == []


def test_files_hold_the_accounts_as_records_do(sandbox: Sandbox, tmp_path: Path) -> None:
    records = list(by_key(read(sandbox)).values())
    for kind, rows in (("jsonl", rows_of_jsonl), ("parquet", rows_of_parquet)):
        storage = {"root": (tmp_path / kind).as_uri()}
        output = read(sandbox, batch_config={"encoding": {"format": kind}, "storage": storage})
        manifest = [path for message in output.messages if message["type"] == "BATCH" for path in message["manifest"]]
        found = [row for path in manifest for row in rows(Path(unquote(urlsplit(path).path)))]
        assert len(manifest) == 1
        assert [row["api_key"] for row in found] == [record["api_key"] for record in records]
        assert [row["balance"] for row in found] == [record["balance"] for record in records]
        assert summary_of(output, "accounts")[1] == "4"


def rows_of_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path) as file:
        yield from (json.loads(line, parse_float=Decimal) for line in file)


def rows_of_parquet(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def test_no_file_stays_of_accounts_that_could_not_be_read(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.faults.on(Fault.FORBIDDEN, endpoints=["subaccounts"])
    output = read(sandbox, batch_config={"encoding": {"format": "jsonl"}, "storage": {"root": tmp_path.as_uri()}})
    assert output.code == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# The command line


@pytest.fixture
def command(sandbox: Sandbox, tmp_path: Path) -> Callable[..., Output]:
    """Runs the command with a selection of streams."""

    def run(*arguments: str, streams: tuple[str, ...] = ("accounts", "amd"), **settings: Any) -> Output:
        config, catalog = tmp_path / "config.json", tmp_path / "catalog.json"
        config.write_text(json.dumps(settings_for(sandbox, **DATES, **settings)))
        catalog.write_text(json.dumps(catalog_of(streams)))
        return run_main("--config", config, "--catalog", catalog, *arguments)

    return run


def lines_of(output: Output) -> list[str]:
    return [line.decode() for line in output.lines]


def test_a_plan_names_the_accounts_and_requests_none(sandbox: Sandbox, command: Callable[..., Output]) -> None:
    lines = lines_of(command("--plan"))
    assert "accounts: the whole table, in 1 request" in lines
    assert "Selection: 2 streams, from the catalog." in lines
    assert json.loads(b"\n".join(command("--plan=json").lines))["whole_tables"] == ["accounts"]
    assert listed(sandbox) == 0


def test_a_plan_of_accounts_alone_is_no_plan_of_nothing(command: Callable[..., Output]) -> None:
    output = command("--plan", streams=("accounts",))
    assert output.code == 0
    assert lines_of(output)[2:5] == [
        "accounts: the whole table, in 1 request",
        "",
        "Selection: 1 stream, from the catalog.",
    ]
    assert "There is nothing else to fetch." in lines_of(output)


def test_the_test_counts_the_accounts_and_bills_none(command: Callable[..., Output]) -> None:
    output = command("--test")
    assert output.code == 0
    assert "accounts: available, 4 rows" in lines_of(output)
    assert lines_of(output)[-1].startswith("OK: 2 of 2 selected streams available; ")
    alone = command("--test", streams=("accounts",))
    assert lines_of(alone)[-1] == "OK: 1 of 1 selected stream available; 4 rows fetched, 0 of them billed"


def test_the_test_says_that_the_service_is_off(sandbox: Sandbox, command: Callable[..., Output]) -> None:
    sandbox.faults.on(Fault.FORBIDDEN, endpoints=["subaccounts"])
    output = command("--test")
    assert output.code == 0
    assert "accounts: not available, HTTP 403 Forbidden" in lines_of(output)


def test_a_sample_has_a_record_of_the_accounts(command: Callable[..., Output]) -> None:
    output = command("--test=records")
    assert output.code == 0
    assert [record["api_key"] for record in output.records["accounts"]] == [PRIMARY]


# The list


def test_a_list_is_read_as_keys_and_as_rows() -> None:
    body = read_answer(bytearray(account_list({"api_key": "a"}, {"api_key": "b", "balance": 1.5})), 200)
    check_accounts(body)
    assert account_rows(body)[0] == {"api_key": "a"}


def test_a_list_without_the_primary_account_has_no_rows() -> None:
    body = read_answer(bytearray(as_json({"_embedded": {"subaccounts": [{"api_key": "b"}]}})), 200)
    check_accounts(body)
    with pytest.raises(RetriableApiError):
        account_rows(body)
