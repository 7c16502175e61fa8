"""What arrives at an agent: messages, replies, cancels; from callers directly and from its inbox in the journal.

A message from a caller is written into the inbox and begun at the same time, when that keeps the order: the agent
names the newest inbox row that it knows, and the store refuses if there is a newer one. Everything is handled in the
order of the journal.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from repertory.actors.feeds import Feed
from repertory.errors import Moved
from repertory.memory.journal import Row
from repertory.messages import Envelope, Outcome, unpack

#: runs whose events and outcomes a live agent remembers after their end
_REMEMBERED = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A message that is in the journal."""

    seq: int
    #: seconds since 1970
    at: float
    deadline_at: float


class Arrival:
    """A message that a caller has brought, until its run is over."""

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self.keeping: asyncio.Task[Kept] | None = None
        self.over: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.over.add_done_callback(_looked_at)

    async def kept(self) -> Kept:
        """Where it lies in the journal, as soon as it does. Raises what kept it out."""
        assert self.keeping is not None
        return await asyncio.shield(self.keeping)


class NotNext(Exception):
    """A message was begun too early: older ones came to light while it was written, or it had been done before."""


class Arrivals:
    """What waits for one agent, in memory."""

    def __init__(self, deadline_of: Callable[[Envelope, float], float]) -> None:
        """`deadline_of(envelope, at)`: when a message taken at `at` must be done."""
        self._deadline_of = deadline_of
        #: newest inbox row that is known
        self.head = 0
        #: messages that no turn has taken, by seq
        self.messages: dict[int, tuple[Envelope, Kept]] = {}
        #: replies by the op_id of their question
        self.replies: dict[str, Row] = {}
        self.by_op: dict[str, Arrival] = {}
        self._cancels: dict[str, list[int]] = {}
        self._asking: dict[str, asyncio.Task[Any]] = {}
        self._feeds: OrderedDict[str, Feed] = OrderedDict()
        self._ended: OrderedDict[str, Outcome] = OrderedDict()

    def renew(self, rows: Iterable[Row], head: int) -> None:
        """Begin anew with all inbox rows that are not settled, as the journal has them; `head` is its newest row."""
        self.messages, self.replies, self._cancels = {}, {}, {}
        self.take(rows)
        self.head = max(self.head, head)

    def take(self, rows: Iterable[Row]) -> None:
        """Take notice of inbox rows, in their order."""
        for row in rows:
            self.head = max(self.head, row.seq)
            match row.kind:
                case "message":
                    envelope = unpack(Envelope, row.data)
                    self.messages[row.seq] = (envelope, self.kept(envelope, row.seq, row.at))
                case "reply":
                    self.replies[row.data["in_reply_to"]] = row
                case "cancel":
                    self.note_cancel(row.data["run_id"], row.seq)

    def kept(self, envelope: Envelope, seq: int, at: float) -> Kept:
        """What is known of a message that lies at `seq`."""
        return Kept(seq=seq, at=at, deadline_at=self._deadline_of(envelope, at))

    def next_of(self, conversation_id: str) -> tuple[Envelope, Kept] | None:
        """The oldest message of a conversation that no turn has taken."""
        for seq in sorted(self.messages):
            envelope, kept = self.messages[seq]
            if envelope.conversation_id == conversation_id:
                return envelope, kept
        return None

    def conversations(self) -> list[str]:
        """Those for which there are messages."""
        return list(dict.fromkeys(envelope.conversation_id for envelope, _ in self.messages.values()))

    def consumed(self, seqs: Iterable[int]) -> None:
        """These rows are settled."""
        gone = set(seqs)
        if not gone:
            return
        self.messages = {seq: message for seq, message in self.messages.items() if seq not in gone}
        self.replies = {op_id: row for op_id, row in self.replies.items() if row.seq not in gone}
        self._cancels = {run_id: left for run_id, known in self._cancels.items()
                         if (left := [seq for seq in known if seq not in gone])}

    def note_cancel(self, run_id: str, seq: int) -> None:
        """Somebody wants that run to end; if its model is being asked, that ends at once."""
        self._cancels.setdefault(run_id, []).append(seq)
        if (asking := self._asking.get(run_id)) is not None:
            asking.cancel()

    def is_cancelled(self, run_id: str) -> bool:
        """Whether somebody wants that run to end."""
        return run_id in self._cancels

    def cancels(self, run_id: str) -> list[int]:
        """The inbox rows that say so."""
        return self._cancels.get(run_id, [])

    def stray_cancels(self, is_open: Callable[[str], bool]) -> list[int]:
        """Cancel rows of runs that are over; they are forgotten."""
        stray = [run_id for run_id in self._cancels if not is_open(run_id)]
        return [seq for run_id in stray for seq in self._cancels.pop(run_id)]

    @contextmanager
    def cancelling(self, run_id: str, asking: asyncio.Task[Any]) -> Iterator[None]:
        """While inside, a cancel of the run ends `asking`."""
        self._asking[run_id] = asking
        if self.is_cancelled(run_id):
            asking.cancel()
        try:
            yield
        finally:
            del self._asking[run_id]
            if not asking.done():
                asking.cancel()

    def feed(self, run_id: str) -> Feed:
        """The events of a run."""
        feed = self._feeds.get(run_id)
        if feed is None:
            feed = self._feeds[run_id] = Feed()
            while len(self._feeds) > 2 * _REMEMBERED:
                self._feeds.popitem(last=False)
        return feed

    def ended(self, outcome: Outcome) -> None:
        """A run is over: tell everybody who waits for it."""
        self._ended[outcome.run_id] = outcome
        while len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)
        self.feed(outcome.run_id).put("end", outcome=outcome)
        for op_id, arrival in list(self.by_op.items()):
            if arrival.envelope.run_id == outcome.run_id:
                del self.by_op[op_id]
                if not arrival.over.done():
                    arrival.over.set_result(outcome)

    def outcome(self, run_id: str) -> Outcome | None:
        """How a run ended, if that was not long ago."""
        return self._ended.get(run_id)

    def drop(self, op_id: str, error: BaseException) -> None:
        """A message could not be kept: whoever brought it is told."""
        arrival = self.by_op.pop(op_id, None)
        if arrival is not None and not arrival.over.done():
            arrival.over.set_exception(error)

    def being_kept(self) -> list[asyncio.Task[Kept]]:
        """Messages whose inbox rows are being written."""
        tasks = (arrival.keeping for arrival in self.by_op.values())
        return [task for task in tasks if task is not None and not task.done()]

    def watch(self, run_id: str) -> Arrival:
        """Something to wait for the end of a run by, for those who did not bring its message."""
        for arrival in self.by_op.values():
            if arrival.envelope.run_id == run_id:
                return arrival
        watcher = self.by_op[f"watch/{run_id}"] = Arrival(Envelope(run_id=run_id, message_id="", text=""))
        return watcher

    def close(self) -> None:
        """The agent leaves: whoever waits must ask elsewhere."""
        for op_id in list(self.by_op):
            self.drop(op_id, Moved())


def _looked_at(future: asyncio.Future[Outcome]) -> None:
    """Nobody may wait any more for a future that fails; that is no reason for a warning."""
    if not future.cancelled():
        future.exception()
