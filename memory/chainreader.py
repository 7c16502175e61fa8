"""Reading the journal's tables, without believing them.

A table may be damaged at any time, and LanceDB may notice it late or never. Whoever wants many rows gets those that
are there; what is not is remembered in `damage`, row by row, until the owner reports it. Whoever needs certain rows
gets them all, or DatabaseDamaged.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence

from repertory.errors import DatabaseDamaged, StorageError
from repertory.memory.damage import Damage, unreadable
from repertory.memory.journal import Row
from repertory.memory.records import Record, intact, opened
from repertory.memory.scan import positions
from repertory.memory.segments import Segment
from repertory.memory.tables import Column, TableUnreadable


class ChainReader:
    """The rows of the chain's tables."""

    def __init__(self, segments: list[Segment]) -> None:
        """`segments`: oldest first; the list of the chain itself, which grows."""
        self.segments = segments
        self._damage: list[Damage] = []

    def damage(self) -> list[Damage]:
        """The rows that reading has found damaged since this was asked last."""
        found, self._damage = self._damage, []
        return found

    async def rows(self, seqs: Sequence[int]) -> list[Row]:
        """The rows with these seqs, which must be in a table. Raises DatabaseDamaged when one is gone."""
        wanted: dict[int, list[int]] = {}
        starts = [segment.first for segment in self.segments]
        for seq in seqs:
            where = bisect_right(starts, seq) - 1
            if where < 0 or seq > self.segments[where].last:
                raise DatabaseDamaged(f"row {seq} was lost", seq=seq)
            wanted.setdefault(where, []).append(seq)
        found: dict[int, Row] = {}
        for where, here in wanted.items():
            found.update(await self._take(self.segments[where], here))
        return [found[seq] for seq in seqs]

    async def stream(self, stream: str, *, after: int, limit: int) -> list[Row]:
        """The oldest rows of a stream with seq > `after`; a row that was lost is left out."""
        found: list[Row] = []
        for segment in list(self.segments):
            if segment.last > after and len(found) < limit:
                found += await self._find(segment, "stream", stream, after=after, limit=limit - len(found))
        return found

    async def commit_of(self, op_id: str) -> list[Row]:
        """The rows of the commit with this op_id; empty if no table has it. Recent ones are found sooner."""
        for segment in reversed(self.segments):
            if found := await self._find(segment, "op_id", op_id, after=0, limit=1_000_000):
                return found
        return []

    async def since(self, after: int, limit: int) -> list[Row]:
        """The oldest rows with seq > `after`, of all streams; a row that was lost is left out."""
        found: list[Row] = []
        for segment in list(self.segments):
            while segment.last > after and len(found) < limit:
                first = max(after + 1, segment.first)
                after = min(first + limit - len(found) - 1, segment.last)
                found += map(opened, await self.records(segment, first, after))
        return found

    async def records(self, segment: Segment, first: int, last: int) -> list[Record]:
        """The intact rows with the seqs `first` … `last`, which lie in `segment`."""
        start, stop = first - segment.first, last + 1 - segment.first
        try:
            records = await _twice(lambda: segment.table.read(start, stop))
        except TableUnreadable:
            records = []
        if len(records) == stop - start and all(map(_right, records, range(first, last + 1))):
            return records
        return await self._one_by_one(segment, first, last)

    async def _one_by_one(self, segment: Segment, first: int, last: int) -> list[Record]:
        """The same where not all can be read at once; what is missing goes into `damage`."""
        while True:
            version, good, bad = segment.table.version, [], []
            async for position, record in positions(segment.table, first - segment.first, last + 1 - segment.first):
                seq = segment.first + position
                if record is not None and _right(record, seq):
                    good.append(record)
                else:
                    bad.append(seq)
            if version == segment.table.version:  # else it was compacted meanwhile: what was not found proves nothing
                self._damage += unreadable(bad, f"in {segment.table.name}")
                return good

    async def _take(self, segment: Segment, seqs: list[int]) -> dict[int, Row]:
        try:
            records = await _twice(lambda: segment.table.take([seq - segment.first for seq in seqs]))
        except TableUnreadable:
            records = []
        if len(records) != len(seqs) or not all(map(_right, records, seqs)):
            records = [record for seq in seqs for record in await self.records(segment, seq, seq)]
        found = {record.seq: opened(record) for record in records}
        if missing := [seq for seq in seqs if seq not in found]:
            raise DatabaseDamaged(f"row {missing[0]} is damaged and cannot be read", seqs=missing)
        return found

    async def _find(self, segment: Segment, column: Column, value: str, *, after: int, limit: int) -> list[Row]:
        """The oldest rows with seq > `after` and this value. A search meets damage also where it looks in vain."""
        try:
            records = await _twice(lambda: segment.table.find(column, value, after=after, limit=limit))
        except TableUnreadable:
            records = None
        if records is None or not all(map(intact, records)):
            everything = await self.records(segment, max(after + 1, segment.first), segment.last)
            records = [record for record in everything if getattr(record, column) == value][:limit]
        return [opened(record) for record in records if record.seq <= segment.last]


def _right(record: Record, seq: int) -> bool:
    """Whether it is the row that should lie there, as it was written."""
    return record.seq == seq and intact(record)


async def _twice(read: Callable[[], Awaitable[list[Record]]]) -> list[Record]:
    """Read, once more if need be: a slow read's version may have been cleaned away, and the newest one is there."""
    try:
        return await read()
    except (TableUnreadable, OSError):
        try:
            return await read()
        except OSError as error:
            raise StorageError(f"the journal's tables cannot be read now: {error}") from error
