"""Looking after databases: what is found, what is repaired, what is copied, and that nothing is ever written over."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from diary import Diary, assistant, user

from repertory.errors import DatabaseDamaged, DatabaseLocked, StorageError
from repertory.ids import IdSource
from repertory.maintenance import backup, check, rebuild, restore, upgrade
from repertory.memory.copying import write_database
from repertory.memory.database import Database
from repertory.memory.journal import FORMAT, Row
from repertory.memory.lanceindex import LanceIndex
from repertory.memory.offline import OfflineStore
from repertory.memory.projections import FOLDER, Projections
from repertory.memory.projector import Projector
from repertory.memory.reader import MemoryReader
from repertory.memory.records import Record
from repertory.memory.recovery import IDENTITY_FILE
from repertory.memory.search import Query
from repertory.memory.tuning import Tuning
from repertory.memory.upgrades import steps_from, upgraded

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
#: everything is moved, and tables are closed, after a few rows
SMALL = Tuning(move_rows=4, move_after_s=0.01, segment_bytes=2_000, tail_bytes=2_000, idle_s=0.05)


@asynccontextmanager
async def opened(folder: Path, tuning: Tuning = SMALL) -> AsyncIterator[Database]:
    database = await Database.open(folder, ids=IdSource(1), now=time.time, tuning=tuning)
    try:
        yield database
    finally:
        await database.close()


async def project(database: Database) -> None:
    tables = Projections(database.folder / FOLDER, database_id=database.store.database_id)
    projector = Projector(tables, database.store)
    await projector.catch_up()
    await projector.stop()


async def write(folder: Path) -> None:
    """A database with two agents, closed in good order."""
    async with opened(folder) as database:
        diary = Diary(database.store)
        ann, bob = await diary.agent("ann"), await diary.agent("bob")
        for number in range(10):
            await diary.said(ann, user(f"m{number}", f"word{number} dog"), assistant(f"a{number}", "fine"))
            await diary.kept(ann, f"p{number}", f"passage {number} of ann")
            await diary.said(bob, user(f"b{number}", "a cat"))
        await project(database)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One such database, to be copied and not touched."""
    folder = tmp_path_factory.mktemp("model") / "db"
    asyncio.run(write(folder))
    return folder


@pytest.fixture
def folder(model: Path, tmp_path: Path) -> Path:
    """A database of the test's own."""
    shutil.copytree(model, tmp_path / "db")
    return tmp_path / "db"


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


async def rows(folder: Path) -> list[Any]:
    store = await OfflineStore.open(folder)
    found = list(await store.since(0, limit=10_000))
    store.close()
    return found


async def test_a_sound_database_is_found_sound_and_left_as_it_is(folder: Path) -> None:
    before = content(folder)
    shown: list[tuple[str, int, int]] = []
    report = await check(folder, progress=lambda *step: shown.append(step))
    assert report.findings == []
    assert report.sound
    assert (report.agents, report.messages, report.passages) == (2, 30, 10)
    assert ("checking rows", report.rows, report.rows) in shown
    assert content(folder) == before


def flip(path: Path, at: float = 0.5) -> None:
    raw = bytearray(path.read_bytes())
    raw[int(len(raw) * at)] ^= 0xFF
    path.write_bytes(raw)


def spoilt_checkpoint(folder: Path) -> None:
    flip(folder / "checkpoint")


def lost_projection(folder: Path) -> None:
    shutil.rmtree(next((folder / FOLDER).glob("*/messages.lance")))


def projections_of_more(folder: Path) -> None:
    path = folder / FOLDER / "projections.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "watermark": 10_000}))


@pytest.mark.parametrize("damage", [spoilt_checkpoint, lost_projection, projections_of_more])
async def test_what_is_derived_is_missed_and_made_anew(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder)
    report = await check(folder)
    assert [finding.kind for finding in report.findings] == ["derived"]
    assert not report.sound
    assert (await rebuild(folder)).findings == []
    assert (await check(folder)).messages == 30


async def test_wrong_rows_in_a_projection_are_noticed(folder: Path) -> None:
    index = LanceIndex(folder)
    tables = Projections(folder / FOLDER, database_id=(await OfflineStore.open(folder)).database_id)
    tables.open(10_000)
    tables._tables["messages"].delete("id = 'm1'")
    tables._tables["passages"].update(where="id = 'p1'", values={"agent_id": "agent-bob"})
    tables.close()
    index.close()
    report = await check(folder)
    assert [finding.detail for finding in report.findings] == [
        "of the projection messages 1 rows are missing, 0 are wrong, 0 are too many",
        "of the projection passages 1 rows are missing, 0 are wrong, 1 are too many",
    ]


async def with_a_gap(source: Path, folder: Path, first: int, last: int) -> None:
    """A copy of a database without some of its rows."""
    store = await OfflineStore.open(source)

    async def others() -> AsyncIterator[Record]:
        async for record in store.records():
            if not first <= record.seq <= last:
                yield record

    folder.mkdir()
    await write_database(folder, others(), database_id="db-1", at=1.0, on_rows=lambda seq: None, notes={})
    store.close()


async def test_rows_that_are_gone_are_named_and_a_rebuild_keeps_the_others(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "db"
    await with_a_gap(model, folder, 10, 12)
    (folder / "damage.json").unlink()
    report = await check(folder)
    assert [(f.kind, f.first, f.last) for f in report.findings] == [("lost", 10, 12)]
    assert not report.sound
    after = await rebuild(folder)
    assert [(f.kind, f.first, f.last) for f in after.findings] == [("known", 10, 12)]
    assert after.sound
    assert after.rows == report.rows
    copied = await backup(folder, tmp_path / "copy")
    assert copied.rows == report.rows


async def test_rows_that_were_promised_and_are_gone_are_named(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "db"
    await backup(model, folder)
    promised = (await rows(folder))[-1].seq
    shutil.rmtree(folder / "journal_000001.lance")
    await with_a_gap(model, tmp_path / "short", promised - 2, promised)
    shutil.copytree(tmp_path / "short" / "journal_000001.lance", folder / "journal_000001.lance")
    assert [(f.kind, f.first, f.last) for f in (await check(folder)).findings] == [("lost", promised - 2, promised)]


async def test_spoilt_bytes_in_the_journal_are_found(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "db"
    await backup(model, folder)
    for path in folder.glob("journal_000001.lance/data/*"):
        raw = path.read_bytes()
        middle = len(raw) // 3
        path.write_bytes(raw[:middle] + bytes(byte ^ 0xFF for byte in raw[middle:middle + 200]) + raw[middle + 200:])
    report = await check(folder)
    assert not report.sound
    assert {finding.kind for finding in report.findings} & {"damaged", "lost"}


async def test_a_backup_taken_while_the_database_is_written_is_one_moment_of_it(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as database:
        diary = Diary(database.store)
        ann = await diary.agent("ann")
        for number in range(20):
            await diary.said(ann, user(f"m{number}", "text"))
        (tmp_path / "db" / "repertory.toml").write_text("[runtime]\nwarm = 1\n")
        with pytest.raises(DatabaseLocked):
            await rebuild(tmp_path / "db")
        copied = await backup(tmp_path / "db", tmp_path / "copies" / "one")
        last = database.store.last_seq
        await diary.said(ann, user("later", "text"))
        live = await check(tmp_path / "db")
        assert live.living
        assert live.findings == []
    assert copied.rows == last
    assert [row.seq for row in await rows(tmp_path / "copies" / "one")] == list(range(1, last + 1))
    assert (tmp_path / "copies" / "one" / "repertory.toml").exists()
    assert (await check(tmp_path / "copies" / "one")).findings == []
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["one"]


async def test_a_restored_database_goes_on_under_an_id_of_its_own(folder: Path, tmp_path: Path) -> None:
    await backup(folder, tmp_path / "copy")
    copied = await restore(tmp_path / "copy", tmp_path / "again")
    assert copied.problems == ()
    before, after = await rows(folder), await rows(tmp_path / "again")
    assert after == before
    known = json.loads((folder / IDENTITY_FILE).read_text())
    async with opened(tmp_path / "again") as database:
        assert database.store.database_id == copied.database_id != known["id"]
        diary = Diary(database.store, "second")
        assert await diary.agent("eve")
        await project(database)
        index = LanceIndex(tmp_path / "again")
        found = await MemoryReader(database.store, index).search(Query.of("messages", "agent-ann", text="word3"))
        assert [hit.document.id for hit in found] == ["m3"]
        index.close()


async def test_nothing_is_written_over_and_nothing_is_left_behind(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").write_text("dear diary")
    (tmp_path / "file").write_text("a file")
    before = content(tmp_path)
    for target in (folder, other, tmp_path / "file", folder / "inside"):
        with pytest.raises(StorageError):
            await backup(folder, target)
        with pytest.raises(StorageError):
            await restore(folder, target)
    for source in (other, tmp_path / "nowhere", tmp_path / "file"):
        for call in (check(source), rebuild(source), backup(source, tmp_path / "x"), restore(source, tmp_path / "x"),
                     upgrade(source)):
            with pytest.raises(StorageError, match="no database in"):
                await call
    assert content(tmp_path) == before
    (tmp_path / "empty").mkdir()
    await backup(folder, tmp_path / "empty")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["db", "empty", "file", "other"]


async def test_a_copy_that_fails_half_way_leaves_no_trace(folder: Path, tmp_path: Path) -> None:
    before = content(tmp_path)

    def stop(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await backup(folder, tmp_path / "copy", progress=stop)
    assert content(tmp_path) == before


async def test_an_identity_that_says_nothing_is_refused(folder: Path) -> None:
    (folder / IDENTITY_FILE).write_text("{")
    with pytest.raises(DatabaseDamaged):
        await check(folder)


# --- formats ----------------------------------------------------------------------------------------------------------


def to_format_1(values: dict[str, Any]) -> dict[str, Any]:
    """A step from a made-up format 0, in which messages were called lines and epochs began at 0."""
    data = {("messages" if key == "lines" else key): value for key, value in values["data"].items()}
    return {**values, "epoch": values["epoch"] + 1, "data": data}


def as_format_0(folder: Path) -> None:
    known = json.loads((folder / IDENTITY_FILE).read_text())
    (folder / IDENTITY_FILE).write_text(json.dumps({**known, "format": 0}))


async def test_a_database_of_this_format_needs_no_upgrade(folder: Path, tmp_path: Path) -> None:
    before = content(tmp_path)
    assert await upgrade(folder) is None
    assert content(tmp_path) == before


async def test_an_older_format_is_upgraded_beside_the_old_one(folder: Path, tmp_path: Path) -> None:
    old = await rows(folder)
    as_format_0(folder)
    with pytest.raises(StorageError, match="format 0"):
        await check(folder)
    with pytest.raises(StorageError, match="bring format 0 to 1"):
        await upgrade(folder)
    copied = await upgrade(folder, steps={0: to_format_1})
    assert copied is not None
    assert copied.rows == len(old)
    new = await rows(folder)
    assert [(row.seq, row.epoch, row.data) for row in new] == [(row.seq, row.epoch + 1, row.data) for row in old]
    assert (await check(folder)).findings == []
    assert json.loads((tmp_path / "db.format-0" / IDENTITY_FILE).read_text())["format"] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["db", "db.format-0"]


async def test_an_upgrade_is_refused_while_a_runtime_is_up_and_for_newer_formats(tmp_path: Path) -> None:
    async with opened(tmp_path / "db") as database:
        await Diary(database.store).agent("ann")
        as_format_0(tmp_path / "db")
        with pytest.raises(DatabaseLocked):
            await upgrade(tmp_path / "db", steps={0: to_format_1})
    known = json.loads((tmp_path / "db" / IDENTITY_FILE).read_text())
    (tmp_path / "db" / IDENTITY_FILE).write_text(json.dumps({**known, "format": FORMAT + 1}))
    with pytest.raises(StorageError, match="newer one"):
        await upgrade(tmp_path / "db")


def test_each_step_is_applied_to_a_stored_sample_of_its_format() -> None:
    sample = json.loads((SAMPLES / "format_0_rows.json").read_text())
    steps = steps_from(0, {0: to_format_1})
    assert [upgraded(Row(**values), steps) for values in sample["before"]] == [
        Row(**values) for values in sample["after"]]
    assert steps_from(FORMAT) == []


async def test_a_stored_database_of_format_1_can_still_be_read_and_written(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "format_1", tmp_path / "db")
    expected = json.loads((SAMPLES / "format_1.json").read_text())
    found = await rows(tmp_path / "db")
    assert [[row.seq, row.stream, row.kind, row.author, row.epoch, row.op_id, row.data] for row in found] == expected
    report = await check(tmp_path / "db")
    assert (report.findings, report.messages, report.passages) == ([], 4, 2)
    async with opened(tmp_path / "db", Tuning()) as database:
        await Diary(database.store, "third").agent("new")
        assert database.store.last_seq > len(expected)
