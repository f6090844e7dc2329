from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.sandbox import Sandbox
from tests.sandbox.reading import NOW, Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def opened() -> Iterator[Callable[..., Reader]]:
    """Opens sandboxes with a clock that stands still and without a rate limit, and reads from them."""
    with ExitStack() as stack:

        def make(**options: Any) -> Reader:
            limited = options.pop("limited", False)
            faults = [*options.pop("faults", ()), *([] if limited else ["no-rate-limit"])]
            settings: dict[str, Any] = {"clock": NOW, **options, "faults": faults}
            sandbox = stack.enter_context(Sandbox(**settings))
            reader = Reader(sandbox)
            stack.callback(reader.session.close)
            return reader

        yield make


@pytest.fixture
def reader(opened: Callable[..., Reader]) -> Reader:
    """A sandbox with a few rows of everything."""
    return opened(rows={"*": 60})
