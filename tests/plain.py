"""Records as dictionaries, for comparisons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tap_vonage_reports.records.record import Record


def plain(records: Iterable[Record]) -> list[dict[str, Any]]:
    return [asdict(record) for record in records]
