"""Time that reports refetch counts as refetched once all of its reports are read, and not before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.extract.reader import Chunk
from tap_vonage_reports.extract.reports.refetch import ReportRefetcher
from tap_vonage_reports.intervals import EMPTY, to_intervals
from tap_vonage_reports.metrics import FetchMetrics
from tests.planning.test_windows import at, hours

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_vonage_reports.intervals import TimeSet


def refetched(stale: TimeSet, later: TimeSet, *, gaps: int = 0, pending: int = 0) -> list[str]:
    """Refetch a partition whose reports leave so many gaps, and so many to a later run; return what is committed."""
    done: list[str] = []
    result = SimpleNamespace(fetched=FetchMetrics(), gaps=["left out before"], pending_reports=0)
    sync: Any = SimpleNamespace(
        partition=SimpleNamespace(with_subaccounts=True),
        bookmark=SimpleNamespace(refresh=lambda *_arguments: done.append("fresh")),
        result=result,
        refetch_later=later,
        resumed_reads=[],
        opened_at=at(0),
        until=at(9),
    )

    def read_next(_sync: Any, _plan: Any) -> Iterator[Chunk]:
        yield Chunk(lambda: done.append("report"), checkpoint_due=True, rows=[])
        result.gaps += ["left out"] * gaps
        result.pending_reports += pending

    planner: Any = SimpleNamespace(stale=lambda *_arguments: stale, reports_of=lambda *_arguments: None)
    reports: Any = SimpleNamespace(read_next=read_next)
    for chunk in ReportRefetcher(planner, reports).read(sync):
        assert chunk.checkpoint_due  # the report's rows are not refetched once more if the run is killed now
        chunk.commit()
    return done


SOME = to_intervals([hours(0, 5)])


@pytest.mark.parametrize(
    ("stale", "later", "done"),
    [
        (SOME, SOME, ["report", "fresh"]),
        (SOME, EMPTY, ["report", "fresh"]),
        (EMPTY, SOME, ["report"]),
        (EMPTY, EMPTY, []),
    ],
)
def test_what_is_refetched_counts_as_fresh_after_its_last_report(
    stale: TimeSet, later: TimeSet, done: list[str]
) -> None:
    assert refetched(stale, later) == done


@pytest.mark.promise("Nothing is lost. The bookmark only moves over time that was read completely.")
@pytest.mark.parametrize(("gaps", "pending"), [(1, 0), (0, 1), (1, 1)])
def test_nothing_counts_as_fresh_if_a_report_is_left_out_or_pending(gaps: int, pending: int) -> None:
    assert refetched(SOME, SOME, gaps=gaps, pending=pending) == ["report"]
