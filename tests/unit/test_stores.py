"""Every store passes one suite."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from simulator.disk import Crash, SimDisk
from simulator.tables import SimTables
from simulator.trace import Trace
from store_conformance import StoreConformance

from repertory.ids import IdSource
from repertory.memory.database import Database
from repertory.memory.durable import DurableStore
from repertory.memory.journal import Store
from repertory.memory.tuning import Tuning
from repertory.memory.volatile import VolatileStore

#: everything happens at once: each commit is moved to a table, and little is kept in memory
EAGER = Tuning(move_rows=1, move_after_s=0.0, tail_bytes=2_000, segment_bytes=6_000, compact_appends=4, idle_s=0.0,
               keep_s=0.0, checkpoint_rows=10, cache_bytes=0, reserve_bytes=0)


@pytest.fixture
def woken() -> list[str]:
    return []


class TestVolatileStore(StoreConformance):
    @pytest.fixture
    def store(self, woken: list[str]) -> Store:
        ticks = itertools.count(1)
        return VolatileStore(now=lambda: float(next(ticks)), on_inbox=woken.append)


class TestDurableStore(StoreConformance):
    @pytest.fixture(params=[Tuning(), EAGER], ids=["lazy", "eager"])
    async def store(self, tmp_path: Path, woken: list[str], request: pytest.FixtureRequest) -> AsyncIterator[Store]:
        ticks = itertools.count(1)
        database = await Database.open(tmp_path, ids=IdSource(1), now=lambda: float(next(ticks)),
                                       on_inbox=woken.append, tuning=request.param)
        yield database.store
        await database.close()


class TestDurableStoreOnASimulatedDisk(StoreConformance):
    @pytest.fixture
    async def store(self, woken: list[str]) -> AsyncIterator[Store]:
        loop = asyncio.get_running_loop()
        trace = Trace(loop.time, whole=False)
        disk = SimDisk(random.Random(1), trace, Crash(lambda: None))
        tables = SimTables(random.Random(2), trace, disk, loop.time)
        ticks = itertools.count(1)
        store = await DurableStore.open(disk, tables, new_id=lambda: "db-1", now=lambda: float(next(ticks)),
                                        on_inbox=woken.append, tuning=EAGER)
        yield store
        await store.close()
