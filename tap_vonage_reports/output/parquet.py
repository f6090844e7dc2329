"""BATCH files in Parquet, with the same schema in all files of a stream.

A report's rows become columns without a Python object per row: Arrow parses the CSV as text and casts each column, as
long as its values have the forms that the API usually writes. `RecordParser` converts a row that has
any other form, and the row goes back to its place, so that only the parser decides what a value means.

Importing this module needs pyarrow, which comes with the extra `parquet`.
"""

from __future__ import annotations

import re
from contextlib import closing, suppress
from datetime import datetime, timezone
from functools import partial, reduce
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import msgspec
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from tap_vonage_reports.config.schema import KEEP
from tap_vonage_reports.records.arrow_csv import read_cells
from tap_vonage_reports.records.parser import DECIMAL_PRECISION, DECIMAL_SCALE, EXTRA_FIELD, kind_of
from tap_vonage_reports.records.read_ahead import read_ahead
from tap_vonage_reports.records.report_archive import read_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Mapping, Sequence

    from tap_vonage_reports.records.parser import RecordParser
    from tap_vonage_reports.records.record import Record

ROW_GROUP_ROWS = 100_000
ROW_GROUP_BYTES = 1 << 26
"""Limits of a row group, which waits in memory until it is full: 64 MiB, which only long rows reach first."""
SAMPLE_ROWS = 10_000
SAMPLE_BYTES = 1 << 22
"""First rows of a partition that decide which columns of its files are written as dictionaries: so many, or as many as
have 4 MiB on average, because counting distinct values copies them."""
PERSONAL_DATA = "tap_vonage_reports.personal_data"
"""The key in a file's metadata that tells how personal data were treated."""
BATCHES_AHEAD = 8
"""Batches that may wait: about as many as come while a row group is written."""

pc: Any = pyarrow.compute
"""Untyped, because pyarrow creates the functions of this module when it is imported."""

_TEXT, _TIME = pa.string(), pa.timestamp("us", "UTC")
_TYPES: Final[Mapping[str, pa.DataType]] = {
    "string": _TEXT,
    "date-time": _TIME,
    "integer": pa.int64(),
    "number": pa.decimal128(DECIMAL_PRECISION, DECIMAL_SCALE),
    "boolean": pa.bool_(),
    "object": _TEXT,
}
"""Column types by kind of field. Decimals are wide enough for every price, so that all files have the same schema."""

_USUAL_TIME = (
    "^(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])$"
)
_UTC = "+00:00"
_UTC_LENGTH = 19 + len(_UTC)
_EARLIEST = pa.scalar(datetime(1900, 1, 1, tzinfo=timezone.utc), _TIME)
_LATEST = pa.scalar(datetime(2099, 12, 31, 23, 59, 59, tzinfo=timezone.utc), _TIME)
"""The most usual form, and the years of all usual ones."""
_FINER_TIME = re.compile(r"(.{19}\.\d{6})(\d+)(\+00:00)")
_encoder = msgspec.json.Encoder(decimal_format="number")


class Parquet:
    """The Parquet format for the records of one stream. A part is a record batch.

    Numbers are decimal128(38, 18), integers int64, booleans bool, times UTC timestamps in microseconds, everything else
    is text. An object is the JSON text that a RECORD message contains. A time with more digits is truncated to
    microseconds, and its text is in `_extra` under the name of the field.

    Attributes:
        suffix: The end of file names.
        schema: The columns of all files.
    """

    suffix = ".parquet"

    def __init__(
        self,
        schema: Mapping[str, Any],
        fields: Collection[str],
        parser: RecordParser,
        compression: str,
        treatment: str = KEEP,
    ) -> None:
        """Prepare the format.

        Args:
            schema: The JSON Schema of the stream's records.
            fields: The names of the selected fields.
            parser: The stream's parser.
            compression: A codec of Parquet, or ``none``.
            treatment: How personal data were treated, for the metadata of the files.
        """
        properties = schema["properties"]
        self._kinds = {name: kind_of(spec) for name, spec in properties.items() if name in {parser.key_field, *fields}}
        self._known = properties.keys() - {EXTRA_FIELD}
        self._parser = parser
        self._compression = compression
        columns = [(name, _TYPES[kind]) for name, kind in self._kinds.items()]
        self.schema = pa.schema(columns, {PERSONAL_DATA: treatment})
        self._repetitive: list[str] | None = None

    def open_writer(self, file: BinaryIO) -> ParquetWriter:
        """Start a file."""
        return ParquetWriter(file, self.schema, self._compression, self._choose_dictionaries)

    def _choose_dictionaries(self, rows: pa.Table) -> list[str]:
        """Return the columns to write as dictionaries, by the first rows of the first file that has enough."""
        if self._repetitive is not None:
            return self._repetitive
        count = min(SAMPLE_ROWS, 1 + SAMPLE_BYTES * len(rows) // max(1, rows.nbytes))
        columns = _repetitive(rows[:count])
        if count <= len(rows):
            self._repetitive = columns
        return columns

    def from_records(self, records: Sequence[Record]) -> pa.RecordBatch:
        """Return records as columns."""
        try:
            return self._to_columns(records)
        except pa.ArrowInvalid:  # a time has more digits than microseconds
            return self._to_columns([self._truncate_times(record) for record in records])

    def from_archive(self, file: BinaryIO, count: int | None) -> Generator[pa.RecordBatch, None, None]:
        """Read the rows of a report archive as columns, in its order.

        Args:
            file: The zip file. Nothing else may use it until the generator is closed.
            count: The announced number of rows, or None.

        Yields:
            The records of some thousand rows at a time, as `RecordParser` makes them.

        Raises:
            ArchiveError: As `report_archive.read_chunks`.
        """
        return read_ahead(self._read_archive(file, count), BATCHES_AHEAD)

    def _read_archive(self, file: BinaryIO, count: int | None) -> Generator[pa.RecordBatch, None, None]:
        rows_done = 0
        try:
            with closing(read_cells(file, count, self._choose_columns)) as cells_of_rows:
                for cells in cells_of_rows:
                    batch = self._convert_cells(cells)
                    rows_done += len(batch)
                    yield batch
        except pa.ArrowInvalid:  # Arrow cannot parse the rest, but the CSV reader may
            for header, columns in read_chunks(file, count):
                if new := len(columns[0][rows_done:]):
                    yield self.from_records(self._parser.parse_cells(header, [column[-new:] for column in columns]))
                rows_done = max(0, rows_done - len(columns[0]))

    def _choose_columns(self, header: list[str]) -> list[str]:
        if self._known.issuperset(header):
            return [name for name in header if name in self._kinds]
        return header  # an unknown column may be an alias of any field

    def _convert_cells(self, cells: pa.RecordBatch) -> pa.RecordBatch:
        """Convert text cells to the types of their columns, with the parser's help for unusual rows."""
        columns: dict[str, pa.Array] = {}
        keys = cells[self._parser.key_field]
        if keys.null_count or pc.any(pc.utf8_is_space(keys)).as_py():
            msg = "a row has no id, and its key is made of all columns"
            raise pa.ArrowInvalid(msg)
        unusual = [pc.is_null(keys)]
        for name in cells.schema.names:
            kind = self._kinds.get(name)
            if name not in self._known:
                unusual.append(pc.is_valid(cells[name]))
            elif kind == "string":
                columns[name] = self._transform_texts(name, cells[name])
            elif kind:
                columns[name], others = _CASTS[kind](cells[name])
                unusual.append(others)
        mask = reduce(pc.or_, unusual)
        converted = [
            columns[field.name] if field.name in columns else pa.nulls(len(cells), field.type) for field in self.schema
        ]
        if pc.any(mask).as_py():
            rows = cells.filter(mask)
            records = self._parser.parse_cells(rows.schema.names, [column.to_pylist() for column in rows.columns])
            parsed = self.from_records(records)
            converted = [
                pc.replace_with_mask(column, mask, values) for column, values in zip(converted, parsed, strict=True)
            ]
        return pa.record_batch(converted, schema=self.schema)

    def _transform_texts(self, name: str, cells: pa.Array) -> pa.Array:
        """Hide personal data in a column of text as the parser does, once for each distinct cell."""
        transform = self._parser.transform.get(name)
        if transform is None:
            return cells
        encoded = cells.dictionary_encode()
        transformed = pa.array([transform(cell) for cell in encoded.dictionary.to_pylist()], _TEXT)
        return pc.take(transformed, encoded.indices)

    def _to_columns(self, records: Sequence[Record]) -> pa.RecordBatch:
        columns = [_column(kind, [getattr(record, name) for record in records]) for name, kind in self._kinds.items()]
        return pa.record_batch(columns, schema=self.schema)

    def _truncate_times(self, record: Record) -> Record:
        """Return a record whose times have no more digits than microseconds."""
        changed: dict[str, Any] = {}
        finer = {}
        for name, kind in self._kinds.items():
            match = _FINER_TIME.fullmatch(getattr(record, name) or "") if kind == "date-time" else None
            if match:
                changed[name] = match[1] + match[3]
                if match[2].strip("0"):
                    finer[name] = getattr(record, name)
        if finer and EXTRA_FIELD in self._kinds:
            changed[EXTRA_FIELD] = dict(sorted({**(getattr(record, EXTRA_FIELD) or {}), **finer}.items()))
        return msgspec.structs.replace(record, **changed)


class ParquetWriter:
    """A writer of one file, in large row groups."""

    def __init__(
        self, file: BinaryIO, schema: pa.Schema, compression: str, choose_dictionaries: Callable[[pa.Table], list[str]]
    ) -> None:
        self._choose_dictionaries = choose_dictionaries
        self._open = partial(pq.ParquetWriter, file, schema, compression=compression)
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Write rows, or keep them until a row group is full."""
        if self._rows + len(batch) > ROW_GROUP_ROWS or self._bytes + batch.nbytes > ROW_GROUP_BYTES:
            self._flush()
        self._waiting.append(batch)
        self._rows += len(batch)
        self._bytes += batch.nbytes

    def close(self) -> None:
        """Write the last row group, and complete the file."""
        self._flush()
        if self._writer:
            self._writer.close()

    def abandon(self) -> None:
        """Write nothing more."""
        if self._writer:
            self._writer.is_open = False  # otherwise it completes the file when it is garbage collected

    def _flush(self) -> None:
        if self._waiting:
            rows = pa.Table.from_batches(self._waiting)
            self._writer = self._writer or self._open(use_dictionary=self._choose_dictionaries(rows))
            self._writer.write_table(rows, ROW_GROUP_ROWS)
        self._waiting, self._rows, self._bytes = [], 0, 0


def _repetitive(rows: pa.Table) -> list[str]:
    """Return the columns in which most values repeat. For any other, a dictionary takes time and saves no space."""
    return [
        name
        for name, column in zip(rows.column_names, rows.columns, strict=True)
        if 2 * pc.count_distinct(column).as_py() <= len(column) - column.null_count
    ]


def _column(kind: str, values: list[Any]) -> pa.Array:
    """Return values of records as a column.

    Raises:
        ArrowInvalid: A time has more digits than microseconds.
    """
    if kind == "object":
        return pa.array([None if value is None else _encoder.encode(value).decode() for value in values], _TEXT)
    if kind == "date-time":
        return pc.cast(pa.array(values, _TEXT), _TIME)
    return pa.array(values, _TYPES[kind])


def _split(cells: pa.Array, pattern: str) -> tuple[pa.Array, pa.Array]:
    """Return the cells that match, with null for the others; and a mask that is true for the others."""
    matches = pc.match_substring_regex(cells, pattern)
    others = pc.fill_null(pc.invert(matches), fill_value=False)
    if pc.any(others).as_py():
        cells = pc.if_else(matches, cells, pa.scalar(None, _TEXT))
    return cells, others


def _cast_distinct(kind: str, pattern: str, cells: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Cast each distinct cell once: counts and prices repeat."""
    encoded = cells.dictionary_encode()
    usual, others = _split(encoded.dictionary, pattern)
    indices = encoded.indices
    return pc.take(pc.cast(usual, _TYPES[kind]), indices), pc.fill_null(pc.take(others, indices), fill_value=False)


def _times(cells: pa.Array) -> tuple[pa.Array, pa.Array]:
    with suppress(pa.ArrowInvalid):
        # 19 characters before the offset are a time with seconds, or Arrow does not accept them.
        if pc.all(pc.and_(pc.ends_with(cells, _UTC), pc.equal(pc.binary_length(cells), _UTC_LENGTH))).as_py():
            times = pc.cast(cells, _TIME)
            # Compared by Arrow, because Python has no year 0.
            if pc.and_(pc.greater_equal(pc.min(times), _EARLIEST), pc.less_equal(pc.max(times), _LATEST)).as_py():
                return times, pa.repeat(pa.scalar(value=False), len(cells))
    usual, others = _split(cells, _USUAL_TIME)
    try:
        return pc.cast(usual, _TIME), others
    except pa.ArrowInvalid:  # a day that its month does not have
        return pa.nulls(len(cells), _TIME), pc.is_valid(cells)


def _booleans(cells: pa.Array) -> tuple[pa.Array, pa.Array]:
    words = pc.ascii_lower(cells)
    yes, no = pc.equal(words, "true"), pc.equal(words, "false")
    known = pc.or_(yes, no)
    return pc.if_else(known, yes, pa.scalar(None, pa.bool_())), pc.fill_null(pc.invert(known), fill_value=False)


_CASTS: Final[Mapping[str, Callable[[pa.Array], tuple[pa.Array, pa.Array]]]] = {
    "date-time": _times,
    "integer": partial(_cast_distinct, "integer", r"^-?[0-9]{1,18}$"),
    "number": partial(_cast_distinct, "number", r"^-?[0-9]{1,20}(\.[0-9]{1,18})?$"),
    "boolean": _booleans,
    "object": lambda cells: (cells, pc.is_valid(cells)),
}
"""By kind of field, a function from cells to values, null for unusual forms, and a mask that is true for these."""
