"""The README's tables match the code. Run as a module, this file regenerates them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.config.schema import CONFIG_JSONSCHEMA
from tap_vonage_reports.products import PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

README = Path(__file__).parent.parent / "README.md"


def settings_rows() -> Iterator[str]:
    yield "| Setting | Type | Default | Meaning |"
    yield "|---|---|---|---|"
    for name, spec in CONFIG_JSONSCHEMA["properties"].items():
        yield f"| `{name}` | {_type(name, spec)} | {_default(name, spec)} | {_description(spec)} |"


def _type(name: str, spec: dict[str, Any]) -> str:
    kind = str(next(kind for kind in spec["type"] if kind != "null"))
    if spec.get("secret"):
        kind = "secret"
    if name in CONFIG_JSONSCHEMA["required"]:
        kind += ", required"
    return kind


def _default(name: str, spec: dict[str, Any]) -> str:
    if name == "account_ids":
        return "`[api_key]`"
    if "default" not in spec:
        return ""
    value = spec["default"]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text}`"


def _description(spec: dict[str, Any]) -> str:
    return str(spec["description"])


def stream_rows() -> Iterator[str]:
    head = "Product | Stream | Key | Date (bookmark) | Directions | Lookback | Retention | Filters | Open questions"
    yield f"| {head} |"
    yield f"|{'---|' * (head.count('|') + 1)}"
    for product in PRODUCTS.values():
        cells = (
            product.name,
            f"`{product.stream}`",
            "`id`",
            f"`{product.date_field}`",
            ", ".join(product.directions) or "-",
            f"{product.lookback_hours:g} h",
            str(product.retention),
            ", ".join(f"`{name}`" for name in product.sync_filters) or "-",
            product.unsure or "-",
        )
        yield f"| {' | '.join(cells)} |"


TABLES: dict[str, Callable[[], Iterator[str]]] = {"settings": settings_rows, "streams": stream_rows}


def section(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<=<!-- {name} -->\n)(.*?)(?=<!-- /{name} -->)", re.DOTALL)


@pytest.mark.parametrize("name", TABLES)
def test_readme_table_matches_the_code(name: str) -> None:
    found = section(name).search(README.read_text(encoding="utf-8"))
    assert found is not None
    assert found[1] == "".join(f"{row}\n" for row in TABLES[name]()), "run: python -m tests.test_readme"


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    for table, rows in TABLES.items():
        text = section(table).sub(lambda _, rows=rows: "".join(f"{row}\n" for row in rows()), text)  # type: ignore[misc] # bound at once
    README.write_text(text, encoding="utf-8")
