"""The tail as a new process finds it: read, and written again.

What is read from a file is not proof that the file is on the disk. After a failed sync the kernel may keep pages that
were never written, call them clean, and say yes to the next sync (see `tail.SyncFailed`). So whatever the tail holds
is first written to a new file and synced there; then the old files are deleted, and only then is anything believed.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass, field

from repertory.memory.damage import Damage
from repertory.memory.disk import Disk
from repertory.memory.records import Record
from repertory.memory.tail import framed, parsed, tail_name, tail_number


@dataclass(kw_only=True, slots=True)
class OldTail:
    """What the tail's files hold, whole commits by seq."""

    records: dict[int, Record] = field(default_factory=dict)
    #: number -> last seq in it
    files: dict[int, int] = field(default_factory=dict)
    next_file: int = 1

    @property
    def first(self) -> int:
        """The oldest seq in it; 0 when it is empty."""
        return min(self.records, default=0)

    @property
    def last(self) -> int:
        """The newest seq in it; 0 when it is empty."""
        return max(self.records, default=0)


async def read_tail(disk: Disk, damage: list[Damage]) -> OldTail:
    """Read all files of the tail; a torn end is added to `damage`, unless its rows are elsewhere in the tail."""
    tail = OldTail()
    torn: list[Damage] = []
    numbers = sorted(n for name in await disk.sizes() if (n := tail_number(name)) is not None)
    for number in numbers:
        found = parsed(await disk.read(tail_name(number)))
        records = [record for frame in found.frames for record in frame.records]
        tail.records.update((record.seq, record) for record in records)
        tail.files[number] = max((record.seq for record in records), default=0)
        if found.cut_bytes:
            first, last = found.cut_rows or (0, 0)
            torn.append(Damage(kind="torn", first=first, last=last,
                               detail=f"{found.cut_bytes} bytes at the end of {tail_name(number)}"))
    tail.next_file = numbers[-1] + 1 if numbers else 1
    damage += [one for one in torn if one.last not in tail.records and (one.first or one is torn[-1])]
    return tail


async def rewrite_tail(disk: Disk, tail: OldTail, *, known_good: bool) -> None:
    """Write what `tail` holds into one new file, sync it, delete the others.

    `known_good`: this very process wrote the old files, and no sync of them failed; so if there is no room for a new
    one, they will do. Raises OSError, also for a full disk when the old files are not to be believed.
    """
    old, number = list(tail.files), tail.next_file
    if tail.records:
        try:
            await disk.append(tail_name(number), _file_of(_commits(tail)))
        except OSError as error:
            await disk.delete(tail_name(number))
            if error.errno != errno.ENOSPC or not known_good:
                raise
            for name in map(tail_name, old):
                await disk.sync(name)
            return
        await disk.sync(tail_name(number))
    for one in old:
        await disk.delete(tail_name(one))
    tail.files = {number: tail.last} if tail.records else {}
    tail.next_file = number + 1


def _commits(tail: OldTail) -> list[list[Record]]:
    commits: list[list[Record]] = []
    for seq in sorted(tail.records):
        record = tail.records[seq]
        if commits and commits[-1][-1].op_id == record.op_id and commits[-1][-1].seq + 1 == seq:
            commits[-1].append(record)
        else:
            commits.append([record])
    return commits


def _file_of(commits: Sequence[Sequence[Record]]) -> bytes:
    """The frames, each of which knows the whole file to be synced: it is not used before."""
    size = sum(len(framed(records, 0)) for records in commits)
    return b"".join(framed(records, size) for records in commits)
