from __future__ import annotations

from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from tap_vonage_reports.sandbox import Sandbox
from tests.sandbox.reading import NOW, Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def opened() -> Iterator[Callable[..., Reader]]:
    """Open sandboxes with a clock that stands still, without a rate limit and with reports that are ready at the first
    look, and read from them.
    """
    with ExitStack() as stack:

        def make(**options: Any) -> Reader:
            limited = options.pop("limited", False)
            if limited:  # all requests come in the same second, however long they take
                second = SimpleNamespace(monotonic=lambda: 0.0)
                stack.enter_context(mock.patch("tap_vonage_reports.sandbox.journal.time", second))
            faults = [*options.pop("faults", ()), *([] if limited else ["no-rate-limit"])]
            polls = {} if {"generation_seconds", "realistic"} & options.keys() else {"polls": 1}
            settings: dict[str, Any] = {"clock": NOW, **polls, **options, "faults": faults}
            sandbox = stack.enter_context(Sandbox(**settings))
            reader = Reader(sandbox)
            stack.callback(reader.session.close)
            return reader

        yield make


@pytest.fixture
def reader(opened: Callable[..., Reader]) -> Reader:
    """A sandbox with a few rows of everything."""
    return opened(rows={"*": 60})
