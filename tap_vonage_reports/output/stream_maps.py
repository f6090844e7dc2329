"""The SDK's stream maps, with errors that name the stream and the property, but never an expression or a value."""

from __future__ import annotations

import ast
import logging
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol

from msgspec.structs import asdict
from singer_sdk.mapper import (
    MAPPER_ALIAS_OPTION,
    MAPPER_ELSE_OPTION,
    MAPPER_FILTER_OPTION,
    MAPPER_KEY_PROPERTIES_OPTION,
    MAPPER_SOURCE_OPTION,
    NULL_STRING,
    CustomStreamMap,
    PluginMapper,
    RemoveRecordTransform,
    SameRecordTransform,
    StreamMap,
)
from singer_sdk.singerlib import Catalog

from tap_vonage_reports.config.validation import secrets_of
from tap_vonage_reports.errors import SettingsError, StreamMapError
from tap_vonage_reports.records.text_forms import with_digits
from tap_vonage_reports.redaction import name_for_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from singer_sdk import Stream

    from tap_vonage_reports.output.channel import StreamOutput
    from tap_vonage_reports.records.record import Record

logger = logging.getLogger("singer_sdk.mapper")

STREAM_MAPS, FLATTENING = "stream_maps", "flattening_enabled"

_OPTIONS = (MAPPER_ALIAS_OPTION, MAPPER_ELSE_OPTION, MAPPER_SOURCE_OPTION)
"""The options that decide which stream a map is for, and which properties its expressions see."""
_NAMES = ("_", "record", "config", "__stream_name__", "__original_stream_name__")
"""The names that the SDK gives to every expression, beside functions and properties."""


class MappedStream(Protocol):
    """The part of a stream that its maps need to be checked."""

    name: str

    @property
    def fields(self) -> frozenset[str]:
        """The names of the selected fields."""

    @property
    def stream_maps(self) -> list[StreamMap]:
        """The maps."""


class GuardedMap(StreamMap):
    """A map of the SDK whose failures are errors that users can act on.

    Attributes:
        inner: The SDK's map.
    """

    def __init__(self, inner: StreamMap, stream: str, find_property: Callable[[dict[str, Any]], str | None]) -> None:
        """Guard a map.

        Args:
            inner: The SDK's map.
            stream: The stream that it maps.
            find_property: Finds the property whose expression fails for a record.
        """
        super().__init__(inner.stream_alias, inner.raw_schema, inner.raw_key_properties, flattening_options=None)
        self.inner = inner
        self.transformed_schema = inner.transformed_schema
        self.transformed_key_properties = inner.transformed_key_properties
        self._setting = STREAM_MAPS if isinstance(inner, CustomStreamMap) else FLATTENING
        self._stream = stream
        self._find_property = find_property

    def transform(self, record: dict[str, Any]) -> dict[str, Any] | None:
        """Return the mapped record, or None if the map leaves it out.

        Raises:
            StreamMapError: An expression fails, or the key of the mapped record is null.
        """
        try:
            mapped = self.inner.transform(record)
        except Exception as error:  # noqa: BLE001 - an expression can raise anything
            raise StreamMapError(self._setting, self._stream, self._find_property(record), reason_of(error)) from None
        for key in self.transformed_key_properties or () if mapped else ():
            if mapped and mapped.get(key) is None:
                raise StreamMapError(self._setting, self._stream, name_for_log(key), "the key is null")
        return mapped

    def get_filter_result(self, record: dict[str, Any]) -> bool:
        """Return True if the map keeps the record.

        Raises:
            StreamMapError: The expression fails.
        """
        try:
            return self.inner.get_filter_result(record)
        except Exception as error:  # noqa: BLE001 - an expression can raise anything
            raise StreamMapError(self._setting, self._stream, MAPPER_FILTER_OPTION, reason_of(error)) from None


def guarded_mapper(
    config: Mapping[str, Any], register: Callable[[PluginMapper], None], log: logging.Logger
) -> PluginMapper:
    """Return the SDK's mapper, in which all maps that can fail are guarded.

    Args:
        config: The settings.
        register: Registers the streams in a mapper.
        log: Where the mapper logs to.

    Raises:
        SettingsError: The SDK does not accept a map.
    """
    try:
        mapper = _mapper(config, config.get(STREAM_MAPS) or {}, log)
        register(mapper)
    except Exception as error:  # noqa: BLE001 - the SDK raises many types
        raise _setup_error(error, config, register) from None
    for stream, maps in mapper.stream_maps.items():
        maps[:] = [
            inner
            if isinstance(inner, RemoveRecordTransform) or _keeps_records([inner])
            else GuardedMap(inner, stream, partial(_failing_property, inner, stream, config))
            for inner in maps
        ]
        for each in maps:
            each.transformed_schema = with_digits(each.transformed_schema)
    return mapper


def registration(streams: Mapping[str, Stream], catalog: Catalog) -> Callable[[PluginMapper], None]:
    """Return a function that registers the streams of a tap in a mapper.

    Args:
        streams: The streams, by name.
        catalog: Their catalog.
    """
    selected = Catalog({name: entry for name, entry in catalog.items() if streams[name].selected})
    # Of a deselected stream, the catalog leaves no column, and no map of it could be set up.
    others = {name: stream for name, stream in streams.items() if name not in selected}

    def register(mapper: PluginMapper) -> None:
        mapper.register_raw_streams_from_catalog(selected)
        for name, stream in others.items():
            mapper.register_raw_stream_schema(name, stream.schema, stream.primary_keys)

    return register


def write_records(output: StreamOutput, stream: str, maps: Sequence[StreamMap], records: Sequence[Record]) -> bool:
    """Write what the maps of a stream make of its records, or return False if the SDK has to do it, one by one.

    Raises:
        StreamMapError: An expression fails.
    """
    if _keeps_records(maps):
        return output.write_records(stream, records)
    if not output.write_records(stream, ()):
        return False
    for alias, pairs in groupby(mapped(maps, records), itemgetter(0)):
        try:
            output.write_records(alias, [record for _, record in pairs])
        except (TypeError, ValueError, OverflowError) as error:
            raise StreamMapError(STREAM_MAPS, stream, None, f"its result is not JSON, {type(error).__name__}") from None
    return True


def mapped(maps: Sequence[StreamMap], records: Iterable[Record]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what the maps of a stream make of its records, each with the name of the stream that it is written to.

    Raises:
        StreamMapError: An expression fails.
    """
    for record in map(asdict, records):
        for each in maps:
            if (result := each.transform(record)) is not None:
                yield each.stream_alias, result


def _setup_error(
    error: Exception, config: Mapping[str, Any], register: Callable[[PluginMapper], None]
) -> SettingsError:
    """Return the error for maps that the SDK does not accept, for the first that it does not."""
    setting = STREAM_MAPS if config.get(STREAM_MAPS) else FLATTENING
    for path, maps in _parts(config):
        try:
            register(_mapper(config, maps))
        except Exception as found:  # noqa: BLE001 - the SDK raises many types
            error, setting = found, ".".join([STREAM_MAPS, *(_shown(name, config) for name in path)])
            break
    problem = (
        f"The setting {setting} cannot be used ({reason_of(error)}). Correct or remove it. Keep the key, unless "
        "__key_properties__ names another one. The Meltano SDK's page on stream maps explains the syntax."
    )
    return SettingsError([problem])


def unknown_names(stream: MappedStream, config: Mapping[str, Any]) -> Iterator[str]:
    """Find expressions with columns or functions that do not exist, before a row is paid for.

    Args:
        stream: The stream, with maps from a guarded mapper.
        config: The settings.

    Yields:
        One problem per property.
    """
    for inner in (each.inner for each in stream.stream_maps if isinstance(each, GuardedMap)):
        if not isinstance(inner, CustomStreamMap):
            continue
        known = {*stream.fields, *inner.expr_evaluator.functions, *_NAMES, *(["fake"] if inner.fake else [])}
        for name, expression in _expressions_of(inner, stream.name, config):
            own = {"self"} if name in stream.fields else set()
            if unknown := sorted(_names_in(expression) - known - own):
                shown = ", ".join(_shown(each, config) for each in unknown)
                yield (
                    f"The setting stream_maps for {stream.name} uses names that the stream does not have, in "
                    f"{_shown(name, config)}: {shown}. Select the columns, or correct the expression."
                )


def reason_of(error: BaseException) -> str:
    """Return the type of an error as a reason. Its text may repeat an expression or a value."""
    return type(error.__cause__ or error).__name__


def _keeps_records(maps: Sequence[StreamMap]) -> bool:
    """Return True if these maps of one stream write every record once, as it is."""
    return len(maps) == 1 and isinstance(maps[0], SameRecordTransform) and not maps[0].flattening_enabled


def _shown(name: str, config: Mapping[str, Any]) -> str:
    return name_for_log(name, secrets_of(config))


def _mapper(config: Mapping[str, Any], maps: Mapping[str, Any], log: logging.Logger = logger) -> PluginMapper:
    # The SDK takes entries out of the object that it is given.
    return PluginMapper({**config, STREAM_MAPS: dict(maps)}, log)


def _parts(config: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield the maps of a configuration one property at a time, and then stream by stream.

    Yields:
        The path to the part below `stream_maps`, and `stream_maps` with nothing but this part.
    """
    maps = config.get(STREAM_MAPS) or {}
    for stream, definition in maps.items():
        if isinstance(definition, dict):
            options = {name: definition[name] for name in _OPTIONS if name in definition}
            if {MAPPER_KEY_PROPERTIES_OPTION, MAPPER_ELSE_OPTION} & definition.keys():
                options[MAPPER_KEY_PROPERTIES_OPTION] = []  # other properties may have the keys
            for name in definition:
                others = {} if name in (MAPPER_ALIAS_OPTION, MAPPER_SOURCE_OPTION) else options
                if name not in others:
                    yield (stream, name), {stream: {**others, name: definition[name]}}
        yield (stream,), {stream: definition}


def _maps_like(inner: StreamMap, stream: str, config: Mapping[str, Any], maps: Mapping[str, Any]) -> list[StreamMap]:
    """Return the maps of a stream under other `stream_maps` that write to the same stream as a given one."""
    mapper = _mapper(config, maps)
    mapper.register_raw_stream_schema(stream, inner.raw_schema, inner.raw_key_properties)
    return [
        each
        for each in mapper.stream_maps[stream]
        if isinstance(each, CustomStreamMap) and each.stream_alias == inner.stream_alias
    ]


def _failing_property(inner: StreamMap, stream: str, config: Mapping[str, Any], record: dict[str, Any]) -> str | None:
    """Return the property whose expression fails for a record, in a form that is safe to show; None if none does."""
    for path, maps in _parts(config):
        try:
            for each in _maps_like(inner, stream, config, maps):
                each.transform(record)
        except Exception:  # noqa: BLE001 - an expression can raise anything
            return _shown(path[-1], config) if len(path) > 1 else None
    return None


def _expressions_of(inner: StreamMap, stream: str, config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the properties of a map that have expressions, and these."""
    for path, maps in _parts(config):
        expression = maps[path[0]].get(path[1]) if len(path) > 1 and path[1] not in _OPTIONS else None
        if isinstance(expression, str) and expression != NULL_STRING and _maps_like(inner, stream, config, maps):
            yield path[1], expression


def _names_in(expression: str) -> set[str]:
    """Return the names that an expression reads and does not bind itself."""
    names = [node for node in ast.walk(ast.parse(expression)) if isinstance(node, ast.Name)]
    bound = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
    return {node.id for node in names} - bound
