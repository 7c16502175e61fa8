"""What the offline model's rules see of a request: the text to react to, what was done about it, memory, tools."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from repertory.llm.protocol import ModelRequest, ToolSpec
from repertory.messages import Message, ToolCall

_BLOCK = re.compile(
    r"<(?P<label>\w[\w./-]*)>\s*(?P<head>(?:(?!<value>).)*?)<value>\n?(?P<value>.*?)\n?</value>\s*</(?P=label)>", re.S
)
_LINE_NUMBER = re.compile(r"^\s*\d+→ ?", re.M)
_WARNING = re.compile(r"<warning>.*?</warning>\s*", re.S)
_NOTE = re.compile(
    r"^- (?P<label>[\w./-]+)(?: \([^)]*\))?(?:: this block is gone|, now (?P<size>\d+)/(?P<limit>\d+) characters; "
    r"(?P<how>added at its end: |its value is now:\n|changed lines:\n))",
    re.M,
)
_INCOMING = re.compile(r"^\[Incoming message from agent with ID '(?P<id>[^']+)'[^\]]*\]\s*")
#: messages that the context compiler adds (see `memory.context`), and pseudo messages that nobody said
_COMPILED = ("memory-notes", "bridge")
_MACHINERY = ('"heartbeat"', '"type": "login"', '"type":"login"', '"system_alert"')


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """A tool call since the last message, and its result."""

    call: ToolCall
    result: str
    failed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryBlock:
    """A memory block as the system message shows it."""

    label: str
    value: str
    read_only: bool
    #: characters that still fit; None: it does not say
    room: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """A message of the conversation that may hold an answer."""

    text: str
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """A request, taken apart."""

    request: ModelRequest
    system: str
    #: what is to be reacted to, without wrapping; empty if nobody has said anything
    text: str
    #: the agent that sent it, "" for a person
    from_agent: str
    done: tuple[Done, ...]
    #: earlier messages, oldest first
    earlier: tuple[Said, ...]
    blocks: tuple[MemoryBlock, ...]
    tools: dict[str, ToolSpec]

    def tried(self, *names: str) -> bool:
        """Whether one of these tools was called since the last message."""
        return any(done.call.name in names for done in self.done)


def look_at(request: ModelRequest) -> Situation:
    """Take a request apart."""
    messages = request.messages
    head = 0
    while head < len(messages) and messages[head].role == "system":
        head += 1
    system = "\n\n".join(message.text for message in messages[:head])
    notes = next((message.text for message in reversed(messages) if message.id == "memory-notes"), "")
    at = next((n for n in range(len(messages) - 1, head - 1, -1) if _is_said(messages[n])), None)
    text, from_agent = _unwrap(messages[at].text) if at is not None else ("", "")
    return Situation(
        request=request,
        system=system,
        text=text,
        from_agent=from_agent,
        done=_done(messages[at + 1 :]) if at is not None else (),
        earlier=tuple(_earlier(messages[head:at])) if at is not None else (),
        blocks=_renewed(_blocks(system), notes),
        tools={tool.name: tool for tool in request.tools},
    )


def _is_said(message: Message) -> bool:
    if message.id in _COMPILED or message.role not in ("user", "system"):
        return False
    return not any(mark in message.text for mark in _MACHINERY)


def _unwrap(text: str) -> tuple[str, str]:
    """A message without the JSON, or the note about its sender, that the agent's kind wraps around it."""
    if text.lstrip().startswith("{"):
        try:
            packed: Any = json.loads(text)
        except ValueError:
            packed = None
        if isinstance(packed, dict) and isinstance(packed.get("message"), str):
            text = packed["message"]
    incoming = _INCOMING.match(text)
    if incoming:
        return text[incoming.end() :].strip(), incoming["id"]
    return text.strip(), ""


def _done(messages: tuple[Message, ...]) -> tuple[Done, ...]:
    out: list[Done] = []
    waiting: list[ToolCall] = []
    for message in messages:
        waiting.extend(message.tool_calls)
        if message.role != "tool":
            continue
        call = next((one for one in waiting if one.id == message.tool_call_id), None)
        if call is None:
            continue
        waiting.remove(call)
        result, failed = _result(message)
        out.append(Done(call=call, result=result, failed=failed))
    return tuple(out)


def _result(message: Message) -> tuple[str, bool]:
    """A result without the envelope `{"status": …, "message": …}` that some agents put around it."""
    text, failed = message.text, message.failed
    if text.lstrip().startswith("{"):
        try:
            packed: Any = json.loads(text)
        except ValueError:
            packed = None
        if isinstance(packed, dict) and "status" in packed and "message" in packed:
            text, failed = str(packed["message"]), failed or packed["status"] not in ("OK", "success")
    return text, failed


def _earlier(messages: tuple[Message, ...]) -> list[Said]:
    out = []
    for message in messages:
        if not _is_said(message):
            continue
        text, from_agent = _unwrap(message.text)
        if message.role == "system":
            source = "a note in this conversation"
        elif from_agent:
            source = f"what agent {from_agent} told me"
        elif message.sender is not None and message.sender.name:
            source = f"what {message.sender.name} told me"
        else:
            source = "what you told me"
        out.append(Said(text=text, source=source))
    return out


def _blocks(system: str) -> tuple[MemoryBlock, ...]:
    start = system.find("<memory_blocks>")
    inside = system[start + len("<memory_blocks>") :] if start >= 0 else ""
    out = []
    for match in _BLOCK.finditer(inside):
        value = _WARNING.sub("", match["value"])
        if "→" in value:
            value = _LINE_NUMBER.sub("", value)
        limit = re.search(r"chars_limit=(\d+)", match["head"])
        current = re.search(r"chars_current=(\d+)", match["head"])
        room = int(limit[1]) - int(current[1]) if limit and current else None
        read_only = "read_only=true" in match["head"]
        out.append(MemoryBlock(label=match["label"], value=value.strip("\n"), read_only=read_only, room=room))
    return tuple(out)


def _renewed(blocks: tuple[MemoryBlock, ...], notes: str) -> tuple[MemoryBlock, ...]:
    """The blocks as they are after the notes on what has changed since the system message was written."""
    now = {block.label: block for block in blocks}
    heads = list(_NOTE.finditer(notes))
    for at, head in enumerate(heads):
        body = notes[head.end() : heads[at + 1].start() if at + 1 < len(heads) else len(notes)].rstrip("\n")
        label = head["label"]
        if head["how"] is None:
            now.pop(label, None)
            continue
        old = now.get(label)
        now[label] = MemoryBlock(
            label=label,
            value=_changed(old.value if old else "", head["how"], body),
            read_only=old is not None and old.read_only,
            room=int(head["limit"]) - int(head["size"]),
        )
    return tuple(now.values())


def _changed(value: str, how: str, body: str) -> str:
    if how.startswith("added"):
        return f"{value}\n{body}"
    if how.startswith("its value"):
        return body
    lines = value.splitlines()
    for line in body.splitlines():
        if line.startswith("-") and line[1:] in lines:
            lines.remove(line[1:])
        elif line.startswith("+") and not line.startswith("+++"):
            lines.append(line[1:])
    return "\n".join(lines)
