"""The coordinator of shared blocks: every change of one goes through here, one after the other (P4).

Appends, inserts and substitutions are applied to the newest version, so they commute where they can. A rewrite says
which version its author had read; when others have written since, the two are merged line by line, and what cannot be
merged comes back as a conflict with the current value and the difference. Each version is a row of the journal, with
its author, its op_id and what was done.

The coordinator has no truth of its own: what it holds is read from the store, and read again whenever a commit's
outcome is not known. Each of its rows is written under an epoch, so that a coordinator that was replaced is fenced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from repertory.errors import BlockConflict, BlockError, BlockNotFound, OpConflict, StaleExpectation
from repertory.ids import IdSource, derived
from repertory.memory import rows as kinds
from repertory.memory.block import DEFAULT_LIMIT_CHARS, Edit, Rewrite
from repertory.memory.edits import apply_edit, check_limit
from repertory.memory.heads import BlockHeads
from repertory.memory.journal import CLAIM, Commit, Committed, NewRow, Store
from repertory.memory.merge import merge, unified_diff
from repertory.memory.versions import BlockChange, BlockVersion, action_of, changed, from_row, row_data

#: a change that meets a newer row than we knew of is made again on that one; twice is more than one lost answer needs
ATTEMPTS = 3

#: from the newest version to the next one
Propose = Callable[[BlockVersion], Awaitable[BlockVersion]]


class BlockCoordinator:
    """Shared blocks: create, read, edit, merge, watch, compare, revert."""

    def __init__(self, store: Store, ids: IdSource) -> None:
        """`store` keeps the versions; `ids` names our claim of an epoch, so no two coordinators may share a seed."""
        self._store = store
        self._heads = BlockHeads(store)
        # one op_id however often the claim is tried: one whose answer was lost is not made twice
        self._claim_id = f"{kinds.COORDINATOR}/{ids.new('turn')}"
        self._claiming = asyncio.Lock()
        self._epoch = 0

    # --- reading ------------------------------------------------------------------------------------------------------

    async def read(self, block_id: str) -> BlockVersion:
        """The newest version. Raises BlockNotFound."""
        return await self._heads.head(block_id)

    async def read_since(self, known: dict[str, int]) -> dict[str, BlockVersion | None]:
        """Of the blocks in `known` (block id -> version) the newest version of those that changed; None: deleted."""
        news: dict[str, BlockVersion | None] = {}
        for block_id, version in known.items():
            try:
                head = await self._heads.head(block_id)
            except BlockNotFound:
                news[block_id] = None
            else:
                if head.version != version:
                    news[block_id] = head
        return news

    async def find(self, label: str | None = None) -> list[BlockVersion]:
        """The newest versions of all blocks with that label (of all blocks, if None)."""
        found: list[BlockVersion] = []
        for block_id in await self._heads.learn():
            try:
                if label in (None, (await self._heads.entry(block_id)).label):
                    found.append(await self._heads.head(block_id))
            except BlockNotFound:
                continue
        return found

    async def history(self, block_id: str, after: int = 0, limit: int = 100) -> list[BlockVersion]:
        """Versions behind version `after`, at most `limit`, in order; also those of a deleted block.

        Raises BlockNotFound if there never was one.
        """
        return await self._heads.history(block_id, after=after, limit=limit)

    async def diff(self, block_id: str, old: int, new: int) -> str:
        """What changed between two versions, in the form of `diff -u`. Raises BlockNotFound."""
        one, other = await self._heads.version(block_id, old), await self._heads.version(block_id, new)
        return unified_diff(one.value, other.value, old_name=_name(one), new_name=_name(other))

    async def watch(self, block_id: str, after_version: int, wait_s: float) -> BlockVersion | None:
        """The newest version as soon as it is above `after_version`; None if that takes more than `wait_s` seconds.

        Raises BlockNotFound, also when the block is deleted meanwhile.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        while (head := await self._heads.head(block_id)).version <= after_version:
            watcher: asyncio.Future[None] = loop.create_future()
            watchers = (await self._heads.entry(block_id)).watchers
            watchers.append(watcher)
            try:
                async with asyncio.timeout_at(deadline):
                    await watcher
            except TimeoutError:
                return None
            finally:
                if watcher in watchers:
                    watchers.remove(watcher)
        return head

    # --- writing ------------------------------------------------------------------------------------------------------

    async def create(self, label: str, value: str = "", *, description: str = "",
                     limit_chars: int = DEFAULT_LIMIT_CHARS, read_only: bool = False, op_id: str, by: str
                     ) -> BlockVersion:
        """A new block, whose id follows from `op_id`. Raises BlockLimitExceeded."""
        first = BlockVersion(
            block_id=derived("block", op_id), version=1, label=label, value=value.replace("\x00", ""),
            description=description, limit_chars=limit_chars, read_only=read_only, by=by, action={"do": "create"},
        )
        check_limit(replace(first.block(), value=""), first.value)
        committed = await self._commit(first, op_id, expected=0)
        created = replace(first, op_id=op_id, at=committed.at, seq=committed.first)
        if not committed.replayed:
            self._heads.keep(created)
        return created

    async def edit(self, block_id: str, edit: Edit, *, op_id: str, by: str) -> BlockVersion:
        """Apply `edit` to the newest version; under an `op_id` that was used before: the version that it made then.

        Raises BlockNotFound, BlockReadOnly, BlockLimitExceeded, BlockError when the edit does not fit, BlockConflict
        (data: current, version, diff) when a rewrite cannot be merged with what others have written since its base.
        """
        async def propose(head: BlockVersion) -> BlockVersion:
            value = apply_edit(head.block(), edit)
            result: dict[str, Any] = {}
            if isinstance(edit, Rewrite) and edit.base_version not in (0, head.version):
                value = apply_edit(head.block(), Rewrite(value=await self._merged(head, edit)))
                result = {"merged_from": edit.base_version}
            return replace(head, value=value, action=action_of(edit), result=result)

        return await self._write(block_id, propose, op_id=op_id, by=by)

    async def change(self, block_id: str, change: BlockChange, *, op_id: str, by: str) -> BlockVersion:
        """Change label, limit, description, value or protection from outside. Raises as `edit` does."""
        async def propose(head: BlockVersion) -> BlockVersion:
            block = changed(head, change)
            value = block.value.replace("\x00", "")
            if change.value is not None or change.limit_chars is not None:
                check_limit(replace(block, value=head.value), value)
            return replace(
                head, label=block.label, value=value, description=block.description, limit_chars=block.limit_chars,
                read_only=block.read_only, action=action_of(change), result={},
            )

        return await self._write(block_id, propose, op_id=op_id, by=by)

    async def revert(self, block_id: str, version: int, *, op_id: str, by: str) -> BlockVersion:
        """A new version with the value of an old one (label, limit and description stay as they are).

        Raises BlockNotFound, BlockLimitExceeded.
        """
        async def propose(head: BlockVersion) -> BlockVersion:
            old = await self._heads.version(block_id, version)
            check_limit(head.block(), old.value)
            return replace(head, value=old.value, action={"do": "revert", "version": version}, result={})

        return await self._write(block_id, propose, op_id=op_id, by=by)

    async def delete(self, block_id: str, *, op_id: str, by: str) -> None:
        """Delete the block; its history stays readable. Raises BlockNotFound."""
        stream = kinds.block_stream(block_id)
        try:
            entry = await self._heads.entry(block_id)
            async with entry.lock:
                head = await self._heads.head(block_id)
                row = NewRow(stream=stream, kind="deleted", data={"by": by, "version": head.version})
                try:
                    await self._write_row(row, op_id, expected=head.seq)
                except BaseException:
                    entry.doubt()
                    raise
                self._heads.drop(block_id)
        except BlockNotFound:
            if not any(row.stream == stream for row in await self._store.lookup(op_id)):
                raise

    # --- the one way of a change --------------------------------------------------------------------------------------

    async def _write(self, block_id: str, propose: Propose, *, op_id: str, by: str) -> BlockVersion:
        try:
            async with (await self._heads.entry(block_id)).lock:
                return await self._write_newest(block_id, propose, op_id=op_id, by=by)
        except (BlockError, BlockNotFound, OpConflict):
            # a repeated edit no longer fits the value that it has made itself: its own version is the answer
            for row in await self._store.lookup(op_id):
                if row.kind == "version" and row.stream == kinds.block_stream(block_id):
                    return from_row(row)
            raise

    async def _write_newest(self, block_id: str, propose: Propose, *, op_id: str, by: str) -> BlockVersion:
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._write_once(block_id, propose, op_id=op_id, by=by)
            except StaleExpectation:
                continue
        return await self._write_once(block_id, propose, op_id=op_id, by=by)

    async def _write_once(self, block_id: str, propose: Propose, *, op_id: str, by: str) -> BlockVersion:
        head = await self._heads.head(block_id)
        entry = await self._heads.entry(block_id)
        proposed = replace(await propose(head), version=head.version + 1, by=by)
        try:
            committed = await self._commit(proposed, op_id, expected=head.seq)
        except BaseException:
            # whatever cut it short, cancellation too: the commit may be under way, so the head is read again
            entry.doubt()
            raise
        written = replace(proposed, op_id=op_id, at=committed.at, seq=committed.first)
        if committed.replayed:
            entry.doubt()
        else:
            self._heads.keep(written)
        return written

    async def _merged(self, head: BlockVersion, edit: Rewrite) -> str:
        base = await self._heads.version(head.block_id, edit.base_version)
        value = merge(base.value, head.value, edit.value)
        if value is not None:
            return value
        difference = unified_diff(base.value, head.value, old_name=_name(base), new_name=_name(head))
        raise BlockConflict(
            f"Memory block '{head.label}' was changed by {head.by or 'somebody else'} since you read it, on the same "
            f"lines. Nothing was changed. What others have changed:\n{difference}\n"
            f"The block is now:\n{head.value}\nTry again with what it says now.",
            current=head.value, version=head.version, diff=difference,
        )

    async def _commit(self, version: BlockVersion, op_id: str, *, expected: int) -> Committed:
        row = NewRow(stream=kinds.block_stream(version.block_id), kind="version", data=row_data(version))
        return await self._write_row(row, op_id, expected=expected)

    async def _write_row(self, row: NewRow, op_id: str, *, expected: int) -> Committed:
        return await self._store.commit(Commit(
            op_id=op_id, author=kinds.COORDINATOR, epoch=await self._claimed(), rows=(row,),
            expect={row.stream: expected},
        ))

    async def _claimed(self) -> int:
        """Our epoch; claimed at the first write."""
        async with self._claiming:
            if not self._epoch:
                claim = NewRow(stream=kinds.claim_stream(kinds.COORDINATOR), kind="activated")
                committed = await self._store.commit(
                    Commit(op_id=self._claim_id, author=kinds.COORDINATOR, epoch=CLAIM, rows=(claim,))
                )
                self._epoch = committed.epoch
        return self._epoch


def _name(version: BlockVersion) -> str:
    return f"{version.label} (version {version.version})"
