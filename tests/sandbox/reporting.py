"""A bare client of the sandbox's reports: one request, one answer, nothing repaired."""

from __future__ import annotations

import csv
import io
import zipfile
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.sandbox.reading import basic

if TYPE_CHECKING:
    import requests

    from tests.sandbox.reading import Reader

REPORTS = "/v2/reports"


def post(reader: Reader, body: dict[str, Any] | bytes) -> requests.Response:
    """One POST with the sandbox's credentials."""
    sandbox = reader.sandbox
    headers = {"Authorization": basic(sandbox.api_key, sandbox.api_secret)}
    content: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": body}
    return reader.session.post(sandbox.url + REPORTS, headers=headers, timeout=60, allow_redirects=False, **content)


def created(reader: Reader, stream: str = "sms", direction: str = "outbound", **given: Any) -> dict[str, Any]:
    """The answer to a report that is taken on."""
    answer = post(reader, reader.ask(stream, direction, **given))
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def path(report: dict[str, Any], link: str = "self") -> str:
    return urlsplit(str(report["_links"][link]["href"])).path


def status(reader: Reader, report: dict[str, Any]) -> dict[str, Any]:
    """One status request."""
    answer = reader.get(path(report))
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def cancel(reader: Reader, report: dict[str, Any]) -> requests.Response:
    sandbox = reader.sandbox
    headers = {"Authorization": basic(sandbox.api_key, sandbox.api_secret)}
    return reader.session.delete(sandbox.url + path(report), headers=headers, timeout=60)


def download(reader: Reader, report: dict[str, Any], **headers: str) -> requests.Response:
    """One download of a report that is final."""
    return reader.get(path(status(reader, report), "download_report"), headers=headers)


def members(content: bytes) -> dict[str, bytes]:
    """The entries of an archive, their CRCs checked."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def table(content: bytes) -> tuple[list[str], list[dict[str, str]]]:
    """Header and rows of an archive with one CSV file."""
    (text,) = members(content).values()
    header, *rows = csv.reader(io.StringIO(text.decode(), newline=""), strict=True)
    return header, [dict(zip(header, row, strict=True)) for row in rows]


def report(reader: Reader, stream: str = "sms", direction: str = "outbound", **given: Any) -> list[dict[str, str]]:
    """The rows of a report."""
    return table(download(reader, created(reader, stream, direction, **given)).content)[1]


def cells(row: dict[str, Any], header: list[str]) -> dict[str, str]:
    """A row of a synchronous answer as the cells that a file should have."""
    return {name: text(row.get(name)) for name in header}


def text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        pairs = ",".join(f'"{key}":"{item}"' for key, item in value.items())
        return "{" + pairs + "}"
    return "" if value is None else str(value)
