"""The durable store: a commit is checked, numbered, written to the tail, synced, and only then acknowledged.

What decides is elsewhere (`index`), what keeps is elsewhere (`tail`, `segments`); this class puts them in order. The
index takes a commit when it is queued, so that the next one is checked against it; but nobody is told anything,
neither a result nor a refusal nor an answer, before all that it rests upon is synced. When a write fails, everything
in memory is thrown away and read from the disk again, and each caller is told what was found there.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

from repertory.errors import OpConflict, OutcomeUnknown, RepertoryError, StorageError, StorageFull, WriteFailed
from repertory.memory import index as index_module
from repertory.memory.chain import Chain, TableSyncFailed
from repertory.memory.chainreader import ChainReader
from repertory.memory.checkpoint import CHECKPOINT_FILE, packed
from repertory.memory.damage import Damage, report
from repertory.memory.disk import Disk
from repertory.memory.index import JournalIndex
from repertory.memory.journal import Commit, Committed, Loaded, Row, digest
from repertory.memory.mover import Mover
from repertory.memory.opfilter import OpFilter
from repertory.memory.recent import RecentRows
from repertory.memory.records import opened, sealed
from repertory.memory.recovery import identity, initialise, recover
from repertory.memory.rows import inbox_stream
from repertory.memory.tables import Tables, TableUnreadable
from repertory.memory.tail import SyncFailed, Tail, WriteInterrupted
from repertory.memory.tuning import Tuning
from repertory.memory.volatile import numbered, woken

#: entries of an index that takes tenths of a second to pack
_LARGE_INDEX = 100_000
_T = TypeVar("_T")
_log = logging.getLogger("repertory.store")


@dataclass(kw_only=True, slots=True)
class _Opened:
    """All that is in memory of a database; thrown away whole when a write fails."""

    index: JournalIndex
    used: OpFilter
    chain: Chain
    recent: RecentRows
    tail: Tail
    mover: Mover
    checkpointed: int


class DurableStore:
    """The journal on a disk. Satisfies `journal.Store`. Made by `DurableStore.open`."""

    def __init__(self, disk: Disk, tables: Tables, *, database_id: str, now: Callable[[], float],
                 on_inbox: Callable[[str], None] = lambda agent_id: None,
                 on_stop: Callable[[StorageError], None] = lambda error: None, tuning: Tuning) -> None:
        """Use `open` instead."""
        self._disk = disk
        self._tables = tables
        self._now = now
        self._on_inbox = on_inbox
        self._on_stop = on_stop
        self._tuning = tuning
        self._opened: _Opened | None = None
        self._ready = asyncio.Event()
        self._stopped: StorageError | None = None
        self._reopening: asyncio.Task[None] | None = None
        self._closing = False
        self._was_full = False
        #: a table's sync failed, and what it got lately has not been moved again
        self._distrust = False
        #: (seq, agent ids) to be told of once that seq is synced
        self._to_wake: deque[tuple[int, list[str]]] = deque()
        self.database_id = database_id
        #: what was found damaged at opening and by reading since; see `damage.json` for all that ever was
        self.damage: list[Damage] = []

    @classmethod
    async def open(cls, disk: Disk, tables: Tables, *, new_id: Callable[[], str], now: Callable[[], float],
                   tuning: Tuning | None = None, **listeners: Any) -> DurableStore:
        """Open the database on `disk` and in `tables`, or make one where there is none.

        `new_id` gives a new database its id; `now` seconds since 1970. `listeners`: `on_inbox(agent_id)` is called
        when somebody else's row for an agent is durable; `on_stop(error)` when the store has to be restarted.
        Raises DatabaseDamaged, StorageFull, or StorageError when a file cannot be read or written.
        """
        try:
            known = await identity(disk) or await initialise(disk, tables, database_id=new_id(), at=now())
            store = cls(disk, tables, database_id=known["id"], now=now, tuning=tuning or Tuning(), **listeners)
            await store._open()
        except OSError as error:
            kind = StorageFull if error.errno == errno.ENOSPC else StorageError
            raise kind(f"the database cannot be opened: {error}") from error
        return store

    # --- the Store protocol -----------------------------------------------------------------------------------------

    async def commit(self, commit: Commit) -> Committed:
        """See `journal.Store.commit`. Raises OutcomeUnknown when a sync failed: the store must be restarted then."""
        free = await self._disk.free_bytes()
        mine: list[Committed] = []

        def write() -> Committed:
            done = self._state.index.check(commit)
            if done is not None:
                return replace(done, replayed=not mine or done.first != mine[0].first)
            if mine:
                raise self._lost(commit)
            mine.append(self._write(commit, free))
            return mine[0]

        old = await self._old(commit)
        return await self._steady(write) if old is None else old

    async def lookup(self, op_id: str) -> tuple[Row, ...]:
        """See `journal.Store.lookup`."""
        known = await self._steady(lambda: self._state.index.ops.get(op_id))
        if known is not None:
            return tuple(await self._rows(list(range(known[1], known[1] + known[2]))))
        return tuple(await self._forgotten(op_id))

    async def read(self, stream: str, *, after: int = 0, limit: int = 1000) -> tuple[Row, ...]:
        """See `journal.Store.read`."""
        def recent() -> tuple[list[Row], int] | None:
            state = self._state
            if state.index.heads.get(stream, 0) <= after:
                return None
            return [row for row in state.recent.rows(after) if row.stream == stream], state.recent.first

        found = await self._steady(recent)
        if found is None:
            return ()
        newest, first = found
        if first and after + 1 >= first:
            return tuple(newest[:limit])
        older = await self._from_tables(lambda tables: tables.stream(stream, after=after, limit=limit))
        return tuple([*(row for row in older if row.seq < first or not first), *newest][:limit])

    async def load(self, agent_id: str) -> Loaded:
        """See `journal.Store.load`."""
        def needed() -> tuple[int, int, list[int], list[int], int]:
            index = self._state.index
            index.describe_agent(agent_id)
            entry, inbox = index.agents[agent_id], inbox_stream(agent_id)
            waiting = sorted(index.inboxes.get(agent_id, {}))
            return entry.created_seq, entry.snapshot_seq, list(entry.events), waiting, index.heads.get(inbox, 0)

        created, snapshot, events, inbox, head = await self._steady(needed)
        seqs = [created, *([snapshot] if snapshot else []), *events, *inbox]
        rows = dict(zip(seqs, await self._rows(seqs), strict=True))
        return Loaded(spec=rows[created].data["spec"], snapshot=rows.get(snapshot), inbox_head=head,
                      events=tuple(map(rows.__getitem__, events)), inbox=tuple(map(rows.__getitem__, inbox)))

    async def ask(self, question: str, **arguments: Any) -> Any:
        """See `journal.Store.ask`."""
        return await self._steady(lambda: self._state.index.answer(question, **arguments))

    # --- beyond it ----------------------------------------------------------------------------------------------------

    async def since(self, after: int, *, limit: int = 256) -> tuple[Row, ...]:
        """The oldest rows of all streams with seq > `after`, at most `limit`: what projections feed on."""
        def recent() -> tuple[list[Row], int]:
            state = self._state
            return list(islice(state.recent.rows(after), limit)), state.recent.first

        newest, first = await self._steady(recent)
        if first and after + 1 >= first:
            return tuple(newest)
        older = await self._from_tables(lambda tables: tables.since(after, limit))
        return tuple([*(row for row in older if row.seq < first or not first), *newest][:limit])

    @property
    def last_seq(self) -> int:
        """The newest seq that is durable."""
        return self._opened.tail.synced if self._opened else 0

    async def close(self) -> None:
        """Write what was queued, note where we are, and let go of the disk. Later calls are refused."""
        self._ready.clear()
        if self._reopening is not None:
            await asyncio.wait([self._reopening])
        self._closing = True
        state = self._opened
        if state is not None:
            await state.tail.stop()
            await state.mover.stop()
            if state.tail.synced == state.index.last_seq > state.checkpointed:
                await self._disk.replace(CHECKPOINT_FILE, packed(state.index, state.used, database_id=self.database_id))
        self._opened, self._stopped = None, self._stopped or WriteFailed("the store is closed")
        self._ready.set()

    # --- inside -------------------------------------------------------------------------------------------------------

    @property
    def _state(self) -> _Opened:
        if self._opened is None:
            raise self._stopped or WriteFailed("the store is not open")
        return self._opened

    async def _steady(self, compute: Callable[[], _T]) -> _T:
        """What `compute` says, once all that it has seen is durable; again, if the store had to be opened anew.

        `compute` runs without a pause, and may write. A refusal waits as well: it may rest upon rows that are lost.
        """
        while True:
            await self._ready.wait()
            state = self._state
            try:
                result = compute()
            except RepertoryError:
                if await self._durable(state):
                    raise
            else:
                if await self._durable(state):
                    return result

    async def _durable(self, state: _Opened) -> bool:
        """Wait until all that the index knows is synced; False if that failed and the store is opened anew."""
        try:
            await state.tail.durable(state.index.last_seq)
        except WriteInterrupted:
            return False
        except SyncFailed as error:
            raise OutcomeUnknown(f"the disk failed in the middle of a write: {error}") from error
        return True

    def _write(self, commit: Commit, free: int) -> Committed:
        """Number the rows, queue them, and let the index know. No pause in here."""
        state = self._state
        if free < self._tuning.reserve_bytes:
            raise StorageFull(f"the disk has {free >> 20} MB left, {self._tuning.reserve_bytes >> 20} MB of it are "
                              "kept for compaction: make room, then try again", free_bytes=free)
        if state.recent.unmoved_bytes > self._tuning.backlog_bytes:
            raise WriteFailed("too many rows wait to be moved to LanceDB, which takes none: see the log")
        rows = numbered(commit, first=state.index.last_seq + 1, epochs=state.index.epochs, at=self._now())
        records = [sealed(row) for row in rows]
        state.index.apply(rows)
        state.used.add(commit.op_id)
        state.recent.add(rows, records)
        state.tail.put(records)
        if agents := woken(commit):
            self._to_wake.append((rows[-1].seq, agents))
        return Committed(first=rows[0].seq, last=rows[-1].seq, epoch=rows[0].epoch, at=rows[0].at)

    def _lost(self, commit: Commit) -> StorageError:
        """The error for a commit whose write failed and of which nothing was found on the disk."""
        if self._was_full:
            return StorageFull("the disk is full: make room, then try again", op_id=commit.op_id)
        return WriteFailed("the write failed, and nothing of it is there: try again", op_id=commit.op_id)

    async def _old(self, commit: Commit) -> Committed | None:
        """The result of a commit that the index has forgotten."""
        await self._ready.wait()
        if commit.op_id in self._state.index.ops:
            return None
        rows = await self._forgotten(commit.op_id)
        if not rows:
            return None
        if digest(rows[0].author, tuple(rows)) != digest(commit.author, commit.rows):
            raise OpConflict(f"op_id {commit.op_id} was used before with another payload", op_id=commit.op_id)
        return Committed(first=rows[0].seq, last=rows[-1].seq, epoch=rows[0].epoch, at=rows[0].at, replayed=True)

    async def _forgotten(self, op_id: str) -> list[Row]:
        """The rows of a commit that is too old for the index; usually there is none, and no table is searched."""
        state = self._state
        if len(state.index.ops) < index_module.REMEMBERED or op_id not in state.used:
            return []
        near = [row for row in state.recent.rows() if row.op_id == op_id]
        return near or await self._from_tables(lambda tables: tables.commit_of(op_id))

    async def _rows(self, seqs: list[int]) -> list[Row]:
        state = self._state
        near = {seq: row for seq in seqs if (row := state.recent.get(seq)) is not None}
        far = [seq for seq in seqs if seq not in near]
        if far:
            near.update(zip(far, await self._from_tables(lambda tables: tables.rows(far)), strict=True))
        return [near[seq] for seq in seqs]

    async def _from_tables(self, read: Callable[[ChainReader], Awaitable[list[Row]]]) -> list[Row]:
        """Rows that lie in the tables. What turns out to be damaged is reported, before anybody gets an answer."""
        reader = self._state.chain.reader
        try:
            return await read(reader)
        finally:
            found = [new for new in reader.damage() if not any(known.says(new) for known in self.damage)]
            if found:
                self.damage += found
                with contextlib.suppress(OSError):  # a full disk stays readable
                    await report(self._disk, found, at=self._now())

    async def _open(self) -> None:
        found = await recover(self._disk, self._tables, database_id=self.database_id, tuning=self._tuning,
                              again=self._opened is not None, distrust=self._distrust)
        self._distrust = False
        self.damage = await report(self._disk, found.damage, at=self._now())
        recent = RecentRows(self._tuning.cache_bytes)
        recent.add([opened(record) for record in found.unmoved], found.unmoved)
        tail = Tail(self._disk, number=found.next_file, full=found.tail_files, synced=found.index.last_seq,
                    rotate_bytes=self._tuning.tail_bytes, on_failure=self._failed, on_synced=self._synced)
        mover = Mover(chain=found.chain, recent=recent, tail=tail, tuning=self._tuning, save=self._save,
                      on_failure=self._failed)
        self._opened = _Opened(index=found.index, used=found.used, chain=found.chain, recent=recent, tail=tail,
                               mover=mover, checkpointed=found.checkpointed)
        self._to_wake.clear()
        tail.start()
        mover.start()
        self._ready.set()

    def _synced(self, upto: int) -> None:
        while self._to_wake and self._to_wake[0][0] <= upto:
            for agent_id in self._to_wake.popleft()[1]:
                self._on_inbox(agent_id)
        self._state.mover.poke()

    def _failed(self, error: BaseException) -> None:
        """A write failed, or a table read back wrong: open anew; a failed sync cannot be helped."""
        if self._closing:
            return
        if isinstance(error, SyncFailed):
            self._stop(WriteFailed(f"a sync failed, the store must be restarted: {error}"))
        elif self._reopening is None or self._reopening.done():
            _log.warning("the store is opened anew: %s", error)
            self._ready.clear()
            self._was_full = isinstance(error, WriteInterrupted) and error.errno == errno.ENOSPC
            self._distrust = self._distrust or isinstance(error, TableSyncFailed)
            self._reopening = asyncio.get_running_loop().create_task(self._reopen(), name="reopen")

    async def _reopen(self) -> None:
        state = self._state
        await state.mover.stop()
        await state.tail.stop()
        try:
            await self._open()
        except (RepertoryError, OSError, TableUnreadable) as error:
            self._stop(WriteFailed(f"the database could not be opened again: {error}"))

    def _stop(self, error: StorageError) -> None:
        if self._opened is not None:
            self._opened.mover.end()
        self._opened, self._stopped = None, error
        self._ready.set()
        self._on_stop(error)

    async def _save(self, idle: bool) -> None:
        """Write a checkpoint, if enough rows have come since the last one. It waits until its rows are synced."""
        state, index = self._state, self._state.index
        # packing stops everything, for a second when there are 100,000 agents: so as seldom as the index is large
        size = len(index.heads) + len(index.ops) + len(index.agents) + len(index.runs)
        due = max(self._tuning.checkpoint_rows, size if size > _LARGE_INDEX else 0) // (10 if idle else 1)
        if index.last_seq - state.checkpointed < due:
            return
        upto, raw = state.index.last_seq, packed(state.index, state.used, database_id=self.database_id)
        await state.tail.durable(upto)
        await self._disk.replace(CHECKPOINT_FILE, raw)
        state.checkpointed = upto
