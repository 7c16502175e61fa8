"""A complete store in memory: for tests, simulations and agents that may be forgotten with their process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from repertory.memory import rows as kinds
from repertory.memory.index import JournalIndex
from repertory.memory.journal import CLAIM, Commit, Committed, Loaded, Row, pack_data, unpack_data


class VolatileStore:
    """Keeps the journal in a list. Satisfies `journal.Store`."""

    def __init__(self, *, now: Callable[[], float] = time.time,
                 on_inbox: Callable[[str], None] = lambda agent_id: None) -> None:
        """`now` gives seconds since 1970; `on_inbox` is told of each agent that somebody else wrote to."""
        self._now = now
        self._on_inbox = on_inbox
        self._rows: list[Row] = []
        self.index = JournalIndex()

    async def commit(self, commit: Commit) -> Committed:
        """See `journal.Store.commit`."""
        replay = self.index.check(commit)
        if replay is not None:
            return replay
        rows = numbered(commit, first=self.index.last_seq + 1, epochs=self.index.epochs, at=self._now())
        self._rows.extend(rows)
        self.index.apply(rows)
        for agent_id in woken(commit):
            self._on_inbox(agent_id)
        return Committed(first=rows[0].seq, last=rows[-1].seq, epoch=rows[0].epoch, at=rows[0].at)

    async def lookup(self, op_id: str) -> tuple[Row, ...]:
        """See `journal.Store.lookup`."""
        return tuple(row for row in self._rows if row.op_id == op_id)

    async def read(self, stream: str, *, after: int = 0, limit: int = 1000) -> tuple[Row, ...]:
        """See `journal.Store.read`."""
        return tuple(row for row in self._rows[after:] if row.stream == stream)[:limit]

    async def load(self, agent_id: str) -> Loaded:
        """See `journal.Store.load`."""
        self.index.describe_agent(agent_id)
        entry = self.index.agents[agent_id]
        return Loaded(
            spec=self._row(entry.created_seq).data["spec"],
            snapshot=self._row(entry.snapshot_seq) if entry.snapshot_seq else None,
            events=tuple(map(self._row, entry.events)),
            inbox=tuple(map(self._row, sorted(self.index.inboxes.get(agent_id, {})))),
            inbox_head=self.index.heads.get(f"inbox:{agent_id}", 0),
        )

    async def ask(self, question: str, **arguments: Any) -> Any:
        """See `journal.Store.ask`."""
        return self.index.answer(question, **arguments)

    async def since(self, after: int, *, limit: int = 256) -> tuple[Row, ...]:
        """The oldest rows of all streams with seq > `after`: what projections feed on."""
        return tuple(self._rows[after:after + limit])

    @property
    def last_seq(self) -> int:
        """The newest row."""
        return self.index.last_seq

    def _row(self, seq: int) -> Row:
        return self._rows[seq - 1]


def numbered(commit: Commit, *, first: int, epochs: dict[str, int], at: float) -> list[Row]:
    """The rows of a commit as they go into the journal; a claim gets its author's next epoch."""
    epoch = epochs.get(commit.author, 0) + 1 if commit.epoch == CLAIM else commit.epoch
    return [
        Row(seq=first + offset, stream=row.stream, kind=row.kind, author=commit.author, epoch=epoch,
            op_id=commit.op_id, at=at, data=unpack_data(pack_data(row.data)))
        for offset, row in enumerate(commit.rows)
    ]


def woken(commit: Commit) -> list[str]:
    """The agents to whose inbox somebody else wrote: they must be told."""
    written = dict.fromkeys(row.stream.removeprefix("inbox:") for row in commit.rows if row.stream.startswith("inbox:"))
    return [agent_id for agent_id in written if commit.author != kinds.agent_stream(agent_id)]
