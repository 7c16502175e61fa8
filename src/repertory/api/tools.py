"""Tools of one's own: a Python function becomes a tool that an agent can be given.

The model is told of it by its signature and docstring. Its source is kept with the agent and runs in a sandbox, never
in the agent's process, so the function brings along what it needs: imports stand inside it.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterable
from typing import Any, Literal

from repertory.errors import ConfigError, ToolError
from repertory.memory.state import ToolSource
from repertory.tools.registry import ToolRegistry
from repertory.tools.schema import describe

#: a tool: the name of a built-in one, a function, or a function that `tool` has wrapped
ToolLike = str | ToolSource | Callable[..., Any]


def tool(function: Callable[..., Any], *, retry: Literal["safe", "never"] = "safe") -> ToolSource:
    """A Python function as a tool.

    Args:
        function: a plain function with annotated arguments and a docstring in Google's style.
        retry: `never` if calling it twice would do harm; after a crash the model is then told that the outcome is
            unknown, and decides.

    Raises:
        ConfigError: its source cannot be had, or its arguments cannot be described.
    """
    if not inspect.isfunction(function) or function.__name__ == "<lambda>":
        raise ConfigError(f"a tool is the name of a built-in one or a plain function, not {function!r:.80}")
    try:
        source = textwrap.dedent(inspect.getsource(function))
        known = describe(function)
    except OSError:
        raise ConfigError(f"the source of {function.__name__} cannot be read: define it in a file") from None
    except ToolError as error:
        raise ConfigError(f"{function.__name__} cannot be a tool: {error.message}") from None
    return ToolSource(name=known.name, description=known.description, parameters=known.parameters, source=source,
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
