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

_WITHOUT_VALUE = b'{"type": "STATE"}'
"""A null counts as no value: it would be no state for the tap."""
_USED = ("SCHEMA", "BATCH", "STATE")


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
            if isinstance(message, StateMessage) and bytes(message.value).strip() == b"null":
                decoder.decode(_WITHOUT_VALUE)
        except msgspec.ValidationError as error:
            kind, problem = _kind(line), str(error)
            # The error of a type that the loader does not know would show it. All others show no value.
            raise (_unusable(number, kind, problem) if kind else _foreign(number)) from None
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise _foreign(number) from None
        yield message


def _kind(line: bytes) -> str:
    """Return the type of a message that the loader uses, or an empty text."""
    try:
        kind = msgspec.json.decode(line, type=_Kind).type
    except (msgspec.MsgspecError, RecursionError):
        return ""
    return kind if kind in _USED else ""


def _unusable(number: int, kind: str, problem: str) -> LoadError:
    """Return the error of a message that lacks a member, or has a wrong one."""
    return LoadError(
        f"Line {number} of the input is a {kind} message that cannot be used: {problem}. Pipe the output of "
        "tap-vonage-reports into the loader, unchanged."
    )


def _foreign(number: int) -> LoadError:
    return LoadError(f"Line {number} of the input is not a Singer message. Pipe the tap's output into the loader.")
