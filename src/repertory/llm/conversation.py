"""Making a conversation fit for a provider: what all wire formats need in the same way.

Providers refuse a history in which a tool call and its results are not side by side or ids repeat; some servers send
`call_0` for every call. So ids are made unique within the request, results are moved right behind their calls, in the
order of the calls, and a missing one is filled in.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from repertory.messages import Message, ToolCall

#: OpenAI takes ids of at most 40 characters, Anthropic only these characters
_ID_CHARS = 40
_NAME_CHARS = 64
_NOT_ID = re.compile(r"[^A-Za-z0-9_-]")

NO_RESULT = "The result of this call was not recorded."


def prepare(messages: Sequence[Message]) -> list[Message]:
    """The same conversation with senders named, call ids unique, and each result right behind its call."""
    return _pair(_name_senders(messages))


def _name_senders(messages: Sequence[Message]) -> list[Message]:
    """When several people talk to one agent, each message says whose it is; with a single one that is noise."""
    speakers = {_speaker(message): None for message in messages if message.role == "user" and _speaker(message)}
    if len(speakers) < 2:
        return list(messages)
    return [
        dataclasses.replace(message, text=f"{_speaker(message)}: {message.text}")
        if message.role == "user" and _speaker(message)
        else message
        for message in messages
    ]


def _speaker(message: Message) -> str:
    sender = message.sender
    if sender is None or sender.kind != "person":
        return ""
    return sender.name or sender.id


def _pair(messages: Sequence[Message]) -> list[Message]:
    out: list[Message] = []
    ids: dict[str, None] = {}
    taken: dict[int, None] = {}
    for at, message in enumerate(messages):
        if at in taken:
            continue
        if message.role == "tool":
            name = message.tool_name or "a tool"
            out.append(dataclasses.replace(message, role="user", text=f"[Result of {name}] {message.text}"))
        elif message.role == "assistant" and message.tool_calls:
            calls = tuple(
                dataclasses.replace(call, id=_fresh(call.id, ids), name=_sendable(call.name))
                for call in message.tool_calls
            )
            out.append(dataclasses.replace(message, tool_calls=calls))
            for old, new in zip(message.tool_calls, calls, strict=True):
                found = _result_of(old, messages, at, taken)
                out.append(_answering(new, messages[found] if found is not None else None, message))
        else:
            out.append(message)
    return out


def _result_of(call: ToolCall, messages: Sequence[Message], at: int, taken: dict[int, None]) -> int | None:
    for index in range(at + 1, len(messages)):
        candidate = messages[index]
        if candidate.role == "assistant" and candidate.tool_calls:
            return None
        if candidate.role == "tool" and candidate.tool_call_id == call.id and index not in taken:
            taken[index] = None
            return index
    return None


def _answering(call: ToolCall, result: Message | None, asked: Message) -> Message:
    if result is not None:
        return dataclasses.replace(result, tool_call_id=call.id)
    return Message(
        id=asked.id, role="tool", text=NO_RESULT, at=asked.at, tool_call_id=call.id, tool_name=call.name, failed=True
    )


def _sendable(name: str) -> str:
    """A tool's name as the APIs take it; a model may have made up another one."""
    return _NOT_ID.sub("_", name)[:_NAME_CHARS] or "unnamed"


def _fresh(wanted: str, ids: dict[str, None]) -> str:
    clean = _NOT_ID.sub("_", wanted)[:_ID_CHARS]
    if not clean or clean in ids:
        number = len(ids)
        while f"call_{number}" in ids:
            number += 1
        clean = f"call_{number}"
    ids[clean] = None
    return clean


def arguments_of(call: ToolCall) -> dict[str, object]:
    """A call's arguments to send back; what could not be read is shown to the model as it wrote it."""
    return call.arguments if call.malformed is None else {"malformed_json": call.malformed}
