"""The Reports API on your own machine, with generated traffic, a clock of its own and faults to switch on.

For tests::

    from tap_vonage_reports.sandbox import Sandbox

    with Sandbox(rows={"sms": 2500}, clock="2026-11-20T00:00:00Z") as sandbox:
        ...  # a client of sandbox.url with sandbox.api_key and sandbox.api_secret

On the command line it is `vonage-reports-sandbox`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_vonage_reports.sandbox.accounts import DEMO_KEY, DEMO_SECRET, Account, Accounts, subaccounts
from tap_vonage_reports.sandbox.clock import Clock
from tap_vonage_reports.sandbox.faults import Fault, Faults
from tap_vonage_reports.sandbox.traffic import Daily, Within

if TYPE_CHECKING:
    from tap_vonage_reports.sandbox.sandbox import Sandbox

__all__ = [
    "DEMO_KEY",
    "DEMO_SECRET",
    "Account",
    "Accounts",
    "Clock",
    "Daily",
    "Fault",
    "Faults",
    "Sandbox",
    "Within",
    "subaccounts",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attributes have any type
    """Import the server only when it is asked for: its packages come with the extra `sandbox`."""
    if name != "Sandbox":
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from tap_vonage_reports.sandbox.sandbox import Sandbox  # noqa: PLC0415 - see above

    return Sandbox
