"""What people, agents and models say to each other: plain, immutable values.

A `Message` is one entry of a conversation, in the roles that every provider knows. An `Envelope` is a message on its
way into an inbox: the message and what its delivery needs, nothing else. Both turn into plain dicts for the journal
(`pack`) and back (`unpack`), where a missing key means the default, so that old records stay readable.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

Role = Literal["system", "user", "assistant", "tool"]
RunStatus = Literal["created", "running", "completed", "failed", "cancelled"]
TERMINAL: frozenset[str] = frozenset({"completed", "failed", "cancelled"})

DEFAULT_CONVERSATION = "default"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sender:
    """Who a message comes from."""

    kind: Literal["person", "agent", "timer", "system"] = "person"
    #: an agent's id, a person's name or key; empty when nobody said
    id: str = ""
    name: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCall:
    """A model's wish to run a tool."""

    #: the provider's id, only good for matching the result in the next request (some servers repeat them)
    id: str
    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    #: what the model wrote, when that was not a JSON object; the call then fails with a message to the model
    malformed: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One entry of a conversation."""

    id: str
    role: Role
    text: str = ""
    #: seconds since 1970, UTC
    at: float = 0.0
    sender: Sender | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    #: for role `tool`: which call this answers, and how it went
    tool_call_id: str | None = None
    tool_name: str | None = None
    failed: bool = False
    #: the model's own reasoning, and the provider's signature of it (Anthropic wants it back unchanged)
    reasoning: str = ""
    reasoning_signature: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplyTo:
    """Where the answer to a synchronous question goes: the asking agent's inbox."""

    agent_id: str
    conversation_id: str
    #: the op_id of the question; the reply row names it as `in_reply_to`
    op_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Envelope:
    """A message on its way to an agent."""

    run_id: str
    message_id: str
    text: str
    conversation_id: str = DEFAULT_CONVERSATION
    role: Literal["user", "system"] = "user"
    sender: Sender = field(default_factory=Sender)
    sent_at: float = 0.0
    #: the run must be over by then (seconds since 1970); None: the agent's own default applies
    deadline_at: float | None = None
    max_steps: int | None = None
    reply_to: ReplyTo | None = None
    #: a JSON schema that the final answer must satisfy
    returns: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Tokens that a run or a request has cost."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    requests: int = 0

    def plus(self, other: Usage) -> Usage:
        """The sum of both."""
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            requests=self.requests + other.requests,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a run stands, or how it ended."""

    run_id: str
    agent_id: str
    status: RunStatus
    #: end_turn, max_steps, deadline, cancelled, model_error, answer_invalid, context_too_long, error; "" while it runs
    stop_reason: str = ""
    #: what the agent said to the sender, in order
    texts: tuple[str, ...] = ()
    error: str = ""
    #: the validated answer, when the envelope asked for one by `returns`
    value: Any = None
    usage: Usage = field(default_factory=Usage)

    @property
    def text(self) -> str:
        """All that the agent said, as one string."""
        return "\n".join(self.texts)

    @property
    def done(self) -> bool:
        """Whether the run has ended."""
        return self.status in TERMINAL


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """Proof that an asynchronous message is kept: it is in the journal at `seq`."""

    run_id: str
    agent_id: str
    seq: int


_T = TypeVar("_T")
_NESTED: dict[str, Any] = {"sender": Sender, "reply_to": ReplyTo, "usage": Usage}


def pack(value: Any) -> dict[str, Any]:
    """The value as a plain dict without its defaults (small rows, and new fields need no migration)."""
    out: dict[str, Any] = {}
    for spec in dataclasses.fields(value):
        item = getattr(value, spec.name)
        if item == _default(spec):
            continue
        if dataclasses.is_dataclass(item):
            item = pack(item)
        elif isinstance(item, tuple):
            item = [pack(part) if dataclasses.is_dataclass(part) else part for part in item]
        out[spec.name] = item
    return out


def unpack(cls: type[_T], data: dict[str, Any]) -> _T:
    """The inverse of `pack`; keys that this version does not know are ignored."""
    known: dict[str, Any] = {}
    for spec in dataclasses.fields(cls):  # type: ignore[arg-type]  # every caller passes a dataclass
        if spec.name not in data:
            continue
        item = data[spec.name]
        if spec.name in _NESTED and isinstance(item, dict):
            item = unpack(_NESTED[spec.name], item)
        elif spec.name == "tool_calls":
            item = tuple(unpack(ToolCall, part) for part in item)
        elif isinstance(item, list) and str(spec.type).startswith("tuple"):
            item = tuple(item)
        known[spec.name] = item
    return cls(**known)


def _default(spec: dataclasses.Field[Any]) -> Any:
    if spec.default_factory is not dataclasses.MISSING:
        return spec.default_factory()
    return spec.default
