"""The durable store when the disk is slow, full, failing or was left in the middle of something."""

from __future__ import annotations

import asyncio
import errno
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from store_conformance import claim, create, live, message, note, step, wait

from repertory.errors import (
    DatabaseDamaged,
    OpConflict,
    OutcomeUnknown,
    StorageError,
    StorageFull,
    WaitCycle,
    WriteFailed,
)
from repertory.memory import index as index_module
from repertory.memory.checkpoint import CHECKPOINT_FILE, pack_index, packed, unpack_index, unpacked
from repertory.memory.damage import Damage, known_losses
from repertory.memory.disk import LocalDisk
from repertory.memory.durable import DurableStore
from repertory.memory.index import JournalIndex
from repertory.memory.lancetables import LanceTables
from repertory.memory.opfilter import OpFilter
from repertory.memory.tuning import Tuning
from repertory.memory.volatile import VolatileStore

DEADLINE_S = 60
#: nothing happens in the background
STILL = Tuning(move_after_s=3_600, move_rows=1_000_000, idle_s=3_600)
#: what happens in the background happens at once
EAGER = Tuning(move_rows=1, move_after_s=0.0, tail_bytes=1_500, segment_bytes=20_000, compact_appends=4, idle_s=0.01,
               keep_s=0.0, checkpoint_rows=10, cache_bytes=0, retry_s=0.01)


class WeakDisk(LocalDisk):
    """Syncs when it may, has as much room as it is given, and fails when it is told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.may_sync = asyncio.Event()
        self.may_sync.set()
        self.room: int | None = None
        self.fail_append: OSError | None = None
        self.torn_bytes: int | None = 7
        self.fail_sync: OSError | None = None

    async def append(self, name: str, data: bytes) -> None:
        if self.fail_append is not None:
            error, self.fail_append = self.fail_append, None
            await super().append(name, data[:self.torn_bytes])
            raise error
        await super().append(name, data)

    async def sync(self, name: str) -> None:
        await self.may_sync.wait()
        if self.fail_sync is not None:
            raise self.fail_sync
        await super().sync(name)

    async def free_bytes(self) -> int:
        return await super().free_bytes() if self.room is None else self.room


class Bench:
    """Opens stores in one folder, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.woken: list[str] = []
        self.stops: list[StorageError] = []
        self._open: list[tuple[DurableStore, WeakDisk, LanceTables]] = []
        self._ticks = itertools.count(1)

    async def open(self, tuning: Tuning = STILL) -> tuple[DurableStore, WeakDisk]:
        disk, tables = WeakDisk(self.folder), LanceTables(self.folder)
        store = await DurableStore.open(
            disk, tables, new_id=lambda: "db-1", now=lambda: float(next(self._ticks)), tuning=tuning,
            on_inbox=self.woken.append, on_stop=self.stops.append)
        self._open.append((store, disk, tables))
        return store, disk

    async def close(self) -> None:
        while self._open:
            store, disk, tables = self._open.pop()
            disk.may_sync.set()
            await store.close()
            tables.close()
            disk.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    async with asyncio.timeout(4 * DEADLINE_S):
        yield bench
        await bench.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.005)


async def everything(store: DurableStore) -> list[Any]:
    rows: list[Any] = []
    while more := await store.since(rows[-1].seq if rows else 0, limit=50):
        rows += more
    return rows


@pytest.mark.parametrize("tuning", [STILL, EAGER], ids=["still", "eager"])
async def test_a_reopened_store_knows_all_that_it_knew(bench: Bench, tuning: Tuning) -> None:
    store, _ = await bench.open(tuning)
    await create(store, "a", "b")
    epochs = {x: (await claim(store, f"agent:{x}")).epoch for x in "ab"}
    for number in range(30):
        await store.commit(note("a", f"n{number}", epochs["a"], "x" * 100))
    posted = await store.commit(message("b", "m"))
    await store.commit(step("b", "s", epochs["b"], run_id="run-m", consumed=[posted.first]))
    await store.commit(wait("a", "w", epochs["a"], "b"))
    before, loaded = await everything(store), await store.load("a")
    await bench.close()
    store, _ = await bench.open(tuning)
    assert store.damage == []
    assert await everything(store) == before
    assert [row.seq for row in before] == list(range(1, len(before) + 1))
    assert await store.load("a") == loaded
    assert (await store.commit(message("b", "m"))).replayed
    assert (await store.ask("run", run_id="run-m"))["status"] == "completed"
    with pytest.raises(WaitCycle):
        await store.commit(wait("b", "w2", epochs["b"], "a"))
    assert (await store.commit(note("a", "next", epochs["a"]))).first == len(before) + 1


async def test_nobody_sees_a_row_before_it_is_synced(bench: Bench) -> None:
    store, disk = await bench.open()
    epoch = await live(store)
    disk.may_sync.clear()
    calls = [asyncio.create_task(call) for call in (
        store.commit(message("a", "m")), store.read("inbox:a"), store.lookup("m"), store.load("a"),
        store.ask("attention", now=0.0), store.since(3))]
    refused = asyncio.create_task(store.commit(note("a", "stale", epoch, expect=99)))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not any(task.done() for task in [*calls, refused])
    assert bench.woken == []
    disk.may_sync.set()
    done, read, looked_up, loaded, attention, since = await asyncio.gather(*calls)
    assert read == looked_up == loaded.inbox == since
    assert attention == ["a"]
    assert bench.woken == ["a"]
    assert done.first == 4
    with pytest.raises(Exception, match="stands at"):
        await refused


async def test_the_receiver_is_woken_although_the_sender_was_cancelled(bench: Bench) -> None:
    store, disk = await bench.open()
    await live(store)
    disk.may_sync.clear()
    sender = asyncio.create_task(store.commit(message("a", "m")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    sender.cancel()
    disk.may_sync.set()
    assert len(await store.read("inbox:a")) == 1
    assert bench.woken == ["a"]


async def test_a_write_that_failed_is_not_there_and_says_so(bench: Bench) -> None:
    store, disk = await bench.open()
    epoch = await live(store)
    disk.fail_append = OSError(errno.EIO, "Input/output error")
    with pytest.raises(WriteFailed):
        await store.commit(note("a", "n", epoch))
    assert await store.lookup("n") == ()
    assert (await store.commit(note("a", "n", epoch))).first == 4
    assert bench.stops == []
    await bench.close()
    store, _ = await bench.open()
    assert [row.seq for row in await everything(store)] == [1, 2, 3, 4]
    assert store.damage == []


async def test_a_write_that_failed_but_is_there_is_acknowledged(bench: Bench) -> None:
    store, disk = await bench.open()
    epoch = await live(store)
    disk.fail_append, disk.torn_bytes = OSError(errno.EIO, "Input/output error"), None
    done = await store.commit(note("a", "n", epoch))
    assert (done.first, done.replayed) == (4, False)
    assert len(await store.lookup("n")) == 1


async def test_of_a_torn_batch_each_caller_hears_what_is_there(bench: Bench) -> None:
    store, disk = await bench.open()
    epoch = await live(store)
    disk.may_sync.clear()
    first = asyncio.create_task(store.commit(note("a", "first", epoch)))
    for _ in range(5):
        await asyncio.sleep(0)
    late = [asyncio.create_task(store.commit(note("a", f"n{i}", epoch, "x" * 200))) for i in range(4)]
    for _ in range(5):
        await asyncio.sleep(0)
    disk.fail_append, disk.torn_bytes = OSError(errno.EIO, "Input/output error"), 700
    disk.may_sync.set()
    await first
    results = await asyncio.gather(*late, return_exceptions=True)
    there = [bool(await store.lookup(f"n{i}")) for i in range(4)]
    assert there == [not isinstance(result, WriteFailed) for result in results]
    assert True in there
    assert False in there
    rows = await everything(store)
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))


async def test_after_a_failed_sync_nothing_is_claimed_and_the_store_stops(bench: Bench) -> None:
    store, disk = await bench.open()
    epoch = await live(store)
    disk.fail_sync = OSError(errno.EIO, "Input/output error")
    with pytest.raises(OutcomeUnknown):
        await store.commit(note("a", "n", epoch))
    assert len(bench.stops) == 1
    with pytest.raises(WriteFailed):
        await store.commit(note("a", "n2", epoch))
    with pytest.raises(WriteFailed):
        await store.load("a")


async def test_what_a_failed_sync_may_have_lost_is_written_again_by_the_next_store(bench: Bench) -> None:
    store, disk = await bench.open()
    epoch = await live(store)
    disk.fail_sync = OSError(errno.EIO, "Input/output error")
    with pytest.raises(OutcomeUnknown):
        await store.commit(note("a", "n", epoch))
    old = {name for name in await disk.sizes() if name.startswith("journal.tail")}
    store, disk = await bench.open()
    new = {name for name in await disk.sizes() if name.startswith("journal.tail")}
    assert not old & new, "a later sync of the old file proves nothing"
    assert (await store.commit(note("a", "n", epoch))).first == 4
    assert [row.seq for row in await everything(store)] == [1, 2, 3, 4]


async def test_a_disk_without_any_room_is_not_opened_and_nothing_is_lost(bench: Bench) -> None:
    store, _ = await bench.open()
    epoch = await live(store)
    await store.commit(note("a", "n", epoch))
    await bench.close()
    disk, tables = WeakDisk(bench.folder), LanceTables(bench.folder)
    disk.fail_append = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StorageFull):
        await DurableStore.open(disk, tables, new_id=lambda: "db-2", now=lambda: 1.0, tuning=STILL)
    tables.close()
    disk.close()
    store, _ = await bench.open()
    assert len((await store.load("a")).events) == 2
    assert store.damage == []


async def test_a_full_disk_refuses_writes_and_stays_readable(bench: Bench) -> None:
    store, disk = await bench.open()
    epoch = await live(store)
    await store.commit(note("a", "before", epoch))
    disk.room = STILL.reserve_bytes - 1
    with pytest.raises(StorageFull):
        await store.commit(note("a", "n", epoch))
    assert (await store.commit(note("a", "before", epoch))).replayed
    assert len((await store.load("a")).events) == 2
    assert await store.lookup("n") == ()
    disk.room = STILL.reserve_bytes
    await store.commit(note("a", "n", epoch))


async def test_a_disk_that_fills_in_the_middle_of_a_write_refuses_it(bench: Bench) -> None:
    store, disk = await bench.open()
    epoch = await live(store)
    disk.fail_append = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StorageFull):
        await store.commit(note("a", "n", epoch))
    assert len((await store.load("a")).events) == 1
    await store.commit(note("a", "n", epoch))


async def test_op_ids_that_the_index_forgot_are_found_in_the_journal(
        bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "REMEMBERED", 3)
    store, _ = await bench.open(EAGER)
    epoch = await live(store)
    first = await store.commit(note("a", "old", epoch, "x"))
    for number in range(10):
        await store.commit(note("a", f"n{number}", epoch))
    for _ in range(2):
        again = await store.commit(note("a", "old", epoch, "x"))
        assert (again.first, again.replayed) == (first.first, True)
        assert [row.seq for row in await store.lookup("old")] == [first.first]
        with pytest.raises(OpConflict):
            await store.commit(note("a", "old", epoch, "y"))
        await bench.close()
        store, _ = await bench.open(EAGER)


async def test_the_tail_is_trimmed_and_the_tables_closed_as_rows_move_on(bench: Bench) -> None:
    store, disk = await bench.open(EAGER)
    epoch = await live(store)
    for number in range(120):
        await store.commit(note("a", f"n{number}", epoch, "x" * 300))

    async def tidy() -> bool:
        files = [name for name in await disk.sizes() if name.startswith("journal.tail")]
        return len(files) <= 6 and len(list(bench.folder.glob("journal_*.lance"))) > 2

    await until(tidy)
    assert len(await everything(store)) == 123
    assert [row.data["text"] for row in await store.read("agent:a", after=100, limit=5)] == ["x" * 300] * 5
    assert (await store.load("a")).events[-1].seq == 123


def _delete(data: Path) -> None:
    data.unlink()


def _change_a_byte(data: Path) -> None:
    raw = data.read_bytes()
    assert raw.count(b"this is note 7.") == 1
    data.write_bytes(raw.replace(b"this is note 7.", b"this is note 8."))


@pytest.mark.parametrize("damage", [_delete, _change_a_byte])
async def test_rows_that_reading_finds_damaged_are_left_out_and_reported_one_by_one(
        bench: Bench, damage: Callable[[Path], None]) -> None:
    store, _ = await bench.open(EAGER)
    epoch = await live(store)
    for number in range(150):
        await store.commit(note("a", f"n{number}", epoch, f"this is note {number}." + "x" * 500))
    await until(lambda: _tables(bench.folder, 5))
    before = await everything(store)
    await bench.close()
    store, disk = await bench.open()
    assert store.damage == []
    data = (bench.folder / "journal_000001.lance" / "data").glob("*.lance")
    damage(max(data, key=lambda path: path.stat().st_size))

    there = {row.seq for row in await everything(store)}
    lost = {row.seq for row in before} - there
    assert len(lost) in (range(2, 100) if damage is _delete else [1])
    kept = [Damage(**{key: value for key, value in one.items() if key != "at"}) for one in await known_losses(disk)]
    for report in (store.damage, kept):
        assert {seq for one in report for seq in range(one.first, one.last + 1)} == lost
        assert {one.kind for one in report} == {"unreadable"}
    mine = await store.read("agent:a", limit=1_000)
    assert mine == tuple(row for row in before if row.stream == "agent:a" and row.seq not in lost)
    with pytest.raises(DatabaseDamaged, match=f"row {min(lost)} "):
        await store.lookup(next(row.op_id for row in before if row.seq in lost))
    assert len(store.damage) == len(kept)


async def _tables(folder: Path, count: int) -> bool:
    return len(list(folder.glob("journal_*.lance"))) >= count


async def test_a_checkpoint_spares_the_journal_and_is_not_needed(bench: Bench) -> None:
    store, disk = await bench.open()
    epoch = await live(store)
    for number in range(20):
        await store.commit(note("a", f"n{number}", epoch))
    loaded = await store.load("a")
    await bench.close()
    assert CHECKPOINT_FILE in await disk.sizes()
    (bench.folder / CHECKPOINT_FILE).write_bytes(b"rubbish")
    store, _ = await bench.open()
    assert await store.load("a") == loaded
    assert store.damage == []


async def test_an_index_comes_back_from_its_checkpoint_field_by_field() -> None:
    store = VolatileStore()
    await create(store, "a", "b")
    epochs = {name: (await claim(store, f"agent:{name}")).epoch for name in "ab"}
    one = await store.commit(message("a", "m1"))
    await store.commit(message("b", "m2"))
    await store.commit(step("a", "s", epochs["a"], run_id="run-m1", consumed=[one.first], status="running"))
    await store.commit(wait("a", "w", epochs["a"], "b"))
    index = store.index
    used = OpFilter()
    used.add("m1")
    found = unpacked(packed(index, used, database_id="db-1"), database_id="db-1")
    assert found is not None
    assert pack_index(found[0]) == pack_index(index)
    assert {key: value for key, value in vars(found[0]).items() if key not in ("waits", "_reserved")} == {
        key: value for key, value in vars(index).items() if key not in ("waits", "_reserved")}
    assert found[0].waits.edges() == index.waits.edges()
    assert "m1" in found[1]
    assert "m2" not in found[1]
    assert unpacked(packed(index, used, database_id="db-2"), database_id="db-1") is None
    assert vars(unpack_index(pack_index(JournalIndex()))).keys() == vars(JournalIndex()).keys()
