"""A journal with agents that talk and remember, without anything that lives: for tests of what is read from it."""

from __future__ import annotations

from typing import Any

from repertory.memory.journal import CLAIM, Commit, NewRow, Store
from repertory.memory.rows import DIRECTORY, REGISTRY, agent_stream, claim_stream, snapshot_stream
from repertory.messages import Message, ToolCall, pack


class Diary:
    """Writes into a store what agents would write."""

    def __init__(self, store: Store, name: str = "diary") -> None:
        """`name` tells it from others that wrote into the same store before."""
        self.store = store
        self._name = name
        self._epochs: dict[str, int] = {}
        self._count = 0

    async def agent(self, name: str) -> str:
        """An agent; its id."""
        agent_id = f"agent-{name}"
        data = {"id": agent_id, "name": name, "spec": {}}
        await self._write(DIRECTORY, NewRow(stream=REGISTRY, kind="agent_created", data=data))
        return agent_id

    async def forget(self, agent_id: str) -> None:
        await self._write(DIRECTORY, NewRow(stream=REGISTRY, kind="agent_deleted", data={"id": agent_id}))

    async def said(self, agent_id: str, *messages: Message, conversation_id: str = "default") -> int:
        """Messages that became part of a conversation; the seq of the row."""
        return await self._edited(agent_id, conversation=conversation_id, messages=[pack(m) for m in messages])

    async def kept(self, agent_id: str, passage_id: str, text: str, *, tags: tuple[str, ...] = (), at: float = 0.0
                   ) -> int:
        """A passage into archival memory."""
        return await self._edited(agent_id, passages=[{"id": passage_id, "text": text, "tags": list(tags), "at": at}])

    async def dropped(self, agent_id: str, *passage_ids: str) -> int:
        return await self._edited(agent_id, deleted_passages=[{"id": own, "tags": []} for own in passage_ids])

    async def snapshot(self, agent_id: str, upto: int) -> int:
        row = NewRow(stream=snapshot_stream(agent_id), kind="snapshot", data={"upto": upto, "state": {"seq": upto}})
        return await self._write(agent_stream(agent_id), row)

    async def _edited(self, agent_id: str, **data: Any) -> int:
        return await self._write(agent_stream(agent_id), NewRow(
            stream=agent_stream(agent_id), kind="edited", data=data))

    async def _write(self, author: str, row: NewRow) -> int:
        if author not in self._epochs:
            claim = NewRow(stream=claim_stream(author), kind="activated")
            self._epochs[author] = (await self.store.commit(
                Commit(op_id=f"{self._name}/claim/{author}", author=author, epoch=CLAIM, rows=(claim,)))).epoch
        self._count += 1
        commit = Commit(op_id=f"{self._name}/{self._count}", author=author, epoch=self._epochs[author], rows=(row,))
        return (await self.store.commit(commit)).last


def user(message_id: str, text: str, *, at: float = 0.0) -> Message:
    return Message(id=message_id, role="user", text=text, at=at)


def assistant(message_id: str, text: str, *, at: float = 0.0, calls: tuple[ToolCall, ...] = ()) -> Message:
    return Message(id=message_id, role="assistant", text=text, at=at, tool_calls=calls)


def result(message_id: str, tool: str, text: str, *, at: float = 0.0) -> Message:
    return Message(id=message_id, role="tool", text=text, at=at, tool_name=tool, tool_call_id="call_0")
