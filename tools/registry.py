"""Which tools there are: the built-in ones, and those that a user has added."""

from __future__ import annotations

from collections.abc import Iterable

from repertory.errors import ToolError
from repertory.llm.protocol import ToolSpec
from repertory.tools.builtin import BUILTIN_TOOLS
from repertory.tools.tool import Tool


class ToolRegistry:
    """Tools by name: the built-in ones and those that a user has added."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        """`tools` are registered in this order."""
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            self.add(tool)

    @classmethod
    def with_builtins(cls, custom: Iterable[Tool] = ()) -> ToolRegistry:
        """A registry of the built-in tools, and of `custom` ones."""
        return cls((*BUILTIN_TOOLS, *custom))

    def add(self, tool: Tool) -> None:
        """Add a tool; the same one again is no mistake. Raises ToolError if another one has its name."""
        known = self._tools.get(tool.name)
        if known is not None and known != tool:
            raise ToolError(f"there is another tool named {tool.name!r}: choose another name", tool=tool.name)
        self._tools[tool.name] = tool

    def get(self, name: str) -> Tool:
        """The tool with that name. Raises ToolError, which says which there are."""
        tool = self._tools.get(name)
        if tool is None:
            raise ToolError(f"there is no tool named {name!r}; there are: {', '.join(self._tools)}", tool=name)
        return tool

    def choose(self, names: Iterable[str]) -> tuple[Tool, ...]:
        """The tools with these names, in their order, each once. Raises ToolError."""
        return tuple(self.get(name) for name in dict.fromkeys(names))

    def names(self) -> tuple[str, ...]:
        """All names, in the order of registration."""
        return tuple(self._tools)


def spec(tool: Tool) -> ToolSpec:
    """The tool as the model sees it."""
    return ToolSpec(name=tool.name, description=tool.description, parameters=tool.parameters)
