"""Projections: taken from the journal in order, never twice, never believed when in doubt, and no burden to anybody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from diary import Diary, assistant, user

from repertory.errors import ModelError
from repertory.memory.documents import gather
from repertory.memory.embeddings import HashedWords
from repertory.memory.lanceindex import LanceIndex
from repertory.memory.projection_tables import connect
from repertory.memory.projections import FOLDER, OPTIMISE_APPENDS, STATE_FILE, Projections, read_state
from repertory.memory.projector import ENOUGH_ROWS, Projector
from repertory.memory.reader import MemoryReader
from repertory.memory.search import Query
from repertory.memory.volatile import VolatileStore

DEADLINE_S = 60.0


@pytest.fixture
def store() -> VolatileStore:
    return VolatileStore(now=lambda: 1_000.0)


def tables(folder: Path, database_id: str = "db-1", embedder: HashedWords | None = None) -> Projections:
    return Projections(folder / FOLDER, database_id=database_id, embedder=embedder.name if embedder else "",
                       vector_size=embedder.size if embedder else 0)


async def carried(folder: Path, store: VolatileStore, **wishes: Any) -> bool:
    """Carry all rows over and close; whether what was there could be used."""
    made = tables(folder, **wishes)
    usable = made.open(store.last_seq)
    made.close()
    projector = Projector(tables(folder, **wishes), store, embedder=wishes.get("embedder"))
    await projector.catch_up()
    await projector.stop()
    return usable


def rows(folder: Path, name: str = "messages") -> list[dict[str, Any]]:
    """What a table has now, by seq."""
    state = read_state(folder / FOLDER)
    assert state is not None
    table = connect(state.folder(folder / FOLDER)).open_table(name)
    return sorted(table.search().to_arrow().to_pylist(), key=lambda row: (row["seq"], row.get("part", 0)))


async def ask(reader: MemoryReader, text: str) -> list[str]:
    return [hit.document.id for hit in await reader.search(Query.of("messages", "agent-ann", text=text))]


def change_state(folder: Path, **values: Any) -> None:
    path = folder / FOLDER / STATE_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


async def test_a_running_projector_takes_what_is_committed(tmp_path: Path, store: VolatileStore) -> None:
    diary = Diary(store)
    ann = await diary.agent("ann")
    projector = Projector(tables(tmp_path), store)
    projector.start()
    for number in range(ENOUGH_ROWS):
        await diary.said(ann, user(f"m{number}", f"text {number}"))
    async with asyncio.timeout(DEADLINE_S):
        await projector.reached(store.last_seq)
        await diary.said(ann, user("last", "text"))
        await projector.reached(store.last_seq)
    await projector.stop()
    assert [row["id"] for row in rows(tmp_path)] == [*(f"m{number}" for number in range(ENOUGH_ROWS)), "last"]


async def test_rows_that_are_taken_twice_are_there_once(tmp_path: Path, store: VolatileStore) -> None:
    diary = Diary(store)
    ann, bob = await diary.agent("ann"), await diary.agent("bob")
    for agent_id in (ann, bob):
        await diary.said(agent_id, user("m1", "one"), assistant("m2", "two"))
        await diary.kept(agent_id, "p1", "a passage")
    await diary.snapshot(ann, store.last_seq)
    assert not await carried(tmp_path, store, embedder=HashedWords())
    before = {name: rows(tmp_path, name) for name in ("messages", "passages", "snapshots", "vectors")}
    assert [len(found) for found in before.values()] == [4, 2, 1, 6]
    change_state(tmp_path, watermark=0, vectors_watermark=0)  # a crash between the tables and the state file
    assert await carried(tmp_path, store, embedder=HashedWords())
    assert {name: rows(tmp_path, name) for name in before} == before


async def test_the_newest_row_about_a_message_decides(tmp_path: Path, store: VolatileStore) -> None:
    diary = Diary(store)
    ann = await diary.agent("ann")
    await diary.said(ann, user("m1", "old"), user("m2", "other"))
    await carried(tmp_path, store)
    last = await diary.said(ann, user("m1", "new"))
    await carried(tmp_path, store)
    assert [(row["id"], row["seq"], row["terms"]) for row in rows(tmp_path)][-1] == ("m1", last, "new")
    assert len(rows(tmp_path)) == 2


async def test_what_is_deleted_leaves_the_tables(tmp_path: Path, store: VolatileStore) -> None:
    diary = Diary(store)
    ann, bob = await diary.agent("ann"), await diary.agent("bob")
    for agent_id in (ann, bob):
        await diary.said(agent_id, user("m1", "one"))
        await diary.kept(agent_id, "p1", "one")
        await diary.kept(agent_id, "p2", "two")
        await diary.snapshot(agent_id, store.last_seq)
    await carried(tmp_path, store, embedder=HashedWords())
    await diary.dropped(ann, "p1")
    await diary.forget(bob)
    await carried(tmp_path, store, embedder=HashedWords())
    assert [(row["agent_id"], row["id"]) for row in rows(tmp_path)] == [(ann, "m1")]
    assert [(row["agent_id"], row["id"]) for row in rows(tmp_path, "passages")] == [(ann, "p2")]
    assert [(row["agent_id"], row["id"]) for row in rows(tmp_path, "vectors")] == [(ann, "m1"), (ann, "p2")]
    assert [row["agent_id"] for row in rows(tmp_path, "snapshots")] == [ann]


def other_boot(folder: Path) -> None:
    change_state(folder, boot="another", closed=False)


def watermark_too_high(folder: Path) -> None:
    change_state(folder, watermark=10_000)


def older_layout(folder: Path) -> None:
    change_state(folder, layout=0)


def no_state(folder: Path) -> None:
    (folder / FOLDER / STATE_FILE).unlink()


def torn_state(folder: Path) -> None:
    (folder / FOLDER / STATE_FILE).write_text('{"layout"')


def zeroed_manifest(folder: Path) -> None:
    for path in (folder / FOLDER).glob("*/passages.lance/_versions/*.manifest"):
        path.write_bytes(bytes(path.stat().st_size))


def cut_manifest(folder: Path) -> None:
    for path in (folder / FOLDER).glob("*/messages.lance/_versions/*.manifest"):
        path.write_bytes(path.read_bytes()[:20])


def lost_table(folder: Path) -> None:
    for path in (folder / FOLDER).glob("*/messages.lance/_versions/*"):
        path.unlink()


@pytest.mark.parametrize("damage", [
    other_boot, watermark_too_high, older_layout, no_state, torn_state, zeroed_manifest, cut_manifest, lost_table])
async def test_what_cannot_be_believed_is_made_anew(tmp_path: Path, store: VolatileStore,
                                                    damage: Callable[[Path], None]) -> None:
    diary = Diary(store)
    ann = await diary.agent("ann")
    await diary.said(ann, user("m1", "one"))
    await diary.kept(ann, "p1", "one")
    await carried(tmp_path, store)
    assert await carried(tmp_path, store), "what was closed is believed"
    damage(tmp_path)
    assert not await carried(tmp_path, store)
    assert [row["id"] for row in rows(tmp_path)] == ["m1"]
    assert [row["id"] for row in rows(tmp_path, "passages")] == ["p1"]
    assert len(list((tmp_path / FOLDER).glob("0*"))) == 1


async def test_tables_of_another_database_are_not_believed(tmp_path: Path, store: VolatileStore) -> None:
    ann = await Diary(store).agent("ann")
    await carried(tmp_path, store)
    other = VolatileStore()
    assert ann == await Diary(other).agent("ann")
    assert not await carried(tmp_path, other, database_id="db-2")


async def test_another_embedder_makes_the_vectors_anew_and_nothing_else(tmp_path: Path, store: VolatileStore) -> None:
    diary = Diary(store)
    ann = await diary.agent("ann")
    await diary.said(ann, user("m1", "one"))
    await carried(tmp_path, store, embedder=HashedWords(16))
    assert len(rows(tmp_path, "vectors")[0]["vector"]) == 16
    assert await carried(tmp_path, store, embedder=HashedWords(32))
    assert len(rows(tmp_path, "vectors")[0]["vector"]) == 32
    assert await carried(tmp_path, store)


async def test_words_are_searched_while_the_embedder_refuses(tmp_path: Path, store: VolatileStore) -> None:
    refused = asyncio.Event()

    class Refusing(HashedWords):
        async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
            refused.set()
            raise ModelError("no")

    diary, embedder = Diary(store), Refusing()
    ann = await diary.agent("ann")
    for number in range(ENOUGH_ROWS):
        await diary.said(ann, user(f"m{number}", f"number {number}"))
    projector = Projector(tables(tmp_path, embedder=embedder), store, embedder=embedder)
    projector.start()
    async with asyncio.timeout(DEADLINE_S):
        await refused.wait()
        await projector.reached(store.last_seq)
    state = read_state(tmp_path / FOLDER)
    assert state is not None
    assert state.vectors_watermark == 0
    await projector.stop()


async def test_many_small_batches_are_optimised_and_a_slow_reader_goes_on(tmp_path: Path, store: VolatileStore) -> None:
    diary, made = Diary(store), tables(tmp_path)
    ann = await diary.agent("ann")
    made.open(store.last_seq)
    index = LanceIndex(tmp_path)
    reader = MemoryReader(store, index)
    for number in range(OPTIMISE_APPENDS):
        await diary.said(ann, user(f"m{number}", f"number n{number}"))
        made.apply(gather(await store.since(made.state.watermark)))
        if not number:
            assert await ask(reader, "n0") == ["m0"]
    assert made.optimise()
    assert not made.optimise()
    state = read_state(tmp_path / FOLDER)
    assert state is not None
    table = connect(state.folder(tmp_path / FOLDER)).open_table("messages")
    assert table.stats()["fragment_stats"]["num_fragments"] == 1
    with pytest.warns(UserWarning, match="removes every version"):
        table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
    assert await ask(reader, "n31") == ["m31"]
    index.close()
    made.close()


async def test_a_reader_follows_tables_that_are_made_anew(tmp_path: Path, store: VolatileStore) -> None:
    diary = Diary(store)
    ann = await diary.agent("ann")
    await diary.said(ann, user("m1", "dog"))
    await carried(tmp_path, store)
    index = LanceIndex(tmp_path)
    reader = MemoryReader(store, index)
    assert await ask(reader, "dog") == ["m1"]
    no_state(tmp_path)
    assert await ask(reader, "dog") == ["m1"]
    await diary.said(ann, user("m2", "a dog"))
    await carried(tmp_path, store)
    assert await ask(reader, "dog") == ["m1", "m2"]
    assert await index.watermark() == store.last_seq
    index.close()


