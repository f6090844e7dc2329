"""A bare client of the sandbox: one request, one answer, nothing repaired."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import requests

from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox.rows import KINDS

if TYPE_CHECKING:
    from tap_vonage_reports.sandbox import Sandbox

NOW = "2026-11-20T12:00:00Z"
DAY = ("2026-11-18T00:00:00Z", "2026-11-19T00:00:00Z")
SHAPES = sorted(KINDS)
"""Every stream with every direction that it has."""

RECORDS = "/v2/reports/records"

_decode = msgspec.json.Decoder(float_hook=Decimal).decode


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc)


def basic(key: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode()


@dataclass
class Reader:
    """Asks a running sandbox."""

    sandbox: Sandbox
    session: requests.Session = field(default_factory=requests.Session)

    def get(self, path: str = RECORDS, **given: Any) -> requests.Response:
        """One request with the sandbox's credentials."""
        headers = {"Authorization": basic(self.sandbox.api_key, self.sandbox.api_secret)}
        headers |= given.pop("headers", {})
        return self.session.get(
            self.sandbox.url + path, params=given, headers=headers, timeout=60, allow_redirects=False
        )

    def ask(self, stream: str, direction: str = "", window: tuple[str, str] = DAY, **given: Any) -> dict[str, Any]:
        """The parameters of a query of the primary account."""
        product = PRODUCTS[stream].name
        asked = {"product": product, "account_id": self.sandbox.api_key, "date_start": window[0], "date_end": window[1]}
        if direction:
            asked["direction"] = direction
        return asked | given

    def pages(self, **given: Any) -> list[dict[str, Any]]:
        """All pages of a query, by cursor and iv."""
        pages: list[dict[str, Any]] = []
        while True:
            answer = self.get(**given)
            assert answer.status_code == 200, answer.text
            page = _decode(answer.content)
            pages.append(page)
            if page["request_status"] == "SUCCESS":
                return pages
            given |= {"cursor": page["cursor"], "iv": page["iv"]}

    def rows(self, **given: Any) -> list[dict[str, Any]]:
        """All rows of a query."""
        return [row for page in self.pages(**given) for row in page["records"]]

    def problem(self, **given: Any) -> dict[str, Any]:
        """The problem that a query meets, with its status."""
        answer = self.get(**given)
        assert answer.headers["Content-Type"] == "application/problem+json"
        body: dict[str, Any] = answer.json()
        assert body.keys() >= {"type", "title", "instance"}
        return body | {"status": answer.status_code}
