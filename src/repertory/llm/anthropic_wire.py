"""A conversation in Anthropic's form, and the tool by which it gives structured answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from repertory.llm.conversation import arguments_of, prepare
from repertory.messages import Message

#: the API has no schema for answers on all models, but tools have one: the model answers by calling this
FINAL_TOOL = "answer_in_form"

Block = dict[str, Any]


def conversation(messages: Sequence[Message]) -> tuple[str, list[dict[str, Any]]]:
    """The system text, and messages of strictly alternating roles that begin and end with the user."""
    prepared = prepare(messages)
    head = 0
    while head < len(prepared) and prepared[head].role == "system":
        head += 1
    system = "\n\n".join(message.text for message in prepared[:head] if message.text.strip())
    out: list[dict[str, Any]] = []
    lasting: Block | None = None
    for message in prepared[head:]:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message)
        if not blocks:
            continue
        if message.role != "system":
            lasting = blocks[-1]
        if out and out[-1]["role"] == role:
            out[-1]["content"].extend(blocks)
        else:
            out.append({"role": role, "content": blocks})
    if not out or out[0]["role"] == "assistant":
        out.insert(0, _user("(The conversation begins.)"))
    if out[-1]["role"] == "assistant":
        out.append(_user("(Go on.)"))
    # Everything up to here comes again next time; notes behind it (role system) change from request to request.
    if lasting is not None and lasting["type"] in ("text", "tool_use", "tool_result"):
        lasting["cache_control"] = {"type": "ephemeral"}
    return system, out


def wrapped(schema: dict[str, Any]) -> bool:
    """Whether answers in this schema are put into an object, because a tool's arguments must be one."""
    return schema.get("type") != "object"


def final_tool(schema: dict[str, Any]) -> dict[str, Any]:
    """The tool by which the model gives an answer that satisfies the schema."""
    form = {"type": "object", "properties": {"value": schema}, "required": ["value"]} if wrapped(schema) else schema
    return {"name": FINAL_TOOL, "description": "Give your final answer in this form.", "input_schema": form}


def _blocks(message: Message) -> list[Block]:
    match message.role:
        case "tool":
            block: Block = {"type": "tool_result", "tool_use_id": message.tool_call_id}
            if message.text.strip():
                block["content"] = message.text
            if message.failed:
                block["is_error"] = True
            return [block]
        case "assistant":
            text = message.text.rstrip()
            calls = [
                {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments_of(call)}
                for call in message.tool_calls
            ]
            said = [{"type": "text", "text": text}] if text else []
            return [*_thoughts(message), *said, *calls] if said or calls else []
        case "system":
            return [{"type": "text", "text": f"[system] {message.text}"}] if message.text.strip() else []
        case _:
            return [{"type": "text", "text": message.text}] if message.text.strip() else []


def _thoughts(message: Message) -> list[Block]:
    """The thinking as it came. Without its signature (another provider's, or edited) it would be refused."""
    signature = message.reasoning_signature
    if not signature:
        return []
    if signature.startswith("[{"):
        blocks: list[Block] = json.loads(signature)
        return blocks
    return [{"type": "thinking", "thinking": message.reasoning, "signature": signature}]


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text}]}
