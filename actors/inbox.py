"""An agent's inbox in the journal: writing callers' messages into it, reading what others wrote, keeping it tidy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from repertory.actors.arrivals import Arrival, Kept, NotNext
from repertory.errors import Fenced, Moved, RepertoryError, StaleExpectation
from repertory.memory import events, rows
from repertory.memory.journal import Commit, Committed, NewRow, Row
from repertory.memory.outcomes import outcome_of
from repertory.messages import TERMINAL, Envelope, Outcome

if TYPE_CHECKING:
    from repertory.actors.agent import Agent

#: tries of keeping the order of the inbox before a message is simply queued
ORDERED_TRIES = 3


class Inbox:
    """The inbox of one live agent."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        #: held while rows are read or written, so that they are noticed in the order of the journal
        self.lock = asyncio.Lock()
        #: when the first of the waiting runs is too late
        self._sweeper: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """The agent leaves."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def admit(self, envelope: Envelope, op_id: str) -> Arrival:
        """A new message: write it into the inbox, and begin its turn at once if it is the only one."""
        agent = self._agent
        if agent.lanes.resting:
            raise Moved("this agent is about to leave its process", agent_id=agent.id)
        arrival = agent.arrivals.by_op[op_id] = Arrival(envelope)
        conversation_id = envelope.conversation_id
        free = (conversation_id not in agent.lanes.running and agent.arrivals.next_of(conversation_id) is None
                and agent.state.conversation(conversation_id).turn is None)
        if free:
            agent.lanes.begin(conversation_id, arrival)
        arrival.keeping = agent.spawn(self._keep(arrival, op_id))
        return arrival

    async def _keep(self, arrival: Arrival, op_id: str) -> Kept:
        """Write a caller's message into the inbox. Raises NotNext if it is not the next to be done."""
        agent = self._agent
        envelope = arrival.envelope
        await asyncio.sleep(0)  # the request to the model leaves first: it is what the sender waits for
        try:
            async with self.lock:
                done = await self.write(op_id, events.message(agent.id, envelope))
                if done.replayed:
                    await self._recall(envelope, done)
        except RepertoryError as error:
            if isinstance(error, Fenced):
                agent.lanes.fence()
            agent.arrivals.drop(op_id, error)
            raise NotNext from error
        first = agent.arrivals.next_of(envelope.conversation_id)
        if first is None or first[0].run_id != envelope.run_id:
            agent.lanes.soon(envelope.conversation_id)
            self.watch_deadlines()
            raise NotNext
        agent.lanes.soon(envelope.conversation_id)
        return first[1]

    async def write(self, op_id: str, row: NewRow) -> Committed:
        """Write a row into the own inbox behind all rows that are known, and take notice of it."""
        agent = self._agent
        stream, author = rows.inbox_stream(agent.id), rows.agent_stream(agent.id)
        expect: dict[str, int] = {stream: agent.arrivals.head}
        for attempt in range(ORDERED_TRIES + 1):
            try:
                done = await agent.surroundings.store.commit(Commit(
                    op_id=op_id, author=author, epoch=agent.epoch, rows=(row,), expect=expect))
                break
            except StaleExpectation:
                await self.fetch()
                expect = {stream: agent.arrivals.head} if attempt + 1 < ORDERED_TRIES else {}
        if expect and not done.replayed:
            agent.arrivals.take([as_row(row, done, done.first, op_id, author, agent.epoch)])
        else:
            await self.fetch()
        return done

    async def _recall(self, envelope: Envelope, done: Committed) -> None:
        """A message that was delivered before: its run may be over."""
        agent = self._agent
        run = await agent.surroundings.store.ask("run", run_id=envelope.run_id)
        if run["status"] in TERMINAL:
            agent.arrivals.ended(await outcome_of(agent.surroundings.store, envelope.run_id, run))

    async def fetch(self) -> None:
        """Read the inbox rows that are not known yet."""
        agent = self._agent
        stream = rows.inbox_stream(agent.id)
        while found := await agent.surroundings.store.read(stream, after=agent.arrivals.head, limit=500):
            agent.arrivals.take(found)

    async def tidy(self) -> None:
        """Settle what needs no turn: replies and cancels that came too late."""
        agent = self._agent
        if agent.lanes.running or agent.lanes.resting:
            return
        asked = {question.op_id for conversation in agent.state.conversations.values() if conversation.turn
                 for question in conversation.turn.questions}
        open_runs = {conversation.turn.envelope.run_id for conversation in agent.state.conversations.values()
                     if conversation.turn}
        open_runs |= {envelope.run_id for envelope, _ in agent.arrivals.messages.values()}
        seqs = [row.seq for op_id, row in agent.arrivals.replies.items() if op_id not in asked]
        seqs += agent.arrivals.stray_cancels(open_runs.__contains__)
        if seqs:
            seqs.sort()
            agent.arrivals.consumed(seqs)
            try:
                await agent.commit(f"consumed/{seqs[0]}-{seqs[-1]}", [events.consumed(agent.id, seqs)])
            except RepertoryError:
                await agent.reload()
                raise

    async def end_unbegun(self) -> None:
        """End the runs that wait, behind another one or in vain, and are cancelled or late (P5)."""
        agent = self._agent
        for seq in sorted(agent.arrivals.messages):
            envelope, kept = agent.arrivals.messages.get(seq, (None, None))
            if envelope is None or kept is None or not self._waits(envelope):
                continue
            cancelled = agent.arrivals.is_cancelled(envelope.run_id)
            if not cancelled and agent.now() < kept.deadline_at:
                continue
            try:
                await self._unbegun(envelope, seq, cancelled)
            except RepertoryError:
                await agent.reload()
                raise
        self.watch_deadlines()

    async def _unbegun(self, envelope: Envelope, seq: int, cancelled: bool) -> None:
        agent = self._agent
        outcome = Outcome(
            run_id=envelope.run_id, agent_id=agent.id, status="cancelled" if cancelled else "failed",
            stop_reason="cancelled" if cancelled else "deadline",
            error="the run was cancelled" if cancelled else "the deadline of the run passed before its turn came")
        settled = [seq, *agent.arrivals.cancels(envelope.run_id)]
        agent.arrivals.consumed(settled)  # from now on no turn takes it, and nobody else settles its cancel
        new = [events.unbegun(agent.id, envelope, settled, outcome)]
        if envelope.reply_to is not None:
            new.append(events.reply(envelope.reply_to, outcome))
        await agent.commit(f"{envelope.run_id}/unbegun", new)
        agent.over(outcome)

    def watch_deadlines(self) -> None:
        """See to it that waiting runs end at their deadlines."""
        agent = self._agent
        self.close()
        late = [kept.deadline_at for envelope, kept in agent.arrivals.messages.values() if self._waits(envelope)]
        if late and not agent.lanes.fenced:
            after_s = max(0.05, min(late) - agent.now() + 0.05)
            self._sweeper = asyncio.get_running_loop().call_later(after_s, self._sweep)

    def _waits(self, envelope: Envelope) -> bool:
        """Whether another run's turn keeps this message from being taken, or the agent is about to leave."""
        lanes, conversation_id = self._agent.lanes, envelope.conversation_id
        turn = self._agent.state.conversation(conversation_id).turn
        if turn is None and conversation_id not in lanes.taken:
            return lanes.resting
        open_run = turn.envelope.run_id if turn is not None else envelope.run_id
        return lanes.taken.get(conversation_id, open_run) != envelope.run_id

    def _sweep(self) -> None:
        self._agent.spawn(self.end_unbegun())


def as_row(new: NewRow, done: Committed, seq: int, op_id: str, author: str, epoch: int) -> Row:
    """A row that was just written, as the journal will give it back."""
    return Row(seq=seq, stream=new.stream, kind=new.kind, author=author, epoch=epoch, op_id=op_id, at=done.at,
               data=new.data)
