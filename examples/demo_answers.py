"""The end of the demo: the models of transform/ over what was loaded, and the page of charts from them.

What does not need the rows runs in the background while the tap waits for the API: the program at the end of this file
installs dbt, and starts everything that has to be imported and parsed.
"""

# ruff: noqa: INP001 - part of a program, not of a package

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tap_vonage_reports.sandbox import Sandbox

ROOT = Path(__file__).resolve().parent.parent
DBT = ROOT / "transform" / "requirements.txt"
# An environment works only with the Python that created it. The tests use the same one.
DBT_HOME = ROOT / ".run" / "environments" / f"dbt-python{sys.version_info.major}.{sys.version_info.minor}"
BIN = "Scripts" if os.name == "nt" else "bin"
MARKUP_PERCENT = 20
INVOICE = "DEMO-1 (made up, with errors)"
BUILD = Path(__file__).with_name("demo_dbt.py")
GO = b"build\n"
"""What the program at the end of this file, and then dbt, wait for on their standard input."""
NOT_INSTALLED, DBT_FAILED = 3, 4
FAILURES = {NOT_INSTALLED: "dbt could not be installed", DBT_FAILED: "dbt failed"}
"""Exit codes of the program at the end of this file."""
ERRORS = {"VIDEO-API": "missing", "VERIFY-V2": "twice", "AMD": "currency"}
"""What is wrong on the demo's invoice, by product. It also has a product that the demo does not load."""


class Answers:
    """The models and the page.

    Attributes:
        page: Where the page is.
    """

    def __init__(self, home: Path, variables: Mapping[str, str], database: str) -> None:
        """Begin to install dbt and to parse the models.

        Args:
            home: The demo's folder.
            variables: Where the rows are, as the dbt project reads it from the environment.
            database: Where the models are, as `./run report` takes it.
        """
        self.page = home / "report.html"
        self._log = home / "dbt.log"
        self._project = home / "transform"
        shutil.copytree(ROOT / "transform", self._project, ignore=shutil.ignore_patterns("target", "logs", "*.duckdb"))
        folders = {"DBT_PROJECT_DIR": str(self._project), "DBT_PROFILES_DIR": str(self._project)}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - this file
                [sys.executable, __file__, database, self.page],
                env={**os.environ, "PYTHONPATH": str(ROOT), **folders, **variables},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    def build(self, sandbox: Sandbox, last: datetime) -> str:
        """Build the models and the page.

        Args:
            sandbox: What the made-up invoice is made of.
            last: The end of what was loaded.

        Returns:
            What dbt says at its end.
        """
        for seed, rows in seeds(sandbox, last):
            with (self._project / "seeds" / f"{seed}.csv").open("a", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerows(rows)
        self._process.communicate(GO)
        if self._process.returncode:
            what = FAILURES.get(self._process.returncode, "The page could not be made")
            sys.exit(f"{what}. The log: {self._log}")
        *_, last_line = self._log.read_text(encoding="utf-8").partition("Done. ")[2].splitlines()[:1] or [""]
        return last_line


def seeds(sandbox: Sandbox, last: datetime) -> Iterator[tuple[str, list[list[object]]]]:
    """Yield lines for the project's seeds: a name, a price plan, and an invoice with errors."""
    accounts = [account.key for account in sandbox.accounts]
    yield "vonage_account_names", [[key, f"Customer {number}"] for number, key in enumerate(accounts, 1)]
    yield "vonage_price_plans", [["", "", "", "", "", MARKUP_PERCENT, "", "", ""]]
    yield "vonage_invoices", invoice(sandbox, last)


def invoice(sandbox: Sandbox, last: datetime) -> list[list[object]]:
    """Return the lines of an invoice of the newest month, as far as it was loaded."""
    month = (last - timedelta(days=1)).replace(day=1)
    amounts: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for total in sandbox.summary(month, last):
        for currency, price in total["total_price"].items():
            amounts[total["product"], currency] += Decimal(price)
    lines: list[list[object]] = []
    for (product, currency), amount in amounts.items():
        error = ERRORS.get(product)
        shown = "CHF" if error == "currency" else currency
        line: list[object] = [INVOICE, f"{month:%Y-%m-%d}", "UTC", "", "", product, shown, "", amount]
        if amount and error != "missing":
            lines.extend([line, line] if error == "twice" else [line])
    return lines


def main(database: str, page: str) -> None:
    """Install dbt and prepare everything. When the rows are there, build the models and the page."""
    try:
        install()
    except (OSError, subprocess.CalledProcessError):
        sys.exit(NOT_INSTALLED)
    with subprocess.Popen([DBT_HOME / BIN / "python", "-I", BUILD], stdin=subprocess.PIPE) as dbt:  # noqa: S603 - this project
        from transform.page.__main__ import main as report  # noqa: PLC0415 - takes its time while dbt takes its own

        if not sys.stdin.buffer.readline():
            return
        dbt.communicate(GO)
    if dbt.returncode:
        sys.exit(DBT_FAILED)
    report([database, "--output", page])


def install() -> None:
    """Install dbt into an environment of its own, unless it is there in these versions."""
    uv = os.environ.get("UV", "uv")
    installed = DBT_HOME / DBT.name
    if installed.exists() and installed.read_bytes() == DBT.read_bytes():
        return
    # Without the project's pins, which are for its own environment.
    for command in (
        ["venv", "--clear", "--python", sys.executable, str(DBT_HOME)],
        ["pip", "install", "--python", str(DBT_HOME), "--requirement", str(DBT)],
    ):
        subprocess.run([uv, *command, "--quiet", f"--project={ROOT.anchor}"], check=True)  # noqa: S603 - from above
    shutil.copyfile(DBT, installed)


if __name__ == "__main__":
    main(*sys.argv[1:])
