"""The journal's tables as a new process finds them: which version of each is the best, and what of it can be used.

A version that cannot be opened is set aside. Where rows are damaged, older versions are looked at, and the tail is
counted in: the choice is what gives the most rows. Rows that the tail holds whole and the table does not are moved
again, into a new table; so is everything that a table got when the disk could not be trusted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from repertory.errors import DatabaseDamaged
from repertory.memory.damage import Damage
from repertory.memory.records import Record, intact
from repertory.memory.replay import OldTail
from repertory.memory.scan import Scan, holds, scan
from repertory.memory.segments import Segment, segment_number, size_of
from repertory.memory.tables import Table, Tables, TableUnreadable

#: versions of a damaged table that are read whole in search of the best one
_CANDIDATES = 4
#: tables at the chain's end that are read whole: both may have been written to last (so are others that hold rows
#: which the tail has, too: it keeps what is not safe elsewhere)
_READ_WHOLE = 2


@dataclass(kw_only=True, slots=True)
class Salvaged:
    """The chain, and the rows that no table of it has (any more)."""

    segments: list[Segment] = field(default_factory=list)
    #: what was read of them, by number
    scans: dict[int, Scan] = field(default_factory=dict)
    #: by seq
    unmoved: dict[int, Record] = field(default_factory=dict)


async def chain_names(tables: Tables) -> list[str]:
    """The names of the journal's tables, in order."""
    names = [name for name in await tables.names() if segment_number(name) is not None]
    return sorted(names, key=lambda name: segment_number(name) or 0)


async def newest_version(tables: Tables, name: str, damage: list[Damage]) -> Table | None:
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


async def salvage(tables: Tables, tail: OldTail, damage: list[Damage], *, distrust: bool) -> Salvaged:
    """Find the chain. `distrust`: what the tail still holds is moved again, whatever the tables say.

    Raises DatabaseDamaged when no table can be read and the tail does not begin with the first row.
    """
    found = Salvaged()
    names = await chain_names(tables)
    for name in names:
        table = await newest_version(tables, name, damage)
        if table is not None:
            expected = found.segments[-1].last + 1 if found.segments else 1
            seen = await _head(table)
            if name in names[-_READ_WHOLE:] or (tail.records and seen.first + table.count > tail.first):
                seen = await _best(tables, table, expected, tail, damage)
            if seen.first or not seen.table.count:  # else not one row of it can be read
                _link(found, seen, expected, tail, grows=name == names[-1])
    if not found.segments and 1 not in tail.records:
        raise DatabaseDamaged("no version of the journal's tables can be read: restore a copy of the folder; "
                              "what was set aside is named *.bad", tables=names)
    _take_back(found, tail, distrust=distrust)
    moved = max((segment.last for segment in found.segments), default=0)
    found.unmoved.update((seq, record) for seq, record in tail.records.items() if seq > moved)
    return found


def _link(found: Salvaged, seen: Scan, expected: int, tail: OldTail, *, grows: bool) -> None:
    """Put a table at the chain's end. Where it overlaps with the ones before, it was made to replace their rows."""
    number, first = segment_number(seen.table.name) or 0, seen.first or expected
    while seen.table.count and found.segments and found.segments[-1].first >= first:
        found.scans.pop(found.segments.pop().number, None)
    if found.segments and found.segments[-1].last >= first:
        found.segments[-1].cap = first - found.segments[-1].first
    whole = bool(seen.records) or not seen.table.count
    safe = min(seen.table.count, max(0, tail.first - first)) if tail.records else seen.table.count
    found.segments.append(Segment(
        number=number, table=seen.table, first=first, closed=not grows, finished=not whole, verified=seen.table.count,
        safe=safe, synced=not whole, bytes=size_of(seen.records)))
    if whole:
        found.scans[number] = seen


def _take_back(found: Salvaged, tail: OldTail, *, distrust: bool) -> None:
    """Cut off what is to be moved again: from the first row that is damaged in a table and whole in the tail."""
    again = [segment.first + position for segment in found.segments if segment.number in found.scans
             for position in found.scans[segment.number].bad
             if position < segment.count and segment.first + position in tail.records]
    if distrust and tail.records:
        again.append(tail.first)
    begin = min(again, default=0)
    while begin and found.segments and found.segments[-1].last >= begin:
        segment = found.segments[-1]
        seen = found.scans.get(segment.number)
        for record in seen.records if seen else ():
            if begin <= record.seq <= segment.last:
                found.unmoved[record.seq] = record
        if segment.first >= begin:
            found.segments.pop()
            continue
        segment.cap, segment.closed, segment.finished = begin - segment.first, True, True
    for segment in found.segments:
        seen = found.scans.get(segment.number)
        if seen and any(position < segment.count for position in seen.bad):
            segment.closed = segment.finished = True  # no compaction could read it


async def _head(table: Table) -> Scan:
    """Where an older table begins: its rows are checked when they are read."""
    for position in range(min(table.count, 8)):
        try:
            records = await table.read(position, position + 1)
        except TableUnreadable:
            continue
        if records and intact(records[0]):
            return Scan(table=table, first=records[0].seq - position)
    return await scan(table, first=0)


async def _best(tables: Tables, newest: Table, expected: int, tail: OldTail, damage: list[Damage]) -> Scan:
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
        # where not one row of the best one can be read, nobody knows which rows it should have
        seq = best.first + position if best.first else None
        return table if table.count <= position or await holds(table, position, seq) else None
    except TableUnreadable:
        return None


def _worth(found: Scan, tail: OldTail) -> int:
    return len({record.seq for record in found.records} | tail.records.keys())
