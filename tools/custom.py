"""A tool from a user's Python function.

The function itself never runs where it was written: its source goes to a sandbox (P8). So the source must stand alone.
Modules, functions and plain constants that it uses from the top of its file are put before it; anything else that it
would miss there is refused here, with the name.
"""

from __future__ import annotations

import ast
import dis
import inspect
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import Any, Literal

from repertory.errors import ToolError
from repertory.tools.schema import describe
from repertory.tools.tool import Tool

_CONSTANTS = (str, int, float, bool, bytes, type(None))


def custom_tool(function: Callable[..., Any], *, retry: Literal["safe", "never"] = "safe") -> Tool:
    """The tool that runs `function` in a sandbox.

    Args:
        function: A plain or an async one, with annotated arguments; its docstring tells the model what it does.
        retry: `never`: if a crash hides whether the tool has run, it is not run again, and the model is told so.

    Raises ToolError if the function cannot stand alone or a model could not call it.
    """
    signature = describe(function)
    source = _own_source(function)
    prelude = "".join(_lines_before(function))
    return Tool(name=signature.name, description=signature.description, parameters=signature.parameters,
                source=prelude + source, retry=retry)


def _own_source(function: Callable[..., Any]) -> str:
    """The function's text without its decorators."""
    try:
        text = textwrap.dedent(inspect.getsource(function))
        tree = ast.parse(text)
    except (OSError, TypeError, SyntaxError) as error:
        raise ToolError(
            f"the source of {function!r} cannot be read: write the tool as a function in a file"
        ) from error
    node = tree.body[0]
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        raise ToolError(f"{function!r} is not written as `def`: write the tool as a function of its own")
    return "\n".join(text.splitlines()[node.lineno - 1 :]) + "\n"


def _lines_before(function: Callable[..., Any]) -> Iterator[str]:
    target = inspect.unwrap(function)
    if not isinstance(target, types.FunctionType):
        raise ToolError(f"{function!r} is no Python function")
    if target.__code__.co_freevars:
        raise ToolError(
            f"tool {target.__name__} uses {', '.join(target.__code__.co_freevars)} of the function around it, which "
            f"its sandbox does not have: pass it as an argument, or write it inside"
        )
    for name in _globals_of(target.__code__):
        if name in target.__globals__ and name != target.__name__:
            yield _definition(target, name, target.__globals__[name])


def _globals_of(code: types.CodeType) -> dict[str, None]:
    names = {step.argval: None for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names.update(_globals_of(constant))
    return names


def _definition(function: types.FunctionType, name: str, value: Any) -> str:
    if isinstance(value, types.ModuleType):
        return f"import {value.__name__} as {name}\n"
    module, own = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if isinstance(value, _CONSTANTS):
        return f"{name} = {value!r}\n"
    if module and own and "." not in own and module not in (function.__module__, "__main__"):
        return f"from {module} import {own} as {name}\n"
    raise ToolError(
        f"tool {function.__name__} uses {name!r} of its file, which its sandbox does not have: define it inside the "
        f"function, or import it there from an installed package"
    )
