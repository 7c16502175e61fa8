"""Filling in forms without a language model: arguments that a tool's schema demands, and answers in a JSON schema."""

from __future__ import annotations

import json
import re
from typing import Any

from repertory.llm.offline_reading import sentences, stems

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_PAIR = re.compile(r"(?P<name>[A-Za-z_]\w*)\s*[=:]\s*(?P<value>\"[^\"]*\"|'[^']*'|\[[^\]]*\]|\{[^}]*\}|[^\s,;]+)")
_NO = re.compile(r"\b(?:no|not|never|false|nothing|none|cannot)\b", re.I)
#: arguments in which agents of the MemGPT kind want the model's inner voice
_INNER_VOICE = ("thinking", "inner_thoughts")


def complete(schema: dict[str, Any], arguments: dict[str, Any], *, thought: str, heartbeat: bool) -> dict[str, Any]:
    """The arguments that the schema knows, with the inner voice and the heartbeat where it has them."""
    properties: dict[str, Any] = schema.get("properties") or {}
    out: dict[str, Any] = {name: thought for name in _INNER_VOICE if name in properties}
    out.update({name: value for name, value in arguments.items() if name in properties or not properties})
    if "request_heartbeat" in properties:
        out["request_heartbeat"] = heartbeat
    for name in schema.get("required") or ():
        if name not in out:
            out[name] = fill(properties.get(name) or {}, "")
    return out


def arguments_from(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Arguments out of what a person wrote: a JSON object, `name=value` pairs, or the one text that is needed."""
    properties: dict[str, Any] = schema.get("properties") or {}
    start = text.find("{")
    if start >= 0:
        try:
            value, _ = json.JSONDecoder().raw_decode(text[start:])
        except ValueError:
            value = None
        if isinstance(value, dict):
            return value
    pairs = {pair["name"]: pair["value"] for pair in _PAIR.finditer(text) if pair["name"] in properties}
    if pairs:
        return {name: _typed(properties[name], value) for name, value in pairs.items()}
    wanted = [name for name in properties if name not in (*_INNER_VOICE, "request_heartbeat")]
    return {wanted[0]: _typed(properties[wanted[0]], text)} if wanted and text else {}


def fill(schema: dict[str, Any], text: str, root: dict[str, Any] | None = None) -> Any:
    """A value that fits the schema, taken from `text` as far as rules can.

    A property is looked for as `name: value`, then as the first value of its type; a text becomes the whole text, a
    list its sentences, a choice the one that occurs in the text.
    """
    root = schema if root is None else root
    schema = _resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return next((one for one in schema["enum"] if str(one).lower() in text.lower()), schema["enum"][0])
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    match kind:
        case "object":
            return _object(schema, text, root)
        case "array":
            return _array(schema, text, root)
        case "boolean":
            return bool(stems(text)) and not _NO.search(text)
        case "integer" | "number":
            return _number(schema, text, whole=kind == "integer")
        case "null":
            return None
        case _:
            return text[: schema.get("maxLength")] or "unknown"[: schema.get("maxLength")]


def _resolved(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    for _ in range(8):  # a chain of references is short; a circle of them must end
        reference = schema.get("$ref")
        options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
        if isinstance(reference, str) and reference.startswith("#/"):
            part: Any = root
            for key in reference[2:].split("/"):
                part = part.get(key, {}) if isinstance(part, dict) else {}
            schema = part
        elif options:
            schema = next((one for one in options if one.get("type") != "null"), options[0])
        else:
            break
    return schema


def _object(schema: dict[str, Any], text: str, root: dict[str, Any]) -> dict[str, Any]:
    out = {}
    for name, part in (schema.get("properties") or {}).items():
        label = re.escape(name).replace("_", "[_ ]")
        told = re.search(rf"\b{label}\b\s*(?:[:=]|\bis\b)\s*(?P<value>[^\n;,]+)", text, re.I)
        out[name] = fill(part, told["value"].strip(" .\"'") if told else text, root)
    return out


def _array(schema: dict[str, Any], text: str, root: dict[str, Any]) -> list[Any]:
    items = schema.get("items") or {}
    parts = [re.sub(r"^\s*(?:[-*•]|\d+[.)])\s*", "", part) for part in sentences(text)]
    if len(parts) == 1 and _resolved(items, root).get("type") != "object":
        parts = [part.strip() for part in re.split(r",|;|\band\b", parts[0]) if part.strip()]
    parts = parts[: schema.get("maxItems")]
    while len(parts) < (schema.get("minItems") or 0):
        parts.append(text)
    return [fill(items, part, root) for part in parts]


def _number(schema: dict[str, Any], text: str, *, whole: bool) -> float | int:
    found = _NUMBER.search(text)
    value = float(found.group()) if found else 0.0
    value = max(value, schema.get("minimum", value))
    value = min(value, schema.get("maximum", value))
    return int(value) if whole else value


def _typed(schema: dict[str, Any], value: str) -> Any:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    if schema.get("type") in ("integer", "number", "boolean", "array", "object"):
        try:
            return json.loads(value)
        except ValueError:
            return fill(schema, value)
    return value
