"""Captures: what came in, as it came, in one indexed file that reads at full speed.

    magic, version │ head │ block │ block │ … │ index │ end

Every part but the first and the last is `size, crc32, zstd(msgpack)`. A block is a list of
records; the index names each block's place, times and number of records, so that a reader can
begin anywhere. A file without its end was not closed: it is refused, not read halfway.
"""

import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import msgspec
from msgspec import Struct

from lab.capture.errors import (
    BadRecord,
    CaptureError,
    NotACapture,
    Truncated,
    UnknownVersion,
    WrongChecksum,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAGIC = b"ALPHACAP"
VERSION = 1
BLOCK_BYTES = 1 << 20
BLOCK_RECORDS = 20_000
PART_BYTES_MAX = 256 << 20
LEVEL = 3
_START = struct.Struct("<8sI")
_PART = struct.Struct("<II")
_END = struct.Struct("<Q8s")
_encoder = msgspec.msgpack.Encoder()


class Record(Struct, frozen=True, array_like=True, gc=False):
    """One thing that came in: when (the run's clock), from where, its place there, its bytes.

    `source` is a stream's name or a feed's; a feed's record has no subject and no sequence.
    """

    at_ns: int
    source: str
    subject: str
    sequence: int
    data: bytes


class Head(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a capture is of. `kind`: `streams` (our messages) or `feeds` (what feeds took in)."""

    kind: str
    provenance: str
    about: dict[str, str] = {}


class Block(Struct, frozen=True, array_like=True):
    """Where a block is, and what it holds; `last_ns` of one is at most `first_ns` of the next."""

    offset: int
    first_ns: int
    last_ns: int
    records: int


_heads = msgspec.msgpack.Decoder(Head)
_indexes = msgspec.msgpack.Decoder(tuple[Block, ...])
_records = msgspec.msgpack.Decoder(list[Record])


class CaptureWriter:
    """Write a new capture; what is not closed has no end and is no capture."""

    def __init__(self, path: Path, head: Head) -> None:
        """Make the file anew. Raises NotACapture if there is one, or none can be made."""
        self.path = path
        self.records = 0
        self._index: list[Block] = []
        self._waiting: list[Record] = []
        self._waiting_bytes = 0
        self._last_ns = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = path.open("xb")
        except OSError as error:
            raise NotACapture(path, "a new file in a writable folder", _why(error)) from None
        self._file.write(_START.pack(MAGIC, VERSION))
        self._write_part(_encoder.encode(head))

    def add(self, record: Record) -> None:
        """Take one record. Time never runs back within a capture: raises BadRecord."""
        if record.at_ns < self._last_ns:
            found = f"{record.at_ns} after {self._last_ns}"
            raise BadRecord(self.path, "records in order of time", found)
        self._last_ns = record.at_ns
        self._waiting.append(record)
        self._waiting_bytes += len(record.data)
        if self._waiting_bytes >= BLOCK_BYTES or len(self._waiting) >= BLOCK_RECORDS:
            self._write_block()

    def close(self) -> None:
        """Write what waits, the index and the end."""
        self._write_block()
        place = self._file.tell()
        self._write_part(_encoder.encode(self._index))
        self._file.write(_END.pack(place, MAGIC))
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:  # half a capture would look like a whole one
            self._file.close()
            self.path.unlink(missing_ok=True)

    def _write_block(self) -> None:
        if not self._waiting:
            return
        block, self._waiting, self._waiting_bytes = self._waiting, [], 0
        self._index.append(Block(self._file.tell(), block[0].at_ns, block[-1].at_ns, len(block)))
        self.records += len(block)
        self._write_part(_encoder.encode(block))

    def _write_part(self, plain: bytes) -> None:
        packed = zstd.compress(plain, LEVEL)
        self._file.write(_PART.pack(len(packed), zlib.crc32(packed)))
        self._file.write(packed)


class CaptureReader:
    """Read a whole capture, from its beginning or from a time on."""

    def __init__(self, path: Path) -> None:
        """Check start, head, index and end. Raises CaptureError."""
        self.path = path
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise NotACapture(path, "a capture", _why(error)) from None
        try:
            self._check_start()
            self.head = self._decoded(_heads, self._part("head"), "head")
            self.blocks = self._read_index()
        except BaseException:
            self._file.close()
            raise

    @property
    def records(self) -> int:
        """Return how many records there are."""
        return sum(block.records for block in self.blocks)

    @property
    def first_ns(self) -> int:
        """Return the time of the first record, 0 in an empty capture."""
        return self.blocks[0].first_ns if self.blocks else 0

    @property
    def last_ns(self) -> int:
        """Return the time of the last record, 0 in an empty capture."""
        return self.blocks[-1].last_ns if self.blocks else 0

    def read(self, from_ns: int = 0) -> Iterator[Record]:
        """Yield the records at a time or later, block by block. Raises CaptureError."""
        for number, block in enumerate(self.blocks):
            if block.last_ns < from_ns:
                continue
            self._file.seek(block.offset)
            records = self._decoded(_records, self._part(f"block {number}"), f"block {number}")
            if len(records) != block.records:
                wanted, found = f"{block.records} records in block {number}", f"{len(records)}"
                raise BadRecord(self.path, wanted, found)
            if block.first_ns >= from_ns:
                yield from records
            else:
                yield from (record for record in records if record.at_ns >= from_ns)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_start(self) -> None:
        start = self._file.read(_START.size)
        if len(start) < _START.size or start[: len(MAGIC)] != MAGIC:
            raise NotACapture(self.path, "a capture, which begins with ALPHACAP", repr(start[:8]))
        _, version = _START.unpack(start)
        if version != VERSION:
            raise UnknownVersion(self.path, f"version {VERSION}", f"{version}; export it again")

    def _read_index(self) -> tuple[Block, ...]:
        begin = self._file.tell()
        size = self._file.seek(0, 2)
        self._file.seek(max(begin, size - _END.size))
        end = self._file.read(_END.size)
        if len(end) < _END.size or end[8:] != MAGIC:
            raise Truncated(self.path, "its end", f"{size} bytes without one; export it again")
        place, _ = _END.unpack(end)
        if not begin <= place <= size - _END.size:
            raise WrongChecksum(self.path, "an index within the file", f"one at byte {place}")
        self._file.seek(place)
        blocks: tuple[Block, ...] = self._decoded(_indexes, self._part("index"), "index")
        if not all(begin <= block.offset < place for block in blocks):
            raise BadRecord(self.path, "blocks before the index", "one outside")
        return blocks

    def _part(self, what: str) -> bytes:
        head = self._file.read(_PART.size)
        if len(head) < _PART.size:
            raise Truncated(self.path, f"its {what}", "the end of the file")
        size, checksum = _PART.unpack(head)
        if size > PART_BYTES_MAX:
            raise WrongChecksum(self.path, f"at most {PART_BYTES_MAX} bytes of {what}", f"{size}")
        packed = self._file.read(size)
        if len(packed) < size:
            raise Truncated(self.path, f"{size} bytes of {what}", f"{len(packed)}")
        if zlib.crc32(packed) != checksum:
            found = f"{zlib.crc32(packed):08x}"
            raise WrongChecksum(self.path, f"crc32 {checksum:08x} of its {what}", found)
        return packed

    def _decoded(self, decoder: "msgspec.msgpack.Decoder[Any]", packed: bytes, what: str) -> Any:
        try:
            return decoder.decode(zstd.decompress(packed))
        except (zstd.ZstdError, msgspec.DecodeError, ValueError) as error:
            raise BadRecord(self.path, f"a readable {what}", str(error)) from None


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__


__all__ = [
    "Block",
    "CaptureError",
    "CaptureReader",
    "CaptureWriter",
    "Head",
    "Record",
]
