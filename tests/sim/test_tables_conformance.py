"""The simulated Lance tables and the real ones pass the same suite, damage included, so that they cannot drift."""

import asyncio
import random

import pytest
from simulator.clock import VirtualLoop
from simulator.disk import Crash, SimDisk
from simulator.tables import SimTables
from simulator.trace import Trace

from repertory.memory.journal import Row
from repertory.memory.lancetables import LanceTables
from repertory.memory.records import intact, sealed
from repertory.memory.tables import TableUnreadable

pytestmark = pytest.mark.timeout(600)


def record(seq):
    return sealed(Row(seq=seq, stream=f"agent:{seq % 2}", kind="step", author="agent:a", epoch=1, op_id=f"o{seq}",
                      at=1.5, data={"n": seq, "text": "x" * 40}))


class Simulated:
    """Tables of the simulator, and how a loss of power may damage them."""

    def __init__(self, folder):
        self.loop = VirtualLoop(random.Random(1))
        trace = Trace(self.loop.time)
        self.tables = SimTables(random.Random(2), trace, SimDisk(random.Random(3), trace, Crash(print)), self.loop.time)

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def cut_manifest(self, name):
        self.tables.stored[name].versions[-1].damage = "cut"

    def zero_manifest(self, name):
        self.tables.stored[name].versions[-1].damage = "zeroed"

    def lose_newest_data_file(self, name):
        self.tables.stored[name].versions[-1].fragments[-1].missing = True

    def forget_old_versions(self, name):
        del self.tables.stored[name].versions[:-2]

    def close(self):
        self.loop.dig_out()
        self.loop.close()


class Real:
    """Tables of LanceDB in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.tables = LanceTables(folder)
        self.runner = asyncio.Runner()

    def run(self, coroutine):
        return self.runner.run(coroutine)

    def _manifests(self, name):
        return sorted((self.folder / f"{name}.lance" / "_versions").glob("*.manifest"))

    def cut_manifest(self, name):
        newest = self._manifests(name)[0]
        raw = newest.read_bytes()
        newest.write_bytes(raw[: len(raw) // 2])

    def zero_manifest(self, name):
        newest = self._manifests(name)[0]
        newest.write_bytes(bytes(newest.stat().st_size))

    def lose_newest_data_file(self, name):
        files = (self.folder / f"{name}.lance" / "data").iterdir()
        max(files, key=lambda file: file.stat().st_mtime_ns).unlink()

    def forget_old_versions(self, name):
        for manifest in self._manifests(name)[2:]:
            manifest.unlink()

    def close(self):
        self.tables.close()
        self.runner.close()


@pytest.fixture(params=[Simulated, Real])
def place(request, tmp_path):
    place = request.param(tmp_path)
    yield place
    place.close()


async def filled(tables, *batches):
    table = await tables.create("t")
    for batch in batches:
        await table.append([record(seq) for seq in batch])
    return table


def seqs(records):
    assert all(map(intact, records))
    return [found.seq for found in records]


def test_records_come_back_as_they_were_appended(place):
    async def main():
        table = await filled(place.tables, [1, 2], [3], [4, 5])
        assert (table.count, await place.tables.names()) == (5, ["t"])
        again = await place.tables.open("t")
        assert (again.count, again.version) == (5, table.version)
        assert await again.read(0, 100) == [record(seq) for seq in range(1, 6)]
        assert seqs(await again.read(1, 3)) == [2, 3]
        assert seqs(await again.take([4, 0, 2])) == [5, 1, 3]

    place.run(main())


def test_each_append_is_a_new_version_and_older_ones_can_be_looked_at(place):
    async def main():
        table = await filled(place.tables, [1], [2])
        versions = await place.tables.versions("t")
        assert versions == sorted(versions, reverse=True)
        assert versions[0] == table.version
        older = await place.tables.open("t", version=versions[1])
        assert seqs(await older.read(0, 10)) == [1]

    place.run(main())


def test_records_are_found_by_each_column_that_the_store_asks_for(place):
    async def main():
        table = await filled(place.tables, [1, 2, 3, 4, 5])
        assert seqs(await table.find("stream", "agent:1")) == [1, 3, 5]
        assert seqs(await table.find("stream", "agent:1", after=1, limit=1)) == [3]
        assert seqs(await table.find("op_id", "o4")) == [4]
        assert seqs(await table.find("seq", 2)) == [2]
        assert await table.find("op_id", "nobody's") == []

    place.run(main())


def test_compaction_and_sync_change_nothing_that_can_be_read(place):
    async def main():
        table = await filled(place.tables, [1, 2], [3], [4])
        await table.compact()
        await table.sync()
        assert seqs(await table.read(0, 10)) == [1, 2, 3, 4]
        await table.append([record(5)])
        await table.compact(close=True)
        again = await place.tables.open("t")
        assert (again.count, seqs(await again.read(0, 10))) == (5, [1, 2, 3, 4, 5])

    place.run(main())


def test_a_cut_manifest_cannot_be_opened_and_the_version_before_it_can(place):
    async def main():
        await filled(place.tables, [1], [2])
        place.cut_manifest("t")
        with pytest.raises(TableUnreadable):
            await place.tables.open("t")
        assert await place.tables.set_aside("t")
        assert seqs(await (await place.tables.open("t")).read(0, 10)) == [1]

    place.run(main())


def test_a_zeroed_manifest_opens_as_version_0_without_any_error(place):
    async def main():
        await filled(place.tables, [1], [2])
        before = await place.tables.versions("t")
        place.zero_manifest("t")
        table = await place.tables.open("t")
        assert (table.version, table.count) == (0, 0)
        assert await place.tables.versions("t") == before
        assert await place.tables.set_aside("t")
        assert (await place.tables.open("t")).version == before[1]

    place.run(main())


def test_a_lost_data_file_keeps_only_its_own_records_from_being_read(place):
    async def main():
        await filled(place.tables, [1, 2], [3])
        place.lose_newest_data_file("t")
        table = await place.tables.open("t")
        assert table.count == 3
        assert seqs(await table.read(0, 2)) == [1, 2]
        with pytest.raises(TableUnreadable):
            await table.read(2, 3)

    place.run(main())


def test_a_version_that_is_gone_is_not_found(place):
    async def main():
        await filled(place.tables, [1], [2], [3])
        oldest = (await place.tables.versions("t"))[-1]
        place.forget_old_versions("t")
        with pytest.raises(TableUnreadable):
            await place.tables.open("t", version=oldest)

    place.run(main())


def test_when_the_last_version_is_set_aside_none_is_left(place):
    async def main():
        await place.tables.create("t")
        assert not await place.tables.set_aside("t")
        assert await place.tables.versions("t") == []
        assert await place.tables.names() == ["t"]
        with pytest.raises(TableUnreadable):
            await place.tables.open("t")

    place.run(main())
