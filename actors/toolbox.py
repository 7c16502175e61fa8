"""An agent's tools: what the model is offered, and what a call of the model means.

Built-in tools come from the registry, custom ones from the agent's own spec. A type with heartbeats adds its two
arguments to each schema here and takes them off each call, so that no tool knows of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repertory.errors import ToolError
from repertory.llm.protocol import ToolSpec
from repertory.memory.agent_types import AgentType
from repertory.memory.state import AgentSpec, AgentState
from repertory.memory.turn import FINAL_ANSWER
from repertory.messages import ToolCall
from repertory.tools.arguments import checked
from repertory.tools.registry import ToolRegistry
from repertory.tools.tool import Tool

THINKING = "thinking"
HEARTBEAT = "request_heartbeat"

_THINKING_SCHEMA = {"type": "string", "description": "Your private thoughts before you act: a sentence or two."}
_HEARTBEAT_SCHEMA = {
    "type": "boolean",
    "description": "True if you want to act again right after this call; false if your turn is over.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A model's call, understood."""

    tool: Tool
    arguments: dict[str, Any]


class Toolbox:
    """The tools of one agent, as its spec names them."""

    def __init__(self, spec: AgentSpec, kind: AgentType, registry: ToolRegistry) -> None:
        self._kind = kind
        self._tools = {tool.name: tool for tool in registry.choose(spec.tools)}
        for source in spec.custom_tools:
            self._tools[source.name] = Tool(
                name=source.name, description=source.description, parameters=source.parameters, source=source.source,
                retry="never" if source.retry == "never" else "safe")
        self._specs: dict[bool, tuple[ToolSpec, ...]] = {}

    def specs(self, *, reasons: bool, returns: Mapping[str, Any] | None) -> tuple[ToolSpec, ...]:
        """What the model is offered. `reasons`: it reasons by itself; `returns`: the final answer's schema."""
        if reasons not in self._specs:
            self._specs[reasons] = tuple(self._spec(tool, reasons) for tool in self._tools.values())
        if returns is None:
            return self._specs[reasons]
        final = ToolSpec(name=FINAL_ANSWER, description="Give your final answer in exactly this form.",
                         parameters=answer_schema(returns))
        return (*self._specs[reasons], final)

    def find(self, name: str) -> Tool | None:
        """The tool of that name, if the agent has it."""
        return self._tools.get(name)

    def understand(self, call: ToolCall) -> Request:
        """The tool and the arguments that a call means. Raises ToolError with a text for the model."""
        tool = self._tools.get(call.name)
        if tool is None:
            raise ToolError(f"[ToolConstraintError] Cannot call {call.name}, valid tools include: {[*self._tools]}")
        if call.malformed is not None:
            raise ToolError(f"The arguments of {call.name} were no JSON object: {call.malformed[:200]!r}. "
                            "Call it again with valid JSON.")
        return Request(tool=tool, arguments=checked(tool, self._own_arguments(tool, call.arguments)))

    def is_pure(self, call: ToolCall, state: AgentState) -> bool:
        """Whether carrying it out needs nothing but the agent's own memory, so that it may simply be done again."""
        tool = self._tools.get(call.name)
        if tool is None or call.malformed is not None:
            return True  # an error text is all that comes of it
        if not tool.pure:
            return False
        shared = {label for label, block in state.blocks.items() if block.block_id is not None}
        if not shared or "memory" not in tool.name or tool.name.startswith("archival"):
            return True
        label = call.arguments.get("label")
        return isinstance(label, str) and label not in shared

    def _own_arguments(self, tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
        added = {THINKING, HEARTBEAT} - set(tool.parameters.get("properties", {}))
        return {name: value for name, value in arguments.items() if name not in added}

    def _spec(self, tool: Tool, reasons: bool) -> ToolSpec:
        parameters = tool.parameters
        properties = dict(parameters.get("properties", {}))
        required = list(parameters.get("required", ()))
        if self._kind.thinking and not reasons and THINKING not in properties:
            properties = {THINKING: _THINKING_SCHEMA, **properties}
            required = [THINKING, *required]
        if self._kind.heartbeats and HEARTBEAT not in properties:
            properties[HEARTBEAT] = _HEARTBEAT_SCHEMA
            required = [*required, HEARTBEAT]
        return ToolSpec(name=tool.name, description=tool.description,
                        parameters={**parameters, "type": "object", "properties": properties, "required": required})


def wants_heartbeat(call: ToolCall) -> bool:
    """Whether the model asked to be called again."""
    wish = call.arguments.get(HEARTBEAT)
    return wish is True or (isinstance(wish, str) and wish.strip().lower() == "true")


def answer_schema(returns: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of the final answer as a tool's arguments: an object; anything else is wrapped as `value`."""
    if returns.get("type") == "object" or "properties" in returns:
        return dict(returns)
    return {"type": "object", "properties": {"value": dict(returns)}, "required": ["value"]}


def checked_answer(returns: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
    """The final answer. Raises ToolError, which says what is wrong with it."""
    import jsonschema  # costs a process 6 MB, and most agents are never asked for an answer in a schema

    wrapped = answer_schema(returns) != dict(returns)
    schema = answer_schema(returns)
    given = {key: value for key, value in arguments.items()
             if key in schema.get("properties", {}) or key not in (THINKING, HEARTBEAT)}
    try:
        jsonschema.validate(given, schema)
    except jsonschema.ValidationError as error:
        place = "/".join(map(str, error.absolute_path)) or "the answer"
        raise ToolError(f"This is not of the form that was asked for: at {place}: {error.message}. "
                        f"Call {FINAL_ANSWER} again with it put right.") from error
    return given["value"] if wrapped else given
