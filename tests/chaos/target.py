"""A target that keeps what a run has delivered: nothing counts before the STATE that follows it."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Row = dict[str, Any]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?\+00:00")


@dataclass
class Target:
    """What has been delivered by all runs.

    Attributes:
        rows: The rows that were committed, by stream and id: of each the one that came last.
        state: The last STATE.
        emitted: How many rows came in all, committed or not.
        files: The names of all announced files.
    """

    rows: defaultdict[str, dict[str, Row]] = field(default_factory=lambda: defaultdict(dict))
    state: dict[str, Any] = field(default_factory=dict)
    emitted: int = 0
    files: set[str] = field(default_factory=set)

    def load(self, lines: Iterable[bytes], *, whole: bool) -> list[Row]:
        """Take the messages of a run.

        Args:
            lines: The messages.
            whole: Whether the run has ended by itself: then what follows the last STATE counts, too.

        Returns:
            All its rows, committed or not.
        """
        came: list[Row] = []
        waiting: list[tuple[str, Row]] = []
        for line in lines:
            message = json.loads(line, parse_float=Decimal)
            kind = message["type"]
            if kind == "RECORD":
                waiting.append((message["stream"], message["record"]))
            elif kind == "BATCH":
                self.files |= {address.rpartition("/")[2] for address in message["manifest"]}
                waiting += [(message["stream"], row) for row in _rows_of(message)]
            elif kind == "STATE":
                came += self._commit(waiting)
                waiting = []
                self.state = message["value"]
        came += self._commit(waiting) if whole else [row for _, row in waiting]
        self.emitted += len(came)
        return came

    def _commit(self, waiting: list[tuple[str, Row]]) -> list[Row]:
        for stream, row in waiting:
            self.rows[stream][row["id"]] = row
        return [row for _, row in waiting]

    def partition(self, stream: str, context: dict[str, str]) -> dict[str, Any]:
        """The state of one partition; empty where there is none."""
        partitions = self.state.get("bookmarks", {}).get(stream, {}).get("partitions", [])
        return next((each for each in partitions if each["context"] == context), {})


def _rows_of(message: dict[str, Any]) -> Iterator[Row]:
    for address in message["manifest"]:
        path = Path(address.removeprefix("file://"))
        if message["encoding"]["format"] == "parquet":
            import pyarrow.parquet as pq  # noqa: PLC0415 - it takes a while, and few runs need it

            yield from pq.read_table(path).to_pylist()
        else:
            import gzip  # noqa: PLC0415

            content = gzip.decompress(path.read_bytes())
            yield from (json.loads(line, parse_float=Decimal) for line in content.splitlines())


def plain(name: str, value: Any) -> Any:
    """A value in one form, whichever way it came: RECORD, JSON lines or Parquet, a page or a report."""
    if isinstance(value, str) and _TIME.fullmatch(value):
        return datetime.fromisoformat(f"{value[:-6]:0<26}{value[-6:]}" if "." in value else value)
    if isinstance(value, Decimal):
        return value.normalize()
    if isinstance(value, str) and value[:1] in ("{", "[") and name in ("_extra", "request_params"):
        return json.loads(value)
    return value
