"""A partition is read by all fetchers in their order, and everything about a run reaches each of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.extract.reader import Chunk, PartitionReader

if TYPE_CHECKING:
    from collections.abc import Iterator


class Recording:
    """A fetcher that records what it is asked for, and leaves so many reports to a later run."""

    def __init__(self, name: str, events: list[str], pending: int = 0) -> None:
        self.name, self.events, self.pending = name, events, pending

    def prepare(self, syncs: Any) -> None:
        self.events.append(f"prepare {self.name} {len(syncs)}")

    def read(self, sync: Any) -> Iterator[Chunk]:
        yield Chunk(lambda: self.events.append(f"commit {self.name}"), checkpoint_due=True, rows=[])
        sync.result.pending_reports += self.pending

    def poll(self) -> None:
        self.events.append(f"poll {self.name}")

    def release(self, sync: Any) -> None:
        self.events.append(f"release {self.name} {sync.name}")

    def close(self) -> None:
        self.events.append(f"close {self.name}")


def sync_of() -> Any:
    return SimpleNamespace(name="sync", result=SimpleNamespace(pending_reports=0))


def test_every_fetcher_prepares_polls_releases_and_closes() -> None:
    events: list[str] = []
    reader = PartitionReader(Recording("reports", events), Recording("pages", events))
    sync = sync_of()
    reader.prepare([sync, sync])
    reader.poll()
    reader.release(sync)
    reader.close()
    assert events == [
        *("prepare reports 2", "prepare pages 2", "poll reports", "poll pages"),
        *("release reports sync", "release pages sync", "close reports", "close pages"),
    ]


def test_pages_are_read_after_reports_and_not_before_reports_that_are_pending() -> None:
    for pending, expected in ((0, ["commit reports", "commit pages"]), (1, ["commit reports"])):
        events: list[str] = []
        reader = PartitionReader(Recording("reports", events, pending), Recording("pages", events))
        for chunk in reader.read(sync_of()):
            chunk.commit()
        assert events == expected
