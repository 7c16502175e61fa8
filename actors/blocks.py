"""How others reach the coordinator of shared blocks: a typed handle that outlives lost answers.

Every change carries an op_id, so a call whose outcome is unknown is simply made again until it is known.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from repertory.actors.handles import Ref
from repertory.errors import Fenced, OutcomeUnknown
from repertory.memory.block import DEFAULT_LIMIT_CHARS, Edit
from repertory.memory.versions import BlockChange, BlockVersion

#: a coordinator that was replaced is back by then; a turn's deadline is longer
PATIENCE_S = 60.0
#: one attempt; a commit takes milliseconds, and a lost message is never answered
ATTEMPT_S = 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0


class CoordinatorHandle:
    """The coordinator's methods, each tried again while its outcome is unknown.

    What they do and raise is written at `BlockCoordinator`; each can raise OutcomeUnknown too, after `patience_s`.
    """

    def __init__(self, ref: Ref, *, patience_s: float = PATIENCE_S) -> None:
        """`ref` leads to the coordinator, also to the one that replaces it; `patience_s`: how long to try."""
        self._ref = ref
        self._patience_s = patience_s

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
                                                           attempt_s=wait_s + ATTEMPT_S))

    async def _ask(self, method: str, *args: Any, attempt_s: float = ATTEMPT_S, **kwargs: Any) -> Any:
        loop = asyncio.get_running_loop()
        deadline, pause_s = loop.time() + max(self._patience_s, attempt_s), _FIRST_PAUSE_S
        while True:
            try:
                return await self._ref.call(method, *args, timeout_s=attempt_s, **kwargs)
            except (OutcomeUnknown, Fenced):
                # fenced: that coordinator was replaced, and the reference will lead to the new one
                if loop.time() + pause_s >= deadline:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
