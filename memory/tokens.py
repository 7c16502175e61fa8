"""How many tokens a request has, estimated before it is sent (P7).

Real tokenizers belong to providers and differ; what is needed here is a number that is never far too small. Four
characters of English are about one token; other scripts cost more, so their UTF-8 bytes count. An agent corrects the
estimate by the ratio that its provider reports.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from repertory.llm.protocol import ToolSpec
from repertory.messages import Message

CHARS_PER_TOKEN = 4
#: what a message costs beside its text (its role, its separators)
PER_MESSAGE = 4


def of_text(text: str) -> int:
    """Tokens of a text."""
    length = len(text) if text.isascii() else max(len(text), len(text.encode()) * 3 // 4)
    return -(-length // CHARS_PER_TOKEN)


def of_message(message: Message) -> int:
    """Tokens of a message with its tool calls and its reasoning."""
    count = PER_MESSAGE + of_text(message.text) + of_text(message.reasoning)
    for call in message.tool_calls:
        count += PER_MESSAGE + of_text(call.name) + of_text(json.dumps(call.arguments, ensure_ascii=False))
    return count


def of_messages(messages: Iterable[Message]) -> int:
    """Tokens of all of them."""
    return sum(map(of_message, messages))


def of_tools(tools: Iterable[ToolSpec]) -> int:
    """Tokens of the tools' descriptions."""
    return sum(of_text(tool.name) + of_text(tool.description) + of_text(json.dumps(tool.parameters)) for tool in tools)
