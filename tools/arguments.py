"""The arguments of a call, checked against the tool's schema before anything is done.

Models make small mistakes: a number in quotes, a list written as text. What can only have been meant one way is put
right; the rest is refused with a text that tells the model what to write instead.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

from repertory.errors import ToolError
from repertory.tools.tool import Tool

_PYTHON: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,),
    "object": (dict,), "null": (type(None),),
}
#: a schema that refers to itself is followed this deep
_DEEPEST = 32


class _Wrong(Exception):
    """A value that does not fit; the text says where and why."""


def checked(tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the tool takes them. Raises ToolError, which names each mistake and what is expected."""
    schema = tool.parameters
    properties: dict[str, Any] = schema.get("properties", {})
    required: list[str] = schema.get("required", [])
    mistakes: list[str] = []
    fitting: dict[str, Any] = {}
    for name, value in arguments.items():
        if name not in properties:
            if schema.get("additionalProperties"):
                fitting[name] = value
            else:
                mistakes.append(_unknown(name, [n for n in properties if n not in arguments]))
        elif value is None and name not in required:
            continue  # models write null for what they leave out
        else:
            try:
                fitting[name] = _fit(value, properties[name], schema, f"argument '{name}'")
            except _Wrong as wrong:
                mistakes.append(str(wrong))
    mistakes += [f"missing required argument '{name}'" for name in required if name not in arguments]
    if mistakes:
        raise ToolError(
            f"Invalid arguments for {tool.name}: {'; '.join(mistakes)}. Nothing was done. {_expected(tool)} "
            f"Call {tool.name} again with these arguments.",
            tool=tool.name, mistakes=mistakes,
        )
    return fitting


def _unknown(name: str, free: list[str]) -> str:
    close = difflib.get_close_matches(name, free, n=1)
    return f"unknown argument '{name}'" + (f" (did you mean '{close[0]}'?)" if close else "")


def _expected(tool: Tool) -> str:
    properties, required = tool.parameters.get("properties", {}), tool.parameters.get("required", [])
    if not properties:
        return f"{tool.name} takes no arguments."
    parts = [f"{name} ({_type_name(schema)}, {'required' if name in required else 'optional'})"
             for name, schema in properties.items()]
    return f"Expected: {', '.join(parts)}."


def _type_name(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(map(repr, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(map(_type_name, schema["anyOf"]))
    kind = schema.get("type", "any value")
    if kind == "array" and "items" in schema:
        return f"array of {_type_name(schema['items'])}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _fit(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], where: str, depth: int = 0) -> Any:
    """`value` as `schema` wants it. Raises _Wrong."""
    if depth > _DEEPEST:
        raise _Wrong(f"{where} is nested too deeply")
    if "$ref" in schema:
        target = root.get("$defs", {}).get(str(schema["$ref"]).rpartition("/")[2], {})
        return _fit(value, target, root, where, depth + 1)
    if "anyOf" in schema or "oneOf" in schema:
        return _fit_any(value, schema.get("anyOf") or schema["oneOf"], root, where, depth)
    if "enum" in schema or "const" in schema:
        return _fit_choice(value, schema.get("enum", [schema.get("const")]), where)
    kinds = schema.get("type")
    if kinds is None:
        return value
    if isinstance(kinds, list):
        return _fit_any(value, [{**schema, "type": kind} for kind in kinds], root, where, depth)
    value = _coerced(value, kinds, where)
    if kinds == "array" and "items" in schema:
        return [_fit(item, schema["items"], root, f"{where}, item {number}", depth + 1)
                for number, item in enumerate(value, 1)]
    if kinds == "object" and "properties" in schema:
        return _fit_object(value, schema, root, where, depth)
    return value


def _fit_any(value: Any, choices: list[Any], root: Mapping[str, Any], where: str, depth: int) -> Any:
    # a choice that takes the value as it stands comes before one that would change it: "5" may be meant as text
    results = []
    for choice in choices:
        try:
            results.append(_fit(value, choice, root, where, depth + 1))
        except _Wrong:
            continue
    for result in results:
        if type(result) is type(value) and result == value:
            return result
    if not results:
        raise _Wrong(f"{where} must be {' or '.join(map(_type_name, choices))}, not {_shown(value)}")
    return results[0]


def _fit_choice(value: Any, choices: list[Any], where: str) -> Any:
    for choice in choices:
        if value == choice or (isinstance(choice, str) and isinstance(value, str)
                               and value.strip().lower() == choice.lower()):
            return choice
    raise _Wrong(f"{where} must be one of {', '.join(map(repr, choices))}, not {_shown(value)}")


def _fit_object(value: dict[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], where: str, depth: int
                ) -> dict[str, Any]:
    for name in schema.get("required", []):
        if name not in value:
            raise _Wrong(f"{where} lacks '{name}'")
    return {name: _fit(item, schema["properties"].get(name, {}), root, f"{where}, '{name}'", depth + 1)
            for name, item in value.items()}


def _coerced(value: Any, kind: str, where: str) -> Any:
    wanted = _PYTHON.get(kind)
    if wanted is None or (isinstance(value, wanted) and not (isinstance(value, bool) and bool not in wanted)):
        return value
    try:
        return _CONVERSIONS[kind](value)
    except (KeyError, ValueError, TypeError, OverflowError):
        raise _Wrong(f"{where} must be {_ARTICLE.get(kind, kind)}, not {_shown(value)}") from None


def _to_integer(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        return int(value.strip())
    raise ValueError


def _to_number(value: Any) -> float:
    if isinstance(value, str):
        return float(value.strip())
    raise ValueError


def _to_boolean(value: Any) -> bool:
    if isinstance(value, str):
        return {"true": True, "false": False}[value.strip().lower()]
    raise ValueError


def _to_string(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError


def _to_array(value: Any) -> list[Any]:
    if isinstance(value, str):
        if not value.lstrip().startswith("["):
            return [value] if value else []
        parsed = json.loads(value)
        if isinstance(parsed, list):
            return parsed
    raise ValueError


def _to_object(value: Any) -> dict[str, Any]:
    parsed = json.loads(value) if isinstance(value, str) else None
    if isinstance(parsed, dict):
        return parsed
    raise ValueError


_CONVERSIONS: dict[str, Any] = {
    "integer": _to_integer, "number": _to_number, "boolean": _to_boolean, "string": _to_string, "array": _to_array,
    "object": _to_object,
}
_ARTICLE = {"string": "a string", "integer": "an integer", "number": "a number", "boolean": "true or false",
            "array": "an array", "object": "an object", "null": "null"}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
