"""The OpenAI provider against a local server that speaks chat completions, through the official SDK."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from provider_conformance import NOTE, ProviderConformance, assistant, joined, request, result, user
from wire.openai_wire import OpenAIWire
from wire.server import KEY, Cut, Drop, FailInStream, Garbage, Hang, Refuse, Reply, WireServer

from repertory.errors import (
    ContextTooLong,
    MissingKey,
    ModelError,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
    RateLimited,
)
from repertory.llm.protocol import Delta, Provider
from repertory.llm.providers import open_provider
from repertory.llm.settings import ProviderSettings, default_providers
from repertory.messages import ToolCall

LONG = Reply(text="This is an answer in several pieces.")


@pytest.fixture
async def server() -> AsyncIterator[WireServer]:
    async with WireServer(OpenAIWire()) as server:
        yield server


@pytest.fixture
async def provider(server: WireServer) -> AsyncIterator[Provider]:
    environ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.url + "/v1"}
    provider = await open_provider("openai", default_providers()["openai"], environ)
    yield provider
    await provider.close()


class TestOpenAI(ProviderConformance):
    pass


async def test_a_history_goes_out_in_the_form_that_openai_wants(server: WireServer, provider: Provider) -> None:
    call = ToolCall(id="call_0", name="note", arguments={"text": "ä"})
    history = (user("one"), assistant("", call), result("call_0", "first"), assistant("", call), result("call_0", "2"))
    await provider.answer(request(*history, tools=(NOTE,), tool_choice="note", max_output_tokens=5), "gpt")
    body = server.bodies[0]
    assert [m["role"] for m in body["messages"]] == ["system", "user", "assistant", "tool", "assistant", "tool"]
    assert body["messages"][2]["content"] is None
    ids = [m["tool_calls"][0]["id"] for m in body["messages"] if m.get("tool_calls")]
    assert len(set(ids)) == 2, "ids that a server repeats are made unique"
    assert [m["tool_call_id"] for m in body["messages"] if m["role"] == "tool"] == ids
    assert json.loads(body["messages"][2]["tool_calls"][0]["function"]["arguments"]) == {"text": "ä"}
    assert body["tool_choice"] == {"type": "function", "function": {"name": "note"}}
    assert body["max_tokens"] == 5
    assert "stream" not in body


async def test_several_people_are_told_apart_and_a_single_one_is_not(server: WireServer, provider: Provider) -> None:
    await provider.answer(request(user("Hi", "Ada"), user("Ho", "Bob")), "gpt")
    await provider.answer(request(user("Hi", "Ada")), "gpt")
    assert [m["content"] for m in server.bodies[0]["messages"][1:]] == ["Ada: Hi", "Bob: Ho"]
    assert server.bodies[1]["messages"][1]["content"] == "Hi"


@pytest.mark.parametrize("stream", [False, True])
async def test_reasoning_is_kept_apart_from_the_answer(server: WireServer, provider: Provider, stream: bool) -> None:
    server.order(Reply(text="42", reasoning="Let me think about it."))
    deltas: list[Delta] = []
    answer = await provider.answer(request(user("?")), "m", deltas.append if stream else None)
    assert (answer.text, answer.reasoning) == ("42", "Let me think about it.")
    assert answer.usage.cached_tokens == 4
    if stream:
        assert joined(deltas, "reasoning") == answer.reasoning


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("content", "text", "reasoning"),
    [
        ("<think>\nHm, <b>6</b> times 7 …</think>\n\n42", "42", "Hm, <b>6</b> times 7 …"),
        ("<think></think>42", "42", ""),
        ("42 <think>", "42 <think>", ""),
        ("<thinner", "<thinner", ""),
        ("<think>cut of", "", "cut of"),
        ("<th", "<th", ""),
    ],
)
async def test_reasoning_that_a_server_leaves_in_the_text_is_taken_out(
    server: WireServer, provider: Provider, content: str, text: str, reasoning: str, stream: bool
) -> None:
    server.order(Reply(text=content))
    deltas: list[Delta] = []
    answer = await provider.answer(request(user("?")), "m", deltas.append if stream else None)
    assert (answer.text, answer.reasoning) == (text, reasoning)
    if stream:
        assert (joined(deltas, "text"), joined(deltas, "reasoning")) == (text, reasoning)


@pytest.mark.parametrize("stream", [False, True])
async def test_arguments_that_are_no_json_object_are_kept_as_the_model_wrote_them(
    server: WireServer, provider: Provider, stream: bool
) -> None:
    server.order(Reply(calls=(("call_0", "note", '{"text": "cut of'), ("call_0", "note", "[1]"), ("c", "note", ""))))
    answer = await provider.answer(request(user("?"), tools=(NOTE,)), "m", (lambda _: None) if stream else None)
    assert [call.malformed for call in answer.tool_calls] == ['{"text": "cut of', "[1]", None]
    assert answer.tool_calls[2].arguments == {}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (Refuse(status=429, retry_after="7"), RateLimited),
        (Refuse(status=429, kind="insufficient_quota", code="insufficient_quota"), ModelRefused),
        (Refuse(status=500), ModelUnavailable),
        (Refuse(status=503, retry_after="3"), ModelUnavailable),
        (Refuse(status=408), ModelUnavailable),
        (Refuse(status=404, message="no such model"), ModelRefused),
        (Refuse(status=400, message="bad"), ModelRefused),
        (Refuse(status=400, code="context_length_exceeded", message="too long"), ContextTooLong),
        (Refuse(status=400, message="This model's maximum context length is 4096 tokens"), ContextTooLong),
        (Drop(), ModelUnavailable),
        (Garbage(), ModelUnavailable),
        (Cut(reply=LONG, pieces=3), ModelUnavailable),
    ],
)
async def test_what_goes_wrong_has_one_name_each(
    server: WireServer, provider: Provider, order: Refuse, expected: type[ModelError], stream: bool
) -> None:
    server.order(order)
    with pytest.raises(expected) as caught:
        await provider.answer(request(user("?")), "m", (lambda _: None) if stream else None)
    assert type(caught.value) is expected
    if isinstance(order, Refuse) and order.retry_after:
        assert caught.value.retry_after_s == float(order.retry_after)
    assert len(server.seen) == 1, "the SDK's own retries are off"
    answer = await provider.answer(request(user("again")), "m")
    assert answer.text == "ok: again"


async def test_a_stream_that_ends_without_its_last_events_counts_as_cut(server: WireServer, provider: Provider) -> None:
    server.order(Cut(reply=LONG, pieces=3, politely=True))
    with pytest.raises(ModelUnavailable):
        await provider.answer(request(user("?")), "m", lambda _: None)


async def test_an_error_inside_a_stream_is_seen(server: WireServer, provider: Provider) -> None:
    server.order(FailInStream(reply=LONG, pieces=2, kind="server_error"))
    with pytest.raises(ModelUnavailable):
        await provider.answer(request(user("?")), "m", lambda _: None)


async def test_a_server_that_hangs_times_out(server: WireServer, provider: Provider) -> None:
    server.order(Hang())
    with pytest.raises(ModelTimeout):
        await provider.answer(request(user("?"), timeout_s=0.2), "m")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_key_appears_nowhere(server: WireServer, stream: bool) -> None:
    wrong = "sk-wrong-98765432100"
    environ = {"OPENAI_API_KEY": wrong, "OPENAI_BASE_URL": server.url + "/v1"}
    provider = await open_provider("openai", default_providers()["openai"], environ)
    with pytest.raises(ModelRefused) as caught:
        await provider.answer(request(user("?")), "m", (lambda _: None) if stream else None)
    error = caught.value
    assert "key" in error.message
    assert "98765432100" not in repr((error, error.args, error.data, vars(error), vars(provider).keys()))
    assert error.__cause__ is None
    assert error.__context__ is None, "the SDK's error holds the request with its headers"
    await provider.close()


async def test_without_a_key_it_says_which_variable_to_set() -> None:
    with pytest.raises(MissingKey, match="OPENAI_API_KEY"):
        await open_provider("openai", default_providers()["openai"], {})


async def test_a_local_server_needs_no_key(server: WireServer) -> None:
    settings = ProviderSettings(kind="openai", base_url=server.url + "/v1")
    provider = await open_provider("vllm", settings, {})
    with pytest.raises(ModelRefused):  # this one does want a key, so what was sent can be seen
        await provider.answer(request(user("?")), "m")
    assert server.seen[0].headers["authorization"] == "bearer none"
    await provider.close()
