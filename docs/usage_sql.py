"""The view of all products in docs/answers.md, made from the dbt project's own table: `python -m docs.usage_sql`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "transform" / "macros" / "products.sql"
VIEW = ROOT / "docs" / "usage.sql"
NOT_SELECTED = ("number_insight_v2",)
"""Streams that are not selected by default, so that their tables are missing."""
COLUMNS = ("direction", "status", "country", "network_name", "channel", "error_code")
_HEAD = """\
-- All products in one view. Delete the parts of streams that you do not load.
create or replace view vonage.usage as
"""


def main() -> None:
    """Write the view."""
    VIEW.write_text(view(), encoding="utf-8")


def view() -> str:
    """Return the view as SQL for PostgreSQL and DuckDB."""
    parts = [_part(product) for product in products() if product["stream"] not in NOT_SELECTED]
    return _HEAD + "union all\n".join(parts).rstrip() + ";\n"


def products() -> list[dict[str, Any]]:
    """Return the lines of the dbt project's table of products."""
    found: list[list[dict[str, Any]]] = []
    environment = Environment(autoescape=False)  # noqa: S701 - SQL, and nothing from outside
    module: Any = environment.from_string(TABLE.read_text(encoding="utf-8"), globals={"return": found.append}).module
    module.products()
    return found[0]


def _part(product: dict[str, Any]) -> str:
    return "".join(f"{line}\n" for line in _lines(product))


def _lines(product: dict[str, Any]) -> Iterator[str]:
    yield f"select '{product['product']}' as product, id, account_id, {product['at']} as started_at,"
    texts = [_named(product.get(name, "cast(null as text)"), name) for name in COLUMNS]
    yield f"    {', '.join(texts[:3])},"
    yield f"    {', '.join(texts[3:])},"
    yield f"    {product.get('latency_ms', 'cast(null as bigint)')} as latency_ms,"
    yield f"    {product.get('quantity', '1')} as quantity, '{product['unit']}' as unit,"
    price = product.get("total_price", "cast(null as numeric)")
    currency = product.get("currency", "cast(null as text)")
    yield f"    {_named(price, 'total_price')}, {_named(currency, 'currency')}"
    yield f"from vonage.{product['stream']}"


def _named(value: str, name: str) -> str:
    return value if value == name else f"{value} as {name}"


if __name__ == "__main__":
    main()
