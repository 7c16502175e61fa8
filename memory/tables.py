"""The Lance tables that the journal needs, behind a Protocol so that a simulation can crash and damage them.

A table keeps records in the order in which they were appended; each append makes a new version. Nothing is decided
here: what is moved when, what is verified, compacted or cleaned is in `memory.chain`, what is set aside in
`memory.salvage`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from repertory.memory.records import Record

Column = Literal["seq", "stream", "op_id"]


class TableUnreadable(Exception):
    """The newest version of a table cannot be opened or read."""


class Table(Protocol):
    """The newest version of one table, as far as this process knows. Only one call that writes at a time.

    Everything but `sync` may leave files that a loss of power takes away or tears. Raises OSError when a write fails,
    TableUnreadable when a read does (an OSError if that is not the table's fault: too many open files); records come
    as they are: whoever reads them checks their crc.
    """

    name: str
    #: 1 for a new table; 0 means that the newest version is unreadable (a zeroed manifest opens as version 0)
    version: int
    #: how many records this version holds
    count: int

    async def append(self, records: Sequence[Record]) -> None:
        """Write a new version with these records at its end."""

    async def read(self, start: int, stop: int) -> list[Record]:
        """The records at positions `start` … `stop - 1`, in order; fewer where the table ends."""

    async def take(self, positions: Sequence[int]) -> list[Record]:
        """The records at these positions, in the order of `positions`. All must be below `count`."""

    async def find(self, column: Column, value: int | str, *, after: int = 0, limit: int = 1000) -> list[Record]:
        """Records with this value in `column` and seq > `after`, by seq."""

    async def compact(self, *, close: bool = False) -> None:
        """Write a new version with all records in few files; `close` also builds what makes `find` fast."""

    async def clean(self, *, keep_s: float) -> None:
        """Delete versions older than `keep_s` seconds, but neither of the newest two."""

    async def sync(self) -> None:
        """Return when the newest version survives a loss of power."""


class Tables(Protocol):
    """The tables of one database."""

    async def names(self) -> list[str]:
        """The names of the tables that are there, readable or not, sorted."""

    async def create(self, name: str) -> Table:
        """A new, empty table."""

    async def versions(self, name: str) -> list[int]:
        """The versions that have a manifest, readable or not, newest first."""

    async def open(self, name: str, *, version: int | None = None) -> Table:
        """The newest version of a table, read from the disk afresh; or an older one, to look at only.

        Raises TableUnreadable. An older one cannot be opened while the newest is unreadable.
        """

    async def set_aside(self, name: str) -> bool:
        """Rename the newest version's manifest to `.bad`, durably. False if that was the last version."""
