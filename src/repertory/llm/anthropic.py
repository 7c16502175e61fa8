"""Anthropic's messages: tool use, thinking, prompt caching, streaming.

Requests go through the official SDK's client as plain dicts, as in `openai`, for the same reason. What Anthropic
wants otherwise than the rest: the system text apart from the messages, strictly alternating roles, results first in
the message after their calls, and the thinking before a tool call back unchanged, with its signature.
"""

from __future__ import annotations

import json
from typing import Any

from repertory.errors import ModelUnavailable
from repertory.llm.anthropic_wire import FINAL_TOOL, conversation, final_tool, wrapped
from repertory.llm.assembly import Assembly, Finish
from repertory.llm.connections import http_client
from repertory.llm.failures import translate
from repertory.llm.handles import window_of
from repertory.llm.protocol import ModelAnswer, ModelRequest, OnDelta
from repertory.llm.settings import ProviderSettings
from repertory.messages import Usage

_CONNECT_S = 10.0
#: the API wants a limit for every answer; this is what all current models can give
_OUTPUT_TOKENS = 8_192
_OUTPUT_TOKENS_CLAUDE_3 = 4_096
_CACHED = {"type": "ephemeral"}
_FINISH: dict[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refused",
}


class AnthropicProvider:
    """A server that speaks Anthropic messages. It implements `Provider`."""

    def __init__(self, sdk: Any, name: str, settings: ProviderSettings, key: str, base_url: str | None) -> None:
        """Make one.

        Args:
            sdk: the module `anthropic`.
            name: the provider's name, for error texts.
            settings: windows and extra fields of the body, for example `thinking`.
            key: the API key; it stays in this object.
            base_url: where the server is; None: Anthropic itself.
        """
        self._sdk = sdk
        self._name = name
        self._settings = settings
        self._secrets = (key,)
        # Retries are the gateway's: two places that retry multiply.
        self._client = sdk.AsyncAnthropic(api_key=key, base_url=base_url, max_retries=0, http_client=http_client(sdk))

    async def answer(self, request: ModelRequest, model: str, on_delta: OnDelta | None = None) -> ModelAnswer:
        """Ask once."""
        body = self._body(request, model)
        options = {"timeout": self._sdk.Timeout(request.timeout_s, connect=min(_CONNECT_S, request.timeout_s))}
        blocks = _Blocks(Assembly(on_delta), unwrap=request.returns is not None and wrapped(request.returns))
        try:
            if on_delta is None:
                data = await self._client.post("/v1/messages", cast_to=object, body=body, options=options)
                blocks.whole(data)
            else:
                await self._stream(body, options, blocks)
            return blocks.answer(request.model)
        except Exception as error:
            failure = translate(error, self._name, self._secrets)
        raise failure  # outside of the handler: the SDK's exception holds the request's headers, it must not be chained

    def context_window(self, model: str) -> int:
        """From the settings, or the table of well-known models."""
        return window_of(model, self._settings.context_windows)

    async def close(self) -> None:
        """Give connections back."""
        await self._client.close()

    async def _stream(self, body: dict[str, Any], options: dict[str, Any], blocks: _Blocks) -> None:
        stream = await self._client.post(
            "/v1/messages",
            cast_to=object,
            body={**body, "stream": True},
            options=options,
            stream=True,
            stream_cls=self._sdk.AsyncStream[object],
        )
        async with stream:
            async for event in stream:
                if isinstance(event, dict):
                    blocks.event(event)
        if not blocks.complete:
            raise ModelUnavailable(f"{self._name} cut its answer off in the middle.", cut=True)

    def _body(self, request: ModelRequest, model: str) -> dict[str, Any]:
        thinking = self._settings.extra_body.get("thinking") or {}
        thinks = thinking.get("type", "disabled") != "disabled"
        system, messages = conversation(request.messages)
        least = _OUTPUT_TOKENS_CLAUDE_3 if model.startswith("claude-3-") and model[9:10] not in "57" else _OUTPUT_TOKENS
        body: dict[str, Any] = {
            "model": model,
            "messages": messages,
            "max_tokens": (request.max_output_tokens or least) + (thinking.get("budget_tokens") or 0),
        }
        if system:
            body["system"] = [{"type": "text", "text": system, "cache_control": _CACHED}]
        tools = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
            for tool in request.tools
        ]
        if request.returns is not None:
            tools.append(final_tool(request.returns))
        if tools:
            tools[-1]["cache_control"] = _CACHED
            body["tools"] = tools
            choice = _tool_choice(request)
            # The API refuses to force a tool on a model that thinks.
            if choice is not None and not thinks:
                body["tool_choice"] = choice
        if request.temperature is not None and not thinks:
            body["temperature"] = request.temperature
        body.update(self._settings.extra_body)
        return body


class _Blocks:
    """The content blocks of an answer, whether they come whole or in a stream."""

    def __init__(self, assembly: Assembly, *, unwrap: bool) -> None:
        self._assembly = assembly
        self._unwrap = unwrap
        #: blocks of thinking by index, to be sent back as they are
        self._thoughts: dict[int, dict[str, Any]] = {}
        #: the pieces of the structured answer, which the model gives by calling a tool
        self._final: dict[int, list[str]] = {}
        self._usage: dict[str, Any] = {}
        self._stop = ""
        self.complete = False

    def whole(self, data: Any) -> None:
        """A response that came in one piece."""
        content = data.get("content") if isinstance(data, dict) else None
        if content is None:
            inside = data.get("error") if isinstance(data, dict) else data
            raise ModelUnavailable(f"The server's response holds no answer: {str(inside)[:200]}")
        for index, block in enumerate(content):
            self._start(index, block)
            if block.get("type") == "tool_use":
                self._input(index, json.dumps(block.get("input") or {}, ensure_ascii=False))
        self._usage = data.get("usage") or {}
        self._stop = data.get("stop_reason") or ""
        self.complete = True

    def event(self, event: dict[str, Any]) -> None:
        """One event of a stream."""
        match event.get("type"):
            case "message_start":
                self._usage.update((event.get("message") or {}).get("usage") or {})
            case "content_block_start":
                self._start(event["index"], event["content_block"])
            case "content_block_delta":
                self._delta(event["index"], event["delta"])
            case "message_delta":
                self._stop = event["delta"].get("stop_reason") or self._stop
                given = event.get("usage") or {}
                self._usage.update({key: value for key, value in given.items() if value is not None})
            case "message_stop":
                self.complete = True

    def answer(self, model: str) -> ModelAnswer:
        """The whole answer."""
        for pieces in self._final.values():
            self._assembly.text(self._final_text("".join(pieces)))
        self._assembly.reasoning_signature = self._signature()
        usage = Usage(
            input_tokens=sum(
                self._usage.get(key) or 0
                for key in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
            ),
            output_tokens=self._usage.get("output_tokens") or 0,
            cached_tokens=self._usage.get("cache_read_input_tokens") or 0,
            requests=1,
        )
        return self._assembly.answer(finish=_FINISH.get(self._stop, "stop"), usage=usage, model=model)

    def _start(self, index: int, block: dict[str, Any]) -> None:
        match block.get("type"):
            case "text":
                self._assembly.text(block.get("text") or "")
            case "thinking":
                self._thoughts[index] = {"type": "thinking", "thinking": "", "signature": block.get("signature") or ""}
                self._think(index, block.get("thinking") or "")
            case "redacted_thinking":
                self._thoughts[index] = dict(block)
            case "tool_use" if block.get("name") == FINAL_TOOL:
                self._final[index] = []
            case "tool_use":
                self._assembly.tool_call(index, call_id=block.get("id") or "", name=block.get("name") or "")

    def _delta(self, index: int, delta: dict[str, Any]) -> None:
        match delta.get("type"):
            case "text_delta":
                self._assembly.text(delta.get("text") or "")
            case "thinking_delta":
                self._think(index, delta.get("thinking") or "")
            case "signature_delta":
                self._thoughts[index]["signature"] += delta.get("signature") or ""
            case "input_json_delta":
                self._input(index, delta.get("partial_json") or "")

    def _think(self, index: int, piece: str) -> None:
        self._thoughts[index]["thinking"] += piece
        self._assembly.reasoning(piece)

    def _input(self, index: int, piece: str) -> None:
        if index in self._final:
            self._final[index].append(piece)
        else:
            self._assembly.tool_call(index, arguments=piece)

    def _final_text(self, text: str) -> str:
        if not self._unwrap:
            return text
        try:
            return json.dumps(json.loads(text)["value"], ensure_ascii=False)
        except (ValueError, KeyError, TypeError):
            return text

    def _signature(self) -> str:
        """One block of thinking travels as its text and signature; several, or hidden ones, whole."""
        thoughts = list(self._thoughts.values())
        if len(thoughts) == 1 and thoughts[0]["type"] == "thinking":
            return str(thoughts[0]["signature"])
        return json.dumps(thoughts) if thoughts else ""


def _tool_choice(request: ModelRequest) -> dict[str, Any] | None:
    if request.tool_choice == "none":
        return {"type": "none"}
    if request.tool_choice not in ("auto", "required"):
        return {"type": "tool", "name": request.tool_choice}
    if request.returns is not None and not request.tools:
        return {"type": "tool", "name": FINAL_TOOL}
    return {"type": "any"} if request.tool_choice == "required" or request.returns is not None else None
