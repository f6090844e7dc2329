"""The README is short, and its tables match the code. Run as a module, this file regenerates them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from docs.install import install_lines
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sources import ACCOUNTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

README = Path(__file__).parent.parent / "README.md"
MAX_LINES, MAX_COLUMNS = 150, 100


def stream_rows() -> Iterator[str]:
    yield "| Product | Stream | Date (bookmark) | Directions |"
    yield "|---|---|---|---|"
    for product in PRODUCTS.values():
        directions = ", ".join(product.directions) or "-"
        yield f"| {product.name} | `{product.stream}` | `{product.date_field}` | {directions} |"
    yield f"| {ACCOUNTS.title} | `{ACCOUNTS.stream}` | - | - |"


TABLES: dict[str, Callable[[], Iterator[str]]] = {"install": install_lines, "streams": stream_rows}


def section(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<=<!-- {name} -->\n)(.*?)(?=<!-- /{name} -->)", re.DOTALL)


@pytest.mark.parametrize("name", TABLES)
def test_readme_table_matches_the_code(name: str) -> None:
    found = section(name).search(README.read_text(encoding="utf-8"))
    assert found is not None
    assert found[1] == "".join(f"{row}\n" for row in TABLES[name]()), "run: python -m tests.test_readme"


def test_readme_is_short() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MAX_LINES
    assert [line for line in lines if len(line) > MAX_COLUMNS and not line.startswith(("    ", "|"))] == []


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    for table, rows in TABLES.items():
        text = section(table).sub(lambda _, rows=rows: "".join(f"{row}\n" for row in rows()), text)  # type: ignore[misc] # bound at once
    README.write_text(text, encoding="utf-8")
