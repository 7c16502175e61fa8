"""Simulated Lance tables (`memory.tables.Tables`) that behave as lancedb 0.40 was measured to.

Each append is a new version that names all its fragments. LanceDB never syncs, so a loss of power takes, tears or
zeroes what was not synced: a cut manifest raises, a *zeroed* one opens as an empty version 0 without any error, and a
damaged fragment is read as wrong values. A version that was cleaned away is `Not found` for whoever still reads it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from repertory.memory.records import Record
from repertory.memory.tables import Column, TableUnreadable

from .disk import Crash, SimDisk
from .trace import Trace


@dataclass(eq=False)
class _Fragment:
    """A data file."""

    records: list[Record]
    synced: bool = False
    missing: bool = False
    size: int = 0


@dataclass(eq=False)
class _Version:
    """A manifest."""

    number: int
    fragments: tuple[_Fragment, ...]
    at: float
    synced: bool = False
    #: "" | "cut" | "zeroed"
    damage: str = ""


@dataclass
class _Stored:
    """A table as the disk has it, and the manifests that were set aside."""

    versions: list[_Version] = field(default_factory=list)
    aside: int = 0


class SimTables:
    """Satisfies `memory.tables.Tables`. Outlives the processes that use it."""

    def __init__(self, rng: random.Random, trace: Trace, disk: SimDisk, now: Callable[[], float]) -> None:
        self.rng = rng
        self.trace = trace
        self.disk = disk
        self.now = now
        self.stored: dict[str, _Stored] = {}

    @property
    def crash(self) -> Crash:
        """The disk's crash strikes here as well."""
        return self.disk.crash

    async def names(self) -> list[str]:
        """See `Tables.names`."""
        return sorted(self.stored)

    async def create(self, name: str) -> SimTable:
        """See `Tables.create`."""
        await self.crash.moment(f"before creating {name}")
        if name in self.stored:
            raise OSError(errno.EEXIST, "Table already exists", name)
        self.stored[name] = _Stored([_Version(1, (), self.now())])
        await self.crash.moment(f"after creating {name}")
        return SimTable(self, name, self.stored[name].versions[-1])

    async def versions(self, name: str) -> list[int]:
        """See `Tables.versions`."""
        return [version.number for version in reversed(self.stored[name].versions)] if name in self.stored else []

    async def open(self, name: str, *, version: int | None = None) -> SimTable:
        """See `Tables.open`."""
        await asyncio.sleep(self.rng.random() * 0.004)
        if name not in self.stored or not self.stored[name].versions:
            raise TableUnreadable(f"table {name} was not found")
        newest = self.stored[name].versions[-1]
        if newest.damage == "cut" or (newest.damage and version is not None):
            raise TableUnreadable(f"the newest manifest of {name} is {newest.damage}")
        if version is None:
            return SimTable(self, name, newest)
        for known in self.stored[name].versions:
            if known.number == version:
                return SimTable(self, name, known)
        raise TableUnreadable(f"Not found: version {version} of {name}")

    async def set_aside(self, name: str) -> bool:
        """See `Tables.set_aside`."""
        await self.crash.moment(f"before setting a version of {name} aside")
        stored = self.stored[name]
        if stored.versions:
            version = stored.versions.pop()
            stored.aside += 1
            self.trace.note("tables", "%s: version %d is set aside", name, version.number)
        await self.crash.moment(f"after setting a version of {name} aside")
        return bool(stored.versions)

    def lose_power(self) -> None:
        """Unsynced versions and fragments are lost, zeroed, cut or torn; or they got there after all."""
        for name in list(self.stored):
            stored = self.stored[name]
            for version in list(stored.versions):
                for fragment in version.fragments:
                    if not fragment.synced:
                        self._lose_fragment(name, fragment)
                if not version.synced:
                    self._lose_version(name, stored, version)
            if not stored.versions and not stored.aside:
                del self.stored[name]

    def _lose_fragment(self, name: str, fragment: _Fragment) -> None:
        fragment.synced = True
        fate = self.rng.randrange(4)
        if fate == 0:
            fragment.missing = True
            self.trace.fault("data file lost", "tables", "a data file of %s is gone", name)
        elif fate == 1 and fragment.records:
            place = self.rng.randrange(len(fragment.records))
            fragment.records = list(fragment.records)
            fragment.records[place] = _damaged(fragment.records[place], self.rng)
            self.trace.fault("wrong row", "tables", "row %d of a data file of %s is read wrong", place, name)

    def _lose_version(self, name: str, stored: _Stored, version: _Version) -> None:
        version.synced = True
        fate = self.rng.randrange(4)
        newest = version is stored.versions[-1]
        if fate == 0:
            stored.versions.remove(version)
            self.trace.fault("version lost", "tables", "version %d of %s is gone", version.number, name)
        elif fate == 1 and newest:
            version.damage = "zeroed"
            self.trace.fault("zeroed manifest", "tables", "version %d of %s is zeroed", version.number, name)
        elif fate == 2 and newest:
            version.damage = "cut"
            self.trace.fault("cut manifest", "tables", "version %d of %s is cut", version.number, name)


def _damaged(record: Record, rng: random.Random) -> Record:
    match rng.randrange(4):
        case 0:
            raw = bytearray(record.data or b"\0")
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            return dataclasses.replace(record, data=bytes(raw))
        case 1:
            return dataclasses.replace(record, seq=record.seq ^ (1 << rng.randrange(20)))
        case 2:
            return dataclasses.replace(record, stream="", kind="", op_id="")
        case _:
            return dataclasses.replace(record, epoch=record.epoch + 1)


class SimTable:
    """Satisfies `memory.tables.Table`: one process's view of a table."""

    def __init__(self, tables: SimTables, name: str, version: _Version) -> None:
        self._tables = tables
        self.name = name
        self._see(version)

    def _see(self, version: _Version) -> None:
        self._seen = version
        self.version = 0 if version.damage == "zeroed" else version.number
        self.count = 0 if version.damage == "zeroed" else sum(len(f.records) for f in version.fragments)

    async def append(self, records: Sequence[Record]) -> None:
        """See `Table.append`."""
        fresh = _Fragment(list(records), size=sum(len(record.data) + 100 for record in records))
        await self._write("append", (*self._seen.fragments, fresh), fresh.size)

    async def compact(self, *, close: bool = False) -> None:
        """See `Table.compact`."""
        records = [record for fragment in self._fragments() for record in fragment.records]
        size = sum(fragment.size for fragment in self._seen.fragments)
        await self._write("compact", (_Fragment(records, size=size),), size)

    async def _write(self, what: str, fragments: tuple[_Fragment, ...], size: int) -> None:
        tables, disk, crash = self._tables, self._tables.disk, self._tables.crash
        await crash.moment(f"before {what} to {self.name}")
        if disk.used_bytes() + size > disk.capacity_bytes:
            tables.trace.fault("disk full", "tables", "no room to %s to %s", what, self.name)
            raise OSError(errno.ENOSPC, "No space left on device", self.name)
        if disk.wear.write_error and tables.rng.random() < disk.wear.write_error:
            tables.trace.fault("table write error", "tables", "%s to %s fails", what, self.name)
            raise OSError(errno.EIO, "Input/output error", self.name)
        await asyncio.sleep(0.001 + tables.rng.random() * 0.003)
        await crash.moment(f"within {what} to {self.name}: data files without a manifest")
        stored = tables.stored[self.name]
        number = max((v.number for v in stored.versions), default=0) + 1
        version = _Version(number, fragments, tables.now())
        stored.versions.append(version)
        self._see(version)
        await crash.moment(f"after {what} to {self.name}")

    async def read(self, start: int, stop: int) -> list[Record]:
        """See `Table.read`."""
        await self._look()
        return self._between(start, min(stop, self.count))

    async def take(self, positions: Sequence[int]) -> list[Record]:
        """See `Table.take`."""
        await self._look()
        return [record for position in positions for record in self._between(position, position + 1)]

    async def find(self, column: Column, value: int | str, *, after: int = 0, limit: int = 1000) -> list[Record]:
        """See `Table.find`."""
        await self._look()
        found = [r for r in self._records() if getattr(r, column) == value and r.seq > after]
        return sorted(found, key=lambda record: record.seq)[:limit]

    async def clean(self, *, keep_s: float) -> None:
        """See `Table.clean`."""
        await self._tables.crash.moment(f"before cleaning {self.name}")
        stored = self._tables.stored[self.name]
        horizon = self._tables.now() - keep_s
        stored.versions[:-2] = [version for version in stored.versions[:-2] if version.at >= horizon]
        await self._tables.crash.moment(f"after cleaning {self.name}")

    async def sync(self) -> None:
        """See `Table.sync`."""
        tables = self._tables
        await tables.crash.moment(f"before sync of {self.name}")
        await asyncio.sleep(tables.rng.random() * 0.004)
        if tables.disk.wear.sync_error and tables.rng.random() < tables.disk.wear.sync_error:
            tables.trace.fault("table sync error", "tables", "the sync of %s fails", self.name)
            raise OSError(errno.EIO, "Input/output error", self.name)
        for version in tables.stored[self.name].versions:  # all files of the table that are there
            version.synced = True
            for fragment in version.fragments:
                fragment.synced = True
        await tables.crash.moment(f"after sync of {self.name}")

    async def _look(self) -> None:
        await asyncio.sleep(self._tables.rng.random() * 0.002)
        stored = self._tables.stored.get(self.name)
        if stored is None or not any(version is self._seen for version in stored.versions):
            raise TableUnreadable(f"Not found: version {self._seen.number} of {self.name}")

    def _fragments(self) -> tuple[_Fragment, ...]:
        if self._seen.damage:
            return ()
        if any(fragment.missing for fragment in self._seen.fragments):
            raise TableUnreadable(f"Not found: a data file of {self.name}")
        return self._seen.fragments

    def _between(self, start: int, stop: int) -> list[Record]:
        """Records by position; only the data files that they lie in are looked at."""
        found: list[Record] = []
        begin = 0
        for fragment in self._seen.fragments if not self._seen.damage else ():
            end = begin + len(fragment.records)
            if begin < stop and start < end:
                if fragment.missing:
                    raise TableUnreadable(f"Not found: a data file of {self.name}")
                found += fragment.records[max(0, start - begin) : stop - begin]
            begin = end
        return found

    def _records(self) -> list[Record]:
        return [record for fragment in self._fragments() for record in fragment.records]
