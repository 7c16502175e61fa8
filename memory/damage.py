"""What was found damaged when a database was opened: nothing is lost in silence."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from repertory.memory.disk import Disk

DAMAGE_FILE = "damage.json"
_log = logging.getLogger("repertory.store")


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """One finding."""

    #: lost: acknowledged rows that are gone; unreadable: rows at their place whose crc is wrong; set_aside: a version
    #: of a table that could not be read (no row is lost by that alone); torn: the end of the tail was cut off,
    #: which were unacknowledged rows unless somebody damaged the file
    kind: Literal["lost", "unreadable", "set_aside", "torn"]
    #: the seqs concerned, both inclusive; 0 when they are not known
    first: int = 0
    last: int = 0
    detail: str = ""

    def says(self, other: Damage) -> bool:
        """Whether this already says that the rows of `other` are gone."""
        gone = ("lost", "unreadable")
        return self.kind in gone and other.kind in gone and self.first <= other.first and other.last <= self.last


def unreadable(seqs: Iterable[int], detail: str) -> list[Damage]:
    """The findings for these rows, which come in order: one for each run of them."""
    runs: list[list[int]] = []
    for seq in seqs:
        if runs and runs[-1][1] == seq - 1:
            runs[-1][1] = seq
        else:
            runs.append([seq, seq])
    return [Damage(kind="unreadable", first=first, last=last, detail=detail) for first, last in runs]


async def known_losses(disk: Disk) -> list[dict[str, Any]]:
    """What `report` wrote at earlier openings. A report that cannot be read counts as none."""
    try:
        entries = json.loads(await disk.read(DAMAGE_FILE))
    except (FileNotFoundError, ValueError):
        return []
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


async def report(disk: Disk, found: list[Damage], *, at: float) -> list[Damage]:
    """Log what is new in `found` and add it to the file; returns what is new. `at`: seconds since 1970."""
    known = await known_losses(disk)
    seen = [Damage(kind=entry["kind"], first=int(entry["first"]), last=int(entry["last"])) for entry in known
            if {"kind", "first", "last"} <= entry.keys()]
    fresh = [damage for damage in found if not any(one.says(damage) for one in seen)]
    for damage in fresh:
        _log.warning("the database is damaged: %s, seq %d to %d: %s",
                     damage.kind, damage.first, damage.last, damage.detail)
    if fresh:
        entries = [*known, *({"at": at, **asdict(damage)} for damage in fresh)]
        await disk.replace(DAMAGE_FILE, json.dumps(entries, indent=1).encode())
    return fresh
