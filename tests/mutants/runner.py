"""Runs tests against mutants, in copies of the tree: a process that has the libraries loaded forks once per mutant."""

from __future__ import annotations

import importlib
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from tests.mutants.operators import Mutant

PACKAGE = "tap_vonage_reports"
PACKAGES = ("planning", "state", "extract", "records")
SUITES = {
    "planning": ("tests/test_plan.py", "tests/test_completeness.py", "tests/test_vonage_accounts.py"),
    "state": ("tests/planning", "tests/extract/test_page_commits.py", "tests/test_completeness.py"),
    "extract": ("tests/test_failure.py", "tests/test_completeness.py", "tests/test_concurrency.py"),
    "records": ("tests/test_privacy.py", "tests/output/test_batch_files.py", "tests/test_completeness.py"),
}
"""By package, what is run if the tests of the package itself let a mutant live."""
COPIED = (PACKAGE, "tests", "examples", "pyproject.toml", "README.md", "docs", "meltano.yml", "CHANGELOG.md")
LIBRARIES = (
    "singer_sdk",
    "requests",
    "uvicorn",
    "starlette.applications",
    "pyarrow.csv",
    "pyarrow.parquet",
    "hypothesis",
)
"""What takes long to import. Nothing of the tap may be among it, because a mutant has to be imported afresh."""
EARLY = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"
"""Some libraries have plugins for pytest, which are loaded before pytest asks for them."""
ARGUMENTS = (
    "-x",
    "-q",
    "--no-header",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-p",
    "no:cov",
    "--hypothesis-seed=0",
    f"-W{EARLY}",
)
PATIENCE = 5
"""A mutant may take this many times as long as the code as it is."""
LOG, LINES = ".tests.log", 20
"""Where the tests write to, in the copy, and how many lines of it are shown if they fail without a mutant."""

Outcome = Literal["killed", "timeout", "survived"]


@dataclass
class Result:
    """What became of a mutant.

    Attributes:
        mutant: The mutant.
        outcome: ``killed`` if a test failed, ``timeout`` if the tests did not end, else ``survived``.
        seconds: How much processor time that took, of the tests and what they started and waited for.
    """

    mutant: Mutant
    outcome: Outcome
    seconds: float


class MutantsError(Exception):
    """The mutants cannot be judged, because the tests fail without any."""


class Runner:
    """Judges mutants, one at a time, in a copy of the tree.

    Attributes:
        tree: The tree. It is never written to.
        folder: The copy.
    """

    def __init__(self, tree: Path, folder: Path, timeout: float) -> None:
        """Copy the tree and load the libraries.

        Args:
            tree: The tree.
            folder: The copy, still empty.
            timeout: How long tests may take at least, in seconds.
        """
        self.tree, self.folder, self.timeout = tree, folder, timeout
        self._limits: dict[tuple[str, ...], float] = {}
        for name in COPIED:
            source, target = tree / name, folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
            elif source.exists():
                shutil.copy2(source, target)
        for name in LIBRARIES:
            with suppress(ImportError):
                importlib.import_module(name)

    def judge(self, mutant: Mutant) -> Result:
        """Run the tests against a mutant: those of its package, and if these pass, whole runs.

        Raises:
            MutantsError: They fail without it.
        """
        source = (self.tree / mutant.path).read_text(encoding="utf-8")
        seconds = 0.0
        outcome: Outcome = "survived"
        for tests in self._suites(mutant.path):
            limit = self._limits[tests] if tests in self._limits else self._measure(tests)
            before = _processor_seconds()
            with self._holding(mutant, source):
                outcome = _outcome(_tested(self.folder, tests, limit))
            seconds += _processor_seconds() - before
            if outcome != "survived":
                break
        return Result(mutant, outcome, seconds)

    @contextmanager
    def _holding(self, mutant: Mutant, source: str) -> Generator[None, None, None]:
        """Have a mutant in the copy."""
        path = self.folder / mutant.path
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()  # the mutant may be as long as the module, and of the same second
        path.write_text(mutant.apply(source), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(source, encoding="utf-8")

    def _measure(self, tests: tuple[str, ...]) -> float:
        """Return the time limit of tests, from a run without a mutant. It leaves the compiled tests behind."""
        started = time.monotonic()
        if _tested(self.folder, tests, None, compiles=True) != 0:
            said = (self.folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()[-LINES:]
            raise MutantsError("\n".join([*said, f"These tests fail without a mutant: {' '.join(tests)}"]))
        self._limits[tests] = max(self.timeout, PATIENCE * (time.monotonic() - started))
        return self._limits[tests]

    def _suites(self, path: str) -> Iterator[tuple[str, ...]]:
        """Yield the tests for a module, the quick ones first."""
        module = Path(path)
        package = module.relative_to(PACKAGE).parts[0]
        own = sorted((self.tree / "tests" / package).rglob("test_*.py"), key=lambda test: module.stem not in test.stem)
        for tests in ([test.relative_to(self.tree).as_posix() for test in own], SUITES.get(package, ())):
            if existing := tuple(test for test in tests if (self.tree / test).exists()):
                yield existing


_worker: list[Runner] = []


def start_worker(tree: Path, folder: Path, timeout: float) -> None:
    """Prepare this process to judge mutants, in a copy of the tree below a folder."""
    _worker[:] = [Runner(tree, Path(tempfile.mkdtemp(dir=folder)), timeout)]


def judge(mutant: Mutant) -> Result:
    """Judge a mutant in this process."""
    return _worker[0].judge(mutant)


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _outcome(code: int | None) -> Outcome:
    if code is None:
        return "timeout"
    return "killed" if code else "survived"


def _tested(folder: Path, tests: Sequence[str], limit: float | None, *, compiles: bool = False) -> int | None:
    """Run tests in a process of their own; return its exit code, or None if it did not end in time."""
    child = os.fork()
    if not child:
        _test_and_exit(folder, tests, compiles=compiles)
    deadline = time.monotonic() + (limit or 3600)
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            _end_group(child)
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    _end_group(child)
    os.waitpid(child, 0)
    return None


def _end_group(child: int) -> None:
    """End what the tests have started, too."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)


def _test_and_exit(folder: Path, tests: Sequence[str], *, compiles: bool) -> None:
    code = 70
    try:
        os.setsid()
        os.chdir(folder)
        log = os.open(folder / LOG, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.dont_write_bytecode = not compiles
        sys.path[:] = [str(folder), *(entry for entry in sys.path if entry)]
        os.environ["PYTHONPATH"] = str(folder)  # the copy comes before the package that is installed
        os.environ["PYTHONDONTWRITEBYTECODE"] = "" if compiles else "1"
        for name in [name for name in sys.modules if name.split(".")[0] in (PACKAGE, "tests")]:
            del sys.modules[name]
        basetemp = folder / ".tests"
        code = pytest.main([*ARGUMENTS, f"--basetemp={basetemp}", f"--rootdir={folder}", *tests], plugins=[_Quick()])
    except BaseException:  # noqa: BLE001 - a fork must not go on with what its parent does
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(code))


class _Quick:
    """Hypothesis reports the first example that fails, and looks for no shorter one."""

    @pytest.hookimpl
    def pytest_collection_finish(self) -> None:
        with suppress(ImportError):
            from hypothesis import Phase, settings  # noqa: PLC0415 - a tree may have no such tests

            phases = (Phase.explicit, Phase.generate)
            settings.register_profile("mutants", settings.default, phases=phases, database=None)
            settings.load_profile("mutants")
