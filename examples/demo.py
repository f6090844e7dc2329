"""The demo of `./run demo`: load 30 days of traffic from the sandbox through Meltano, then one more day.

By default into a DuckDB file, by `target-vonage-files`; `./run demo target-jsonl` and `./run demo target-postgres` use
these loaders. The sandbox's clock starts at one minute past midnight, so that the 30 days are complete, and Meltano
runs the tap as configured in meltano.yml. The demo compares the result with the sandbox's own totals. Everything that
it creates is in the folder .run; the state of a project in .meltano is not touched.
"""

# ruff: noqa: INP001 - a program, not a package

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from demo_answers import Answers
from demo_loaders import LOADERS

from tap_vonage_reports.metrics import money
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from demo_loaders import Loader, Row

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".run" / "demo"
LOG = HOME / "meltano.log"
DATABASE = HOME / "meltano.db"
MELTANO = "meltano==4.4.1"
# An environment works only with the Python that created it.
MELTANO_HOME = ROOT / ".run" / f"meltano-python{sys.version_info.major}.{sys.version_info.minor}"
BIN = "Scripts" if os.name == "nt" else "bin"

DAYS = 30
STREAMS = tuple(product.stream for product in PRODUCTS.values() if product.selected)
SCALE = 0.03
PREFIXES = ("MELTANO_", "TAP_VONAGE_", "TARGET_")
LOG_LINES_SHOWN = 15

Prices = dict[str, Decimal]


@dataclass
class Total:
    """The totals of a stream.

    Attributes:
        rows: The number of rows.
        prices: The sum of their prices, by currency.
    """

    rows: int = 0
    prices: Prices = field(default_factory=lambda: defaultdict(Decimal))

    def __str__(self) -> str:
        """Return the prices in the form of the summary, without zeros at their ends."""
        return money({currency: Decimal(f"{price.normalize():f}") for currency, price in self.prices.items()})


def main() -> None:
    """Run the demo. Exit with an error if the result differs from the sandbox's data."""
    parser = argparse.ArgumentParser(prog="./run demo", description="Load traffic from the sandbox through Meltano.")
    parser.add_argument("loader", nargs="?", choices=LOADERS, default=next(iter(LOADERS)))
    chosen = parser.parse_args().loader
    # The second run is a day later, and the tap never reads time that is in the future on this machine's clock.
    today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    midnight = today - timedelta(days=2)
    start = midnight - timedelta(days=DAYS)
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    with (
        ThreadPoolExecutor(1) as background,
        Sandbox(scale=SCALE, clock=midnight + timedelta(minutes=1)) as sandbox,
        LOADERS[chosen](HOME) as loader,
    ):
        installed = background.submit(install_meltano)
        answers = Answers(HOME, loader.models, loader.database) if loader.models else None
        say(f"The sandbox plays the Reports API at {sandbox.url}, with {DAYS} days of a customer's traffic.")
        environment = environment_of(sandbox, start) | loader.environment
        say("", "$ tap-vonage-reports --plan", *plan(environment))
        installed.result()
        say("", f"$ meltano run {' '.join(loader.pipeline)}")
        meltano_run(sandbox, environment, loader, "--install")
        first = {stream: loader.rows(stream) for stream in STREAMS}
        say("", *table(first), "")
        compare(first, loader, sandbox, start, midnight)

        sandbox.clock.advance(days=1)
        say("", "A day later, the same command again")
        meltano_run(sandbox, environment, loader, "--no-install")
        second = {stream: loader.rows(stream) for stream in STREAMS}
        pairs = [
            (first[stream][key], row)
            for stream in STREAMS
            for key, row in second[stream].items()
            if key in first[stream]
        ]
        new = sum(map(len, second.values())) - len(pairs)
        changed = sum(before != after for before, after in pairs)
        say(f"  {new:,} rows are new, {changed:,} earlier ones have changed, and no id is there twice")
        compare(second, loader, sandbox, start, midnight + timedelta(days=1))
        page = show(answers, sandbox, midnight + timedelta(days=1)) if answers else []
    say(
        "",
        *page,
        *loader.result,
        f"Log    {LOG}",
        "",
        "Next",
        "  Your own data: uv tool install .            (https://docs.astral.sh/uv; or: pipx install .)",
        "                 export TAP_VONAGE_REPORTS_API_KEY=... TAP_VONAGE_REPORTS_API_SECRET=...",
        "                 tap-vonage-reports --config ENV --plan    (costs nothing)",
        "  With Meltano:  docs/guide.md, First run with Meltano",
        "  The docs:      ./run docs",
    )


def show(answers: Answers, sandbox: Sandbox, end: datetime) -> list[str]:
    """Build the models and the page. Return where the page is."""
    say("", "$ dbt build")
    say(f"  {answers.build(sandbox, end)}", "$ ./run report")
    return [f"Page   {answers.page}: cost, bills, an invoice with errors, delivery"]


def install_meltano() -> None:
    """Install Meltano into an environment of its own, apart from the tap's packages."""
    uv = os.environ.get("UV", "uv")
    python = MELTANO_HOME / BIN / "python"
    if not python.exists():
        say(f"Installing {MELTANO} ...")
        execute([uv, "venv", "--quiet", "--python", sys.executable, str(MELTANO_HOME)], dict(os.environ))
    execute([uv, "pip", "install", "--quiet", "--python", str(python), MELTANO], dict(os.environ))


def environment_of(sandbox: Sandbox, start: datetime) -> dict[str, str]:
    """Return the environment for Meltano: the sandbox and the demo's own folders, without the user's settings."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(PREFIXES)}
    return (
        own
        | sandbox.environment
        | {
            "TAP_VONAGE_REPORTS_START_DATE": start.isoformat(),
            "MELTANO_ENVIRONMENT": "sandbox",
            "MELTANO_SYS_DIR_ROOT": str(MELTANO_HOME / "project"),
            "MELTANO_DATABASE_URI": f"sqlite:///{DATABASE.as_posix()}",
            "MELTANO_CLI_LOG_FORMAT": "uncolored",
            "MELTANO_CLI_DISABLE_VERSION_CHECK": "true",
        }
    )


def plan(environment: dict[str, str]) -> list[str]:
    """Return the totals of the tap's plan, without its partitions."""
    command = [sys.executable, "-m", "tap_vonage_reports", "--config", "ENV", "--plan"]
    with LOG.open("a", encoding="utf-8") as log:
        done = subprocess.run(  # noqa: S603 - the tap
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, check=True, text=True
        )
    _, _, totals, *_ = done.stdout.split("\n\n")
    return [f"  {line}" for line in totals.splitlines()]


def meltano_run(sandbox: Sandbox, environment: dict[str, str], loader: Loader, *options: str) -> None:
    """Run the pipeline and show its requests to the API. The output of Meltano and the tap goes to the log."""
    requests = sandbox.requests
    requests.reset()

    def progress() -> str:
        reports = sum(requests.reports.values())
        return f"  {requests.total:,} requests, {reports:,} of them to create a report; {requests.rows:,} rows fetched"

    # Ignore the project's .env, which may have credentials for the real API.
    command = [str(MELTANO_HOME / BIN / "meltano"), "--env-file", os.devnull, "run", *options, *loader.pipeline]
    execute(command, environment, progress)
    say(progress())


def execute(command: list[str], environment: dict[str, str], progress: Callable[[], str] = str) -> None:
    """Run a program. If it fails, show its errors and exit with its code."""
    with (
        LOG.open("a", encoding="utf-8") as log,
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log) as process,  # noqa: S603 - from here
    ):
        try:
            while (code := ended(process)) is None:
                if sys.stdout.isatty():
                    sys.stdout.write(f"{progress()}\r")
                    sys.stdout.flush()
        finally:
            process.terminate()
    if code:
        lines = LOG.read_text(encoding="utf-8").splitlines()
        errors = [line for line in lines if "[error" in line]
        say("", *(errors or lines)[-LOG_LINES_SHOWN:], "", f"{Path(command[0]).stem} failed. The whole log: {LOG}")
        sys.exit(code)


def ended(process: subprocess.Popen[bytes]) -> int | None:
    """Wait half a second for the end of a process.

    Returns:
        Its exit code, or None while it runs.
    """
    try:
        return process.wait(timeout=0.5)
    except subprocess.TimeoutExpired:
        return None


def total_of(rows: dict[str, Row]) -> Total:
    """Count the rows of a stream, and add up their prices to the last digit."""
    total = Total(len(rows))
    for row in rows.values():
        price = row.get("total_price", row.get("price"))
        if price is not None:
            total.prices[row.get("currency") or ""] += price
    return total


def sandbox_totals(sandbox: Sandbox, start: datetime, end: datetime) -> dict[str, Total]:
    """Return the sandbox's own totals by stream."""
    totals: dict[str, Total] = defaultdict(Total)
    for line in sandbox.summary(start, end):
        total = totals[line["stream"]]
        total.rows += line["rows"]
        for currency, price in line["total_price"].items():
            total.prices[currency] += Decimal(price)
    return totals


def table(arrived: dict[str, dict[str, Row]]) -> list[str]:
    """Return the loaded rows as lines of a table."""
    lines = [("stream", "rows", "first", "last", "total price")]
    for stream, rows in arrived.items():
        dates = sorted(str(row[PRODUCTS[stream].date_field]) for row in rows.values()) or ["-"]
        first, last = (date[:16].replace("T", " ") for date in (dates[0], dates[-1]))
        lines.append((stream, f"{len(rows):,}", first, last, str(total_of(rows))))
    return [
        f"  {stream:<22}{rows:>8}  {first:<17} {last:<17} {price:>18}" for stream, rows, first, last, price in lines
    ]


def compare(
    arrived: dict[str, dict[str, Row]], loader: Loader, sandbox: Sandbox, start: datetime, end: datetime
) -> None:
    """Compare the loaded rows with the sandbox's data. Exit with an error if they differ."""
    totals = sandbox_totals(sandbox, start, end)
    found = {stream: total_of(rows) for stream, rows in arrived.items()}
    wrong = [
        f"{stream}: {here.rows:,} rows ({here}) in {loader.place}, {there.rows:,} ({there}) in the sandbox"
        for stream, here in found.items()
        if (here.rows, str(here)) != ((there := totals[stream]).rows, str(there))
    ]
    if wrong:
        sys.exit("\n".join([f"What is in {loader.place} differs from the sandbox's data:", *wrong, f"The log: {LOG}"]))
    rows = sum(total.rows for total in found.values())
    say(f"  {rows:,} rows in {loader.place}: the rows and prices of every stream equal the sandbox's own totals")


def say(*lines: str) -> None:
    """Print lines immediately."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Interrupted.")
