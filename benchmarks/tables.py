"""The tables, by number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import (
    table_accounts,
    table_growth,
    table_incremental,
    table_postgres,
    table_report,
    table_scale,
    table_startup,
    table_together,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.bench import Bench
    from benchmarks.report import Section

TABLES: Mapping[int, Callable[[Bench], Section]] = {
    1: table_report.table,
    2: table_incremental.table,
    3: table_postgres.table,
    4: table_growth.table,
    5: table_startup.table,
    6: table_scale.table,
    7: table_accounts.table,
    8: table_together.table,
}
"""What measures each table."""
