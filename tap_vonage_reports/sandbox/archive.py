"""Writer for the zip archive of a report, streamed and structured like the real ones.

Real archives (confirmed: nine of them) have one entry, deflated as a stream: sizes and CRC are
behind the data, in a data descriptor, and the name is flagged as UTF-8. The entry's size is unknown when
its header is written, so memory stays flat for any number of rows.
"""

from __future__ import annotations

import struct
import zlib
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

_STREAMED_UTF8 = 0x0808
_VERSION = 20
_DEFLATED = 8
_FASTEST = 1
_BLOCK = 1 << 20

_LOCAL = struct.Struct("<4s5H3L2H")
_DESCRIPTOR = struct.Struct("<4s3L")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_CRC_IN_DESCRIPTOR = 4
_CRC_IN_CENTRAL = 16

MOST_BYTES = 4_000_000_000
"""Bytes of an entry: its size has 32 bits."""
END_SIZE = _END.size
"""Bytes of the record at the end without which nobody takes the file for an archive."""


class _Entry(NamedTuple):
    """An entry that was written: its name, the offset of its header, and its data descriptor."""

    name: bytes
    offset: int
    crc: int
    packed: int
    size: int


class Archive:
    """Writes an archive, entry by entry."""

    def __init__(self, file: IO[bytes], at: datetime) -> None:
        """Begin the archive.

        Args:
            file: Where it goes; nothing is read back and nothing overwritten.
            at: The time of its entries.
        """
        self._file = file
        time = at.hour << 11 | at.minute << 5 | at.second // 2
        date = (at.year - 1980) << 9 | at.month << 5 | at.day
        self._stamp = (time, date)
        self._entries: list[_Entry] = []
        self._written = 0
        self.crc_offsets: list[int] = []
        """The offsets of the CRCs: behind the data and in the directory."""
        self._begin(b"")

    def _begin(self, name: bytes) -> None:
        self._name, self._offset = name, self._written
        self._crc = self._size = self._packed = 0
        self._compressor = zlib.compressobj(_FASTEST, zlib.DEFLATED, -zlib.MAX_WBITS)

    def open(self, name: str) -> None:
        """Begin an entry."""
        self._begin(name.encode())
        head = (b"PK\3\4", _VERSION, _STREAMED_UTF8, _DEFLATED, *self._stamp, 0, 0, 0, len(self._name), 0)
        self._put(_LOCAL.pack(*head) + self._name)

    def write(self, data: bytes) -> None:
        """Add data to the entry."""
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        self._pack(self._compressor.compress(data))

    def repeat(self, byte: bytes, count: int) -> None:
        """Add a byte many times, at the cost of its CRC alone: one packed block is written again and again."""
        self._pack(self._compressor.flush(zlib.Z_FULL_FLUSH))
        block = byte * _BLOCK
        compressor = zlib.compressobj(_FASTEST, zlib.DEFLATED, -zlib.MAX_WBITS)
        packed = compressor.compress(block) + compressor.flush(zlib.Z_FULL_FLUSH)
        for _ in range(count // _BLOCK):
            self._crc = zlib.crc32(block, self._crc)
            self._size += _BLOCK
            self._pack(packed)
        self.write(byte * (count % _BLOCK))

    @property
    def room(self) -> int:
        """Bytes that the entry may still take."""
        return MOST_BYTES - self._size

    def close(self) -> None:
        """End the entry."""
        self._pack(self._compressor.flush())
        self.crc_offsets.append(self._written + _CRC_IN_DESCRIPTOR)
        self._put(_DESCRIPTOR.pack(b"PK\7\x08", self._crc, self._packed, self._size))
        self._entries.append(_Entry(self._name, self._offset, self._crc, self._packed, self._size))

    def finish(self) -> int:
        """Write the directory, and say how long the archive is."""
        start = self._written
        for entry in self._entries:
            self.crc_offsets.append(self._written + _CRC_IN_CENTRAL)
            common = (_VERSION, _VERSION, _STREAMED_UTF8, _DEFLATED, *self._stamp)
            sizes = (entry.crc, entry.packed, entry.size, len(entry.name))
            self._put(_CENTRAL.pack(b"PK\1\2", *common, *sizes, 0, 0, 0, 0, 0, entry.offset) + entry.name)
        count = len(self._entries)
        self._put(_END.pack(b"PK\5\6", 0, 0, count, count, self._written - start, start, 0))
        return self._written

    def _pack(self, packed: bytes) -> None:
        self._packed += len(packed)
        self._put(packed)

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._written += len(data)
