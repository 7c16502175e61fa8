"""Tools of one's own: a Python function becomes a tool that an agent can be given.

The model is told of it by its signature and docstring. Its source is kept with the agent and runs in a sandbox, never
in the agent's process; see `repertory.tools.custom` for what goes along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from repertory.errors import ConfigError, ToolError
from repertory.memory.state import ToolSource
from repertory.tools.custom import custom_tool
from repertory.tools.registry import ToolRegistry

#: a tool: the name of a built-in one, a function, or a function that `tool` has wrapped
ToolLike = str | ToolSource | Callable[..., Any]


def tool(function: Callable[..., Any], *, retry: Literal["safe", "never"] = "safe") -> ToolSource:
    """A Python function as a tool.

    Args:
        function: a plain function with annotated arguments and a docstring in Google's style.
        retry: `never` if calling it twice would do harm; after a crash the model is then told that the outcome is
            unknown, and decides.

    Raises:
        ConfigError: its source cannot be had, cannot stand alone, or its arguments cannot be described.
    """
    try:
        made = custom_tool(function, retry=retry)
    except ToolError as error:
        raise ConfigError(f"a tool is the name of a built-in one or a plain function: {error.message}") from None
    return ToolSource(name=made.name, description=made.description, parameters=made.parameters, source=made.source,
                      retry=retry)


def sorted_out(tools: Iterable[ToolLike], registry: ToolRegistry) -> tuple[tuple[str, ...], tuple[ToolSource, ...]]:
    """The names of the built-in ones among `tools`, and the sources of the others. Raises ConfigError."""
    names: list[str] = []
    sources: list[ToolSource] = []
    for one in tools:
        if isinstance(one, str):
            names.append(one)
        else:
            sources.append(one if isinstance(one, ToolSource) else tool(one))
    try:
        registry.choose(names)
    except ToolError as error:
        raise ConfigError(error.message) from None
    every = [*names, *(source.name for source in sources)]
    for name in every:
        if every.count(name) > 1 or (name not in names and name in registry.names()):
            raise ConfigError(f"two tools have the name {name!r}")
    return tuple(names), tuple(sources)
