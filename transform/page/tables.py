"""Tables as HTML, in the page's own style."""

from __future__ import annotations

import re
import warnings
from html import escape
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from great_tables import GT

from transform.page.words import FORMATS, MISSING, clean, count, plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from transform.page.marts import Row

MAX_ROWS = 200
"""The rows of a table. It ends with the sums of the others."""
_TABLE = re.compile(r"<table.*</table>", re.DOTALL)
_NAMES = re.compile(r' (?:id|headers|rowspan|colspan|data-quarto-[a-z-]+)="[^"]*"')
"""Names of cells, which would not be unique on the page, and what says nothing."""
_CELL = re.compile(r'<td class="gt_row (gt_left|gt_right)">')
_SUMMED = ("count", "money")


def table(
    rows: Sequence[Row],
    columns: Mapping[str, str],
    formats: Mapping[str, str] | None = None,
    totals: Sequence[Row] = (),
    most: int = MAX_ROWS,
) -> str:
    """Return rows as a table.

    On a phone, each row is a card. If all columns but the first one have numbers, they scroll beside the first one.

    Args:
        rows: The rows.
        columns: The heads of the columns to show, by name and in their order.
        formats: How the columns with numbers are written (`words.FORMATS`).
        totals: Rows that stand last.
        most: The rows to show. More are added up in a last row for each currency.
    """
    formats = formats or {}
    shown = rows if len(rows) <= most else [*rows[:most], *_sums(rows[most:], columns, formats)]
    shown = [*shown, *totals]
    warnings.filterwarnings("ignore", message="PyArrow Table support is currently experimental")
    # The columns get names of their own, because a head may be any text.
    names = {f"c{number}": name for number, name in enumerate(columns)}
    texts = {
        key: pa.array([_text(row.get(name), formats.get(name)) for row in shown], pa.string())
        for key, name in names.items()
    }
    great = GT(pa.table(texts)).cols_label(cases={key: columns[name] for key, name in names.items()})
    for align in ("left", "right"):
        aligned = [key for key, name in names.items() if (name in formats) == (align == "right")]
        great = great.cols_align(align, columns=aligned) if aligned else great
    (html,) = _TABLE.findall(great.as_raw_html())
    heads = cycle(columns.values())
    html = _CELL.sub(lambda cell: f'<td class="{cell[1]}" data-label="{escape(next(heads))}">', _NAMES.sub("", html))
    html = '<tr class="total">'.join(html.rsplit("<tr>", len(totals))) if totals else html
    note = ""
    if len(rows) > most:
        others = ", and the sums of the others" if set(_SUMMED) & set(formats.values()) else ""
        note = f'<p class="note">{most} of {count(len(rows))} rows{others}. The mart has all.</p>'
    is_grid = len(formats) == len(columns) - 1
    return f'<div class="table {"grid" if is_grid else "cards"}">{html}</div>{note}'


def _text(value: Any, kind: str | None) -> str:  # noqa: ANN401 - a value of any kind
    if value is None or value == "":
        return MISSING
    return FORMATS[kind](value) if kind else clean(str(value))


def _sums(rows: Sequence[Row], columns: Mapping[str, str], formats: Mapping[str, str]) -> list[Row]:
    """Return a row for each currency, with the sums of what can be added up."""
    first, *_ = columns
    summed = [name for name in columns if formats.get(name) in _SUMMED]
    if not summed:
        return []
    sums: dict[str | None, Row] = {}
    for row in rows:
        total = sums.setdefault(row.get("currency"), {first: 0, "currency": row.get("currency")})
        total[first] += 1
        for name in summed:
            if row.get(name) is not None:
                total[name] = total.get(name, 0) + row[name]
    return [total | {first: plural(total[first], "other")} for total in sums.values()]
