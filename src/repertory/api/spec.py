"""What is asked for when an agent is created, checked before anything is written."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypedDict

from repertory.api.blocks import SharedBlock
from repertory.api.tools import ToolLike, sorted_out
from repertory.errors import ConfigError
from repertory.memory.agent_types import AgentType
from repertory.memory.block import Block
from repertory.memory.edits import check_limit
from repertory.memory.state import AgentSpec
from repertory.tools.registry import ToolRegistry

#: blocks of a new agent: label -> text, or blocks private and shared
Blocks = Mapping[str, str] | Iterable[Block | SharedBlock]


class Settings(TypedDict, total=False):
    """What can be said about a new agent beyond the usual; all of it may be left out."""

    #: the system prompt instead of the type's own
    system: str
    #: tokens of a request and its answer together
    context_window: int
    max_output_tokens: int
    temperature: float
    #: a turn ends after so many steps
    max_steps: int
    #: a run that names no deadline has so many seconds
    deadline_s: float
    #: IANA name, for example Europe/Berlin
    timezone: str
    #: never put away while the system runs
    resident: bool
    description: str
    metadata: dict[str, Any]


_POSITIVE = ("context_window", "max_output_tokens", "max_steps", "deadline_s")


def make_spec(kind: AgentType, model: str, blocks: Blocks | None, tools: Iterable[ToolLike] | None,
              registry: ToolRegistry, settings: Settings) -> AgentSpec:
    """The spec of a new agent of type `kind`; what is None or left out is as the type has it.

    Raises ConfigError (an unknown tool, setting, time zone; two blocks of one label) or BlockLimitExceeded.
    """
    private, shared = _blocks(kind, blocks)
    unknown = set(settings) - Settings.__optional_keys__
    if unknown:
        raise ConfigError(f"there is no setting {sorted(unknown)[0]!r}; there are: "
                          f"{', '.join(sorted(Settings.__optional_keys__))}")
    for name in _POSITIVE:
        if name in settings and not (settings[name] or 0) > 0:  # type: ignore[literal-required]  # keys of Settings
            raise ConfigError(f"{name} must be above 0, not {settings[name]!r}")  # type: ignore[literal-required]
    _check_timezone(settings.get("timezone", "UTC"))
    names, sources = sorted_out(kind.tools if tools is None else tools, registry)
    return AgentSpec(agent_type=kind.name, model=model, blocks=private, shared=shared, tools=names,
                     custom_tools=sources, **settings)




def checked_block(block: Block) -> Block:
    """The block, if its value fits its limit. Raises BlockLimitExceeded or ConfigError."""
    if not block.label.strip():
        raise ConfigError("a memory block needs a label")
    if block.limit_chars <= 0:
        raise ConfigError(f"the limit of block {block.label!r} must be above 0, not {block.limit_chars}")
    check_limit(replace(block, value=""), block.value)
    return block


def _blocks(kind: AgentType, given: Blocks | None) -> tuple[tuple[Block, ...], tuple[str, ...]]:
    if given is None:
        return kind.blocks, ()
    usual = {block.label: block for block in kind.blocks}
    if isinstance(given, Mapping):
        # texts for labels: the type's other blocks stay, since nobody said that they should go
        texts = {label: replace(usual.get(label, Block(label=label)), value=text) for label, text in given.items()}
        return tuple(map(checked_block, {**usual, **texts}.values())), ()
    blocks = list(given)
    labels = [block.label for block in blocks]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(f"two memory blocks have the label {label!r}")
    private = tuple(checked_block(block) for block in blocks if isinstance(block, Block))
    return private, tuple(block.id for block in blocks if isinstance(block, SharedBlock))


def _check_timezone(name: str) -> None:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"there is no time zone {name!r}; name one as in Europe/Berlin") from None
