"""Before its first page arrives, a partition keeps in its state what a killed run needs, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.extract.pages.fetcher import PageFetcher
from tap_vonage_reports.extract.pages.prefetch import Prefetcher
from tap_vonage_reports.state.values import PageCursor
from tests.planning.test_windows import ACCOUNT, hours, open_sync

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.mark.parametrize("is_ours", [True, False], ids=["resumed", "of another query"])
def test_a_page_stays_in_the_state_while_its_window_resumes_and_goes_if_it_does_not(
    monkeypatch: pytest.MonkeyPatch, *, is_ours: bool
) -> None:
    queued: list[int] = []

    def add(_prefetcher: Any, _sync: Any, tasks: Sequence[Any], _metrics: Any) -> None:
        queued.append(len(tasks))

    monkeypatch.setattr(Prefetcher, "add", add)
    opened = open_sync({"context": {"account_id": ACCOUNT}}, now=24, start_date="2026-10-01T00:00:00Z")
    sync = opened.sync
    fingerprint = sync.query.fingerprint if is_ours else "other"
    page = PageCursor(hours(0, 24), "next", "iv", fingerprint, sync.read_at)
    sync.bookmark.commit_page(page)
    fetcher = PageFetcher(
        opened.session.client, opened.session.planner, workers=1, is_ready=lambda _sync: True, poll_all=lambda: None
    )
    fetcher.prepare([sync])
    fetcher.close()
    assert queued
    assert sync.bookmark.page == (page if is_ours else None)
