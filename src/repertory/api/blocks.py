"""Shared blocks: memory that several agents see and edit, with every version kept."""

from __future__ import annotations

from collections.abc import AsyncIterator

from repertory.api.links import Links
from repertory.errors import BlockNotFound
from repertory.memory.block import DEFAULT_LIMIT_CHARS, Append, Block, Edit, Insert, Rewrite, Substitute
from repertory.memory.versions import BlockChange, BlockVersion

#: seconds of one wait for the next version; a wait that ends is begun anew
_WATCH_S = 30.0


class SharedBlock:
    """One shared block. Edits of several writers never overwrite each other; see `BlockCoordinator`."""

    def __init__(self, links: Links, block_id: str, label: str) -> None:
        self._links = links
        self.id = block_id
        self.label = label

    def __repr__(self) -> str:
        return f"SharedBlock({self.label!r}, id={self.id!r})"

    async def read(self) -> Block:
        """The block as it is now. Raises BlockNotFound."""
        return (await self._links.blocks.read(self.id)).block()

    async def append(self, text: str, *, key: str | None = None) -> BlockVersion:
        """Add a line at the end. Raises BlockLimitExceeded, BlockReadOnly."""
        return await self._edit(Append(content=text), key)

    async def insert(self, text: str, line: int = -1, *, key: str | None = None) -> BlockVersion:
        """Put lines behind line `line` (0: at the top, -1: at the end)."""
        return await self._edit(Insert(text=text, line=line), key)

    async def replace(self, old: str, new: str, *, key: str | None = None) -> BlockVersion:
        """Put `new` in the place of `old`, wherever it stands. Raises BlockError if it does not."""
        return await self._edit(Substitute(old=old, new=new), key)

    async def rewrite(self, value: str, *, base_version: int = 0, key: str | None = None) -> BlockVersion:
        """A whole new value.

        `base_version` says which version you had read: what others have changed since is merged, and BlockConflict
        tells when it cannot be. 0 means: whatever is there.
        """
        return await self._edit(Rewrite(value=value, base_version=base_version), key)

    async def change(self, *, description: str | None = None, limit_chars: int | None = None,
                     read_only: bool | None = None, label: str | None = None, key: str | None = None) -> BlockVersion:
        """Change what is given of label, description, limit and protection."""
        change = BlockChange(label=label, description=description, limit_chars=limit_chars, read_only=read_only)
        op_id = self._links.op(self.id, key)
        return await self._links.blocks.change(self.id, change, op_id=op_id, by=self._links.me.id)

    async def history(self, *, after: int = 0, limit: int = 100) -> list[BlockVersion]:
        """Its versions behind version `after`, oldest first, each with its author and what was done."""
        return await self._links.blocks.history(self.id, after=after, limit=limit)

    async def diff(self, old: int, new: int) -> str:
        """What changed between two versions, in the form of `diff -u`."""
        return await self._links.blocks.diff(self.id, old, new)

    async def revert(self, version: int, *, key: str | None = None) -> BlockVersion:
        """Bring the value of an old version back, as a new version."""
        op_id = self._links.op(self.id, key)
        return await self._links.blocks.revert(self.id, version, op_id=op_id, by=self._links.me.id)

    async def watch(self, after: int = 0) -> AsyncIterator[BlockVersion]:
        """Each newest version above `after`, as it comes (two that come at once may be seen as one)."""
        while True:
            version = await self._links.blocks.watch(self.id, after, _WATCH_S)
            if version is not None:
                after = version.version
                yield version

    async def delete(self, *, key: str | None = None) -> None:
        """Delete the block; its history stays."""
        await self._links.blocks.delete(self.id, op_id=self._links.op(self.id, key), by=self._links.me.id)

    async def _edit(self, edit: Edit, key: str | None) -> BlockVersion:
        return await self._links.blocks.edit(self.id, edit, op_id=self._links.op(self.id, key), by=self._links.me.id)


class SharedBlocks:
    """The shared blocks of a system."""

    def __init__(self, links: Links) -> None:
        self._links = links

    async def create(self, label: str, value: str = "", *, description: str = "",
                     limit_chars: int = DEFAULT_LIMIT_CHARS, read_only: bool = False, key: str | None = None
                     ) -> SharedBlock:
        """A new shared block; give it to agents when they are created, or with `agent.memory.attach`.

        Raises BlockLimitExceeded.
        """
        made = await self._links.blocks.create(
            label, value, description=description, limit_chars=limit_chars, read_only=read_only,
            op_id=self._links.op("create block", key), by=self._links.me.id,
        )
        return SharedBlock(self._links, made.block_id, made.label)

    async def get(self, label_or_id: str) -> SharedBlock:
        """The block with that id, or the only one with that label. Raises BlockNotFound."""
        every = await self._links.blocks.find()
        found = [b for b in every if b.block_id == label_or_id] or [b for b in every if b.label == label_or_id]
        if len(found) == 1:
            return SharedBlock(self._links, found[0].block_id, found[0].label)
        if found:
            ids = ", ".join(block.block_id for block in found)
            raise BlockNotFound(f"there are {len(found)} shared blocks labelled {label_or_id!r}: name one by id: {ids}")
        labels = ", ".join(sorted({block.label for block in every})) or "none"
        raise BlockNotFound(f"there is no shared block {label_or_id!r}; there are: {labels}")

    async def list(self) -> list[BlockVersion]:
        """The newest version of each."""
        return await self._links.blocks.find()
