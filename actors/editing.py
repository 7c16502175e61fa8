"""Changing an agent from outside: memory, tools, model, conversations.

A change is a dict with one or more of these keys; it is applied as a whole or not at all:

``edit``: {label, edit}              an `Edit` on a private block (a shared one is edited at the coordinator)
``set_block``: packed Block          add a private block, or put it in the place of the one of that label
``remove_block``: label              a private one; a shared one is detached
``attach``: block id                 see a shared block from now on
``spec``: {field: value}             fields of AgentSpec except blocks and shared
``passages``: [{text, tags}]         into archival memory
``delete_passages``: [{id, tags}]    out of it
``clear``: conversation id           empty its window (the messages stay in recall memory)
``messages``: packed Messages        into the window of ``conversation``
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from repertory.errors import BlockNotFound, ConfigError
from repertory.ids import derived
from repertory.memory.agent_types import type_named
from repertory.memory.block import Block
from repertory.memory.edits import apply_edit, check_limit
from repertory.memory.journal import NewRow
from repertory.memory.rows import agent_stream
from repertory.memory.state import AgentSpec, AgentState, ToolSource
from repertory.messages import pack, unpack

if TYPE_CHECKING:
    from repertory.actors.agent import Agent

_KEYS = ("edit", "set_block", "remove_block", "attach", "spec", "passages", "delete_passages", "clear", "messages",
         "conversation", "by")


def edited_row(agent: Agent, change: Mapping[str, Any], op_id: str) -> tuple[NewRow, dict[str, Any]]:
    """The row that makes the change real, and what the caller is told. Raises BlockError, ConfigError, NotFound."""
    unknown = [key for key in change if key not in _KEYS]
    if unknown:
        raise ConfigError(f"a change has no key {unknown[0]!r}; there are: {', '.join(_KEYS)}")
    state = agent.state
    data: dict[str, Any] = {"by": change.get("by", "")}
    told: dict[str, Any] = {}
    blocks = _blocks(state, change)
    if blocks:
        data["blocks"] = [pack(block) for block in blocks]
        told["blocks"] = data["blocks"]
    spec = _spec(agent, change)
    if "remove_block" in change:
        block = _block(state, change["remove_block"])
        data["removed"] = [block.label]
        spec = dataclasses.replace(spec, shared=tuple(one for one in spec.shared if one != block.block_id))
    if spec != state.spec:
        data["spec"] = pack(spec)
    if "passages" in change:
        data["passages"] = [
            {"id": derived("passage", agent.id, op_id, number), "text": passage["text"],
             "tags": list(passage.get("tags", ())), "at": agent.now()}
            for number, passage in enumerate(change["passages"])
        ]
        told["passages"] = data["passages"]
    if "delete_passages" in change:
        data["deleted_passages"] = list(change["delete_passages"])
    if "clear" in change:
        data |= {"conversation": change["clear"], "cleared": True}
    if "messages" in change:
        data |= {"conversation": change.get("conversation", "default"), "messages": list(change["messages"])}
    return NewRow(stream=agent_stream(agent.id), kind="edited", data=data), told


def _blocks(state: AgentState, change: Mapping[str, Any]) -> list[Block]:
    changed = []
    if "edit" in change:
        block = _block(state, change["edit"]["label"])
        if block.block_id is not None:
            raise ConfigError(f"block {block.label!r} is shared: edit it where it lives, by its id {block.block_id}")
        # a person may change what the agent may not
        value = apply_edit(dataclasses.replace(block, read_only=False), change["edit"]["edit"])
        changed.append(dataclasses.replace(block, value=value))
    if "set_block" in change:
        block = unpack(Block, dict(change["set_block"]))
        check_limit(dataclasses.replace(block, value=""), block.value)
        changed.append(block)
    return changed


def _block(state: AgentState, label: str) -> Block:
    block = state.blocks.get(label)
    if block is None:
        raise BlockNotFound(f"there is no block {label!r}; there are: {', '.join(state.blocks) or 'none'}", label=label)
    return block


def _spec(agent: Agent, change: Mapping[str, Any]) -> AgentSpec:
    spec = agent.state.spec
    fields: dict[str, Any] = dict(change.get("spec", {}))
    known = {field.name for field in dataclasses.fields(AgentSpec)} - {"blocks", "shared"}
    unknown = [name for name in fields if name not in known]
    if unknown:
        raise ConfigError(f"an agent has no setting {unknown[0]!r}; there are: {', '.join(sorted(known))}")
    if "tools" in fields:
        fields["tools"] = tuple(fields["tools"])
        agent.surroundings.tools.choose(fields["tools"])
    if "custom_tools" in fields:
        fields["custom_tools"] = tuple(unpack(ToolSource, dict(tool)) for tool in fields["custom_tools"])
    if "agent_type" in fields:
        type_named(dict(agent.surroundings.types), fields["agent_type"])
    if "attach" in change and change["attach"] not in spec.shared:
        fields["shared"] = (*spec.shared, change["attach"])
    return dataclasses.replace(spec, **fields)
