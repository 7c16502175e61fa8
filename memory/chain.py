"""The journal in LanceDB: a chain of tables, of which only the last is written.

A table is closed at 64 MB, compacted once more, and never written again: compaction rewrites all of its table, so the
chain bounds what it costs. Everything that writes here runs in one task (`memory.mover`), so that nothing is compacted
beside an append: measured, that starves and fails. Old versions are cleaned only after the compacted one was synced
and read back.
"""

from __future__ import annotations

from collections.abc import Sequence

from repertory.memory.chainreader import ChainReader
from repertory.memory.records import Record
from repertory.memory.scan import verify
from repertory.memory.segments import Segment, segment_name, size_of
from repertory.memory.tables import Tables, TableUnreadable
from repertory.memory.tuning import Tuning


class TableSyncFailed(Exception):
    """What a table got lately may never reach the disk, whatever a later sync says: it must be moved again."""


class Chain:
    """The tables of the journal, oldest first."""

    def __init__(self, tables: Tables, segments: list[Segment], tuning: Tuning) -> None:
        """`segments` as recovery found them; they must not overlap."""
        self._tables = tables
        self._tuning = tuning
        self.segments = segments
        #: their rows, at any time
        self.reader = ChainReader(segments)

    @property
    def moved(self) -> int:
        """The newest seq that is in a table."""
        return max((segment.last for segment in self.segments), default=0)

    @property
    def safe(self) -> int:
        """The newest seq up to which all rows lie in two versions that were synced and read back: one may be lost."""
        for segment in self.segments:
            if segment.safe < segment.count:
                return segment.first + segment.safe - 1
        return self.moved

    async def append(self, records: Sequence[Record]) -> None:
        """Move whole commits from the tail. A gap before them (rows that were lost) begins a new table."""
        segment = self.segments[-1] if self.segments else None
        if segment is None or segment.closed or segment.last + 1 != records[0].seq:
            segment = await self.begin(records[0].seq)
        before = segment.table.count
        await segment.table.append(records)
        if segment.table.count != before + len(records):
            raise TableUnreadable(f"{segment.table.name} has {segment.table.count} rows after an append of "
                                  f"{len(records)} to {before}")
        segment.synced = False
        segment.appends += 1
        segment.bytes += size_of(records)

    async def refresh(self) -> None:
        """After a write that failed: look what the last table holds now. Raises TableUnreadable."""
        if self.segments:
            segment = self.segments[-1]
            fresh = await self._tables.open(segment.table.name)
            if fresh.count < segment.verified:
                raise TableUnreadable(f"{fresh.name} has lost rows: {fresh.count} of {segment.table.count}")
            segment.table, segment.verified, segment.synced = fresh, 0, False

    @property
    def wants_compaction(self) -> bool:
        """Whether the last table has grown so much since its last compaction that it pays."""
        if not self.segments or self.segments[-1].closed:
            return False
        segment, least = self.segments[-1], self._tuning.compact_appends
        grown = (segment.bytes - segment.compacted_bytes) * 2 >= segment.compacted_bytes
        return segment.appends >= (least if grown else 4 * least)

    @property
    def untidy(self) -> bool:
        """Whether a compaction pays when there is nothing else to do."""
        if not self.segments or self.segments[-1].closed:
            return False
        segment = self.segments[-1]
        return segment.appends > 8 + (segment.compacted_bytes >> 20)

    @property
    def full(self) -> bool:
        """Whether the last table is to be closed."""
        return bool(self.segments) and not self.segments[-1].closed and (
            self.segments[-1].bytes >= self._tuning.segment_bytes)

    async def compact(self) -> None:
        """Rewrite the last table in few files, make sure of them, and only then delete old versions."""
        segment = self.segments[-1]
        await self.settle()
        before, segment.verified, segment.synced = segment.verified, 0, False
        await segment.table.compact()
        await self.settle()
        segment.safe = before
        segment.appends, segment.compacted_bytes = 0, segment.bytes
        await segment.table.clean(keep_s=self._tuning.keep_s)

    async def close(self) -> None:
        """Compact the last table for good, and begin the next one: that is what closes it, also after a crash."""
        await self.compact()
        await self.begin(self.segments[-1].last + 1)

    async def begin(self, first: int) -> Segment:
        """A table for the rows from `first` on; the one before is closed by it."""
        if self.segments and not self.segments[-1].closed and not self.segments[-1].count:
            self.segments[-1].first = first  # an empty one may as well begin elsewhere
            return self.segments[-1]
        number = self.segments[-1].number + 1 if self.segments else 1
        while segment_name(number) in await self._tables.names():  # one that could not be read
            number += 1
        segment = Segment(number=number, table=await self._tables.create(segment_name(number)), first=first)
        for older in self.segments:
            older.closed = True
        self.segments.append(segment)
        return segment

    async def finish(self) -> None:
        """Build what makes a closed table fast to search. Never on one that will grow.

        Measured: LanceDB compacts files with and without an index apart, and the rows lose their order.
        """
        for segment in self.segments:
            if segment.closed and not segment.finished:
                segment.finished = True  # tried once: it is only for speed
                version, before = segment.table.version, (segment.verified, segment.synced)
                segment.verified, segment.synced = 0, False
                await segment.table.compact(close=True)
                if segment.table.version == version:
                    segment.verified, segment.synced = before
                else:
                    await self.settle()
                    await segment.table.clean(keep_s=self._tuning.keep_s)

    async def clean(self) -> None:
        """Delete old versions of the last table; only behind a compaction, since LanceDB cannot do one alone."""
        if self.segments and not self.segments[-1].appends and not self.segments[-1].closed:
            await self.settle()
            await self.segments[-1].table.clean(keep_s=self._tuning.keep_s)

    async def settle(self) -> None:
        """Sync the tables, read back what is new in them from the disk.

        Raises TableUnreadable when it is wrong, and TableSyncFailed.
        """
        for segment in self.segments:
            if not segment.settled:
                try:
                    await segment.table.sync()
                except OSError as error:
                    raise TableSyncFailed(f"{segment.table.name}: {error}") from error
                fresh = await self._tables.open(segment.table.name)
                if fresh.count != segment.table.count:
                    raise TableUnreadable(f"{fresh.name} has {fresh.count} rows, not {segment.table.count}")
                await verify(fresh, first=segment.first, start=segment.verified, stop=segment.count)
                if segment.verified < segment.count:
                    segment.safe, segment.verified = max(segment.safe, segment.verified), segment.count
                segment.synced = True
            if segment.closed:  # what it was before it was compacted for good is still there
                segment.safe = segment.count
