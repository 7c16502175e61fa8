"""A tool's description for the model, made from a Python function: its signature and its docstring.

Types come from the annotations, words from the docstring in Google's style. The plain types are translated here;
for all others pydantic knows how they look in JSON schema. It is loaded only then: the built-in tools do without it,
so an agent's process does too. A function whose arguments cannot be described is refused when the tool is made, not
when a model calls it.
"""

from __future__ import annotations

import inspect
import re
import textwrap
import typing
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Literal

from repertory.errors import ToolError

_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns|Return|Yields|Raises|Examples?|Notes?|Attributes):\s*$")
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}
_ARGUMENT = re.compile(r"^(\*{0,2}\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """What a model must know of a function."""

    name: str
    description: str
    #: JSON schema of the arguments (type: object)
    parameters: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Argument:
    type: Any
    #: Ellipsis: it must be given
    default: Any
    description: str


def describe(function: Callable[..., Any], *, skip: int = 0) -> Signature:
    """The function's name, its docstring's text, and the schema of its arguments.

    `skip` leaves out that many arguments at the front, which the caller fills in himself.
    Raises ToolError if an argument has no annotation, takes any number of values, or has a type without a schema.
    """
    name = function.__name__
    text, words = parse_docstring(inspect.getdoc(function) or "")
    hints = _hints(function)
    arguments: dict[str, _Argument] = {}
    for parameter in list(inspect.signature(function).parameters.values())[skip:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ToolError(f"tool {name}: argument {parameter} cannot be given by name; models give all by name")
        if parameter.name not in hints:
            raise ToolError(f"tool {name}: argument {parameter.name!r} needs a type annotation, such as `: str`")
        default = ... if parameter.default is parameter.empty else parameter.default
        arguments[parameter.name] = _Argument(type=hints[parameter.name], default=default,
                                              description=words.get(parameter.name, ""))
    return Signature(name=name, description=text, parameters=_plainly(arguments) or _by_pydantic(name, arguments))


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


def _plainly(arguments: dict[str, _Argument]) -> dict[str, Any] | None:
    """The schema of arguments that all have plain types; None if one has another."""
    properties: dict[str, dict[str, Any]] = {}
    for name, argument in arguments.items():
        prop = _plain(argument.type, optional=argument.default is None)
        if prop is None:
            return None
        if argument.default is not None and argument.default is not ...:
            prop["default"] = argument.default
        if argument.description:
            prop["description"] = argument.description
        properties[name] = prop
    required = [name for name, argument in arguments.items() if argument.default is ...]
    return {"type": "object", "properties": properties, "required": required}


def _plain(annotation: Any, *, optional: bool = False) -> dict[str, Any] | None:
    if isinstance(annotation, type) and annotation in _PLAIN:
        return {"type": _PLAIN[annotation]}
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal and all(isinstance(part, str) for part in parts):
        return {"type": "string", "enum": list(parts)}
    if origin is list and (items := _plain(parts[0])) is not None:
        return {"type": "array", "items": items}
    if origin in (typing.Union, UnionType) and optional:
        others = [part for part in parts if part is not NoneType]
        return _plain(others[0]) if len(others) == 1 else None
    return None


def _by_pydantic(name: str, arguments: dict[str, _Argument]) -> dict[str, Any]:
    import pydantic  # half a second and 10 MB: only for tools that need it

    fields: dict[str, Any] = {
        key: (argument.type, pydantic.Field(argument.default, description=argument.description or None))
        for key, argument in arguments.items()
    }
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
