"""What an agent is: its spec, its blocks, its conversations. All immutable; the fold of its journal rows makes it.

Only what is in the context window is here. Older messages and archival passages lie in the database; the state
knows how many there are, so that the agent can know what it does not see (MemGPT, section 2.2).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from repertory.memory.block import Block
from repertory.messages import DEFAULT_CONVERSATION, Envelope, Message, Usage


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolSource:
    """A custom tool, as an agent keeps it."""

    name: str
    description: str
    parameters: dict[str, Any]
    #: Python source that defines a function of this name; it runs in a sandbox only
    source: str
    #: `never`: after a crash the model is told that the outcome is unknown
    retry: str = "safe"


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentSpec:
    """What its maker decided about an agent. Everything can be changed later."""

    #: the name of an `AgentType`
    agent_type: str = "memgpt"
    #: a handle, `provider/model`
    model: str = "offline/rules"
    #: the system prompt; empty: the type's default one
    system: str = ""
    blocks: tuple[Block, ...] = ()
    #: ids of the shared blocks that it sees
    shared: tuple[str, ...] = ()
    #: names of built-in tools
    tools: tuple[str, ...] = ()
    custom_tools: tuple[ToolSource, ...] = ()
    #: tokens of a request and its answer together; None: what the model's provider says
    context_window: int | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    #: a turn ends after this many steps
    max_steps: int = 50
    #: a run that names no deadline has this many seconds
    deadline_s: float = 600.0
    #: IANA name
    timezone: str = "UTC"
    #: never passivated while the system runs
    resident: bool = False
    description: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenQuestion:
    """A question to another agent for whose answer a turn rests."""

    op_id: str
    agent_id: str
    conversation_id: str
    #: the index of the tool call that asked
    call: int
    #: empty, or why it was not asked
    refused: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CallResult:
    """What a tool call came to."""

    text: str
    failed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """A turn between its message and its last step: all that is needed to go on with it after a crash."""

    envelope: Envelope
    #: of the message's inbox row (0: it is being written)
    seq: int
    #: when the store took the message (seconds since 1970)
    begun_at: float = 0.0
    #: steps that are done
    step: int = 0
    #: the model's answer whose calls are not done yet
    response: Message | None = None
    #: whether `response` is in the journal, so that the model must not be asked again
    response_kept: bool = False
    #: results of calls that must not be run twice, by call index
    results: dict[str, CallResult] = field(default_factory=dict)
    questions: tuple[OpenQuestion, ...] = ()
    #: questions without answer count as late from then on (seconds since 1970)
    due_at: float | None = None
    #: what the agent has said to the sender so far
    texts: tuple[str, ...] = ()
    usage: Usage = field(default_factory=Usage)
    #: times that the model was asked to repair its final answer
    repairs: int = 0
    #: when it must be over (seconds since 1970)
    deadline_at: float = float("inf")
    max_steps: int = 50

    @property
    def op(self) -> str:
        """The part of an op_id that names this step of this turn."""
        return f"{self.envelope.run_id}/{self.step}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Compiled:
    """A system message as the model has seen it, so that the provider's prompt cache keeps fitting."""

    text: str
    at: float
    #: the values of the blocks that it shows, by label
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """One thread of messages."""

    id: str = DEFAULT_CONVERSATION
    #: what lies in the context window, oldest first
    messages: tuple[Message, ...] = ()
    #: what was said before, in short
    summary: str = ""
    #: how many messages lie outside of the window
    evicted: int = 0
    compiled: Compiled | None = None
    turn: Turn | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Who changed a block last."""

    at: float
    by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentState:
    """An agent at one point of its history."""

    id: str
    spec: AgentSpec
    #: by label, private ones and copies of shared ones, in the order in which they are shown
    blocks: dict[str, Block] = field(default_factory=dict)
    conversations: dict[str, Conversation] = field(default_factory=dict)
    #: of its newest event in the journal
    seq: int = 0
    #: archival passages, and how many carry each tag
    passages: int = 0
    tags: dict[str, int] = field(default_factory=dict)
    #: label -> who changed it last
    changes: dict[str, Change] = field(default_factory=dict)
    memory_changed_at: float = 0.0

    @classmethod
    def born(cls, agent_id: str, spec: AgentSpec) -> AgentState:
        """An agent to which nothing has happened yet."""
        return cls(id=agent_id, spec=spec, blocks={block.label: block for block in spec.blocks})

    def conversation(self, conversation_id: str) -> Conversation:
        """That conversation; a new empty one if it has none of that id."""
        return self.conversations.get(conversation_id) or Conversation(id=conversation_id)

    def with_conversation(self, conversation: Conversation) -> AgentState:
        """The state with that conversation in the place of its older self."""
        return dataclasses.replace(
            self, conversations={**self.conversations, conversation.id: conversation}
        )
