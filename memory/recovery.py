"""Opening a database: verify, set aside what is damaged, replay the tail, fold it all into an index.

Nothing that a disk gives is believed before it is checked, nothing that is missing goes unreported, and a database that
exists is never begun anew. Reading order: the checkpoint, the tables, then the tail, which wins where both have a row.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from repertory.errors import DatabaseDamaged
from repertory.memory.checkpoint import CHECKPOINT_FILE, unpacked
from repertory.memory.damage import Damage
from repertory.memory.disk import Disk
from repertory.memory.index import JournalIndex
from repertory.memory.journal import FORMAT, Row
from repertory.memory.opfilter import OpFilter
from repertory.memory.records import Record, intact, opened
from repertory.memory.scan import Scan, holds, scan
from repertory.memory.segments import Chain, Segment, segment_name, segment_number, size_of
from repertory.memory.tables import Table, Tables, TableUnreadable
from repertory.memory.tail import parsed, tail_name, tail_number
from repertory.memory.tuning import Tuning

IDENTITY_FILE = "database.json"
#: versions of a damaged table that are read whole in search of the best one
_CANDIDATES = 4


@dataclass(kw_only=True, slots=True)
class Recovered:
    """A database as it was found."""

    database_id: str
    index: JournalIndex
    used: OpFilter
    chain: Chain
    #: rows that no table has
    tail: list[Record]
    #: the tail's files, number -> last seq in it
    tail_files: dict[int, int]
    next_file: int
    #: seq of the checkpoint that was used; 0: none
    checkpointed: int
    damage: list[Damage] = field(default_factory=list)


@dataclass(kw_only=True, slots=True)
class _Tail:
    records: dict[int, Record] = field(default_factory=dict)
    files: dict[int, int] = field(default_factory=dict)
    next_file: int = 1


async def initialise(disk: Disk, tables: Tables, *, database_id: str, at: float) -> dict[str, Any]:
    """Make an empty database where none is, and return its identity.

    `database.json` comes last: once it is there, the rest must be. Raises DatabaseDamaged when the folder holds
    rows but no `database.json`.
    """
    found = await _read_tail(disk, [])
    for name in await _chain_names(tables):
        table = await _newest(tables, name, [])
        if table is None or table.count:
            raise DatabaseDamaged(f"{IDENTITY_FILE} is missing, but there is a journal ({name}): restore that file")
    if found.records:
        raise DatabaseDamaged(f"{IDENTITY_FILE} is missing, but there are rows in the tail: restore that file")
    if segment_name(1) not in await _chain_names(tables):
        table = await tables.create(segment_name(1))
        await table.sync()
    made = {"id": database_id, "format": FORMAT, "created_at": at}
    await disk.replace(IDENTITY_FILE, json.dumps(made).encode())
    return made


async def identity(disk: Disk) -> dict[str, Any] | None:
    """What `database.json` says; None when there is none. Raises DatabaseDamaged."""
    try:
        raw = await disk.read(IDENTITY_FILE)
    except FileNotFoundError:
        return None
    try:
        data = json.loads(raw)
        known = {"id": str(data["id"]), "format": int(data["format"])}
    except (ValueError, KeyError, TypeError) as error:
        raise DatabaseDamaged(f"{IDENTITY_FILE} cannot be read: {error}") from error
    if known["format"] != FORMAT:
        raise DatabaseDamaged(f"the database has format {known['format']}, this program knows format {FORMAT}")
    return known


async def recover(disk: Disk, tables: Tables, *, database_id: str, tuning: Tuning) -> Recovered:
    """Read a database. Raises DatabaseDamaged when no version of its tables can be read and the tail is no help."""
    damage: list[Damage] = []
    tail = await _read_tail(disk, damage)
    checkpoint = await _checkpoint(disk, database_id)
    segments, rows_of = await _segments(tables, tail, damage)
    chain = Chain(tables, segments, tuning)
    moved = chain.moved
    newest = max(moved, max(tail.records, default=0))
    index, used = checkpoint or (JournalIndex(), OpFilter())
    promised, checkpointed = index.last_seq, index.last_seq
    if promised > newest or not segments:  # it knows of rows that are gone: fold those that are there
        index, used, checkpointed = JournalIndex(), OpFilter(), 0
    folding = _Folding(index, used)
    for segment in segments:
        if segment.last > index.last_seq:
            records = rows_of.get(segment.number)
            found = records or await scan(segment.table, first=segment.first)
            _report_bad(found, damage)
            folding.take(found.records)
    unmoved = [record for seq, record in sorted(tail.records.items()) if seq > moved]
    folding.take(unmoved)
    folding.end()
    damage += _gaps(segments, tail, promised)
    if promised > index.last_seq:
        index.last_seq = promised  # a seq that was given once is not given again
    return Recovered(database_id=database_id, index=index, used=used, chain=chain, tail=unmoved,
                     tail_files=tail.files, next_file=tail.next_file, checkpointed=checkpointed, damage=damage)


class _Folding:
    """Applies rows to the index, whole commits at a time."""

    def __init__(self, index: JournalIndex, used: OpFilter) -> None:
        self._index = index
        self._used = used
        self._last = index.last_seq
        self._held: list[Row] = []

    def take(self, records: Sequence[Record]) -> None:
        for record in records:
            if record.seq <= self._last:
                continue
            self._last = record.seq
            if self._held and self._held[-1].op_id != record.op_id:
                self.end()
            self._held.append(opened(record))

    def end(self) -> None:
        if self._held:
            self._used.add(self._held[0].op_id)
            self._index.apply(self._held)
            self._held = []


def _gaps(segments: list[Segment], tail: _Tail, promised: int) -> list[Damage]:
    """The rows that are nowhere; `promised` is a seq that had been given."""
    there = sorted([*((segment.first, segment.last) for segment in segments), *((seq, seq) for seq in tail.records)])
    gaps, end = [], 0
    for first, last in [*there, (promised + 1, promised)]:
        if first > end + 1:
            gaps.append((end + 1, first - 1))
        end = max(end, last)
    return [Damage(kind="lost", first=first, last=last, detail="no table and no tail has these rows")
            for first, last in gaps]


def _report_bad(found: Scan, damage: list[Damage]) -> None:
    start = 0
    for place in range(1, len(found.bad) + 1):
        if place == len(found.bad) or found.bad[place] != found.bad[place - 1] + 1:
            damage.append(Damage(kind="unreadable", first=found.first + found.bad[start],
                                 last=found.first + found.bad[place - 1], detail=f"in {found.table.name}"))
            start = place


async def _read_tail(disk: Disk, damage: list[Damage]) -> _Tail:
    tail = _Tail()
    numbers = sorted(n for name in await disk.sizes() if (n := tail_number(name)) is not None)
    for number in numbers:
        found = parsed(await disk.read(tail_name(number)))
        await disk.sync(tail_name(number))  # what a killed process wrote may only be in the page cache
        for frame in found.frames:
            tail.records.update((record.seq, record) for record in frame.records)
        tail.files[number] = max((r.seq for f in found.frames for r in f.records), default=0)
        if found.cut_bytes and number == numbers[-1]:
            first, last = found.cut_rows or (0, 0)
            damage.append(Damage(kind="torn", first=first, last=last,
                                 detail=f"{found.cut_bytes} bytes at the end of {tail_name(number)}"))
    tail.next_file = numbers[-1] + 1 if numbers else 1
    return tail


async def _checkpoint(disk: Disk, database_id: str) -> tuple[JournalIndex, OpFilter] | None:
    try:
        return unpacked(await disk.read(CHECKPOINT_FILE), database_id=database_id)
    except FileNotFoundError:
        return None


async def _chain_names(tables: Tables) -> list[str]:
    names = [name for name in await tables.names() if segment_number(name) is not None]
    return sorted(names, key=lambda name: segment_number(name) or 0)


async def _newest(tables: Tables, name: str, damage: list[Damage]) -> Table | None:
    """The newest version that opens; those above it are set aside. None when there is none."""
    while versions := await tables.versions(name):
        try:
            table = await tables.open(name)
            if table.version == versions[0]:
                return table
            reason = f"it opens as version {table.version}"
        except TableUnreadable as error:
            reason = str(error)
        damage.append(Damage(kind="set_aside", detail=f"version {versions[0]} of {name}: {reason}"))
        await tables.set_aside(name)
    return None


async def _segments(tables: Tables, tail: _Tail, damage: list[Damage]) -> tuple[list[Segment], dict[int, Scan]]:
    """The chain, and what was read of it: the newest two tables whole, since both may have been written last."""
    names = await _chain_names(tables)
    segments: list[Segment] = []
    scans: dict[int, Scan] = {}
    for name in names:
        number = segment_number(name) or 0
        expected = segments[-1].last + 1 if segments else 1
        table = await _newest(tables, name, damage)
        if table is None:
            continue
        if name in names[-2:]:
            found = scans[number] = await _best(tables, table, expected, tail, damage)
            await found.table.sync()
        else:
            found = await _head(table)
        if not found.first and found.table.count:  # not one row of it can be read
            continue
        last = name == names[-1]
        segments.append(Segment(
            number=number, table=found.table, first=found.first or expected, closed=not last or bool(found.bad),
            finished=name not in names[-2:] or bool(found.bad), bytes=size_of(found.records),
            verified=found.table.count, safe=0 if last else found.table.count))
    if not segments and 1 not in tail.records:
        raise DatabaseDamaged("no version of the journal's tables can be read: restore a copy of the folder; "
                              "what was set aside is named *.bad", tables=names)
    return segments, scans


async def _head(table: Table) -> Scan:
    """Where a closed table begins: its rows are checked when they are read."""
    for position in range(min(table.count, 8)):
        try:
            records = await table.read(position, position + 1)
        except TableUnreadable:
            continue
        found = Scan(table=table, first=0)
        if records and intact(row := records[0]):
            found.first = row.seq - position
            return found
    return await scan(table, first=0)


async def _best(tables: Tables, newest: Table, expected: int, tail: _Tail, damage: list[Damage]) -> Scan:
    """The version of a table that, with the tail, gives the most rows; those above it are set aside."""
    best = await _scanned(newest, expected)
    candidates = 1
    for version in (await tables.versions(newest.name))[1:]:
        if candidates == _CANDIDATES or not best.bad:
            break
        older = await _older(tables, newest.name, version, best)
        if older is not None:
            candidates += 1
            found = await _scanned(older, expected)
            if _worth(found, tail) >= _worth(best, tail) and len(found.bad) < len(best.bad):
                best = found
    if best.table is newest:
        return best
    while (versions := await tables.versions(newest.name)) and versions[0] > best.table.version:
        damage.append(Damage(kind="set_aside", detail=f"version {versions[0]} of {newest.name}: it has damaged rows"))
        await tables.set_aside(newest.name)
    best.table = await tables.open(newest.name)
    return best


async def _scanned(table: Table, expected: int) -> Scan:
    """A scan from the seq where the table should begin; or from where it says, if rows before it were lost."""
    found = await scan(table, first=expected)
    if found.records or not table.count:
        return found
    return await scan(table, first=0)


async def _older(tables: Tables, name: str, version: int, best: Scan) -> Table | None:
    """An older version, unless it has the same damage where the best one so far has its first."""
    position = best.bad[0]
    try:
        table = await tables.open(name, version=version)
        return table if table.count <= position or await holds(table, position, best.first + position) else None
    except TableUnreadable:
        return None


def _worth(found: Scan, tail: _Tail) -> int:
    return len({record.seq for record in found.records} | tail.records.keys())
