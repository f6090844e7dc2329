"""Only the state package knows the names of the state's keys."""

from __future__ import annotations

import ast
from pathlib import Path

import tap_vonage_reports
from tap_vonage_reports.state import format as state_format
from tap_vonage_reports.state import report_limits, volume

PACKAGE = Path(tap_vonage_reports.__file__).parent
GENERIC = {state_format.QUERY, state_format.PAGE, state_format.REPORTS, state_format.OPEN, state_format.CONTEXT}
"""Keys that are ordinary words, which others use for other things."""


def test_no_other_module_names_a_key_of_the_state() -> None:
    named = {**vars(state_format), **vars(report_limits), **vars(volume)}
    constants = {text for name, text in named.items() if name.isupper() and isinstance(text, str)}
    keys = {text for text in constants if text.isidentifier()} - GENERIC | {*state_format.SDK_MARKERS}
    assert {"covered", "report_hours", "refused_reports", "recent_rows", "replication_key_value"} <= keys
    others = [path for path in PACKAGE.rglob("*.py") if not {"state", "sandbox"} & set(path.relative_to(PACKAGE).parts)]
    assert len(others) > 30
    found = {
        (path.name, node.value)
        for path in others
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in keys
    }
    assert found == set()
