"""An agent's copies of shared blocks: the truth is with the coordinator, and each step begins with a look there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from repertory.memory.state import AgentState, Change
from repertory.memory.versions import BlockVersion


def known_versions(state: AgentState) -> dict[str, int]:
    """The shared blocks that the agent sees, and which version of each it has (0: none yet)."""
    known = dict.fromkeys(state.spec.shared, 0)
    known.update((block.block_id, block.version) for block in state.blocks.values() if block.block_id is not None)
    return known


def with_versions(state: AgentState, versions: Mapping[str, BlockVersion | None]) -> AgentState:
    """The state with newer versions of shared blocks (None: the block was deleted)."""
    if not versions:
        return state
    stale = {block.label for block in state.blocks.values() if block.block_id in versions}
    blocks = {label: block for label, block in state.blocks.items() if label not in stale}
    changes = dict(state.changes)
    for version in versions.values():
        if version is not None and version.label not in blocks:
            blocks[version.label] = version.block()
            changes[version.label] = Change(at=version.at, by="you" if version.by == state.id else version.by)
    order = dict.fromkeys([*state.blocks, *blocks])
    return dataclasses.replace(
        state, blocks={label: blocks[label] for label in order if label in blocks}, changes=changes)
