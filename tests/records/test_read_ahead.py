"""A thread reads ahead, and neither an interrupt nor an error nor a consumer that stops leaves anything of it."""

from __future__ import annotations

import io
import sys
import zipfile
from contextlib import closing
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from tap_vonage_reports.output.signals import Interrupted
from tap_vonage_reports.records import read_ahead as module
from tap_vonage_reports.records.read_ahead import read_ahead
from tap_vonage_reports.records.report_archive import verify
from tests.threads import no_new_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType
    from typing import Any

ROWS = 3


def archive() -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("report.csv", '"id"\n' + '"1"\n' * ROWS)
    return file


def numbers(closed: list[bool], error: Exception | None = None) -> Generator[int, None, None]:
    try:
        yield from (1, 2, 3)
        if error:
            raise error
    finally:
        closed.append(True)


def interrupted_at(event: int, run: Callable[[], object]) -> object:
    """Run a function and raise `Interrupted` at one of the lines that this thread goes through."""
    left = event

    def trace(_frame: FrameType, kind: str, _argument: object) -> Any:
        nonlocal left
        left -= kind == "line"
        if left == 0:
            raise Interrupted(15)
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        return run()
    finally:
        sys.settrace(previous)


def test_an_interrupt_at_any_moment_is_raised_as_it_is_and_the_thread_ends() -> None:
    event = interrupts = 0
    while event <= interrupts:
        event += 1
        with no_new_threads():
            try:
                assert interrupted_at(event, lambda: list(read_ahead(numbers([]), 2))) == [1, 2, 3]
            except Interrupted:
                interrupts += 1
    assert interrupts > 20


@pytest.mark.parametrize("taken", [0, 1, 2, 3])
@pytest.mark.parametrize("ahead", [1, 2, 100])
def test_the_thread_ends_and_the_generator_is_closed_if_the_consumer_stops(taken: int, ahead: int) -> None:
    closed: list[bool] = []
    with no_new_threads(), closing(read_ahead(numbers(closed), ahead)) as items:
        assert [next(items) for _ in range(taken)] == [1, 2, 3][:taken]
    assert closed == [True] * bool(taken)


def test_an_error_comes_behind_the_items_before_it() -> None:
    closed: list[bool] = []
    items = read_ahead(numbers(closed, OSError("no more")), 100)
    with no_new_threads():
        assert [next(items) for _ in range(3)] == [1, 2, 3]
        with pytest.raises(OSError, match="no more"):
            next(items)
    assert closed == [True]


def test_a_process_that_can_have_no_more_threads_reads_without_one() -> None:
    with mock.patch.object(module, "start_new_thread", side_effect=RuntimeError("can't start new thread")):
        assert list(read_ahead(numbers([]), 2)) == [1, 2, 3]
        assert verify(archive(), ROWS) == ROWS
