"""BATCH files in JSON lines. Each line equals the record in a RECORD message, byte for byte."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from tap_vonage_reports.records.report_archive import read_chunks

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from tap_vonage_reports.records.parser import RecordParser
    from tap_vonage_reports.records.record import Record

_FAST = 1
_GZIP = 16 + zlib.MAX_WBITS


class JsonLines:
    """The JSON lines format for the records of one stream. A part is a list of records.

    Attributes:
        suffix: The end of file names.
    """

    def __init__(self, parser: RecordParser, compression: str) -> None:
        """Prepare the format.

        Args:
            parser: The stream's parser, for the selected fields.
            compression: ``gzip`` or ``none``.
        """
        self._parser = parser
        self._compressed = compression == "gzip"
        self.suffix = ".jsonl.gz" if self._compressed else ".jsonl"

    def from_records(self, records: Sequence[Record]) -> Sequence[Record]:
        """Return the records."""
        return records

    def from_archive(self, file: BinaryIO, count: int | None) -> Generator[list[Record], None, None]:
        """Yield the records of an archive, some at a time, in its order."""
        for header, columns in read_chunks(file, count):
            yield self._parser.parse_cells(header, columns)

    def open_writer(self, file: BinaryIO) -> JsonlWriter:
        """Start a file."""
        return GzippedJsonlWriter(file) if self._compressed else JsonlWriter(file)


class JsonlWriter:
    """A writer of one file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._encoder = msgspec.json.Encoder(decimal_format="number")

    def write(self, records: Sequence[Record]) -> None:
        """Write records, a line each."""
        self._file.write(self._encoder.encode_lines(records))

    def close(self) -> None:
        """Complete the file."""

    def abandon(self) -> None:
        """Write nothing more."""


class GzippedJsonlWriter(JsonlWriter):
    """A writer of one gzip file, without a time or name in it: equal records give equal bytes."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self._compressor = zlib.compressobj(_FAST, zlib.DEFLATED, _GZIP)

    def write(self, records: Sequence[Record]) -> None:
        """Write records, a line each."""
        self._file.write(self._compressor.compress(self._encoder.encode_lines(records)))

    def close(self) -> None:
        """Complete the file."""
        self._file.write(self._compressor.flush())
