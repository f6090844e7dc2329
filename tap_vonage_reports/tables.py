"""Tables as text, for the log and the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from decimal import Decimal


def aligned(rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> list[str]:
    """Lines in which columns stand below each other.

    Args:
        rows: The cells of each line; the first line is the head.
        right: The columns that stand to the right, by their heads.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(rows[0], row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def money(prices: Mapping[str, Decimal]) -> str:
    """Amounts by currency, to the last digit; empty where nothing costs anything."""
    return ", ".join(f"{price:f} {currency}".strip() for currency, price in sorted(prices.items()) if price)
