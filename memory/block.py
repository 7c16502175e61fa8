"""A memory block: a labelled piece of text that is always in its agent's context, and the edits that change it.

A *private* block is part of its agent's state. A *shared* one lives at the coordinator and has a `block_id`; several
agents attach it. Edits are plain data, so that the same ones work on both and can travel.
"""

from __future__ import annotations

from dataclasses import dataclass

#: characters a block may hold unless it says otherwise (MemGPT paper, section 2.1: a fixed-size working context)
DEFAULT_LIMIT_CHARS = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A memory block."""

    label: str
    value: str = ""
    description: str = ""
    limit_chars: int = DEFAULT_LIMIT_CHARS
    read_only: bool = False
    #: set when the block is shared: where it lives, and which of its versions `value` is
    block_id: str | None = None
    version: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Append:
    """Add a line at the end. Commutes with every other append."""

    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Insert:
    """Put lines behind line `line` (0: at the top, -1: at the end)."""

    text: str
    line: int = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Substitute:
    """Put `new` in the place of `old`; `once`: `old` must occur exactly once, else every occurrence is replaced."""

    old: str
    new: str
    once: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Rewrite:
    """A whole new value, written by someone who read version `base_version` (0: whatever is there)."""

    value: str
    base_version: int = 0


Edit = Append | Insert | Substitute | Rewrite
