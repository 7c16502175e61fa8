"""The lanes of an agent: one a conversation, in which one turn at a time is carried on."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from repertory.actors.arrivals import Arrival, Kept, NotNext
from repertory.actors.turns import TurnRunner
from repertory.errors import CommitRefused, Fenced, RouteError, StorageError
from repertory.memory.state import Turn
from repertory.messages import Envelope

if TYPE_CHECKING:
    from repertory.actors.agent import Agent

#: seconds before a turn that met a lost store or a lost answer goes on; doubled up to the second
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
#: refusals of its commits after which a run is given up: looking again has not helped
MOST_REFUSALS = 5

log = logging.getLogger(__name__)


class Lanes:
    """What runs in one live agent."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        #: no further turn begins or goes on, except to end a run whose deadline has passed
        self.resting = False
        #: a newer activation of the agent exists: this one can do nothing any more
        self.fenced = False
        #: by conversation: the task that carries its turns on
        self.running: dict[str, asyncio.Task[None]] = {}
        #: by conversation: the run whose turn is under way
        self.taken: dict[str, str] = {}
        #: by conversation: when a turn that rests must go on
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def close(self) -> None:
        """The agent leaves."""
        for timer in self._timers.values():
            timer.cancel()

    def fence(self) -> None:
        """A newer activation of the agent exists."""
        self.fenced = self.resting = True
        self._agent.arrivals.close()

    def begin_all(self) -> None:
        """Begin to work in every conversation in which there is something to do."""
        agent = self._agent
        open_ones = [key for key, one in agent.state.conversations.items() if one.turn is not None]
        for conversation_id in dict.fromkeys([*open_ones, *agent.arrivals.conversations()]):
            self.begin(conversation_id)

    def begin(self, conversation_id: str, arrival: Arrival | None = None) -> None:
        """Begin to work in a conversation, if there is something to do and nobody does it yet.

        `arrival`: a message that may be begun while its inbox row is still being written.
        """
        if self.fenced or conversation_id in self.running:
            return
        if arrival is None and self._next(conversation_id) is None:
            return
        self.running[conversation_id] = self._agent.spawn(self._work(conversation_id, arrival))

    def soon(self, conversation_id: str) -> None:
        """The same, as soon as what is being done now is done."""
        asyncio.get_running_loop().call_soon(self.begin, conversation_id)

    async def _work(self, conversation_id: str, arrival: Arrival | None) -> None:
        """Turn after turn of one conversation, until there is nothing to do or the turn rests."""
        pause, broken, refused = FIRST_PAUSE_S, "", 0
        try:
            while not self.fenced:
                runner = self._next(conversation_id, arrival)
                arrival = None
                if runner is not None and broken:
                    runner.give_up(broken)
                if runner is not None:
                    self.taken[conversation_id] = runner.run_id
                try:
                    if runner is None or not await runner.run():
                        break
                    pause, broken, refused = FIRST_PAUSE_S, "", 0
                except NotNext:
                    continue
                except Fenced:
                    self.fence()
                except (RouteError, StorageError, CommitRefused) as error:
                    # what became of the last commit is unknown, or somebody knows more: look, and go on from there
                    refused += isinstance(error, CommitRefused)
                    broken = error.message if refused > MOST_REFUSALS else broken
                    await self._look_again(pause)
                    pause = min(2 * pause, LONGEST_PAUSE_S)
                except Exception as error:  # a mistake in code, ours or of a user's agent type: the run says so (P5)
                    log.exception("a turn of %s failed", self._agent.id)
                    broken = f"{type(error).__name__}: {error}"
                    await self._look_again(pause)
        finally:
            self.running.pop(conversation_id, None)
            self.taken.pop(conversation_id, None)
            self._set_timer(conversation_id)
        self.begin(conversation_id)

    async def _look_again(self, pause_s: float) -> None:
        """Wait a little, and read from the journal how things stand; for as long as that takes."""
        while True:
            await asyncio.sleep(pause_s)
            try:
                return await self._agent.reload()
            except (RouteError, StorageError):
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _next(self, conversation_id: str, arrival: Arrival | None = None) -> TurnRunner | None:
        """The turn to go on with: one that is open, a message that has just come, or the oldest that waits."""
        agent, now = self._agent, self._agent.now()
        turn = agent.state.conversation(conversation_id).turn
        if turn is not None:
            go_on = now >= turn.deadline_at if self.resting else self._can_go_on(turn)
            return TurnRunner(agent, turn, resumed=True) if go_on else None
        if self.resting:
            return None
        if arrival is not None:
            kept = agent.arrivals.kept(arrival.envelope, 0, now)
            return TurnRunner(agent, self._turn(arrival.envelope, kept), arrival=arrival)
        waiting = agent.arrivals.next_of(conversation_id)
        return TurnRunner(agent, self._turn(*waiting)) if waiting is not None else None

    def _can_go_on(self, turn: Turn) -> bool:
        arrivals, now = self._agent.arrivals, self._agent.now()
        unanswered = any(not question.refused and question.op_id not in arrivals.replies for question in turn.questions)
        return (not unanswered or arrivals.is_cancelled(turn.envelope.run_id) or now >= turn.deadline_at
                or (turn.due_at is not None and now >= turn.due_at))

    def _set_timer(self, conversation_id: str) -> None:
        """A turn that rests goes on when its time is over, also if nobody answers."""
        if (old := self._timers.pop(conversation_id, None)) is not None:
            old.cancel()
        turn = self._agent.state.conversation(conversation_id).turn
        if turn is not None and turn.questions:
            due_at = turn.deadline_at if turn.due_at is None else min(turn.due_at, turn.deadline_at)
            after_s = max(0.05, due_at - self._agent.now() + 0.05)
            loop = asyncio.get_running_loop()
            self._timers[conversation_id] = loop.call_later(after_s, self.begin, conversation_id)

    def _turn(self, envelope: Envelope, kept: Kept) -> Turn:
        return Turn(envelope=envelope, seq=kept.seq, begun_at=kept.at, deadline_at=kept.deadline_at,
                    max_steps=envelope.max_steps or self._agent.state.spec.max_steps)
