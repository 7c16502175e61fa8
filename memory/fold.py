"""An agent's state from its journal rows: `fold(state, row)`, a pure function.

Loading is the newest snapshot and the rows behind it (`revive`); a live agent folds each row that it has committed.
The data of the rows is written by `memory.events`; a key that is missing means that nothing changed there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from repertory.memory.block import Block
from repertory.memory.journal import Loaded, Row
from repertory.memory.state import (
    AgentSpec,
    AgentState,
    CallResult,
    Change,
    Compiled,
    Conversation,
    OpenQuestion,
    Turn,
)
from repertory.messages import TERMINAL, Envelope, Message, Usage, unpack


def revive(agent_id: str, loaded: Loaded) -> AgentState:
    """The agent's newest state."""
    if loaded.snapshot is not None:
        state = unpack(AgentState, loaded.snapshot.data["state"])
    else:
        state = AgentState.born(agent_id, unpack(AgentSpec, loaded.spec))
    for row in loaded.events:
        state = fold(state, row)
    return state


def fold(state: AgentState, row: Row) -> AgentState:
    """The state after `row`, a row of `agent:<id>`. Kinds that do not concern the state only move its `seq`."""
    match row.kind:
        case "response":
            state = _response(state, row)
        case "wait":
            state = _wait(state, row)
        case "step":
            state = _step(state, row)
        case "compacted":
            state = _compacted(state, row)
        case "edited":
            state = _edited(state, row)
    return dataclasses.replace(state, seq=row.seq)


def _response(state: AgentState, row: Row) -> AgentState:
    data = row.data
    conversation = _compiled(state.conversation(data["conversation_id"]), data)
    *inputs, response = _messages(data)
    turn = dataclasses.replace(
        _turn(conversation, data), response=response, response_kept=True, results={}, questions=(), due_at=None
    )
    return state.with_conversation(
        dataclasses.replace(conversation, messages=(*conversation.messages, *inputs), turn=_charged(turn, data))
    )


def _wait(state: AgentState, row: Row) -> AgentState:
    data = row.data
    conversation = state.conversation(data["conversation_id"])
    assert conversation.turn is not None, "a turn waits only behind its response"
    turn = dataclasses.replace(
        conversation.turn,
        questions=tuple(unpack(OpenQuestion, target) for target in data["targets"]),
        due_at=data.get("due_at"),
        results={index: unpack(CallResult, result) for index, result in data.get("results", {}).items()},
    )
    return state.with_conversation(dataclasses.replace(conversation, turn=turn))


def _step(state: AgentState, row: Row) -> AgentState:
    data = row.data
    conversation = _compiled(state.conversation(data["conversation_id"]), data)
    turn = _turn(conversation, data)
    before = (turn.response,) if turn.response is not None else ()
    messages = (*conversation.messages, *before, *_messages(data))
    kept, ended = data.get("kept"), data["status"] in TERMINAL
    evicted = 0 if kept is None else max(0, len(messages) - kept)
    turn = dataclasses.replace(
        turn, step=turn.step + 1, response=None, response_kept=False, results={}, questions=(), due_at=None,
        texts=(*turn.texts, *data.get("texts", ())), repairs=data.get("repairs", turn.repairs),
    )
    conversation = dataclasses.replace(
        conversation, messages=messages[evicted:], evicted=conversation.evicted + evicted,
        turn=None if ended else _charged(turn, data),
    )
    return _remembered(state.with_conversation(conversation), row)


def _compacted(state: AgentState, row: Row) -> AgentState:
    data = row.data
    conversation = state.conversation(data["conversation_id"])
    dropped = max(0, len(conversation.messages) - data["kept"])
    return state.with_conversation(dataclasses.replace(
        conversation, messages=conversation.messages[dropped:], evicted=conversation.evicted + dropped,
        summary=data["summary"], compiled=None,
    ))


def _edited(state: AgentState, row: Row) -> AgentState:
    data = row.data
    if "spec" in data:
        state = dataclasses.replace(state, spec=unpack(AgentSpec, data["spec"]))
    if "conversation" in data:
        conversation = state.conversation(data["conversation"])
        if data.get("cleared"):
            conversation = dataclasses.replace(
                conversation, messages=(), evicted=conversation.evicted + len(conversation.messages), summary="")
        conversation = dataclasses.replace(conversation, messages=(*conversation.messages, *_messages(data)))
        state = state.with_conversation(conversation)
    state = _remembered(state, row)
    if data.get("recompile", True):
        state = dataclasses.replace(state, conversations={
            key: dataclasses.replace(value, compiled=None) for key, value in state.conversations.items()
        })
    return state


def _remembered(state: AgentState, row: Row) -> AgentState:
    """Blocks and passages that a row changed."""
    data = row.data
    changed = [unpack(Block, block) for block in data.get("blocks", ())]
    removed, passages = data.get("removed", ()), data.get("passages", ())
    gone = data.get("deleted_passages", ())
    if not (changed or removed or passages or gone):
        return state
    blocks = {label: block for label, block in state.blocks.items() if label not in removed}
    blocks.update((block.label, block) for block in changed)
    by = data.get("by", "you")
    changes = {**state.changes, **{block.label: Change(at=row.at, by=by) for block in changed}}
    return dataclasses.replace(
        state, blocks=blocks, changes=changes, memory_changed_at=row.at,
        passages=state.passages + len(passages) - len(gone),
        tags=_counted(state.tags, passages, gone),
    )


def _counted(tags: dict[str, int], added: Iterable[dict[str, Any]], gone: Iterable[dict[str, Any]]) -> dict[str, int]:
    counts = dict(tags)
    for passage in added:
        for tag in passage.get("tags", ()):
            counts[tag] = counts.get(tag, 0) + 1
    for passage in gone:
        for tag in passage.get("tags", ()):
            counts[tag] = counts.get(tag, 0) - 1
    return {tag: count for tag, count in counts.items() if count > 0}


def _turn(conversation: Conversation, data: dict[str, Any]) -> Turn:
    """The turn that a row belongs to: the open one, or the one that the row itself begins."""
    if conversation.turn is not None:
        return conversation.turn
    begun = data["turn"]
    return Turn(envelope=unpack(Envelope, begun["envelope"]), seq=begun["seq"], deadline_at=begun["deadline_at"],
                max_steps=begun["max_steps"], begun_at=begun["begun_at"])


def _compiled(conversation: Conversation, data: dict[str, Any]) -> Conversation:
    if "compiled" not in data:
        return conversation
    return dataclasses.replace(conversation, compiled=unpack(Compiled, data["compiled"]))


def _charged(turn: Turn, data: dict[str, Any]) -> Turn:
    if "usage" not in data:
        return turn
    return dataclasses.replace(turn, usage=turn.usage.plus(unpack(Usage, data["usage"])))


def _messages(data: dict[str, Any]) -> tuple[Message, ...]:
    return tuple(unpack(Message, message) for message in data.get("messages", ()))
