"""The mutation check finds what no test notices, in a copy: the tree stays as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.operators import mutants_of

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
'''
TESTS = """
from tap_vonage_reports.planning.things import clamp, count


def test_clamp():
    assert [clamp(value) for value in (9, 10, 11)] == [9, 10, 10]


def test_count():
    assert count([1, 2]) == 2
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
        ("def f() -> 1:\n    '''Text.'''\n    return None", set()),
    ],
)  # fmt: skip
def test_each_fault_is_one_change_that_compiles(source: str, mutated: set[str]) -> None:
    assert texts(source) == mutated


@pytest.mark.skipif(sys.platform == "win32", reason="a process forks for each mutant")
def test_survivors_are_told_and_the_tree_stays_as_it_is(tmp_path: Path) -> None:
    for path, content in {
        "tap_vonage_reports/__init__.py": "",
        "tap_vonage_reports/planning/__init__.py": "",
        "tap_vonage_reports/planning/things.py": SOURCE,
        "tests/planning/test_things.py": TESTS,
        "pyproject.toml": "[tool.pytest.ini_options]\npythonpath = ['.']\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    options = ("--sample=0", "--workers=1", "--timeout=5", "--at-least=90", f"--tree={tmp_path}")
    command = [sys.executable, "-m", "tests.mutants", *options, "--module=tap_vonage_reports/planning"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)  # noqa: S603 - our own
    assert done.returncode == 1, done.stdout + done.stderr  # 90 % is more than these tests kill
    survivors = [line for line in done.stdout.splitlines() if ": survived (" in line]
    assert "tap_vonage_reports/planning/things.py:5: survived (constant)" in survivors  # no test uses the default
    assert "tap_vonage_reports/planning/things.py:7: survived (comparison)" in survivors  # the limit itself: the same
    assert len(survivors) == 3, done.stdout
    assert "+def clamp(value: int = (4), limit: int = 10) -> int:" in done.stdout
    *_, total, _ = done.stdout.splitlines()
    name, killed, timeout, survived = total.split()
    assert (name, int(survived)) == ("all", 3)
    assert int(timeout) >= 1  # things.pop() removed
    assert int(killed) >= 8
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
