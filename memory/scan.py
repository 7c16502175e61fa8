"""Reading a table without believing it: what is there, what is intact, what is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from repertory.memory.records import Record, intact
from repertory.memory.tables import Table, TableUnreadable

#: rows of one read; a chunk is checked without a pause
CHUNK_ROWS = 512


@dataclass(kw_only=True, slots=True)
class Scan:
    """What a version of a table holds: records that are intact and lie at the position that their seq calls for."""

    table: Table
    #: seq of the row at position 0; 0 when no row could be read
    first: int
    records: list[Record] = field(default_factory=list)
    #: positions whose row is damaged or cannot be read
    bad: list[int] = field(default_factory=list)


async def verify(table: Table, *, first: int, start: int, stop: int) -> None:
    """Check the rows at positions `start` … `stop - 1`. Raises TableUnreadable at the first that is wrong."""
    for begin in range(start, stop, CHUNK_ROWS):
        end = min(begin + CHUNK_ROWS, stop)
        records = await table.read(begin, end)
        if len(records) != end - begin:
            raise TableUnreadable(f"{table.name} has {table.count} rows, but gives {len(records)} at {begin}")
        for position, record in enumerate(records, begin):
            if record.seq != first + position or not intact(record):
                raise TableUnreadable(f"{table.name} has a damaged row where {first + position} should be")


async def scan(table: Table, *, first: int) -> Scan:
    """Read all that can be read. `first`: the seq that position 0 should have; 0: take it from the rows."""
    result = Scan(table=table, first=first)
    async for position, record in positions(table, 0, table.count):
        if record is None or not intact(record):
            result.bad.append(position)
            continue
        if not result.first:
            result.first = record.seq - position
        if record.seq == result.first + position:
            result.records.append(record)
        else:
            result.bad.append(position)
    return result


async def holds(table: Table, position: int, seq: int | None) -> bool:
    """Whether the row at `position` is intact and, if that is known, the row `seq`. Raises TableUnreadable."""
    records = await table.read(position, position + 1)
    return bool(records) and seq in (None, records[0].seq) and intact(records[0])


async def positions(table: Table, start: int, stop: int) -> AsyncIterator[tuple[int, Record | None]]:
    """The positions `start` … `stop - 1`, each with its record, or None where the table gives none."""
    position, stop = start, min(stop, table.count)
    while position < stop:
        end = min(position + CHUNK_ROWS, stop)
        records = await _read(table, position, end)
        if records is None:
            records = await _prefix(table, position, end)
        for record in records:
            yield position, record
            position += 1
        if position < end:
            resume = min(await _next_readable(table, position), stop)
            while position < resume:
                yield position, None
                position += 1


async def _read(table: Table, start: int, stop: int) -> list[Record] | None:
    try:
        records = await table.read(start, stop)
    except TableUnreadable:
        return None
    return records if len(records) == stop - start else None


async def _prefix(table: Table, start: int, stop: int) -> list[Record]:
    """The longest readable run from `start`, which does not reach to `stop`: found by halving."""
    records: list[Record] = []
    good, bad = start, stop
    while bad - good > 1:
        middle = (good + bad) // 2
        more = await _read(table, good, middle)
        if more is None:
            bad = middle
        else:
            records += more
            good = middle
    return records


async def _next_readable(table: Table, bad: int) -> int:
    """The first readable position behind `bad`, by doubling steps and halving: a damaged file spoils a whole run."""
    step, low = 1, bad
    while (high := low + step) < table.count and await _read(table, high, high + 1) is None:
        low, step = high, step * 2
    high = min(high, table.count)
    while high - low > 1:
        middle = (low + high) // 2
        if await _read(table, middle, middle + 1) is None:
            low = middle
        else:
            high = middle
    return high
