"""The journal: what a row is, what a commit is, and what every store must do.

LanceDB commits one table atomically and nothing across tables, so one journal is the truth and all else is derived
from it. A commit is atomic over all its rows and streams. Streams: ``registry`` (which agents and blocks exist),
``agent:<id>`` (what happened to an agent), ``inbox:<id>`` (what waits for it), ``snapshot:<id>`` (its state, so that
loading is short), ``block:<id>`` (versions of a shared block).

Who may write what is decided by `JournalIndex.check`; the kinds of rows and their data are listed in `memory.rows`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgpack

#: the version of rows, frames and tables; a database of an older one is upgraded by `repertory db upgrade`
FORMAT = 1

#: `Commit.epoch` of an author that is not fenced (clients, timers); those may write inboxes only
UNFENCED = 0
#: `Commit.epoch` with which an author asks for the next epoch (the store gives it)
CLAIM = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class NewRow:
    """A row to be written."""

    stream: str
    kind: str
    #: plain values that msgpack can carry: None, bool, int, float, str, bytes, list, dict with str keys
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A row of the journal. `seq` is global and gapless, from 1."""

    seq: int
    stream: str
    kind: str
    author: str
    epoch: int
    op_id: str
    #: when the store took it, seconds since 1970
    at: float
    data: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """Rows that are written together or not at all."""

    #: ours, never a provider's: the same op_id is carried out once, for ever
    op_id: str
    author: str
    epoch: int = UNFENCED
    rows: tuple[NewRow, ...]
    #: stream -> the seq of its newest row as the writer knows it; another value there refuses the commit
    expect: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Committed:
    """What became of a commit. Its rows have the seqs `first` … `last`."""

    first: int
    last: int
    epoch: int
    at: float
    #: the same op_id had been carried out before; this is its original result
    replayed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """All that is needed to bring an agent to life."""

    #: the data of its `created` row in the registry, with later changes applied
    spec: dict[str, Any]
    snapshot: Row | None
    #: rows of `agent:<id>` behind the snapshot, in order
    events: tuple[Row, ...]
    #: rows of `inbox:<id>` that no step has consumed, in order
    inbox: tuple[Row, ...]
    #: seq of the newest row of `inbox:<id>`, consumed or not (0: none)
    inbox_head: int


class Store(Protocol):
    """What keeps the journal. Every implementation passes `tests/store_conformance.py`."""

    async def commit(self, commit: Commit) -> Committed:
        """Write it, durably, before this returns. Raises CommitRefused or StorageError; then nothing is written."""

    async def lookup(self, op_id: str) -> tuple[Row, ...]:
        """The rows of the commit with this op_id; empty if there is none."""

    async def read(self, stream: str, *, after: int = 0, limit: int = 1000) -> tuple[Row, ...]:
        """Rows of one stream with seq > after, oldest first."""

    async def load(self, agent_id: str) -> Loaded:
        """An agent's record. Raises AgentNotFound."""

    async def ask(self, question: str, **arguments: Any) -> Any:
        """Answer from the index in memory: one of `JournalIndex.QUESTIONS`, in microseconds."""


def pack_data(data: dict[str, Any]) -> bytes:
    """A row's data as msgpack."""
    packed: bytes = msgpack.packb(data, use_bin_type=True)
    return packed


def unpack_data(raw: bytes) -> dict[str, Any]:
    """The inverse of `pack_data`."""
    data: dict[str, Any] = msgpack.unpackb(raw, raw=False, strict_map_key=False)
    return data


def digest(author: str, rows: tuple[NewRow, ...] | tuple[Row, ...]) -> int:
    """A 64-bit number of a commit's payload: tells a retry from another commit under the same op_id."""
    hasher = hashlib.blake2b(author.encode(), digest_size=8)
    for row in rows:
        hasher.update(f"\0{row.stream}\0{row.kind}\0".encode())
        hasher.update(pack_data(row.data))
    return int.from_bytes(hasher.digest(), "big") >> 1
