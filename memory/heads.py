"""The newest versions of all shared blocks, as far as they are needed, read from the journal.

Nothing here is truth: a block's versions lie in its stream, and whenever it is in doubt which one is the newest (the
answer to a commit was lost) they are read again. Only the one coordinator writes them, so between two doubts what is
in memory holds.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from repertory.errors import BlockNotFound
from repertory.memory import rows as kinds
from repertory.memory.journal import Row, Store
from repertory.memory.versions import BlockVersion, from_row

#: blocks whose newest versions are kept in memory; those of the others are read again when they are needed
WARM_BLOCKS = 2_000
#: versions of a warm block that are kept, for rewrites that are based on one of them
RECENT_VERSIONS = 8
#: rows that one read of the store brings
PAGE = 500


@dataclass(slots=True)
class Entry:
    """What is known of a block."""

    #: of the newest row that is known, and its version
    seq: int
    version: int
    label: str
    #: how often it became unknown which version is the newest, and how many of these doubts a read has settled
    doubts: int = 0
    settled: int = 0
    #: held by whoever changes the block
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    recent: OrderedDict[int, BlockVersion] = field(default_factory=OrderedDict)
    watchers: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def doubtful(self) -> bool:
        """Whether there may be a newer version than the one that is known."""
        return self.settled < self.doubts

    def doubt(self) -> None:
        """There may be a newer version: nobody may be told of the known one until the journal was read again."""
        self.doubts += 1

    def wake(self) -> None:
        """Tell those who watch the block that it has changed, or is gone."""
        for watcher in self.watchers:
            if not watcher.done():
                watcher.set_result(None)
        self.watchers.clear()


class BlockHeads:
    """Which blocks there are, and their newest versions."""

    def __init__(self, store: Store) -> None:
        """`store` keeps the versions."""
        self._store = store
        self._entries: dict[str, Entry] = {}
        self._warm: OrderedDict[str, None] = OrderedDict()

    async def learn(self) -> list[str]:
        """The ids of all blocks, the oldest first, as the store knows them now."""
        blocks = await self._store.ask("blocks")
        for block in blocks:
            if block["id"] not in self._entries:
                self._entries[block["id"]] = Entry(seq=block["seq"], version=block["version"], label=block["label"])
        return [block["id"] for block in blocks]

    async def entry(self, block_id: str) -> Entry:
        """What is known of the block. Raises BlockNotFound."""
        if block_id not in self._entries:
            # its creation's answer may have been lost
            await self.learn()
        entry = self._entries.get(block_id)
        if entry is None:
            raise no_block(block_id)
        return entry

    async def head(self, block_id: str) -> BlockVersion:
        """The newest version. Raises BlockNotFound."""
        while True:
            entry = await self.entry(block_id)
            known = entry.recent.get(entry.version)
            if known is not None and not entry.doubtful:
                self._warm.move_to_end(block_id)
                return known
            doubts = entry.doubts
            newest = await self._newest(block_id, entry.seq)
            if newest is None or newest.kind == "deleted":
                self.drop(block_id)
                raise no_block(block_id)
            # else somebody has written while we were reading, and knows better
            if newest.seq >= entry.seq:
                self.keep(from_row(newest))
            # a doubt that came up during the read is not settled by it
            entry.settled = max(entry.settled, doubts)

    async def version(self, block_id: str, version: int) -> BlockVersion:
        """One version, old or new. Raises BlockNotFound."""
        entry = self._entries.get(block_id)
        if entry is not None and version in entry.recent:
            return entry.recent[version]
        found = await self.history(block_id, after=version - 1, limit=1)
        if not found or found[0].version != version:
            raise BlockNotFound(f"block {block_id} has no version {version}", block_id=block_id, version=version)
        return found[0]

    async def history(self, block_id: str, *, after: int, limit: int) -> list[BlockVersion]:
        """Versions behind version `after`, at most `limit`, in order. Raises BlockNotFound if there never was one."""
        found: list[BlockVersion] = []
        seq, exists = 0, False
        while len(found) < limit and (rows := await self._page(block_id, seq)):
            seq, exists = rows[-1].seq, True
            found += [from_row(row) for row in rows if row.kind == "version" and row.data["version"] > after]
        if not exists and limit > 0:
            raise no_block(block_id)
        return found[:limit]

    def keep(self, version: BlockVersion) -> None:
        """`version` is the newest of its block."""
        entry = self._entries.get(version.block_id)
        if entry is None:
            entry = self._entries[version.block_id] = Entry(seq=0, version=0, label=version.label)
        entry.seq, entry.version, entry.label = version.seq, version.version, version.label
        entry.recent[version.version] = version
        while len(entry.recent) > RECENT_VERSIONS:
            entry.recent.popitem(last=False)
        self._warm[version.block_id] = None
        self._warm.move_to_end(version.block_id)
        while len(self._warm) > WARM_BLOCKS:
            coldest, _ = self._warm.popitem(last=False)
            self._entries[coldest].recent.clear()
        entry.wake()

    def drop(self, block_id: str) -> None:
        """The block is gone."""
        self._warm.pop(block_id, None)
        entry = self._entries.pop(block_id, None)
        if entry is not None:
            entry.wake()

    async def _newest(self, block_id: str, seq: int) -> Row | None:
        newest: Row | None = None
        after = seq - 1
        while rows := await self._page(block_id, after):
            newest, after = rows[-1], rows[-1].seq
            if len(rows) < PAGE:
                break
        return newest

    async def _page(self, block_id: str, after: int) -> tuple[Row, ...]:
        return await self._store.read(kinds.block_stream(block_id), after=max(after, 0), limit=PAGE)


def no_block(block_id: str) -> BlockNotFound:
    """The error for a block that is not there."""
    return BlockNotFound(f"there is no block {block_id!r}", block_id=block_id)
