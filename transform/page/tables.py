"""Tables as HTML, in the page's own style."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

import pyarrow as pa
from great_tables import GT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from transform.page.marts import Row

MISSING = "-"
_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
_NAMES = re.compile(r' (?:id|headers|rowspan|colspan|data-quarto-[a-z-]+)="[^"]*"')
"""Names of cells, which would not be unique on the page, and what says nothing."""


def table(rows: Sequence[Row], columns: Mapping[str, str], formats: Mapping[str, str] | None = None) -> str:
    """Return rows as a table that scrolls where it does not fit.

    Args:
        rows: The rows.
        columns: The heads of the columns to show, by name and in their order.
        formats: How the columns with numbers are written: `count`, `money` or `share`.
    """
    formats = formats or {}
    warnings.filterwarnings("ignore", message="PyArrow Table support is currently experimental")
    content = {name: _values(rows, name, formats.get(name)) for name in columns}
    great = GT(pa.table(content)).cols_label(cases=dict(columns))
    numbers = {kind: [name for name in columns if formats.get(name) == kind] for kind in ("count", "money", "share")}
    if numbers["count"]:
        great = great.fmt_integer(columns=numbers["count"])
    if numbers["money"]:
        great = great.fmt_number(columns=numbers["money"], decimals=2)
    if numbers["share"]:
        great = great.fmt_percent(columns=numbers["share"], decimals=1)
    texts = [name for name in columns if name not in formats]
    great = great.cols_align("right", columns=list(formats)) if formats else great
    great = great.cols_align("left", columns=texts) if texts else great
    great = great.sub_missing(columns=list(formats), missing_text=MISSING) if formats else great
    html = great.as_raw_html()
    return f'<div class="table">{_NAMES.sub("", _STYLE.sub("", html))}</div>'


def _values(rows: Sequence[Row], name: str, kind: str | None) -> pa.Array:
    values = [row.get(name) for row in rows]
    if kind is None:
        return pa.array([MISSING if value is None else str(value) for value in values], pa.string())
    return pa.array([None if value is None else float(value) for value in values], pa.float64())
