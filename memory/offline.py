"""A database read from its files alone: without a store, without a lock, also while a runtime writes it.

What is read is the journal as it was at one moment: the tail first, then the tables, so that rows that are moved in
between are seen twice and not missed. Nothing is written, nothing is repaired; what cannot be read is named.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from repertory.errors import DatabaseDamaged, StorageError
from repertory.memory.chainreader import ChainReader
from repertory.memory.checkpoint import CHECKPOINT_FILE, unpacked
from repertory.memory.disk import LocalDisk
from repertory.memory.index import JournalIndex
from repertory.memory.journal import Commit, Committed, Loaded, Row
from repertory.memory.lock import holder_of
from repertory.memory.records import Record, intact, opened
from repertory.memory.recovery import IDENTITY_FILE, identity
from repertory.memory.rows import inbox_stream
from repertory.memory.scan import scan
from repertory.memory.segments import Segment, segment_name, segment_number
from repertory.memory.tables import Tables, TableUnreadable
from repertory.memory.tail import parsed, tail_name, tail_number

#: rows of one read
PAGE = 1_024


class OfflineStore:
    """A store that only reads. Satisfies `journal.Store`; made by `OfflineStore.open`."""

    def __init__(self, folder: Path, tables: Tables, *, database_id: str) -> None:
        """Use `open` instead."""
        self.folder = folder
        self.database_id = database_id
        self.index = JournalIndex()
        #: what could not be read, in words
        self.problems: list[str] = []
        #: the newest seq that is known to have been given; above `last_seq` if rows were lost
        self.promised = 0
        self._tables = tables
        self._tail: dict[int, Record] = {}
        self._reader = ChainReader([])
        self._end = 0

    @classmethod
    async def open(cls, folder: Path) -> OfflineStore:
        """Read the database in `folder`. Imports lancedb.

        Raises StorageError when there is none, DatabaseDamaged when it says of itself what cannot be understood.
        """
        known = await identity(LocalDisk(folder)) if folder.is_dir() else None
        if known is None:
            raise StorageError(f"there is no database in {folder}: no {IDENTITY_FILE}", path=str(folder))
        store = await cls.open_unfolded(folder, database_id=known["id"])
        await store._fold()
        return store

    @classmethod
    async def open_unfolded(cls, folder: Path, *, database_id: str) -> OfflineStore:
        """The same for one of any format: its rows can be had, but nothing asked about them."""
        from repertory.memory.lancetables import LanceTables  # 57 MB and a second: only where something is read

        store = cls(folder, LanceTables(folder), database_id=database_id)
        await store._look()
        return store

    # --- the Store protocol -------------------------------------------------------------------------------------------

    async def commit(self, commit: Commit) -> Committed:
        """Refused: raises StorageError."""
        raise StorageError("this only reads the database; start a runtime to write to it")

    async def lookup(self, op_id: str) -> tuple[Row, ...]:
        """See `journal.Store.lookup`."""
        rows = [opened(record) for record in self._tail.values() if record.op_id == op_id]
        return tuple(rows or await self._from_tables(lambda tables: tables.commit_of(op_id)))

    async def read(self, stream: str, *, after: int = 0, limit: int = 1000) -> tuple[Row, ...]:
        """See `journal.Store.read`."""
        found = await self._from_tables(lambda tables: tables.stream(stream, after=after, limit=limit))
        rows = {row.seq: row for row in found if row.seq <= self._end}
        rows.update((record.seq, opened(record)) for record in self._tail.values()
                    if record.stream == stream and record.seq > after)
        return tuple(rows[seq] for seq in sorted(rows)[:limit])

    async def load(self, agent_id: str) -> Loaded:
        """See `journal.Store.load`."""
        self.index.describe_agent(agent_id)
        entry = self.index.agents[agent_id]
        inbox = sorted(self.index.inboxes.get(agent_id, {}))
        snapshot = [entry.snapshot_seq] if entry.snapshot_seq else []
        rows = await self._rows([entry.created_seq, *snapshot, *entry.events, *inbox])
        return Loaded(
            spec=rows[entry.created_seq].data["spec"], snapshot=rows[entry.snapshot_seq] if snapshot else None,
            events=tuple(rows[seq] for seq in entry.events), inbox=tuple(rows[seq] for seq in inbox),
            inbox_head=self.index.heads.get(inbox_stream(agent_id), 0),
        )

    async def ask(self, question: str, **arguments: Any) -> Any:
        """See `journal.Store.ask`."""
        return self.index.answer(question, **arguments)

    # --- beyond it ----------------------------------------------------------------------------------------------------

    @property
    def last_seq(self) -> int:
        """The newest row."""
        return self._end

    async def since(self, after: int, *, limit: int = PAGE) -> tuple[Row, ...]:
        """The oldest rows of all streams with seq > `after`; those that cannot be read are left out."""
        rows: list[Row] = []
        async for record in self.records(after):
            rows.append(opened(record))
            if len(rows) == limit:
                break
        return tuple(rows)

    async def records(self, after: int = 0) -> AsyncIterator[Record]:
        """All rows with seq > `after` as they are kept, in order; those that cannot be read are left out."""
        for segment in self._reader.segments:
            while segment.last > after:
                first = max(after + 1, segment.first)
                after = min(first + PAGE - 1, segment.last)
                page = {record.seq: record for record in await self._page(segment, first, after)}
                for seq in range(first, min(after, self._end) + 1):
                    record = self._tail.get(seq) or page.get(seq)
                    if record is not None:
                        yield record
                    else:
                        self._note(f"row {seq} is damaged or cannot be read")
        for seq in sorted(self._tail):
            if seq > after:
                yield self._tail[seq]

    @property
    def _moved(self) -> int:
        return max((segment.last for segment in self._reader.segments), default=0)

    def close(self) -> None:
        """Let go of the files."""
        self._tables.close()  # type: ignore[attr-defined]  # LanceTables has one, the Protocol needs none

    async def _look(self) -> None:
        """Find out what is there."""
        living = holder_of(self.folder) is not None
        checkpoint = self.folder / CHECKPOINT_FILE
        kept = unpacked(checkpoint.read_bytes(), database_id=self.database_id) if checkpoint.exists() else None
        await asyncio.to_thread(self._read_tail)
        await self._open_chain()
        # of a living database the tables may have newer rows by now, not all of them perhaps
        self._end = max(self._tail) if living and self._tail else max(self._moved, *self._tail, 0)
        if kept:
            self.promised = kept[0].last_seq
            if self.promised <= self._end:
                self.index = kept[0]

    async def _fold(self) -> None:
        """Make the index, from where the checkpoint left off."""
        held: list[Row] = []
        async for record in self.records(self.index.last_seq):
            if len(held) >= PAGE and held[-1].op_id != record.op_id:  # whole commits at a time
                self.index.apply(held)
                held = []
            held.append(opened(record))
        self.index.apply(held)

    def _read_tail(self) -> None:
        numbers = sorted(n for path in self.folder.iterdir() if (n := tail_number(path.name)) is not None)
        for number in numbers:
            try:
                raw = (self.folder / tail_name(number)).read_bytes()
            except FileNotFoundError:  # its rows have been moved: the tables are read after this
                continue
            for frame in parsed(raw).frames:
                self._tail.update((record.seq, record) for record in frame.records if intact(record))

    async def _open_chain(self) -> None:
        segments = []
        numbers = sorted(n for name in await self._tables.names() if (n := segment_number(name)) is not None)
        for number in numbers:
            try:
                segments.append(await self._segment(number))
            except TableUnreadable as error:
                self._note(f"{segment_name(number)} cannot be read: {error}")
        self._reader = ChainReader([one for one in segments if one is not None])

    async def _segment(self, number: int) -> Segment | None:
        table = await self._tables.open(segment_name(number))
        if table.version == 0:
            raise TableUnreadable("its newest version is empty of everything")
        if not table.count:
            return None
        head = await table.read(0, 1)
        first = head[0].seq if head and intact(head[0]) else (await scan(table, first=0)).first
        if not first:
            raise TableUnreadable("not one of its rows is intact")
        return Segment(number=number, table=table, first=first, closed=True)

    def _note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    async def _rows(self, seqs: list[int]) -> dict[int, Row]:
        rows = {seq: opened(self._tail[seq]) for seq in seqs if seq in self._tail}
        far = [seq for seq in seqs if seq not in rows]
        if far:
            rows.update(zip(far, await self._from_tables(lambda tables: tables.rows(far)), strict=True))
        return rows

    async def _page(self, segment: Segment, first: int, last: int) -> list[Record]:
        """The intact rows from `first` to `last`, which lie in `segment`."""
        found = await self._reader.records(segment, first, last)
        if self._reader.damage():  # its version was cleaned away, perhaps
            segment.table = await self._tables.open(segment.table.name)
            found = await self._reader.records(segment, first, last)
        return found

    async def _from_tables(self, read: Callable[[ChainReader], Awaitable[list[Row]]]) -> list[Row]:
        """Rows that lie in the tables; those that cannot be read are named, unless only a version was cleaned away."""
        with contextlib.suppress(DatabaseDamaged):
            found = await read(self._reader)
            if not self._reader.damage():
                return found
        await self._open_chain()
        try:
            return await read(self._reader)
        finally:
            for one in self._reader.damage():
                self._note(f"rows {one.first} to {one.last} are damaged or cannot be read")
