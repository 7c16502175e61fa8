"""The numbers by which the durable store works, with their reasons."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """When the store moves, compacts, cleans and refuses. The defaults are for one local disk."""

    #: rows that one Lance append takes at least, unless they have waited for `move_after_s`
    move_rows: int = 256
    #: a Lance version costs four files however few its rows are, and rows in the tail are as durable and as readable
    #: as any: so a trickle is moved once a second, not at each commit
    move_after_s: float = 1.0
    #: a file of the tail is full then, and may go once its rows are safe in Lance and the next file is full, too
    tail_bytes: int = 1 << 20
    #: a table is closed then (DESIGN 3); compaction rewrites a whole table, so this bounds what one rewrite costs
    segment_bytes: int = 64 << 20
    #: appends since the last compaction that call for the next, if they brought half as much again as it wrote;
    #: four times as many do in any case
    compact_appends: int = 64
    #: seconds without a commit after which what is left is moved, compacted and cleaned
    idle_s: float = 5.0
    #: seconds for which an old Lance version stays readable
    keep_s: float = 60.0
    #: what only compaction may use of the disk; commits are refused before (it writes a table before it deletes one)
    reserve_bytes: int = 64 << 20
    #: rows after which the index is written down, so that opening reads at most these again
    checkpoint_rows: int = 50_000
    #: rows that were moved are kept in memory up to this size
    cache_bytes: int = 32 << 20
    #: rows that Lance has not taken stay in memory; commits are refused beyond this many bytes of them
    backlog_bytes: int = 256 << 20
    #: pause after a failed move before it is tried again
    retry_s: float = 1.0
