"""CSV lines of rows: every value in double quotes, as in the real files (confirmed).

It is unknown how the real files write quotes and line breaks within a value, the booleans of AMD and the
object of REPORTS-USAGE. Here, quotes are doubled, booleans are true and false, and objects are JSON text.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from tap_vonage_reports.sandbox.alterations import Alteration, altered
from tap_vonage_reports.sandbox.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tap_vonage_reports.products import Product

_IN_THE_HEADER = frozenset({Fault.MOVED_COLUMNS, Fault.MISSING_COLUMNS})
"""Alterations that change only the header if they apply to every row, because the cells follow the header."""

_NEW_COLUMNS = frozenset({Fault.EXTRA_COLUMNS, Fault.ODD_COLUMNS})


def columns(product: Product, direction: str, *, include_message: bool, show_concatenated: bool) -> tuple[str, ...]:
    """Return the columns of a report, in the order of the documentation.

    Args:
        product: The product.
        direction: The direction that was asked for; "" for all.
        include_message: Without it there is no `message_body` (confirmed).
        show_concatenated: Without it there is no `concatenated` (likely).
    """
    hidden = {"_extra"}
    hidden |= set() if include_message else {"message_body"}
    hidden |= set() if show_concatenated else {"concatenated"}
    return tuple(
        name
        for name, schema in product.schema["properties"].items()
        if name not in hidden and schema.get("direction", direction) in {direction, ""}
    )


def altered_columns(
    names: tuple[str, ...], stream: str, direction: str, alterations: tuple[Alteration, ...]
) -> tuple[tuple[str, ...], tuple[Alteration, ...]]:
    """Return the columns after the alterations that concern them, and the alterations that are left for the rows."""
    whole = tuple(alteration for alteration in alterations if alteration.every == 1)
    extra = tuple(a for a in alterations if a.every > 1 and a.fault in _NEW_COLUMNS)
    row = altered(dict.fromkeys(names, ""), stream, direction, 0, whole + extra)
    return tuple(row), tuple(a for a in alterations if a.fault not in _IN_THE_HEADER or a not in whole)


def line(row: Mapping[str, Any], names: tuple[str, ...]) -> bytes:
    """Return a row as a line of the file, without the line break.

    Args:
        row: The row; columns that it lacks are empty.
        names: The columns.
    """
    cells: list[Any] = ["" if cell is None else cell for cell in map(row.get, names)]
    try:
        text = '","'.join(cells)
    except TypeError:
        cells = [_text(cell) for cell in cells]
        text = '","'.join(cells)
    if text.count('"') != 2 * len(cells) - 2:
        text = '","'.join(cell.replace('"', '""') for cell in cells)
    return f'"{text}"'.encode()


def _text(cell: Any) -> str:  # noqa: ANN401 - whatever a row holds
    """Return a cell with the digits and letters that it has in JSON."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, Decimal):
        return f"{cell:f}"
    return msgspec.json.encode(cell).decode()
