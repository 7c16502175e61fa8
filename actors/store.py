"""The store's process: it claims the database, opens the journal, feeds the projections, signals the directory."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from repertory.actors.shell import RayRef
from repertory.errors import DatabaseLocked, StorageError
from repertory.memory.disk import LocalDisk
from repertory.memory.durable import DurableStore
from repertory.memory.embeddings import embedder_named
from repertory.memory.lancetables import LanceTables
from repertory.memory.lock import DatabaseLock
from repertory.memory.projections import FOLDER, Projections
from repertory.memory.projector import Projector

#: seconds in which a store that is about to end (its raylet was killed) may still hold the database
DYING_S = 15.0
#: seconds between two tries to take the lock
TRY_S = 0.1


class StoreActor:
    """The durable store, and beside it what carries its rows into the projections. Satisfies `journal.Store`."""

    def __init__(self, store: DurableStore, projector: Projector) -> None:
        """`projector` must have been started."""
        self._store = store
        self._projector = projector
        # these calls go straight to the store
        self.commit, self.lookup, self.read = store.commit, store.lookup, store.read
        self.load, self.ask = store.load, store.ask

    async def close(self) -> None:
        """End in good order."""
        await self._projector.stop()
        await self._store.close()


async def make_store(database: str, database_id: str, directory: RayRef, ray_address: str, embedder: str
                     ) -> StoreActor:
    """Open the database in that folder; a new one gets `database_id`. `embedder`: its name in the settings.

    Raises DatabaseLocked, DatabaseDamaged, StorageFull.
    """
    folder = Path(database)
    lock = await _taken(folder, ray_address)
    try:
        store = await DurableStore.open(
            LocalDisk(folder), LanceTables(folder), new_id=lambda: database_id, now=time.time,
            on_inbox=lambda agent_id: directory.tell("wake", agent_id), on_stop=_end,
        )
    except StorageError:
        lock.release()
        raise
    vectors = embedder_named(embedder)
    tables = Projections(folder / FOLDER, database_id=store.database_id, embedder=vectors.name if vectors else "",
                         vector_size=vectors.size if vectors else 0)
    projector = Projector(tables, store, embedder=vectors)
    projector.start()
    return StoreActor(store, projector)


async def _taken(folder: Path, ray_address: str) -> DatabaseLock:
    deadline = asyncio.get_running_loop().time() + DYING_S
    while True:
        try:
            return DatabaseLock.take(folder, now=time.time(), ray_address=ray_address)
        except DatabaseLocked:
            if asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(TRY_S)


def _end(error: StorageError) -> None:
    """After a failed sync nobody knows what is on the disk but a process that opens it anew: Ray starts one."""
    os._exit(1)
