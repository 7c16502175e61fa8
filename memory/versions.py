"""The versions of a shared block: what each one holds, who wrote it, and how it is kept as a row."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from repertory.memory.block import DEFAULT_LIMIT_CHARS, Block, Edit
from repertory.memory.journal import Row
from repertory.messages import pack


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockVersion:
    """A shared block as it was after one change. Versions of a block are numbered from 1, without gaps."""

    block_id: str
    version: int
    label: str
    value: str = ""
    description: str = ""
    limit_chars: int = DEFAULT_LIMIT_CHARS
    read_only: bool = False
    #: who made the change: an agent's id, or whatever name a client goes by
    by: str = ""
    #: what was done: `do` (create, append, insert, substitute, rewrite, change, revert) and its arguments
    action: dict[str, Any] = field(default_factory=dict)
    #: what came of it beyond the value: `merged_from`, the version that a merged rewrite was based on
    result: dict[str, Any] = field(default_factory=dict)
    op_id: str = ""
    #: seconds since 1970
    at: float = 0.0
    #: of its row in the journal
    seq: int = 0

    def block(self) -> Block:
        """The block as an agent attaches it."""
        return Block(
            label=self.label, value=self.value, description=self.description, limit_chars=self.limit_chars,
            read_only=self.read_only, block_id=self.block_id, version=self.version,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockChange:
    """A change from outside, by a person or a program; what is None stays. A read-only block can be changed so."""

    label: str | None = None
    value: str | None = None
    description: str | None = None
    limit_chars: int | None = None
    read_only: bool | None = None


#: what a row says beyond its own columns
_KEPT = ("version", "label", "value", "description", "limit_chars", "read_only", "by", "action", "result")


def row_data(version: BlockVersion) -> dict[str, Any]:
    """The data of the version's row."""
    return {name: getattr(version, name) for name in _KEPT}


def from_row(row: Row) -> BlockVersion:
    """The version that a row of kind `version` keeps."""
    return BlockVersion(
        block_id=row.stream.removeprefix("block:"), op_id=row.op_id, at=row.at, seq=row.seq,
        **{name: row.data[name] for name in _KEPT if name in row.data},
    )


def action_of(change: Edit | BlockChange) -> dict[str, Any]:
    """An edit or a change as plain data; a whole new value is left out, since the version holds it."""
    action: dict[str, Any] = {"do": _NAMES.get(type(change).__name__, type(change).__name__.lower()), **pack(change)}
    action.pop("value", None)
    return action


_NAMES = {"BlockChange": "change"}


def changed(version: BlockVersion, change: BlockChange) -> Block:
    """The block of `version` with `change` made to it."""
    given = {spec.name: getattr(change, spec.name) for spec in dataclasses.fields(change)}
    return dataclasses.replace(version.block(), **{name: item for name, item in given.items() if item is not None})
