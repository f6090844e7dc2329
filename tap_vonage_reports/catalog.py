"""The published schema of a stream, and the catalog that a user passes in."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from singer_sdk.singerlib import Catalog
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE

from tap_vonage_reports.config.schema import KEEP, TEXT
from tap_vonage_reports.config.validation import secrets_of
from tap_vonage_reports.errors import CatalogError
from tap_vonage_reports.records.personal_data import PersonalData
from tap_vonage_reports.records.text_forms import DECIMAL_FORMAT, JSON_MEDIA_TYPE
from tap_vonage_reports.redaction import name_for_log
from tap_vonage_reports.sources import SOURCES, personal_kinds

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from singer_sdk.singerlib import Schema

    from tap_vonage_reports.sources import Source

NOTHING_SELECTED = "No stream is selected, so there is nothing to read. Select at least one stream in the catalog."
MAX_NAMES = 10
"""Unknown streams that an error names."""
_TEXT_SETTINGS = {"number": "decimals", "object": "objects"}
"""The settings that make text of a kind of fields."""


def published_schema(source: Source, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a stream's records as SCHEMA messages and the catalog have it.

    It lacks the keywords that only this tap understands, which some targets reject (the kind of personal data stands
    in the catalog's metadata, see `add_personal_metadata`), and the columns that `personal_data: drop` removes.

    Args:
        source: The source of the stream.
        config: The settings, which `--discover` has not validated.
    """
    schema = deepcopy(dict(source.schema))
    for spec in schema["properties"].values():
        spec.pop("personal", None)
        spec.pop("direction", None)
    for name in personal_data(source, config).dropped_columns:
        del schema["properties"][name]
    for spec in schema["properties"].values():
        if form := _text_form(spec["type"], config):
            spec.update(form)
    return schema


def personal_data(source: Source, config: Mapping[str, Any]) -> PersonalData:
    """Return how the personal data in a stream is treated.

    Args:
        source: The source of the stream.
        config: The settings, which `--discover` has not validated.
    """
    mode, salt = config.get("personal_data") or KEEP, str(config.get("personal_data_salt") or "")
    return PersonalData(mode, salt, source.schema, personal_kinds())


def writes_parquet(config: Mapping[str, Any]) -> bool:
    """Return True if rows go to Parquet files.

    Args:
        config: The settings, which `--discover` has not validated.
    """
    files = config.get("batch_config")
    encoding = files.get("encoding") if isinstance(files, dict) else None
    return isinstance(encoding, dict) and encoding.get("format") == "parquet"


def text_kinds(config: Mapping[str, Any]) -> frozenset[str]:
    """Return the kinds of fields, ``number`` or ``object``, whose values are text in records.

    Args:
        config: The settings, which `--discover` has not validated.
    """
    return frozenset(kind for kind, setting in _TEXT_SETTINGS.items() if config.get(setting) == TEXT)


def add_personal_metadata(catalog: dict[str, Any]) -> None:
    """Add to a catalog's metadata which fields hold personal data, and of what kind (``personal-data``)."""
    for entry in catalog["streams"]:
        specs = SOURCES[entry["stream"]].schema["properties"]
        for metadata in entry["metadata"]:
            kind = specs.get(metadata["breadcrumb"][-1], {}).get("personal") if metadata["breadcrumb"] else None
            if kind:
                metadata["metadata"]["personal-data"] = kind


def read_catalog(content: Catalog | dict[str, Any], config: Mapping[str, Any]) -> Catalog:
    """Return a catalog of the tap's own streams; keys, columns and types are the tap's, whatever the catalog says.

    Args:
        content: What `--catalog` holds.
        config: The settings.

    Raises:
        CatalogError: It is not a catalog, or names a stream that the tap does not have.
    """
    try:
        if not isinstance(content, Catalog):
            # The SDK takes a file without "streams" for an empty catalog.
            streams: Any = content["streams"]
            content = Catalog.from_dict({"streams": streams})
    except (KeyError, TypeError, AttributeError, ValueError):
        msg = "The catalog file is not a Singer catalog. Create a new catalog with --discover."
        raise CatalogError(msg) from None
    if unknown := sorted(set(content) - set(SOURCES)):
        secrets, shown = secrets_of(config), unknown[:MAX_NAMES]
        names = ", ".join([*(name_for_log(name, secrets) for name in shown), *(["..."] if shown != unknown else [])])
        msg = f"The catalog names streams that this tap does not have: {names}. Create a new catalog with --discover."
        raise CatalogError(msg)
    for name, entry in content.items():
        source = SOURCES[name]
        entry.key_properties = [source.key_field]
        entry.replication_key = source.date_field
        if source.date_field is None:
            entry.replication_method = REPLICATION_FULL_TABLE
        properties = entry.schema.properties or {}
        for column in personal_data(source, config).dropped_columns & properties.keys():
            del properties[column]
            entry.metadata.pop(("properties", column), None)
        for column, spec in properties.items():
            _correct_form(spec, source.schema["properties"].get(column, {}).get("type", ()), config)
    return content


def _text_form(kind: Collection[str], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords of a field that is written as text instead of its own type; empty for any other field.

    Parquet files hold objects as JSON text, because their keys are not known in advance.
    """
    as_text = text_kinds(config)
    if "number" in kind and "number" in as_text:
        return {"type": ["string", "null"], "format": DECIMAL_FORMAT}
    if "object" in kind and ("object" in as_text or writes_parquet(config)):
        return {"type": ["string", "null"], "contentMediaType": JSON_MEDIA_TYPE}
    return {}


def _correct_form(spec: Schema, kind: Collection[str], config: Mapping[str, Any]) -> None:
    """Give a field of a catalog from other settings the form that these settings write. Keep any other type."""
    is_text = spec.format == DECIMAL_FORMAT or spec.contentMediaType == JSON_MEDIA_TYPE
    if form := _text_form(kind, config):
        if {"number", "object"} & set(spec.type or ()):
            spec.type, spec.format = form["type"], form.get("format")
            spec.contentMediaType = form.get("contentMediaType")
    elif is_text and {"number", "object"} & set(kind):
        spec.type, spec.format, spec.contentMediaType = list(kind), None, None
