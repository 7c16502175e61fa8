"""No history is too long (P7): what lies in the window, what is evicted, and what is left of it as a summary.

The order of means: evict the oldest messages behind a recursive summary (MemGPT, section 2.2); if the model cannot
summarise, a summary that needs no model; if one turn alone is too long, its longest texts are clamped in the request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from repertory.memory import tokens
from repertory.memory.context import clamp
from repertory.messages import Message

#: share of the window at which messages are evicted before the next request
FULL = 0.9
#: share of the room for messages that they fill after an eviction
AFTER = 0.5
#: characters of a summary
SUMMARY_LIMIT_CHARS = 2_000
#: no text is clamped below this
LEAST_CHARS = 200
#: tokens kept free for the answer, unless the agent says otherwise; at most a quarter of the window
ANSWER_TOKENS = 1_024
#: what the message costs that bridges an eviction (`context.opening`); else the newest texts would be clamped for it
BRIDGE_TOKENS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How the tokens of a window are shared out."""

    window: int
    #: system message, tools, notes
    fixed: int
    #: kept free for the answer
    answer: int
    #: a provider's count over ours, at least 1
    ratio: float = 1.0

    @property
    def room(self) -> int:
        """Tokens (by our estimate) that messages may take at the most."""
        return int((self.window * FULL - self.answer) / self.ratio) - self.fixed

    @property
    def least(self) -> int:
        """Tokens that the messages need whatever is done: without them the request makes no sense."""
        return LEAST_CHARS // tokens.CHARS_PER_TOKEN


def answer_tokens(window: int, wanted: int | None) -> int:
    """Tokens to keep free for the answer."""
    return min(wanted or ANSWER_TOKENS, window // 4)


def cut(messages: tuple[Message, ...], budget: Budget, keep_from: int,
        size: Callable[[Message], int] = tokens.of_message) -> int:
    """How many of the oldest messages to evict so that the rest fits well; 0 if all fit.

    `keep_from` is the index at which the running turn begins: it is cut into only if the rest is not enough, and
    never between a tool call and its result.
    """
    sizes = [size(message) for message in messages]
    total, room = sum(sizes), budget.room - BRIDGE_TOKENS
    if total <= room:
        return 0
    goal = max(int(room * AFTER), budget.least)
    best = 0
    for index in _places(messages):
        if index > keep_from and total - sum(sizes[:best]) <= room:
            break
        best = index
        if total - sum(sizes[:index]) <= goal:
            break
    return best


def _places(messages: tuple[Message, ...]) -> list[int]:
    """Where a history may begin: not at a tool's result; and the last message always stays."""
    return [index for index in range(1, len(messages)) if messages[index].role != "tool"]


def fit(messages: tuple[Message, ...], budget: Budget, size: Callable[[Message], int] = tokens.of_message
        ) -> tuple[tuple[Message, ...], int]:
    """The messages with their longest texts clamped so that they fit the room, if that is possible; and their tokens.

    `size` counts a message as it was given.
    """
    count = sum(map(size, messages))
    limit = max((len(message.text) for message in messages), default=0) if count > budget.room else 0
    while count > budget.room and limit > LEAST_CHARS:
        limit = max(limit // 2, LEAST_CHARS)
        messages = tuple(clamp(message, limit) for message in messages)
        count = tokens.of_messages(messages)
    return messages, count


def summary_request(prompt: str, summary: str, evicted: tuple[Message, ...], room: int) -> tuple[Message, ...]:
    """The request that asks a model for the new summary, within `room` tokens."""
    lines = [f"{message.role}: {_told(message)}" for message in evicted]
    text = "\n".join(line for line in lines if not line.endswith(": "))
    if summary:
        text = f"Summary so far:\n{summary}\n\nWhat came after it:\n{text}"
    question = Message(id="to-summarise", role="user", text=text)
    question = clamp(question, max(LEAST_CHARS, (room - tokens.of_text(prompt)) * 3))
    return (Message(id="summarizer", role="system", text=prompt), question)


def plain_summary(summary: str, evicted: tuple[Message, ...]) -> str:
    """A summary that needs no model: the beginnings of what was said, the newest first to be kept."""
    said = [f"{message.role}: {_told(message)[:120]}" for message in evicted if message.role != "tool"]
    lines = [line for line in said if not line.endswith(": ")]
    kept: list[str] = []
    room = SUMMARY_LIMIT_CHARS // 2 if summary else SUMMARY_LIMIT_CHARS
    for line in reversed(lines):
        if sum(map(len, kept)) + len(line) > room:
            break
        kept.append(line)
    parts = [summary[-SUMMARY_LIMIT_CHARS // 2:], *reversed(kept)]
    return "\n".join(part for part in parts if part)[:SUMMARY_LIMIT_CHARS]


def _told(message: Message) -> str:
    parts = [message.text] if message.text else []
    for call in message.tool_calls:
        said = call.arguments.get("message")
        parts.append(str(said) if isinstance(said, str) else f"(used {call.name})")
    return " ".join(parts).replace("\n", " ")
