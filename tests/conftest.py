"""A sandbox for every test that asks for one; nothing of a test outlives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = "2026-11-20T12:00:00Z"


@pytest.fixture
def make_sandbox() -> Iterator[Callable[..., Sandbox]]:
    """Makes sandboxes whose clock stands still at NOW and that count requests without limiting them."""
    opened: list[Sandbox] = []

    def make(**options: Any) -> Sandbox:
        options["faults"] = [*options.get("faults", ()), "no-rate-limit"]
        options["rows"] = {"*": 0, **options.get("rows", {})}
        options.setdefault("clock", NOW)
        sandbox = Sandbox(**options)
        opened.append(sandbox.__enter__())
        return sandbox

    yield make
    for sandbox in opened:
        sandbox.__exit__(None, None, None)
