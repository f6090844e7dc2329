"""The loader, killed at every step: nothing lost, nothing doubled, nothing stale, no file left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.load import duckdb_file, files, loader
from tap_vonage_reports.load.early import HELD, mark
from tap_vonage_reports.load.settings import Settings
from tests.load.canned import STREAMS, WINDOWS, CannedTap, rows_of, run_loader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALL = len(STREAMS) * WINDOWS


class KilledError(BaseException):
    """Ends a run of the loader at an instant."""


@dataclass
class Killer:
    """Counts the steps of a run, and ends it at one of them. From then on nothing has any effect.

    Attributes:
        at: The step at which it ends the run; it ends none if there are fewer.
        after: True to let that step take effect first.
    """

    at: int | None = None
    after: bool = False
    steps: int = 0
    dead: bool = field(default=False, init=False)

    def wrap(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            if self.dead:
                raise KilledError
            self.steps += 1
            if self.steps != self.at:
                return step(*arguments, **options)
            self.dead = True
            if self.after:
                step(*arguments, **options)
            raise KilledError

        return wrapped


def run_killed(monkeypatch: pytest.MonkeyPatch, killer: Killer, lines: bytes, path: Path) -> int:
    """Run the loader with a killer, and return the last state that it passed on."""
    states: list[int] = []
    with monkeypatch.context() as patch:
        for owner, name in (
            (duckdb_file.DuckDBFile, "execute"),
            (duckdb_file.DuckDBFile, "load"),
            (files.FileStore, "remove"),
            (loader.Loader, "_commit"),
        ):
            patch.setattr(owner, name, killer.wrap(getattr(owner, name)))
        patch.setattr(loader.Loader, "run", _collecting(states, loader.Loader.run, killer))
        try:
            run_loader(lines, duckdb_path=str(path))
        except KilledError:
            """As expected."""
    return states[-1] if states else 0


def _collecting(states: list[int], run: Callable[..., Any], killer: Killer) -> Callable[..., Any]:
    def collecting(self: loader.Loader, lines: Any) -> None:
        self._write_state = killer.wrap(lambda value: states.append(int(value)))
        run(self, lines)

    return collecting


def assert_complete(tap: CannedTap, path: Path) -> None:
    for stream in STREAMS:
        expected = {key: row for (name, key), row in tap.truth.items() if name == stream}
        rows = rows_of(path, f"vonage.{stream}")
        assert len(rows) == len(expected)
        for row in rows:
            for name in ("total_price", "status"):
                assert row[name] == expected[row["id"]][name]
    assert tap.files() == []


def test_killed_at_any_step_the_next_run_completes_the_table_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = Killer()
    tap = CannedTap(tmp_path / "files")
    run_killed(monkeypatch, counter, tap.run(0), tmp_path / "counted.duckdb")
    assert counter.steps > 10 * ALL, "the steps are not counted"
    kills = [
        *((step, False) for step in range(1, counter.steps, 3)),
        *((step, True) for step in range(2, counter.steps, 9)),
    ]
    for step, after in kills:
        path = tmp_path / f"{step}.duckdb"
        tap = CannedTap(tmp_path / f"files-{step}")
        lines = tap.run(0)
        for line in lines.splitlines():  # as the thread does that reads the input
            mark(line, Settings(duckdb_path=str(path)).identity)
        state = run_killed(monkeypatch, Killer(step, after), lines, path)
        while HELD:  # the process has ended
            os.close(HELD.popitem()[1])
        assert run_loader(tap.run(state), duckdb_path=str(path))[-1] == ALL
        assert_complete(tap, path)


def test_a_run_killed_twice_in_a_row_leaves_nothing_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, tap, state = tmp_path / "x.duckdb", CannedTap(tmp_path / "files"), 0
    for step in (25, 30, 18, 41):
        state = max(state, run_killed(monkeypatch, Killer(step), tap.run(state), path))
    assert run_loader(tap.run(state), duckdb_path=str(path))[-1] == ALL
    assert_complete(tap, path)


@pytest.mark.skipif(sys.platform == "win32", reason="it has no SIGKILL")
def test_a_process_that_is_killed_leaves_nothing_that_the_next_run_does_not_put_right(tmp_path: Path) -> None:
    path, tap = tmp_path / "x.duckdb", CannedTap(tmp_path / "files")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"duckdb_path": str(path)}))
    state = 0
    for passed in (1, 2):
        with subprocess.Popen(  # noqa: S603 - the loader
            [sys.executable, "-m", "tap_vonage_reports.load", "--config", str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert process.stdin
            assert process.stdout
            process.stdin.write(tap.run(state))  # and not closed: the tap goes on
            process.stdin.flush()
            while state < passed:
                state = int(process.stdout.readline())
            process.kill()
    assert tap.files(), "it was killed too late"
    assert run_loader(tap.run(state), duckdb_path=str(path))[-1] == ALL
    assert_complete(tap, path)


def test_messages_that_are_loaded_again_after_a_kill_load_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The messages of one run, from a file: the files loaded before the kill are gone, and that is no error."""
    path, tap = tmp_path / "x.duckdb", CannedTap(tmp_path / "files")
    lines = tap.run(0)
    assert 0 < run_killed(monkeypatch, Killer(45), lines, path) < ALL
    assert run_loader(lines, duckdb_path=str(path))[-1] == ALL
    assert_complete(tap, path)
    assert run_loader(lines, duckdb_path=str(path))[-1] == ALL
