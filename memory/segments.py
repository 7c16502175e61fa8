"""The journal in LanceDB: a chain of tables, of which only the last is written.

A table is closed at 64 MB, compacted once more, and never written again: compaction rewrites all of its table, so the
chain bounds what it costs. Everything that writes here runs in one task (`memory.mover`), so that nothing is compacted
beside an append: measured, that starves and fails. Old versions are cleaned only after the compacted one was synced
and read back.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from repertory.errors import DatabaseDamaged, StorageError
from repertory.memory.journal import Row
from repertory.memory.records import Record, intact, opened
from repertory.memory.scan import verify
from repertory.memory.tables import Column, Table, Tables, TableUnreadable
from repertory.memory.tuning import Tuning

#: what a row takes in a table besides its data, about
_ROW_BYTES = 120


def segment_name(number: int) -> str:
    """The name of the chain's table `number`, from 1."""
    return f"journal_{number:06d}"


def segment_number(name: str) -> int | None:
    """The inverse of `segment_name`; None for a table of another kind."""
    prefix, _, digits = name.partition("_")
    return int(digits) if prefix == "journal" and digits.isdigit() and len(digits) >= 6 else None


def size_of(records: Sequence[Record]) -> int:
    """About how many bytes these records take in a table."""
    return sum(len(record.data) + _ROW_BYTES for record in records)


@dataclass(kw_only=True, slots=True)
class Segment:
    """One table of the chain."""

    number: int
    table: Table
    #: seq of the row at position 0
    first: int
    #: grows no more; so is every table but the last
    closed: bool = False
    #: what is done to a closed table was done
    finished: bool = False
    #: positions below this were synced and read back in the newest version, and in an older one that is still there
    verified: int = 0
    safe: int = 0
    #: whether the newest version was synced by this process
    synced: bool = True
    #: rows from this position on are not used: a later table has them
    cap: int | None = None
    bytes: int = 0
    #: appends since the last compaction, and the bytes that the compaction wrote
    appends: int = 0
    compacted_bytes: int = 0

    @property
    def count(self) -> int:
        """How many of its rows are used."""
        return self.table.count if self.cap is None else min(self.cap, self.table.count)

    @property
    def last(self) -> int:
        """The seq of its newest row; first - 1 when it is empty."""
        return self.first + self.count - 1

    @property
    def settled(self) -> bool:
        """Whether its newest version was synced and read back."""
        return self.synced and self.verified >= self.count


class TableSyncFailed(Exception):
    """What a table got lately may never reach the disk, whatever a later sync says: it must be moved again."""


class Chain:
    """The tables of the journal, oldest first."""

    def __init__(self, tables: Tables, segments: list[Segment], tuning: Tuning) -> None:
        """`segments` as recovery found them; they must not overlap."""
        self._tables = tables
        self._tuning = tuning
        self.segments = segments

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

    # --- writing: one task only -------------------------------------------------------------------------------------

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

    # --- reading: at any time ---------------------------------------------------------------------------------------

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
        """The oldest rows of a stream with seq > `after`."""
        found: list[Row] = []
        for segment in list(self.segments):
            if segment.last > after and len(found) < limit:
                records = await self._find(segment, "stream", stream, after=after, limit=limit - len(found))
                found += [opened(record) for record in records if record.seq <= segment.last]
        return found

    async def commit_of(self, op_id: str) -> list[Row]:
        """The rows of the commit with this op_id; empty if no table has it. Recent ones are found sooner."""
        for segment in reversed(self.segments):
            records = await self._find(segment, "op_id", op_id, after=0, limit=1_000_000)
            if found := [opened(record) for record in records if record.seq <= segment.last]:
                return found
        return []

    async def since(self, after: int, limit: int) -> list[Row]:
        """The oldest rows with seq > `after`, of all streams; a row that was lost is left out."""
        found: list[Row] = []
        for segment in list(self.segments):
            position = max(0, after + 1 - segment.first)
            while position < segment.count and len(found) < limit:
                stop = min(position + limit - len(found), segment.count)
                read = partial(segment.table.read, position, stop)
                what = f"rows {segment.first + position} to {segment.first + stop - 1} of {segment.table.name}"
                for seq, record in enumerate(await _twice(read, what), segment.first + position):
                    if record.seq == seq and intact(record):
                        found.append(opened(record))
                position = stop
        return found

    async def _take(self, segment: Segment, seqs: list[int]) -> dict[int, Row]:
        positions = [seq - segment.first for seq in seqs]
        records = await _twice(lambda: segment.table.take(positions), f"rows {seqs[0]} to {seqs[-1]}")
        rows: dict[int, Row] = {}
        for seq, record in zip(seqs, records, strict=True):
            row = opened(record)
            if row.seq != seq:
                raise DatabaseDamaged(f"row {row.seq} lies where row {seq} should be", seq=seq)
            rows[seq] = row
        return rows

    async def _find(self, segment: Segment, column: Column, value: str, *, after: int, limit: int) -> list[Record]:
        return await _twice(lambda: segment.table.find(column, value, after=after, limit=limit),
                            f"{column} {value} in {segment.table.name}")


async def _twice(read: Callable[[], Awaitable[list[Record]]], what: str) -> list[Record]:
    """Read, once more if need be: a slow read's version may have been cleaned away, and the newest one is there."""
    try:
        return await read()
    except (TableUnreadable, OSError):
        try:
            return await read()
        except TableUnreadable as error:
            raise DatabaseDamaged(f"{what} cannot be read: {error}") from error
        except OSError as error:
            raise StorageError(f"{what} cannot be read now: {error}") from error
