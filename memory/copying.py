"""A whole journal written into a new folder: for backups, restored databases and upgrades.

It is not the files that are copied but the rows, each checked on its way. So a copy can be taken while the database is
written, and is compact, and nothing that is damaged is handed on.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from repertory.memory.chain import Chain
from repertory.memory.disk import LocalDisk
from repertory.memory.durable import DurableStore
from repertory.memory.journal import FORMAT
from repertory.memory.records import Record
from repertory.memory.recovery import IDENTITY_FILE
from repertory.memory.segments import size_of
from repertory.memory.tuning import Tuning

#: what one append takes, in rows and bytes
_ROWS, _BYTES = 4_096, 4 << 20


async def write_database(folder: Path, records: AsyncIterator[Record], *, database_id: str, at: float,
                         on_rows: Callable[[int], None], notes: dict[str, Any]) -> int:
    """Make a database of these rows in `folder`, which must exist and be empty. Imports lancedb.

    Args:
        folder: where.
        records: all rows, in order; gaps stay gaps.
        database_id: its id.
        at: seconds since 1970.
        on_rows: told of the seq up to which it is written.
        notes: what else `database.json` is to say.

    Returns:
        How many rows it has.

    Raises:
        OSError: the disk refused.
        TableUnreadable: what was written reads back wrong.
    """
    from repertory.memory.lancetables import LanceTables  # 57 MB: only where tables are written

    disk, tables, tuning = LocalDisk(folder), LanceTables(folder), Tuning()
    try:
        chain, count = Chain(tables, [], tuning), 0
        async for batch in _batches(records):
            await chain.append(batch)
            count += len(batch)
            if chain.full:
                await chain.close()
            on_rows(batch[-1].seq)
        if not chain.segments:
            await chain.begin(1)
        await chain.compact()
        await chain.finish()
        identity = {**notes, "id": database_id, "format": FORMAT, "created_at": at}
        await disk.replace(IDENTITY_FILE, json.dumps(identity).encode())
        # opened once it has a checkpoint, and it is known that it can be opened
        store = await DurableStore.open(disk, tables, new_id=lambda: database_id, now=lambda: at, tuning=tuning)
        await store.close()
        return count
    finally:
        tables.close()
        disk.close()


async def _batches(records: AsyncIterator[Record]) -> AsyncIterator[list[Record]]:
    """Runs of rows without a gap in them."""
    batch: list[Record] = []
    size = 0
    async for record in records:
        if batch and (record.seq != batch[-1].seq + 1 or len(batch) == _ROWS or size > _BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += size_of([record])
    if batch:
        yield batch
