"""What every provider of models must do. Each provider's test file makes a class of this, with its own `provider`.

The provider under test answers `ok: …` (or anything) to plain text, calls the tools that `[[call NAME {json}]]` in
the last user message names, and satisfies a schema when the request has one.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from repertory.llm.protocol import Delta, ModelAnswer, ModelRequest, Provider, ToolSpec
from repertory.messages import Message, Sender, ToolCall

NOTE = ToolSpec(
    name="note",
    description="Note something.",
    parameters={
        "type": "object",
        "properties": {"text": {"type": "string"}, "times": {"type": "integer"}},
        "required": ["text"],
    },
)
SYSTEM = Message(id="m0", role="system", text="You are a test.")


def user(text: str, sender: str = "") -> Message:
    """What a person says."""
    return Message(id=f"u-{text[:8]}", role="user", text=text, sender=Sender(name=sender) if sender else None)


def assistant(text: str = "", *calls: ToolCall, **more: Any) -> Message:
    """What the model said."""
    return Message(id="a", role="assistant", text=text, tool_calls=calls, **more)


def result(call_id: str, text: str, *, failed: bool = False) -> Message:
    """What a tool returned."""
    return Message(id=f"t-{call_id}", role="tool", text=text, tool_call_id=call_id, tool_name="note", failed=failed)


def request(*messages: Message, model: str = "test/model", **more: Any) -> ModelRequest:
    """A request with the usual system message."""
    return ModelRequest(**{"request_id": "r1", "model": model, "messages": (SYSTEM, *messages), **more})


def joined(deltas: list[Delta], kind: str) -> str:
    """All pieces of one kind."""
    return "".join(delta.text for delta in deltas if delta.kind == kind)


class ProviderConformance:
    """The suite."""

    #: the handle that requests carry; the part behind the slash goes to the provider
    handle = "test/model"

    async def ask(self, provider: Provider, asked: ModelRequest, deltas: list[Delta] | None = None) -> ModelAnswer:
        on_delta = deltas.append if deltas is not None else None
        return await provider.answer(asked, self.handle.partition("/")[2], on_delta)

    async def test_a_plain_question_gets_a_text(self, provider: Provider) -> None:
        answer = await self.ask(provider, request(user("Hello.")))
        assert answer.text
        assert answer.tool_calls == ()
        assert answer.finish == "stop"
        assert answer.usage.requests == 1
        assert answer.usage.input_tokens > 0
        assert answer.usage.output_tokens > 0

    async def test_the_pieces_of_a_stream_are_the_answer(self, provider: Provider) -> None:
        deltas: list[Delta] = []
        answer = await self.ask(provider, request(user("Hello.")), deltas)
        assert joined(deltas, "text") == answer.text
        assert answer.usage.requests == 1
        assert answer.usage.input_tokens > 0

    @pytest.mark.parametrize("stream", [False, True])
    async def test_several_tools_can_be_called_at_once(self, provider: Provider, stream: bool) -> None:
        deltas: list[Delta] | None = [] if stream else None
        said = user('[[call note {"text": "a"}]] and [[call note {"text": "é", "times": 2}]]')
        answer = await self.ask(provider, request(said, tools=(NOTE,)), deltas)
        assert [call.name for call in answer.tool_calls] == ["note", "note"]
        assert [call.arguments for call in answer.tool_calls] == [{"text": "a"}, {"text": "é", "times": 2}]
        assert len({call.id for call in answer.tool_calls}) == 2
        assert answer.finish == "tool_calls"
        if deltas is not None:
            first = [delta for delta in deltas if delta.kind == "tool_call" and delta.index == 0]
            assert first[0].name == "note"
            assert json.loads("".join(delta.text for delta in first)) == {"text": "a"}

    async def test_after_a_tools_result_it_goes_on(self, provider: Provider) -> None:
        said = user('[[call note {"text": "a"}]]')
        call = ToolCall(id="c1", name="note", arguments={"text": "a"})
        answer = await self.ask(provider, request(said, assistant("", call), result("c1", "done"), tools=(NOTE,)))
        assert answer.text
        assert not answer.tool_calls

    async def test_a_difficult_history_is_accepted(self, provider: Provider) -> None:
        broken = ToolCall(id="call_0", name="note", malformed='{"text": ')
        same = ToolCall(id="call_0", name="note", arguments={"text": "a"})
        history = (
            assistant("I was here first."),
            user("one", "Ada"),
            user("two", "Bob"),
            user("  "),
            assistant("", same, ToolCall(id="call_1", name="note", arguments={"text": "b"})),
            result("call_1", "second"),
            result("call_0", "first"),
            assistant("", broken),
            result("call_0", "no JSON", failed=True),
            assistant("thinking aloud", same, reasoning="hm"),
            user("What came of it?"),
            result("orphan", "late"),
            Message(id="memory-notes", role="system", text="[Memory has changed …]"),
        )
        answer = await self.ask(provider, request(*history, tools=(NOTE,)))
        assert answer.text or answer.tool_calls

    @pytest.mark.parametrize("stream", [False, True])
    async def test_an_answer_in_a_schema_is_json(self, provider: Provider, stream: bool) -> None:
        schema = {
            "type": "object",
            "properties": {"verdict": {"type": "string"}, "count": {"type": "integer"}},
            "required": ["verdict", "count"],
            "additionalProperties": False,
        }
        answer = await self.ask(provider, request(user("Count to 3."), returns=schema), [] if stream else None)
        value = json.loads(answer.text)
        assert isinstance(value["verdict"], str)
        assert isinstance(value["count"], int)

    async def test_many_at_once_get_their_own_answers(self, provider: Provider) -> None:
        asked = [request(user(f"Number {n}."), request_id=f"r{n}") for n in range(16)]
        answers = await asyncio.gather(*(self.ask(provider, one) for one in asked))
        for number, answer in enumerate(answers):
            assert f"Number {number}." in answer.text

    async def test_its_window_is_a_number_of_tokens(self, provider: Provider) -> None:
        assert provider.context_window(self.handle.partition("/")[2]) > 1_000

    async def test_it_can_be_closed_twice(self, provider: Provider) -> None:
        await self.ask(provider, request(user("Hello.")))
        await provider.close()
        await provider.close()
