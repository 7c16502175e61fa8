"""The journal's tables in LanceDB. Importing this imports lancedb (57 MB): only the store and its readers do.

What was measured on lancedb 0.40: an append costs 2-4 ms whatever its size; LanceDB never fsyncs, so `sync` does it;
a manifest of zeros opens as version 0 without an error; a connection caches metadata, so `open` makes a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import lancedb
import pyarrow as pa
from lancedb.index import BTree

from repertory.memory.disk import sync_file, sync_folder
from repertory.memory.filters import equals
from repertory.memory.records import Record
from repertory.memory.tables import Column, TableUnreadable

_T = TypeVar("_T")

SCHEMA = pa.schema([
    pa.field("seq", pa.int64()), pa.field("stream", pa.string()), pa.field("kind", pa.string()),
    pa.field("author", pa.string()), pa.field("epoch", pa.int64()), pa.field("op_id", pa.string()),
    pa.field("at", pa.float64()), pa.field("crc32", pa.int64()), pa.field("data", pa.binary()),
])
_FIELDS: tuple[str, ...] = tuple(SCHEMA.names)
_NOT_ITS_FAULT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EACCES, errno.EPERM)
#: older than anything: `optimize` then only compacts
_NEVER = timedelta(days=36_500)


class LanceTables:
    """The tables in one folder. Satisfies `Tables`."""

    def __init__(self, folder: Path) -> None:
        """`folder` must exist."""
        self._folder = folder.absolute()
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="lance")

    async def names(self) -> list[str]:
        """See `Tables.names`."""
        return sorted(path.name.removesuffix(".lance") for path in self._folder.glob("*.lance") if path.is_dir())

    async def create(self, name: str) -> LanceTable:
        """See `Tables.create`."""
        table = await self._writing(lambda: self._connect().create_table(name, schema=SCHEMA))
        return LanceTable(name, self._folder / f"{name}.lance", table, self._threads)

    async def versions(self, name: str) -> list[int]:
        """See `Tables.versions`."""
        return [_version(manifest) for manifest in _manifests(self._folder / f"{name}.lance")]

    async def open(self, name: str, *, version: int | None = None) -> LanceTable:
        """See `Tables.open`."""
        table = LanceTable(name, self._folder / f"{name}.lance", None, self._threads)
        await reading(self._threads, lambda: table.load(self._connect().open_table(name), version))
        return table

    async def set_aside(self, name: str) -> bool:
        """See `Tables.set_aside`."""
        return await self._writing(lambda: _set_aside(self._folder / f"{name}.lance"))

    def close(self) -> None:
        """Wait for the calls that run."""
        self._threads.shutdown(wait=True)

    def _connect(self) -> Any:
        return lancedb.connect(str(self._folder))

    async def _writing(self, work: Callable[[], _T]) -> _T:
        return await writing(self._threads, work)


class LanceTable:
    """One table, newest version. Satisfies `Table`."""

    def __init__(self, name: str, folder: Path, table: Any, threads: ThreadPoolExecutor) -> None:
        self.name = name
        self._folder = folder
        self._table = table
        self._threads = threads
        self._synced: dict[str, None] = {}
        self.version = 1
        self.count = 0

    def load(self, table: Any, version: int | None) -> None:
        """Take a version of an opened table, None: the newest."""
        if version is not None:
            table.checkout(version)
        self._table = table
        self.version = table.version
        self.count = table.count_rows() if self.version else 0
        if self.version and table.schema != SCHEMA:
            raise TableUnreadable(f"{self.name} has the columns {', '.join(table.schema.names)}")

    async def append(self, records: Sequence[Record]) -> None:
        """See `Table.append`."""
        columns = {field: [getattr(record, field) for record in records] for field in _FIELDS}
        await self._writing(lambda: self._table.add(pa.table(columns, schema=SCHEMA)))

    async def read(self, start: int, stop: int) -> list[Record]:
        """See `Table.read`."""
        return await self._reading(lambda: self._table.search().offset(start).limit(stop - start).to_arrow())

    async def take(self, positions: Sequence[int]) -> list[Record]:
        """See `Table.take`. LanceDB answers in the order of the table, once each."""
        wanted = sorted(dict.fromkeys(positions))
        found = await self._reading(lambda: self._table.take_offsets(wanted).to_arrow())
        if len(found) != len(wanted):
            raise TableUnreadable(f"{self.name} gave {len(found)} of {len(wanted)} rows")
        by_position = dict(zip(wanted, found, strict=True))
        return [by_position[position] for position in positions]

    async def find(self, column: Column, value: int | str, *, after: int = 0, limit: int = 1000) -> list[Record]:
        """See `Table.find`."""
        where = f"{equals(column, value)} AND {'seq'} > {int(after)}"
        found = await self._reading(lambda: self._table.search().where(where).limit(limit).to_arrow())
        return sorted(found, key=lambda record: record.seq)

    async def compact(self, *, close: bool = False) -> None:
        """See `Table.compact`."""
        def work() -> None:
            if close and self._table.list_indices():
                return
            self._table.optimize(cleanup_older_than=_NEVER)
            for column in ("stream", "op_id") if close else ():
                self._table.create_index(column, config=BTree())
        await self._writing(work)

    async def clean(self, *, keep_s: float) -> None:
        """See `Table.clean`. LanceDB cleans by age alone, so the age is stretched to keep the newest two."""
        def work() -> None:
            stamps = [entry["timestamp"] for entry in self._table.list_versions()]
            if len(stamps) > 2:
                age = datetime.now(stamps[-2].tzinfo) - stamps[-2] + timedelta(seconds=1)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self._table.optimize(cleanup_older_than=max(age, timedelta(seconds=keep_s)))
        await self._writing(work)

    async def sync(self) -> None:
        """See `Table.sync`. Lance never rewrites a file, so one that was synced stays so."""
        await writing(self._threads, self._sync)

    def _sync(self) -> None:
        changed: dict[str, None] = {}
        there: dict[str, None] = {}
        for folder, _, names in os.walk(self._folder):
            for path in (os.path.join(folder, name) for name in names):
                there[path] = None
                if path not in self._synced:
                    with contextlib.suppress(FileNotFoundError):  # cleaned meanwhile
                        sync_file(Path(path))
                    changed[folder] = None
        for folder in [*changed, *_parents(self._folder, changed)]:
            sync_folder(Path(folder))
        self._synced = there

    async def _reading(self, work: Callable[[], Any]) -> list[Record]:
        return await reading(self._threads, lambda: _records(work()))

    async def _writing(self, work: Callable[[], object]) -> None:
        def whole() -> None:
            work()
            self.version, self.count = self._table.version, self._table.count_rows()
        await writing(self._threads, whole)


async def reading(threads: ThreadPoolExecutor, work: Callable[[], _T]) -> _T:
    """Run a read in a thread; what LanceDB raises (or panics with) means that this cannot be read.

    Except when it is not the file's fault: too many open files, no memory, no permission. Those are OSErrors, for a
    version that only seems unreadable must not be set aside.
    """
    def guarded() -> _T:
        try:
            return work()
        except TableUnreadable:
            raise
        except BaseException as error:
            code = re.search(r"os error (\d+)", str(error))
            if code and int(code.group(1)) in _NOT_ITS_FAULT:
                raise OSError(int(code.group(1)), _short(error)) from error
            raise TableUnreadable(_short(error)) from error
    return await asyncio.get_running_loop().run_in_executor(threads, guarded)


async def writing(threads: ThreadPoolExecutor, work: Callable[[], _T]) -> _T:
    """Run a write in a thread; whatever LanceDB raises becomes an OSError, ENOSPC where that was the cause."""
    def guarded() -> _T:
        try:
            return work()
        except OSError:
            raise
        except BaseException as error:
            full = re.search(r"os error 28|No space left", str(error)) is not None
            raise OSError(errno.ENOSPC if full else errno.EIO, _short(error)) from error
    return await asyncio.get_running_loop().run_in_executor(threads, guarded)


def _records(rows: Any) -> list[Record]:
    columns = [rows.column(field).to_pylist() for field in _FIELDS]
    return [Record(**dict(zip(_FIELDS, values, strict=True))) for values in zip(*columns, strict=True)]


def _manifests(table: Path) -> list[Path]:
    """Newest first: a manifest is named by 2^64 - 1 minus its version."""
    return sorted((table / "_versions").glob("*.manifest"))


def _version(manifest: Path) -> int:
    return (1 << 64) - 1 - int(manifest.stem)


def _set_aside(table: Path) -> bool:
    manifests = _manifests(table)
    if manifests:
        manifests[0].rename(f"{manifests[0]}.bad")
        (table / "_versions" / "latest_version_hint.json").unlink(missing_ok=True)
        sync_folder(table / "_versions")
    return len(manifests) > 1


def _parents(table: Path, changed: dict[str, None]) -> dict[str, None]:
    """The folders above the changed ones, up to the database: a new folder's name must last, too."""
    above: dict[str, None] = {}
    for folder in changed:
        path = Path(folder)
        while path != table.parent:
            path = path.parent
            above[str(path)] = None
    return {folder: None for folder in above if folder not in changed}


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]
