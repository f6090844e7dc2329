"""The mutation check finds what no test notices, in a copy: the tree stays as it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.coverage_map import BUDGET_SECONDS, OUTSIDE, CoverageMap
from tests.mutants.operators import Mutant, mutants_of

forks = pytest.mark.skipif(sys.platform == "win32", reason="a process forks for each mutant")
ROOT = Path(__file__).resolve().parent.parent
SOURCE = '''"""Things."""
from __future__ import annotations


def clamp(value: int = 3, limit: int = 10) -> int:
    """Never more than the limit."""
    if value > limit and limit:
        return limit
    return value


def count(things: list[int]) -> int:
    total = 0
    while things:
        things.pop()
        total += 1
    return total


def spawned() -> int:
    return 3


LIMIT = 5


def within(value: int) -> bool:
    return value < LIMIT
'''
UNREACHED = """
def forgotten() -> int:
    return 1
"""
TESTS = """
import subprocess
import sys
import time

from tap_vonage_reports.planning.things import clamp, count, within


def test_clamp():
    assert [clamp(value) for value in (9, 10, 11)] == [9, 10, 10]


class Things(list):
    def __bool__(self):
        time.sleep(0.01)  # so that a mutant that counts for ever takes little of the processor
        return len(self) > 0


def test_count():
    assert count(Things([1, 2])) == 2


def test_within():
    assert [value for value in range(9) if within(value)] == [0, 1, 2, 3, 4]


def test_process():
    code = "from tap_vonage_reports.planning.things import spawned; raise SystemExit(spawned())"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 3
"""
ALONE = """
from tap_vonage_reports.planning.alone import forgotten
"""
STUCK = """
import os, pathlib, threading

def test_it():
    if forgotten() == {expected}:
        pathlib.Path({fifo!r}).write_text(str(os.getpid()))
        threading.Event().wait(600)
"""


def texts(source: str) -> set[str]:
    return {mutant.apply(source) for mutant in mutants_of("x.py", source)}


@pytest.mark.parametrize(
    ("source", "mutated"),
    [
        ("x = a < b", {"x = a <= b"}),
        ("x = a in b", {"x = a not in b"}),
        ("x = a and b or c", {"x = ((a and b) and c)", "x = (a or b) or c"}),
        ("x = a - b * c", {"x = (a + b * c)", "x = a - (b / c)"}),
        ("x = not a", {"x = (a)"}),
        ("x = 5", {"x = (6)", "x = (4)"}),
        ("x = True", {"x = False"}),
        ("é = 'é'; x(); y = 1", {"é = 'é'; pass; y = 1", "é = 'é'; x(); y = (2)", "é = 'é'; x(); y = (0)"}),
        ("def f(a=0):\n    return a", {"def f(a=(1)):\n    return a", "def f(a=(-1)):\n    return a"}
         | {"def f(a=0):\n    return None"}),
        ("if a:\n    b", {"if not (a):\n    b"}),
        ("x = [a for a in b if c]", {"x = [a for a in b if not (c)]"}),
        ("while a:\n    break", {"while not (a):\n    break", "while a:\n    continue"}),
        ("x: int = y", set()),
        ("x: Literal[1]", set()),
        ("if TYPE_CHECKING:\n    x = 1", set()),
        ("logger.info('x', 1)", set()),
        ("x = f'{1:>2}'", set()),
        ("CHUNK_BYTES = 1 << 17", set()),
        ("CHUNKS = 7", {"CHUNKS = (8)", "CHUNKS = (6)"}),
        ("def f():\n    return False", {"def f():\n    return True"}),
        ("def f():\n    return ''", set()),
        ("def f():\n    return {}", set()),
        ("def f():\n    return [a]", {"def f():\n    return None"}),
        ("x = zip(a, strict=True)", set()),
        ("x = zip(a, strict=False)", {"x = zip(a, strict=True)"}),
        ("x = reader(a, strict=True)", {"x = reader(a, strict=False)"}),
        ("def f() -> 1:\n    '''Text.'''\n    return None", set()),
    ],
)  # fmt: skip
def test_each_fault_is_one_change_that_compiles(source: str, mutated: set[str]) -> None:
    assert texts(source) == mutated


def write_tree(root: Path, **modules: str) -> None:
    """Write a tree with a package, whose modules are given, and tests for it."""
    for path, content in {
        "tap_vonage_reports/__init__.py": "",
        "tap_vonage_reports/planning/__init__.py": "",
        "pyproject.toml": "[tool.pytest.ini_options]\npythonpath = ['.']\n",
        **{f"tap_vonage_reports/planning/{name}.py": text for name, text in modules.items() if "test_" not in name},
        **{f"tests/planning/{name}.py": text for name, text in modules.items() if "test_" in name},
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)


def judged(root: Path, *options: str, module: str = "") -> tuple[int, list[str]]:
    """Judge all mutants of a tree; return the exit code and the lines."""
    command = [sys.executable, "-m", "tests.mutants", "--sample=0", "--workers=1", "--timeout=5", f"--tree={root}"]
    command += [f"--module=tap_vonage_reports/planning/{module}", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)  # noqa: S603 - our own
    assert not done.stderr
    return done.returncode, done.stdout.splitlines()


@forks
def test_survivors_are_told_and_the_tree_stays_as_it_is(tmp_path: Path) -> None:
    write_tree(tmp_path, things=SOURCE, test_things=TESTS)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, lines = judged(tmp_path, "--at-least=90")
    assert code == 1, lines  # 90 % is more than these tests kill
    survivors = [line for line in lines if ": survived (" in line]
    assert "tap_vonage_reports/planning/things.py:5: survived (constant)" in survivors  # no test uses the default
    assert "tap_vonage_reports/planning/things.py:7: survived (comparison)" in survivors  # the limit itself: the same
    assert len(survivors) == 3, lines
    assert "    +def clamp(value: int = (4), limit: int = 10) -> int:" in lines
    *_, total, _ = lines
    name, killed, timeout, survived = total.split()
    assert (name, int(survived)) == ("all", 3)
    assert int(timeout) >= 1  # things.pop() removed
    assert int(killed) >= 8
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@forks
def test_a_line_that_no_measured_test_reaches_is_told_as_such(tmp_path: Path) -> None:
    write_tree(tmp_path, alone=UNREACHED, test_alone=ALONE + "\n\ndef test_nothing():\n    assert forgotten\n")
    code, lines = judged(tmp_path, "--at-least=1")
    place = "tap_vonage_reports/planning/alone.py:3: survived"
    assert code == 1
    assert sorted({line for line in lines if line.startswith(place)}) == [
        f"{place} (constant), no measured test reaches it",
        f"{place} (return value), no measured test reaches it",
    ]


@forks
def test_tests_that_fail_without_a_mutant_end_the_run(tmp_path: Path) -> None:
    write_tree(tmp_path, alone=UNREACHED, test_alone=ALONE + "\n\ndef test_it():\n    assert forgotten() == 2\n")
    code, lines = judged(tmp_path)
    assert code == 1
    assert lines[-1] == "These tests fail without a mutant: tests/planning/test_alone.py"
    assert not [line for line in lines if ": survived (" in line]


@forks
@pytest.mark.parametrize(("module", "said"), [("nothing.py", "No mutants: "), ("alone.py", "No tests are measured ")])
def test_a_run_that_judges_nothing_fails(tmp_path: Path, module: str, said: str) -> None:
    write_tree(tmp_path, alone=UNREACHED)
    code, lines = judged(tmp_path, module=module)
    assert code == 1
    assert lines[-1].startswith(said)
    assert not [line for line in lines if "noticed" in line]


@forks
@pytest.mark.parametrize("while_judging", [False, True])
def test_a_run_that_is_terminated_leaves_no_process_and_no_copy(tmp_path: Path, *, while_judging: bool) -> None:
    tree, copies, fifo = tmp_path / "tree", tmp_path / "copies", tmp_path / "fifo"
    copies.mkdir()
    os.mkfifo(fifo)
    expected = 2 if while_judging else 1  # the mutants return 2 and 0, or None
    write_tree(tree, alone=UNREACHED, test_alone=f"{ALONE}{STUCK.format(fifo=str(fifo), expected=expected)}")
    command = [sys.executable, "-m", "tests.mutants", "--sample=0", "--workers=2", f"--tree={tree}"]
    command += ["--module=tap_vonage_reports/planning/alone.py"]
    environment = {**os.environ, "TMPDIR": str(copies)}
    run = subprocess.Popen(  # noqa: S603 - our own
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    child = int(fifo.read_text())  # the tests are under way
    assert list(copies.iterdir())
    run.send_signal(signal.SIGTERM)
    out, err = run.communicate(timeout=60)  # which ends with the last process that has its standard output
    assert (run.returncode, err) == (128 + signal.SIGTERM, "")
    assert "noticed" not in out
    assert list(copies.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("if value > limit and limit:", ["quick", "slow"]),
        ("things.pop()", ["count"]),
        ("LIMIT = 5", ["within", "quick", "count", "slow"]),  # all that execute a function of the module
        ("def count(things", ["count"]),
        ("return 3", ["process"]),
    ],
)
def test_a_mutant_meets_the_tests_that_execute_its_line_the_quickest_first(text: str, chosen: list[str]) -> None:
    lines: dict[str, int] = {text.strip(): number for number, text in enumerate(SOURCE.splitlines(), start=1)}
    executed = {"return value": "quick slow", "return total": "count", "return value < LIMIT": "within"}
    measured = CoverageMap(
        costs={"slow": 3, "count": 2, "quick": 1, "within": 0.5, "process": 4},
        lines={"x.py": {lines[text]: set(tests.split()) for text, tests in executed.items()}},
        spawning={"process"},
    )
    measured.lines["x.py"] |= {
        lines["if value > limit and limit:"]: {"slow", "quick"},
        lines["things.pop()"]: {"count"},
        lines["LIMIT = 5"]: {OUTSIDE},
    }
    line = next(number for found, number in lines.items() if found.startswith(text))
    assert measured.choose(Mutant("x.py", line, "constant", 0, 0, ""), {"x.py": SOURCE}, "tests/planning") == chosen


def test_a_mutant_of_a_constant_meets_the_tests_of_the_modules_that_import_it() -> None:
    user = "from package.limits import {name}\n\ndef within(value):\n    return value < {name}\n"
    user_of_module = "from package import limits{alias}\n\ndef within(value):\n    return value < {name}\n"
    sources = {
        "package/limits.py": "MOST, LEAST = 5, 1\nLIMIT = 5\n",
        "package/x.py": user.format(name="LIMIT"),
        "package/y.py": user.format(name="LEAST"),
        "package/z.py": user_of_module.format(alias=" as others", name="others.LIMIT"),
        "package/w.py": user_of_module.format(alias="", name="limits.LEAST"),
    }
    seconds = {f"tests/of_{name}": float(cost) for cost, name in enumerate("xyzw")}
    measured = CoverageMap(
        costs=seconds,
        lines={path: {4: {f"tests/of_{path[8]}"}} for path in sources} | {"package/limits.py": {2: {OUTSIDE}}},
        seconds=seconds,
    )
    for line, chosen in ((2, ["tests/of_x", "tests/of_z"]), (1, [*seconds])):
        assert measured.choose(Mutant("package/limits.py", line, "constant", 0, 0, ""), sources, "tests") == chosen


def test_modules_of_tests_share_the_budget() -> None:
    seconds = {f"one.py::test_{number}": BUDGET_SECONDS / 8 for number in range(9)}
    seconds |= {"long.py::test": BUDGET_SECONDS * 2, "slow.py::test": BUDGET_SECONDS / 2}
    seconds |= {f"quick.py::test_{number}": 0.0 for number in range(99)}
    measured = CoverageMap(costs=seconds, lines={"x.py": {1: {*seconds}}})
    chosen = measured.choose(Mutant("x.py", 1, "constant", 0, 0, ""), {"x.py": "x = f(1)"}, "tests")
    assert [test for test in chosen if "quick" not in test] == [
        *(f"one.py::test_{number}" for number in range(4)),
        "slow.py::test",
    ]
    assert len(chosen) == 99 + 5


def test_a_mutant_meets_no_more_tests_than_the_budget_has_room_for() -> None:
    names = [f"test {number}" for number in range(9)]
    for seconds, count in ((BUDGET_SECONDS / 4, 4), (BUDGET_SECONDS * 2, 1)):
        measured = CoverageMap(costs=dict.fromkeys(names, seconds), lines={"x.py": {1: {*names}}})
        assert len(measured.choose(Mutant("x.py", 1, "constant", 0, 0, ""), {"x.py": "x = f(1)"}, "tests")) == count
