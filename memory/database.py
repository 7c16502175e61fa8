"""A database: one folder of this machine that holds everything. Opening it is refused before anything is changed.

::

    database.json        id and format version; written last when the database is made
    lock                 who has it open
    journal.tail.000001  the newest commits, see `memory.tail`
    journal_000001.lance the journal, see `memory.chain`; projections lie beside it
    checkpoint           a cache, see `memory.checkpoint`
    damage.json          what was ever found damaged; missing as long as nothing was
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from repertory.errors import StorageError
from repertory.ids import IdSource
from repertory.memory.disk import LocalDisk
from repertory.memory.durable import DurableStore
from repertory.memory.lock import DatabaseLock
from repertory.memory.tuning import Tuning


class Database:
    """An open database: its lock, its files, its store."""

    def __init__(self, folder: Path, lock: DatabaseLock, disk: LocalDisk, tables: Any) -> None:
        """Use `open` instead."""
        self.folder = folder
        self._lock = lock
        self._disk = disk
        self._tables = tables
        self.store: DurableStore

    @classmethod
    async def open(cls, folder: Path, *, ids: IdSource, now: Callable[[], float], ray_address: str = "",
                   tuning: Tuning | None = None, **listeners: Any) -> Database:
        """Open the database in `folder`, or make one there. `listeners`: see `DurableStore.open`.

        Raises DatabaseLocked, DatabaseDamaged, StorageFull, or StorageError for a folder that cannot be one.
        """
        from repertory.memory.lancetables import LanceTables  # lancedb costs a process 57 MB: only where it is needed

        prepare(folder)
        lock = DatabaseLock.take(folder, now=now(), ray_address=ray_address)
        database = cls(folder, lock, LocalDisk(folder), LanceTables(folder))
        try:
            database.store = await DurableStore.open(
                database._disk, database._tables, new_id=lambda: ids.new("db"), now=now, tuning=tuning, **listeners)
        except BaseException:
            database._let_go()
            raise
        return database

    async def close(self) -> None:
        """Close the store and give up the lock."""
        try:
            await self.store.close()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        self._tables.close()
        self._disk.close()
        self._lock.release()


def prepare(folder: Path) -> None:
    """Make the folder if need be. Raises StorageError when it is a file, or cannot be written."""
    if folder.exists() and not folder.is_dir():
        raise StorageError(f"{folder} is a file: a database is a folder, give another path", path=str(folder))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"the folder {folder} cannot be made: {error.strerror}", path=str(folder)) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StorageError(f"the folder {folder} cannot be written: change its permissions", path=str(folder))
