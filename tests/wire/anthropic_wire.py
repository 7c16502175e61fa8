"""Anthropic messages on the wire, as in the API reference. It checks what the real server would refuse."""

from __future__ import annotations

import itertools
import json
from typing import Any

from wire.server import DIRECTIVE, Refuse, Reply, fragments, sample_of


class AnthropicWire:
    """The dialect of Anthropic."""

    path = "/v1/messages"

    def key_of(self, headers: dict[str, str]) -> str:
        # Older SDKs send the first, newer ones the second, unless the key has the maker's own shape.
        return headers.get("x-api-key") or headers.get("authorization", "").removeprefix("bearer ")

    def plan(self, body: dict[str, Any]) -> Reply:
        check(body)
        said = [b["text"] for m in body["messages"] if m["role"] == "user" for b in m["content"] if b["type"] == "text"]
        text = said[-1] if said else ""
        answered = body["messages"][-1]["content"][-1]["type"] == "tool_result"
        offered = {tool["name"]: tool for tool in body.get("tools", ())}
        wanted = [] if answered else [m for m in DIRECTIVE.findall(text) if m[0] in offered]
        if wanted:
            return Reply(calls=tuple((f"toolu_{n}", name, given) for n, (name, given) in enumerate(wanted)))
        if "answer_in_form" in offered:
            value = sample_of(offered["answer_in_form"]["input_schema"])
            return Reply(calls=(("toolu_final", "answer_in_form", json.dumps(value)),))
        return Reply(text=f"ok: {text}")

    def whole(self, reply: Reply, body: dict[str, Any]) -> dict[str, Any]:
        content: list[dict[str, Any]] = []
        if reply.reasoning:
            content.append({"type": "thinking", "thinking": reply.reasoning, "signature": reply.signature})
        if reply.text:
            content.append({"type": "text", "text": reply.text})
        for call_id, name, arguments in reply.calls:
            content.append({"type": "tool_use", "id": call_id, "name": name, "input": json.loads(arguments)})
        return {
            "id": "msg_x", "type": "message", "role": "assistant", "model": body["model"], "content": content,
            "stop_reason": _stop(reply), "stop_sequence": None, "usage": {**_INPUT, "output_tokens": 3},
        }  # fmt: skip

    def events(self, reply: Reply, body: dict[str, Any]) -> list[bytes]:
        message = {**self.whole(Reply(), body), "stop_reason": None, "usage": {**_INPUT, "output_tokens": 1}}
        events = [_event("message_start", message=message), _event("ping")]
        index = 0
        if reply.reasoning:
            start = {"type": "thinking", "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in fragments(reply.reasoning)]
            deltas.append({"type": "signature_delta", "signature": reply.signature})
            events += _block(index, start, deltas)
            index += 1
        if reply.text:
            deltas = [{"type": "text_delta", "text": piece} for piece in fragments(reply.text)]
            events += _block(index, {"type": "text", "text": ""}, deltas)
            index += 1
        for call_id, name, arguments in reply.calls:
            start = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in fragments(arguments)]
            events += _block(index, start, deltas)
            index += 1
        delta = {"stop_reason": _stop(reply), "stop_sequence": None}
        return [*events, _event("message_delta", delta=delta, usage={"output_tokens": 3}), _event("message_stop")]

    def error(self, refuse: Refuse) -> dict[str, Any]:
        return {"type": "error", "error": {"type": refuse.kind, "message": refuse.message}, "request_id": "req_x"}

    def error_event(self, kind: str, message: str) -> bytes:
        return _event("error", error={"type": kind, "message": message})


_INPUT = {"input_tokens": 6, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 4}


def check(body: dict[str, Any]) -> None:
    """Alternating roles, no empty text, every call answered right after it, results first."""
    roles = [message["role"] for message in body["messages"]]
    assert {roles[0], roles[-1]} == {"user"}, roles
    assert all(one != other for one, other in itertools.pairwise(roles)), roles
    assert body["max_tokens"] > 0
    open_calls: list[str] = []
    for message in body["messages"]:
        assert message["content"], "empty content"
        kinds = [block["type"] for block in message["content"]]
        assert all(b["text"].strip() for b in message["content"] if b["type"] == "text"), "empty text"
        results = [b["tool_use_id"] for b in message["content"] if b["type"] == "tool_result"]
        assert results == open_calls, (results, open_calls)
        assert kinds[: len(results)] == ["tool_result"] * len(results), kinds
        open_calls = [b["id"] for b in message["content"] if b["type"] == "tool_use"]
        assert len(set(open_calls)) == len(open_calls), open_calls


def _stop(reply: Reply) -> str:
    return reply.finish or ("tool_use" if reply.calls else "end_turn")


def _block(index: int, start: dict[str, Any], deltas: list[dict[str, Any]]) -> list[bytes]:
    return [
        _event("content_block_start", index=index, content_block=start),
        *(_event("content_block_delta", index=index, delta=delta) for delta in deltas),
        _event("content_block_stop", index=index),
    ]


def _event(kind: str, **data: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()
