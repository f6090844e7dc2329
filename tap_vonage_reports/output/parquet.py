"""Records and CSV cells as Arrow columns, and Parquet files of them, with one fixed schema per stream.

A CSV file goes through here without a Python object per row: Arrow reads it as text, and the forms that the API
is known to write are cast column by column. A row that holds anything else goes through `RecordParser` and back
into its place, so the parser alone decides what a value means.

Importing this module needs pyarrow, which comes with the extra `parquet`.
"""

from __future__ import annotations

import re
from contextlib import closing
from functools import reduce
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import msgspec
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from tap_vonage_reports.records.arrow_csv import read_cells
from tap_vonage_reports.records.parser import DECIMAL_PRECISION, DECIMAL_SCALE, EXTRA_FIELD, KEY_FIELD, kind_of
from tap_vonage_reports.records.report_archive import read_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Mapping, Sequence

    from tap_vonage_reports.records.parser import RecordParser

ROW_GROUP_ROWS = 100_000
ROW_GROUP_BYTES = 1 << 26
"""Rows wait in memory until they fill a row group; long ones fill it sooner."""

pc: Any = pyarrow.compute
"""Without its types: it makes its functions when it is imported."""

_TEXT, _TIME = pa.string(), pa.timestamp("us", "UTC")
_TYPES: Final[Mapping[str, pa.DataType]] = {
    "string": _TEXT,
    "date-time": _TIME,
    "integer": pa.int64(),
    "number": pa.decimal128(DECIMAL_PRECISION, DECIMAL_SCALE),
    "boolean": pa.bool_(),
    "object": _TEXT,
}
"""By kind of field. Wide enough for every price, and the same in every file, so that files are read together."""

_INTEGER = "^-?[0-9]{1,18}$"
_NUMBER = r"^-?[0-9]{1,20}(\.[0-9]{1,18})?$"
_RECENT_TIME = (
    "^(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])$"
)
_FINER_TIME = re.compile(r"(.{19}\.\d{6})(\d+)(\+00:00)")
_encoder = msgspec.json.Encoder(decimal_format="number")


class Parquet:
    """Makes Parquet files of one stream.

    Numbers are decimal128(38, 18), integers int64, booleans bool, times timestamps in UTC with microseconds, and
    all else is text. Objects are the JSON text that a RECORD message has in their place. A time that is finer than
    its column is cut, and as it came it is in `_extra`, under the name of the field.
    """

    suffix = ".parquet"

    def __init__(
        self, schema: Mapping[str, Any], fields: Collection[str], parser: RecordParser, compression: str
    ) -> None:
        """Prepare the files of a stream; the arguments are those of `BatchFiles`, and a compression."""
        properties = schema["properties"]
        self._kinds = {name: kind_of(spec) for name, spec in properties.items() if name in {KEY_FIELD, *fields}}
        self._known = properties.keys() - {EXTRA_FIELD}
        self._parser = parser
        self._compression = compression
        self.schema = pa.schema([(name, _TYPES[kind]) for name, kind in self._kinds.items()])

    def open(self, file: BinaryIO) -> ParquetWriter:
        """Begin a file."""
        return ParquetWriter(file, self.schema, self._compression)

    def of_records(self, records: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
        """Columns of typed records."""
        try:
            return self._columns(records)
        except pa.ArrowInvalid:  # a time finer than a microsecond
            return self._columns([self._cut(record) for record in records])

    def of_archive(self, file: BinaryIO, count: int | None) -> Generator[pa.RecordBatch, None, None]:
        """Columns of the rows of an archive, some thousands at a time, in their order.

        Args:
            file: The zip file.
            count: How many rows were announced; None where nothing was said.

        Yields:
            What `RecordParser` makes of the rows.

        Raises:
            RecordError: A row has no id.
            ArchiveError: The archive is not whole, see `archive.read_chunks`.
        """
        done = 0
        try:
            with closing(read_cells(file, count, self._choose)) as blocks:
                for cells in blocks:
                    batch = self._of_cells(cells)
                    done += len(batch)
                    yield batch
        except pa.ArrowInvalid:  # what Arrow cannot read, Python may
            for header, columns in read_chunks(file, count):
                if rest := len(columns[0][done:]):
                    yield self.of_records(self._parser.parse_cells(header, [column[-rest:] for column in columns]))
                done = max(0, done - len(columns[0]))

    def _choose(self, header: list[str]) -> list[str]:
        if self._known.issuperset(header):
            return [name for name in header if name in self._kinds]
        return header  # a column that nobody knows may be another name of any of them

    def _of_cells(self, cells: pa.RecordBatch) -> pa.RecordBatch:
        """What the parser makes of rows; it is asked only for those that hold something out of the ordinary."""
        columns: dict[str, pa.Array] = {}
        odd = [pc.is_null(cells[KEY_FIELD])]
        for name in cells.schema.names:
            kind = self._kinds.get(name)
            if name not in self._known:
                odd.append(pc.is_valid(cells[name]))
            elif kind == "string":
                columns[name] = self._concealed(name, cells[name])
            elif kind:
                columns[name], others = _CASTS[kind](cells[name])
                odd.append(others)
        mask = reduce(pc.or_, odd)
        found = [
            columns[field.name] if field.name in columns else pa.nulls(len(cells), field.type) for field in self.schema
        ]
        if pc.any(mask).as_py():
            some = cells.filter(mask)
            records = self._parser.parse_cells(some.schema.names, [column.to_pylist() for column in some.columns])
            exact = self.of_records(records)
            found = [pc.replace_with_mask(column, mask, right) for column, right in zip(found, exact, strict=True)]
        return pa.record_batch(found, schema=self.schema)

    def _concealed(self, name: str, cells: pa.Array) -> pa.Array:
        """The cells of a column of text as the parser would have them; the same ones are looked at once."""
        hide = self._parser.transform.get(name)
        if hide is None:
            return cells
        coded = cells.dictionary_encode()
        hidden = pa.array([hide(cell) for cell in coded.dictionary.to_pylist()], _TEXT)
        return pc.take(hidden, coded.indices)

    def _columns(self, records: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
        columns = [_column(kind, [record[name] for record in records]) for name, kind in self._kinds.items()]
        return pa.record_batch(columns, schema=self.schema)

    def _cut(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """A record whose times have no more than microseconds."""
        cut, finer = dict(record), {}
        for name, kind in self._kinds.items():
            match = _FINER_TIME.fullmatch(record[name] or "") if kind == "date-time" else None
            if match:
                cut[name] = match[1] + match[3]
                if match[2].strip("0"):
                    finer[name] = record[name]
        if finer and EXTRA_FIELD in self._kinds:
            cut[EXTRA_FIELD] = dict(sorted({**(record[EXTRA_FIELD] or {}), **finer}.items()))
        return cut


class ParquetWriter:
    """Writes columns to a Parquet file, in large row groups."""

    def __init__(self, file: BinaryIO, schema: pa.Schema, compression: str) -> None:
        self._writer = pq.ParquetWriter(file, schema, compression=compression)
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        if self._rows + len(batch) > ROW_GROUP_ROWS or self._bytes + batch.nbytes > ROW_GROUP_BYTES:
            self._flush()
        self._waiting.append(batch)
        self._rows += len(batch)
        self._bytes += batch.nbytes

    def close(self) -> None:
        """Write what waits, and the end of the file."""
        self._flush()
        self._writer.close()

    def abandon(self) -> None:
        """Write nothing more."""
        self._writer.is_open = False  # else it ends the file when it is forgotten

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting), ROW_GROUP_ROWS)
        self._waiting, self._rows, self._bytes = [], 0, 0


def _column(kind: str, values: list[Any]) -> pa.Array:
    """Values out of records as a column.

    Raises:
        ArrowInvalid: One is a time finer than a microsecond.
    """
    if kind == "object":
        return pa.array([None if value is None else _encoder.encode(value).decode() for value in values], _TEXT)
    if kind == "date-time":
        return pc.cast(pa.array(values, _TEXT), _TIME)
    return pa.array(values, _TYPES[kind])


def _split(cells: pa.Array, pattern: str) -> tuple[pa.Array, pa.Array]:
    """The cells that match, with null in place of the others; and where the others are."""
    matches = pc.match_substring_regex(cells, pattern)
    others = pc.fill_null(pc.invert(matches), fill_value=False)
    if pc.any(others).as_py():
        cells = pc.if_else(matches, cells, pa.scalar(None, _TEXT))
    return cells, others


def _integers(cells: pa.Array) -> tuple[pa.Array, pa.Array]:
    cells, others = _split(cells, _INTEGER)
    return pc.cast(cells, _TYPES["integer"]), others


def _numbers(cells: pa.Array) -> tuple[pa.Array, pa.Array]:
    cells, others = _split(cells, _NUMBER)
    return pc.cast(cells, _TYPES["number"]), others


def _times(cells: pa.Array) -> tuple[pa.Array, pa.Array]:
    recent, others = _split(cells, _RECENT_TIME)
    try:
        return pc.cast(recent, _TIME), others
    except pa.ArrowInvalid:  # a 31st of February somewhere among them
        return pa.nulls(len(cells), _TIME), pc.is_valid(cells)


def _booleans(cells: pa.Array) -> tuple[pa.Array, pa.Array]:
    words = pc.ascii_lower(cells)
    yes, no = pc.equal(words, "true"), pc.equal(words, "false")
    known = pc.or_(yes, no)
    return pc.if_else(known, yes, pa.scalar(None, pa.bool_())), pc.fill_null(pc.invert(known), fill_value=False)


_CASTS: Final[Mapping[str, Callable[[pa.Array], tuple[pa.Array, pa.Array]]]] = {
    "date-time": _times,
    "integer": _integers,
    "number": _numbers,
    "boolean": _booleans,
    "object": lambda cells: (cells, pc.is_valid(cells)),
}
"""Cells as values, as far as they have an ordinary form; and where they have none."""
