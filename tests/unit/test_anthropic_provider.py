"""The Anthropic provider against a local server that speaks messages, through the official SDK."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator

import pytest
from provider_conformance import NOTE, ProviderConformance, assistant, joined, request, result, user
from wire.anthropic_wire import AnthropicWire
from wire.server import KEY, Cut, Drop, FailInStream, Garbage, Hang, Refuse, Reply, WireServer

from repertory.errors import (
    ContextTooLong,
    ModelError,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
    RateLimited,
)
from repertory.llm.protocol import Delta, Provider
from repertory.llm.providers import open_provider
from repertory.llm.settings import default_providers
from repertory.messages import Message, ToolCall

LONG = Reply(text="This is an answer in several pieces.")
CACHED = {"type": "ephemeral"}


@pytest.fixture
async def server() -> AsyncIterator[WireServer]:
    async with WireServer(AnthropicWire()) as server:
        yield server


@pytest.fixture
async def provider(server: WireServer) -> AsyncIterator[Provider]:
    environ = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": server.url}
    provider = await open_provider("anthropic", default_providers()["anthropic"], environ)
    yield provider
    await provider.close()


@pytest.fixture
async def thinker(server: WireServer) -> AsyncIterator[Provider]:
    settings = dataclasses.replace(
        default_providers()["anthropic"], extra_body={"thinking": {"type": "enabled", "budget_tokens": 1024}}
    )
    provider = await open_provider("anthropic", settings, {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": server.url})
    yield provider
    await provider.close()


class TestAnthropic(ProviderConformance):
    pass


async def test_a_history_goes_out_in_the_form_that_anthropic_wants(server: WireServer, provider: Provider) -> None:
    one, two = ToolCall(id="call_0", name="note", arguments={"text": "a"}), ToolCall(id="call_1", name="note")
    notes = Message(id="memory-notes", role="system", text="[Memory has changed …]")
    history = (
        user("one"),
        user("two"),
        assistant("I note that. ", one, two),
        result("call_1", "second", failed=True),
        result("call_0", "first"),
        notes,
    )
    await provider.answer(request(*history, tools=(NOTE,), tool_choice="required"), "claude-sonnet-4-5")
    body = server.bodies[0]
    assert body["system"] == [{"type": "text", "text": "You are a test.", "cache_control": CACHED}]
    assert [m["role"] for m in body["messages"]] == ["user", "assistant", "user"]
    assert [b["text"] for b in body["messages"][0]["content"]] == ["one", "two"]
    assert body["messages"][1]["content"][0] == {"type": "text", "text": "I note that."}
    results = body["messages"][2]["content"]
    assert results[0] == {"type": "tool_result", "tool_use_id": "call_0", "content": "first"}
    assert results[1]["is_error"] is True
    assert results[1]["cache_control"] == CACHED, "the last thing that stays"
    assert results[2]["text"].startswith("[system] [Memory")
    assert "cache_control" not in results[2]
    assert body["tools"][-1]["cache_control"] == CACHED
    assert body["tool_choice"] == {"type": "any"}
    assert body["max_tokens"] == 8192


@pytest.mark.parametrize("stream", [False, True])
async def test_thinking_goes_back_unchanged_before_the_call(
    server: WireServer, thinker: Provider, stream: bool
) -> None:
    server.order(Reply(reasoning="Let me see …", signature="c2ln", text="One moment.", calls=(("t1", "note", "{}"),)))
    deltas: list[Delta] = []
    asked = request(user("?"), tools=(NOTE,), temperature=0.3, tool_choice="required")
    answer = await thinker.answer(asked, "claude-sonnet-4-5", deltas.append if stream else None)
    assert (answer.reasoning, answer.reasoning_signature) == ("Let me see …", "c2ln")
    if stream:
        assert joined(deltas, "reasoning") == answer.reasoning
    said = assistant(
        answer.text,
        *answer.tool_calls,
        reasoning=answer.reasoning,
        reasoning_signature=answer.reasoning_signature,
    )
    await thinker.answer(request(user("?"), said, result("t1", "done"), tools=(NOTE,)), "claude-sonnet-4-5")
    first, second = server.bodies
    assert second["messages"][1]["content"][0] == {
        "type": "thinking", "thinking": "Let me see …", "signature": "c2ln"
    }  # fmt: skip
    assert "temperature" not in first, "a thinking model takes none"
    assert "tool_choice" not in first, "nor can it be forced"
    assert first["max_tokens"] == 8192 + 1024


async def test_a_streamed_tool_call_with_broken_json_is_kept_as_written(server: WireServer, provider: Provider) -> None:
    server.order(Reply(calls=(("t1", "note", '{"text": "cut'),), finish="max_tokens"))
    answer = await provider.answer(request(user("?"), tools=(NOTE,)), "claude", lambda _: None)
    assert answer.tool_calls[0].malformed == '{"text": "cut'
    assert answer.finish == "length"


async def test_cached_tokens_are_part_of_the_input(provider: Provider) -> None:
    answer = await provider.answer(request(user("?")), "claude")
    assert (answer.usage.input_tokens, answer.usage.cached_tokens, answer.usage.output_tokens) == (12, 4, 3)


async def test_a_list_as_answer_is_wrapped_for_the_tool_and_unwrapped(server: WireServer, provider: Provider) -> None:
    schema = {"type": "array", "items": {"type": "string"}}
    for listen in (None, lambda _: None):
        answer = await provider.answer(request(user("?"), returns=schema), "claude", listen)
        assert json.loads(answer.text) == ["yes"]
        assert answer.tool_calls == ()
        assert answer.finish == "stop"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (Refuse(status=429, kind="rate_limit_error", retry_after="7"), RateLimited),
        (Refuse(status=529, kind="overloaded_error"), ModelUnavailable),
        (Refuse(status=500, kind="api_error"), ModelUnavailable),
        (Refuse(status=402, kind="billing_error"), ModelRefused),
        (Refuse(status=400, message="bad"), ModelRefused),
        (Refuse(status=400, message="prompt is too long: 210000 tokens > 200000 maximum"), ContextTooLong),
        (Drop(), ModelUnavailable),
        (Garbage(), ModelUnavailable),
        (Cut(reply=LONG, pieces=5), ModelUnavailable),
    ],
)
async def test_what_goes_wrong_has_one_name_each(
    server: WireServer, provider: Provider, order: Refuse, expected: type[ModelError], stream: bool
) -> None:
    server.order(order)
    with pytest.raises(expected) as caught:
        await provider.answer(request(user("?")), "claude", (lambda _: None) if stream else None)
    assert type(caught.value) is expected
    if isinstance(order, Refuse) and order.retry_after:
        assert caught.value.retry_after_s == float(order.retry_after)
    assert len(server.seen) == 1, "the SDK's own retries are off"
    assert (await provider.answer(request(user("again")), "claude")).text == "ok: again"


@pytest.mark.parametrize(
    ("kind", "expected"), [("overloaded_error", ModelUnavailable), ("rate_limit_error", RateLimited)]
)
async def test_an_error_inside_a_stream_is_seen(
    server: WireServer, provider: Provider, kind: str, expected: type[ModelError]
) -> None:
    server.order(FailInStream(reply=LONG, pieces=4, kind=kind))
    with pytest.raises(expected):
        await provider.answer(request(user("?")), "claude", lambda _: None)


async def test_a_stream_that_ends_without_its_last_events_counts_as_cut(server: WireServer, provider: Provider) -> None:
    server.order(Cut(reply=LONG, pieces=4, politely=True))
    with pytest.raises(ModelUnavailable):
        await provider.answer(request(user("?")), "claude", lambda _: None)


async def test_a_server_that_hangs_times_out(server: WireServer, provider: Provider) -> None:
    server.order(Hang())
    with pytest.raises(ModelTimeout):
        await provider.answer(request(user("?"), timeout_s=0.2), "claude")


async def test_a_refused_key_appears_nowhere(server: WireServer) -> None:
    environ = {"ANTHROPIC_API_KEY": "odd-key-without-a-shape", "ANTHROPIC_BASE_URL": server.url}
    provider = await open_provider("anthropic", default_providers()["anthropic"], environ)
    with pytest.raises(ModelRefused) as caught:
        await provider.answer(request(user("?")), "claude")
    assert "odd-key-without-a-shape" not in repr((caught.value, caught.value.args, caught.value.data))
    assert caught.value.__context__ is None
    await provider.close()
