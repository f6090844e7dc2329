"""The seeds of the tests: names, price plans, and an invoice with five errors."""

from __future__ import annotations

import csv
import shutil
from datetime import datetime
from decimal import Decimal
from itertools import repeat
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from tests.transform.dataset import Bill
from tests.transform.staging import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

    from tap_vonage_reports.sandbox import Sandbox

ZONE = "Europe/Berlin"
MONTH = datetime(2026, 10, 1, tzinfo=ZoneInfo(ZONE))
BEFORE, AFTER = MONTH.replace(month=9), MONTH.replace(month=11)
MARKUP = Decimal("1.25")
ERRORS = {
    ("SMS", "EUR"): "price",
    ("VIDEO-API", "EUR"): "missing line",
    ("VERIFY-V2", "EUR"): "line more than once",
    ("MESSAGES", "EUR"): "another month: the one before",
    ("AMD", "CHF"): "another currency",
}
"""The lines with an error, by product and the currency that the invoice says, and the cause of each."""


def copy_project(folder: Path, sandbox: Sandbox) -> Path:
    """Copy the project, add lines to its seeds, which are empty, and let its runs read only what is newly loaded.

    Returns:
        Where it is.
    """
    project = folder / "project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("target", "logs", "*.duckdb"))
    settings = project / "dbt_project.yml"
    overlap = settings.read_text(encoding="utf-8").replace("vonage_overlap_hours: 24", "vonage_overlap_hours: 0")
    settings.write_text(overlap, encoding="utf-8")
    _append(project / "seeds" / "vonage_price_plans.csv", [["", "", "", "", "", 25, "", "", ""]])
    _append(project / "seeds" / "vonage_invoices.csv", invoice(sandbox))
    return project


def invoice(sandbox: Sandbox) -> list[list[object]]:
    """Return the lines of an invoice of a month, with the errors."""
    month, before = Bill(sandbox, MONTH, AFTER), Bill(sandbox, BEFORE, MONTH)
    lines: list[list[object]] = []
    for (product, currency), amount in month.amounts.items():
        if not amount:
            continue
        error = ERRORS.get((product, currency), ERRORS.get((product, "CHF")) if currency == "EUR" else None)
        shown, said = currency, amount
        if error == "missing line":
            continue
        if error == "price":
            said = amount * Decimal("1.1")
        elif error == "another currency":
            shown = "CHF"
        elif error and error.startswith("another month"):
            said = before.amounts[product, currency]
        line: list[object] = [
            "I-1",
            "2026-10-01",
            ZONE,
            "2026-12-01 00:00:00",
            "",
            product,
            shown,
            month.units[product, currency],
            said,
        ]
        lines.extend(repeat(line, 2 if error == "line more than once" else 1))
    return lines


def _append(path: Path, rows: list[list[object]]) -> None:
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
