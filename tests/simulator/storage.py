"""The store's process in a simulated world: the durable store on the simulated disk, or the one in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from repertory.errors import StorageError, WaitCycle
from repertory.memory.durable import DurableStore
from repertory.memory.journal import Commit, Committed
from repertory.memory.tuning import Tuning
from repertory.memory.volatile import VolatileStore

from .processes import Process

if TYPE_CHECKING:
    from .world import World

#: everything that happens once in many rows happens often in a small world
SMALL = Tuning(
    move_rows=12, move_after_s=0.7, tail_bytes=6_000, segment_bytes=40_000, compact_appends=4, idle_s=3.0, keep_s=20.0,
    reserve_bytes=4_096, checkpoint_rows=60, cache_bytes=30_000, backlog_bytes=400_000, retry_s=0.5,
)


class Storage:
    """Opens the store, loses its power, and tells the auditor what it acknowledges."""

    def __init__(self, world: World) -> None:
        self._world = world
        # a store in memory that outlives its process: one whose disk never fails
        self._perfect = VolatileStore(now=world.now, on_inbox=self._wake)

    async def build(self, process: Process) -> Mapping[str, Any]:
        """The actors of the store's process."""
        if not self._world.plan.durable:
            return {"store": Watched(self._perfect, self._world)}
        ids = self._world.ids(process)

        def stop(error: StorageError) -> None:
            self._world.loop.call_later(0.01, self._world.cluster.kill, process, f"stops itself: {error}",
                                        context=self._world.outside)

        store = await DurableStore.open(
            self._world.disk, self._world.tables, new_id=lambda: ids.new("db"), now=self._world.now, tuning=SMALL,
            on_inbox=self._wake, on_stop=stop)
        return {"store": Watched(store, self._world)}

    def lose_power(self, why: str) -> None:
        """The machine of the store goes dark: its process dies, and the disk keeps what was synced."""
        process = self._world.cluster.services["store"].process
        if process is not None:
            self._world.cluster.kill(process, f"power lost: {why}")
        if self._world.plan.durable:
            self._world.disk.lose_power()
            self._world.tables.lose_power()

    def _wake(self, agent_id: str) -> None:
        self._world.directory_ref.tell("wake", agent_id)


class Watched:
    """The store as an actor, with the auditor at its door."""

    def __init__(self, store: Any, world: World) -> None:
        self.store = store
        self._world = world
        self.lookup, self.read, self.load, self.ask = store.lookup, store.read, store.load, store.ask

    async def commit(self, commit: Commit) -> Committed:
        """See `journal.Store.commit`."""
        try:
            done: Committed = await self.store.commit(commit)
        except WaitCycle as error:
            self._world.auditor.refused(commit, error, self._last_seq())
            raise
        self._world.auditor.committed(commit, done)
        return done

    def _last_seq(self) -> int:
        if isinstance(self.store, VolatileStore):
            return self.store.index.last_seq
        return int(self.store.last_seq)
