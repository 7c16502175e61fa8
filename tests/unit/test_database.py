"""A database folder: who has it open, and what is refused before anything is changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_conformance import live, note

from repertory.errors import DatabaseDamaged, DatabaseLocked, StorageError
from repertory.ids import IdSource
from repertory.memory.database import Database, prepare
from repertory.memory.filters import equals, literal
from repertory.memory.lock import LOCK_FILE, DatabaseLock, holder_of

HOLD = """
import sys, time
from pathlib import Path
from repertory.memory.lock import DatabaseLock
lock = DatabaseLock.take(Path(sys.argv[1]), now=1_790_000_000.0, ray_address="10.0.0.1:6379")
print("held", flush=True)
sys.stdin.read()
"""


async def opened(folder: Path) -> Database:
    return await Database.open(folder, ids=IdSource(1), now=time.time)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


async def test_a_second_writer_is_refused_and_told_who_the_first_is(
        tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    with pytest.raises(DatabaseLocked) as refused:
        await opened(tmp_path)
    named = refused.value.data["holder"]
    assert named["pid"] == holder.pid
    assert named["ray_address"] == "10.0.0.1:6379"
    assert str(holder.pid) in str(refused.value)
    found = holder_of(tmp_path)
    assert found is not None
    assert (found.pid, found.since) == (holder.pid, 1_790_000_000.0)
    assert os.listdir(tmp_path) == [LOCK_FILE]


async def test_a_lock_goes_with_the_process_that_held_it(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    holder.kill()
    holder.wait()
    assert holder_of(tmp_path) is None
    database = await opened(tmp_path)
    await database.close()


def test_a_lock_is_taken_again_after_it_was_released(tmp_path: Path) -> None:
    lock = DatabaseLock.take(tmp_path, now=1.0)
    with pytest.raises(DatabaseLocked):
        DatabaseLock.take(tmp_path, now=2.0)
    lock.release()
    lock.release()
    assert holder_of(tmp_path) is None
    DatabaseLock.take(tmp_path, now=3.0).release()


async def test_a_new_folder_becomes_a_database_with_an_id_that_stays(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "down"
    database = await opened(folder)
    name = database.store.database_id
    await database.close()
    assert name.startswith("db-")
    assert json.loads((folder / "database.json").read_text())["id"] == name
    database = await opened(folder)
    assert database.store.database_id == name
    await database.close()


async def test_a_path_that_is_a_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(StorageError, match="is a file"):
        await opened(path)
    with pytest.raises(StorageError, match="cannot be made"):
        await opened(path / "below")
    assert path.read_text() == "precious"


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="cannot be written"):
        prepare(tmp_path)


@pytest.mark.parametrize("identity", [b"", b"{}", b"[1]", b"\0" * 60, b'{"id": "db-1", "format": 99}'])
async def test_an_identity_that_cannot_be_read_is_no_reason_to_begin_anew(tmp_path: Path, identity: bytes) -> None:
    (tmp_path / "database.json").write_bytes(identity)
    with pytest.raises(DatabaseDamaged):
        await opened(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["database.json", LOCK_FILE]
    assert holder_of(tmp_path) is None


async def test_a_journal_without_its_identity_is_not_begun_anew(tmp_path: Path) -> None:
    database = await opened(tmp_path)
    await live(database.store)
    await database.close()
    (tmp_path / "database.json").unlink()
    with pytest.raises(DatabaseDamaged, match=r"database\.json is missing"):
        await opened(tmp_path)


async def test_one_that_died_while_it_was_made_is_made(tmp_path: Path) -> None:
    database = await opened(tmp_path)
    await database.close()
    (tmp_path / "database.json").unlink()
    database = await opened(tmp_path)
    epoch = await live(database.store)
    assert (await database.store.commit(note("a", "n", epoch))).first == 4
    await database.close()


def test_a_filter_cannot_be_broken_out_of() -> None:
    assert literal("a' OR '1'='1") == "'a'' OR ''1''=''1'"
    assert equals("op_id", "x") == "op_id = 'x'"
    assert literal(7) == "7"
    with pytest.raises(ValueError, match="NUL"):
        literal("a\0b")
