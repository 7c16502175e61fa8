"""The newest rows, in memory: all that no table has yet, and as many of the others as fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from repertory.memory.journal import Row
from repertory.memory.records import Record

#: what a row costs in memory besides its data, about
_ROW_BYTES = 600


class RecentRows:
    """Rows by seq, oldest first; the oldest ones go when there are too many bytes of them."""

    def __init__(self, limit_bytes: int) -> None:
        """`limit_bytes` bounds the rows that a table has; those that none has stay in any case."""
        self._limit_bytes = limit_bytes
        self._rows: dict[int, tuple[Row, Record]] = {}
        self._bytes = 0
        self._unmoved: dict[int, int] = {}
        self.unmoved_bytes = 0

    def add(self, rows: Sequence[Row], records: Sequence[Record]) -> None:
        """Take rows that are newer than all others."""
        for row, record in zip(rows, records, strict=True):
            size = len(record.data) * 2 + _ROW_BYTES
            self._rows[row.seq] = (row, record)
            self._bytes += size
            self._unmoved[row.seq] = size
            self.unmoved_bytes += size

    def unmoved(self, *, upto: int, limit: int, limit_bytes: int) -> list[Record]:
        """The oldest rows that no table has, up to seq `upto`: whole commits, about `limit` rows and `limit_bytes`."""
        batch: list[Record] = []
        room = limit_bytes
        for seq, size in self._unmoved.items():
            record = self._rows[seq][1]
            full = len(batch) >= limit or room < size
            if seq > upto or (batch and full and record.op_id != batch[-1].op_id):
                break
            if batch and seq != batch[-1].seq + 1:  # rows were lost between them
                break
            room -= size
            batch.append(record)
        return batch

    @property
    def unmoved_count(self) -> int:
        """How many rows no table has."""
        return len(self._unmoved)

    def moved(self, upto: int) -> None:
        """The tables have all rows up to seq `upto` now."""
        for seq in list(self._up_to(self._unmoved, upto)):
            self.unmoved_bytes -= self._unmoved.pop(seq)
        while self._bytes > self._limit_bytes:
            seq, (_, record) = next(iter(self._rows.items()))
            if seq in self._unmoved:
                return
            del self._rows[seq]
            self._bytes -= len(record.data) * 2 + _ROW_BYTES

    def get(self, seq: int) -> Row | None:
        """The row, if it is here."""
        entry = self._rows.get(seq)
        return entry[0] if entry else None

    @property
    def first(self) -> int:
        """The oldest seq that is here: every later row of the journal is here, too. 0 when there are none."""
        return next(iter(self._rows), 0)

    def rows(self, after: int = 0) -> Iterable[Row]:
        """The rows here with seq > `after`, oldest first."""
        if self._rows and after + 1 in self._rows:  # gapless from there on, unless something was lost
            last = next(reversed(self._rows))
            found = (self._rows.get(seq) for seq in range(after + 1, last + 1))
            return (entry[0] for entry in found if entry)
        return (row for seq, (row, _) in list(self._rows.items()) if seq > after)

    @staticmethod
    def _up_to(seqs: Iterable[int], upto: int) -> Iterable[int]:
        for seq in seqs:
            if seq > upto:
                return
            yield seq
