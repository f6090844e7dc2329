"""The handling of one request, and the options that apply to all requests."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from tap_vonage_reports.sandbox import problems
from tap_vonage_reports.sandbox.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from tap_vonage_reports.sandbox.faults import Faults, Rule

PAGE_SIZE = 1000
"""Most rows of a page (confirmed)."""
MAX_REPORTS = 5
"""Unfinished reports of an account (stated for version 1 of the API only; unknown today)."""
ROWS_PER_SECOND = 1_000_000.0
"""The default speed of generating reports: practically immediate."""
REALISTIC_ROWS_PER_SECOND = 1_000_000 / (7 * 60)
"""Seven minutes for a million rows (confirmed: five to ten)."""
REALISTIC_PENDING_SECONDS = 5.0
"""The seconds that a report waits before it is generated (unknown)."""


@dataclass
class Options:
    """Options that can be changed while the sandbox runs, in addition to its faults and its clock.

    How long a report takes is counted in real seconds, because clients run in real time; the seconds by
    which the sandbox's clock was moved count as well. A report is never final before its file is there.

    Attributes:
        page_size: Maximum number of rows per page.
        latency: Seconds by which each answer is delayed.
        pending_seconds: Seconds that a report is PENDING.
        rows_per_second: How fast reports are generated after that.
        generation_seconds: How long each report takes after PENDING, whatever its size; None goes by
            `rows_per_second`.
        polls: If given, no time counts: a report is final at its n-th status request, PENDING at the
            first one unless that is the n-th, and PROCESSING between the two.
        max_reports: Unfinished reports that an account may have.
    """

    page_size: int = PAGE_SIZE
    latency: float = 0.0
    pending_seconds: float = 0.0
    rows_per_second: float = ROWS_PER_SECOND
    generation_seconds: float | None = None
    polls: int | None = None
    max_reports: int = MAX_REPORTS


@dataclass
class Exchange:
    """One request, and the faults that hit it.

    Attributes:
        request: The request.
        endpoint: The endpoint that it met.
        faults: The faults that are switched on.
        identifier: The value of `X-Request-Id`.
        given: Its parameters; for a report that was created before, those that it was created with.
        product: The stream of the product that it asks for, if there is one of that name.
        account: The account that it asks for.
        report: The id of the report that it asks for, if it is one of ours.
        rows: Rows of the answer.
        fault: The fault that hit it.
    """

    request: Request
    endpoint: str
    faults: Faults
    identifier: str = field(default_factory=lambda: str(uuid.uuid4()))
    given: Mapping[str, str] = field(default_factory=dict)
    product: str = ""
    account: str = ""
    report: str = ""
    rows: int = 0
    fault: str = ""

    def about(self, given: Mapping[str, str]) -> None:
        """Note the parameters of the request."""
        self.given = given
        self.product = given.get("product", "").lower().replace("-", "_")
        self.account = given.get("account_id", self.request.path_params.get("api_key", ""))

    def received(self, name: str, at: datetime) -> dict[str, str]:
        """Return the value of the field received_at, which a fault may change."""
        rule = self.strike(Fault.RECEIVED_AT)
        if rule is None:
            return {name: at.isoformat()}
        if rule.value == "none":
            return {}
        try:
            return {name: (at + timedelta(seconds=float(rule.value))).isoformat()}
        except ValueError:
            return {name: str(rule.value)}

    def fail_window(self, start: datetime | None, end: datetime | None) -> None:
        """Fail a query whose window overlaps the hour of the fault.

        Raises:
            Refusal: It does.
        """
        rule = self.faults.rule(Fault.WINDOW_FAILED)
        if rule is None or start is None or end is None:
            return
        hour = datetime.fromisoformat(str(rule.value).replace("Z", "")).replace(tzinfo=timezone.utc)
        if start < hour + timedelta(hours=1) and end > hour and self.strike(Fault.WINDOW_FAILED):
            raise problems.internal_error()

    def strike(self, fault: Fault) -> Rule | None:
        """Return the rule of a fault if it hits the request; None otherwise."""
        rule = self.faults.strike(fault, self.endpoint, self.product, self.account)
        if rule is not None:
            self.fault = fault.value
        return rule
