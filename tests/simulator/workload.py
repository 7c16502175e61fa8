"""People who use the system: they send, cancel, edit shared blocks, and try again when they are not answered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from repertory.actors.blocks import CoordinatorHandle
from repertory.actors.callers import AgentCaller
from repertory.actors.handles import DirectoryHandle, StoreHandle
from repertory.errors import (
    BlockConflict,
    BlockError,
    CommitRefused,
    DeadlineExceeded,
    OutcomeUnknown,
    RepertoryError,
)
from repertory.memory.block import Append, Rewrite, Substitute
from repertory.messages import Envelope, Sender

from .ledger import Edited, Ledger, Sent
from .plan import Plan, Step
from .script import Op, Order, order

if TYPE_CHECKING:
    from .world import World

#: seconds that a person waits for an answer before trying again
PATIENCE_S = 90.0
#: a person who holds a key tries again this often
TRIES = 5


class Person:
    """One of the people, with a program of their own (a process that does not die)."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._plan: Plan = world.plan
        self._number = number
        self._ledger: Ledger = world.ledger
        store = StoreHandle(world.store_ref)
        self.directory = DirectoryHandle(world.directory_ref)
        self.blocks = CoordinatorHandle(world.coordinator_ref)
        self.caller = AgentCaller(self.directory, store, now=world.now)

    async def live(self, steps: list[Step]) -> None:
        """Do all steps, each at its time, side by side."""
        await asyncio.gather(*(self._at_its_time(step) for step in steps))

    async def _at_its_time(self, step: Step) -> None:
        await asyncio.sleep(max(0.0, step.at))
        deed: Callable[[Step], Awaitable[None]] = getattr(self, f"_{step.verb}")
        try:
            await deed(step)
        except RepertoryError as error:
            self._note("%s (step %d) came to nothing: %s", step.verb, step.number, type(error).__name__)

    # --- messages -----------------------------------------------------------------------------------------------------

    async def _ask(self, step: Step) -> None:
        sent = self._prepared(step, f"m{step.number}")
        await self._asked(sent, self._order(step, sent).text, tries=TRIES if step.keyed else 1)
        if not step.keyed and sent.outcome is None:
            again = self._prepared(step, f"m{step.number}r")
            await self._asked(again, self._order(step, again).text, tries=1)

    async def tell(self, sent: Sent, what: Order) -> None:
        """Send a message and wait for its answer."""
        self._ledger.sent.append(sent)
        await self._asked(sent, what.text, tries=TRIES)

    async def _asked(self, sent: Sent, text: str, *, tries: int) -> None:
        envelope = self._envelope(sent, text)
        for _ in range(tries):
            try:
                outcome = await self.caller.ask(sent.agent_id, envelope, op_id=sent.op_id, deadline_s=PATIENCE_S)
            except (DeadlineExceeded, OutcomeUnknown) as error:
                self._note("%s: no answer yet (%s)", sent.token, type(error).__name__)
                continue
            except CommitRefused as error:
                sent.refused = type(error).__name__
                return
            sent.acknowledged, sent.acknowledged_at, sent.outcome = True, self._world.loop.time(), outcome
            self._note("%s is answered: %s %s %s", sent.token, outcome.status, outcome.stop_reason, outcome.text)
            self._world.auditor.answered(sent)
            return

    async def _post(self, step: Step) -> None:
        sent = self._prepared(step, f"m{step.number}")
        await self._posted(sent, self._order(step, sent).text, TRIES if step.keyed else 1)

    async def _posted(self, sent: Sent, text: str, tries: int = TRIES) -> None:
        envelope = self._envelope(sent, text)
        for _ in range(tries):
            try:
                receipt = await self.caller.post(sent.agent_id, envelope, op_id=sent.op_id,
                                                 author=f"client:{self._number}")
            except OutcomeUnknown:
                continue
            except CommitRefused as error:
                sent.refused = type(error).__name__
                return
            sent.acknowledged, sent.acknowledged_at = True, self._world.loop.time()
            self._note("%s has a receipt: row %d", sent.token, receipt.seq)
            return

    async def _burst(self, step: Step) -> None:
        for number in range(4):
            sent = self._prepared(step, f"m{step.number}.{'abcd'[number]}")
            await self._posted(sent, order(sent.token).text)
            if not sent.acknowledged:
                return

    async def _cast(self, step: Step) -> None:
        found = await self.directory.list(match_all=(f"tag{step.agent % 2}",))
        await asyncio.gather(*(
            self._asked(self._prepared(step, f"m{step.number}.{number}", agent["id"]),
                        order(f"m{step.number}.{number}").text, tries=TRIES)
            for number, agent in enumerate(found)
        ))

    async def _cancel(self, step: Step) -> None:
        sent = self._prepared(step, f"m{step.number}")
        asking = asyncio.create_task(self._asked(sent, self._order(step, sent).text, tries=TRIES))
        await asyncio.sleep(random.Random(step.salt).choice([0.0, 0.01, 0.2, 1.0, 4.0]))
        sent.cancelled = True
        try:
            await self.caller.call(sent.agent_id, "cancel", sent.run_id, deadline_s=PATIENCE_S)
        except RepertoryError as error:
            self._note("cancelling %s: %s", sent.token, type(error).__name__)
        await asking

    # --- shared blocks ------------------------------------------------------------------------------------------------

    async def _append(self, step: Step) -> None:
        block_id = self._block(step)
        line = f"<e{step.number}>"
        await self._edit(step, Edited(block_id=block_id, op_id=f"edit-{step.number}", line=line), Append(content=line))

    async def _rewrite(self, step: Step) -> None:
        block_id = self._block(step)
        for attempt in range(3):
            now = await self._read_block(block_id)
            rng = random.Random(f"{step.salt}/{attempt}")
            await asyncio.sleep(rng.random() ** 2 * 4)
            lines = now.value.split("\n") if now.value else []
            line = f"<r{step.number}.{attempt}>"
            lines.insert(rng.randrange(len(lines) + 1), line)
            edited = Edited(block_id=block_id, op_id=f"edit-{step.number}.{attempt}", line=line)
            await self._edit(step, edited, Rewrite(value="\n".join(lines), base_version=now.version))
            if edited.refused != "BlockConflict":
                return

    async def _substitute(self, step: Step) -> None:
        block_id = self._block(step)
        mine = f"<s{step.number}>"
        first = Edited(block_id=block_id, op_id=f"edit-{step.number}.0", line=mine)
        await self._edit(step, first, Append(content=mine))
        if first.version:
            second = Edited(block_id=block_id, op_id=f"edit-{step.number}.1", line=f"<S{step.number}>", gone=mine)
            await self._edit(step, second, Substitute(old=mine, new=second.line, once=True))

    async def _read(self, step: Step) -> None:
        await self._read_block(self._block(step))

    async def _read_block(self, block_id: str) -> Any:
        read = Edited(block_id=block_id, op_id="", began=self._world.loop.time(), reading=True)
        version = await self.blocks.read(block_id)
        read.version, read.ended = version.version, self._world.loop.time()
        self._ledger.edited.append(read)
        return version

    async def _edit(self, step: Step, edited: Edited, edit: Append | Rewrite | Substitute) -> None:
        edited.began = self._world.loop.time()
        self._ledger.edited.append(edited)
        for _ in range(TRIES if step.keyed else 1):
            try:
                version = await self.blocks.edit(edited.block_id, edit, op_id=edited.op_id, by=f"person {self._number}")
            except (BlockConflict, BlockError) as error:
                edited.refused = type(error).__name__
                return
            except RepertoryError as error:
                self._note("edit %s: %s", edited.op_id, type(error).__name__)
                continue
            edited.version, edited.ended = version.version, self._world.loop.time()
            self._note("edit %s is version %d", edited.op_id, version.version)
            return

    # --- agents -------------------------------------------------------------------------------------------------------

    async def _recreate(self, step: Step) -> None:
        number = step.agent % self._plan.agents
        ids = await self.directory.create([self._world.spec_of(number)], op_id=f"create-{number}")
        self._world.auditor.must(ids == [self._agent(step)], "P1", "creating an agent again under its key made another")

    # --- what to say --------------------------------------------------------------------------------------------------

    def _prepared(self, step: Step, token: str, agent_id: str = "") -> Sent:
        sent = Sent(
            token=token, agent_id=agent_id or self._agent(step), conversation_id=step.conversation,
            run_id=f"run-{token}", op_id=f"op-{token}", person=self._number, at=self._world.loop.time(),
            deadline_s=step.deadline_s, calm=self._plan.calm,
        )
        self._ledger.sent.append(sent)
        return sent

    def _envelope(self, sent: Sent, text: str) -> Envelope:
        self._note("sends %s to %s: %s", sent.token, sent.agent_id[:10], text)
        return Envelope(
            run_id=sent.run_id, message_id=f"message-{sent.token}", text=text, conversation_id=sent.conversation_id,
            sender=Sender(id=f"person-{self._number}"), within_s=sent.deadline_s,
        )

    def _order(self, step: Step, sent: Sent) -> Order:
        rng = random.Random(f"{self._plan.seed}/{step.salt}")
        return order_of(rng, sent.token, list(self._ledger.agents.values()), list(self._ledger.blocks.values()), 2)

    def _agent(self, step: Step) -> str:
        ids = list(self._ledger.agents.values())
        return ids[step.agent % len(ids)]

    def _block(self, step: Step) -> str:
        ids = list(self._ledger.blocks)
        return ids[step.block % len(ids)]

    def _note(self, what: str, *values: Any) -> None:
        self._world.trace.note(f"person {self._number}", what, *values)


def order_of(rng: random.Random, token: str, agents: list[str], labels: list[str], depth: int) -> Order:
    """Some order: edits, questions to others (which may ask on), messages, a broadcast."""
    steps: list[tuple[Op, ...]] = []
    for place in range(rng.choice([0, 0, 1, 1, 2, 3])):
        step = tuple(_op(rng, f"{token}.{place}{'xyz'[n]}", agents, labels, depth)
                     for n in range(rng.choice([1, 1, 1, 2])))
        steps.append(step)
    return Order(token=token, steps=tuple(steps))


def _op(rng: random.Random, token: str, agents: list[str], labels: list[str], depth: int) -> Op:
    verbs = {"append": 3, "note": 2, "insert": 1, "keep": 1, "think": 1, "chore": 1}
    if depth:
        verbs |= {"ask": 4, "post": 4, "cast": 1}
    verb = rng.choices(list(verbs), weights=list(verbs.values()))[0]
    match verb:
        case "append" | "insert":
            return Op(verb=verb, arguments=(rng.choice(labels),))
        case "note":
            return Op(verb="append", arguments=("notes",))
        case "ask" | "post":
            inner = order_of(rng, token, agents, labels, depth - 1)
            return Op(verb=verb, arguments=(rng.choice(agents),), message=inner)
        case "cast":
            return Op(verb=verb, arguments=(f"tag{rng.randrange(2)}",), message=order(token))
        case _:
            return Op(verb=verb)
