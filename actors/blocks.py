"""How others reach the coordinator of shared blocks: a typed handle that outlives lost answers.

Every change carries an op_id, so a call whose outcome is unknown is simply made again until it is known.
"""

from __future__ import annotations

from typing import Any, cast

from repertory.actors.handles import GIVE_UP_S, TRY_S, Ref, repeated
from repertory.errors import Fenced, OutcomeUnknown
from repertory.memory.block import DEFAULT_LIMIT_CHARS, Edit
from repertory.memory.versions import BlockChange, BlockVersion


class CoordinatorHandle:
    """The coordinator's methods, each tried again while its outcome is unknown.

    What they do and raise is written at `BlockCoordinator`; each can raise OutcomeUnknown too, after `deadline_s`.
    """

    def __init__(self, ref: Ref, *, deadline_s: float = GIVE_UP_S) -> None:
        """`ref` leads to the coordinator, also to the one that replaces it; `deadline_s`: seconds to try."""
        self._ref = ref
        self._deadline_s = deadline_s

    async def create(self, label: str, value: str = "", *, description: str = "",
                     limit_chars: int = DEFAULT_LIMIT_CHARS, read_only: bool = False, op_id: str, by: str
                     ) -> BlockVersion:
        """A new block."""
        return cast(BlockVersion, await self._ask(
            "create", label, value, description=description, limit_chars=limit_chars, read_only=read_only,
            op_id=op_id, by=by,
        ))

    async def read(self, block_id: str) -> BlockVersion:
        """The newest version."""
        return cast(BlockVersion, await self._ask("read", block_id))

    async def read_since(self, known: dict[str, int]) -> dict[str, BlockVersion | None]:
        """Those of the known blocks that changed; None: deleted."""
        return cast("dict[str, BlockVersion | None]", await self._ask("read_since", known))

    async def find(self, label: str | None = None) -> list[BlockVersion]:
        """The blocks with that label, or all."""
        return cast("list[BlockVersion]", await self._ask("find", label))

    async def edit(self, block_id: str, edit: Edit, *, op_id: str, by: str) -> BlockVersion:
        """Apply an edit; the version that it makes."""
        return cast(BlockVersion, await self._ask("edit", block_id, edit, op_id=op_id, by=by))

    async def change(self, block_id: str, change: BlockChange, *, op_id: str, by: str) -> BlockVersion:
        """Change label, limit, description, value or protection from outside."""
        return cast(BlockVersion, await self._ask("change", block_id, change, op_id=op_id, by=by))

    async def history(self, block_id: str, after: int = 0, limit: int = 100) -> list[BlockVersion]:
        """Versions behind version `after`."""
        return cast("list[BlockVersion]", await self._ask("history", block_id, after, limit))

    async def diff(self, block_id: str, old: int, new: int) -> str:
        """What changed between two versions."""
        return cast(str, await self._ask("diff", block_id, old, new))

    async def revert(self, block_id: str, version: int, *, op_id: str, by: str) -> BlockVersion:
        """A new version with an old one's value."""
        return cast(BlockVersion, await self._ask("revert", block_id, version, op_id=op_id, by=by))

    async def delete(self, block_id: str, *, op_id: str, by: str) -> None:
        """Delete the block."""
        await self._ask("delete", block_id, op_id=op_id, by=by)

    async def watch(self, block_id: str, after_version: int, wait_s: float) -> BlockVersion | None:
        """Wait for a version above `after_version`."""
        return cast("BlockVersion | None", await self._ask("watch", block_id, after_version, wait_s,
                                                           try_s=wait_s + TRY_S))

    async def _ask(self, method: str, *args: Any, try_s: float = TRY_S, **kwargs: Any) -> Any:
        async def attempt(left_s: float) -> Any:
            try:
                return await self._ref.call(method, *args, timeout_s=left_s, **kwargs)
            except Fenced as fenced:
                # that coordinator was replaced and wrote nothing; the reference will lead to the new one
                raise OutcomeUnknown("the coordinator of shared blocks was replaced") from fenced

        return await repeated(attempt, deadline_s=max(self._deadline_s, try_s), try_s=try_s)
