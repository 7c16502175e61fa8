"""A tool's description for the model, made from a Python function: its signature and its docstring.

Types come from the annotations (pydantic knows how each looks in JSON schema), words from the docstring in Google's
style. A function whose arguments cannot be described is refused when the tool is made, not when a model calls it.
"""

from __future__ import annotations

import inspect
import re
import textwrap
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pydantic

from repertory.errors import ToolError

_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns|Return|Yields|Raises|Examples?|Notes?|Attributes):\s*$")
_ARGUMENT = re.compile(r"^(\*{0,2}\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """What a model must know of a function."""

    name: str
    description: str
    #: JSON schema of the arguments (type: object)
    parameters: dict[str, Any]


def describe(function: Callable[..., Any], *, skip: int = 0) -> Signature:
    """The function's name, its docstring's text, and the schema of its arguments.

    `skip` leaves out that many arguments at the front, which the caller fills in himself.
    Raises ToolError if an argument has no annotation, takes any number of values, or has a type without a schema.
    """
    name = function.__name__
    text, words = parse_docstring(inspect.getdoc(function) or "")
    hints = _hints(function)
    fields: dict[str, Any] = {}
    for parameter in list(inspect.signature(function).parameters.values())[skip:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ToolError(f"tool {name}: argument {parameter} cannot be given by name; models give all by name")
        if parameter.name not in hints:
            raise ToolError(f"tool {name}: argument {parameter.name!r} needs a type annotation, such as `: str`")
        default = ... if parameter.default is parameter.empty else parameter.default
        info = pydantic.Field(default, description=words.get(parameter.name) or None)
        fields[parameter.name] = (hints[parameter.name], info)
    return Signature(name=name, description=text, parameters=_schema(name, fields))


def parse_docstring(docstring: str) -> tuple[str, dict[str, str]]:
    """The text before the first section, and what the `Args:` section says of each argument."""
    before: list[str] = []
    section, arguments = "", list[str]()
    for line in inspect.cleandoc(docstring).splitlines():
        heading = _SECTION.match(line)
        if heading:
            section = heading[1]
        elif not section:
            before.append(line)
        elif section in ("Args", "Arguments", "Parameters"):
            arguments.append(line)
    return "\n".join(before).strip(), _parse_arguments(arguments)


def _parse_arguments(lines: list[str]) -> dict[str, str]:
    words: dict[str, str] = {}
    current = ""
    for line in textwrap.dedent("\n".join(lines)).splitlines():
        entry = None if line[:1].isspace() else _ARGUMENT.match(line)
        if entry:
            current = entry[1].lstrip("*")
            words[current] = entry[2].strip()
        elif current and line.strip():
            words[current] = f"{words[current]} {line.strip()}".strip()
    return words


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ToolError(f"tool {function.__name__}: its annotations cannot be read: {error}") from error


def _schema(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    try:
        model: type[pydantic.BaseModel] = pydantic.create_model(name, **fields)
        schema = model.model_json_schema()
    except pydantic.errors.PydanticUserError as error:
        raise ToolError(f"tool {name}: an argument's type has no JSON schema: {error}") from error
    properties = {key: _simplified(prop) for key, prop in schema.get("properties", {}).items()}
    tidy: dict[str, Any] = {"type": "object", "properties": properties, "required": schema.get("required", [])}
    if "$defs" in schema:
        tidy["$defs"] = {key: _untitled(part) for key, part in schema["$defs"].items()}
    return tidy


def _simplified(schema: dict[str, Any]) -> dict[str, Any]:
    """One argument's schema: an optional one is simply not required, which every model understands."""
    schema = _untitled(schema)
    if schema.get("default", ...) is None:
        del schema["default"]
        choices = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
        if len(choices) == 1:
            del schema["anyOf"]
            schema = {**choices[0], **schema}
    return schema


def _untitled(schema: Any) -> Any:
    """Without the titles that pydantic makes up from the names."""
    if isinstance(schema, list):
        return [_untitled(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: (_named(part) if key == "properties" else _untitled(part))
            for key, part in schema.items() if not (key == "title" and isinstance(part, str))}


def _named(properties: dict[str, Any]) -> dict[str, Any]:
    # here `title` may be the name of a property
    return {name: _untitled(part) for name, part in properties.items()}
