from __future__ import annotations

import csv
import io
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.sandbox.reading import DAY, Reader, utc
from tests.sandbox.reporting import REPORTS, created, download, members, path, post, report, status, table

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 60


@pytest.fixture
def faulty(opened: Callable[..., Reader]) -> Callable[..., Reader]:
    """Opens sandboxes with faults."""

    def make(*faults: str, **options: Any) -> Reader:
        return opened(**{"rows": {"*": ROWS}, **options, "faults": faults})

    return make


def end(reader: Reader, **given: Any) -> dict[str, Any]:
    return status(reader, created(reader, **given))


def raw(content: bytes) -> list[list[str]]:
    (text,) = members(content).values()
    return list(csv.reader(io.StringIO(text.decode("utf-8-sig"), newline="")))


# How a report ends


def test_a_truncated_report_holds_the_newest_rows(faulty: Callable[..., Reader]) -> None:
    reader = faulty("report-truncated=7")
    whole = reader.sandbox.expected("sms", None, "outbound", utc(DAY[0]), utc(DAY[1]))
    asked = created(reader)
    body = status(reader, asked)
    assert (body["request_status"], body["items_count"]) == ("TRUNCATED", 7)
    assert [row["id"] for row in table(download(reader, asked).content)[1]] == [row["id"] for row in whole[:7]]


def test_a_report_that_fits_is_not_truncated(faulty: Callable[..., Reader]) -> None:
    body = end(faulty(f"report-truncated={ROWS}"))
    assert (body["request_status"], body["items_count"]) == ("SUCCESS", ROWS)


@pytest.mark.parametrize("state", ["failed", "aborted"])
def test_a_report_can_end_badly_once(faulty: Callable[..., Reader], state: str) -> None:
    reader = faulty(f"report-{state},first=1", polls=2)
    bad, good = created(reader), created(reader)
    assert [status(reader, bad)["request_status"] for _ in range(3)] == ["PENDING", state.upper(), state.upper()]
    body = status(reader, bad)
    assert "items_count" not in body
    assert "download_report" not in body["_links"]
    assert [status(reader, good)["request_status"] for _ in range(2)] == ["PENDING", "SUCCESS"]


@pytest.mark.parametrize(
    ("fault", "state"), [("report-stuck", "PENDING"), ("report-processing-for-ever", "PROCESSING")]
)
def test_a_report_can_take_for_ever(faulty: Callable[..., Reader], fault: str, state: str) -> None:
    reader = faulty(fault)
    asked = created(reader)
    for _ in range(3):
        assert status(reader, asked)["request_status"] == state
        reader.sandbox.clock.advance(hours=30)
    assert reader.sandbox.app.reports.unfinished("abcd1234") == 1


def test_a_fault_can_concern_one_product(faulty: Callable[..., Reader]) -> None:
    reader = faulty("report-failed,product=AMD")
    assert end(reader)["request_status"] == "SUCCESS"
    assert end(reader, stream="amd", direction="")["request_status"] == "FAILED"


def test_a_report_can_vanish_and_come_back(faulty: Callable[..., Reader]) -> None:
    reader = faulty("report-vanished,first=1")
    asked = created(reader)
    gone = reader.get(path(asked))
    assert (gone.status_code, gone.json()["title"]) == (404, "Invalid report ID")
    assert status(reader, asked)["request_status"] == "SUCCESS"


def test_a_state_can_be_unknown(faulty: Callable[..., Reader]) -> None:
    reader = faulty("unknown-report-status,first=2")
    asked = created(reader)
    seen = [status(reader, asked) for _ in range(3)]
    assert [body["request_status"] for body in seen] == ["QUEUED", "QUEUED", "SUCCESS"]
    assert ["download_report" in body["_links"] for body in seen] == [False, False, True]


def test_an_id_can_have_a_prefix(faulty: Callable[..., Reader]) -> None:
    reader = faulty("prefixed-request-ids")
    asked = created(reader)
    assert asked["request_id"].startswith("ri3p58f-")
    assert status(reader, asked)["request_id"] == asked["request_id"]


def test_a_count_can_be_wrong(faulty: Callable[..., Reader]) -> None:
    reader = faulty("count-wrong=-2")
    asked = created(reader)
    assert status(reader, asked)["items_count"] == ROWS - 2
    assert len(table(download(reader, asked).content)[1]) == ROWS


def test_an_empty_report_can_lack_its_file(faulty: Callable[..., Reader]) -> None:
    reader = faulty("empty-report-without-link", rows={"*": 0, "amd": 5})
    body = end(reader)
    assert (body["request_status"], body["items_count"], set(body["_links"])) == ("SUCCESS", 0, {"self"})
    assert "download_report" in end(reader, stream="amd", direction="")["_links"]


def test_a_link_can_name_another_host(faulty: Callable[..., Reader]) -> None:
    reader = faulty("link-elsewhere=https://api.nexmo.invalid")
    asked = created(reader)
    href = status(reader, asked)["_links"]["download_report"]["href"]
    assert href.startswith("https://api.nexmo.invalid/v3/media/")
    assert len(table(download(reader, asked).content)[1]) == ROWS


# Creating


def test_a_report_can_be_refused_for_now(faulty: Callable[..., Reader]) -> None:
    reader = faulty("create-429=7,first=1")
    refused = post(reader, reader.ask("sms", "outbound"))
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "7")
    assert len(report(reader)) == ROWS
    assert reader.sandbox.requests.reports.total() == 1


@pytest.mark.parametrize("code", [201, 202])
def test_a_report_can_be_answered_with_another_success(faulty: Callable[..., Reader], code: int) -> None:
    reader = faulty(f"created={code},first=1")
    answer = post(reader, reader.ask("sms", "outbound"))
    assert answer.status_code == code
    assert status(reader, answer.json())["request_status"] == "SUCCESS"
    assert len(report(reader)) == ROWS


def test_a_page_can_stand_in_place_of_the_file(faulty: Callable[..., Reader]) -> None:
    reader = faulty("not-a-zip,first=1")
    asked = created(reader)
    page = download(reader, asked)
    assert (page.status_code, page.content[:6]) == (200, b"<html>")
    assert len(table(download(reader, asked).content)[1]) == ROWS


def test_the_answer_can_be_lost_while_the_report_is_made(faulty: Callable[..., Reader]) -> None:
    reader = faulty("create-lost,first=1")
    with pytest.raises(requests.ConnectionError):
        post(reader, reader.ask("sms", "outbound"))
    assert reader.sandbox.requests.reports.total() == 1
    (lost,) = reader.get(REPORTS, account_id="abcd1234", status="PENDING,PROCESSING,SUCCESS").json()["reports"]
    assert len(table(download(reader, lost).content)[1]) == ROWS
    assert reader.sandbox.requests.log[0].status == 0


@pytest.mark.parametrize(("fault", "code"), [("unprovisioned", 401), ("forbidden", 403), ("unknown-product", 422)])
def test_a_report_can_be_refused(faulty: Callable[..., Reader], fault: str, code: int) -> None:
    reader = faulty(fault)
    assert post(reader, reader.ask("sms", "outbound")).status_code == code


@pytest.mark.parametrize(("fault", "code"), [("500", 500), ("503", 503), ("429", 429), ("redirect", 302)])
def test_faults_of_requests_also_hit_requests_about_reports(
    faulty: Callable[..., Reader], fault: str, code: int
) -> None:
    reader = faulty()
    asked = created(reader)
    file = path(status(reader, asked), "download_report")
    reader.sandbox.faults.on(fault)
    assert post(reader, reader.ask("sms", "outbound")).status_code == code
    assert [reader.get(place).status_code for place in (path(asked), file)] == [code, code]


def test_a_fault_can_concern_one_endpoint(faulty: Callable[..., Reader]) -> None:
    reader = faulty("500,endpoint=media")
    asked = created(reader)
    assert status(reader, asked)["request_status"] == "SUCCESS"
    assert download(reader, asked).status_code == 500


# The file


def test_a_file_can_vanish(faulty: Callable[..., Reader]) -> None:
    reader = faulty("file-vanished,first=1")
    asked = created(reader)
    assert [download(reader, asked).status_code for _ in range(2)] == [404, 200]


@pytest.mark.parametrize("fault", ["download-cut", "cut-body,endpoint=media"])
def test_a_cut_download_can_go_on(faulty: Callable[..., Reader], fault: str) -> None:
    reader = faulty()
    asked = created(reader)
    whole = download(reader, asked).content
    reader.sandbox.faults.on_text(fault)
    got, cuts = b"", 0
    while len(got) < len(whole):
        answer = reader.session.get(
            reader.sandbox.url + path(status(reader, asked), "download_report"),
            auth=(reader.sandbox.api_key, reader.sandbox.api_secret),
            headers={"Range": f"bytes={len(got)}-"} if got else {},
            stream=True,
            timeout=60,
        )
        assert answer.status_code == (206 if got else 200)
        try:
            for piece in answer.iter_content(1):  # a longer piece that is cut is lost
                got += piece
        except requests.RequestException:
            cuts += 1
    assert got == whole
    assert cuts > 3


def test_a_cut_download_may_have_to_begin_again(faulty: Callable[..., Reader]) -> None:
    reader = faulty("download-cut-without-range,first=1")
    asked = created(reader)
    with pytest.raises(requests.RequestException):
        download(reader, asked)
    again = download(reader, asked, Range="bytes=100-")
    assert (again.status_code, "Accept-Ranges" in again.headers) == (200, False)
    assert len(table(again.content)[1]) == ROWS


@pytest.mark.parametrize("fault", ["bad-crc", "corrupt-zip"])
def test_an_archive_can_be_broken_once(faulty: Callable[..., Reader], fault: str) -> None:
    reader = faulty(f"{fault},first=1")
    asked = created(reader)
    bad, good = download(reader, asked).content, download(reader, asked).content
    assert len(bad) == len(good)
    with pytest.raises(zipfile.BadZipFile):
        members(bad)
    assert len(table(good)[1]) == ROWS


def test_an_archive_can_hold_no_csv(faulty: Callable[..., Reader]) -> None:
    reader = faulty("zip-without-csv")
    assert list(members(download(reader, created(reader)).content)) == ["report_SMS_abcd1234_20261120.txt"]


def test_an_archive_can_inflate_enormously(faulty: Callable[..., Reader]) -> None:
    reader = faulty("zip-bomb=0.05")
    asked = created(reader)
    content = download(reader, asked).content
    assert len(content) < 500_000
    (text,) = members(content).values()
    assert len(text) > 50_000_000
    assert text.startswith(b'"account_id",')
    assert text.endswith(b'xxx"\n')
    assert status(reader, asked)["items_count"] == ROWS


def test_an_archive_can_hold_several_files(faulty: Callable[..., Reader]) -> None:
    reader = faulty("split-archive=25")
    plain = reader.sandbox.expected("sms", None, "outbound", utc(DAY[0]), utc(DAY[1]))
    files = members(download(reader, created(reader)).content)
    assert list(files) == [f"report_SMS_abcd1234_20261120_{number}.csv" for number in (1, 2, 3)]
    tables = [list(csv.DictReader(io.StringIO(text.decode(), newline=""))) for text in files.values()]
    assert [len(rows) for rows in tables] == [25, 25, 10]
    assert [row["id"] for rows in tables for row in rows] == [row["id"] for row in plain]


def test_a_row_can_lack_a_cell(faulty: Callable[..., Reader]) -> None:
    reader = faulty("row-width=3")
    widths = [len(row) for row in raw(download(reader, created(reader)).content)]
    assert [number for number, width in enumerate(widths) if width != widths[0]] == [3]
    assert widths[3] == widths[0] - 1
    assert len(widths) == ROWS + 1


def test_a_header_can_lack_the_id(faulty: Callable[..., Reader]) -> None:
    reader = faulty("header-without-id")
    header, lines = table(download(reader, created(reader)).content)
    assert "id" not in header
    assert len(lines) == ROWS


def test_a_file_can_have_other_line_breaks_and_a_mark(faulty: Callable[..., Reader]) -> None:
    reader = faulty("csv-crlf", "csv-bom")
    (text,) = members(download(reader, created(reader)).content).values()
    assert text.startswith(b'\xef\xbb\xbf"account_id"')
    assert text.count(b"\r\n") == text.count(b"\n") == ROWS + 1


# The rows


def test_columns_can_come_in_another_order(faulty: Callable[..., Reader]) -> None:
    reader = faulty()
    header, lines = table(download(reader, created(reader)).content)
    reader.sandbox.faults.on("moved-columns")
    moved, same = table(download(reader, created(reader)).content)
    assert (moved, same) == (sorted(header, reverse=True), lines)


def test_columns_can_be_missing(faulty: Callable[..., Reader]) -> None:
    reader = faulty()
    header, lines = table(download(reader, created(reader)).content)
    reader.sandbox.faults.on("missing-columns")
    fewer, kept = table(download(reader, created(reader)).content)
    assert len(fewer) < len(header) * 0.75
    assert {"id", "date_received"} <= set(fewer)
    assert kept == [{name: line[name] for name in fewer} for line in lines]


@pytest.mark.parametrize("every", [1, 2])
def test_columns_can_be_new(faulty: Callable[..., Reader], every: int) -> None:
    reader = faulty(f"extra-columns,every={every}")
    header, lines = table(download(reader, created(reader)).content)
    assert {"carrier_fee", "rcs_agent", "surcharges"} <= set(header)
    new = [(line["carrier_fee"], line["rcs_agent"], line["surcharges"]) for line in lines]
    assert new.count(("0.00120000", "", '[{"kind":"tax","rate":19}]')) >= ROWS // every
    assert set(new) == {("0.00120000", "", '[{"kind":"tax","rate":19}]'), *([("", "", "")] if every > 1 else [])}


@pytest.mark.parametrize("every", [1, 2])
def test_columns_can_be_of_every_type_and_of_any_name(faulty: Callable[..., Reader], every: int) -> None:
    reader = faulty(f"odd-columns=+44 7700 900123,every={every}")
    _, lines = table(download(reader, created(reader)).content)
    odd = ("attempt_count", "is_premium", "fee_parts", "fee_rate", "no_list", "+44 7700 900123")
    assert {tuple(line[name] for name in odd) for line in lines} - {("",) * 6} == {
        ("7", "true", '[1, 2.50, {"tax": 1E-8}]', "1.0E+2", "[]", "1")
    }


@pytest.mark.parametrize(
    ("fault", "column", "value"), [("unfit-values", "latency", "abc"), ("redacted=XXX", "to", "XXX")]
)
def test_faults_replace_the_values_of_a_column(
    faulty: Callable[..., Reader], fault: str, column: str, value: str
) -> None:
    assert {row[column] for row in report(faulty(fault))} == {value}


def test_the_rows_of_a_report_can_differ_from_those_of_a_query(faulty: Callable[..., Reader]) -> None:
    reader = faulty("redacted,endpoint=report-create")
    assert {row["to"] for row in report(reader)} == {"REDACTED"}
    assert "REDACTED" not in {row["to"] for row in reader.rows(**reader.ask("sms", "outbound"))}


def test_late_rows_are_missing_from_a_file_too(faulty: Callable[..., Reader]) -> None:
    reader = faulty("late-rows", rows={"*": 2400})
    window = ("2026-11-20T06:00:00Z", "2026-11-20T11:59:00Z")
    listed = [row["id"] for row in reader.rows(**reader.ask("sms", "outbound", window))]
    assert [row["id"] for row in report(reader, window=window)] == listed
    assert len(listed) < 595


def test_rows_can_come_in_no_order(faulty: Callable[..., Reader]) -> None:
    reader = faulty("rows-shuffled")
    dates = [row["date_received"] for row in report(reader)]
    assert dates != sorted(dates, reverse=True)
    assert len(set(dates)) > ROWS // 2


def test_a_file_can_be_forbidden(faulty: Callable[..., Reader]) -> None:
    reader = faulty("file-forbidden,first=1")
    asked = created(reader)
    status(reader, asked)
    assert [download(reader, asked).status_code for _ in range(2)] == [403, 200]


def test_a_blank_line_can_follow_each_row(faulty: Callable[..., Reader]) -> None:
    reader = faulty("csv-blank-lines")
    asked = created(reader)
    status(reader, asked)
    header, *rows = raw(download(reader, asked).content)
    assert "id" in header
    assert rows[1::2] == [[]] * ROWS
    assert all(len(row) == len(header) for row in rows[::2])


@pytest.mark.parametrize(("value", "content"), [(0, b""), (1, b"\n")])
def test_a_file_without_rows_can_be_blank(faulty: Callable[..., Reader], value: int, content: bytes) -> None:
    reader = faulty(f"empty-report-blank={value}", rows={"*": 0})
    asked = created(reader)
    assert status(reader, asked)["items_count"] == 0
    assert list(members(download(reader, asked).content).values()) == [content]
    full = faulty("empty-report-blank")
    assert len(report(full)) == ROWS


# The list of reports


def listed(reader: Reader) -> dict[str, Any]:
    body: dict[str, Any] = reader.get(REPORTS, account_id=reader.sandbox.api_key, status="PENDING,SUCCESS").json()
    return body


def test_a_report_can_be_created_behind_a_gateway_that_times_out(faulty: Callable[..., Reader]) -> None:
    reader = faulty("create-504")
    answer = post(reader, reader.ask("sms", "outbound"))
    assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == (504, "text/html")
    assert listed(reader)["items_count"] == 1


def test_the_list_can_be_absent_or_odd(faulty: Callable[..., Reader]) -> None:
    reader = faulty("list-absent")
    assert reader.get(REPORTS, account_id=reader.sandbox.api_key, status="PENDING").status_code == 404
    reader = faulty("list-odd")
    created(reader)
    assert "reports" not in listed(reader)


def test_the_list_repeats_the_request_or_leaves_its_filters_out(faulty: Callable[..., Reader]) -> None:
    reader = faulty("list-without-filters,after=1")
    created(reader, country="GB", include_message=True)
    (whole,), (bare,) = listed(reader)["reports"], listed(reader)["reports"]
    assert {"direction": "outbound", "country": "GB", "include_message": True}.items() <= whole.items()
    assert bare.keys() < whole.keys()
    assert not bare.keys() & {"direction", "country", "include_message", "include_subaccounts"}


def test_dates_of_reports_can_have_another_form(faulty: Callable[..., Reader]) -> None:
    reader = faulty("offsets-without-colon")
    asked = created(reader)
    (seen,) = listed(reader)["reports"]
    for body in (asked, seen):
        assert all(body[name].endswith("+0000") for name in ("date_start", "date_end", "receive_time"))


@pytest.mark.parametrize(
    ("fault", "raw"),
    [
        ("odd-text", b'\xed\xa0\xbd"'),
        ("odd-text=byte", b'\xe9"'),
        ("nul-in-text", b"\0"),
        ("long-number", b'"' + b"9" * 4400 + b'"'),
        ("long-cell=150000", b"x" * 149_000),
    ],
)
def test_cells_can_be_odd(faulty: Callable[..., Reader], fault: str, raw: bytes) -> None:
    reader = faulty(fault)
    (text,) = members(download(reader, created(reader)).content).values()
    assert text.count(raw) == ROWS


def test_cells_of_ids_can_be_empty(faulty: Callable[..., Reader]) -> None:
    header, lines = table(download(reader := faulty("rows-without-id,every=2"), created(reader)).content)
    assert "id" in header
    assert {bool(line["id"]) for line in lines} == {True, False}
