"""Time that is refetched counts as refetched once all of it is read, and not before."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.extract.reader import Chunk
from tap_vonage_reports.extract.refetch import Refetcher
from tap_vonage_reports.intervals import EMPTY, to_intervals
from tap_vonage_reports.metrics import FetchMetrics
from tests.planning.test_windows import at, hours

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_vonage_reports.intervals import TimeSet


def refetched(
    stale: TimeSet, later: TimeSet, *, gaps: int = 0, pending: int = 0, with_subaccounts: bool = True
) -> list[str]:
    """Refetch a partition, of which so many gaps are left, and so many reports to a later run; return what is done."""
    done: list[str] = []
    result = SimpleNamespace(fetched=FetchMetrics(), gaps=["left out before"], pending_reports=0)
    sync: Any = SimpleNamespace(
        partition=SimpleNamespace(with_subaccounts=with_subaccounts),
        bookmark=SimpleNamespace(refresh=lambda *_arguments: done.append("fresh")),
        result=result,
        refetch_later=later,
        resumed_reads=[(hours(0, 5), at(5))],
        opened_at=at(0),
        until=at(9),
    )

    def read_more(name: str, _sync: Any, times: TimeSet) -> Iterator[Chunk]:
        assert times == stale | later
        yield Chunk(lambda: done.append(name), checkpoint_due=True, rows=[])
        result.gaps += ["left out"] * gaps
        result.pending_reports += pending

    planner: Any = SimpleNamespace(stale=lambda *_arguments: stale)
    refetcher = Refetcher(planner, by_pages=partial(read_more, "page"), by_reports=partial(read_more, "report"))
    for chunk in refetcher.read(sync):
        assert chunk.checkpoint_due  # the report's rows are not refetched once more if the run is killed now
        chunk.commit()
    assert result.fetched.refetch == stale
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
def test_what_is_refetched_counts_as_fresh_after_its_last_rows(stale: TimeSet, later: TimeSet, done: list[str]) -> None:
    assert refetched(stale, later) == done


def test_reports_refetch_only_what_has_the_rows_of_sub_accounts() -> None:
    assert refetched(SOME, EMPTY, with_subaccounts=False) == ["page", "fresh"]


@pytest.mark.promise("Nothing is lost. The bookmark only moves over time that was read completely.")
@pytest.mark.parametrize(("gaps", "pending"), [(1, 0), (0, 1), (1, 1)])
def test_nothing_counts_as_fresh_if_a_report_is_left_out_or_pending(gaps: int, pending: int) -> None:
    assert refetched(SOME, SOME, gaps=gaps, pending=pending) == ["report"]
