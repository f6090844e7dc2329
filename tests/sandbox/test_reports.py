from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from tap_vonage_reports.products import PRODUCTS
from tests.sandbox.reading import DAY, NOW, SHAPES, Reader, basic, utc
from tests.sandbox.reporting import (
    REPORTS,
    cancel,
    cells,
    created,
    download,
    members,
    path,
    post,
    report,
    status,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PRIMARY = "abcd1234"


def problem(reader: Reader, body: dict[str, Any] | bytes) -> dict[str, Any]:
    answer = post(reader, body)
    assert answer.headers["Content-Type"] == "application/problem+json"
    refused: dict[str, Any] = answer.json()
    return refused | {"status": answer.status_code}


def named(refused: dict[str, Any]) -> list[str]:
    return [parameter["name"] for parameter in refused["invalid_parameters"]]


# What may be asked


def test_a_report_is_answered_at_once_with_what_was_asked(reader: Reader) -> None:
    asked = reader.ask("sms", "outbound", include_message=True, status="delivered", callback_url="https://me.invalid/x")
    answer = post(reader, asked)
    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == {*asked, "include_subaccounts", "request_id", "request_status", "receive_time", "_links"}
    assert body["request_status"] == "PENDING"
    assert body["receive_time"] == "2026-11-20T12:00:00+00:00"
    assert body["_links"] == {"self": {"href": f"{reader.sandbox.url}{REPORTS}/{body['request_id']}"}}
    assert (body["include_message"], body["include_subaccounts"]) == (True, False)
    assert (body["status"], body["callback_url"]) == ("delivered", "https://me.invalid/x")
    assert (utc(body["date_start"]), utc(body["date_end"])) == (utc(DAY[0]), utc(DAY[1]))
    UUID(body["request_id"])


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b'{"product": "SMS",}', b"\xff\xfe"])
def test_a_body_that_is_no_json_is_400(reader: Reader, body: bytes) -> None:
    refused = problem(reader, body)
    assert (refused["status"], refused["title"]) == (400, "Malformed JSON")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"SMS"'])
def test_a_body_that_is_no_object_is_400(reader: Reader, body: bytes) -> None:
    refused = problem(reader, body)
    assert (refused["status"], refused["title"]) == (400, "Invalid request parameter")


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"product": None}, ["product"]),
        ({"product": None, "account_id": ""}, ["product", "account_id"]),
        ({"product": "NOTHING"}, ["product"]),
        ({"direction": None}, ["direction"]),
        ({"direction": "sideways"}, ["direction"]),
        ({"product": "AMD"}, ["direction"]),
        ({"id": "x"}, ["id"]),
        ({"cursor": "x"}, ["cursor"]),
        ({"color": "red"}, ["color"]),
        ({"status": ""}, ["status"]),
        ({"status": 1}, ["status"]),
        ({"include_message": "perhaps"}, ["include_message"]),
        ({"include_subaccounts": 1}, ["include_subaccounts"]),
        ({"date_start": "yesterday"}, ["date_start"]),
        ({"date_start": DAY[1], "date_end": DAY[0]}, ["date_start"]),
        ({"date_end": NOW}, ["date_end"]),
        ({"product": "MESSAGES", "show_concatenated": True}, ["show_concatenated"]),
        ({"product": "NUMBER-INSIGHT", "direction": None, "country": "GB"}, ["country"]),
    ],
)
def test_a_report_that_makes_no_sense_is_422(reader: Reader, changes: dict[str, Any], names: list[str]) -> None:
    refused = problem(reader, reader.ask("sms", "outbound") | changes)
    assert (refused["status"], refused["title"]) == (422, "Unprocessable entity")
    assert named(refused) == names


def test_the_future_can_be_accepted(reader: Reader) -> None:
    reader.sandbox.faults.on("future-accepted")
    assert created(reader, date_end="2027-01-01T00:00:00Z")["date_end"] == "2027-01-01T00:00:00+00:00"


def test_a_foreign_account_is_403(reader: Reader) -> None:
    assert problem(reader, reader.ask("sms", "outbound", account_id="foreign1"))["status"] == 403


def test_wrong_credentials_are_401_everywhere(reader: Reader) -> None:
    asked = status(reader, created(reader))
    wrong = {"Authorization": basic(PRIMARY, "wrong")}
    for place in (path(asked), path(asked, "download_report"), REPORTS):
        assert reader.get(place, headers=wrong).status_code == 401


def test_missing_dates_mean_the_last_seven_days(reader: Reader) -> None:
    body = post(reader, {"product": "AMD", "account_id": PRIMARY}).json()
    assert (body["date_start"], body["date_end"]) == ("2026-11-13T12:00:00+00:00", "2026-11-20T12:00:00+00:00")


def test_a_window_may_be_a_year_long(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 2})
    rows = report(reader, date_start="2025-11-01T00:00:00Z", date_end="2026-11-01T00:00:00Z")
    assert len(rows) == 2 * 365


# What is in the file


@pytest.mark.parametrize(("stream", "direction"), SHAPES)
def test_a_file_holds_the_rows_of_the_synchronous_answer(reader: Reader, stream: str, direction: str) -> None:
    rows = reader.rows(**reader.ask(stream, direction))
    header, lines = table(download(reader, created(reader, stream, direction)).content)
    assert lines == [cells(row, header) for row in rows]
    assert {name for row in rows for name in row} <= set(header)


@pytest.mark.parametrize("switched", [True, "true"])
def test_the_switches_add_their_columns(opened: Callable[..., Reader], switched: Any) -> None:
    reader = opened(rows={"*": 400})
    plain = table(download(reader, created(reader)).content)[0]
    given = {"include_message": switched, "show_concatenated": switched}
    header, lines = table(download(reader, created(reader, **given)).content)
    texts: dict[str, Any] = {"include_message": "true", "show_concatenated": "true"}
    assert lines == [cells(row, header) for row in reader.rows(**reader.ask("sms", "outbound", **texts))]
    assert set(header) - set(plain) == {"message_body", "concatenated"}
    bodies = "".join(line["message_body"] for line in lines)
    assert all(character in bodies for character in '",\n')


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_a_file_has_the_columns_of_its_direction(reader: Reader, direction: str) -> None:
    header = table(download(reader, created(reader, "messages", direction)).content)[0]
    assert ("session_id" in header) is (direction == "outbound")
    assert "_extra" not in header


def test_the_file_of_messages_begins_like_the_real_one(reader: Reader) -> None:
    header = table(download(reader, created(reader, "messages", "outbound")).content)[0]
    real = """account_id message_id client_ref direction from to country country_name provider network network_name
        session_type session_id date_received date_finalized latency status error_code currency estimated_price
        total_price id"""
    assert [name for name in header if name in real.split()] == real.split()


def test_without_a_direction_a_file_holds_both_in_one_order(reader: Reader) -> None:
    rows = report(reader, "voice_call", "")
    assert {row["direction"] for row in rows} == {"inbound", "outbound"}
    assert [row["date_start"] for row in rows] == sorted((row["date_start"] for row in rows), reverse=True)
    assert [row["id"] for row in rows] == [row["id"] for row in reader.rows(**reader.ask("voice_call"))]


def test_a_file_can_hold_all_subaccounts(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 60}, subaccount_keys=["sub00001", "sub00002"])
    rows = report(reader, include_subaccounts=True)
    assert [row["date_received"] for row in rows] == sorted((row["date_received"] for row in rows), reverse=True)
    for account in (PRIMARY, "sub00001", "sub00002"):
        alone = reader.rows(**reader.ask("sms", "outbound", account_id=account))
        assert [row["id"] for row in rows if row["account_id"] == account] == [row["id"] for row in alone]
    assert {row["account_id"] for row in report(reader)} == {PRIMARY}
    assert {row["account_id"] for row in report(reader, account_id="sub00001")} == {"sub00001"}


def test_filters_select_rows(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 400})
    kept = [row for row in report(reader) if row["status"] == "delivered" and row["country"] == "GB"]
    assert report(reader, status="delivered", country="GB") == kept != []
    usage = report(reader, "reports_usage", "")
    assert {row["price"] for row in usage} == {"0.0004", "0.0"}


def test_an_archive_is_made_like_the_real_ones(reader: Reader) -> None:
    asked = created(reader)
    answer = download(reader, asked)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="SMS_{asked["request_id"]}.zip"'
    content = answer.content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (entry,) = archive.infolist()
    assert entry.filename == "report_SMS_abcd1234_20261120.csv"
    assert entry.compress_type == zipfile.ZIP_DEFLATED
    assert entry.flag_bits == 0x0808
    assert content[14:26] == bytes(12)
    text = members(content)[entry.filename]
    assert text.startswith(b'"account_id","message_id",')
    assert text.endswith(b'"\n')
    assert b"\r" not in text


def test_bytes_are_the_same_for_ever(reader: Reader) -> None:
    window = {"date_start": "2026-11-20T00:00:00Z", "date_end": "2026-11-20T11:59:59Z"}
    asked = created(reader, **window)
    before = download(reader, asked).content
    reader.sandbox.clock.advance(hours=71)
    assert download(reader, asked).content == before
    assert table(before)[1] != report(reader, **window)


def test_rows_are_those_of_the_moment_of_the_request(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 2400}, generation_seconds=3600)
    window = ("2026-11-20T00:00:00Z", "2026-11-20T11:59:59Z")
    expected = reader.sandbox.expected("sms", None, "outbound", *map(utc, window))
    asked = created(reader, window=window)
    reader.sandbox.clock.advance(hours=2)
    header, lines = table(download(reader, asked).content)
    assert lines == [cells(row, header) for row in expected]
    assert expected != reader.sandbox.expected("sms", None, "outbound", *map(utc, window))


def test_a_download_can_go_on_where_it_stopped(reader: Reader) -> None:
    asked = created(reader)
    whole = download(reader, asked)
    size = len(whole.content)
    assert whole.headers["Accept-Ranges"] == "bytes"
    for header, start, stop in (
        ("bytes=100-", 100, size),
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=-7", size - 7, size),
        (f"bytes=10-{size + 5}", 10, size),
    ):
        part = download(reader, asked, Range=header)
        assert part.status_code == 206
        assert part.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
        assert part.content == whole.content[start:stop]
    for header in ("bytes=x-", "rows=1-", "bytes=0-", "bytes=-"):
        assert download(reader, asked, Range=header).status_code == 200
    beyond = download(reader, asked, Range=f"bytes={size}-")
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")
    assert download(reader, asked, **{"Range": "bytes=5-", "If-Range": '"other"'}).status_code == 200
    assert download(reader, asked, **{"Range": "bytes=5-", "If-Range": whole.headers["ETag"]}).status_code == 206


def test_a_report_without_rows_has_a_file_with_a_header(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 0})
    asked = status(reader, created(reader))
    assert (asked["request_status"], asked["items_count"]) == ("SUCCESS", 0)
    header, lines = table(download(reader, asked).content)
    assert (header[0], lines) == ("account_id", [])


# How long it takes


def test_a_report_goes_through_its_states_poll_by_poll(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 60}, polls=4)
    asked = created(reader)
    seen = [status(reader, asked) for _ in range(5)]
    assert [body["request_status"] for body in seen] == ["PENDING", "PROCESSING", "PROCESSING", "SUCCESS", "SUCCESS"]
    assert ["start_time" in body for body in seen] == [False, True, True, True, True]
    assert ["items_count" in body for body in seen] == ["download_report" in body["_links"] for body in seen]
    assert [body.get("items_count") for body in seen] == [None, None, None, 60, 60]
    assert seen[3]["_links"]["download_report"]["href"].startswith(f"{reader.sandbox.url}/v3/media/")
    assert asked["request_id"] not in seen[3]["_links"]["download_report"]["href"]


def test_a_report_is_final_at_the_first_poll_unless_said_otherwise(
    opened: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tap_vonage_reports.sandbox.reports.PATIENCE", 60)
    reader = opened(rows={"*": 60}, polls=None)
    assert status(reader, created(reader))["request_status"] == "SUCCESS"


def test_a_report_takes_as_long_as_said_on_the_clock(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 60}, generation_seconds=300)
    reader.sandbox.options.pending_seconds = 60
    asked = created(reader)
    states = []
    for _ in range(4):
        states.append(status(reader, asked)["request_status"])
        reader.sandbox.clock.advance(seconds=130)
    assert states == ["PENDING", "PROCESSING", "PROCESSING", "SUCCESS"]


def test_a_slow_report_can_be_let_go(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 60}, generation_seconds=1e9)
    asked = created(reader)
    assert status(reader, asked)["request_status"] == "PROCESSING"
    reader.sandbox.options.generation_seconds = 0
    assert status(reader, asked)["request_status"] == "SUCCESS"


def test_a_realistic_report_takes_seven_minutes_for_a_million_rows(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 10_000}, realistic=True)
    asked = created(reader)
    seen = []
    for seconds in (0, 6, 2, 2):
        reader.sandbox.clock.advance(seconds=seconds)
        seen.append(status(reader, asked)["request_status"])
    assert seen == ["PENDING", "PROCESSING", "PROCESSING", "SUCCESS"]


# How it ends


def test_a_report_can_be_cancelled_until_it_is_final(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 60}, polls=2)
    first, second = created(reader), created(reader)
    answer = cancel(reader, first)
    assert (answer.status_code, answer.json()["request_status"]) == (200, "ABORTED")
    assert answer.json()["request_id"] == first["request_id"]
    assert status(reader, first)["request_status"] == "ABORTED"
    assert [status(reader, second)["request_status"] for _ in range(2)] == ["PENDING", "SUCCESS"]
    for final in (first, second):
        refused = cancel(reader, final)
        assert (refused.status_code, refused.json()["title"]) == (409, "Invalid Abort Operation")


@pytest.mark.parametrize("place", [f"{REPORTS}/nothing", "/v3/media/nothing", f"{REPORTS}/%20"])
def test_an_unknown_id_is_404(reader: Reader, place: str) -> None:
    refused = reader.get(place)
    assert (refused.status_code, refused.json()["title"]) == (404, "Invalid report ID")


def test_cancelling_an_unknown_report_is_404(reader: Reader) -> None:
    body = created(reader)
    body["_links"]["self"]["href"] += "x"
    assert cancel(reader, body).status_code == 404


def test_a_file_is_gone_after_72_hours_and_the_state_after_four_days(reader: Reader) -> None:
    asked = created(reader)
    file = path(status(reader, asked), "download_report")
    codes = []
    for hours in (71, 1, 23, 1):
        reader.sandbox.clock.advance(hours=hours)
        created(reader)
        codes.append((reader.get(file).status_code, reader.get(path(asked)).status_code))
    assert codes == [(200, 200), (404, 200), (404, 200), (404, 404)]


def test_reports_are_listed_by_account_and_state(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 3}, polls=1, subaccount_keys=["sub00001"])
    done, waiting = created(reader), created(reader)
    other = created(reader, account_id="sub00001")
    status(reader, done)
    body = reader.get(REPORTS, account_id=PRIMARY, status="SUCCESS,PENDING").json()
    assert set(body) == {"self_link", "items_count", "reports"}
    assert body["items_count"] == 2
    assert [(one["request_id"], one["request_status"]) for one in body["reports"]] == [
        (done["request_id"], "SUCCESS"),
        (waiting["request_id"], "PENDING"),
    ]
    alone = reader.get(REPORTS, account_id="sub00001", status="PENDING").json()
    assert [one["request_id"] for one in alone["reports"]] == [other["request_id"]]
    later = {"date_from": "2026-11-20T12:00:01Z"}
    assert reader.get(REPORTS, account_id=PRIMARY, status="SUCCESS", **later).json()["reports"] == []
    assert named(reader.problem(path=REPORTS)) == ["account_id", "status"]
    assert named(reader.problem(path=REPORTS, account_id=PRIMARY, status="LOST")) == ["status"]
    assert reader.get(REPORTS, account_id="foreign1", status="SUCCESS").status_code == 403


# Limits


def test_an_account_has_five_unfinished_reports_at_most(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 3}, polls=1, subaccount_keys=["sub00001"])
    asked = [created(reader) for _ in range(5)]
    refused = post(reader, reader.ask("sms", "outbound"))
    assert (refused.status_code, "Retry-After" in refused.headers) == (429, False)
    created(reader, account_id="sub00001")
    status(reader, asked[0])
    created(reader)
    reader.sandbox.options.max_reports = 6
    created(reader)
    assert reader.sandbox.requests.most_in_flight == 7


def test_five_requests_a_second_and_downloads_besides(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 3}, limited=True)
    asked = created(reader)
    file = path(status(reader, asked), "download_report")
    answers = [reader.get(path(asked)) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].headers["Retry-After"] == "1"
    assert [reader.get(file).status_code for _ in range(10)] == [200] * 10
    assert reader.get(**reader.ask("sms", "outbound")).status_code == 200


def test_the_journal_tells_of_reports(opened: Callable[..., Reader]) -> None:
    reader = opened(rows={"*": 30}, polls=1)
    asked = created(reader)
    download(reader, asked)
    cancel(reader, asked)
    created(reader)
    log = reader.sandbox.requests.log
    about = {"product": "SMS", "account": PRIMARY, "direction": "outbound"}
    assert [(entry.endpoint, entry.status, entry.rows) for entry in log] == [
        ("report-create", 200, 0),
        ("report-status", 200, 0),
        ("media", 200, 30),
        ("report-cancel", 409, 0),
        ("report-create", 200, 0),
    ]
    assert [entry.report == asked["request_id"] for entry in log] == [True] * 4 + [False]
    assert all(about.items() <= {name: getattr(entry, name) for name in about}.items() for entry in log)
    assert {utc(entry.date_start) for entry in log} == {utc(DAY[0])}
    key = ("SMS", PRIMARY, "outbound", "2026-11-18T00:00:00+00:00", "2026-11-19T00:00:00+00:00")
    assert reader.sandbox.requests.reports == {key: 2}
    told = reader.session.get(f"{reader.sandbox.url}/__sandbox/requests", timeout=60).json()
    assert told["most_reports_in_flight"] == 1
    assert [line["created"] for line in told["reports"]] == [2]


def test_nothing_is_left_behind(opened: Callable[..., Reader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    reader = opened(rows={"*": 30})
    status(reader, created(reader))
    (directory,) = tmp_path.iterdir()
    (file,) = directory.iterdir()
    assert (directory.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    reader.sandbox.stop()
    assert list(tmp_path.iterdir()) == []
    reader.sandbox.start()
    assert len(report(reader)) == 30


def test_every_product_takes_its_filters(reader: Reader) -> None:
    reader.sandbox.options.max_reports = len(PRODUCTS)
    for stream, product in PRODUCTS.items():
        direction = product.directions[0] if product.directions else ""
        created(reader, stream, direction, **dict.fromkeys(product.async_filters, "x"))
