"""The columns of a stream: what kind of values each one has, from the stream's SCHEMA message."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.errors import LoadError
from tap_vonage_reports.sources import SOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tap_vonage_reports.load.messages import Column, SchemaMessage

_WRONG_TAP = "Use this loader with the tap tap-vonage-reports"
JSON_TEXT = "application/json"
"""The media type of text that holds an object."""


class Kind(Enum):
    """A kind of values. Its text says it in an error."""

    TEXT = "text"
    TIME = "times in UTC"
    INTEGER = "integers"
    NUMBER = "decimals with every digit"
    BOOLEAN = "true and false"
    JSON = "objects"


_FORMATS = {"date-time": Kind.TIME, "x-singer.decimal": Kind.NUMBER}
_TYPES = {
    "object": Kind.JSON,
    "array": Kind.JSON,
    "number": Kind.NUMBER,
    "integer": Kind.INTEGER,
    "boolean": Kind.BOOLEAN,
}


@dataclass(frozen=True)
class StreamSchema:
    """The columns of a stream's table.

    Attributes:
        stream: The stream's name, which is also the table's.
        keys: The columns of the primary key.
        kinds: The kind of each column, in order.
    """

    stream: str
    keys: tuple[str, ...]
    kinds: Mapping[str, Kind]


def stream_schema(message: SchemaMessage) -> StreamSchema:
    """Read a SCHEMA message.

    Raises:
        LoadError: The stream has no key, or two columns with one name.
    """
    stream, keys, properties = message.stream, message.key_properties, message.schema.properties
    if not (keys and properties.keys() >= set(keys)):
        msg = (
            f"The stream {stream} has no key, so its rows cannot be upserted. {_WRONG_TAP}, whose streams all have one."
        )
        raise LoadError(msg)
    if len({name.lower() for name in properties}) < len(properties):
        msg = f"Two columns of the stream {stream} differ only in case. {_WRONG_TAP}."
        raise LoadError(msg)
    source = SOURCES.get(stream)
    own = source.schema["properties"] if source else {}
    return StreamSchema(
        stream, tuple(dict.fromkeys(keys)), {name: _kind(spec, own.get(name)) for name, spec in properties.items()}
    )


def _kind(spec: Column, own: Mapping[str, Any] | None) -> Kind:
    """Return the kind of a column.

    Args:
        spec: What the SCHEMA message says. In front of Parquet files, an object is a text there.
        own: What the tap's own schema says, if it is a stream of the tap.
    """
    if spec.content_media_type == JSON_TEXT or (own and "object" in own["type"]):
        return Kind.JSON
    if kind := _FORMATS.get(str(spec.format)):
        return kind
    kinds = {spec.type} if isinstance(spec.type, str) else {*spec.type} - {"null"}
    return _TYPES.get(kinds.pop(), Kind.TEXT) if len(kinds) == 1 else Kind.TEXT
