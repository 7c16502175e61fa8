"""One table of the journal's chain, and what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from repertory.memory.records import Record
from repertory.memory.tables import Table

#: what a row takes in a table besides its data, about
_ROW_BYTES = 120


def segment_name(number: int) -> str:
    """The name of the chain's table `number`, from 1."""
    return f"journal_{number:06d}"


def segment_number(name: str) -> int | None:
    """The inverse of `segment_name`; None for a table of another kind."""
    prefix, _, digits = name.partition("_")
    return int(digits) if prefix == "journal" and digits.isdigit() and len(digits) >= 6 else None


def size_of(records: Sequence[Record]) -> int:
    """About how many bytes these records take in a table."""
    return sum(len(record.data) + _ROW_BYTES for record in records)


@dataclass(kw_only=True, slots=True)
class Segment:
    """One table of the chain."""

    number: int
    table: Table
    #: seq of the row at position 0
    first: int
    #: grows no more; so is every table but the last
    closed: bool = False
    #: what is done to a closed table was done
    finished: bool = False
    #: positions below this were synced and read back in the newest version, and in an older one that is still there
    verified: int = 0
    safe: int = 0
    #: whether the newest version was synced by this process
    synced: bool = True
    #: rows from this position on are not used: a later table has them
    cap: int | None = None
    bytes: int = 0
    #: appends since the last compaction, and the bytes that the compaction wrote
    appends: int = 0
    compacted_bytes: int = 0

    @property
    def count(self) -> int:
        """How many of its rows are used."""
        return self.table.count if self.cap is None else min(self.cap, self.table.count)

    @property
    def last(self) -> int:
        """The seq of its newest row; first - 1 when it is empty."""
        return self.first + self.count - 1

    @property
    def settled(self) -> bool:
        """Whether its newest version was synced and read back."""
        return self.synced and self.verified >= self.count
