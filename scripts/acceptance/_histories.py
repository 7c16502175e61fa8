"""Whether what an agent has lived through is a history that a model accepts."""

from __future__ import annotations

from pathlib import Path

from repertory.cli.records import opened
from repertory.memory.versions import BlockVersion
from repertory.messages import Message


def faults(messages: list[Message]) -> list[str]:
    """What is wrong with a history: a call without its result, a result without its call, a message twice."""
    found: list[str] = []
    ids = [message.id for message in messages]
    if len(set(ids)) != len(ids):
        found.append(f"{len(ids) - len(set(ids))} messages are there twice")
    waiting: list[str] = []
    for message in messages:
        if message.role == "tool":
            if message.tool_call_id not in waiting:
                found.append(f"{message.id} is a result without its call")
            else:
                waiting.remove(message.tool_call_id)
            continue
        if waiting:
            found.append(f"calls without results before {message.id}: {waiting}")
        waiting = [call.id for call in message.tool_calls]
    if waiting:
        found.append(f"calls without results at the end: {waiting}")
    return found


def read(database: Path, label: str) -> tuple[dict[str, list[Message]], list[BlockVersion]]:
    """The histories of all agents by name, and the versions of the shared block with that label."""
    with opened(database) as records:
        names = [agent["name"] for agent in records.index.list_agents()]
        histories = {name: records.messages(name, conversation_id="default", limit=100_000) for name in names}
        return histories, records.versions(label)
