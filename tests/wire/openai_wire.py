"""OpenAI chat completions on the wire, as in the API reference (streaming: server-sent events up to `[DONE]`)."""

from __future__ import annotations

import json
from typing import Any

from wire.server import DIRECTIVE, Refuse, Reply, fragments, sample_of


class OpenAIWire:
    """The dialect of OpenAI and of the servers that follow it."""

    path = "/v1/chat/completions"

    def key_of(self, headers: dict[str, str]) -> str:
        return headers.get("authorization", "").removeprefix("bearer ")

    def plan(self, body: dict[str, Any]) -> Reply:
        last = max((n for n, m in enumerate(body["messages"]) if m["role"] == "user"), default=-1)
        text = body["messages"][last]["content"] if last >= 0 else ""
        answered = any(m["role"] == "tool" for m in body["messages"][last + 1 :])
        offered = [tool["function"]["name"] for tool in body.get("tools", ())]
        wanted = [] if answered else [m for m in DIRECTIVE.findall(text) if m[0] in offered]
        if wanted:
            return Reply(calls=tuple((f"call_{n}", name, given) for n, (name, given) in enumerate(wanted)))
        form = body.get("response_format")
        if form:
            return Reply(text=json.dumps(sample_of(form["json_schema"]["schema"])))
        return Reply(text=f"ok: {text}")

    def whole(self, reply: Reply, body: dict[str, Any]) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
        if reply.reasoning:
            message["reasoning_content"] = reply.reasoning
        if reply.calls:
            message["tool_calls"] = [
                {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
                for call_id, name, arguments in reply.calls
            ]
        choice = {"index": 0, "message": message, "finish_reason": _finish(reply)}
        return {"id": "x", "object": "chat.completion", "model": body["model"], "choices": [choice], "usage": _USAGE}

    def events(self, reply: Reply, body: dict[str, Any]) -> list[bytes]:
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"reasoning_content": piece} for piece in fragments(reply.reasoning)]
        deltas += [{"content": piece} for piece in fragments(reply.text)]
        for index, (call_id, name, arguments) in enumerate(reply.calls):
            function = {"name": name, "arguments": ""}
            deltas.append({"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]})
            for piece in fragments(arguments):
                deltas.append({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        events = [_chunk(body, [{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
        events.append(_chunk(body, [{"index": 0, "delta": {}, "finish_reason": _finish(reply)}]))
        if (body.get("stream_options") or {}).get("include_usage"):
            events.append(_chunk(body, [], usage=_USAGE))
        return [*events, b"data: [DONE]\n\n"]

    def error(self, refuse: Refuse) -> dict[str, Any]:
        return {"error": {"message": refuse.message, "type": refuse.kind, "param": None, "code": refuse.code}}

    def error_event(self, kind: str, message: str) -> bytes:
        return _event({"error": {"message": message, "type": kind, "code": None}})


_USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 3,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 4},
}


def _finish(reply: Reply) -> str:
    return reply.finish or ("tool_calls" if reply.calls else "stop")


def _chunk(body: dict[str, Any], choices: list[dict[str, Any]], **more: Any) -> bytes:
    return _event({"id": "x", "object": "chat.completion.chunk", "model": body["model"], "choices": choices, **more})


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"
