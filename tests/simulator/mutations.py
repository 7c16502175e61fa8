"""Ten ways to break the product, to see whether the simulator notices: each a context manager that patches it.

They live in the tests only; the product has no switch for any of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from repertory.actors import agent as agent_module
from repertory.actors import coordinator as coordinator_module
from repertory.actors.agent import Agent
from repertory.actors.directory import Directory
from repertory.errors import Fenced
from repertory.memory import index as index_module
from repertory.memory.index import JournalIndex
from repertory.memory.mover import Mover
from repertory.memory.tail import Tail
from repertory.memory.waits import WaitGraph

Mutation = Callable[[], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def patched(place: Any, name: str, value: Any) -> Iterator[None]:
    """While inside, `place.name` (or `place[name]`) is `value`."""
    mapping = isinstance(place, dict)
    before = place[name] if mapping else getattr(place, name)
    put = place.__setitem__ if mapping else lambda key, item: setattr(place, key, item)
    put(name, value)
    try:
        yield
    finally:
        put(name, before)


@contextlib.contextmanager
def no_fencing() -> Iterator[None]:
    """The store takes commits of activations that are over."""
    original = JournalIndex._check_author

    def check(self: JournalIndex, commit: Any) -> None:
        with contextlib.suppress(Fenced):
            original(self, commit)

    with patched(JournalIndex, "_check_author", check):
        yield


@contextlib.contextmanager
def acknowledge_before_sync() -> Iterator[None]:
    """The store answers when a commit is queued."""
    async def durable(self: Tail, seq: int) -> None:
        return

    with patched(Tail, "durable", durable):
        yield


@contextlib.contextmanager
def op_id_ignored() -> Iterator[None]:
    """A repeated commit is carried out again."""
    original = JournalIndex.check

    def check(self: JournalIndex, commit: Any) -> Any:
        self.ops.pop(commit.op_id, None)
        return original(self, commit)

    with patched(JournalIndex, "check", check):
        yield


@contextlib.contextmanager
def wake_up_dropped() -> Iterator[None]:
    """Neither signals nor looks wake an agent for whom a message lies in its inbox."""
    async def wake(self: Directory, agent_id: str) -> None:
        return

    def attention(self: JournalIndex, now: float) -> list[str]:
        return []

    with patched(Directory, "wake", wake), patched(index_module.QUESTIONS, "attention", attention):
        yield


@contextlib.contextmanager
def edge_lost() -> Iterator[None]:
    """One in three waits is not entered into the graph."""
    original = WaitGraph.add

    def add(self: WaitGraph, waiting: Any, op_id: str, target: Any) -> None:
        if zlib.crc32(op_id.encode()) % 3:
            original(self, waiting, op_id, target)

    with patched(WaitGraph, "add", add):
        yield


@contextlib.contextmanager
def slot_held() -> Iterator[None]:
    """An agent whose turn waits for others does not leave its process."""
    idle, rest = Agent.idle, Agent.rest

    def waits(self: Agent) -> bool:
        return any(conversation.turn is not None for conversation in self.state.conversations.values())

    async def stays(self: Agent, within_s: float) -> bool:
        if not waits(self):
            return await rest(self, within_s)
        await asyncio.sleep(within_s)
        return False

    with patched(Agent, "idle", property(lambda self: idle.fget(self) and not waits(self))), \
            patched(Agent, "rest", stays):
        yield


@contextlib.contextmanager
def second_commit() -> Iterator[None]:
    """Messages to others go out in a commit of their own, after the step's."""
    original = Agent.commit

    async def commit(self: Agent, op: str, new_rows: list[Any]) -> Any:
        out = [row for row in new_rows if row.kind == "message"]
        if not op.endswith("/step") or not out:
            return await original(self, op, new_rows)
        done = await original(self, op, [row for row in new_rows if row.kind != "message"])
        await original(self, f"{op}/out", out)
        return done

    with patched(Agent, "commit", commit):
        yield


@contextlib.contextmanager
def turn_not_driven_on() -> Iterator[None]:
    """After a crash the calls of an answer that is in the journal are forgotten."""
    original = agent_module.revive

    def revive(agent_id: str, loaded: Any) -> Any:
        state = original(agent_id, loaded)
        for conversation in state.conversations.values():
            turn = conversation.turn
            if turn is not None and turn.response_kept:
                messages = (*conversation.messages, turn.response)
                state = state.with_conversation(dataclasses.replace(conversation, messages=messages, turn=None))
        return state

    with patched(agent_module, "revive", revive):
        yield


@contextlib.contextmanager
def tail_deleted_early() -> Iterator[None]:
    """A file of the tail goes as soon as its rows were handed to LanceDB, synced and verified or not."""
    async def trim(self: Mover) -> None:
        for number, last in list(self._tail.full.items()):
            if last <= self._chain.moved:
                await self._tail.drop(number)

    with patched(Mover, "_trim", trim):
        yield


@contextlib.contextmanager
def merge_drops_a_line() -> Iterator[None]:
    """A three-way merge leaves out a line that only the other side has."""
    original = coordinator_module.merge

    def merge(base: str, current: str, proposed: str) -> str | None:
        merged = original(base, current, proposed)
        if merged is None:
            return None
        lines = merged.split("\n")
        theirs = [line for line in current.split("\n") if line not in base.split("\n")]
        return "\n".join(line for line in lines if line not in theirs[:1])

    with patched(coordinator_module, "merge", merge):
        yield


MUTATIONS: dict[str, Mutation] = {
    "no fencing": no_fencing,
    "acknowledge before sync": acknowledge_before_sync,
    "op_id ignored": op_id_ignored,
    "a wake-up dropped": wake_up_dropped,
    "an edge lost in the wait graph": edge_lost,
    "a slot held while waiting": slot_held,
    "outgoing messages in a second commit": second_commit,
    "an interrupted turn is not driven to its step row": turn_not_driven_on,
    "a tail file deleted before its Lance version is verified": tail_deleted_early,
    "a merge that drops a line": merge_drops_a_line,
}
