"""An agent's memory, seen and changed from outside: blocks, archive, and what was said."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict, Unpack

from repertory.api.blocks import SharedBlock
from repertory.api.links import READ_S, Links
from repertory.errors import BlockNotFound
from repertory.memory.block import DEFAULT_LIMIT_CHARS, Append, Block, Edit, Rewrite, Substitute
from repertory.memory.documents import Source
from repertory.messages import Message, pack, unpack


class Filters(TypedDict, total=False):
    """What a search may be narrowed by; see `memory.search.Query` for the meaning of each."""

    limit: int
    roles: Iterable[str]
    conversation_id: str
    tags: Iterable[str]
    match: str
    start_at: float
    end_at: float
    mode: str


class AgentMemory:
    """The memory of one agent. What a person changes here the agent sees before its next step."""

    def __init__(self, links: Links, agent_id: str) -> None:
        self._links = links
        self._agent_id = agent_id

    # --- blocks -------------------------------------------------------------------------------------------------------

    async def blocks(self) -> list[Block]:
        """Its blocks, private and shared, in the order in which it sees them."""
        found = await self._links.agents.call(self._agent_id, "view", "blocks", deadline_s=READ_S)
        return [unpack(Block, block) for block in found]

    async def block(self, label: str) -> Block:
        """The block of that label. Raises BlockNotFound, which says which there are."""
        blocks = {block.label: block for block in await self.blocks()}
        if label not in blocks:
            raise BlockNotFound(f"the agent has no block {label!r}; it has: {', '.join(blocks) or 'none'}", label=label)
        return blocks[label]

    async def set(self, label: str, value: str, *, key: str | None = None) -> None:
        """Give a block another value. Raises BlockNotFound or BlockLimitExceeded."""
        await self._edit(label, Rewrite(value=value), key)

    async def append(self, label: str, text: str, *, key: str | None = None) -> None:
        """Add a line to a block. Raises BlockNotFound or BlockLimitExceeded."""
        await self._edit(label, Append(content=text), key)

    async def replace(self, label: str, old: str, new: str, *, key: str | None = None) -> None:
        """Put `new` in the place of `old`. Raises BlockNotFound, BlockLimitExceeded, or BlockError if it is not there.
        """
        await self._edit(label, Substitute(old=old, new=new), key)

    async def add(self, label: str, value: str = "", *, description: str = "", read_only: bool = False,
                  limit_chars: int = DEFAULT_LIMIT_CHARS, key: str | None = None) -> None:
        """Add a private block, or put it in the place of the one of that label. Raises BlockLimitExceeded."""
        block = Block(label=label, value=value, description=description, limit_chars=limit_chars, read_only=read_only)
        await self._change({"set_block": pack(block)}, key)

    async def remove(self, label: str, *, key: str | None = None) -> None:
        """Remove a private block, or stop seeing a shared one (which lives on). Raises BlockNotFound."""
        await self._change({"remove_block": label}, key)

    async def attach(self, block: SharedBlock, *, key: str | None = None) -> None:
        """See and edit a shared block from now on. Raises BlockNotFound."""
        await block.read()
        await self._change({"attach": block.id}, key)

    # --- archive and recall -------------------------------------------------------------------------------------------

    async def archive(self, text: str, tags: Iterable[str] = (), *, key: str | None = None) -> str:
        """Put a passage into its archival memory; the passage's id."""
        told = await self._change({"passages": [{"text": text, "tags": list(tags)}]}, key)
        passages = told.get("passages", ())
        return str(passages[0]["id"]) if passages else ""

    async def search_archive(self, text: str, **filters: Unpack[Filters]) -> list[dict[str, Any]]:
        """Passages that fit, best first, as plain data: id, text, tags, at, score."""
        return await self._search("passages", text, filters)

    async def search_messages(self, text: str, **filters: Unpack[Filters]) -> list[dict[str, Any]]:
        """Messages that fit, best first, as plain data: id, role, text, at, score."""
        return await self._search("messages", text, filters)

    async def passages(self, *, limit: int = 100, after: str | None = None) -> list[dict[str, Any]]:
        """What it has archived, oldest first, behind the passage with the id `after`: id, text, tags, at."""
        return await self._links.reader.passages(self._agent_id, after=after, limit=limit)

    async def history(self, *, limit: int = 50, conversation_id: str | None = None, before: str | None = None
                      ) -> list[Message]:
        """The newest messages of all that was ever said, oldest first; `before`: those before the one with that id."""
        found = await self._links.reader.messages(self._agent_id, limit=limit, before=before, newest_first=True,
                                                  conversation_id=conversation_id)
        return [unpack(Message, message) for message in reversed(found)]

    async def _search(self, source: Source, text: str, filters: Filters) -> list[dict[str, Any]]:
        query: dict[str, Any] = {"text": text, **filters}
        for name in ("roles", "tags"):
            if name in query:
                query[name] = list(query[name])
        return await self._links.reader.search(self._agent_id, source, query)

    # --- changing -----------------------------------------------------------------------------------------------------

    async def _edit(self, label: str, edit: Edit, key: str | None) -> None:
        """Edit a private block at the agent, a shared one where it lives."""
        block = await self.block(label)
        if block.block_id is not None:
            op_id = self._links.op(block.block_id, key)
            await self._links.blocks.edit(block.block_id, edit, op_id=op_id, by=self._links.me.id)
        else:
            await self._change({"edit": {"label": label, "edit": edit}}, key)

    async def _change(self, change: dict[str, Any], key: str | None) -> dict[str, Any]:
        op_id = self._links.op(f"{self._agent_id}/memory", key)
        told: dict[str, Any] = await self._links.agents.call(
            self._agent_id, "edit", op_id, {**change, "by": self._links.me.id}, deadline_s=READ_S)
        return told
