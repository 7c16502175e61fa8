"""What agents ask of a model and what they get back, whichever provider answers.

A request is self-contained: the whole conversation, the tools, the limits. Providers translate it to their wire
format and back; nothing else in Repertory knows one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from repertory.messages import Message, ToolCall, Usage


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolSpec:
    """A tool as the model sees it."""

    name: str
    description: str
    #: JSON schema of the arguments
    parameters: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRequest:
    """One question to a model."""

    #: names the request; asking twice under one id gives one answer
    request_id: str
    #: a handle, `provider/model`
    model: str
    #: a system message first, then the conversation
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    #: `required`: some tool must be called; a tool's name: that one
    tool_choice: str = "auto"
    max_output_tokens: int | None = None
    temperature: float | None = None
    #: a JSON schema that the text of the answer must satisfy (providers that can, enforce it)
    returns: dict[str, Any] | None = None
    #: none of it is any use after this many seconds
    timeout_s: float = 600.0
    #: who asks, for accounting
    agent_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelAnswer:
    """A model's answer."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    reasoning_signature: str = ""
    #: `length`: cut off by max_output_tokens; `refused`: the provider's filter stopped it
    finish: Literal["stop", "tool_calls", "length", "refused"] = "stop"
    usage: Usage = field(default_factory=Usage)
    model: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delta:
    """A piece of an answer that is being written."""

    kind: Literal["text", "reasoning", "tool_call"]
    text: str = ""
    #: for tool calls: which one (from 0), its name and id (in its first piece)
    index: int = 0
    name: str = ""
    call_id: str = ""


OnDelta = Callable[[Delta], None]


class Provider(Protocol):
    """A source of answers. Raises only ModelError and ConfigError; each passes `tests/provider_conformance.py`."""

    async def answer(self, request: ModelRequest, model: str, on_delta: OnDelta | None = None) -> ModelAnswer:
        """Ask `model` (the handle without its provider) once, without retries."""

    def context_window(self, model: str) -> int:
        """How many tokens a request and its answer may have together."""

    async def close(self) -> None:
        """Give connections back."""
