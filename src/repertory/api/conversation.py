"""One thread of talk with an agent: sending, posting, streaming, asking for data."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypedDict, TypeVar, Unpack

from repertory.api import runs
from repertory.api.links import READ_S, Links
from repertory.api.replies import Event, Reply, event_of, reply_of
from repertory.api.structured import REPAIRS, ask_for
from repertory.messages import DEFAULT_CONVERSATION, Message, Outcome, Sender, unpack

T = TypeVar("T")

#: seconds of one look for new events of a run
_LISTEN_S = 10.0


class Manner(TypedDict, total=False):
    """How a message is sent; all of it may be left out."""

    #: an idempotency key: the same key sends once, however often the call is made
    key: str
    #: the run must be over after so many seconds
    timeout_s: float
    #: the run may take so many steps
    max_steps: int
    #: who speaks, when it is not the owner of the program
    sender: Sender | str


class PostedMessage:
    """A message that is kept: the journal holds it, whatever happens to the processes."""

    def __init__(self, links: Links, name: str, agent_id: str, run_id: str, seq: int) -> None:
        self._links = links
        self._name = name
        self.agent_id = agent_id
        self.run_id = run_id
        #: where it stands in the journal
        self.seq = seq

    def __repr__(self) -> str:
        return f"<posted to {self._name}, run {self.run_id}, kept at {self.seq}>"

    async def outcome(self, timeout_s: float | None = None) -> Outcome:
        """How the run ended. Raises DeadlineExceeded when it has not within `timeout_s` seconds; it goes on."""
        return await runs.wait_for(self._links, self.run_id, timeout_s)

    async def reply(self, timeout_s: float | None = None) -> Reply:
        """What the agent answered. Raises RunError when the run ended without an answer."""
        return reply_of(await self.outcome(timeout_s), self._name)


class Conversation:
    """A thread of messages with one agent; its memory is the same in all of them."""

    def __init__(self, links: Links, agent_id: str, name: str, conversation_id: str = DEFAULT_CONVERSATION) -> None:
        self._links = links
        self._name = name
        self.agent_id = agent_id
        self.conversation_id = conversation_id

    def __repr__(self) -> str:
        return f"Conversation({self.conversation_id!r} with {self._name!r})"

    async def send(self, text: str, **manner: Unpack[Manner]) -> Reply:
        """Send a message and wait for the answer.

        Raises RunFailed, RunCancelled or DeadlineExceeded when the run ends without one, InboxFull, AgentNotFound.
        """
        return await self._send(text, manner)

    async def post(self, text: str, **manner: Unpack[Manner]) -> PostedMessage:
        """Send a message without waiting for the answer; it is durable when this returns.

        Raises InboxFull or AgentNotFound.
        """
        op_id = self._op(manner)
        envelope = runs.envelope_of(self._links, op_id, text, self._delivery(manner))
        receipt = await runs.keep(self._links, op_id, self.agent_id, envelope)
        return PostedMessage(self._links, self._name, receipt.agent_id, receipt.run_id, receipt.seq)

    async def stream(self, text: str, **manner: Unpack[Manner]) -> AsyncIterator[Event]:
        """Send a message and see what happens, as it happens; the last event has the outcome.

        Breaking off the loop does not stop the run; see `Agent.cancel`. Raises as `send` does, after the last event.
        """
        op_id = self._op(manner)
        envelope = runs.envelope_of(self._links, op_id, text, self._delivery(manner))
        # listening begins before the model is asked, so that its first words are not missed
        await self._listen(envelope.run_id, 0, 0.0)
        run = asyncio.create_task(runs.carry_out(self._links, op_id, self.agent_id, envelope))
        number = 0
        try:
            async for event in self._events(envelope.run_id, run):
                number = event.number
                yield event
            outcome = await run
            yield Event(number=number + 1, kind="end", text=outcome.stop_reason, outcome=outcome)
        finally:
            run.cancel()
        reply_of(outcome, self._name)

    async def ask(self, text: str, returns: type[T], *, repairs: int = REPAIRS, **manner: Unpack[Manner]) -> T:
        """Send a message and get the answer as a validated object.

        Args:
            text: the question.
            returns: a pydantic model, or any other type that pydantic can describe.
            repairs: how often an answer that does not validate is sent back, in this conversation.
            manner: as for `send`.

        Raises:
            AnswerInvalid: it never validated; as `send` otherwise.
        """
        key, count = manner.pop("key", None), 0

        async def once(question: str, schema: dict[str, Any]) -> Reply:
            nonlocal count
            count += 1
            keyed: Manner = {**manner, "key": f"{key}/{count}"} if key is not None else manner
            return await self._send(question, keyed, schema)

        return await ask_for(once, text, returns, repairs=repairs)

    async def messages(self) -> list[Message]:
        """What lies in the model's view now, oldest first."""
        found = await self._links.agents.call(
            self.agent_id, "view", "messages", conversation_id=self.conversation_id, deadline_s=READ_S)
        return [unpack(Message, message) for message in found]

    async def _send(self, text: str, manner: Manner, schema: dict[str, Any] | None = None) -> Reply:
        op_id = self._op(manner)
        envelope = runs.envelope_of(self._links, op_id, text, self._delivery(manner, schema))
        return reply_of(await runs.carry_out(self._links, op_id, self.agent_id, envelope), self._name)

    async def _events(self, run_id: str, run: asyncio.Task[Outcome]) -> AsyncIterator[Event]:
        """Events until the run is over and all of them have been seen."""
        after = 0
        while True:
            over = run.done()
            for event in map(event_of, await self._news(run_id, after, run)):
                if event.kind == "end":
                    return
                after = event.number
                yield event
            if over:
                return  # whoever told the events is gone, but the run is not: it ended elsewhere

    async def _news(self, run_id: str, after: int, run: asyncio.Task[Outcome]) -> list[dict[str, Any]]:
        """The next events; what there is when the run ends meanwhile."""
        if run.done():
            return await self._listen(run_id, after, 0.0)
        listening = asyncio.create_task(self._listen(run_id, after, _LISTEN_S))
        try:
            await asyncio.wait((listening, run), return_when=asyncio.FIRST_COMPLETED)
            return await listening if listening.done() else await self._listen(run_id, after, 0.0)
        finally:
            listening.cancel()

    async def _listen(self, run_id: str, after: int, wait_s: float) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self._links.agents.call(
            self.agent_id, "events", run_id, after, wait_s, True, deadline_s=wait_s + READ_S)
        return found

    def _op(self, manner: Manner) -> str:
        return self._links.op(f"{self.agent_id}/{self.conversation_id}", manner.get("key"))

    def _delivery(self, manner: Manner, schema: dict[str, Any] | None = None) -> runs.Delivery:
        sender = manner.get("sender")
        return runs.Delivery(
            agent_id=self.agent_id, conversation_id=self.conversation_id,
            sender=Sender(id=sender, name=sender) if isinstance(sender, str) else sender,
            timeout_s=manner.get("timeout_s"), max_steps=manner.get("max_steps"), returns=schema,
        )
