"""The official Node clients read the sandbox: witnesses that know nothing of this project."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.products import PRODUCTS
from tests.environments import with_the_real_date
from tests.sandbox.reading import DAY, SHAPES, Reader, utc
from tests.sandbox.reporting import cells, table

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent / "node"
PRODUCTS_OF_THE_CLIENT = {product.name for product in PRODUCTS.values()} - {"NUMBER-INSIGHT-V2"}
"""The client no longer names NUMBER-INSIGHT-V2 (contradiction 17 of the facts); it reads it all the same."""


@pytest.fixture(scope="session")
def client() -> Path:
    """The installed client; it is kept in the user's cache from one run to the next."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("the official client needs Node.js and npm on the PATH")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tap-vonage-reports" / "node"
    wanted = (HERE / "package.json").read_text(encoding="utf-8")
    installed = cache / "installed.json"
    if not installed.exists() or installed.read_text(encoding="utf-8") != wanted:
        cache.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "package.json", cache)
        done = subprocess.run(  # noqa: S603 - the npm that was found
            [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"],
            cwd=cache,
            env=with_the_real_date(),
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        if done.returncode:
            pytest.skip("npm could not install the official client; is there a package registry?")
        installed.write_text(wanted, encoding="utf-8")
    return cache


def ran(client: Path, script: str, reader: Reader, task: dict[str, Any]) -> dict[str, Any]:
    """What a script of the client saw of a sandbox."""
    sandbox = reader.sandbox
    access = {"host": sandbox.url, "key": sandbox.api_key, "secret": sandbox.api_secret}
    shutil.copy(HERE / script, client)
    done = subprocess.run(  # noqa: S603 - the client
        ["node", script, json.dumps(access | task)],  # noqa: S607 - the Node.js of the fixture
        cwd=client,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture
def read(client: Path) -> Callable[..., dict[str, Any]]:
    """Runs queries through the client against a sandbox."""

    def run(reader: Reader, queries: list[dict[str, Any]], **credentials: str) -> dict[str, Any]:
        return ran(client, "read.mjs", reader, {"queries": queries, **credentials})

    return run


def query(stream: str, direction: str = "", **given: Any) -> dict[str, Any]:
    asked = {"product": PRODUCTS[stream].name, "accountId": "abcd1234", "dateStart": DAY[0], "dateEnd": DAY[1]}
    return asked | ({"direction": direction} if direction else {}) | given


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def test_the_client_reads_every_product_page_by_page(
    opened: Callable[..., Reader], read: Callable[..., dict[str, Any]]
) -> None:
    reader = opened(rows={"*": 70}, page_size=30)
    seen = read(reader, [query(stream, direction) for stream, direction in SHAPES])
    assert set(seen["products"]) == PRODUCTS_OF_THE_CLIENT
    for (stream, direction), answer in zip(SHAPES, seen["answers"], strict=True):
        expected = reader.sandbox.expected(stream, None, direction, utc(DAY[0]), utc(DAY[1]))
        pages = answer["pages"]
        records = [record for page in pages for record in page["records"]]
        assert "error" not in answer
        assert [page["status"] for page in pages] == ["TRUNCATED", "TRUNCATED", "SUCCESS"]
        assert [page["count"] for page in pages] == [30, 30, len(expected) - 60]
        assert [bool(page["next"]) for page in pages] == [True, True, False]
        assert [record["id"] for record in records] == [row["id"] for row in expected]
        assert [set(record) for record in records] == [{camel(name) for name in row} for row in expected]
        texts = [{camel(k): v for k, v in row.items() if isinstance(v, str)} for row in expected]
        assert all(text.items() <= record.items() for text, record in zip(texts, records, strict=True))


def test_the_client_gets_message_bodies_and_ids(reader: Reader, read: Callable[..., dict[str, Any]]) -> None:
    rows = reader.sandbox.expected("sms", None, "outbound", utc(DAY[0]), utc(DAY[1]), include_message=True)
    ids = [row["id"] for row in rows[:3]]
    by_id = {"product": "SMS", "accountId": "abcd1234", "direction": "outbound", "id": ",".join([*ids, "unknown"])}
    bodies, found = read(reader, [query("sms", "outbound", includeMessage=True), by_id])["answers"]
    assert [record["messageBody"] for record in bodies["pages"][0]["records"]] == [row["message_body"] for row in rows]
    assert [record["id"] for record in found["pages"][0]["records"]] == ids
    assert found["pages"][0]["missing"] == "unknown"


def test_the_client_sees_the_errors_of_the_api(
    opened: Callable[..., Reader], read: Callable[..., dict[str, Any]]
) -> None:
    reader = opened(rows={"*": 3}, faults=["500,product=AMD", "429=7,product=ASR"])
    answers = read(
        reader,
        [
            query("voice_tts", "outbound"),
            query("sms"),
            query("sms", "outbound", accountId="foreign1"),
            query("sms", "outbound", product="NOTHING"),
            query("sms", "outbound", color="red"),
            query("amd"),
            query("asr", "outbound"),
        ],
    )["answers"]
    assert [answer["error"]["status"] for answer in answers] == [422, 422, 403, 422, 422, 500, 429]
    assert {answer["error"]["type"] for answer in answers} == {"application/problem+json"}
    named = [[p["name"] for p in answer["error"]["body"].get("invalid_parameters", [])] for answer in answers]
    assert named == [["direction"], ["direction"], [], ["product"], ["color"], [], []]


def test_the_client_sees_that_its_credentials_are_wrong(reader: Reader, read: Callable[..., dict[str, Any]]) -> None:
    wrong = {"secret": "wrong"}
    (answer,) = read(reader, [query("sms", "outbound")], **wrong)["answers"]
    assert answer["error"]["status"] == 401
    assert answer["error"]["body"]["title"] == "Unauthorized"


def test_the_client_gets_reports_and_cancels_them(opened: Callable[..., Reader], client: Path, tmp_path: Path) -> None:
    # The client downloads from Vonage's hosts alone; the script takes that address to the sandbox.
    reader = opened(rows={"*": 70}, polls=3, faults=["link-elsewhere=https://api.nexmo.com"])
    asked = query("sms", "outbound", includeMessage=True, includeSubaccounts=False)
    file = tmp_path / "report.zip"
    seen = ran(client, "report.mjs", reader, {"query": asked, "path": str(file)})
    assert [report["requestStatus"] for report in seen["states"]] == ["PENDING", "PENDING", "PROCESSING", "SUCCESS"]
    assert {report["requestId"] for report in seen["states"]} == {seen["states"][0]["requestId"]}
    assert seen["states"][-1]["itemsCount"] == 70
    header, lines = table(file.read_bytes())
    expected = reader.sandbox.expected("sms", None, "outbound", utc(DAY[0]), utc(DAY[1]), include_message=True)
    assert lines == [cells(row, header) for row in expected]
    assert seen["cancelled"]["requestStatus"] == "ABORTED"
    assert [error["status"] for error in seen["errors"]] == [409, 404, 422]
    assert [error["body"]["title"] for error in seen["errors"]] == [
        "Invalid Abort Operation",
        "Invalid report ID",
        "Unprocessable entity",
    ]


def test_the_client_of_the_subaccounts_api_reads_the_accounts(opened: Callable[..., Reader], client: Path) -> None:
    reader = opened(subaccount_keys=["sub00001", "sub00002"])
    seen = ran(client, "accounts.mjs", reader, {"one": "sub00002", "unknown": "sub00009"})
    assert (seen["primary"]["apiKey"], seen["primary"]["balance"]) == (reader.sandbox.api_key, 9999)
    shared, own = seen["subaccounts"]
    assert shared == {
        "apiKey": "sub00001",
        "name": "Sub-account 1",
        "primaryAccountApiKey": reader.sandbox.api_key,
        "usePrimaryAccountBalance": True,
        "createdAt": "2024-03-02T16:34:49Z",
        "suspended": False,
        "balance": None,
        "creditLimit": None,
    }
    assert (own["usePrimaryAccountBalance"], own["balance"], own["creditLimit"]) == (False, 200.52, -20.1)
    assert seen["one"] == own
    assert seen["unknown"]["status"] == 404


def test_the_client_of_the_subaccounts_api_sees_that_the_service_is_off(
    opened: Callable[..., Reader], client: Path
) -> None:
    reader = opened(faults=["forbidden,endpoint=subaccounts"])
    seen = ran(client, "accounts.mjs", reader, {"one": "sub00002", "unknown": "sub00009"})
    assert (seen["primary"]["status"], seen["primary"]["body"]["title"]) == (403, "Forbidden")
