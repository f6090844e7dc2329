"""Which tests execute a line: measured once and without a mutant, so that a mutant meets only tests that can notice it.

A test is named by its node ID. Coverage sees the threads of a test, but not the processes that it starts.
"""

from __future__ import annotations

import ast
import os
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache, wraps
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from coverage import Coverage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from tests.mutants.operators import Mutant

BUDGET_SECONDS = 30.0
"""Processor time that the tests of one mutant may take, as measured, which is twice as much as without the measurement:
a survivor of a line that hundreds of tests execute meets some of each module."""
OUTSIDE = ""
"""Stands for a test where a line is executed outside of tests: a module is imported."""

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass
class CoverageMap:
    """What tests execute, and how long they take.

    Attributes:
        seconds: The duration of each test.
        costs: Its processor time, which does not depend on what else the machine does; its duration if it starts
            processes.
        lines: By module and line, the tests that execute it.
        spawning: Tests that start processes; what these execute is not in `lines`.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    spawning: set[str] = field(default_factory=set)
    costs: dict[str, float] = field(default_factory=dict)

    def update(self, other: CoverageMap) -> None:
        """Add what was measured of other tests."""
        self.seconds |= other.seconds
        self.costs |= other.costs
        self.spawning |= other.spawning
        for path, lines in other.lines.items():
            known = self.lines.setdefault(path, {})
            for line, tests in lines.items():
                known.setdefault(line, set()).update(tests)

    def choose(self, mutant: Mutant, sources: Mapping[str, str], own: str) -> list[str]:
        """Return the tests for a mutant, the quickest first.

        Args:
            mutant: The mutant.
            sources: The texts of its module and of those that may use it, by path.
            own: The folder of the package's own tests.

        Returns:
            Tests that execute the statement. For a statement that is executed by an import, such as a constant, tests
            that execute a function of the module, or of one that imports the constant, or else the package's own. If no
            test executes the statement, tests that start processes, which may do so unseen. At most `BUDGET_SECONDS` of
            them, but at least one of any. The modules of tests share it, because each has other promises: of each its
            quickest tests are chosen.
        """
        place = _place(sources[mutant.path], mutant.line)
        executed = self._tests(mutant.path, place.lines)
        if place.by_import or executed == {OUTSIDE}:
            for path in (mutant.path, *_users(mutant.path, place.constant, sources)):
                executed |= self._tests(path, _function_lines(sources[path]))
        tests = executed - {OUTSIDE}
        if not tests and place.by_import:
            tests = {test for test in self.seconds if test.startswith(f"{own}/")}
        return self._quickest(tests or self.spawning)

    def _tests(self, path: str, lines: Iterable[int]) -> set[str]:
        by_line = self.lines.get(path, {})
        return set().union(*(by_line.get(line, ()) for line in lines))

    def _quickest(self, tests: set[str]) -> list[str]:
        quickest = sorted(tests, key=lambda test: (self.costs[test], test))
        spent: defaultdict[str, float] = defaultdict(float)
        turns: list[tuple[float, str]] = []
        for test in quickest:
            module = test.partition("::")[0]
            spent[module] += self.costs[test]
            turns.append((spent[module], test))
        chosen, left = set(quickest[:1]), BUDGET_SECONDS
        for _, test in sorted(turns):
            if self.costs[test] <= left:
                left -= self.costs[test]
                chosen.add(test)
        return [test for test in quickest if test in chosen]


@dataclass(frozen=True)
class _Place:
    lines: range
    by_import: bool
    constant: str = ""
    """The constant of the module that the line defines."""


def _place(source: str, line: int) -> _Place:
    """Return the lines to look for, for the innermost statement at a line: of a function's head, those of its body."""
    around = [node for node in _statements(source) if node.lineno <= line <= (node.end_lineno or 0)]
    statement = around[-1]
    if isinstance(statement, FUNCTIONS):
        return _Place(_body(statement), by_import=False)
    by_import = not any(isinstance(node, FUNCTIONS) for node in around)
    if hasattr(statement, "body") or isinstance(statement, ast.Match):
        return _Place(range(line, line + 1), by_import)
    lines = range(statement.lineno, (statement.end_lineno or 0) + 1)
    return _Place(lines, by_import, _constant(statement) if len(around) == 1 else "")


def _constant(statement: ast.stmt) -> str:
    target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
    return target.id if isinstance(target, ast.Name) else ""


def _users(path: str, constant: str, sources: Mapping[str, str]) -> list[str]:
    """Return the modules that import a constant of a module, or the module whose constant they name."""
    module = path.removesuffix(".py").replace("/", ".")
    package, _, last = module.rpartition(".")

    def imports(node: ast.ImportFrom, source: str) -> bool:
        if node.module == module:
            return constant in {one.name for one in node.names}
        aliases = [one.asname or one.name for one in node.names if (node.module, one.name) == (package, last)]
        return any(constant and f"{alias}.{constant}" in source for alias in aliases)

    return [
        user
        for user, source in sources.items()
        for node in _statements(source)
        if isinstance(node, ast.ImportFrom) and imports(node, source)
    ]


def _function_lines(source: str) -> list[int]:
    return [line for node in _statements(source) if isinstance(node, FUNCTIONS) for line in _body(node)]


def _body(function: ast.FunctionDef | ast.AsyncFunctionDef) -> range:
    return range(function.body[0].lineno, (function.end_lineno or 0) + 1)


@cache
def _statements(source: str) -> list[ast.stmt]:
    """Return the statements of a module, each one behind those around it."""
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]


def _processor_seconds() -> float:
    """Return the processor time of this process and of those that it has waited for."""
    return sum(os.times()[:4])


class Recorder:
    """A plugin for pytest that measures the tests of a run.

    Attributes:
        found: What has been measured so far; its lines only once `lines_of` was called.
    """

    def __init__(self, folder: Path, package: str) -> None:
        """Begin to measure. It is for a process that runs tests once and ends.

        Args:
            folder: The tree whose tests are run.
            package: The package in it whose lines are measured.
        """
        self.found = CoverageMap()
        self._folder, self._test = folder, OUTSIDE
        self._coverage = Coverage(data_file=None, config_file=False, include=[f"{folder / package}/*"])
        for owner, name in ((subprocess.Popen, "__init__"), (BaseProcess, "start")):
            setattr(owner, name, self._noticed(getattr(owner, name)))
        self._coverage.start()

    def finish(self) -> CoverageMap:
        """End the measurement and return it."""
        self._coverage.stop()
        self.found.costs |= {test: self.found.seconds[test] for test in self.found.spawning}
        data = self._coverage.get_data()
        for file in data.measured_files():
            lines: dict[int, set[str]] = defaultdict(set)
            for line, tests in data.contexts_by_lineno(file).items():
                lines[line].update(tests)
            self.found.lines[Path(file).relative_to(self._folder).as_posix()] = dict(lines)
        return self.found

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Count what is executed as this test's, its fixtures included."""
        self._test = item.nodeid
        self._coverage.switch_context(item.nodeid)
        before = _processor_seconds()
        result = yield
        self.found.costs[item.nodeid] = _processor_seconds() - before
        self._coverage.switch_context(OUTSIDE)
        self._test = OUTSIDE
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the duration of a test, or of its fixtures."""
        self.found.seconds[report.nodeid] = self.found.seconds.get(report.nodeid, 0) + report.duration

    def _noticed(self, start: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(start)
        def noticed(*arguments: Any, **options: Any) -> Any:
            if self._test:
                self.found.spawning.add(self._test)
            return start(*arguments, **options)

        return noticed
