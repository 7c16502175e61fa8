"""What a tool is, and what a built-in tool may see of its agent.

A tool is data (name, description, schema) and a function. A function that needs nothing but the agent's own memory
is *pure*: it runs within the step and is part of its commit. One that must wait for other agents returns `Wait`, and
the turn rests until they have answered. Custom tools have no function here: they run in a sandbox.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from repertory.memory.block import Block, Edit


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A message to another agent whose answer the turn waits for."""

    agent_id: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back on a question."""

    agent_id: str
    texts: tuple[str, ...] = ()
    #: empty, or why there is no answer: refused, failed, cancelled, late
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """A tool's wish to ask others and to go on when they have answered."""

    questions: tuple[Question, ...]
    #: makes the tool's result from the answers, in the order of the questions
    combine: Callable[[tuple[Answer, ...]], str]
    #: after this long a question that has no answer counts as late
    within_s: float | None = None


class ToolContext(Protocol):
    """What a built-in tool sees of the agent that calls it."""

    agent_id: str
    #: seconds since 1970, and the agent's time zone (IANA name)
    now: float
    timezone: str

    def block(self, label: str) -> Block:
        """The block with that label. Raises ToolError, which lists the labels that exist."""

    async def edit(self, label: str, edit: Edit) -> str:
        """Change a block, private or shared; its new value. Raises BlockError or ToolError; then nothing changed."""

    def create_block(self, block: Block) -> None:
        """Add a private block. Raises ToolError if the label is taken."""

    def say(self, text: str) -> None:
        """Send `text` to whoever wrote to the agent."""

    async def post(self, agent_id: str, text: str) -> None:
        """Send to another agent without waiting; it goes out with the step. Raises AgentNotFound, InboxFull."""

    def insert_passage(self, text: str, tags: tuple[str, ...]) -> None:
        """Keep `text` in archival memory; it is written with the step."""

    async def search(self, what: Literal["messages", "passages"], **query: Any) -> list[dict[str, Any]]:
        """Search recall or archival memory; see `memory.search` for the query's keys and the results'."""

    async def agents_with_tags(self, match_all: tuple[str, ...], match_any: tuple[str, ...]) -> list[str]:
        """The ids of the agents that carry these tags, without the caller."""


ToolFunction = Callable[[ToolContext, Mapping[str, Any]], Awaitable["str | Wait"]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """A tool that agents can be given."""

    name: str
    description: str
    #: JSON schema of the arguments (type: object)
    parameters: dict[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    #: only for built-in tools; custom ones run in a sandbox, never in the agent's process (P8)
    function: ToolFunction | None = None
    #: touches nothing but the agent's own memory (a shared block makes a call impure all the same)
    pure: bool = False
    #: ends the turn when it succeeded and no heartbeat was asked for
    terminal: bool = False
    #: custom tools: Python source that defines a function of this name
    source: str = ""
    retry: Literal["safe", "never"] = "safe"
