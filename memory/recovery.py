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
from repertory.memory.chain import Chain
from repertory.memory.checkpoint import CHECKPOINT_FILE, unpacked
from repertory.memory.damage import Damage, unreadable
from repertory.memory.disk import Disk
from repertory.memory.index import JournalIndex
from repertory.memory.journal import FORMAT, Row
from repertory.memory.opfilter import OpFilter
from repertory.memory.records import Record, opened
from repertory.memory.replay import read_tail, rewrite_tail
from repertory.memory.salvage import chain_names, newest_version, salvage
from repertory.memory.scan import scan
from repertory.memory.segments import Segment, segment_name
from repertory.memory.tables import Tables
from repertory.memory.tuning import Tuning

IDENTITY_FILE = "database.json"


@dataclass(kw_only=True, slots=True)
class Recovered:
    """A database as it was found."""

    database_id: str
    index: JournalIndex
    used: OpFilter
    chain: Chain
    #: rows that no table has
    unmoved: list[Record]
    #: the tail's files, number -> last seq in it
    tail_files: dict[int, int]
    next_file: int
    #: seq of the checkpoint that was used; 0: none
    checkpointed: int
    damage: list[Damage] = field(default_factory=list)


async def initialise(disk: Disk, tables: Tables, *, database_id: str, at: float) -> dict[str, Any]:
    """Make an empty database where none is, and return its identity.

    `database.json` comes last: once it is there, the rest must be. Raises DatabaseDamaged when the folder holds
    rows but no `database.json`.
    """
    found = await read_tail(disk, [])
    for name in await chain_names(tables):
        table = await newest_version(tables, name, [])
        if table is None or table.count:
            raise DatabaseDamaged(f"{IDENTITY_FILE} is missing, but there is a journal ({name}): restore that file")
    if found.records:
        raise DatabaseDamaged(f"{IDENTITY_FILE} is missing, but there are rows in the tail: restore that file")
    if segment_name(1) not in await chain_names(tables):
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


async def recover(disk: Disk, tables: Tables, *, database_id: str, tuning: Tuning, again: bool, distrust: bool
                  ) -> Recovered:
    """Read a database.

    `again`: this process wrote it, and no sync of the tail failed. `distrust`: a sync of a table did, so what it got
    lately is moved again. Raises OSError, or DatabaseDamaged when no version of its tables can be read and the tail
    is no help.
    """
    damage: list[Damage] = []
    tail = await read_tail(disk, damage)
    await rewrite_tail(disk, tail, known_good=again)
    checkpoint = await _checkpoint(disk, database_id)
    found = await salvage(tables, tail, damage, distrust=distrust)
    unmoved = [found.unmoved[seq] for seq in sorted(found.unmoved)]
    newest = max([tail.last, *(segment.last for segment in found.segments)])
    index, used = checkpoint or (JournalIndex(), OpFilter())
    promised, checkpointed = index.last_seq, index.last_seq
    if promised > newest or not found.segments:  # it knows of rows that are gone: fold those that are there
        index, used, checkpointed = JournalIndex(), OpFilter(), 0
    folding = _Folding(index, used)
    for segment in found.segments:
        seen = found.scans.get(segment.number)
        if seen is None and segment.last > index.last_seq:
            seen = await scan(segment.table, first=segment.first)
        if seen is not None:
            bad = (segment.first + position for position in seen.bad if position < segment.count)
            damage += unreadable(bad, f"in {segment.table.name}")
            folding.take([record for record in seen.records if record.seq <= segment.last])
    folding.take(unmoved)
    folding.end()
    damage += _gaps(found.segments, unmoved, promised)
    index.last_seq = max(index.last_seq, promised)  # a seq that was given once is not given again
    return Recovered(database_id=database_id, index=index, used=used, chain=Chain(tables, found.segments, tuning),
                     unmoved=unmoved, tail_files=tail.files, next_file=tail.next_file, checkpointed=checkpointed,
                     damage=damage)


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


def _gaps(segments: list[Segment], unmoved: list[Record], promised: int) -> list[Damage]:
    """The rows that are nowhere; `promised` is a seq that had been given."""
    there = sorted([*((one.first, one.last) for one in segments), *((record.seq, record.seq) for record in unmoved)])
    gaps, end = [], 0
    for first, last in [*there, (promised + 1, promised)]:
        if first > end + 1:
            gaps.append((end + 1, first - 1))
        end = max(end, last)
    return [Damage(kind="lost", first=first, last=last, detail="no table and no tail has these rows")
            for first, last in gaps]


async def _checkpoint(disk: Disk, database_id: str) -> tuple[JournalIndex, OpFilter] | None:
    try:
        return unpacked(await disk.read(CHECKPOINT_FILE), database_id=database_id)
    except FileNotFoundError:
        return None
