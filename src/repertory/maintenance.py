"""Looking after databases: check, rebuild, backup, restore, upgrade.

Whatever is refused is refused before anything is changed, and whatever makes a database makes it beside the place
where it belongs and moves it there when it is whole. All of them import lancedb.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repertory.config import FILE_NAME
from repertory.errors import DatabaseDamaged, StorageError
from repertory.ids import IdSource
from repertory.memory.checking import Finding, Progress, Report, check_database
from repertory.memory.checkpoint import CHECKPOINT_FILE
from repertory.memory.copying import write_database
from repertory.memory.damage import DAMAGE_FILE
from repertory.memory.disk import LocalDisk, sync_folder
from repertory.memory.durable import DurableStore
from repertory.memory.journal import FORMAT
from repertory.memory.lock import DatabaseLock
from repertory.memory.offline import OfflineStore
from repertory.memory.projector import Projector
from repertory.memory.records import Record, opened, sealed
from repertory.memory.recovery import IDENTITY_FILE
from repertory.memory.tables import TableUnreadable
from repertory.memory.upgrades import STEPS, Step, steps_from, upgraded

__all__ = ["Copied", "Finding", "Progress", "Report", "backup", "check", "rebuild", "restore", "upgrade"]

#: files that go along with a copy
_COMPANIONS = (FILE_NAME, DAMAGE_FILE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """A database that was written."""

    path: Path
    database_id: str
    rows: int
    #: what could not be read where it came from, and is not in it
    problems: tuple[str, ...] = ()


def _silent(what: str, done: int, total: int) -> None:
    """No progress is shown."""


async def check(path: Path, *, progress: Progress = _silent) -> Report:
    """Read every row and compare what is derived from rows with them. Changes nothing; a runtime may be up.

    Args:
        path: the database's folder.
        progress: told (what is being done, how much is done, how much there is).

    Raises:
        StorageError: there is no database.
    """
    _of_this_format(path)
    return await check_database(path, progress)


async def rebuild(path: Path, *, progress: Progress = _silent) -> Report:
    """Open the database as a runtime would, with all repairs, and make everything derived from its journal anew.

    Tables whose newest version is damaged go back to the best older one, the tail is taken in, the checkpoint and the
    projections are made again. What no copy of a row is left of stays lost, and is in the report, which is that of a
    `check` afterwards.

    Raises:
        StorageError: there is no database.
        DatabaseLocked: a runtime is up; nothing was changed.
        DatabaseDamaged: no version of its journal can be read.
    """
    from repertory.memory.lancetables import LanceTables  # imports lancedb
    from repertory.memory.projections import FOLDER, Projections

    _of_this_format(path)
    with _locked(path):
        (path / CHECKPOINT_FILE).unlink(missing_ok=True)
        shutil.rmtree(path / FOLDER, ignore_errors=True)
        disk, tables = LocalDisk(path), LanceTables(path)
        try:
            progress("opening the journal", 0, 1)
            store = await DurableStore.open(disk, tables, new_id=lambda: IdSource().new("db"), now=time.time)
            progress("opening the journal", 1, 1)
            projector = Projector(Projections(path / FOLDER, database_id=store.database_id), store)
            await projector.catch_up(lambda seq: progress("making projections", seq, store.last_seq))
            await projector.stop()
            await store.close()
        finally:
            tables.close()
            disk.close()
    return await check_database(path, progress)


async def backup(path: Path, target: Path, *, progress: Progress = _silent) -> Copied:
    """Copy a database, as it is at one moment, into a new folder. A runtime may be up.

    Projections are left out: they are made again. Settings (`repertory.toml`) go along.

    Args:
        path: the database's folder.
        target: a folder that does not exist yet, or is empty.
        progress: as in `check`.

    Raises:
        StorageError: there is no database, or something at the target; nothing was changed.
    """
    identity = _of_this_format(path)
    return await _copy(path, target, database_id=identity["id"], progress=progress, what="backing up")


async def restore(source: Path, path: Path, *, progress: Progress = _silent) -> Copied:
    """Make a database from a backup. It gets an id of its own, so that it may run beside the one it came from.

    Args:
        source: a backup, or any database.
        path: a folder that does not exist yet, or is empty; never one that has a database.
        progress: as in `check`.

    Raises:
        StorageError: `source` is no database, or something is at `path`; nothing was changed.
    """
    _of_this_format(source)
    return await _copy(source, path, database_id=IdSource().new("db"), progress=progress, what="restoring")


async def upgrade(path: Path, *, progress: Progress = _silent, steps: Mapping[int, Step] = STEPS) -> Copied | None:
    """Bring a database of an older format to this program's; the old one is kept beside it, as `NAME.format-V`.

    Returns:
        None when there was nothing to do.

    Raises:
        StorageError: there is no database, it is of a newer format, or there is no way from its format to this one.
        DatabaseLocked: a runtime is up. In either case nothing was changed.
    """
    path = path.absolute()
    identity = _existing(path)
    version = identity["format"]
    way = steps_from(version, steps)
    if not way:
        return None
    kept = path.with_name(f"{path.name}.format-{version}")
    _vacant(kept)
    with _locked(path), _beside(path) as fresh:
        copied = await _write(path, fresh, database_id=identity["id"], progress=progress, what="upgrading", way=way)
        path.rename(kept)
        try:
            _settle(fresh, path)
        except StorageError:
            kept.rename(path)
            raise
    return Copied(path=path, database_id=copied.database_id, rows=copied.rows, problems=copied.problems)


async def _copy(source: Path, target: Path, *, database_id: str, progress: Progress, what: str) -> Copied:
    target = target.absolute()
    _vacant(target)
    if source.resolve() in target.resolve().parents:
        raise StorageError(f"{target} lies inside the database {source}: choose another place", path=str(target))
    with _beside(target) as fresh:
        copied = await _write(source, fresh, database_id=database_id, progress=progress, what=what, way=[])
        _settle(fresh, target)
    return Copied(path=target, database_id=database_id, rows=copied.rows, problems=copied.problems)


async def _write(source: Path, fresh: Path, *, database_id: str, progress: Progress, what: str, way: list[Step]
                 ) -> Copied:
    """The rows of `source` as a database in the folder `fresh`; `way`: the steps to this program's format."""
    origin = _existing(source)["id"]
    store = await OfflineStore.open_unfolded(source, database_id=origin)
    try:
        records = _changed(store.records(), way) if way else store.records()
        count = await write_database(
            fresh, records, database_id=database_id, at=time.time(), notes={"copied_from": origin},
            on_rows=lambda seq: progress(what, seq, store.last_seq))
        for name in _COMPANIONS:
            if (source / name).is_file():
                shutil.copy2(source / name, fresh / name)
        return Copied(path=fresh, database_id=database_id, rows=count, problems=tuple(store.problems))
    except (OSError, TableUnreadable) as error:
        raise StorageError(f"{what} failed, nothing was changed: {error}") from error
    finally:
        store.close()


def _settle(fresh: Path, path: Path) -> None:
    """Move a finished folder to its place, over an empty folder if there is one."""
    try:
        fresh.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"{path} cannot be made: {error.strerror}", path=str(path)) from error


async def _changed(records: AsyncIterator[Record], way: list[Step]) -> AsyncIterator[Record]:
    async for record in records:
        yield sealed(upgraded(opened(record), way))


def _existing(path: Path) -> dict[str, Any]:
    """What `database.json` says. Raises StorageError, or DatabaseDamaged when it says nothing."""
    try:
        known: dict[str, Any] = json.loads((path / IDENTITY_FILE).read_bytes())
        return {**known, "id": str(known["id"]), "format": int(known["format"])}
    except (FileNotFoundError, NotADirectoryError):
        raise StorageError(f"there is no database in {path}: no {IDENTITY_FILE}", path=str(path)) from None
    except (ValueError, KeyError, TypeError) as error:
        raise DatabaseDamaged(f"{path / IDENTITY_FILE} cannot be read: {error}", path=str(path)) from error


def _of_this_format(path: Path) -> dict[str, Any]:
    """The same, and raises StorageError when the format is another one."""
    known = _existing(path)
    if known["format"] != FORMAT:
        raise StorageError(f"the database {path} has format {known['format']}, this program works on format {FORMAT}: "
                           "`repertory db upgrade` brings an older one to it", format=known["format"])
    return known


def _vacant(path: Path) -> None:
    """Raises StorageError unless there is nothing at `path`, or an empty folder."""
    if path.is_dir() and not any(path.iterdir()):
        return
    if path.exists() or path.is_symlink():
        kind = "a database" if (path / IDENTITY_FILE).exists() else "something"
        raise StorageError(f"there is {kind} at {path} already, and it is never written over: give another path",
                           path=str(path))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = DatabaseLock.take(path, now=time.time())
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A new folder beside `path`, which is gone afterwards unless it was moved."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise StorageError(f"nothing can be written beside {path}: {error.strerror}", path=str(path)) from error
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
