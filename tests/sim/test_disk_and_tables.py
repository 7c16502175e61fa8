"""The simulated disk and tables fail as real ones do, and keep what they promised to keep."""

import asyncio
import random

import pytest
from simulator.clock import VirtualLoop
from simulator.disk import Crash, SimDisk, Wear
from simulator.tables import SimTables
from simulator.trace import Trace

from repertory.memory.journal import Row
from repertory.memory.records import intact, sealed
from repertory.memory.tables import TableUnreadable


class Machine:
    def __init__(self, seed=1, wear=None):
        self.loop = VirtualLoop(random.Random(f"{seed}/clock"))
        self.trace = Trace(self.loop.time, whole=True)
        self.struck = []
        self.crash = Crash(self.struck.append)
        self.disk = SimDisk(random.Random(f"{seed}/disk"), self.trace, self.crash, wear)
        self.tables = SimTables(random.Random(f"{seed}/tables"), self.trace, self.disk, self.loop.time)

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def until_crash(self, coroutine, at):
        async def main():
            self.crash.countdown = at
            task = asyncio.create_task(coroutine)
            await asyncio.sleep(100)
            return task

        task = self.run(main())
        self.crash.countdown = None
        return task.done()


def record(seq):
    return sealed(Row(seq=seq, stream="agent:a", kind="step", author="agent:a", epoch=1, op_id=f"o{seq}", at=1.0,
                      data={"n": seq}))


def test_synced_bytes_survive_a_loss_of_power_and_unsynced_ones_may_not():
    seen = set()
    for seed in range(60):
        machine = Machine(seed)

        async def main(machine=machine):
            await machine.disk.append("f", b"synced")
            await machine.disk.sync("f")
            await machine.disk.append("f", b"-unsynced")
            machine.disk.lose_power()
            return await machine.disk.read("f")

        content = machine.run(main())
        assert content.startswith(b"synced")
        seen.add(content)
    assert b"synced" in seen
    assert b"synced-unsynced" in seen
    assert len(seen) > 5


def test_bytes_whose_sync_failed_are_not_saved_by_a_later_sync_that_succeeds():
    lost = 0
    for seed in range(40):
        machine = Machine(seed)

        async def main(machine=machine):
            await machine.disk.append("f", b"first.")
            machine.disk.wear = Wear(sync_error=1.0)
            with pytest.raises(OSError, match="Input/output"):
                await machine.disk.sync("f")
            machine.disk.wear = Wear()
            await machine.disk.append("f", b"second")
            await machine.disk.sync("f")
            assert await machine.disk.read("f") == b"first.second"
            machine.disk.lose_power()
            return await machine.disk.read("f")

        lost += machine.run(main()) != b"first.second"
    assert lost > 10


def test_a_replaced_file_is_old_or_new_wherever_the_crash_strikes():
    for at in range(1, 5):
        machine = Machine(at)
        machine.run(machine.disk.replace("f", b"old"))
        finished = machine.until_crash(machine.disk.replace("f", b"new"), at)
        machine.disk.lose_power()
        content = machine.run(machine.disk.read("f"))
        assert content in (b"old", b"new")
        assert content == b"new" or not finished


def test_a_full_disk_refuses_and_says_so():
    machine = Machine()
    machine.disk.capacity_bytes = 10

    async def main():
        await machine.disk.append("f", b"12345678")
        assert await machine.disk.free_bytes() == 2
        with pytest.raises(OSError, match="No space"):
            await machine.disk.append("f", b"12345678")

    machine.run(main())


def test_a_synced_version_of_a_table_survives_and_an_unsynced_one_may_be_damaged_in_every_way_that_was_measured():
    for seed in range(100):
        machine = Machine(seed)

        async def main(machine=machine):
            table = await machine.tables.create("t")
            await table.append([record(1), record(2)])
            await table.sync()
            await table.append([record(3)])
            machine.tables.lose_power()
            while True:
                try:
                    table = await machine.tables.open("t")
                    rows = await table.read(0, 100)
                    if table.version and all(map(intact, rows)):
                        return [row.seq for row in rows]
                except TableUnreadable:
                    pass
                assert await machine.tables.set_aside("t")

        assert machine.run(main()) in ([1, 2], [1, 2, 3])
        machine.loop.close()


def test_a_version_that_was_cleaned_away_is_not_found_for_whoever_still_reads_it():
    machine = Machine()

    async def main():
        table = await machine.tables.create("t")
        await table.append([record(1)])
        reader = await machine.tables.open("t")
        for seq in range(2, 6):
            await table.append([record(seq)])
        await asyncio.sleep(700)
        await table.compact()
        await table.clean(keep_s=600)
        with pytest.raises(TableUnreadable, match="Not found"):
            await reader.read(0, 10)
        assert [row.seq for row in await (await machine.tables.open("t")).read(1, 3)] == [2, 3]

    machine.run(main())
