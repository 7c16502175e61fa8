"""Kinds of agents: data, and three small functions.

`compile` writes the system message, `may_continue` decides whether a turn goes on after its tool calls, `after_turn`
how many messages stay in the window when a turn is over. Everything else about a turn is the same for all, so that a
new kind is a value and not another loop. Register your own: `rep.open(..., agent_types=[AgentType(...)])`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import resources

from repertory.errors import ConfigError
from repertory.memory.block import Block
from repertory.memory.context import compile_plain, compile_with_memory
from repertory.memory.state import AgentState, Conversation


@dataclass(frozen=True, kw_only=True, slots=True)
class Called:
    """A tool call that was carried out, as `may_continue` sees it."""

    name: str
    failed: bool
    #: the model asked to be called again
    heartbeat: bool
    #: the tool ends a turn (send_message)
    terminal: bool
    #: the tool is one of ours, not a custom one
    builtin: bool


#: (state, conversation, system prompt, seconds since 1970) -> the system message
Compile = Callable[[AgentState, Conversation, str, float], str]
MayContinue = Callable[[tuple[Called, ...]], bool]
#: number of messages in the window -> how many of the newest stay
AfterTurn = Callable[[int], int]


def on_heartbeat(calls: tuple[Called, ...]) -> bool:
    """MemGPT: go on if a call failed, if the model asked for it, or after a memory tool that did not end the turn.

    The last is the default rule of Letta's base tools (`continue_loop`): what a search found is of no use otherwise.
    """
    return any(call.failed or call.heartbeat or (call.builtin and not call.terminal) for call in calls)


def on_any_call(calls: tuple[Called, ...]) -> bool:
    """A tool call is followed by another question to the model; plain text ends the turn."""
    return bool(calls)


def keep_all(count: int) -> int:
    """The window stays as it is."""
    return count


def keep_none(count: int) -> int:
    """Each run starts with an empty window."""
    return 0


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentType:
    """A kind of agents."""

    name: str
    #: the default system prompt, in full
    prompt: str
    #: names of the built-in tools that a new agent gets
    tools: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    #: every tool's schema gets `request_heartbeat`
    heartbeats: bool = False
    #: every tool's schema gets `thinking`, where the model does not reason by itself
    thinking: bool = False
    #: the model must call a tool (it speaks by one)
    must_call: bool = False
    compile: Compile = compile_plain
    may_continue: MayContinue = on_any_call
    after_turn: AfterTurn = keep_all


DEFAULT_BLOCKS = (
    Block(label="persona", description="Who you are: your character, your task, and how you go about it. Adapt it "
                                       "when you learn how to serve better."),
    Block(label="human", description="What you know of the person that you talk to: name, facts, wishes, habits. "
                                     "Keep it true and up to date."),
)


def default_prompt(name: str) -> str:
    """The text of a default prompt: `memgpt`, `letta_v1`, `react`, `workflow`, `summarizer`. Its first line is cut:
    it holds the prompt's version."""
    text = resources.files("repertory").joinpath("prompts", f"{name}.txt").read_text(encoding="utf-8")
    return text.split("\n", 1)[1].strip()


def builtin_types() -> dict[str, AgentType]:
    """The kinds that everybody has, by name."""
    memory_tools = ("conversation_search", "archival_memory_insert", "archival_memory_search")
    kinds = (
        AgentType(
            name="memgpt", prompt=default_prompt("memgpt"), blocks=DEFAULT_BLOCKS,
            tools=("send_message", "core_memory_append", "core_memory_replace", *memory_tools),
            heartbeats=True, thinking=True, must_call=True,
            compile=compile_with_memory, may_continue=on_heartbeat,
        ),
        AgentType(
            name="letta_v1", prompt=default_prompt("letta_v1"), blocks=DEFAULT_BLOCKS,
            tools=("memory_insert", "memory_replace", "memory_rethink", *memory_tools),
            compile=compile_with_memory,
        ),
        AgentType(name="react", prompt=default_prompt("react")),
        AgentType(name="workflow", prompt=default_prompt("workflow"), after_turn=keep_none),
    )
    return {kind.name: kind for kind in kinds}


def type_named(kinds: dict[str, AgentType], name: str) -> AgentType:
    """The kind of that name. Raises ConfigError, which says which there are."""
    kind = kinds.get(name)
    if kind is None:
        raise ConfigError(f"there is no agent type {name!r}; there are: {', '.join(kinds)}", agent_type=name)
    return kind


def with_types(more: Iterable[AgentType]) -> dict[str, AgentType]:
    """The built-in kinds and `more`; one of a built-in's name takes its place."""
    return {**builtin_types(), **{kind.name: kind for kind in more}}
