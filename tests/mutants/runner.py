"""Runs tests in copies of the tree: a process that has the libraries loaded forks once per mutant."""

from __future__ import annotations

import importlib
import os
import pickle
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

from tests.mutants.coverage_map import CoverageMap, Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from tests.mutants.operators import Mutant

PACKAGE = "tap_vonage_reports"
PACKAGES = ("planning", "state", "extract", "records")
SUITES = {
    "planning": (
        "tests/extract/test_adoption.py",
        "tests/test_clock.py",
        "tests/test_plan.py",
        "tests/test_completeness.py",
        "tests/test_together.py",
    ),
    "state": (
        "tests/planning",
        "tests/extract/test_adoption.py",
        "tests/extract/test_page_commits.py",
        "tests/test_completeness.py",
        "tests/test_account_gaps.py",
        "tests/test_listed_accounts.py",
        "tests/test_together.py",
    ),
    "extract": (
        "tests/api/test_credentials.py",
        "tests/test_accounts.py",
        "tests/test_clock.py",
        "tests/test_connection_test.py",
        "tests/test_failure.py",
        "tests/test_first_errors.py",
        "tests/test_completeness.py",
        "tests/test_concurrency.py",
        "tests/test_costs.py",
        "tests/test_gaps.py",
        "tests/test_account_gaps.py",
        "tests/test_listed_accounts.py",
        "tests/test_plan.py",
        "tests/test_progress.py",
        "tests/test_resume.py",
        "tests/test_summary.py",
        "tests/test_together.py",
    ),
    "records": (
        "tests/test_privacy.py",
        "tests/output/test_batch_files.py",
        "tests/test_completeness.py",
        "tests/test_odd_rows.py",
        "tests/test_text_forms.py",
        "tests/test_timestamps.py",
    ),
}
"""By package, whole runs that are measured beside the package's own tests."""
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
PATIENCE = 2
"""A mutant may take the timeout, and this many times as long as its tests took when they were measured."""
MEASURING_SECONDS = 1800.0
"""When to give a module of tests up that does not end without a mutant: no one waits longer."""
MEASURED = ".tests.measured"
"""Where the measurement is handed over, in the copy."""
LOG, LINES = ".tests.log", 20
"""Where the tests write to, in the copy, and how many lines of it are shown if they fail without a mutant."""

Outcome = Literal["killed", "timeout", "survived"]


@dataclass
class Result:
    """What became of a mutant.

    Attributes:
        mutant: The mutant.
        outcome: ``killed`` if a test failed, ``timeout`` if the tests did not end, else ``survived``.
        tests: How many tests were chosen for it.
        seconds: How much processor time that took, of the tests and what they started and waited for.
    """

    mutant: Mutant
    outcome: Outcome
    tests: int
    seconds: float


class MutantsError(Exception):
    """The mutants cannot be judged: the tests fail without any, or there are no tests."""


def tests_of(tree: Path, packages: Sequence[str]) -> list[str]:
    """Return the modules of tests to measure for packages, the largest first."""
    paths = [tree / name for package in packages for name in (f"tests/{package}", *SUITES.get(package, ()))]
    found = {test for path in paths for test in ([path] if path.is_file() else path.rglob("test_*.py"))}
    return [test.relative_to(tree).as_posix() for test in sorted(found, key=lambda test: (-test.stat().st_size, test))]


class Runner:
    """Measures tests and judges mutants, one at a time, in a copy of the tree.

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
        self.tree, self.folder, self.timeout = tree, folder.resolve(), timeout
        for name in COPIED:
            source, target = tree / name, folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
            elif source.exists():
                shutil.copy2(source, target)
        for name in LIBRARIES:
            with suppress(ImportError):
                importlib.import_module(name)

    def measure(self, module: str) -> CoverageMap:
        """Run a module of tests without a mutant and return what they execute. It leaves compiled tests behind.

        Raises:
            MutantsError: They fail.
        """

        def run() -> int:
            recorder = Recorder(self.folder, PACKAGE)
            code = _pytest(self.folder, [module], recorder)
            (self.folder / MEASURED).write_bytes(pickle.dumps(vars(recorder.finish())))
            return code

        if _in_fork(self.folder, run, MEASURING_SECONDS, compiles=True) not in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
            said = (self.folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()[-LINES:]
            raise MutantsError("\n".join([*said, f"These tests fail without a mutant: {module}"]))
        return CoverageMap(**pickle.loads((self.folder / MEASURED).read_bytes()))  # noqa: S301 - our own

    def judge(self, mutant: Mutant, tests: Sequence[str], seconds: float) -> Result:
        """Run tests against a mutant.

        Args:
            mutant: The mutant.
            tests: The tests to run, in this order.
            seconds: How long they take without it.
        """
        source = (self.tree / mutant.path).read_text(encoding="utf-8")
        modules = list(dict.fromkeys(test.partition("::")[0] for test in tests))
        before = _processor_seconds()
        outcome: Outcome = "survived"
        if tests:
            with self._holding(mutant, source):
                limit = self.timeout + PATIENCE * seconds
                outcome = _outcome(
                    _in_fork(self.folder, lambda: _pytest(self.folder, modules, _Chosen(tests)), limit, compiles=False)
                )
        return Result(mutant, outcome, len(tests), _processor_seconds() - before)

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


_worker: list[Runner] = []
_children: list[int] = []
"""The process that runs tests, while there is one."""


def start_worker(tree: Path, folder: Path, timeout: float) -> None:
    """Prepare this process to judge mutants, in a copy of the tree below a folder.

    It ends with SIGTERM, and its tests with it. Ctrl-C reaches it too, but is left to the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_worker)
    _worker[:] = [Runner(tree, Path(tempfile.mkdtemp(dir=folder)), timeout)]


def measure(module: str) -> CoverageMap:
    """Measure a module of tests in this process."""
    return _worker[0].measure(module)


def judge(mutant: Mutant, tests: Sequence[str], seconds: float) -> Result:
    """Judge a mutant in this process."""
    return _worker[0].judge(mutant, tests, seconds)


def _end_worker(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    _end_children()
    os._exit(128 + number)


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _outcome(code: int | None) -> Outcome:
    if code is None:
        return "timeout"
    return "killed" if code else "survived"


def _in_fork(folder: Path, run: Callable[[], int], limit: float, *, compiles: bool) -> int | None:
    """Run tests in a process of their own; return its exit code, or None if it did not end in time."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # until it is known which process to end then
    child = os.fork()
    if not child:
        _run_and_exit(folder, run, compiles=compiles)
    _children.append(child)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            _children.clear()
            _end_group(child)
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    _end_children()
    return None


def _end_group(child: int) -> None:
    """End what the tests have started, too."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)


def _end_children() -> None:
    while _children:
        child = _children.pop()
        _end_group(child)
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(child, signal.SIGKILL)  # it may have no group yet
            os.waitpid(child, 0)


def _run_and_exit(folder: Path, run: Callable[[], int], *, compiles: bool) -> None:
    code = 70
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
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
        code = run()
    except BaseException:  # noqa: BLE001 - a fork must not go on with what its parent does
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(code))


def _pytest(folder: Path, modules: Sequence[str], plugin: object) -> int:
    options = [*ARGUMENTS, f"--basetemp={folder / '.tests'}", f"--rootdir={folder}"]
    return int(pytest.main([*options, *modules], plugins=[_Quick(), plugin]))


class _Chosen:
    """Runs some of the tests that pytest finds, in a given order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self.order = {test: number for number, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self.order), key=lambda item: self.order[item.nodeid]
        )


class _Quick:
    """Hypothesis reports the first example that fails, and looks for no shorter one."""

    @pytest.hookimpl
    def pytest_collection_finish(self) -> None:
        with suppress(ImportError):
            from hypothesis import Phase, settings  # noqa: PLC0415 - a tree may have no such tests

            phases = (Phase.explicit, Phase.generate)
            settings.register_profile("mutants", settings.default, phases=phases, database=None)
            settings.load_profile("mutants")
