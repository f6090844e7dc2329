"""The staging models of transform/, made from the tap's schema files: `python -m tests.transform.staging`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tap_vonage_reports.products import PRODUCTS, read_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = ROOT / "transform"
STAGING = PROJECT / "models" / "staging"
STREAMS = (*PRODUCTS, "accounts")
HEAD = "tap_vonage_reports/schemas"
KINDS = {"string": "text", "number": "money"}
LOADED = {
    "loaded_at": "When the row was loaded, in UTC; null if nothing in the table says it.",
    "loaded_from": "The name of the file that the row came from; null if rows are in tables.",
}
MODEL = """\
-- Generated from {head}/{stream}.json by `python -m tests.transform.staging`.
{{{{ config(enabled = '{stream}' in var('vonage_streams')) }}}}

{{% set columns = {{
{columns}
}} %}}

{{{{ vonage_reports.current_rows('{stream}', '{key}', columns) }}}}
"""


def main() -> None:
    """Write the files."""
    STAGING.mkdir(parents=True, exist_ok=True)
    for name, text in generated():
        (STAGING / name).write_text(text, encoding="utf-8")


def generated() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each file."""
    schemas = {stream: read_schema(stream) for stream in sorted(STREAMS)}
    for stream, schema in schemas.items():
        columns = ",\n".join(f"    '{name}': '{kind_of(spec)}'" for name, spec in schema["properties"].items())
        yield (
            f"stg_vonage__{stream}.sql",
            MODEL.format(head=HEAD, stream=stream, columns=columns, key=key_of(schema)),
        )
    yield "_sources.yml", _yaml({"version": 2, "sources": [_source(schemas)]})
    yield "_staging.yml", _yaml({"version": 2, "models": [_model(*each) for each in schemas.items()]})


def kind_of(spec: Mapping[str, Any]) -> str:
    """Return the kind of a column, as macros/types.sql names it."""
    if spec.get("format") == "date-time":
        return "timestamp"
    kinds = [spec["type"]] if isinstance(spec["type"], str) else spec["type"]
    kind = next(kind for kind in kinds if kind != "null")
    return KINDS.get(kind, kind)


def key_of(schema: Mapping[str, Any]) -> str:
    """Return the name of the column that identifies a row."""
    (key,) = schema["required"]
    return str(key)


def _source(schemas: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "name": "vonage",
        "description": "The tap's streams, as tables or as files (see macros/layout.sql).",
        "database": "{{ var('vonage_database', target.database) }}",
        "schema": "{{ var('vonage_schema', none) or env_var('VONAGE_SCHEMA', 'vonage') }}",
        "tables": [{"name": stream, "description": schema["description"]} for stream, schema in schemas.items()],
    }


def _model(stream: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    key = key_of(schema)
    columns = [
        {"name": name, "description": spec["description"]}
        | ({"data_tests": ["unique", "not_null"]} if name == key else {})
        | ({"config": {"meta": {"personal": spec["personal"]}}} if "personal" in spec else {})
        for name, spec in schema["properties"].items()
    ]
    return {
        "name": f"stg_vonage__{stream}",
        "description": f"{schema['description']} One row per {key}, as it is now; times are in UTC.",
        "columns": [*columns, *({"name": name, "description": text} for name, text in LOADED.items())],
    }


def _yaml(content: dict[str, Any]) -> str:
    head = f"# Generated from {HEAD} by `python -m tests.transform.staging`.\n"
    return head + yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    main()
