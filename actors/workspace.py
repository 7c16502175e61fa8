"""What a built-in tool sees and changes while one step's calls are carried out.

It stands on a state and collects what the calls do: changed blocks, passages, words to the sender, messages to other
agents. Nothing of it is real until the step is committed, except edits of shared blocks, which the coordinator
commits at once under the call's op_id. Satisfies `tools.tool.ToolContext`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from repertory.actors.surroundings import Surroundings
from repertory.errors import ToolError
from repertory.ids import derived
from repertory.memory.block import Block, Edit
from repertory.memory.edits import apply_edit
from repertory.memory.state import AgentState
from repertory.messages import Envelope, Sender

#: changed blocks, words to the sender, messages to agents, passages
Effects = tuple[dict[str, Block], tuple[str, ...], tuple[tuple[str, Envelope], ...], tuple[dict[str, Any], ...]]


class Workspace:
    """The scratch memory of one step."""

    def __init__(self, state: AgentState, surroundings: Surroundings, now: float) -> None:
        self.agent_id = state.id
        self.now = now
        self.timezone = state.spec.timezone
        self.base = state
        self.changed: dict[str, Block] = {}
        self.said: list[str] = []
        self.posts: list[tuple[str, Envelope]] = []
        self.passages: list[dict[str, Any]] = []
        #: of the call that is being carried out
        self.op = ""
        #: whom that call has asked already, when its turn has rested
        self.asked: tuple[str, ...] | None = None
        self._surroundings = surroundings

    def effects(self) -> Effects:
        """All that the calls have done so far, to come back to."""
        return dict(self.changed), tuple(self.said), tuple(self.posts), tuple(self.passages)

    def restore(self, effects: Effects) -> None:
        """Undo what was done since."""
        changed, said, posts, passages = effects
        self.changed, self.said, self.posts, self.passages = dict(changed), [*said], [*posts], [*passages]

    def block(self, label: str) -> Block:
        """See ToolContext."""
        block = self.changed.get(label) or self.base.blocks.get(label)
        if block is None:
            known = ", ".join([*self.base.blocks, *(name for name in self.changed if name not in self.base.blocks)])
            raise ToolError(f"Block field {label} does not exist (available sections = {known})")
        return block

    async def edit(self, label: str, edit: Edit) -> str:
        """See ToolContext."""
        block = self.block(label)
        if block.block_id is not None:
            version = await self._surroundings.blocks.edit(block.block_id, edit, op_id=self.op, by=self.agent_id)
            changed = dataclasses.replace(block, value=version.value, version=version.version)
        else:
            changed = dataclasses.replace(block, value=apply_edit(block, edit))
        self.changed[label] = changed
        return changed.value

    def create_block(self, block: Block) -> None:
        """See ToolContext."""
        if block.label in self.base.blocks or block.label in self.changed:
            raise ToolError(f"there is a block {block.label!r} already")
        self.changed[block.label] = block

    def say(self, text: str) -> None:
        """See ToolContext."""
        self.said.append(text)

    async def post(self, agent_id: str, text: str) -> None:
        """See ToolContext."""
        op_id = f"{self.op}/post/{len(self.posts)}"
        await self._surroundings.store.ask("reserve", agent_id=agent_id, op_id=op_id)
        self.posts.append((agent_id, Envelope(
            run_id=derived("run", op_id), message_id=derived("message", op_id), text=text,
            sender=Sender(kind="agent", id=self.agent_id),
        )))

    def insert_passage(self, text: str, tags: tuple[str, ...]) -> None:
        """See ToolContext."""
        passage_id = derived("passage", self.op, len(self.passages))
        self.passages.append({"id": passage_id, "text": text, "tags": list(tags), "at": self.now})

    async def search(self, what: Literal["messages", "passages"], **query: Any) -> list[dict[str, Any]]:
        """See ToolContext."""
        return await self._surroundings.search.search(self.agent_id, what, query)

    async def agents_with_tags(self, match_all: tuple[str, ...], match_any: tuple[str, ...]) -> list[str]:
        """See ToolContext."""
        if self.asked is not None:
            return list(self.asked)
        found = await self._surroundings.store.ask("agents", match_all=match_all, match_any=match_any)
        return [agent["id"] for agent in found if agent["id"] != self.agent_id]
