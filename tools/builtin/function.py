"""A built-in tool from an async function: the agent's context comes first, then what the model gives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from repertory.tools.schema import describe
from repertory.tools.tool import Tool, ToolContext, Wait


def builtin(function: Callable[..., Awaitable[str | Wait]], *, pure: bool, terminal: bool = False) -> Tool:
    """The tool that calls `function(context, **arguments)`; name, words and schema are the function's own."""
    signature = describe(function, skip=1)

    async def run(context: ToolContext, arguments: Mapping[str, Any]) -> str | Wait:
        return await function(context, **arguments)

    return Tool(
        name=signature.name, description=signature.description, parameters=signature.parameters, function=run,
        pure=pure, terminal=terminal,
    )
