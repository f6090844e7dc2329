"""The Singer messages of the tap, checked as far as the loader uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec

from tap_vonage_reports.errors import LoadError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Name: TypeAlias = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_-]{1,63}$")]
"""The name of a stream or column, as any database takes it."""
Address: TypeAlias = Annotated[str, msgspec.Meta(pattern="^[^\\0]+$")]
"""The address of a file."""


class Column(msgspec.Struct, frozen=True):
    """The JSON Schema of a column, as far as it decides on the column's type."""

    type: str | list[str] = []
    format: Any = None
    content_media_type: Any = msgspec.field(default=None, name="contentMediaType")


class Properties(msgspec.Struct, frozen=True):
    """The JSON Schema of a record."""

    properties: dict[Name, Column] = {}


class Encoding(msgspec.Struct, frozen=True):
    """How files are encoded."""

    format: str


class SchemaMessage(msgspec.Struct, frozen=True, tag="SCHEMA"):
    """The columns of a stream."""

    stream: Name
    schema: Properties
    key_properties: list[str] = []


class BatchMessage(msgspec.Struct, frozen=True, tag="BATCH"):
    """Files with rows of a stream."""

    stream: Name
    encoding: Encoding
    manifest: list[Address]


class StateMessage(msgspec.Struct, frozen=True, tag="STATE"):
    """What to pass on when everything before it is loaded: any JSON but null."""

    value: msgspec.Raw


class RecordMessage(msgspec.Struct, frozen=True, tag="RECORD"):
    """A row, which this loader does not load."""


class VersionMessage(msgspec.Struct, frozen=True, tag="ACTIVATE_VERSION"):
    """A table's version, which the tap never writes."""


class _Kind(msgspec.Struct):
    type: str


Message: TypeAlias = SchemaMessage | BatchMessage | StateMessage | RecordMessage | VersionMessage

_KINDS = ("SCHEMA", "BATCH", "STATE")
_SAFE = ("Object missing required field", "Expected")
"""How errors begin that show names of members and types, but no value."""


def read_messages(lines: Iterable[bytes]) -> Iterator[Message]:
    """Decode messages. Empty lines are skipped.

    Args:
        lines: The messages, one in a line.

    Raises:
        LoadError: A line is not a message, or lacks what its type needs.
    """
    decoder = msgspec.json.Decoder(Message)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            message = decoder.decode(line)
        except msgspec.ValidationError as error:
            raise LoadError(_refused(number, line, str(error))) from None
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise LoadError(_no_message(number)) from None
        if isinstance(message, StateMessage) and bytes(message.value).strip() == b"null":
            raise LoadError(_refused(number, line, "Expected `object`, got `null` - at `$.value`"))
        yield message


def _refused(number: int, line: bytes, problem: str) -> str:
    """Say which message is refused, and which of its members is missing or wrong."""
    kind = _kind(line)
    if kind not in _KINDS or not problem.startswith(_SAFE):
        return _no_message(number)
    return (
        f"Line {number} of the input is a {kind} message that cannot be used: {problem[0].lower()}{problem[1:]}. Pipe "
        "the output of tap-vonage-reports into the loader, unchanged."
    )


def _kind(line: bytes) -> str:
    try:
        return msgspec.json.decode(line, type=_Kind).type
    except (msgspec.MsgspecError, RecursionError):
        return ""


def _no_message(number: int) -> str:
    return f"Line {number} of the input is not a Singer message. Pipe the tap's output into the loader."
