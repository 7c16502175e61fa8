"""A row as it is kept: its data packed, and a crc over all of it.

LanceDB does not notice a flipped byte in a data file: measured, it is often read as a wrong value without any error.
So each row carries a crc32 over all its fields, and nothing that was read from a disk is believed before it is checked.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import msgpack

from repertory.errors import DatabaseDamaged
from repertory.memory.journal import Row, pack_data, unpack_data


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A journal row as a table or a tail keeps it (format 1); field by field a column of the table."""

    seq: int
    stream: str
    kind: str
    author: str
    epoch: int
    op_id: str
    #: seconds since 1970
    at: float
    #: of all the other fields, see `checksum`
    crc32: int
    #: msgpack
    data: bytes


def checksum(*, seq: int, stream: str, kind: str, author: str, epoch: int, op_id: str, at: float, data: bytes) -> int:
    """The crc32 of a row: over the msgpack array of its fields, data last, then the data itself."""
    head: bytes = msgpack.packb([seq, stream, kind, author, epoch, op_id, at])
    return zlib.crc32(data, zlib.crc32(head))


def sealed(row: Row) -> Record:
    """The row with its data packed and its crc."""
    data = pack_data(row.data)
    crc = checksum(seq=row.seq, stream=row.stream, kind=row.kind, author=row.author, epoch=row.epoch,
                   op_id=row.op_id, at=row.at, data=data)
    return Record(seq=row.seq, stream=row.stream, kind=row.kind, author=row.author, epoch=row.epoch,
                  op_id=row.op_id, at=row.at, crc32=crc, data=data)


def intact(record: Record) -> bool:
    """Whether the record is what was written."""
    try:
        return record.crc32 == checksum(
            seq=record.seq, stream=record.stream, kind=record.kind, author=record.author, epoch=record.epoch,
            op_id=record.op_id, at=record.at, data=record.data)
    except (TypeError, ValueError, OverflowError):
        return False  # a damaged file may hand us nulls and numbers of another kind


def opened(record: Record) -> Row:
    """The row in a record. Raises DatabaseDamaged when its crc is wrong."""
    if not intact(record):
        raise DatabaseDamaged(f"row {record.seq} is damaged: its crc32 is wrong", seq=record.seq)
    return Row(seq=record.seq, stream=record.stream, kind=record.kind, author=record.author, epoch=record.epoch,
               op_id=record.op_id, at=record.at, data=unpack_data(record.data))
