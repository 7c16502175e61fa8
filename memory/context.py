"""The compiled context: what the model sees.

The system message (prompt, blocks, memory statistics, summary) is compiled once and then stays, so that the
provider's prompt cache keeps fitting; what changed since reaches the model as short dated notes at the end of the
request, until they grow too long (MemGPT, section 2.2; DESIGN, section 5). The layout follows SURFACE, section 5.3.
"""

from __future__ import annotations

import dataclasses
import difflib
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from repertory.memory.block import Block
from repertory.memory.state import AgentState, Compiled, Conversation
from repertory.messages import DEFAULT_CONVERSATION, Message

#: where a system prompt may say that the memory goes; otherwise it follows the prompt
MEMORY_MARK = "{CORE_MEMORY}"
#: notes on changed blocks that are longer than this together lead to a new system message
NOTES_LIMIT_CHARS = 2_000


def compile_with_memory(state: AgentState, conversation: Conversation, prompt: str, now: float) -> str:
    """System prompt, memory blocks, memory statistics, summary."""
    memory = "\n\n".join(part for part in (
        _blocks(state), _statistics(state, conversation, now), _summary(conversation)) if part)
    if MEMORY_MARK in prompt:
        return prompt.replace(MEMORY_MARK, memory)
    return f"{prompt}\n\n{memory}"


def compile_plain(state: AgentState, conversation: Conversation, prompt: str, now: float) -> str:
    """The system prompt, the blocks that somebody gave this agent on purpose, and the summary."""
    parts = [prompt.replace(MEMORY_MARK, ""), _blocks(state) if state.blocks else "", _summary(conversation)]
    return "\n\n".join(part for part in parts if part)


def compiled(text: str, state: AgentState, now: float) -> Compiled:
    """A system message with what it shows, so that later changes are seen."""
    return Compiled(text=text, at=now, values={label: block.value for label, block in state.blocks.items()})


def notes(state: AgentState, shown: Compiled) -> str:
    """What has changed in memory since the system message was written; empty if nothing."""
    lines = []
    for label, block in state.blocks.items():
        before = shown.values.get(label)
        if before != block.value:
            lines.append(_note(state, block, before))
    lines += [f"- {label}: this block is gone" for label in shown.values if label not in state.blocks]
    if not lines:
        return ""
    return "\n".join(("[Memory has changed since the system message was written. This supersedes it:]", *lines))


def notes_as_message(text: str, now: float) -> Message:
    """The notes as the last message of a request; they are not part of the conversation."""
    return Message(id="memory-notes", role="system", text=text, at=now)


def opening(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The window in a form that every provider takes: it begins with a message of the other side."""
    start = 0
    while start < len(messages) and messages[start].role == "tool":
        start += 1  # its call was evicted
    messages = messages[start:]
    if messages and messages[0].role == "assistant":
        bridge = Message(id="bridge", role="user", text="[Earlier messages are summarised above.]", at=messages[0].at)
        return (bridge, *messages)
    return messages


def local_time(at: float, timezone: str) -> str:
    """A moment as the agent reads it, for example `2026-11-26 04:30 PM UTC+0000`."""
    return datetime.fromtimestamp(at, _zone(timezone)).strftime("%Y-%m-%d %I:%M %p %Z%z")


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def _blocks(state: AgentState) -> str:
    if not state.blocks:
        return ""
    shown = "\n".join(_block(block) for block in state.blocks.values())
    return (
        "<memory_blocks>\nThese blocks are your core memory: always before you, and yours to keep true.\n\n"
        f"{shown}\n</memory_blocks>"
    )


def _block(block: Block) -> str:
    facts = ["- read_only=true"] if block.read_only else []
    if block.block_id:
        facts.append(f"- shared=true (version {block.version})")
    facts += [f"- chars_current={len(block.value)}", f"- chars_limit={block.limit_chars}"]
    return (
        f"<{block.label}>\n<description>\n{block.description}\n</description>\n<metadata>\n" + "\n".join(facts)
        + f"\n</metadata>\n<value>\n{block.value}\n</value>\n</{block.label}>"
    )


def _statistics(state: AgentState, conversation: Conversation, now: float) -> str:
    zone = state.spec.timezone
    lines = [f"- AGENT_ID: {state.id}", f"- CONVERSATION_ID: {conversation.id or DEFAULT_CONVERSATION}",
             f"- System prompt last recompiled: {local_time(now, zone)}"]
    if state.memory_changed_at:
        lines.append(f"- Memory last changed: {local_time(state.memory_changed_at, zone)}")
    lines.append(f"- {conversation.evicted} previous messages between you and the user are stored in recall memory")
    if state.passages:
        lines.append(f"- {state.passages} total memories you created are stored in archival memory "
                     "(use tools to access them)")
    if state.tags:
        lines.append(f"- Available archival memory tags: {', '.join(sorted(state.tags))}")
    return "<memory_metadata>\n" + "\n".join(lines) + "\n</memory_metadata>"


def _summary(conversation: Conversation) -> str:
    if not conversation.summary:
        return ""
    return f"<conversation_summary>\n{conversation.summary}\n</conversation_summary>"


def _note(state: AgentState, block: Block, before: str | None) -> str:
    change = state.changes.get(block.label)
    when = f" ({local_time(change.at, state.spec.timezone)}, by {change.by})" if change else ""
    size = f"{len(block.value)}/{block.limit_chars} characters"
    added = _added_at_end(before, block.value)
    if added is not None:
        return f"- {block.label}{when}, now {size}; added at its end: {added}"
    if before and len(block.value) > NOTES_LIMIT_CHARS // 4:
        diff = "\n".join(difflib.unified_diff(before.split("\n"), block.value.split("\n"), lineterm="", n=0))
        return f"- {block.label}{when}, now {size}; changed lines:\n{diff}"
    return f"- {block.label}{when}, now {size}; its value is now:\n{block.value}"


def _added_at_end(before: str | None, value: str) -> str | None:
    if before and value.startswith(before) and value[len(before):].startswith("\n"):
        return value[len(before) + 1:]
    return None


def clamp(message: Message, limit_chars: int) -> Message:
    """The message with the middle of each text longer than `limit_chars` left out, and a word on that."""
    calls = tuple(
        dataclasses.replace(call, arguments={
            key: _clamped(value, limit_chars) if isinstance(value, str) else value
            for key, value in call.arguments.items()
        })
        for call in message.tool_calls
    )
    text, reasoning = _clamped(message.text, limit_chars), _clamped(message.reasoning, limit_chars)
    # a signature is only good for the text that it signs
    signature = message.reasoning_signature if reasoning == message.reasoning else ""
    return dataclasses.replace(message, text=text, tool_calls=calls, reasoning=reasoning if signature else "",
                               reasoning_signature=signature)


def _clamped(text: str, limit_chars: int) -> str:
    left_out = len(text) - limit_chars
    if left_out <= 0:
        return text
    half = limit_chars // 2
    return (f"{text[:half]}\n[… {left_out} characters are left out here to fit the context window …]\n"
            f"{text[len(text) - half:]}")
