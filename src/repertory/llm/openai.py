"""OpenAI's chat completions, and every server that speaks them: vLLM, Ollama, LM Studio, llama.cpp, gateways.

Requests go through the official SDK's client (its connections, authentication and errors), but as plain dicts:
`client.post(..., cast_to=object)` is the SDK's documented way for bodies of one's own, and costs 2 ms where the typed
method spends 15 ms on turning a request of 40 messages and 8 tools into models and back (measured, openai 3.57).
"""

from __future__ import annotations

import json
import re
from typing import Any

from repertory.errors import ModelError, ModelUnavailable
from repertory.llm.assembly import Assembly, Finish
from repertory.llm.connections import http_client
from repertory.llm.conversation import arguments_of, prepare
from repertory.llm.failures import translate
from repertory.llm.handles import window_of
from repertory.llm.protocol import ModelAnswer, ModelRequest, OnDelta, ToolSpec
from repertory.llm.settings import ProviderSettings
from repertory.llm.think_tags import ThinkTags
from repertory.messages import Message, Usage

_CONNECT_S = 10.0
#: they refuse any temperature
_REASONING_MODELS = re.compile(r"o\d|gpt-5")
_FINISH: dict[str, Finish] = {
    "stop": "stop",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "length": "length",
    "content_filter": "refused",
}


class OpenAIProvider:
    """A server that speaks OpenAI chat completions. It implements `Provider`."""

    def __init__(self, sdk: Any, name: str, settings: ProviderSettings, key: str, base_url: str | None) -> None:
        """Make one.

        Args:
            sdk: the module `openai`.
            name: the provider's name, for error texts.
            settings: windows and extra fields of the body.
            key: the API key; it stays in this object.
            base_url: where the server is; None: OpenAI itself.
        """
        self._sdk = sdk
        self._name = name
        self._settings = settings
        self._secrets = (key,) if base_url is None or len(key) > 8 else ()
        # Retries are the gateway's: two places that retry multiply.
        self._client = sdk.AsyncOpenAI(api_key=key, base_url=base_url, max_retries=0, http_client=http_client(sdk))
        # Other servers know only the older name of the limit.
        at_openai = base_url is None or "api.openai.com" in base_url
        self._output_limit = "max_completion_tokens" if at_openai else "max_tokens"

    async def answer(self, request: ModelRequest, model: str, on_delta: OnDelta | None = None) -> ModelAnswer:
        """Ask once."""
        body = self._body(request, model)
        options = {"timeout": self._sdk.Timeout(request.timeout_s, connect=min(_CONNECT_S, request.timeout_s))}
        try:
            if on_delta is None:
                data = await self._client.post("/chat/completions", cast_to=object, body=body, options=options)
                return _whole(data, request.model)
            return await self._streamed(body, options, request.model, on_delta)
        except Exception as error:
            failure = translate(error, self._name, self._secrets)
        raise failure  # outside of the handler: the SDK's exception holds the request's headers, it must not be chained

    def context_window(self, model: str) -> int:
        """From the settings, or the table of well-known models."""
        return window_of(model, self._settings.context_windows)

    async def close(self) -> None:
        """Give connections back."""
        await self._client.close()

    async def _streamed(
        self, body: dict[str, Any], options: dict[str, Any], model: str, on_delta: OnDelta
    ) -> ModelAnswer:
        stream = await self._client.post(
            "/chat/completions",
            cast_to=object,
            body={**body, "stream": True, "stream_options": {"include_usage": True}},
            options=options,
            stream=True,
            stream_cls=self._sdk.AsyncStream[object],
        )
        assembly = Assembly(on_delta)
        tags = ThinkTags(assembly)
        finish: str | None = None
        usage = Usage(requests=1)
        async with stream:
            async for chunk in stream:
                if not isinstance(chunk, dict):
                    continue
                usage = _usage(chunk["usage"]) if chunk.get("usage") else usage
                for choice in chunk.get("choices") or ():
                    _take(choice.get("delta") or {}, assembly, tags, whole=False)
                    finish = choice.get("finish_reason") or finish
        if finish is None:
            raise ModelUnavailable(f"{self._name} cut its answer off in the middle.", cut=True)
        tags.end()
        return assembly.answer(finish=_FINISH.get(finish, "stop"), usage=usage, model=model)

    def _body(self, request: ModelRequest, model: str) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": model,
            "messages": [_message(message) for message in prepare(request.messages)],
        }
        if request.tools:
            body["tools"] = [_tool(tool) for tool in request.tools]
            if request.tool_choice != "auto":
                body["tool_choice"] = _tool_choice(request.tool_choice)
        if request.max_output_tokens is not None:
            body[self._output_limit] = request.max_output_tokens
        if request.temperature is not None and not _REASONING_MODELS.match(model):
            body["temperature"] = request.temperature
        if request.returns is not None:
            form = {"name": "answer", "schema": request.returns, "strict": _is_strict(request.returns)}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        body.update(self._settings.extra_body)
        return body


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.text}
    if not message.tool_calls:
        return {"role": message.role, "content": message.text}
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(arguments_of(call), ensure_ascii=False)},
        }
        for call in message.tool_calls
    ]
    return {"role": "assistant", "content": message.text or None, "tool_calls": calls}


def _tool(tool: ToolSpec) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
    }


def _tool_choice(choice: str) -> Any:
    if choice in ("required", "none"):
        return choice
    return {"type": "function", "function": {"name": choice}}


def _is_strict(schema: dict[str, Any]) -> bool:
    """Whether OpenAI would take the schema as a strict one: closed, and all of it required."""
    properties = schema.get("properties") or {}
    closed = schema.get("additionalProperties") is False and set(schema.get("required") or ()) == set(properties)
    nested = [part for part in properties.values() if isinstance(part, dict) and part.get("type") == "object"]
    return bool(closed) and all(_is_strict(part) for part in nested)


def _whole(data: Any, model: str) -> ModelAnswer:
    """The answer of a response that came in one piece."""
    choices = data.get("choices") if isinstance(data, dict) else None
    if not choices:
        raise _not_an_answer(data)
    choice = choices[0]
    assembly = Assembly()
    tags = ThinkTags(assembly)
    message = choice.get("message") or {}
    _take(message, assembly, tags, whole=True)
    tags.end()
    finish = "content_filter" if message.get("refusal") else choice.get("finish_reason") or "stop"
    return assembly.answer(finish=_FINISH.get(finish, "stop"), usage=_usage(data.get("usage") or {}), model=model)


def _not_an_answer(data: Any) -> ModelError:
    """Some gateways answer 200 with an error inside."""
    inside = data.get("error") if isinstance(data, dict) else None
    return ModelUnavailable(f"The server's response holds no answer: {str(inside or data)[:200]}")


def _take(part: dict[str, Any], assembly: Assembly, tags: ThinkTags, *, whole: bool) -> None:
    """Feed a message, or a delta of one: they have the same fields."""
    # vLLM, DeepSeek and others say `reasoning_content`, newer vLLM and OpenRouter `reasoning`.
    thought = part.get("reasoning_content") or part.get("reasoning")
    if isinstance(thought, str):
        assembly.reasoning(thought)
    tags.text(_text(part.get("content")) or part.get("refusal") or "")
    for number, call in enumerate(part.get("tool_calls") or ()):
        function = call.get("function") or {}
        arguments = function.get("arguments") or ""
        if not isinstance(arguments, str):  # Ollama's own clients send an object here
            arguments = json.dumps(arguments)
        assembly.tool_call(
            number if whole else call.get("index"),
            call_id=call.get("id") or "",
            name=function.get("name") or "",
            arguments=arguments,
        )


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(piece.get("text") or "") for piece in content if isinstance(piece, dict))
    return content if isinstance(content, str) else ""


def _usage(data: dict[str, Any]) -> Usage:
    details = data.get("prompt_tokens_details") or {}
    return Usage(
        input_tokens=data.get("prompt_tokens") or 0,
        output_tokens=data.get("completion_tokens") or 0,
        cached_tokens=details.get("cached_tokens") or 0,
        requests=1,
    )
