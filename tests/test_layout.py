"""The modules of the tap are small, and say what they are for."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tap_vonage_reports

PACKAGE = Path(tap_vonage_reports.__file__).parent
SANDBOX = PACKAGE / "sandbox"
"""Another program, with rules of its own."""
MODULES = {
    path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py")) if SANDBOX not in path.parents
}
MAX_MODULE_LINES, MAX_CLASS_LINES = 400, 200
SENTENCE_MARKS = (".", "!", "?")


@pytest.mark.parametrize("name", MODULES)
def test_every_module_is_small(name: str) -> None:
    assert len(MODULES[name].read_text("utf-8").splitlines()) <= MAX_MODULE_LINES


@pytest.mark.parametrize("name", MODULES)
def test_every_class_is_small(name: str) -> None:
    classes = [node for node in ast.walk(_parsed(name)) if isinstance(node, ast.ClassDef)]
    lines = {node.name: (node.end_lineno or node.lineno) - node.lineno + 1 for node in classes}
    assert {name: count for name, count in lines.items() if count > MAX_CLASS_LINES} == {}


@pytest.mark.parametrize("name", MODULES)
def test_every_module_begins_with_a_sentence_on_what_it_is_for(name: str) -> None:
    first, *_ = (ast.get_docstring(_parsed(name)) or "").splitlines() or [""]
    assert first.endswith(SENTENCE_MARKS)


def _parsed(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text("utf-8"))
